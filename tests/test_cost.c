/* SPDX-License-Identifier: Apache-2.0 */
/* Durations: of explicit costs, and of a model on a cluster with round figures. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "slimpipe/cost.h"

enum { STAGES = 8, SLICES = 4 };

/* A plan with storage of its own; the tests change what they need. */
struct bench {
    struct sp_plan plan;
    struct sp_stage stages[STAGES];
    int64_t slices[SLICES];
    int64_t forward[STAGES], input[STAGES], weight[STAGES], recompute[STAGES], overlap[STAGES];
    struct sp_pass_costs costs;
    struct sp_cost *cost;
};

static void bench_init(struct bench *bench)
{
    memset(bench, 0, sizeof *bench);
    for (int i = 0; i < STAGES; i++) {
        bench->stages[i].device = (uint32_t)i % 4;
        bench->forward[i] = 1000;
        bench->input[i] = 1100;
        bench->weight[i] = 900;
    }
    for (int i = 0; i < SLICES; i++)
        bench->slices[i] = 1;
    bench->costs = (struct sp_pass_costs){
        .forward_ns = bench->forward, .input_ns = bench->input, .weight_ns = bench->weight};
    bench->plan = (struct sp_plan){
        .costs = &bench->costs,
        .parallel = {4, 1, 1, 1, 1},
        .workload = {SLICES, 2, 1},
        .slice_count = SLICES,
        .slice_tokens = bench->slices,
        .stage_count = STAGES,
        .stages = bench->stages,
    };
}

static void bench_create(struct bench *bench)
{
    struct sp_error error;
    cr_assert_eq(sp_cost_create(&bench->plan, &bench->cost, &error), SP_OK, "%s", error.message);
}

static int64_t pass_ns(const struct bench *bench, enum sp_pass_kind kind, int stage, int slice)
{
    struct sp_pass pass = {.kind = (uint8_t)kind, .stage = (uint16_t)stage, .slice = (uint16_t)slice};
    return sp_cost_pass_ns(bench->cost, &pass);
}

static int64_t sum_ns(const struct bench *bench, enum sp_pass_kind kind, int stage)
{
    int64_t sum = 0;
    for (int i = 0; i < SLICES; i++)
        sum += pass_ns(bench, kind, stage, i);
    return sum;
}

Test(explicit, equal_slices_take_what_is_stated)
{
    struct bench bench;
    bench_init(&bench);
    bench.forward[3] = 1234567;
    bench_create(&bench);
    for (int slice = 0; slice < SLICES; slice++) {
        cr_assert_eq(pass_ns(&bench, SP_PASS_F, 0, slice), 1000);
        cr_assert_eq(pass_ns(&bench, SP_PASS_I, 0, slice), 1100);
        cr_assert_eq(pass_ns(&bench, SP_PASS_W, 7, slice), 900);
        cr_assert_eq(pass_ns(&bench, SP_PASS_B, 7, slice), 2000);
        cr_assert_eq(pass_ns(&bench, SP_PASS_F, 3, slice), 1234567);
    }
    sp_cost_destroy(bench.cost);
}

/* Causal attention of slice s is (2s + 1) / n² of the sequence's. */
Test(explicit, attention_share_follows_the_offset)
{
    struct bench bench;
    bench_init(&bench);
    bench.costs.attention_permille = 400;
    bench_create(&bench);
    for (int slice = 0; slice < SLICES; slice++) {
        double shape = (2.0 * slice + 1) / SLICES;
        cr_assert_float_eq((double)pass_ns(&bench, SP_PASS_F, 1, slice), 600 + 400 * shape, 1);
        cr_assert_float_eq((double)pass_ns(&bench, SP_PASS_I, 1, slice), 100 + 1000 * shape, 1);
        cr_assert_eq(pass_ns(&bench, SP_PASS_W, 1, slice), 900);
    }
    cr_assert_eq(sum_ns(&bench, SP_PASS_F, 1), SLICES * 1000);
    cr_assert_eq(sum_ns(&bench, SP_PASS_I, 1), SLICES * 1100);
    sp_cost_destroy(bench.cost);
}

/* Backward attention is at most the whole of I. */
Test(explicit, attention_share_is_limited_by_the_input_gradient)
{
    struct bench bench;
    bench_init(&bench);
    bench.costs.attention_permille = 1000;
    bench_create(&bench);
    cr_assert_float_eq((double)pass_ns(&bench, SP_PASS_I, 0, 0), 1100.0 / SLICES, 1);
    cr_assert_eq(sum_ns(&bench, SP_PASS_I, 0), SLICES * 1100);
    sp_cost_destroy(bench.cost);
}

