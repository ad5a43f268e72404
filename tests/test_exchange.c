/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange policies on whole plans: waves, the authors' rule and its figures, ours and its bubble. */
#include <math.h>

#include "../planner/exchange.h"
#include "random.h"
#include "slimpipe/arena.h"
#include "support.h"

struct shape {
    uint32_t devices, slices, chunks, microbatches;
};

/* A plan of a paper's model; without output, its output layer takes no time. */
static struct sp_plan *compose_paper(const char *model_name, const char *cluster_name, struct shape shape,
                                     int64_t sequence_tokens, int64_t tensor, const char *exchange,
                                     bool output)
{
    static struct sp_model model;
    static struct sp_cluster cluster;
    static struct sp_profile profile;
    struct sp_error error = {.status = SP_OK};
    struct sp_plan *plan = NULL;
    cr_assert_eq(sp_model_read(model_name, &model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read(cluster_name, &cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(cluster.profile, &profile, &error), SP_OK, "%s", error.message);
    if (!output)
        model.vocab = 16;
    struct sp_request request = {.schedule = "slimpipe",
                                 .model = &model,
                                 .cluster = &cluster,
                                 .profile = &profile,
                                 .parallel = {shape.devices, tensor, 1, 1, 1},
                                 .chunks = shape.chunks,
                                 .slices = shape.slices,
                                 .sequence_tokens = sequence_tokens,
                                 .microbatches = shape.microbatches,
                                 .vocabulary = output ? SP_VOCABULARY_SCATTER : SP_VOCABULARY_LAST,
                                 .vocabulary_is_set = true,
                                 .exchange = exchange};
    cr_assert_eq(sp_plan_compose(&request, &plan, &error), SP_OK, "%s", error.message);
    return plan;
}

static struct sp_plan *paper_plan(const char *model_name, const char *cluster_name, struct shape shape,
                                  int64_t sequence_tokens, int64_t tensor)
{
    return compose_paper(model_name, cluster_name, shape, sequence_tokens, tensor, "none", false);
}

static void fill(struct sp_plan *plan, const char *policy)
{
    struct sp_error error = {.status = SP_OK};
    cr_assert_eq(sp_exchange_policy_find(policy)->fill(plan, &error), SP_OK, "%s", error.message);
    cr_assert_str_eq(plan->exchange_policy, policy);
    cr_assert_eq(sp_plan_check(plan, &error), SP_OK, "%s: %s", policy, error.message);
}

struct outcome {
    int64_t makespan_ns;
    double bubble;
};

static struct outcome run(const struct sp_plan *plan)
{
    struct sp_error error = {.status = SP_OK};
    struct sp_program *program = NULL;
    struct sp_timeline timeline = {0};
    struct sp_metrics metrics;
    cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_timeline_init(&timeline, program, "predicted", &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_sim_run(program, SP_SIM_LINKS, &timeline, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_metrics_init(&metrics, &timeline, 0, &error), SP_OK, "%s", error.message);
    struct outcome outcome = {metrics.makespan_ns, metrics.bubble_mean_idle};
    sp_metrics_finish(&metrics);
    sp_timeline_finish(&timeline);
    sp_program_destroy(program);
    return outcome;
}

/* --- Waves ------------------------------------------------------------------------------------------- */

static struct sp_waves find_waves(const struct sp_plan *plan, struct sp_arena *arena)
{
    struct sp_waves waves;
    struct sp_cost *cost = NULL;
    struct sp_error error = {.status = SP_OK};
    cr_assert_eq(sp_cost_create(plan, &cost, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_waves_find(plan, cost, arena, &waves, &error), SP_OK, "%s", error.message);
    sp_cost_destroy(cost);
    return waves;
}

static uint32_t device_of(const struct sp_plan *plan, uint64_t index)
{
    uint32_t device = 0;
    while (index >= plan->order.begin[device + 1])
        device++;
    return device;
}

/* The k-th F or B of a device. */
static uint64_t nth_pass(const struct sp_plan *plan, uint32_t device, enum sp_pass_kind kind, uint64_t k)
{
    for (uint64_t i = plan->order.begin[device]; i < plan->order.begin[device + 1]; i++)
        if (plan->order.passes[i].kind == kind && k-- == 0)
            return i;
    return SP_NO_PASS;
}

/*
 * The authors' waves: while rank r is at its item j, rank i is at j + (r − i) forward, j + (i − r) backward.
 * Written down from papers.md 1.3, without any timing.
 */
static void check_authors_waves(struct shape shape)
{
    struct sp_plan *plan = paper_plan("paper-13b", "ideal", shape, 128 * 1024, 1);
    struct sp_arena *arena = sp_arena_create();
    struct sp_waves waves = find_waves(plan, arena);
    uint64_t items = (uint64_t)shape.slices * shape.chunks * shape.microbatches;
    cr_assert_eq(waves.wave_count, 2 * (items + shape.devices - 1));
    for (uint32_t r = 1; r < shape.devices; r++) {
        for (uint64_t j = 0; j < items; j++) {
            uint64_t forward = nth_pass(plan, r, SP_PASS_F, j), backward = nth_pass(plan, r, SP_PASS_B, j);
            if (j + 1 < items)
                cr_assert_eq(waves.wave_of[forward], waves.wave_of[nth_pass(plan, r - 1, SP_PASS_F, j + 1)]);
            if (j > 0)
                cr_assert_eq(waves.wave_of[backward], waves.wave_of[nth_pass(plan, r - 1, SP_PASS_B, j - 1)]);
        }
    }
    sp_arena_destroy(arena);
    sp_plan_destroy(plan);
}

Test(exchange, waves_of_slimpipe_are_the_authors)
{
    check_authors_waves((struct shape){4, 4, 1, 4});
    check_authors_waves((struct shape){4, 8, 2, 3});
    check_authors_waves((struct shape){2, 4, 3, 2});
    check_authors_waves((struct shape){8, 16, 5, 2});
    check_authors_waves((struct shape){4, 6, 1, 4}); /* groups of 6 */
    check_authors_waves((struct shape){4, 8, 1, 1});
}

/* Everything that a pass waits for, and what stands before it on its device, is in an earlier wave or timed
 * before. */
static void check_wave_order(const struct sp_plan *plan, const struct sp_waves *waves)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_pass_table *table = sp_pass_table_create(plan, arena);
    uint64_t count = plan->order.begin[plan->order.device_count], members = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct sp_pass *pass = &plan->order.passes[i];
        uint32_t wave = waves->wave_of[i];
        uint32_t device = device_of(plan, i);
        uint64_t needs[3] = {SP_NO_PASS, SP_NO_PASS, SP_NO_PASS};
        if (i > plan->order.begin[device])
            needs[0] = i - 1;
        if (pass->kind == SP_PASS_F && sp_plan_previous_stage(plan, pass->microbatch, pass->stage) >= 0)
            needs[1] = sp_pass_table_find(
                table, SP_PASS_F, (uint32_t)sp_plan_previous_stage(plan, pass->microbatch, pass->stage),
                pass->microbatch, pass->slice);
        if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I) {
            needs[1] = sp_pass_table_find(table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice);
            if (sp_plan_next_stage(plan, pass->microbatch, pass->stage) >= 0)
                needs[2] = sp_pass_table_find_backward(
                    table, (uint32_t)sp_plan_next_stage(plan, pass->microbatch, pass->stage),
                    pass->microbatch, pass->slice);
        }
        for (int k = 0; k < 3; k++) {
            if (needs[k] == SP_NO_PASS || (needs[k] + 1 == i && plan->order.passes[needs[k]].joined))
                continue;
            cr_assert_lt(waves->number[needs[k]], waves->number[i]);
            cr_assert_leq(waves->pass_end_ns[needs[k]], waves->pass_start_ns[i]);
            cr_assert_leq(waves->next_wave[needs[k]], waves->next_wave[i]);
            if (wave != SP_NO_WAVE)
                cr_assert_leq(waves->next_wave[needs[k]], wave, "pass %lu needs one of its own wave",
                              (unsigned long)i);
        }
        members += wave != SP_NO_WAVE;
    }
    cr_assert_eq(members, waves->member_begin[waves->wave_count]);
    for (uint32_t w = 0; w < waves->wave_count; w++) {
        for (uint64_t k = waves->member_begin[w]; k < waves->member_begin[w + 1]; k++) {
            uint64_t index = waves->members[k];
            cr_assert_eq(waves->wave_of[index], w);
            cr_assert_eq(waves->pass_start_ns[index], waves->start_ns[w]);
            cr_assert_eq(plan->order.passes[index].kind,
                         plan->order.passes[waves->members[waves->member_begin[w]]].kind);
            if (k > waves->member_begin[w])
                cr_assert_lt(device_of(plan, waves->members[k - 1]), device_of(plan, index));
        }
    }
    sp_arena_destroy(arena);
}

static bool compose_units(const char *schedule, struct shape shape, uint32_t window,
                          const struct unit_costs *units, struct sp_plan **ret_plan)
{
    struct sp_error error = {.status = SP_OK};
    struct sp_request request = {.schedule = schedule,
                                 .costs = &units->costs,
                                 .cost_stages = 1,
                                 .parallel = {.pipeline = shape.devices},
                                 .chunks = shape.chunks,
                                 .slices = shape.slices,
                                 .window = window,
                                 .microbatches = shape.microbatches};
    return sp_plan_compose(&request, ret_plan, &error) == SP_OK;
}

/* Every schedule of the registry that takes a random shape: waves in order, and every policy passes the
 * checks. */
Test(exchange, any_schedule_has_waves_and_no_cycle)
{
    struct random random = {7};
    uint64_t composed = 0, with_parts = 0;
    for (int round = 0; round < 25; round++) {
        for (int i = 0; sp_schedules[i]; i++) {
            struct shape shape = {2 + random_below(&random, 4), 1 + random_below(&random, 8),
                                  1 + random_below(&random, 3), 1 + random_below(&random, 6)};
            struct unit_costs units;
            struct sp_plan *plan;
            unit_costs_init(&units, 2000 + random_below(&random, 2000), 2000 + random_below(&random, 4000),
                            random_below(&random, 2000), random_below(&random, 3) * 50);
            units.costs.attention_permille = random_below(&random, 900);
            if (!compose_units(sp_schedules[i]->name, shape, random_below(&random, 3), &units, &plan))
                continue;
            struct sp_arena *arena = sp_arena_create();
            struct sp_waves waves = find_waves(plan, arena);
            check_wave_order(plan, &waves);
            for (int k = 0; sp_exchange_policies[k]; k++)
                fill(plan, sp_exchange_policies[k]->name);
            with_parts += plan->exchange_count > 0;
            composed++;
            sp_arena_destroy(arena);
            sp_plan_destroy(plan);
        }
    }
    cr_assert_gt(composed, 60, "%lu", composed);
    cr_assert_gt(with_parts, 10);
}

/* --- The authors' rule ------------------------------------------------------------------------------- */

/* Slices of past that each pass computes, its own and as a helper. */
static double *computed_slices(const struct sp_plan *plan, uint64_t *ret_moved)
{
    uint64_t count = plan->order.begin[plan->order.device_count];
    double *slices = sp_alloc(count, sizeof(*slices));
    struct sp_arena *arena = sp_arena_create();
    struct sp_pass_table *table = sp_pass_table_create(plan, arena);
    *ret_moved = 0;
    for (uint64_t i = 0; i < count; i++)
        slices[i] = plan->order.passes[i].slice;
    for (uint64_t e = 0; e < plan->exchange_count; e++) {
        const struct sp_exchange_part *part = &plan->exchange[e];
        double moved = (double)(part->token_end - part->token_begin) / (double)plan->slice_tokens[0];
        slices[sp_pass_table_find(table, part->pass.kind, part->pass.stage, part->pass.microbatch,
                                  part->pass.slice)] -= moved;
        slices[sp_pass_table_find(table, part->anchor.kind, part->anchor.stage, part->anchor.microbatch,
                                  part->anchor.slice)] += moved;
        if (part->pass.kind == SP_PASS_F)
            *ret_moved += (uint64_t)moved;
    }
    sp_arena_destroy(arena);
    return slices;
}

/*
 * papers.md 1.3: largest over mean attention load (own slice half, past slices whole), summed over full
 * forward waves, before and after; and slices sent per pass in these waves. v 5, m 4.
 */
Test(exchange, pairwise_has_the_authors_residuals)
{
    static const struct {
        uint32_t devices, slices;
        double before, after, sent; /* sent 0: not given */
    } rows[] = {{4, 4, 1.750, 1.250, 0},      {4, 8, 1.404, 1.135, .288},  {8, 8, 1.875, 1.125, 0},
                {8, 16, 1.471, 1.077, .827},  {8, 32, 1.244, 1.042, .864}, {16, 16, 1.938, 1.0625, 0},
                {16, 64, 1.261, 1.028, 1.978}};
    for (size_t row = 0; row < sizeof(rows) / sizeof(*rows); row++) {
        struct shape shape = {rows[row].devices, rows[row].slices, 5, 4};
        struct unit_costs units;
        struct sp_plan *plan;
        unit_costs_init(&units, 1000, 1000, 1000, 0);
        units.costs.attention_permille = 500;
        cr_assert(compose_units("slimpipe", shape, 0, &units, &plan));
        fill(plan, "pairwise");
        struct sp_arena *arena = sp_arena_create();
        struct sp_waves waves = find_waves(plan, arena);
        uint64_t moved;
        double *slices = computed_slices(plan, &moved);
        double before = 0, after = 0, mean = 0, passes = 0;
        for (uint32_t w = 0; w < waves.wave_count; w++) {
            const uint64_t *members = &waves.members[waves.member_begin[w]];
            double most_before = 0, most_after = 0, sum = 0;
            if (waves.member_begin[w + 1] - waves.member_begin[w] < shape.devices ||
                plan->order.passes[members[0]].kind != SP_PASS_F)
                continue;
            for (uint32_t d = 0; d < shape.devices; d++) {
                most_before = fmax(most_before, plan->order.passes[members[d]].slice + .5);
                most_after = fmax(most_after, slices[members[d]] + .5);
                sum += slices[members[d]] + .5;
            }
            before += most_before;
            after += most_after;
            mean += sum / shape.devices;
            passes += shape.devices;
        }
        cr_assert_float_eq(before / mean, rows[row].before, 6e-4);
        cr_assert_float_eq(after / mean, rows[row].after, 6e-4);
        if (rows[row].sent > 0)
            cr_assert_float_eq((double)moved / passes, rows[row].sent, 6e-4);
        sp_free(slices);
        sp_arena_destroy(arena);
        sp_plan_destroy(plan);
    }
}

/* Cost of a pass per unit of FLOPs, as the source of the table has it: backward twice the forward. */
struct paper_costs {
    double linear, slice; /* of one slice's tokens: all matrices; attention to one slice of past */
};

static struct paper_costs paper_costs(bool large, double tokens)
{
    double h = large ? 8192 : 5120, f = large ? 28672 : 13824, k = large ? 1. / 8 : 1;
    return (struct paper_costs){2 * tokens * (2 * h * h * (1 + k) + 3 * h * f), 4 * tokens * tokens * h};
}

/*
 * Bubble of the order when each pass takes what it computes, and nothing but dependencies holds it up: the
 * table's own reckoning, in which helpers do not wait for queries.
 */
static double unsynchronised_bubble(const struct sp_plan *plan, struct paper_costs costs,
                                    const double *slices)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_pass_table *table = sp_pass_table_create(plan, arena);
    uint32_t devices = plan->order.device_count;
    uint64_t count = plan->order.begin[devices], done = 0;
    uint64_t *at = sp_arena_alloc(arena, devices, sizeof(*at));
    double *free_at = sp_arena_alloc(arena, devices, sizeof(*free_at)),
           *end = sp_arena_alloc(arena, count, sizeof(*end));
    double busy = 0, makespan = 0;
    for (uint32_t d = 0; d < devices; d++)
        at[d] = plan->order.begin[d];
    while (done < count) {
        for (uint32_t d = 0; d < devices; d++) {
            for (; at[d] < plan->order.begin[d + 1]; at[d]++, done++) {
                const struct sp_pass *pass = &plan->order.passes[at[d]];
                bool forward = pass->kind == SP_PASS_F;
                int32_t from = forward ? sp_plan_previous_stage(plan, pass->microbatch, pass->stage)
                                       : sp_plan_next_stage(plan, pass->microbatch, pass->stage);
                uint64_t need = from < 0 ? SP_NO_PASS
                                         : sp_pass_table_find(table, pass->kind, (uint32_t)from,
                                                              pass->microbatch, pass->slice);
                if (need != SP_NO_PASS && end[need] == 0)
                    break;
                double ns = (forward ? 1 : 2) * (costs.linear + costs.slice * (slices[at[d]] + .5));
                free_at[d] = fmax(free_at[d], need == SP_NO_PASS ? 0 : end[need]) + ns;
                end[at[d]] = free_at[d];
                busy += ns;
                makespan = fmax(makespan, free_at[d]);
            }
        }
    }
    sp_arena_destroy(arena);
    return 1 - busy / (devices * makespan);
}

