/* SPDX-License-Identifier: Apache-2.0 */
/* The search for a configuration. */
#include "slimpipe/search.h"

#include "support.h"

struct inputs {
    struct sp_model model;
    struct sp_cluster cluster;
    struct sp_profile profile;
};

static struct sp_search_request read_request(struct inputs *in, const char *model, int64_t gpus,
                                             int64_t tokens)
{
    struct sp_error error;
    cr_assert_eq(sp_model_read(model, &in->model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read("h100", &in->cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(in->cluster.profile, &in->profile, &error), SP_OK, "%s", error.message);
    return (struct sp_search_request){.base = {.model = &in->model,
                                               .cluster = &in->cluster,
                                               .profile = &in->profile,
                                               .gpus = gpus,
                                               .sequence_tokens = tokens,
                                               .batch_tokens = 8 * tokens,
                                               .memory_cap_bytes = in->cluster.memory_bytes},
                                      .top = 3};
}

static void expect_same(const struct sp_found *a, const struct sp_found *b)
{
    cr_expect_eq(a->time_ns, b->time_ns);
    cr_expect_eq(a->peak_bytes, b->peak_bytes);
    cr_expect_str_eq(a->request.schedule, b->request.schedule);
    cr_expect_eq(memcmp(&a->request.parallel, &b->request.parallel, sizeof a->request.parallel), 0);
    cr_expect_eq(a->request.slices, b->request.slices);
    cr_expect_eq(a->request.chunks, b->request.chunks);
}

Test(search, same_answer_for_any_number_of_threads)
{
    struct inputs in;
    struct sp_search_request request = read_request(&in, "llama-3.1-8b", 16, 128 << 10);
    struct sp_search_result one = {.arena = NULL}, five = {.arena = NULL};
    struct sp_error error;
    request.threads = 1;
    cr_assert_eq(sp_search_run(&request, &one, &error), SP_OK, "%s", error.message);
    request.threads = 5;
    cr_assert_eq(sp_search_run(&request, &five, &error), SP_OK, "%s", error.message);
    cr_assert_eq(one.found_count, 3);
    cr_assert_eq(five.found_count, 3);
    for (int i = 0; i < 3; i++)
        expect_same(&one.found[i], &five.found[i]);
    cr_expect_eq(memcmp(one.dropped, five.dropped, sizeof one.dropped), 0);
    sp_search_finish(&one);
    sp_search_finish(&five);
}

/* Every candidate is accounted for; what is found fits, is sorted, and is what its request composes to. */
Test(search, found_plans_hold_what_they_promise)
{
    struct inputs in;
    struct sp_search_request request = read_request(&in, "llama-3.1-8b", 16, 256 << 10);
    struct sp_search_result result = {.arena = NULL};
    struct sp_error error;
    cr_assert_eq(sp_search_run(&request, &result, &error), SP_OK, "%s", error.message);
    for (int i = 0; i < result.found_count; i++) {
        const struct sp_found *found = &result.found[i];
        struct simulated s = simulate_request(&found->request, SP_SIM_LINKS);
        cr_expect_eq(s.metrics.makespan_ns, found->time_ns);
        cr_expect_leq(found->peak_bytes, in.cluster.memory_bytes);
        cr_expect_leq(found->bound_ns, found->time_ns);
        cr_expect(i == 0 || result.found[i - 1].time_ns <= found->time_ns);
        drop_simulated(&s);
    }
    sp_search_finish(&result);
}

Test(search, fixed_knobs_are_kept)
{
    struct inputs in;
    struct sp_search_request request = read_request(&in, "llama-3.1-8b", 16, 128 << 10);
    struct sp_search_result result = {.arena = NULL};
    struct sp_error error;
    request.base.schedule = "slimpipe";
    request.base.parallel.pipeline = 4;
    request.base.recompute = SP_RECOMPUTE_FULL;
    request.fixed = SP_FIXED_RECOMPUTE | SP_FIXED_OFFLOAD;
    cr_assert_eq(sp_search_run(&request, &result, &error), SP_OK, "%s", error.message);
    for (int i = 0; i < result.found_count; i++) {
        const struct sp_request *found = &result.found[i].request;
        cr_expect_str_eq(found->schedule, "slimpipe");
        cr_expect_eq(found->parallel.pipeline, 4);
        for (uint32_t s = 0; s < 4 * found->chunks; s++) {
            cr_expect_eq(found->stage_recompute[s], SP_RECOMPUTE_FULL);
            cr_expect_eq(found->stage_offload[s], 0);
        }
    }
    sp_search_finish(&result);
}

Test(search, nothing_fits)
{
    struct inputs in;
    struct sp_search_request request = read_request(&in, "llama-3.1-405b", 8, 128 << 10);
    struct sp_search_result result = {.arena = NULL};
    struct sp_error error;
    cr_assert_eq(sp_search_run(&request, &result, &error), SP_INFEASIBLE);
    cr_expect_neq(strstr(error.message, "GiB more"), NULL, "%s", error.message);
    cr_expect(result.has_nearest);
    cr_expect_gt(result.nearest_overshoot, 0);
    sp_search_finish(&result);
}

Test(search, bad_requests)
{
    struct inputs in;
    struct sp_search_result result = {.arena = NULL};
    struct sp_error error;
    struct sp_search_request request = read_request(&in, "llama-3.1-8b", 0, 128 << 10);
    cr_expect_eq(sp_search_run(&request, &result, &error), SP_INPUT);
    request.base.gpus = 16;
    request.base.batch_tokens = 100;
    cr_expect_eq(sp_search_run(&request, &result, &error), SP_INPUT);
    request.base.batch_tokens = 0;
    cr_expect_eq(sp_search_run(&request, &result, &error), SP_INPUT);
    request.base.batch_tokens = 8 * request.base.sequence_tokens;
    request.base.schedule = "no-such";
    cr_expect_eq(sp_search_run(&request, &result, &error), SP_INPUT);
    cr_expect_neq(strstr(error.message, "no-such"), NULL);
}
