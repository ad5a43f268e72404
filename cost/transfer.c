/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between devices, and copies to and from host memory. */
#include <math.h>

#include "internal.h"

/* A device is t·c·d neighbouring GPUs; its first one says which node and which host link it is at. */
static int64_t first_gpu(const struct sp_plan *plan, uint32_t device)
{
    const struct sp_parallel *parallel = &plan->parallel;
    return (int64_t)device * parallel->tensor * parallel->context * parallel->data;
}

int64_t sp_cost_hop_bytes(const struct sp_cost *cost, uint32_t slice)
{
    const struct sp_plan *plan = cost->plan;
    if (!plan->has_model)
        return 0;
    return sp_divide_up(sp_element_bytes(plan) * plan->model.hidden * plan->slice_tokens[slice] *
                            plan->workload.microbatch_sequences,
                        plan->parallel.tensor * plan->parallel.context);
}

int64_t sp_cost_output_bytes(const struct sp_cost *cost, uint32_t slice)
{
    const struct sp_plan *plan = cost->plan;
    if (!sp_vocabulary_is_spread(plan->vocabulary))
        return 0;
    int64_t share = plan->vocabulary == SP_VOCABULARY_SCATTER ? plan->parallel.pipeline : 1;
    if (sp_is_float32(plan)) /* whole rows */
        return 4 * plan->model.hidden *
               sp_divide_up(plan->slice_tokens[slice] * plan->workload.microbatch_sequences, share);
    return sp_divide_up(sp_cost_hop_bytes(cost, slice), share);
}

struct sp_transfer sp_cost_transfer(const struct sp_cost *cost, uint32_t from, uint32_t to, int64_t bytes)
{
    const struct sp_plan *plan = cost->plan;
    if (from == to)
        return (struct sp_transfer){.same_node = 1};
    if (!plan->has_model)
        return (struct sp_transfer){.latency_ns = plan->costs->message_ns, .same_node = 1};
    const struct sp_cluster *cluster = &plan->cluster;
    bool same =
        first_gpu(plan, from) / cluster->gpus_per_node == first_gpu(plan, to) / cluster->gpus_per_node;
    const struct sp_link *link = same ? &cluster->intra_node : &cluster->inter_node;
    return (struct sp_transfer){
        .latency_ns = link->latency_ns,
        .busy_ns = llround(sp_network_busy(link, &plan->profile, (double)bytes)),
        .same_node = same,
    };
}

/* The device's own GPUs on the link copy at the same time. */
struct sp_transfer sp_cost_host_copy(const struct sp_cost *cost, uint32_t device, int64_t bytes)
{
    (void)device;
    const struct sp_plan *plan = cost->plan;
    if (!plan->has_model)
        return (struct sp_transfer){.same_node = 1};
    const struct sp_cluster *cluster = &plan->cluster;
    int64_t gpus = first_gpu(plan, 1);
    int64_t sharing = gpus < cluster->gpus_per_host_link ? gpus : cluster->gpus_per_host_link;
    double busy = sp_network_busy(&cluster->host_link, &plan->profile, (double)bytes);
    return (struct sp_transfer){
        .latency_ns = cluster->host_link.latency_ns,
        .busy_ns = llround(busy * (double)sharing),
        .same_node = 1,
    };
}

uint32_t sp_cost_host_port(const struct sp_cost *cost, uint32_t device)
{
    const struct sp_plan *plan = cost->plan;
    if (!plan->has_model)
        return device;
    return (uint32_t)(first_gpu(plan, device) / plan->cluster.gpus_per_host_link);
}
