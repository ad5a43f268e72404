/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time on links. Ranks are numbered tensor fastest, then context, data (experts inside it), pipeline slowest,
 * so a group is `gpus` neighbouring GPUs and leaves the node as soon as it is larger than one.
 */
#include "internal.h"

const struct sp_link *sp_network_link(const struct sp_cluster *cluster, int64_t gpus)
{
    return gpus <= cluster->gpus_per_node ? &cluster->intra_node : &cluster->inter_node;
}

double sp_network_busy(const struct sp_link *link, const struct sp_profile *profile, double bytes)
{
    if (link->bytes_per_second == 0 || bytes <= 0)
        return 0;
    double efficiency = sp_efficiency_at(profile->link, profile->link_points, bytes);
    return bytes / ((double)link->bytes_per_second * efficiency) * 1e9;
}

/* Each rank sends and receives all of the tensor but its own part: the ring's volume, in ranks − 1 steps. */
double sp_network_collective(const struct sp_link *link, const struct sp_profile *profile, int64_t ranks,
                             double bytes)
{
    if (ranks <= 1)
        return 0;
    double moved = bytes * (double)(ranks - 1) / (double)ranks;
    return (double)(ranks - 1) * (double)link->latency_ns + sp_network_busy(link, profile, moved);
}
