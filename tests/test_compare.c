/* SPDX-License-Identifier: Apache-2.0 */
/* Predicted against measured. */
#include <criterion/criterion.h>
#include <math.h>

#include "hand_program.h"
#include "slimpipe/json.h"

/* Two forwards and a backward, predicted 10, 10 and 20 ns, measured 12, 6 and 30; an optimizer step 0 and 5.
 */
struct pair {
    struct hand *hand;
    struct sp_timeline measured;
};

static struct pair pair_of(void)
{
    static const int64_t predicted[] = {0, 10, 20, 40, 40}, measured[] = {0, 12, 18, 48, 53};
    struct pair pair = {.hand = hand_create(1, 4)};
    struct sp_error error = {.status = SP_OK};
    for (uint32_t i = 0; i < 4; i++) {
        struct sp_pass pass = {.kind = i == 2 ? SP_PASS_B : SP_PASS_F, .microbatch = i == 1};
        hand_compute(pair.hand, 0, pass, predicted[i], predicted[i + 1]);
    }
    pair.hand->program.instructions[3].kind = SP_INSTRUCTION_STEP;
    pair.hand->program.instructions[3].pass = SP_NO_INDEX;
    hand_finish(pair.hand);
    cr_assert_eq(sp_timeline_init(&pair.measured, &pair.hand->program, "measured", &error), SP_OK);
    for (uint32_t i = 0; i < 4; i++) {
        pair.measured.start_ns[i] = measured[i];
        pair.measured.end_ns[i] = measured[i + 1];
    }
    return pair;
}

static void drop_pair(struct pair *pair)
{
    sp_timeline_finish(&pair->measured);
    hand_destroy(pair->hand);
}

Test(compare, counted)
{
    struct pair pair = pair_of();
    struct sp_comparison comparison;
    sp_comparison_make(&pair.hand->timeline, &pair.measured, &comparison);
    cr_expect_eq(comparison.predicted_makespan_ns, 40);
    cr_expect_eq(comparison.measured_makespan_ns, 53);
    const struct sp_comparison_row *row = &comparison.rows[SP_INSTRUCTION_PASS][SP_PASS_F];
    cr_expect_eq(row->count, 2);
    cr_expect_eq(row->predicted_ns, 20);
    cr_expect_eq(row->measured_ns, 18);
    cr_expect_eq(row->absolute_ns, 2 + 4);
    cr_expect_float_eq(sp_comparison_error(row), -0.1, 1e-12);
    row = &comparison.rows[SP_INSTRUCTION_STEP][SP_PASS_KINDS];
    cr_expect_eq(row->count, 1);
    cr_expect(isnan(sp_comparison_error(row)));
    static const uint32_t worst[] = {2, 3, 1, 0}; /* by 10, 5, 4, 2 */
    cr_assert_eq(comparison.worst_count, 4);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(comparison.worst[i], worst[i]);
    drop_pair(&pair);
}

Test(compare, keeps_the_worst)
{
    enum { COUNT = 30 };
    struct hand *hand = hand_create(1, COUNT);
    struct sp_timeline measured;
    struct sp_comparison comparison;
    struct sp_error error;
    for (int i = 0; i < COUNT; i++)
        hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_F}, 100 * i, 100 * i);
    hand_finish(hand);
    cr_assert_eq(sp_timeline_init(&measured, &hand->program, "measured", &error), SP_OK);
    for (int i = 0; i < COUNT; i++) {
        measured.start_ns[i] = 100 * i;
        measured.end_ns[i] = 100 * i + i * 7 % COUNT / 2; /* each deviation twice */
    }
    sp_comparison_make(&hand->timeline, &measured, &comparison);
    cr_assert_eq(comparison.worst_count, SP_COMPARISON_WORST);
    for (int i = 0; i < SP_COMPARISON_WORST; i++) {
        uint32_t number = comparison.worst[i];
        cr_expect_eq(number * 7 % COUNT / 2, (uint32_t)(COUNT / 2 - 1 - i / 2));
        cr_expect(i % 2 == 0 || comparison.worst[i - 1] < number, "ties by number");
    }
    sp_timeline_finish(&measured);
    hand_destroy(hand);
}

