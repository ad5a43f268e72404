/* SPDX-License-Identifier: Apache-2.0 */
/* Plans in files: fixtures good and bad, round trips, damaged text, failing allocations. */
#include <criterion/criterion.h>
#include <glob.h>
#include <unistd.h>

#include "plan_property.h"
#include "random.h"
#include "slimpipe/arena.h"
#include "slimpipe/file.h"
#include "slimpipe/program.h"

struct text {
    char *bytes;
    size_t size;
};

static struct text read_text(const char *path)
{
    struct text text;
    struct sp_error error;
    cr_assert_eq(sp_file_read(path, 1 << 26, &text.bytes, &text.size, &error), SP_OK, "%s: %s", path,
                 error.message);
    return text;
}

static glob_t find_fixtures(const char *pattern, size_t least)
{
    glob_t found;
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
    cr_assert_geq(found.gl_pathc, least);
    return found;
}

static struct sp_plan *read_plan(const char *path)
{
    struct sp_plan *plan = NULL;
    struct sp_error error;
    char line[1400];
    enum sp_status status = sp_plan_read(path, &plan, &error);
    cr_assert_eq(status, SP_OK, "%s", sp_error_text(&error, line, sizeof line));
    return plan;
}

/* Good fixtures but loose.json are in the canonical form. */
Test(plan, good_fixtures_round_trip)
{
    glob_t found = find_fixtures("tests/plans/good/*.json", 6);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        struct sp_plan *plan = read_plan(path);
        struct text file = read_text(strstr(path, "loose.json") ? "tests/plans/good/unit-1f1b.json" : path);
        size_t size;
        char *printed = print_plan(plan, &size);
        cr_assert_not_null(printed);
        cr_expect(size == file.size && memcmp(printed, file.bytes, size) == 0, "%s is not canonical", path);
        const char *wrong = check_printed(plan);
        cr_expect_null(wrong, "%s: %s", path, wrong);
        free(printed);
        sp_free(file.bytes);
        sp_plan_destroy(plan);
    }
    globfree(&found);
}

/* What the checks let in, the lowering can use. */
Test(plan, good_fixtures_can_be_lowered)
{
    glob_t found = find_fixtures("tests/plans/good/*.json", 6);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct sp_plan *plan = read_plan(found.gl_pathv[i]);
        struct sp_program *program = NULL;
        struct sp_error error = {.status = SP_OK};
        cr_expect_eq(sp_program_create(plan, &program, &error), SP_OK, "%s: %s", found.gl_pathv[i],
                     error.message);
        sp_program_destroy(program);
        sp_plan_destroy(plan);
    }
    globfree(&found);
}

/*
 * NAME.expected: the exit code and status, then the message as the program prints it. UPDATE=1 writes it.
 */
static void check_bad(const char *path)
{
    char name[512], line[1400], actual[1600];
    struct sp_plan *plan = NULL;
    struct sp_error error = {.status = SP_OK};
    enum sp_status status = sp_plan_read(path, &plan, &error);
    cr_expect_neq(status, SP_OK, "%s is accepted", path);
    cr_expect_null(plan);
    snprintf(actual, sizeof actual, "exit 1, %s\n%s\n", sp_status_text(status),
             sp_error_text(&error, line, sizeof line));
    snprintf(name, sizeof name, "%.*s.expected", (int)(strlen(path) - strlen(".json")), path);
    if (getenv("UPDATE")) {
        FILE *stream = fopen(name, "w");
        cr_assert_not_null(stream);
        fputs(actual, stream);
        fclose(stream);
        return;
    }
    struct text expected = read_text(name);
    cr_expect_str_eq(actual, expected.bytes);
    sp_free(expected.bytes);
}

Test(plan, bad_fixtures_say_what_and_where)
{
    glob_t found = find_fixtures("tests/plans/bad/*.json", 40);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_bad(found.gl_pathv[i]);
    globfree(&found);
}

Test(plan, missing_file_is_an_io_error)
{
    struct sp_plan *plan = NULL;
    struct sp_error error;
    cr_assert_eq(sp_plan_read("tests/plans/good/none.json", &plan, &error), SP_IO);
    cr_expect_str_eq(error.source, "tests/plans/good/none.json");
    cr_expect_str_eq(error.message, "cannot open: No such file or directory");
    cr_expect_null(plan);
}