/* papers.md 1.3, "Bubble with and without exchange": m 4; 64K, 128K, 256K, 512K. */
static const struct {
    bool large; /* 70B, else 13B */
    struct shape shape;
    double none[4], pairwise[4];
} bubble_rows[] = {
    {false, {8, 8, 5, 4}, {.1483, .1974, .2417, .2716}, {.0561, .0614, .0679, .0720}},
    {false, {8, 16, 5, 4}, {.0954, .1234, .1498, .1709}, {.0335, .0373, .0418, .0447}},
    {false, {8, 32, 5, 4}, {.0556, .0726, .0857, .0967}, {.0182, .0206, .0239, .0268}},
    {false, {8, 64, 5, 4}, {.0302, .0396, .0469, .0523}, {.0095, .0109, .0133, .0149}},
    {false, {4, 4, 10, 4}, {.1013, .1512, .1965, .2237}, {.0477, .0567, .0638, .0689}},
    {false, {4, 16, 10, 4}, {.0344, .0454, .0548, .0613}, {.0130, .0173, .0209, .0232}},
    {true, {8, 8, 5, 4}, {.1119, .1615, .2074, .2507}, {.0526, .0572, .0632, .0691}},
    {true, {8, 16, 5, 4}, {.0750, .1026, .1302, .1561}, {.0305, .0345, .0386, .0426}},
    {true, {8, 32, 5, 4}, {.0437, .0601, .0763, .0887}, {.0164, .0188, .0213, .0247}},
    {true, {8, 64, 5, 4}, {.0236, .0325, .0416, .0483}, {.0085, .0098, .0115, .0138}},
};
enum { BUBBLE_ROWS = sizeof(bubble_rows) / sizeof(*bubble_rows) };

