/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From measured times to a profile. The efficiency at a slice size is that with which the cost model gives
 * the measured time of a layer's forward and backward together, so what the model leaves out is in it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/executor.h"

/* Efficiency is set to the whole and to half, to see how times depend on it. */
enum { WHOLE = 1000, HALF = 500, STAGES = 3 };

/* A model of three layers in three stages: the middle one has layers and nothing else. */
struct stand_in {
    const struct sp_model *model; /* the real one */
    struct sp_plan plan;
    struct sp_stage stages[STAGES];
};

static void stand_in_init(struct stand_in *s, const struct sp_plan *plan, const struct sp_cluster *cluster,
                          const struct sp_profile *profile)
{
    memset(s, 0, sizeof *s);
    s->plan = (struct sp_plan){
        .has_model = true,
        .model = plan->model,
        .cluster = *cluster,
        .profile = *profile,
        .parallel = {STAGES, 1, 1, 1, 1},
        .workload = {plan->workload.sequence_tokens, 1, plan->workload.microbatch_sequences},
        .slice_count = plan->slice_count,
        .slice_tokens = plan->slice_tokens,
        .stage_count = STAGES,
    };
    s->model = &plan->model;
    s->plan.model.layers = STAGES;
    for (uint32_t i = 0; i < STAGES; i++)
        s->stages[i] = (struct sp_stage){.device = i, .layer_begin = i, .layer_count = 1};
    s->plan.stages = s->stages;
}

struct times {
    double linear, attention;
};

/* A forward and a backward of one layer by the cost model at an efficiency. */
static enum sp_status model_times(struct stand_in *s, int permille, uint32_t slice, struct times *ret_times,
                                  struct sp_error *error)
{
    struct sp_cost *cost = NULL;
    struct sp_layer_cost forward, backward;
    struct sp_pass pass = {.stage = 1, .slice = (uint16_t)slice};
    int64_t past = sp_plan_slice_begin(&s->plan, slice);
    s->plan.profile.matrix_points = s->plan.profile.attention_points = 1;
    s->plan.profile.matrix[0] = s->plan.profile.attention[0] = (struct sp_efficiency){1, permille};
    enum sp_status status = sp_cost_create(&s->plan, &cost, error);
    if (status != SP_OK)
        return status;
    pass.kind = SP_PASS_F;
    sp_cost_layer(cost, &pass, past, 0, &forward);
    pass.kind = SP_PASS_B;
    sp_cost_layer(cost, &pass, past, 0, &backward);
    sp_cost_destroy(cost);
    ret_times->linear =
        (double)(forward.before_ns + forward.after_ns + backward.before_ns + backward.after_ns);
    ret_times->attention = (double)(forward.attention_ns + backward.attention_ns);
    return SP_OK;
}

static int64_t clamp(double permille)
{
    return permille < 1 ? 1 : permille > WHOLE ? WHOLE : llround(permille);
}

/* Time = fixed + work · whole / efficiency, solved for the efficiency. */
static int64_t solve(double at_whole, double at_half, double measured)
{
    double work = at_half - at_whole, fixed = at_whole - work;
    return clamp(measured > fixed ? WHOLE * work / (measured - fixed) : WHOLE);
}

static enum sp_status measure_slice(const struct sp_backend *backend, struct stand_in *s, uint32_t slice,
                                    struct sp_efficiency *matrix, struct sp_efficiency *attention,
                                    struct sp_error *error)
{
    struct sp_layer_measure measured;
    struct times whole, half;
    int64_t tokens = s->plan.slice_tokens[slice], sequences = s->plan.workload.microbatch_sequences;
    enum sp_status status = backend->measure_layer(s->model, sequences, tokens,
                                                   sp_plan_slice_begin(&s->plan, slice), &measured, error);
    if (status == SP_OK)
        status = model_times(s, WHOLE, slice, &whole, error);
    if (status == SP_OK)
        status = model_times(s, HALF, slice, &half, error);
    if (status != SP_OK)
        return status;
    *matrix = (struct sp_efficiency){tokens * sequences,
                                     solve(whole.linear, half.linear, (double)measured.linear_ns)};
    *attention =
        (struct sp_efficiency){tokens, solve(whole.attention, half.attention, (double)measured.attention_ns)};
    return SP_OK;
}

/* The slice to measure of the next larger size than `above`: of several, the middle one. SP_NO_INDEX: none.
 */
static uint32_t next_size(const struct sp_plan *plan, int64_t above)
{
    uint32_t found = SP_NO_INDEX, count = 0, middle = 0;
    for (uint32_t i = 0; i < plan->slice_count; i++)
        if (plan->slice_tokens[i] > above &&
            (found == SP_NO_INDEX || plan->slice_tokens[i] < plan->slice_tokens[found]))
            found = i;
    for (uint32_t i = 0; found != SP_NO_INDEX && i < plan->slice_count; i++)
        count += plan->slice_tokens[i] == plan->slice_tokens[found];
    for (uint32_t i = 0; found != SP_NO_INDEX && i < plan->slice_count; i++)
        if (plan->slice_tokens[i] == plan->slice_tokens[found] && middle++ == count / 2)
            return i;
    return found;
}

/* At most this many sizes of a plan are measured, spread over all. */
enum { SIZES = SP_PROFILE_POINTS };

enum sp_status sp_calibrate(const struct sp_backend *backend, const struct sp_plan *plan,
                            struct sp_cluster *ret_cluster, struct sp_profile *ret_profile,
                            struct sp_error *error)
{
    struct sp_machine_measure machine;
    struct sp_cluster cluster = plan->cluster;
    struct sp_profile profile = plan->profile, measured = plan->profile;
    struct stand_in stand_in;
    if (!plan->has_model || !backend->measure_layer)
        return sp_error_set(error, SP_UNSUPPORTED, "%s: there is nothing to measure", backend->name);
    enum sp_status status = backend->measure_rates(&machine, error);
    if (status != SP_OK)
        return status;
    cluster.precision = SP_PRECISION_FLOAT32;
    cluster.matrix_flops = machine.matrix_flops;
    cluster.memory_bytes_per_second = machine.memory_bytes_per_second;
    profile.launch_ns = 0;
    profile.memory_permille = WHOLE;
    measured = profile;
    stand_in_init(&stand_in, plan, &cluster, &profile);
    int points = 0;
    for (uint32_t slice = next_size(plan, 0); status == SP_OK && slice != SP_NO_INDEX && points < SIZES;
         slice = next_size(plan, plan->slice_tokens[slice]), points++)
        status = measure_slice(backend, &stand_in, slice, &measured.matrix[points],
                               &measured.attention[points], error);
    if (status != SP_OK)
        return status;
    measured.matrix_points = measured.attention_points = points;
    snprintf(measured.name, sizeof measured.name, "measured");
    snprintf(measured.provenance, sizeof measured.provenance,
             "measured with the %s backend: layers of hidden %ld, ffn %ld, %ld heads of %ld", backend->name,
             (long)plan->model.hidden, (long)plan->model.ffn, (long)plan->model.heads,
             (long)plan->model.head_dim);
    *ret_cluster = cluster;
    *ret_profile = measured;
    return SP_OK;
}