/* Exchanges two runs of bytes of the text that begin behind blanks: tokens, mostly. */
static void swap_tokens(struct text *text, struct random *random)
{
    char buffer[2][16];
    size_t at[2], size[2];
    for (int i = 0; i < 2; i++) {
        at[i] = random_below(random, (uint32_t)text->size);
        while (at[i] > 0 && text->bytes[at[i] - 1] != ' ' && text->bytes[at[i] - 1] != '"')
            at[i]--;
        size[i] = strcspn(text->bytes + at[i], " \"\n");
        if (size[i] >= sizeof buffer[i])
            return;
        memcpy(buffer[i], text->bytes + at[i], size[i]);
    }
    if (size[0] != size[1])
        return;
    memcpy(text->bytes + at[0], buffer[1], size[0]);
    memcpy(text->bytes + at[1], buffer[0], size[0]);
}

static void damage(struct text *text, struct random *random)
{
    static const char pool[] = "0123456789{}[]\",:.-+eE FBIWSTROL();@<>\\u\n\t\x80\xc3\xff";
    uint32_t at = random_below(random, (uint32_t)text->size), count = 1 + random_below(random, 12);
    if (count > text->size - at)
        count = (uint32_t)text->size - at;
    switch (random_below(random, 4)) {
    case 0:
        text->bytes[at] = pool[random_below(random, sizeof pool - 1)];
        break;
    case 1:
        memmove(text->bytes + at, text->bytes + at + count, text->size - at - count);
        text->size -= count;
        break;
    case 2:
        memmove(text->bytes + random_below(random, (uint32_t)(text->size - count + 1)), text->bytes + at,
                count);
        break;
    default:
        swap_tokens(text, random);
    }
    text->bytes[text->size] = 0;
}

Test(plan, damaged_text_is_refused_or_round_trips)
{
    const uint64_t seed = 20240613;
    glob_t found = find_fixtures("tests/plans/good/*.json", 6);
    struct random random = {seed};
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct text file = read_text(found.gl_pathv[i]);
        char *bytes = malloc(file.size + 1);
        cr_assert_not_null(bytes);
        for (int j = 0; j < 250; j++) {
            struct text text = {bytes, file.size};
            memcpy(bytes, file.bytes, file.size + 1);
            for (uint32_t k = 0; k <= random_below(&random, 3) && text.size > 0; k++)
                damage(&text, &random);
            const char *wrong = check_plan_text(text.bytes, text.size);
            cr_assert_null(wrong, "%s (%s, seed %lu, damage %d):\n%.*s", wrong, found.gl_pathv[i],
                           (unsigned long)seed, j, (int)text.size, text.bytes);
        }
        free(bytes);
        sp_free(file.bytes);
    }
    globfree(&found);
}

/* Every allocation of a read fails once; the leak check of the sanitizers sees what is not given back. */
Test(plan, failing_allocations_are_reported)
{
    glob_t found = find_fixtures("tests/plans/good/*.json", 6);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        enum sp_status status = SP_MEMORY;
        for (int64_t n = 0; status != SP_OK; n++) {
            struct sp_plan *plan = NULL;
            struct sp_error error = {.status = SP_OK};
            sp_alloc_fail_after(n);
            status = sp_plan_read(found.gl_pathv[i], &plan, &error);
            sp_alloc_fail_after(-1);
            if (status == SP_OK)
                sp_plan_destroy(plan);
            else
                cr_assert(status == SP_MEMORY && error.status == SP_MEMORY && !plan, "%s, allocation %ld: %s",
                          found.gl_pathv[i], (long)n, error.message);
        }
    }
    globfree(&found);
}

