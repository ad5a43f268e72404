/* SPDX-License-Identifier: Apache-2.0 */
/* The planner's bound: below every simulated makespan, and close for long-context SlimPipe plans. */
#include "support.h"

struct inputs {
    struct sp_model model;
    struct sp_cluster cluster;
    struct sp_profile profile;
};

static void read_inputs(struct inputs *in, const char *model, const char *cluster)
{
    struct sp_error error;
    cr_assert_eq(sp_model_read(model, &in->model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read(cluster, &in->cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(in->cluster.profile, &in->profile, &error), SP_OK, "%s", error.message);
}

static struct simulated run(const struct inputs *in, uint32_t p, uint32_t v, uint32_t n, int64_t m,
                            int64_t tokens, const char *exchange, int64_t *ret_bound)
{
    struct sp_error error;
    struct sp_request request = {.schedule = "slimpipe",
                                 .model = &in->model,
                                 .cluster = &in->cluster,
                                 .profile = &in->profile,
                                 .parallel = {.pipeline = p, .tensor = 8},
                                 .chunks = v,
                                 .slices = n,
                                 .microbatches = m,
                                 .sequence_tokens = tokens,
                                 .exchange = exchange};
    struct simulated s = simulate_request(&request, SP_SIM_LINKS);
    cr_assert_eq(sp_plan_bound(s.program, ret_bound, &error), SP_OK, "%s", error.message);
    return s;
}

/*
 * Within 3 % where the pipeline's own fill, (p − 1)/(nvm + p − 1), is below 2.5 %. The bound lets any idle
 * device take any attention, so it has nearly no fill, and plans with a longer one are farther from it.
 */
Test(bound, near_slimpipe_with_exchange)
{
    static const struct {
        uint32_t p, v, n, m, k_tokens;
        char cluster[8];
    } shapes[] = {
        {8, 5, 16, 4, 256, "ideal"},  {8, 5, 16, 4, 512, "ideal"}, {8, 5, 32, 4, 512, "ideal"},
        {4, 10, 16, 2, 256, "ideal"}, {4, 5, 16, 4, 128, "ideal"}, {8, 5, 32, 4, 512, "h100"},
        {4, 10, 16, 2, 256, "h100"},  {4, 10, 16, 4, 512, "h100"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct inputs in;
        int64_t bound = 0;
        read_inputs(&in, "llama-3.1-70b", shapes[i].cluster);
        struct simulated s = run(&in, shapes[i].p, shapes[i].v, shapes[i].n, shapes[i].m,
                                 1024 * (int64_t)shapes[i].k_tokens, "optimal", &bound);
        double gap = (double)s.metrics.makespan_ns / (double)bound - 1;
        cr_expect_leq(bound, s.metrics.makespan_ns);
        cr_expect_lt(gap, 0.03, "p%u v%u n%u m%u %s: the gap is %.4f", shapes[i].p, shapes[i].v, shapes[i].n,
                     shapes[i].m, shapes[i].cluster, gap);
        drop_simulated(&s);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

Test(bound, never_above_a_makespan)
{
    static const char *const exchanges[] = {"none", "pairwise", "optimal"};
    static const char *const clusters[] = {"ideal", "h100", "a800"};
    uint64_t seed = 20250611;
    for (int i = 0; i < 60; i++) {
        struct inputs in;
        uint32_t p = 2 + (uint32_t)(next_random(&seed) % 7), v = 1 + (uint32_t)(next_random(&seed) % 4);
        uint32_t n = p * (1 + (uint32_t)(next_random(&seed) % 3));
        int64_t m = 1 + (int64_t)(next_random(&seed) % 3), bound = 0;
        int64_t tokens = (int64_t)n * 1024 * (1 + (int64_t)(next_random(&seed) % 16));
        const char *cluster = clusters[next_random(&seed) % 3], *exchange = exchanges[next_random(&seed) % 3];
        read_inputs(&in, "llama-3.1-8b", cluster);
        struct simulated s = run(&in, p, v, n, m, tokens, exchange, &bound);
        cr_expect_leq(bound, s.metrics.makespan_ns,
                      "p%u v%u n%u m%d %s %s, %d tokens: bound %lld, makespan %lld", p, v, n, (int)m, cluster,
                      exchange, (int)tokens, (long long)bound, (long long)s.metrics.makespan_ns);
        drop_simulated(&s);
    }
}
