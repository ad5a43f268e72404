/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an iteration: gradients reduced over the ranks that hold the same weights, optimizer, weights
 * gathered. */
#include <math.h>

#include "internal.h"

/* Gradients out and weights back, of `parameters` held by each of `ranks`. */
static double reduction_ns(const struct sp_plan *plan, double parameters, int64_t ranks)
{
    const struct sp_parallel *parallel = &plan->parallel;
    const struct sp_link *link =
        sp_network_link(&plan->cluster, parallel->tensor * parallel->context * parallel->data);
    return sp_network_collective(link, &plan->profile, ranks, GRADIENT_BYTES * parameters) +
           sp_network_collective(link, &plan->profile, ranks, (double)sp_element_bytes(plan) * parameters);
}

/* Gradient read, state read and written, weight written; each rank does its shard. */
static double optimizer_ns(const struct sp_plan *plan, double state_bytes)
{
    double per_parameter = (double)(GRADIENT_BYTES + 2 * sp_optimizer_bytes(plan) + sp_element_bytes(plan));
    return sp_roofline_memory(plan, state_bytes / (double)sp_optimizer_bytes(plan) * per_parameter);
}

/* A tied matrix on two devices: both gradients are added. */
static double tied_ns(const struct sp_cost *cost, uint32_t device)
{
    const struct sp_plan *plan = cost->plan;
    uint32_t first = plan->stages[0].device, last = plan->stages[plan->stage_count - 1].device;
    if (!plan->model.tied_embeddings || first == last || (device != first && device != last) ||
        sp_vocabulary_is_spread(plan->vocabulary))
        return 0;
    double bytes = GRADIENT_BYTES * (double)sp_parameters_vocabulary(plan, device);
    struct sp_transfer transfer = sp_cost_transfer(cost, first, last, (int64_t)bytes);
    return (double)(transfer.latency_ns + transfer.busy_ns);
}

int64_t sp_cost_step_ns(const struct sp_cost *cost, uint32_t device)
{
    const struct sp_plan *plan = cost->plan;
    if (!plan->has_model)
        return 0;
    const int64_t *resident = cost->resident[device];
    double parameters = (double)resident[SP_MEMORY_GRADIENTS] / GRADIENT_BYTES;
    if (parameters == 0)
        return 0;
    double exposed = 1 - (double)plan->profile.data_overlap_permille / 1000;
    double reduction = reduction_ns(plan, parameters, plan->parallel.data * plan->parallel.context);
    return llround(exposed * reduction + tied_ns(cost, device) +
                   optimizer_ns(plan, (double)resident[SP_MEMORY_OPTIMIZER]));
}
