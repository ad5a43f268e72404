/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of costs: a plan of a preset model without an order, its stages placed cyclically. */
#ifndef TESTS_MODELLED_H
#define TESTS_MODELLED_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/cost.h"

struct modelled {
    struct sp_plan plan;
    struct sp_cost *cost;
    struct sp_stage *stages;
    int64_t *slices;
};

/* Degrees 1, one microbatch of one sequence, recompute none, the output layer in the last stage. */
static inline void modelled_init(struct modelled *m, const char *model, const char *cluster)
{
    struct sp_error error;
    memset(m, 0, sizeof *m);
    m->plan.has_model = true;
    cr_assert_eq(sp_model_read(model, &m->plan.model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read(cluster, &m->plan.cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(m->plan.cluster.profile, &m->plan.profile, &error), SP_OK, "%s",
                 error.message);
    m->plan.parallel = (struct sp_parallel){1, 1, 1, 1, 1};
    m->plan.workload = (struct sp_workload){4096, 1, 1};
}

/* Fills stages and slices from the plan's degrees; layers spread evenly, the first stages one more. */
static inline void modelled_create(struct modelled *m, int chunks, int slices, enum sp_recompute recompute,
                                   uint32_t offload_permille)
{
    struct sp_error error;
    uint32_t devices = (uint32_t)m->plan.parallel.pipeline;
    uint32_t layers = (uint32_t)m->plan.model.layers, begin = 0;
    m->plan.stage_count = devices * (uint32_t)chunks;
    m->plan.slice_count = (uint32_t)slices;
    free(m->stages);
    free(m->slices);
    m->plan.stages = m->stages = calloc(m->plan.stage_count, sizeof *m->stages);
    m->plan.slice_tokens = m->slices = calloc((size_t)slices, sizeof *m->slices);
    for (uint32_t i = 0; i < m->plan.stage_count; i++) {
        uint32_t count = layers / m->plan.stage_count + (i < layers % m->plan.stage_count);
        m->stages[i] = (struct sp_stage){.device = i % devices,
                                         .layer_begin = begin,
                                         .layer_count = count,
                                         .recompute = recompute,
                                         .offload_permille = offload_permille};
        begin += count;
    }
    for (int i = 0; i < slices; i++)
        m->slices[i] = m->plan.workload.sequence_tokens / slices;
    sp_cost_destroy(m->cost);
    m->cost = NULL;
    cr_assert_eq(sp_cost_create(&m->plan, &m->cost, &error), SP_OK, "%s", error.message);
}

static inline void modelled_finish(struct modelled *m)
{
    sp_cost_destroy(m->cost);
    free(m->stages);
    free(m->slices);
}

static inline int64_t modelled_ns(const struct modelled *m, enum sp_pass_kind kind, uint32_t stage,
                                  uint32_t slice)
{
    struct sp_pass pass = {.kind = (uint8_t)kind, .stage = (uint16_t)stage, .slice = (uint16_t)slice};
    return sp_cost_pass_ns(m->cost, &pass);
}

/* Of all stages and slices. */
static inline double modelled_sum_ns(const struct modelled *m, enum sp_pass_kind kind)
{
    double sum = 0;
    for (uint32_t i = 0; i < m->plan.stage_count; i++)
        for (uint32_t j = 0; j < m->plan.slice_count; j++)
            sum += (double)modelled_ns(m, kind, i, j);
    return sum;
}

#endif
