/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics, summary and table, on programs made by hand whose figures can be counted. */
#include <criterion/criterion.h>
#include <math.h>

#include "hand_program.h"
#include "slimpipe/arena.h"
#include "slimpipe/json.h"

static const struct sp_pass forward = {.kind = SP_PASS_F};
static const struct sp_pass backward = {.kind = SP_PASS_B};

/*
 * Two devices: 0 runs [0, 10) and [30, 50), 1 runs [12, 20) and [20, 28); messages of 100 and 200 bytes
 * between. Device 0 holds 1000 bytes of weights throughout, and 40 of activations and 10 in the host's memory
 * from 0 to 50.
 */
static struct hand *two_devices(void)
{
    struct hand *hand = hand_create(2, 6);
    hand->resident[0][SP_MEMORY_WEIGHTS] = 1000;
    uint32_t first = hand_compute(hand, 0, forward, 0, 10);
    hand_change(hand, SP_MEMORY_ACTIVATIONS, 40, 0);
    hand_change(hand, SP_MEMORY_OFFLOAD, 10, 1);
    hand_in_flight(hand, 1, 0);
    uint32_t hop = hand_message(hand, first, 1, 100, 10, 12);
    uint32_t there = hand_compute(hand, 1, forward, 12, 20);
    hand_wait(hand, there, hop);
    uint32_t back = hand_compute(hand, 1, backward, 20, 28);
    uint32_t answer = hand_message(hand, back, 0, 200, 28, 30);
    uint32_t last = hand_compute(hand, 0, backward, 30, 50);
    hand_wait(hand, last, answer);
    hand_change(hand, SP_MEMORY_ACTIVATIONS, -40, 1);
    hand_change(hand, SP_MEMORY_OFFLOAD, -10, 1);
    hand_in_flight(hand, 0, -1);
    hand_finish(hand);
    return hand;
}

static struct sp_metrics measure(const struct hand *hand, int64_t bound_ns)
{
    struct sp_metrics metrics;
    struct sp_error error = {.status = SP_OK};
    cr_assert_eq(sp_metrics_init(&metrics, &hand->timeline, bound_ns, &error), SP_OK, "%s", error.message);
    return metrics;
}

Test(metrics, counted)
{
    struct hand *hand = two_devices();
    struct sp_metrics metrics = measure(hand, 40);
    cr_expect_eq(metrics.makespan_ns, 50);
    cr_expect_eq(metrics.message_bytes, 300);
    cr_expect_eq(metrics.devices[0].busy_ns, 30);
    cr_expect_eq(metrics.devices[1].busy_ns, 16);
    cr_expect_eq(metrics.devices[1].first_ns, 12);
    cr_expect_eq(metrics.devices[1].last_ns, 28);
    cr_expect_float_eq(metrics.bubble_mean_idle, 1 - 46.0 / 100, 1e-12);
    /* The longest span is device 0's, from 0 to 50. */
    cr_expect_float_eq(metrics.bubble_longest_span, 20.0 / 50, 1e-12);
    cr_expect_float_eq(metrics.gap, 0.25, 1e-12);
    cr_expect(isnan(metrics.mfu));
    cr_expect_eq(metrics.devices[0].memory.peak_bytes, 1040);
    cr_expect_eq(metrics.devices[0].memory.peak_by_category[SP_MEMORY_OFFLOAD], 10);
    cr_expect_eq(metrics.devices[0].memory.peak_in_flight, 1);
    sp_metrics_finish(&metrics);
    hand_destroy(hand);
}

Test(metrics, time_counts_from_the_first_start)
{
    struct hand *hand = two_devices();
    for (uint32_t i = 0; i < hand->program.instruction_count; i++) {
        hand->timeline.start_ns[i] += 1000;
        hand->timeline.end_ns[i] += 1000;
    }
    struct sp_metrics metrics = measure(hand, 0);
    cr_expect_eq(metrics.makespan_ns, 50);
    cr_expect_float_eq(metrics.bubble_mean_idle, 1 - 46.0 / 100, 1e-12);
    cr_expect(isnan(metrics.gap));
    sp_metrics_finish(&metrics);
    hand_destroy(hand);
}