Test(compare, table)
{
    struct pair pair = pair_of();
    struct sp_comparison comparison;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    sp_comparison_make(&pair.hand->timeline, &pair.measured, &comparison);
    sp_comparison_write_table(&comparison, stream, 64);
    fclose(stream);
    cr_expect_str_eq(text, "                     count predicted  measured    error  |error|\n"
                           "forward                  2     10 ns      9 ns  -10.0 %   30.0 %\n"
                           "backward                 1     20 ns     30 ns  +50.0 %   50.0 %\n"
                           "optimizer step           1      0 ns      5 ns        -        -\n"
                           "makespan                       40 ns     53 ns  +32.5 %\n"
                           "\n"
                           "furthest off        device predicted  measured    error\n"
                           "0B0                      0     20 ns     30 ns  +50.0 %\n"
                           "optimizer step           0      0 ns      5 ns        -\n"
                           "0F1                      0     10 ns      6 ns  -40.0 %\n"
                           "0F0                      0     10 ns     12 ns  +20.0 %\n");
    free(text);
    drop_pair(&pair);
}

Test(compare, json)
{
    struct pair pair = pair_of();
    struct sp_comparison comparison;
    struct sp_json_writer writer;
    struct sp_json *json = NULL;
    struct sp_error error;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    sp_comparison_make(&pair.hand->timeline, &pair.measured, &comparison);
    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_comparison_write_json(&comparison, &writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
    fclose(stream);
    cr_assert_eq(sp_json_parse(text, size, "comparison", &json, &error), SP_OK, "%s", error.message);
    const struct sp_json_value *root = sp_json_root(json), *kinds = sp_json_find(root, "kinds");
    cr_expect_eq(sp_json_size(root), 3);
    cr_expect_eq(sp_json_size(kinds), 3);
    cr_expect_eq(sp_json_size(sp_json_find(root, "worst")), 4);
    double number = 0;
    cr_expect_eq(
        sp_json_real(json, sp_json_find(sp_json_first(kinds), "absolute_error"), 0, 1, &number, &error),
        SP_OK);
    cr_expect_float_eq(number, 0.3, 1e-12);
    const struct sp_json_value *step = sp_json_next(sp_json_next(sp_json_first(kinds)));
    cr_expect(sp_json_is_null(sp_json_find(step, "pass")));
    cr_expect(sp_json_is_null(sp_json_find(step, "error")));
    sp_json_destroy(json);
    free(text);
    drop_pair(&pair);
}

Test(compare, picture)
{
    struct pair pair = pair_of();
    struct sp_comparison comparison;
    struct sp_metrics metrics[2];
    struct sp_error error;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    sp_comparison_make(&pair.hand->timeline, &pair.measured, &comparison);
    cr_assert_eq(sp_metrics_init(&metrics[0], &pair.hand->timeline, 0, &error), SP_OK);
    cr_assert_eq(sp_metrics_init(&metrics[1], &pair.measured, 0, &error), SP_OK);
    sp_comparison_write_svg(&comparison, &metrics[0], &metrics[1], "both", stream);
    fclose(stream);
    cr_expect_not_null(strstr(text, ">predicted: 40 ns, 0.0 % idle</text>"), "%s", text);
    cr_expect_not_null(strstr(text, ">measured: 53 ns, 0.0 % idle (+32.5 %)</text>"));
    /* One axis: what ends at 40 of 53 ns ends there in the picture: 62 + 900 · 20/53 long 900 · 20/53. */
    cr_expect_not_null(strstr(text, "d=\"M401.62 "));
    sp_metrics_finish(&metrics[0]);
    sp_metrics_finish(&metrics[1]);
    free(text);
    drop_pair(&pair);
}
