/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random valid plans: any placement of stages, any order that keeps the dependencies, W split off or not,
 * slices, output passes, recompute, offload, joined pairs and an exchange, with uneven explicit costs or a
 * small model on a real cluster.
 */
#ifndef TESTS_RANDOM_PLAN_H
#define TESTS_RANDOM_PLAN_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "slimpipe/plan.h"

/* Largest shapes; one kind of pass of every unit on every device fits `passes`. */
enum { RP_DEVICES = 4, RP_STAGES = 12, RP_MICROBATCHES = 3, RP_SLICES = 4, RP_PASSES = 1024 };

struct random_pass {
    struct sp_pass pass;
    uint32_t device;
    int step; /* when it was put in order; −1: not yet */
};

/* What a plan may have. */
enum {
    RP_MODEL = 1 << 0,     /* a model in place of explicit costs */
    RP_ORDER_ONLY = 1 << 1 /* nothing that depends on the order: no exchange, no joined pairs */
};

struct random_plan {
    struct random *random, *order_random;
    struct sp_plan *plan;
    uint32_t devices;
    uint32_t count;
    struct random_pass passes[RP_PASSES];
    /* Number of a unit's pass plus 1; 0: none. */
    uint32_t number[SP_PASS_KINDS][RP_STAGES][RP_MICROBATCHES][RP_SLICES];
    uint32_t output[2][RP_DEVICES][RP_MICROBATCHES][RP_SLICES]; /* S and T */
};

static inline void *rp_alloc(struct random_plan *r, size_t count, size_t size)
{
    void *block = sp_arena_alloc(r->plan->arena, count, size);

    cr_assert(block);
    return block;
}

static inline bool rp_has_output(const struct sp_plan *plan)
{
    return plan->vocabulary != SP_VOCABULARY_LAST && plan->vocabulary != SP_VOCABULARY_TILED;
}

static inline const int64_t *rp_times(struct random_plan *r, uint32_t most)
{
    int64_t *times = rp_alloc(r, r->plan->stage_count, sizeof *times);

    for (uint32_t stage = 0; stage < r->plan->stage_count; stage++)
        times[stage] = random_below(r->random, most);
    return times;
}

static inline void rp_set_costs(struct random_plan *r)
{
    struct sp_pass_costs *costs = rp_alloc(r, 1, sizeof *costs);
    int even = random_one_in(r->random, 4);

    *costs = (struct sp_pass_costs){.forward_ns = rp_times(r, even ? 1 : 1000),
                                    .input_ns = rp_times(r, 1000),
                                    .weight_ns = rp_times(r, 1000),
                                    .recompute_ns = rp_times(r, 300),
                                    .output_forward_ns = random_below(r->random, 300),
                                    .output_backward_ns = random_below(r->random, 300),
                                    .message_ns = even ? 0 : random_below(r->random, 200),
                                    .attention_permille = random_below(r->random, 1001),
                                    .activation_bytes = 1000 + random_below(r->random, 1000),
                                    .weight_held_bytes = random_below(r->random, 1000)};
    if (random_one_in(r->random, 2))
        costs->overlap_ns = rp_times(r, 3000);
    r->plan->costs = costs;
}

