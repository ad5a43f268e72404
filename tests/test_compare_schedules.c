/* SPDX-License-Identifier: Apache-2.0 */
/* Every schedule on one model. */
#include <math.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/compare.h"
#include "support.h"

struct inputs {
    struct sp_model model;
    struct sp_cluster cluster;
    struct sp_profile profile;
};

static struct sp_compare_request read_request(struct inputs *in)
{
    struct sp_error error;

    cr_assert_eq(sp_model_read("llama-3.1-8b", &in->model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read("h100", &in->cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(in->cluster.profile, &in->profile, &error), SP_OK, "%s", error.message);
    return (struct sp_compare_request){.base = {.model = &in->model,
                                                .cluster = &in->cluster,
                                                .profile = &in->profile,
                                                .parallel = {.pipeline = 4, .tensor = 2},
                                                .sequence_tokens = 64 << 10,
                                                .microbatches = 4,
                                                .memory_cap_bytes = in->cluster.memory_bytes / 2}};
}

static struct sp_compare_result compare(const struct sp_compare_request *request)
{
    struct sp_compare_result result = {0};
    struct sp_error error;

    cr_assert_eq(sp_compare_run(request, &result, &error), SP_OK, "%s", error.message);
    return result;
}

static const int64_t one_ms = 1000000;
static const struct sp_pass_costs unit_costs = {
    .forward_ns = &one_ms, .input_ns = &one_ms, .weight_ns = &one_ms, .activation_bytes = 1 << 20};

static struct sp_compare_request unit_request(void)
{
    return (struct sp_compare_request){
        .base = {.costs = &unit_costs, .cost_stages = 1, .parallel = {.pipeline = 4}, .microbatches = 8}};
}

Test(compare_schedules, same_rows_for_any_number_of_threads)
{
    struct inputs in;
    struct sp_compare_request request = read_request(&in);
    request.threads = 1;
    struct sp_compare_result one = compare(&request);
    request.threads = 5;
    struct sp_compare_result five = compare(&request);

    cr_assert_eq(one.row_count, five.row_count);
    for (int64_t i = 0; i < one.row_count; i++) {
        const struct sp_compare_row *a = &one.rows[i], *b = &five.rows[i];
        cr_assert_eq(a->schedule, b->schedule);
        cr_assert_eq(a->outcome, b->outcome);
        cr_assert_eq(a->time_ns, b->time_ns);
        cr_assert_eq(a->peak_bytes, b->peak_bytes);
        cr_assert_eq(a->request.slices, b->request.slices);
        cr_assert_eq(a->request.chunks, b->request.chunks);
        cr_assert_eq(a->best, b->best);
        cr_assert_eq(a->front, b->front);
    }
    sp_compare_finish(&one);
    sp_compare_finish(&five);
}

static const struct sp_compare_row *best_of(const struct sp_compare_result *result,
                                            const struct sp_schedule *schedule)
{
    const struct sp_compare_row *best = NULL;

    for (int64_t i = 0; i < result->row_count; i++)
        if (result->rows[i].schedule == schedule && result->rows[i].best) {
            cr_expect_null(best, "%s has two best rows", schedule->name);
            best = &result->rows[i];
        }
    return best;
}

Test(compare_schedules, has_every_schedule_that_trains)
{
    struct inputs in;
    struct sp_compare_request request = read_request(&in);
    struct sp_compare_result result = compare(&request);

    for (int i = 0; sp_schedules[i]; i++) {
        const struct sp_compare_row *best = best_of(&result, sp_schedules[i]);
        cr_expect_eq(best == NULL, (sp_schedules[i]->traits & SP_SCHEDULE_FORWARD_ONLY) != 0, "%s",
                     sp_schedules[i]->name);
        if (best)
            cr_expect_eq(best->reason == NULL, best->outcome != SP_COMPARE_REFUSED);
    }
    sp_compare_finish(&result);
}

static bool is_beaten(const struct sp_compare_result *result, const struct sp_compare_row *row)
{
    for (int64_t i = 0; i < result->row_count; i++) {
        const struct sp_compare_row *other = &result->rows[i];
        if (other->outcome == SP_COMPARE_FITS && other->time_ns <= row->time_ns &&
            other->peak_bytes <= row->peak_bytes &&
            (other->time_ns < row->time_ns || other->peak_bytes < row->peak_bytes))
            return true;
    }
    return false;
}

Test(compare_schedules, rows_are_sorted_and_the_front_is_not_beaten)
{
    struct inputs in;
    struct sp_compare_request request = read_request(&in);
    struct sp_compare_result result = compare(&request);
    int front = 0;

    for (int64_t i = 0; i < result.row_count; i++) {
        const struct sp_compare_row *row = &result.rows[i];
        const struct sp_compare_row *before = i ? row - 1 : NULL;
        cr_expect(!before || before->outcome <= row->outcome);
        if (row->outcome == SP_COMPARE_REFUSED)
            continue;
        cr_expect_eq(row->outcome == SP_COMPARE_FITS, row->over_bytes == 0);
        cr_expect_eq(row->over_bytes > 0, row->peak_bytes > request.base.memory_cap_bytes);
        cr_expect_geq(row->time_ns, row->bound_ns, "%s", row->schedule->name);
        cr_expect(!before || before->outcome != row->outcome || row->outcome != SP_COMPARE_FITS ||
                  before->time_ns <= row->time_ns);
        cr_expect(!row->front || (row->outcome == SP_COMPARE_FITS && !is_beaten(&result, row)));
        front += row->front;
    }
    cr_expect_gt(front, 1);
    sp_compare_finish(&result);
}

/* What a row says is what planning its request gives. */
Test(compare_schedules, rows_are_what_their_requests_plan)
{
    struct inputs in;
    struct sp_compare_request request = read_request(&in);
    struct sp_compare_result result = compare(&request);

    for (int64_t i = 0; i < result.row_count; i++) {
        const struct sp_compare_row *row = &result.rows[i];
        struct sp_error error;
        if (!row->best || row->outcome == SP_COMPARE_REFUSED)
            continue;
        struct simulated s = simulate_request(&row->request, SP_SIM_LINKS);
        cr_expect_eq(s.metrics.makespan_ns, row->time_ns);
        cr_expect_eq(s.metrics.message_bytes, row->message_bytes);
        cr_expect_eq(sp_program_check_memory(s.program, &error) == SP_OK, row->outcome == SP_COMPARE_FITS);
        drop_simulated(&s);
    }
    sp_compare_finish(&result);
}

/* All schedules do the same work, whatever they cut it into. */
Test(compare_schedules, divides_unit_costs)
{
    struct sp_compare_request request = unit_request();
    struct sp_compare_result result = compare(&request);

    for (int64_t i = 0; i < result.row_count; i++) {
        const struct sp_compare_row *row = &result.rows[i];
        if (row->outcome == SP_COMPARE_REFUSED)
            continue;
        /* 8 microbatches of 3 ms; what rounds is under a nanosecond per pass. */
        double busy = (1 - row->bubble_mean_idle) * (double)row->time_ns;
        double passes = 8.0 * 3 * row->request.chunks * row->request.slices;
        cr_expect_lt(fabs(busy - 24e6), passes, "%s: %f", row->schedule->name, busy);
        cr_expect(isnan(row->mfu));
    }
    sp_compare_finish(&result);
}

/* The closed form of 1F1B's bubble, (p − 1)/(m + p − 1), and of its peak, p microbatches. */
Test(compare_schedules, gives_known_figures)
{
    struct sp_compare_request request = unit_request();
    struct sp_compare_result result = compare(&request);
    const struct sp_compare_row *best = best_of(&result, sp_schedule_find("1f1b"));

    cr_assert_not_null(best);
    cr_expect_lt(fabs(best->bubble_mean_idle - 3.0 / 11), 1e-12);
    cr_expect_eq(best->peak_bytes, 4 << 20);
    sp_compare_finish(&result);
}

Test(compare_schedules, says_why_a_schedule_is_refused)
{
    struct sp_compare_request request = unit_request();
    const char *const names[] = {"1f1b", "chimera", NULL};
    request.schedules = names;
    request.base.parallel.pipeline = 3;
    struct sp_compare_result result = compare(&request);
    const struct sp_compare_row *last = &result.rows[result.row_count - 1];

    cr_assert_str_eq(last->schedule->name, "chimera");
    cr_expect_eq(last->outcome, SP_COMPARE_REFUSED);
    cr_expect_not_null(strstr(last->reason, "even"), "%s", last->reason);
    cr_expect_eq(result.rows[0].outcome, SP_COMPARE_FITS);
    sp_compare_finish(&result);
}

Test(compare_schedules, refuses_a_base_that_no_schedule_takes)
{
    struct sp_compare_request request = unit_request();
    struct sp_compare_result result;
    struct sp_error error;
    const char *const unknown[] = {"1f2b", NULL};

    request.base.microbatches = 0;
    cr_expect_eq(sp_compare_run(&request, &result, &error), SP_INPUT);
    cr_expect_not_null(strstr(error.message, "microbatches"), "%s", error.message);

    request = unit_request();
    request.schedules = unknown;
    cr_expect_eq(sp_compare_run(&request, &result, &error), SP_INPUT);
    cr_expect_not_null(strstr(error.message, "1f2b"), "%s", error.message);

    static const int64_t tiny = 1;
    static const struct sp_pass_costs tiny_costs = {.forward_ns = &tiny};
    request = unit_request();
    request.base.costs = &tiny_costs;
    cr_expect_eq(sp_compare_run(&request, &result, &error), SP_INPUT);
    cr_expect_not_null(strstr(error.message, "1 ns"), "%s", error.message);
}

Test(compare_schedules, survives_short_memory)
{
    struct sp_compare_request request = unit_request();
    const char *const names[] = {"1f1b", "chimera", NULL};
    enum sp_status status = SP_MEMORY;
    request.schedules = names;
    request.threads = 1;
    for (int64_t n = 0; status == SP_MEMORY && n < 100000; n++) {
        struct sp_compare_result result;
        struct sp_error error;
        sp_alloc_fail_after(n);
        status = sp_compare_run(&request, &result, &error);
        sp_alloc_fail_after(-1);
        if (status == SP_OK)
            sp_compare_finish(&result);
    }
    cr_expect_eq(status, SP_OK);
}
