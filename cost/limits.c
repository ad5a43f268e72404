/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes and nanoseconds are counted in 64 bits. Figures that are each within their limits can still multiply
 * to more; here that is found in floating point, before or right after it would happen.
 */
#include <inttypes.h>
#include <math.h>

#include "internal.h"

#define COUNT_LIMIT 4e18

enum sp_status sp_limits_check_bytes(const struct sp_plan *plan, struct sp_error *error)
{
    const struct sp_model *model = &plan->model;
    double tokens = (double)plan->workload.sequence_tokens * (double)plan->workload.microbatch_sequences;
    double visited = model->experts > 0 ? (double)model->experts_per_token : 1;
    double width = 8 * (double)model->hidden + 6 * visited * (double)model->ffn + 4 * (double)model->vocab +
                   8 * (double)(model->heads + plan->parallel.tensor) * (double)model->head_dim;
    double state = 2 * OPTIMIZER_BYTES * sp_parameters_estimate(model) * (double)plan->parallel.expert;
    if (width * tokens * (double)(model->layers + 1) < COUNT_LIMIT && state < COUNT_LIMIT)
        return SP_OK;
    return sp_error_set(error, SP_INPUT,
                        "%.3g tokens of a microbatch and %.3g parameters are too many bytes to count: "
                        "expected fewer than %.0g",
                        tokens, sp_parameters_estimate(model), COUNT_LIMIT);
}

static double slowest_ns(const struct sp_link *link, const struct sp_profile *profile, double bytes)
{
    return (double)link->latency_ns + sp_network_busy(link, profile, bytes);
}

/* Every message and copy of a unit over the slowest link: more than any order can add up. */
static double moving_ns(const struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    const struct sp_cluster *cluster = &plan->cluster;
    double bytes = 0;
    for (uint64_t i = 0; i < (uint64_t)cost->class_count * cost->size_count; i++) {
        const struct sp_unit_bytes *unit = &cost->unit_bytes[i];
        bytes = fmax(bytes,
                     4 * (double)(unit->activations + unit->hop) + 2 * (double)unit->kv * plan->slice_count);
    }
    double messages = 8 * (double)(plan->model.layers + 1);
    return messages *
           (slowest_ns(&cluster->intra_node, &plan->profile, bytes) +
            slowest_ns(&cluster->inter_node, &plan->profile, bytes) +
            slowest_ns(&cluster->host_link, &plan->profile, bytes) * (double)cluster->gpus_per_host_link);
}

enum sp_status sp_limits_check_times(const struct sp_cost *cost, struct sp_error *error)
{
    const struct sp_plan *plan = cost->plan;
    double slowest = 0;
    for (uint64_t i = 0; i < (uint64_t)cost->class_count * cost->columns; i++)
        slowest =
            fmax(slowest, (double)cost->pass_ns[SP_PASS_F][i] + (double)cost->pass_ns[SP_PASS_B][i] +
                              (double)cost->pass_ns[SP_PASS_S][i] + (double)cost->pass_ns[SP_PASS_T][i]);
    double units = (double)plan->stage_count * plan->slice_count * (double)plan->workload.microbatches;
    if (units * (slowest + moving_ns(cost)) < COUNT_LIMIT)
        return SP_OK;
    return sp_error_set(error, SP_INPUT,
                        "a pass of %.3g ns and its messages of %.3g ns, %.3g times, are too long to count: "
                        "expected faster GPUs and links, or less work",
                        slowest, moving_ns(cost), units);
}
