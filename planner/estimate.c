/* SPDX-License-Identifier: Apache-2.0 */
/* Time and memory of a candidate from the costs of its stages, without an order. */
#include <string.h>

#include "candidate.h"
#include "compose.h"

/* Passes of a stage over all slices of one microbatch. */
static double stage_time(const struct sp_plan *plan, const struct sp_cost *cost, uint32_t stage)
{
    double sum = 0;
    for (uint32_t s = 0; s < plan->slice_count; s++) {
        struct sp_pass pass = {.stage = (uint16_t)stage, .slice = (uint16_t)s, .kind = SP_PASS_F};
        sum += (double)sp_cost_pass_ns(cost, &pass);
        if (plan->stages[stage].train == SP_TRAIN_NONE)
            continue;
        pass.kind = plan->stages[stage].train == SP_TRAIN_INPUT ? SP_PASS_I : SP_PASS_B;
        sum += (double)sp_cost_pass_ns(cost, &pass);
    }
    return sum;
}

static double output_time(const struct sp_plan *plan, const struct sp_cost *cost)
{
    double sum = 0;
    for (uint32_t s = 0; s < plan->slice_count && sp_vocabulary_is_spread(plan->vocabulary); s++)
        for (int kind = SP_PASS_S; kind <= SP_PASS_T; kind++) {
            struct sp_pass pass = {
                .stage = (uint16_t)(plan->stage_count - 1), .slice = (uint16_t)s, .kind = (uint8_t)kind};
            sum += (double)sp_cost_pass_ns(cost, &pass);
        }
    return sum;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Adds what a stage holds and takes to its device's costs under one recompute policy. */
static void add_stage(const struct sp_plan *plan, const struct sp_cost *cost, uint32_t stage, int policy,
                      struct device_costs *costs)
{
    struct sp_unit_bytes unit;
    int64_t slices = plan->slice_count;
    sp_cost_unit_bytes(cost, stage, 0, &unit);
    costs->time_ns[policy] += stage_time(plan, cost, stage);
    costs->activations[policy] += slices * unit.activations;
    costs->recompute[policy] = largest(costs->recompute[policy], unit.recompute);
    if (policy != 0)
        return;
    costs->kv += slices * unit.kv;
    costs->kv_gradient = largest(costs->kv_gradient, unit.kv_gradient);
    costs->messages = largest(costs->messages, 2 * unit.hop);
}

static void add_device(const struct sp_plan *plan, const struct sp_cost *cost, uint32_t device,
                       struct device_costs *costs)
{
    costs->output_ns = output_time(plan, cost);
    costs->step_ns = (double)sp_cost_step_ns(cost, device);
    for (int c = 0; c < SP_MEMORY_CATEGORIES; c++)
        costs->resident += sp_cost_resident_bytes(cost, device, (enum sp_memory_category)c);
    /* The last stage's unit has the logits' size; a spread output layer holds its part everywhere. */
    struct sp_unit_bytes last;
    sp_cost_unit_bytes(cost, plan->stage_count - 1, 0, &last);
    if (sp_vocabulary_is_spread(plan->vocabulary) || plan->stages[plan->stage_count - 1].device == device)
        costs->logits = (int64_t)plan->slice_count * last.logits;
}

static enum sp_status fill_policy(struct sp_plan *plan, int policy, struct estimate *estimate,
                                  struct sp_error *error)
{
    struct sp_cost *cost = NULL;
    for (uint32_t s = 0; s < plan->stage_count; s++) {
        plan->stages[s].recompute = (enum sp_recompute)policy;
        plan->stages[s].offload_permille = 0;
    }
    enum sp_status status = sp_cost_create(plan, &cost, error);
    if (status != SP_OK)
        return status;
    for (uint32_t s = 0; s < plan->stage_count; s++)
        add_stage(plan, cost, s, policy, &estimate->costs[plan->stages[s].device]);
    for (uint32_t d = 0; d < estimate->devices && policy == 0; d++)
        add_device(plan, cost, d, &estimate->costs[d]);
    sp_cost_destroy(cost);
    return SP_OK;
}

/* At full offload share a unit's K and V count among what is saved, and stay in the cache besides. */
static void fill_offload(struct estimate *estimate)
{
    for (uint32_t d = 0; d < estimate->devices; d++)
        for (int policy = 0; policy < RECOMPUTE_POLICIES; policy++)
            estimate->costs[d].offloadable[policy] =
                estimate->costs[d].activations[policy] + estimate->costs[d].kv;
}

double sp_estimate_time(const struct candidate *candidate, const struct estimate *estimate,
                        double microbatch_ns)
{
    double step = 0;
    for (uint32_t d = 0; d < estimate->devices; d++)
        if (estimate->costs[d].step_ns > step)
            step = estimate->costs[d].step_ns;
    return (double)candidate->microbatches * microbatch_ns / (1 - estimate->profile.idle) + step;
}

/* All work without recompute, spread evenly, is a bound even where attention moves between devices. */
static double lower_time(const struct candidate *candidate, const struct estimate *estimate)
{
    double sum = 0;
    for (uint32_t d = 0; d < estimate->devices; d++)
        sum +=
            (estimate->costs[d].time_ns[0] + estimate->costs[d].output_ns) * (double)candidate->microbatches +
            estimate->costs[d].step_ns;
    return sum / estimate->devices;
}

enum sp_status sp_estimate_create(const struct sp_search_request *search, struct candidate *candidate,
                                  const struct order_profile *profile, struct sp_arena *arena,
                                  struct estimate *ret_estimate, struct sp_error *error)
{
    struct sp_request request = sp_candidate_request(search, candidate);
    struct estimate estimate = {.devices = (uint32_t)candidate->parallel.pipeline,
                                .units = candidate->chunks * candidate->slices,
                                .profile = *profile};
    struct sp_plan *plan = sp_plan_create();
    enum sp_status status = SP_OK;
    estimate.costs = sp_arena_alloc(arena, estimate.devices, sizeof *estimate.costs);
    if (!plan || !estimate.costs)
        status = sp_error_set(error, SP_MEMORY, "out of memory while estimating a configuration");
    if (status == SP_OK)
        status = sp_compose_frame(&request, plan, error);
    for (int policy = 0; policy < RECOMPUTE_POLICIES && status == SP_OK; policy++)
        status = fill_policy(plan, policy, &estimate, error);
    sp_plan_destroy(plan);
    if (status != SP_OK)
        return status;
    fill_offload(&estimate);
    candidate->lower_ns = lower_time(candidate, &estimate);
    *ret_estimate = estimate;
    return SP_OK;
}
