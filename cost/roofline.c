/* SPDX-License-Identifier: Apache-2.0 */
/* An operation takes what its FLOPs or its bytes take, whichever is longer. */
#include <math.h>

#include "internal.h"

static double flops_ns(const struct sp_plan *plan, double flops, double efficiency)
{
    return flops / ((double)plan->cluster.matrix_flops * efficiency) * 1e9;
}

/* Bytes are counted in bf16: elements of float32 are twice as long. */
double sp_roofline_memory(const struct sp_plan *plan, double bytes)
{
    bytes *= (double)sp_element_bytes(plan) / ELEMENT_BYTES;
    double rate = (double)plan->cluster.memory_bytes_per_second;
    return rate == 0 ? 0 : bytes / (rate * (double)plan->profile.memory_permille / 1000) * 1e9;
}

double sp_roofline_product(const struct sp_plan *plan, double rows, double inner, double columns,
                           double weight_bytes)
{
    const struct sp_profile *profile = &plan->profile;
    double efficiency = sp_efficiency_at(profile->matrix, profile->matrix_points, rows);
    double bytes = ELEMENT_BYTES * rows * (inner + columns) + weight_bytes * inner * columns;
    return fmax(flops_ns(plan, 2 * rows * inner * columns, efficiency), sp_roofline_memory(plan, bytes));
}

double sp_roofline_attention(const struct sp_plan *plan, double query_tokens, double flops, double bytes)
{
    const struct sp_profile *profile = &plan->profile;
    double efficiency = sp_efficiency_at(profile->attention, profile->attention_points, query_tokens);
    return fmax(flops_ns(plan, flops, efficiency), sp_roofline_memory(plan, bytes));
}