/* A model cut down to few layers; its host links are shared by two devices, its nodes are small. */
static inline void rp_set_model(struct random_plan *r)
{
    static const char *const clusters[] = {"h100", "a100-80g", "ideal"};
    struct sp_plan *plan = r->plan;
    struct sp_error error;

    plan->has_model = true;
    cr_assert_eq(sp_model_read("llama-3.1-8b", &plan->model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read(clusters[random_below(r->random, 3)], &plan->cluster, &error), SP_OK, "%s",
                 error.message);
    cr_assert_eq(sp_profile_read(plan->cluster.profile, &plan->profile, &error), SP_OK, "%s", error.message);
    plan->cluster.gpus_per_node = 1 + random_below(r->random, 4);
    plan->cluster.gpus_per_host_link = 1 + random_below(r->random, 2);
    plan->model.layers = plan->stage_count + random_below(r->random, 3);
    plan->kv_gradient = random_one_in(r->random, 2) ? SP_KV_GRADIENT_COMPACT : SP_KV_GRADIENT_EXPANDED;
}

static inline void rp_set_stages(struct random_plan *r)
{
    struct sp_plan *plan = r->plan;
    uint32_t placement = random_below(r->random, 3), layer = 0;

    plan->stages = rp_alloc(r, plan->stage_count, sizeof *plan->stages);
    for (uint32_t i = 0; i < plan->stage_count; i++) {
        struct sp_stage *stage = &plan->stages[i];
        uint32_t turn = i / r->devices % 2 ? r->devices - 1 - i % r->devices : i % r->devices;
        stage->device = placement == 0   ? i % r->devices
                        : placement == 1 ? turn
                                         : random_below(r->random, r->devices);
        stage->recompute = (enum sp_recompute)random_below(r->random, 3);
        stage->offload_permille = random_one_in(r->random, 2) ? 0 : random_below(r->random, 1001);
        stage->train = random_one_in(r->random, 6) ? SP_TRAIN_INPUT : SP_TRAIN_FULL;
        stage->layer_begin = layer;
        if (plan->has_model)
            stage->layer_count = i + 1 < plan->stage_count ? 1 : (uint32_t)plan->model.layers - layer;
        layer += stage->layer_count;
    }
}

static inline void rp_set_shape(struct random_plan *r, int with_model)
{
    struct sp_plan *plan = r->plan;
    int64_t *tokens;

    r->devices = 1 + random_below(r->random, RP_DEVICES);
    plan->stage_count = r->devices * (1 + random_below(r->random, RP_STAGES / RP_DEVICES));
    plan->slice_count = 1 + random_below(r->random, RP_SLICES);
    plan->parallel.pipeline = r->devices;
    plan->workload.microbatches = 1 + random_below(r->random, RP_MICROBATCHES);
    tokens = rp_alloc(r, plan->slice_count, sizeof *tokens);
    for (uint32_t slice = 0; slice < plan->slice_count; slice++)
        tokens[slice] = with_model ? 256 * (1 + random_below(r->random, 8)) : 1 + random_below(r->random, 3);
    plan->slice_tokens = tokens;
    plan->workload.sequence_tokens = 0;
    for (uint32_t slice = 0; slice < plan->slice_count; slice++)
        plan->workload.sequence_tokens += tokens[slice];
    if (random_one_in(r->random, 2))
        plan->vocabulary = (enum sp_vocabulary)random_below(r->random, SP_VOCABULARY_TILED + 1);
}

static inline void rp_add(struct random_plan *r, enum sp_pass_kind kind, uint32_t stage, uint32_t microbatch,
                          uint32_t slice, uint32_t device)
{
    struct sp_pass pass = {microbatch, (uint16_t)slice, (uint16_t)stage, (uint8_t)kind, 0};

    cr_assert_lt(r->count, RP_PASSES);
    r->passes[r->count++] = (struct random_pass){pass, device, -1};
    if (kind == SP_PASS_S || kind == SP_PASS_T)
        r->output[kind == SP_PASS_T][device][microbatch][slice] = r->count;
    else
        r->number[kind][stage][microbatch][slice] = r->count;
}

/* All passes of a unit; whether W is split off, R placed, copies explicit is its own choice. */
static inline void rp_add_unit(struct random_plan *r, uint32_t stage, uint32_t microbatch, uint32_t slice,
                               int copies)
{
    const struct sp_stage *at = &r->plan->stages[stage];
    int split = at->train == SP_TRAIN_INPUT || random_one_in(r->random, 2);

    rp_add(r, SP_PASS_F, stage, microbatch, slice, at->device);
    rp_add(r, split ? SP_PASS_I : SP_PASS_B, stage, microbatch, slice, at->device);
    if (split && at->train == SP_TRAIN_FULL)
        rp_add(r, SP_PASS_W, stage, microbatch, slice, at->device);
    if (at->recompute != SP_RECOMPUTE_NONE && random_one_in(r->random, 3))
        rp_add(r, SP_PASS_R, stage, microbatch, slice, at->device);
    if (copies && at->offload_permille > 0 && random_one_in(r->random, 2)) {
        rp_add(r, SP_PASS_O, stage, microbatch, slice, at->device);
        rp_add(r, SP_PASS_L, stage, microbatch, slice, at->device);
    }
}

static inline void rp_add_passes(struct random_plan *r)
{
    const struct sp_plan *plan = r->plan;
    int copies = random_one_in(r->random, 3);

    for (uint32_t microbatch = 0; microbatch < plan->workload.microbatches; microbatch++)
        for (uint32_t slice = 0; slice < plan->slice_count; slice++) {
            for (uint32_t stage = 0; stage < plan->stage_count; stage++)
                rp_add_unit(r, stage, microbatch, slice, copies);
            for (uint32_t device = 0; rp_has_output(plan) && device < r->devices; device++) {
                rp_add(r, SP_PASS_S, plan->stage_count - 1, microbatch, slice, device);
                rp_add(r, SP_PASS_T, plan->stage_count - 1, microbatch, slice, device);
            }
        }
}

/* Whether a unit has no such pass, or has it in order. */
static inline bool rp_is_done(const struct random_plan *r, enum sp_pass_kind kind, int64_t stage,
                              const struct sp_pass *pass, int64_t slice)
{
    uint32_t number;

    if (stage < 0 || stage >= r->plan->stage_count || slice < 0 || slice >= r->plan->slice_count)
        return true;
    number = r->number[kind][stage][pass->microbatch][slice];
    return number == 0 || r->passes[number - 1].step >= 0;
}

static inline bool rp_is_backward_done(const struct random_plan *r, int64_t stage, const struct sp_pass *pass,
                                       int64_t slice)
{
    return rp_is_done(r, SP_PASS_B, stage, pass, slice) && rp_is_done(r, SP_PASS_I, stage, pass, slice);
}

static inline bool rp_are_outputs_done(const struct random_plan *r, enum sp_pass_kind kind,
                                       const struct sp_pass *pass)
{
    for (uint32_t device = 0; device < r->devices; device++) {
        uint32_t number = r->output[kind == SP_PASS_T][device][pass->microbatch][pass->slice];
        if (number > 0 && r->passes[number - 1].step < 0)
            return false;
    }
    return true;
}

static inline bool rp_is_ready(const struct random_plan *r, const struct sp_pass *pass)
{
    int64_t stage = pass->stage, slice = pass->slice;

    switch (pass->kind) {
    case SP_PASS_F:
        return rp_is_done(r, SP_PASS_F, stage - 1, pass, slice) &&
               rp_is_done(r, SP_PASS_F, stage, pass, slice - 1);
    case SP_PASS_B:
    case SP_PASS_I:
        return rp_is_done(r, SP_PASS_F, stage, pass, r->plan->slice_count - 1) &&
               rp_is_backward_done(r, stage + 1, pass, slice) &&
               rp_is_backward_done(r, stage, pass, slice + 1) &&
               rp_is_done(r, SP_PASS_R, stage, pass, slice) && rp_is_done(r, SP_PASS_L, stage, pass, slice) &&
               (stage + 1 < r->plan->stage_count || rp_are_outputs_done(r, SP_PASS_T, pass));
    case SP_PASS_W:
        return rp_is_done(r, SP_PASS_I, stage, pass, slice);
    case SP_PASS_R:
        return rp_is_done(r, SP_PASS_F, stage, pass, slice) && rp_is_done(r, SP_PASS_L, stage, pass, slice);
    case SP_PASS_L:
        return rp_is_done(r, SP_PASS_O, stage, pass, slice);
    case SP_PASS_T:
        return rp_are_outputs_done(r, SP_PASS_S, pass);
    default: /* O, S */
        return rp_is_done(r, SP_PASS_F, stage, pass, slice);
    }
}

/* Puts one ready pass after the other in order, so that the order cannot contradict the dependencies. */
static inline void rp_set_order(struct random_plan *r)
{
    struct sp_order *order = &r->plan->order;
    uint32_t ready[RP_PASSES], ready_count, next[RP_DEVICES + 1] = {0};
    int backward_first = random_one_in(r->order_random, 2);

    order->device_count = r->devices;
    order->begin = rp_alloc(r, r->devices + 1, sizeof *order->begin);
    order->passes = rp_alloc(r, r->count, sizeof *order->passes);
    for (uint32_t i = 0; i < r->count; i++)
        order->begin[r->passes[i].device + 1]++;
    for (uint32_t device = 0; device < r->devices; device++)
        order->begin[device + 1] += order->begin[device];
    for (uint32_t step = 0; step < r->count; step++) {
        ready_count = 0;
        for (uint32_t i = 0; i < r->count; i++)
            if (r->passes[i].step < 0 && rp_is_ready(r, &r->passes[i].pass))
                ready[ready_count++] = i;
        cr_assert_gt(ready_count, 0);
        uint32_t pick = ready[random_below(r->order_random, ready_count)];
        if (backward_first && r->passes[pick].pass.kind == SP_PASS_F)
            pick = ready[random_below(r->order_random, ready_count)];
        struct random_pass *taken = &r->passes[pick];
        taken->step = (int)step;
        order->passes[order->begin[taken->device] + next[taken->device]++] = taken->pass;
    }
}

static inline void rp_join_some(struct random_plan *r)
{
    struct sp_order *order = &r->plan->order;

    for (uint32_t device = 0; device < r->devices; device++)
        for (uint64_t i = order->begin[device]; i + 1 < order->begin[device + 1]; i++) {
            struct sp_pass *pair = &order->passes[i];
            bool fits = pair[0].kind == SP_PASS_F &&
                        (pair[1].kind == SP_PASS_B || pair[1].kind == SP_PASS_I) &&
                        pair[0].microbatch != pair[1].microbatch;
            pair->joined = fits && random_one_in(r->random, 3);
        }
}

/* The pass of `device` put in order nearest to `step` that can be an anchor; r->count: none. */
static inline uint32_t rp_near(const struct random_plan *r, uint32_t device, int step)
{
    uint32_t best = r->count;

    for (uint32_t i = 0; i < r->count; i++) {
        uint8_t kind = r->passes[i].pass.kind;
        bool fits = kind == SP_PASS_F || kind == SP_PASS_B || kind == SP_PASS_I || kind == SP_PASS_W;
        if (r->passes[i].device == device && fits &&
            (best == r->count || abs(r->passes[i].step - step) < abs(r->passes[best].step - step)))
            best = i;
    }
    return best;
}

/* Gives a share of a pass's past to another device, up to two parts. */
static inline void rp_share(struct random_plan *r, const struct random_pass *from)
{
    int64_t at = 0, past = sp_plan_slice_begin(r->plan, from->pass.slice);

    for (int k = 0; k < 2; k++) {
        uint32_t device = random_below(r->random, r->devices);
        int64_t begin = at + random_below(r->random, (uint32_t)past);
        int64_t end = begin + 1 + random_below(r->random, (uint32_t)past);
        uint32_t anchor = rp_near(r, device, from->step);
        if (device == from->device || end > past || anchor == r->count)
            continue;
        bool during = r->passes[anchor].pass.kind != SP_PASS_W && random_one_in(r->random, 2);
        r->plan->exchange[r->plan->exchange_count++] =
            (struct sp_exchange_part){.pass = from->pass,
                                      .anchor = r->passes[anchor].pass,
                                      .device = device,
                                      .where = during                        ? SP_ANCHOR_DURING
                                               : random_one_in(r->random, 2) ? SP_ANCHOR_BEFORE
                                                                             : SP_ANCHOR_AFTER,
                                      .token_begin = begin,
                                      .token_end = end};
        at = end;
    }
}

static inline void rp_exchange_some(struct random_plan *r)
{
    const struct sp_order *order = &r->plan->order;
    uint32_t one_in = 2 + random_below(r->random, 10);

    r->plan->exchange_policy = "random";
    r->plan->exchange_count = 0;
    for (uint64_t i = 0; i < order->begin[r->devices]; i++)
        for (uint32_t k = 0; k < r->count; k++) {
            const struct random_pass *from = &r->passes[k];
            bool has_attention =
                from->pass.kind == SP_PASS_F || from->pass.kind == SP_PASS_B || from->pass.kind == SP_PASS_I;
            if (memcmp(&from->pass, &order->passes[i], sizeof from->pass) == 0 && has_attention &&
                from->pass.slice > 0 && random_one_in(r->random, one_in))
                rp_share(r, from);
        }
    if (r->plan->exchange_count == 0)
        r->plan->exchange_policy = "none";
}

/* Some valid exchange; none where no try was free of deadlocks. */
static inline void rp_try_exchange(struct random_plan *r)
{
    struct sp_error error;

    r->plan->exchange = rp_alloc(r, 2 * (size_t)r->count, sizeof *r->plan->exchange);
    for (int k = 0; k < 8; k++) {
        rp_exchange_some(r);
        if (sp_plan_check(r->plan, &error) == SP_OK)
            return;
    }
    r->plan->exchange_count = 0;
    r->plan->exchange_policy = "none";
}

static inline void rp_try_joins(struct random_plan *r)
{
    struct sp_error error;

    rp_join_some(r);
    if (sp_plan_check(r->plan, &error) == SP_OK)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        r->plan->order.passes[i].joined = 0;
}

/*
 * A checked plan; sp_plan_destroy it. The same seed and flags give the same plan but for its order, which
 * order_seed makes.
 */
static inline struct sp_plan *random_plan_create(uint64_t seed, uint64_t order_seed, int flags)
{
    struct random random = {seed}, order_random = {order_seed};
    struct random_plan *r = calloc(1, sizeof *r);
    struct sp_plan *plan = sp_plan_create();
    struct sp_error error;

    cr_assert(r && plan);
    r->random = &random;
    r->order_random = &order_random;
    r->plan = plan;
    rp_set_shape(r, flags & RP_MODEL);
    if (flags & RP_MODEL)
        rp_set_model(r);
    else
        rp_set_costs(r);
    rp_set_stages(r);
    rp_add_passes(r);
    rp_set_order(r);
    if (plan->slice_count > 1 && r->devices > 1 && !(flags & RP_ORDER_ONLY) && random_one_in(&random, 2))
        rp_try_exchange(r);
    else if (!(flags & RP_ORDER_ONLY))
        rp_try_joins(r);
    cr_assert_eq(sp_plan_check(plan, &error), SP_OK, "%s: %s", error.path, error.message);
    free(r);
    return plan;
}

#endif