Test(plan, failing_allocations_leave_the_target_alone)
{
    char path[] = "/tmp/test_plan_XXXXXX";
    int descriptor = mkstemp(path);
    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, "old\n", 4), 4);
    close(descriptor);
    struct sp_plan *plan = read_plan("tests/plans/good/exchange-during.json");
    enum sp_status status = SP_MEMORY;
    for (int64_t n = 0; status != SP_OK; n++) {
        sp_alloc_fail_after(n);
        status = sp_plan_write(plan, path, NULL);
        sp_alloc_fail_after(-1);
        struct text file = read_text(path);
        cr_assert(status == SP_OK || (status == SP_MEMORY && strcmp(file.bytes, "old\n") == 0));
        sp_free(file.bytes);
    }
    sp_plan_destroy(plan);
    sp_plan_destroy(read_plan(path));
    unlink(path);
}

/* Ways to break a plan in memory that no document has, and where the check finds them. */
static void unknown_recompute(struct sp_plan *plan)
{
    plan->stages[1].recompute = (enum sp_recompute)(SP_RECOMPUTE_FULL + 1);
}

static void unknown_train(struct sp_plan *plan)
{
    plan->stages[0].train = (enum sp_train)(SP_TRAIN_NONE + 1);
}

static void unknown_vocabulary(struct sp_plan *plan)
{
    plan->vocabulary = (enum sp_vocabulary)(SP_VOCABULARY_TILED + 1);
}

static void unknown_kind(struct sp_plan *plan)
{
    plan->order.passes[2].kind = SP_PASS_KINDS;
}

static void unknown_anchor(struct sp_plan *plan)
{
    plan->exchange[1].where = SP_ANCHOR_AFTER + 1;
}

static void no_costs(struct sp_plan *plan)
{
    plan->costs = NULL;
}

static void no_stages(struct sp_plan *plan)
{
    plan->stage_count = 0;
}

static void no_schedule(struct sp_plan *plan)
{
    plan->schedule = NULL;
}

static void negative_begin(struct sp_plan *plan)
{
    plan->exchange[0].token_begin = -1;
}

