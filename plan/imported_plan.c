/* SPDX-License-Identifier: Apache-2.0 */
/* The plan made of another framework's order and explicit costs. */
#include <string.h>

#include "imported_order.h"

static enum sp_status out_of_memory(struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "no memory for the order");
}

static enum sp_status fill_stage(const struct imported_order *order, struct sp_plan *plan, uint32_t s,
                                 uint8_t *holds, struct sp_error *error)
{
    struct sp_stage *stage = &plan->stages[s];
    bool has_input = false, has_weight = false;
    uint32_t *replicas;

    memset(holds, 0, order->device_count);
    for (uint32_t m = 0; m < order->microbatch_count; m++) {
        holds[sp_imported_forward_device(order, s, m)] = 1;
        has_input |= order->input[sp_imported_unit(order, s, m)] != 0;
        has_weight |= order->weight[sp_imported_unit(order, s, m)] != 0;
    }
    stage->device = sp_imported_forward_device(order, s, 0);
    stage->train = has_weight ? SP_TRAIN_FULL : has_input ? SP_TRAIN_INPUT : SP_TRAIN_NONE;
    holds[stage->device] = 0;
    for (uint32_t d = 0; d < order->device_count; d++)
        stage->replica_count += holds[d];
    if (stage->replica_count == 0)
        return SP_OK;
    if (!(replicas = sp_arena_alloc(plan->arena, stage->replica_count, sizeof(*replicas))))
        return out_of_memory(error);
    stage->replicas = replicas;
    for (uint32_t d = 0; d < order->device_count; d++)
        if (holds[d])
            *replicas++ = d;
    return SP_OK;
}

static enum sp_status fill_stages(const struct imported_order *order, struct sp_plan *plan,
                                  struct sp_error *error)
{
    uint8_t *holds = sp_alloc(order->device_count, sizeof(*holds));
    enum sp_status status = SP_OK;

    plan->stage_count = order->stage_count;
    plan->stages = sp_arena_alloc(plan->arena, order->stage_count, sizeof(*plan->stages));
    if (!holds || !plan->stages)
        status = out_of_memory(error);
    for (uint32_t s = 0; s < order->stage_count && !status; s++)
        status = fill_stage(order, plan, s, holds, error);
    sp_free(holds);
    return status;
}

static enum sp_status copy_order(const struct imported_order *order, struct sp_plan *plan,
                                 struct sp_error *error)
{
    struct sp_order *copy = &plan->order;

    copy->device_count = order->device_count;
    copy->begin = sp_arena_alloc(plan->arena, order->device_count + 1, sizeof(*copy->begin));
    copy->passes = sp_arena_alloc(plan->arena, order->pass_count, sizeof(*copy->passes));
    if (!copy->begin || !copy->passes)
        return out_of_memory(error);
    memcpy(copy->begin, order->begin, (order->device_count + 1) * sizeof(*copy->begin));
    memcpy(copy->passes, order->passes, order->pass_count * sizeof(*copy->passes));
    return SP_OK;
}

static enum sp_status fill_plan(const struct imported_order *order, const struct sp_pass_costs *costs,
                                uint32_t cost_stages, struct sp_plan *plan, struct sp_error *error)
{
    int64_t *slice_tokens = sp_arena_alloc(plan->arena, 1, sizeof(*slice_tokens));
    enum sp_status status;

    if (!slice_tokens)
        return out_of_memory(error);
    *slice_tokens = 1;
    plan->schedule = "imported";
    plan->exchange_policy = "none";
    plan->parallel.pipeline = order->device_count;
    plan->workload.sequence_tokens = 1;
    plan->workload.microbatches = order->microbatch_count;
    plan->workload.microbatch_sequences = 1;
    plan->slice_count = 1;
    plan->slice_tokens = slice_tokens;
    if ((status = sp_pass_costs_spread(costs, cost_stages, order->stage_count, plan->arena, &plan->costs,
                                       error)) ||
        (status = fill_stages(order, plan, error)) || (status = copy_order(order, plan, error)))
        return status;
    return sp_plan_check(plan, error);
}

enum sp_status sp_imported_order_plan(const struct imported_order *order, const struct sp_pass_costs *costs,
                                      uint32_t cost_stages, struct sp_plan **ret_plan, struct sp_error *error)
{
    struct sp_plan *plan = sp_plan_create();
    enum sp_status status;

    if (!plan)
        return out_of_memory(error);
    if ((status = fill_plan(order, costs, cost_stages, plan, error)))
        sp_plan_destroy(plan);
    else
        *ret_plan = plan;
    return status;
}