Test(explicit, slices_are_weights)
{
    struct bench bench;
    bench_init(&bench);
    bench.slices[0] = 3, bench.slices[1] = 2, bench.slices[2] = 2, bench.slices[3] = 1;
    bench.forward[5] = 1001;
    bench_create(&bench);
    cr_assert_eq(pass_ns(&bench, SP_PASS_F, 0, 0), 1500);
    cr_assert_eq(pass_ns(&bench, SP_PASS_F, 0, 3), 500);
    cr_assert_eq(sum_ns(&bench, SP_PASS_F, 5), SLICES * 1001);
    sp_cost_destroy(bench.cost);
}

Test(explicit, recompute_is_part_of_the_backward_unless_ordered)
{
    struct bench bench;
    bench_init(&bench);
    for (int i = 0; i < STAGES; i++)
        bench.recompute[i] = 700;
    bench.costs.recompute_ns = bench.recompute;
    bench.stages[2].recompute = SP_RECOMPUTE_FULL;
    struct sp_pass order[] = {{.kind = SP_PASS_R, .stage = 2, .microbatch = 1, .slice = 3}};
    uint64_t begin[] = {0, 1, 1, 1, 1};
    bench.plan.order.device_count = 4;
    bench.plan.order.begin = begin;
    bench.plan.order.passes = order;
    bench_create(&bench);
    struct sp_pass alone = {.kind = SP_PASS_I, .stage = 2, .microbatch = 1, .slice = 3};
    struct sp_pass with = {.kind = SP_PASS_I, .stage = 2, .microbatch = 0, .slice = 3};
    cr_assert_eq(sp_cost_pass_ns(bench.cost, &order[0]), 700);
    cr_assert_eq(sp_cost_pass_ns(bench.cost, &alone), 1100);
    cr_assert_eq(sp_cost_pass_ns(bench.cost, &with), 1800);
    cr_assert_eq(pass_ns(&bench, SP_PASS_B, 2, 0), 2700);
    cr_assert_eq(pass_ns(&bench, SP_PASS_B, 1, 0), 2000);
    sp_cost_destroy(bench.cost);
}

Test(explicit, joined_passes_take_their_overlap_or_their_sum)
{
    struct bench bench;
    bench_init(&bench);
    struct sp_pass forward = {.kind = SP_PASS_F, .stage = 1}, backward = {.kind = SP_PASS_B, .stage = 6};
    bench_create(&bench);
    cr_assert_eq(sp_cost_joined_ns(bench.cost, &forward, &backward), 3000);
    sp_cost_destroy(bench.cost);
    bench.overlap[1] = 2600;
    bench.costs.overlap_ns = bench.overlap;
    bench_create(&bench);
    cr_assert_eq(sp_cost_joined_ns(bench.cost, &forward, &backward), 2600);
    cr_assert_eq(sp_cost_joined_ns(bench.cost, &backward, &forward), 2600);
    sp_cost_destroy(bench.cost);
}

Test(explicit, exchanged_layers_add_up)
{
    struct bench bench;
    bench_init(&bench);
    bench.costs.attention_permille = 500;
    bench_create(&bench);
    struct sp_pass pass = {.kind = SP_PASS_F, .stage = 1, .slice = 3};
    struct sp_layer_cost whole, part;
    sp_cost_layer(bench.cost, &pass, 3, 0, &whole);
    cr_assert_float_eq((double)(whole.before_ns + whole.attention_ns + whole.after_ns),
                       (double)sp_cost_pass_ns(bench.cost, &pass), 2);
    sp_cost_layer(bench.cost, &pass, 1, 1, &part);
    cr_assert_float_eq((double)(part.attention_ns + sp_cost_guest_ns(bench.cost, &pass, 2)),
                       (double)whole.attention_ns, 2);
    cr_assert_eq(part.before_ns, whole.before_ns);
    sp_cost_destroy(bench.cost);
}

Test(explicit, messages_are_latency_alone)
{
    struct bench bench;
    bench_init(&bench);
    bench.costs.message_ns = 77;
    bench_create(&bench);
    struct sp_transfer transfer = sp_cost_transfer(bench.cost, 0, 3, 1 << 20);
    cr_assert_eq(transfer.latency_ns, 77);
    cr_assert_eq(transfer.busy_ns, 0);
    cr_assert_eq(sp_cost_transfer(bench.cost, 2, 2, 1).latency_ns, 0);
    cr_assert_eq(sp_cost_hop_bytes(bench.cost, 0), 0);
    cr_assert_eq(sp_cost_step_ns(bench.cost, 0), 0);
    cr_assert_eq(sp_cost_model_flops(bench.cost), 0);
    sp_cost_destroy(bench.cost);
}