/* The table's columns "no exchange" and "with exchange", to its four digits. */
Test(exchange, pairwise_has_the_papers_bubbles)
{
    for (size_t row = 0; row < BUBBLE_ROWS; row++) {
        struct shape shape = bubble_rows[row].shape;
        struct unit_costs units;
        struct sp_plan *plan;
        uint64_t moved;
        unit_costs_init(&units, 1000, 1000, 1000, 0);
        cr_assert(compose_units("slimpipe", shape, 0, &units, &plan));
        double *none = computed_slices(plan, &moved);
        fill(plan, "pairwise");
        double *pairwise = computed_slices(plan, &moved);
        for (int k = 0; k < 4; k++) {
            struct paper_costs costs =
                paper_costs(bubble_rows[row].large, (double)(65536 << k) / shape.slices);
            double before = unsynchronised_bubble(plan, costs, none);
            double after = unsynchronised_bubble(plan, costs, pairwise);
            cr_expect_float_eq(before, bubble_rows[row].none[k], 5.1e-5, "row %zu, %dK: %.4f without", row,
                               64 << k, before);
            cr_expect_float_eq(after, bubble_rows[row].pairwise[k], 5.1e-5, "row %zu, %dK: %.4f with", row,
                               64 << k, after);
        }
        sp_free(none);
        sp_free(pairwise);
        sp_plan_destroy(plan);
    }
}

