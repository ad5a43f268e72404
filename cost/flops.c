/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FLOPs that the model needs, whatever the plan spends: 6 per parameter and token without the input
 * embedding, and 6·L·h·s per token of attention, causal pairs counted once. Experts: those a token visits.
 */
#include "internal.h"

static double layer_flops(const struct sp_plan *plan)
{
    const struct sp_model *model = &plan->model;
    double tokens = (double)plan->workload.sequence_tokens;
    double parameters = (double)sp_model_layer_parameters(model);
    if (model->experts > 0)
        parameters -= 3 * (double)model->hidden * (double)model->ffn *
                      (double)(model->experts - model->experts_per_token);
    /* Two products over s/2 keys on average: 2·s·width. */
    return tokens * (2 * parameters + 2 * (double)(model->heads * model->head_dim) * tokens);
}

/* Forward once; input and weight gradient each once more, where the stage has them. */
static double passes_of(enum sp_train train)
{
    return train == SP_TRAIN_FULL ? 3 : train == SP_TRAIN_INPUT ? 2 : 1;
}

/* Forwards of one layer that a stage is worth in one visit of a microbatch. */
static double stage_weight(const struct sp_plan *plan, uint32_t stage)
{
    return passes_of(plan->stages[stage].train) * plan->stages[stage].layer_count;
}

/* The same over all stages and microbatches of one replica; microbatches may skip stages. */
static double replica_layers(const struct sp_plan *plan)
{
    double weight = 0;
    if (plan->path_begin) {
        for (uint32_t i = 0; i < plan->path_begin[plan->workload.microbatches]; i++)
            weight += stage_weight(plan, plan->path_stages[i]);
        return weight;
    }
    for (uint32_t i = 0; i < plan->stage_count; i++)
        weight += stage_weight(plan, i);
    return weight * (double)plan->workload.microbatches;
}

static double replica_flops(const struct sp_plan *plan)
{
    const struct sp_model *model = &plan->model;
    double output = 2 * (double)(model->vocab + 1) * (double)model->hidden;
    double outputs = (double)plan->workload.microbatches * (double)plan->workload.sequence_tokens;
    return replica_layers(plan) * layer_flops(plan) +
           passes_of(plan->stages[plan->stage_count - 1].train) * output * outputs;
}

double sp_cost_model_flops(const struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    if (!plan->has_model)
        return 0;
    return replica_flops(plan) * (double)plan->workload.microbatch_sequences * (double)plan->parallel.data;
}

double sp_cost_peak_flops(const struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    const struct sp_parallel *parallel = &plan->parallel;
    if (!plan->has_model)
        return 0;
    return (double)plan->cluster.matrix_flops *
           (double)(parallel->pipeline * parallel->tensor * parallel->context * parallel->data);
}

int64_t sp_cost_tokens(const struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    if (!plan->has_model)
        return 0;
    const struct sp_workload *workload = &plan->workload;
    return workload->sequence_tokens * workload->microbatches * workload->microbatch_sequences *
           plan->parallel.data;
}