Test(plan, plans_in_memory_are_not_trusted)
{
    static const struct {
        void (*damage)(struct sp_plan *plan);
        const char *path, *message;
    } cases[] = {
        {unknown_recompute, "$.stages[1].recompute", "unknown recompute policy 3"},
        {unknown_train, "$.stages[0].train", "unknown train policy 3"},
        {unknown_vocabulary, "$.options.vocabulary", "expected a whole number from 0 to 4, found 5"},
        {unknown_kind, "$.order[0]", "unknown kind of pass 9"},
        {unknown_anchor, "$.exchange.parts", "anchor 1F0.2: unknown place 3"},
        {no_costs, "$", "neither a model nor pass costs"},
        {no_stages, "$.stages", "expected 1 to 16384 stages, found 0"},
        {no_schedule, "$.schedule", "expected a name of 1 to 63 letters, digits or -_.+"},
        {negative_begin, "$.exchange.parts", "pass 0F0.2: expected past tokens within 0-16, found -1-4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sp_plan *plan = read_plan("tests/plans/good/exchange-during.json");
        struct sp_error error;
        cases[i].damage(plan);
        cr_expect_eq(sp_plan_check(plan, &error), SP_INPUT);
        cr_expect_eq(sp_plan_check(plan, NULL), SP_INPUT);
        cr_expect_str_eq(error.path, cases[i].path);
        cr_expect_str_eq(error.message, cases[i].message);
        cr_expect_eq(error.line, 0);
        sp_plan_destroy(plan);
    }
}

Test(plan, check_sorts_parts_and_finds_their_helpers)
{
    struct sp_plan *plan = read_plan("tests/plans/good/exchange-during.json");
    struct sp_exchange_part part = plan->exchange[0];
    cr_assert_eq(plan->exchange_count, 3);
    plan->exchange[0] = plan->exchange[2];
    plan->exchange[2] = part;
    for (int i = 0; i < 3; i++)
        plan->exchange[i].device = 99;
    cr_assert_eq(sp_plan_check(plan, NULL), SP_OK);
    cr_expect(plan->exchange[0].device == 1 && plan->exchange[1].device == 1 &&
              plan->exchange[2].device == 0);
    cr_expect(plan->exchange[0].pass.slice == 2 && plan->exchange[1].pass.slice == 3);
    sp_plan_destroy(plan);
}

Test(plan, a_new_plan_has_defaults)
{
    struct sp_plan *plan = sp_plan_create();
    cr_assert_not_null(plan);
    cr_expect_eq(plan->slice_count, 1);
    cr_expect_eq(plan->parallel.pipeline, 1);
    cr_expect_eq(plan->memory_cap_bytes, 0);
    cr_expect_str_eq(plan->exchange_policy, "none");
    sp_plan_destroy(plan);
    sp_plan_destroy(NULL);
}

Test(plan, neighbours_follow_the_path)
{
    struct sp_plan *plan = read_plan("tests/plans/good/paths.json"); /* microbatch 1 takes stages 0 and 2 */
    cr_expect_eq(sp_plan_next_stage(plan, 0, 0), 1);
    cr_expect_eq(sp_plan_next_stage(plan, 1, 0), 2);
    cr_expect_eq(sp_plan_previous_stage(plan, 1, 2), 0);
    cr_expect_eq(sp_plan_next_stage(plan, 1, 2), -1);
    cr_expect_eq(sp_plan_previous_stage(plan, 1, 0), -1);
    cr_expect_eq(sp_plan_next_stage(plan, 1, 1), -1);
    sp_plan_destroy(plan);
    plan = read_plan("tests/plans/good/model.json");
    cr_expect_eq(sp_plan_next_stage(plan, 1, 3), -1);
    cr_expect_eq(sp_plan_previous_stage(plan, 1, 3), 2);
    cr_expect_eq(sp_plan_slice_begin(plan, 0), 0);
    cr_expect_eq(sp_plan_slice_begin(plan, 3), 3 * 8192);
    sp_plan_destroy(plan);
}

Test(plan, pass_tokens)
{
    static const char *const wrong[] = {"",      "F0",     "0F",     "00F0.0",    "0F00.0",
                                        "0F0",   "0F0.",   "0X0.0",  "16384F0.0", "0F0.65535",
                                        "0f0.0", "-1F0.0", "0F-0.0", " 0F0.0"};
    struct sp_pass pass = {.joined = 1};
    char text[32];
    const char *largest = "16383T1048575.65534;", *cursor = largest;
    cr_assert(sp_pass_parse(&cursor, true, &pass));
    cr_expect_eq(*cursor, ';');
    cr_expect(pass.stage == 16383 && pass.kind == SP_PASS_T && pass.microbatch == 1048575 &&
              pass.slice == 65534 && pass.joined == 0);
    cr_expect_str_eq(sp_pass_text(&pass, 65535, text, sizeof text), "16383T1048575.65534");
    cr_expect_str_eq(sp_pass_text(&pass, 1, text, sizeof text), "16383T1048575");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cursor = wrong[i];
        cr_expect(!sp_pass_parse(&cursor, true, &pass) && cursor == wrong[i], "%s", wrong[i]);
    }
    cursor = "0F0.0";
    cr_expect_not(sp_pass_parse(&cursor, false, &pass));
}

Test(plan, table_finds_every_pass)
{
    glob_t found = find_fixtures("tests/plans/good/*.json", 6);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct sp_plan *plan = read_plan(found.gl_pathv[i]);
        struct sp_pass_table *table = sp_pass_table_create(plan, plan->arena);
        const struct sp_order *order = &plan->order;
        cr_assert_not_null(table);
        for (uint32_t device = 0; device < order->device_count; device++) {
            for (uint64_t j = order->begin[device]; j < order->begin[device + 1]; j++) {
                const struct sp_pass *pass = &order->passes[j];
                bool output = pass->kind == SP_PASS_S || pass->kind == SP_PASS_T;
                uint32_t row = output ? device : pass->stage;
                cr_expect_eq((output ? sp_pass_table_find_output : sp_pass_table_find)(
                                 table, pass->kind, row, pass->microbatch, pass->slice),
                             j);
                if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
                    cr_expect_eq(
                        sp_pass_table_find_backward(table, pass->stage, pass->microbatch, pass->slice), j);
            }
        }
        cr_expect_eq(sp_pass_table_find(table, SP_PASS_F, plan->stage_count, 0, 0), SP_NO_PASS);
        cr_expect_eq(sp_pass_table_find(table, SP_PASS_F, 0, 0, plan->slice_count), SP_NO_PASS);
        sp_plan_destroy(plan);
    }
    globfree(&found);
}