/* --- Ours -------------------------------------------------------------------------------------------- */

static double balanced_bubble(struct shape shape)
{
    return (shape.devices - 1.) /
           ((double)shape.slices * shape.chunks * shape.microbatches + shape.devices - 1.);
}

/* The target: all rows of the table, at most 0.001 above the bubble of equal slices; nothing but the plan is
 * used. */
Test(exchange, optimal_reaches_the_balanced_bubble)
{
    for (size_t row = 0; row < BUBBLE_ROWS; row++) {
        for (int k = 0; k < 4; k += 3) {
            struct sp_plan *plan = paper_plan(bubble_rows[row].large ? "paper-70b" : "paper-13b", "ideal",
                                              bubble_rows[row].shape, 65536 << k, 8);
            fill(plan, "optimal");
            double bubble = run(plan).bubble;
            cr_expect_leq(bubble, balanced_bubble(bubble_rows[row].shape) + 0.001, "row %zu, %dK: %.4f", row,
                          64 << k, bubble);
            sp_plan_destroy(plan);
        }
    }
}

Test(exchange, optimal_reaches_it_on_many_devices)
{
    static const struct {
        char model[12];
        struct shape shape;
    } cases[] = {{"paper-70b", {16, 16, 5, 2}},
                 {"paper-70b", {20, 20, 4, 2}},
                 {"paper-149b", {32, 32, 3, 2}},
                 {"paper-13b", {2, 4, 20, 2}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sp_plan *plan =
            paper_plan(cases[i].model, "ideal", cases[i].shape, 16384 * cases[i].shape.slices, 8);
        fill(plan, "optimal");
        double bubble = run(plan).bubble;
        cr_expect_leq(bubble, balanced_bubble(cases[i].shape) + 0.001, "p %u: %.4f", cases[i].shape.devices,
                      bubble);
        sp_plan_destroy(plan);
    }
}

/* With the output layer spread over all devices its passes stand between the waves. */
Test(exchange, optimal_reaches_it_beside_the_output_layer)
{
    static const struct {
        char model[12];
        struct shape shape;
    } cases[] = {{"paper-13b", {4, 4, 10, 4}},
                 {"paper-13b", {8, 8, 5, 4}},
                 {"paper-70b", {8, 16, 5, 2}},
                 {"paper-70b", {16, 16, 5, 2}},
                 {"paper-149b", {32, 32, 3, 2}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int64_t sequence = 65536; sequence <= 524288; sequence *= 8) {
            struct sp_plan *plan =
                compose_paper(cases[i].model, "ideal", cases[i].shape, sequence, 8, "optimal", true);
            double bubble = run(plan).bubble;
            cr_expect_leq(bubble, balanced_bubble(cases[i].shape) + 0.001, "%s, p %u, %ldK: %.4f",
                          cases[i].model, cases[i].shape.devices, (long)sequence / 1024, bubble);
            sp_plan_destroy(plan);
        }
    }
}

/*
 * Without help from idle devices the bubble is that of equal slices, up to tiles; with it smaller. The volume
 * is the least for the lengths reached, and every wave is as short as GLPK says, up to a tile.
 */
Test(exchange, waves_are_as_short_as_proven)
{
    struct shape shape = {8, 16, 5, 2};
    struct sp_plan *plan = paper_plan("paper-70b", "ideal", shape, 512 * 1024, 8);
    struct sp_exchange_settings settings = sp_exchange_settings_default;
    struct sp_exchange_report report;
    struct sp_error error = {.status = SP_OK};
    settings.idle_helps = false;
    cr_assert_eq(sp_exchange_optimal_fill(plan, &settings, &report, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_plan_check(plan, &error), SP_OK, "%s", error.message);
    struct outcome busy = run(plan);
    cr_expect_float_eq(busy.bubble, balanced_bubble(shape), 2e-4, "%g", busy.bubble);
    cr_expect_float_eq((double)report.length_ps, report.length_bound_ps, 5e-4 * report.length_bound_ps);
    cr_expect_float_eq((double)report.tokens, report.tokens_bound, 2e-3 * report.tokens_bound);
    cr_expect_geq(report.partners, report.partners_bound);
    cr_expect_leq(busy.makespan_ns * 1000., (double)report.length_ps * (1 + 1e-5));
    settings.idle_helps = true;
    cr_assert_eq(sp_exchange_optimal_fill(plan, &settings, &report, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_plan_check(plan, &error), SP_OK, "%s", error.message);
    struct outcome helped = run(plan);
    cr_expect_lt(helped.makespan_ns, busy.makespan_ns);
    cr_expect_lt(helped.bubble, balanced_bubble(shape));
    sp_plan_destroy(plan);
}

/* The real links of a preset: never slower than no exchange or the pairwise rule. */
static void check_never_slower(const char *model, const char *cluster, struct shape shape, int64_t sequence,
                               int64_t tensor)
{
    struct sp_plan *plan = paper_plan(model, cluster, shape, sequence, tensor);
    int64_t makespan[3];
    for (int k = 0; k < 3; k++) {
        fill(plan, sp_exchange_policies[k]->name);
        makespan[k] = run(plan).makespan_ns;
    }
    cr_expect_leq(makespan[2], makespan[0], "%s on %s, %ldK", model, cluster, (long)sequence / 1024);
    cr_expect_leq(makespan[2], makespan[1], "%s on %s, %ldK", model, cluster, (long)sequence / 1024);
    sp_plan_destroy(plan);
}

Test(exchange, optimal_is_never_slower_on_real_links)
{
    cr_assert_str_eq(sp_exchange_policies[2]->name, "optimal");
    for (int64_t tensor = 1; tensor <= 8; tensor *= 2) {
        check_never_slower("paper-70b", "h100", (struct shape){4, 8, 5, 2}, 65536, tensor);
        check_never_slower("paper-13b", "h100", (struct shape){4, 8, 2, 2}, 32768, tensor);
        check_never_slower("paper-13b", "a800", (struct shape){8, 8, 5, 2}, 262144, tensor);
    }
}

/* A cap leaves less room for guests: the plan still fits, where it does without exchange. */
Test(exchange, optimal_keeps_the_memory_cap)
{
    struct shape shape = {4, 8, 2, 2};
    struct sp_plan *plan = paper_plan("paper-13b", "h100", shape, 262144, 8);
    struct sp_error error = {.status = SP_OK};
    int64_t peak = 0;
    for (int k = 0; k < 3; k++) {
        /* First nothing but the peak without exchange; then 1 GiB above it; then exactly that. */
        struct sp_program *program = NULL;
        plan->memory_cap_bytes = k == 0 ? 0 : peak + (k == 1 ? 1 << 30 : 0);
        fill(plan, k == 0 ? "none" : "optimal");
        cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "%s", error.message);
        cr_assert_eq(sp_program_check_memory(program, &error), SP_OK, "%s", error.message);
        for (uint32_t d = 0; k == 0 && d < shape.devices; d++) {
            struct sp_device_memory memory;
            sp_program_memory(program, d, &memory);
            peak = memory.peak_bytes > peak ? memory.peak_bytes : peak;
        }
        sp_program_destroy(program);
        cr_expect(k != 1 || plan->exchange_count > 0);
    }
    sp_plan_destroy(plan);
}

Test(exchange, limits_hold)
{
    struct shape shape = {8, 8, 5, 2};
    struct sp_plan *plan = paper_plan("paper-70b", "ideal", shape, 262144, 8);
    struct sp_exchange_settings settings = sp_exchange_settings_default;
    struct sp_error error = {.status = SP_OK};
    settings.partners = 1;
    settings.tile_tokens = 256;
    settings.guest_bytes = 256 << 20;
    cr_assert_eq(sp_exchange_optimal_fill(plan, &settings, NULL, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_plan_check(plan, &error), SP_OK, "%s", error.message);
    struct sp_cost *cost = NULL;
    cr_assert_eq(sp_cost_create(plan, &cost, &error), SP_OK, "%s", error.message);
    cr_assert_gt(plan->exchange_count, 0);
    for (uint64_t e = 0; e < plan->exchange_count; e++) {
        const struct sp_exchange_part *part = &plan->exchange[e];
        struct sp_exchange_bytes bytes;
        sp_cost_exchange_bytes(cost, &part->pass, part->token_end - part->token_begin, &bytes);
        cr_assert_eq(part->token_begin, 0, "a second partner");
        cr_assert_eq(part->token_end % 256, 0);
        cr_assert_leq(bytes.early + bytes.urgent + bytes.result, 256 << 20);
    }
    sp_cost_destroy(cost);
    sp_plan_destroy(plan);
}

Test(exchange, same_answer_every_time)
{
    struct shape shape = {8, 16, 2, 2};
    struct sp_plan *plans[2];
    for (int k = 0; k < 2; k++) {
        plans[k] = paper_plan("paper-13b", "h100", shape, 524288, 4);
        fill(plans[k], "optimal");
    }
    cr_assert_gt(plans[0]->exchange_count, 0);
    cr_assert_eq(plans[0]->exchange_count, plans[1]->exchange_count);
    cr_assert_eq(memcmp(plans[0]->exchange, plans[1]->exchange,
                        plans[0]->exchange_count * sizeof(*plans[0]->exchange)),
                 0);
    for (int k = 0; k < 2; k++)
        sp_plan_destroy(plans[k]);
}

Test(exchange, every_failed_allocation_is_reported)
{
    struct shape shape = {4, 4, 1, 2};
    struct sp_plan *plan = paper_plan("paper-13b", "h100", shape, 262144, 8);
    for (int p = 0; sp_exchange_policies[p]; p++) {
        for (int64_t n = 0;; n += n / 16 + 1) {
            struct sp_error error = {.status = SP_OK};
            sp_alloc_fail_after(n);
            enum sp_status status = sp_exchange_policies[p]->fill(plan, &error);
            sp_alloc_fail_after(-1);
            if (!status)
                break;
            cr_assert_eq(status, SP_MEMORY, "%s", error.message);
        }
    }
    sp_plan_destroy(plan);
}

Test(exchange, unknown_policy)
{
    cr_assert_null(sp_exchange_policy_find("magic"));
}
