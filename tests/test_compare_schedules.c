/* SPDX-License-Identifier: Apache-2.0 */
/* Every schedule on one model. */
#include <math.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/compare.h"
#include "slimpipe/json.h"
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

Test(compare_schedules, has_every_schedule_that_trains_the_model)
{
    struct inputs in;
    struct sp_compare_request request = read_request(&in);
    struct sp_compare_result result = compare(&request);

    for (int i = 0; sp_schedules[i]; i++) {
        const struct sp_compare_row *best = best_of(&result, sp_schedules[i]);
        /* These two do another work than training the model. */
        unsigned other = SP_SCHEDULE_FORWARD_ONLY | SP_SCHEDULE_SKIPS;
        cr_expect_eq(best == NULL, (sp_schedules[i]->traits & other) != 0, "%s", sp_schedules[i]->name);
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

/* --- Outputs -------------------------------------------------------------------------------------------- */

static struct sp_compare_result compare_some(void)
{
    static struct inputs in;
    struct sp_compare_request request = read_request(&in);
    static const char *const names[] = {"slimpipe", "1f1b", "zb-h2", "chimera", NULL};

    request.schedules = names;
    request.base.parallel.pipeline = 3; /* which chimera refuses */
    request.base.slices = 3;
    return compare(&request);
}

Test(compare_schedules, table_has_every_schedule_once)
{
    struct sp_compare_result result = compare_some();
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    sp_compare_write_table(&result, false, stream);
    fclose(stream);
    for (int64_t i = 0; i < result.row_count; i++) {
        const struct sp_compare_row *row = &result.rows[i];
        char start[40];
        if (!row->best)
            continue;
        snprintf(start, sizeof(start), "\n%s ", row->schedule->name);
        const char *found = strstr(text, start);
        cr_assert_not_null(found, "%s", row->schedule->name);
        cr_expect_null(strstr(found + 1, start), "%s is there twice", row->schedule->name);
        cr_expect(!row->reason || strstr(text, row->reason));
    }
    cr_expect_null(strstr(text, " \n"), "blanks at a line's end");
    free(text);
    sp_compare_finish(&result);
}

Test(compare_schedules, json_has_every_row)
{
    struct sp_compare_result result = compare_some();
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    struct sp_json_writer writer;
    struct sp_json *json;
    struct sp_error error;

    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_compare_write_json(&result, &writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
    fclose(stream);
    cr_assert_eq(sp_json_parse(text, size, "json", &json, &error), SP_OK, "%s", error.message);
    const struct sp_json_value *row = sp_json_first(sp_json_find(sp_json_root(json), "rows"));
    for (int64_t i = 0; i < result.row_count; i++, row = sp_json_next(row)) {
        const char *name;
        int64_t time_ns;
        cr_assert_eq(sp_json_get_string(json, row, "schedule", &name, &error), SP_OK, "%s", error.message);
        cr_expect_str_eq(name, result.rows[i].schedule->name);
        cr_expect_eq(sp_json_find(row, "reason") != NULL, result.rows[i].outcome == SP_COMPARE_REFUSED);
        if (result.rows[i].outcome == SP_COMPARE_REFUSED)
            continue;
        cr_assert_eq(sp_json_get_whole(json, row, "makespan_ns", 0, INT64_MAX >> 11, &time_ns, &error),
                     SP_OK);
        cr_expect_eq(time_ns, result.rows[i].time_ns);
    }
    cr_expect_null(row);
    sp_json_destroy(json);
    free(text);
    sp_compare_finish(&result);
}

static void check_picture(const struct sp_compare_result *result)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    sp_compare_write_svg(result, "a <title> & more", stream);
    fclose(stream);
    cr_expect_eq(strncmp(text, "<svg ", 5), 0);
    cr_expect_str_eq(text + size - 7, "</svg>\n");
    cr_expect_not_null(strstr(text, "a &lt;title> &amp; more"));
    cr_expect_null(strstr(text, "nan"));
    cr_expect_null(strstr(text, "inf"));
    free(text);
}

Test(compare_schedules, picture_names_the_fastest)
{
    struct sp_compare_result result = compare_some();
    char *text = NULL, name[64];
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    sp_compare_write_svg(&result, "title", stream);
    fclose(stream);
    snprintf(name, sizeof(name), ">%s</text>", result.rows[0].schedule->name);
    cr_expect_not_null(strstr(text, name));
    free(text);
    check_picture(&result);
    /* One point, and none. */
    result.row_count = 1;
    check_picture(&result);
    result.row_count = 0;
    check_picture(&result);
    sp_compare_finish(&result);
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