Test(metrics, rates_of_a_model)
{
    struct hand *hand = two_devices();
    hand->program.model_flops = 1e6;
    hand->program.peak_flops = 1e14;
    hand->program.tokens = 8;
    struct sp_metrics metrics = measure(hand, 0);
    cr_expect_float_eq(metrics.mfu, 1e6 / (1e14 * 50e-9), 1e-12);
    cr_expect_float_eq(metrics.tokens_per_second, 8 / 50e-9, 1e-3);
    sp_metrics_finish(&metrics);
    hand_destroy(hand);
}

/* Idle share and units in flight of the schedules whose formulas DESIGN.md gives. */
Test(metrics, pipelines)
{
    static const uint32_t shapes[][4] = {/* p, v, m, n */ {2, 1, 3, 1},
                                         {4, 1, 8, 1},
                                         {8, 1, 32, 1},
                                         {4, 2, 3, 4},
                                         {8, 5, 4, 16},
                                         {4, 3, 2, 12}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint32_t p = shapes[i][0], v = shapes[i][1], m = shapes[i][2], n = shapes[i][3];
        struct hand_shape shape = {p, v, m, n, n > 1 ? 2 : 1, 1000, 2000, 0};
        struct hand *hand = hand_pipeline(&shape);
        struct sp_metrics metrics = measure(hand, 0);
        double bubble = (double)(p - 1) / (n * v * m + p - 1);
        cr_expect_float_eq(metrics.bubble_mean_idle, bubble, 1e-9, "p %u v %u m %u n %u: %g, not %g", p, v, m,
                           n, metrics.bubble_mean_idle, bubble);
        for (uint32_t r = 0; r < p; r++) {
            int64_t window = n * v + shape.window * (p - 1 - r), all = (int64_t)n * v * m;
            cr_expect_eq(metrics.devices[r].memory.peak_in_flight, window < all ? window : all);
        }
        sp_metrics_finish(&metrics);
        hand_destroy(hand);
    }
}

Test(metrics, empty_program)
{
    struct hand *hand = hand_create(1, 1);
    hand_finish(hand);
    struct sp_metrics metrics = measure(hand, 0);
    cr_expect_eq(metrics.makespan_ns, 0);
    cr_expect_eq(metrics.bubble_mean_idle, 0);
    cr_expect_eq(metrics.bubble_longest_span, 0);
    sp_metrics_finish(&metrics);
    hand_destroy(hand);
}

Test(metrics, short_memory)
{
    struct hand *hand = two_devices();
    struct sp_timeline timeline = {.source = "untouched"};
    struct sp_metrics metrics = {.makespan_ns = -1};
    struct sp_error error;
    for (int i = 0; i < 2; i++) {
        sp_alloc_fail_after(i);
        cr_expect_eq(sp_timeline_init(&timeline, &hand->program, "measured", &error), SP_MEMORY);
        cr_expect_str_eq(timeline.source, "untouched");
    }
    sp_alloc_fail_after(0);
    cr_expect_eq(sp_metrics_init(&metrics, &hand->timeline, 0, &error), SP_MEMORY);
    cr_expect_eq(metrics.makespan_ns, -1);
    sp_alloc_fail_after(-1);
    cr_assert_eq(sp_timeline_init(&timeline, &hand->program, "measured", &error), SP_OK);
    cr_expect_eq(timeline.end_ns[hand->program.instruction_count - 1], 0);
    sp_timeline_finish(&timeline);
    sp_timeline_finish(&timeline);
    sp_timeline_finish(NULL);
    sp_metrics_finish(NULL);
    hand_destroy(hand);
}

static void expect_categories(const struct sp_json_value *device, const char *key)
{
    const struct sp_json_value *categories = sp_json_find(device, key);
    cr_assert(sp_json_is_object(categories), "%s", key);
    cr_expect_eq(sp_json_size(categories), SP_MEMORY_CATEGORIES);
    for (int i = 0; i < SP_MEMORY_CATEGORIES; i++)
        cr_expect(sp_json_find(categories, sp_memory_names[i]), "%s.%s", key, sp_memory_names[i]);
}

static int64_t whole(const struct sp_json *json, const struct sp_json_value *object, const char *key)
{
    int64_t number = -1;
    struct sp_error error;
    cr_assert_eq(sp_json_get_whole(json, object, key, 0, INT64_C(1) << 53, &number, &error), SP_OK, "%s",
                 error.message);
    return number;
}

