/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device holds for the whole iteration: bf16 weights, fp32 main gradients, and the optimizer's fp32
 * master copy and moments, sharded over the data and context ranks that hold the same weights.
 */
#include "internal.h"

static void add_parameters(int64_t resident[], const struct sp_plan *plan, struct rank_parameters parameters,
                           bool trained)
{
    const struct sp_parallel *parallel = &plan->parallel;
    int64_t copies = parallel->data * parallel->context;
    resident[SP_MEMORY_WEIGHTS] += sp_element_bytes(plan) * (parameters.dense + parameters.expert);
    if (!trained)
        return;
    resident[SP_MEMORY_GRADIENTS] += GRADIENT_BYTES * (parameters.dense + parameters.expert);
    resident[SP_MEMORY_OPTIMIZER] += sp_divide_up(
        sp_optimizer_bytes(plan) * (parameters.dense + parameters.expert * parallel->expert), copies);
}

static void add_stage(int64_t resident[], const struct sp_plan *plan, uint32_t index)
{
    const struct sp_stage *stage = &plan->stages[index];
    struct rank_parameters layer = sp_parameters_layer(plan);
    struct rank_parameters all = {
        .dense = layer.dense * stage->layer_count + (index + 1 == plan->stage_count ? plan->model.hidden : 0),
        .expert = layer.expert * stage->layer_count,
    };
    add_parameters(resident, plan, all, stage->train == SP_TRAIN_FULL);
}

/* One sweep over the stages and their replicas, then every device's share of the vocabulary's matrices. */
void sp_memory_fill_resident(struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    for (uint32_t i = 0; i < plan->stage_count; i++) {
        const struct sp_stage *stage = &plan->stages[i];
        add_stage(cost->resident[stage->device], plan, i);
        for (uint32_t j = 0; j < stage->replica_count; j++)
            add_stage(cost->resident[stage->replicas[j]], plan, i);
    }
    bool trained =
        plan->stages[0].train == SP_TRAIN_FULL || plan->stages[plan->stage_count - 1].train == SP_TRAIN_FULL;
    for (uint32_t device = 0; device < plan->parallel.pipeline; device++) {
        struct rank_parameters share = {.dense = sp_parameters_vocabulary(plan, device)};
        add_parameters(cost->resident[device], plan, share, trained);
    }
}

int64_t sp_cost_resident_bytes(const struct sp_cost *cost, uint32_t device, enum sp_memory_category category)
{
    return cost->resident && category <= SP_MEMORY_OPTIMIZER ? cost->resident[device][category] : 0;
}