/* The keys of DESIGN.md, no more and no fewer. */
Test(summary, keys)
{
    static const char *const top[] = {"makespan_ns",       "bubble",  "bound_ns", "gap", "mfu",
                                      "tokens_per_second", "devices", NULL};
    static const char *const of_device[] = {"busy_ns",          "peak_bytes", "peak_inflight",
                                            "peak_by_category", "at_peak",    NULL};
    static const char *const of_bubble[] = {"mean_idle", "longest_span", NULL};
    struct hand *hand = two_devices();
    struct sp_metrics metrics = measure(hand, 0);
    struct sp_json_writer writer;
    struct sp_json *json = NULL;
    struct sp_error error;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_metrics_write_json(&metrics, &writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
    fclose(stream);
    cr_assert_eq(sp_json_parse(text, size, "summary", &json, &error), SP_OK, "%s", error.message);

    const struct sp_json_value *root = sp_json_root(json), *bubble = sp_json_find(root, "bubble");
    cr_expect_eq(sp_json_only(json, root, top, &error), SP_OK, "%s", error.message);
    cr_expect_eq(sp_json_size(root), 7);
    cr_expect_eq(sp_json_only(json, bubble, of_bubble, &error), SP_OK, "%s", error.message);
    cr_expect_eq(sp_json_size(bubble), 2);
    cr_expect_eq(whole(json, root, "makespan_ns"), 50);
    cr_expect(sp_json_is_null(sp_json_find(root, "mfu")));
    cr_expect(sp_json_is_null(sp_json_find(root, "tokens_per_second")));
    cr_expect(sp_json_is_null(sp_json_find(root, "bound_ns")));
    cr_expect(sp_json_is_null(sp_json_find(root, "gap")));
    cr_expect_eq(sp_json_size(sp_json_find(root, "devices")), 2);
    const struct sp_json_value *device = sp_json_first(sp_json_find(root, "devices"));
    cr_expect_eq(sp_json_only(json, device, of_device, &error), SP_OK, "%s", error.message);
    cr_expect_eq(sp_json_size(device), 5);
    cr_expect_eq(whole(json, device, "busy_ns"), 30);
    cr_expect_eq(whole(json, device, "peak_bytes"), 1040);
    cr_expect_eq(whole(json, device, "peak_inflight"), 1);
    expect_categories(device, "peak_by_category");
    expect_categories(device, "at_peak");
    cr_expect_eq(whole(json, sp_json_find(device, "at_peak"), "weights"), 1000);
    cr_expect_eq(whole(json, sp_json_find(device, "peak_by_category"), "activations"), 40);
    sp_json_destroy(json);
    free(text);
    sp_metrics_finish(&metrics);
    hand_destroy(hand);
}

static char *table_of(const struct sp_metrics *metrics, int columns)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    sp_metrics_write_table(metrics, stream, columns);
    fclose(stream);
    return text;
}

Test(table, as_shown)
{
    struct hand *hand = two_devices();
    struct sp_metrics metrics = measure(hand, 40);
    char *text = table_of(&metrics, 80);
    cr_expect_str_eq(text, "makespan  50 ns, 25.0 % above the bound 40 ns\n"
                           "bubble    54.0 % mean idle, 40.0 % of the longest span\n"
                           "memory    1.02 KiB on device 0\n"
                           "messages  300 B\n"
                           "\n"
                           " device    busy    idle     peak  held  largest at the peak\n"
                           "      0   30 ns  40.0 % 1.02 KiB     1  weights 0.98 KiB, activations 40 B\n"
                           "      1   16 ns  68.0 %        -     0\n");
    free(text);
    sp_metrics_finish(&metrics);
    hand_destroy(hand);
}

static int longest_line(const char *text)
{
    int longest = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1)
        longest = end - text > longest ? (int)(end - text) : longest;
    return longest;
}

static int lines_of(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

Test(table, fits_and_condenses)
{
    static const uint32_t devices[] = {1, 8, 23, 24, 61, 128};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        struct hand_shape shape = {devices[i], 1, 4, 1, 1, 123456, 234567, 1000};
        struct hand *hand = hand_pipeline(&shape);
        struct sp_metrics metrics = measure(hand, 0);
        for (int columns = 56; columns <= 120; columns += 5) {
            char *text = table_of(&metrics, columns);
            cr_expect_leq(longest_line(text), columns, "%u devices, %d columns:\n%s", devices[i], columns,
                          text);
            cr_expect_leq(lines_of(text), 6 + 23);
            free(text);
        }
        sp_metrics_finish(&metrics);
        hand_destroy(hand);
    }
}
