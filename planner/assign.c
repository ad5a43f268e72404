/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recompute per stage and offload per device under the memory cap, as a mixed-integer programme:
 *
 *   minimise z (and, far behind it, what is offloaded)
 *   for each device:  Σ_r time_r · k_r / v + output ≤ z            k_r stages recompute by policy r, Σ k_r =
 * v resident + held · Σ_r activations_r · k_r / v + K, V + its gradient + logits + buffers − off ≤ cap off ≤
 * share · held · Σ_r offloadable_r · k_r / v     only where offload is used copies of one microbatch ≤
 * bandwidth · z,  off · GPUs of a node ≤ host memory
 *
 * where `held` is the share of a microbatch's units that are in flight at the device's peak. About four units
 * are on the device at full size at any time: what is being copied (program/offload.c).
 */
#include <math.h>
#include <string.h>

#include "candidate.h"
#include "lp.h"

enum { FULL_UNITS = 4 };

/* Seconds that one offloaded GiB counts in the objective: enough that none is for nothing. */
static const double offload_cost = 1e-6;

/* The model's units keep its numbers near 1: GLPK's simplex method cycles on bytes beside nanoseconds. */
static double gib(double bytes)
{
    return bytes / (1 << 30);
}

static double seconds(double ns)
{
    return ns / 1e9;
}

struct model {
    struct sp_lp *lp;
    int32_t slowest;
    int32_t (*stages)[RECOMPUTE_POLICIES]; /* columns by device */
    int32_t *off, *uses_offload;           /* columns by device */
};

static bool policy_is_allowed(const struct sp_search_request *search, int policy)
{
    return !(search->fixed & SP_FIXED_RECOMPUTE) || (int)search->base.recompute == policy;
}

/* Microbatches' worth of units in flight on a device at its peak. */
static double held(const struct estimate *estimate, uint32_t device)
{
    return (double)estimate->profile.in_flight[device] / estimate->units;
}

static double offload_share(const struct estimate *estimate, uint32_t device)
{
    double units = estimate->profile.in_flight[device];
    return units > FULL_UNITS ? (units - FULL_UNITS) / units : 0;
}

/* What is on the device besides activations, whatever is chosen. */
static double fixed_bytes(const struct estimate *estimate, uint32_t device)
{
    const struct device_costs *costs = &estimate->costs[device];
    return (double)(costs->resident + costs->logits + costs->messages) +
           (double)costs->kv * held(estimate, device) +
           (double)costs->kv_gradient * estimate->profile.kv_gradient[device];
}

/* Costs are those of all v stages of a device under one policy; a stage is a v-th. */
static void add_device(const struct sp_search_request *search, const struct candidate *candidate,
                       const struct estimate *estimate, int64_t cap, uint32_t device, struct model *model)
{
    const struct device_costs *costs = &estimate->costs[device];
    const struct sp_cluster *cluster = search->base.cluster;
    double v = candidate->chunks, share = offload_share(estimate, device), in_flight = held(estimate, device);
    bool offloads = !(search->fixed & SP_FIXED_OFFLOAD) || search->base.offload_permille;
    int32_t count = sp_lp_row(model->lp, v, v);
    int32_t time = sp_lp_row(model->lp, -INFINITY, -seconds(costs->output_ns));
    int32_t memory =
        sp_lp_row(model->lp, -INFINITY, cap ? gib((double)cap - fixed_bytes(estimate, device)) : INFINITY);
    /* A fixed share is met exactly, a free one is a limit. */
    bool fixed = search->fixed & SP_FIXED_OFFLOAD;
    double full = fixed ? search->base.offload_permille / 1000.0 : 1;
    int32_t limit = sp_lp_row(model->lp, fixed ? 0 : -INFINITY, 0);
    int32_t used = sp_lp_row(model->lp, -INFINITY, 0);
    int32_t link = sp_lp_row(model->lp, -INFINITY, 0);
    double most = 0;

    model->off[device] =
        sp_lp_column(model->lp, SP_LP_REAL, 0, share > 0 && offloads ? INFINITY : 0, offload_cost);
    model->uses_offload[device] = sp_lp_column(model->lp, SP_LP_WHOLE, 0, 1, 0);
    for (int r = 0; r < RECOMPUTE_POLICIES; r++) {
        double allowed = policy_is_allowed(search, r) ? v : 0;
        int32_t column = sp_lp_column(model->lp, SP_LP_WHOLE, 0, allowed, 0);
        model->stages[device][r] = column;
        sp_lp_term(model->lp, count, column, 1);
        sp_lp_term(model->lp, time, column, seconds(costs->time_ns[r]) / v);
        sp_lp_term(model->lp, memory, column,
                   gib(in_flight * (double)costs->activations[r] + (double)costs->recompute[r]) / v);
        sp_lp_term(model->lp, limit, column,
                   -full * share * in_flight * gib((double)costs->offloadable[r]) / v);
        most = fmax(most, in_flight * gib((double)costs->offloadable[r]));
    }
    sp_lp_term(model->lp, time, model->slowest, -1);
    sp_lp_term(model->lp, memory, model->off[device], -1);
    sp_lp_term(model->lp, memory, model->uses_offload[device], in_flight * gib((double)costs->kv));
    sp_lp_term(model->lp, limit, model->off[device], 1);
    sp_lp_term(model->lp, used, model->off[device], 1);
    sp_lp_term(model->lp, used, model->uses_offload[device], -most);
    /* One microbatch's copies, out and in at once on a full-duplex link, within its time. */
    double gib_per_second = gib((double)cluster->host_link.bytes_per_second) /
                            (double)(cluster->gpus_per_host_link > 0 ? cluster->gpus_per_host_link : 1);
    if (gib_per_second > 0 && share > 0) {
        sp_lp_term(model->lp, link, model->off[device], 1 / (share * in_flight));
        sp_lp_term(model->lp, link, model->slowest, -gib_per_second);
    }
    if (cluster->host_memory_bytes) {
        int32_t host = sp_lp_row(model->lp, -INFINITY,
                                 gib((double)cluster->host_memory_bytes) / (double)cluster->gpus_per_node);
        sp_lp_term(model->lp, host, model->off[device], 1);
    }
}

/* Least memory of a device: the lightest allowed policy, all offloaded that may be. */
static double least_bytes(const struct sp_search_request *search, const struct estimate *estimate,
                          uint32_t device)
{
    const struct device_costs *costs = &estimate->costs[device];
    bool offloads = !(search->fixed & SP_FIXED_OFFLOAD) || search->base.offload_permille;
    double least = INFINITY, in_flight = held(estimate, device), share = offload_share(estimate, device);
    for (int r = 0; r < RECOMPUTE_POLICIES; r++) {
        if (!policy_is_allowed(search, r))
            continue;
        double kept = in_flight * (double)costs->activations[r];
        double resident = (double)costs->recompute[r] + kept;
        if (offloads)
            resident = fmin(resident, (double)costs->recompute[r] + kept + in_flight * (double)costs->kv -
                                          share * in_flight * (double)costs->offloadable[r]);
        least = fmin(least, resident);
    }
    return fixed_bytes(estimate, device) + least;
}

static enum sp_status find_overshoot(const struct sp_search_request *search, struct candidate *candidate,
                                     const struct estimate *estimate, int64_t cap, struct sp_error *error)
{
    double worst = -INFINITY;
    for (uint32_t d = 0; d < estimate->devices; d++) {
        double over = least_bytes(search, estimate, d) - (double)cap;
        if (over > worst) {
            worst = over;
            candidate->lightest = d;
        }
    }
    candidate->overshoot = (int64_t)worst;
    if (cap && worst > 0)
        return sp_error_set(error, SP_INFEASIBLE, "device %u needs %.1f GiB more than the memory cap",
                            candidate->lightest, worst / (1 << 30));
    return SP_OK;
}

static bool create_model(const struct sp_search_request *search, const struct candidate *candidate,
                         const struct estimate *estimate, int64_t cap, struct sp_arena *arena,
                         struct model *model)
{
    uint32_t p = estimate->devices;
    model->lp = sp_lp_create();
    model->stages = sp_arena_alloc(arena, p, sizeof *model->stages);
    model->off = sp_arena_alloc(arena, p, sizeof *model->off);
    model->uses_offload = sp_arena_alloc(arena, p, sizeof *model->uses_offload);
    if (!model->lp || !model->stages || !model->off || !model->uses_offload)
        return false;
    model->slowest = sp_lp_column(model->lp, SP_LP_REAL, 0, INFINITY, 1);
    for (uint32_t d = 0; d < p; d++)
        add_device(search, candidate, estimate, cap, d, model);
    return true;
}

static enum sp_status read_values(const struct sp_search_request *search, const struct candidate *candidate,
                                  const struct estimate *estimate, const struct model *model,
                                  const double *values, struct sp_arena *arena, struct assignment *ret,
                                  struct sp_error *error)
{
    uint32_t p = estimate->devices;
    struct assignment chosen = {.stages = sp_arena_alloc(arena, p, sizeof *chosen.stages),
                                .offload_permille = sp_arena_alloc(arena, p, sizeof(uint32_t))};
    if (!chosen.stages || !chosen.offload_permille)
        return sp_error_set(error, SP_MEMORY, "out of memory while assigning recompute");
    for (uint32_t d = 0; d < p; d++) {
        double time = estimate->costs[d].output_ns, full = 0;
        for (int r = 0; r < RECOMPUTE_POLICIES; r++) {
            chosen.stages[d][r] = (uint32_t)lround(values[model->stages[d][r]]);
            time += estimate->costs[d].time_ns[r] * chosen.stages[d][r] / candidate->chunks;
            full += gib((double)estimate->costs[d].offloadable[r]) * chosen.stages[d][r] / candidate->chunks;
        }
        full *= held(estimate, d) * offload_share(estimate, d);
        double share = full > 0 ? values[model->off[d]] / full : 0;
        chosen.offload_permille[d] = (uint32_t)fmin(1000, ceil(1000 * share - 1e-6));
        if (search->fixed & SP_FIXED_OFFLOAD)
            chosen.offload_permille[d] = search->base.offload_permille;
        chosen.slowest_ns = fmax(chosen.slowest_ns, time);
    }
    *ret = chosen;
    return SP_OK;
}

enum sp_status sp_assign_solve(const struct sp_search_request *search, struct candidate *candidate,
                               const struct estimate *estimate, int64_t cap, struct sp_arena *arena,
                               struct assignment *ret_assignment, struct sp_error *error)
{
    /* Nodes, not time: the same answer on every machine. */
    static const struct sp_lp_limits limits = {.nodes = 500};
    struct sp_lp_result result;
    struct model model = {.lp = NULL};
    enum sp_status status = find_overshoot(search, candidate, estimate, cap, error);
    if (status != SP_OK)
        return status;
    double *values =
        sp_arena_alloc(arena, 1 + (size_t)estimate->devices * (2 + RECOMPUTE_POLICIES), sizeof *values);
    if (!values || !create_model(search, candidate, estimate, cap, arena, &model))
        status = sp_error_set(error, SP_MEMORY, "out of memory while assigning recompute");
    if (status == SP_OK)
        status = sp_lp_solve(model.lp, &limits, values, &result, error);
    if (status == SP_OK && result.outcome != SP_LP_OPTIMAL && result.outcome != SP_LP_FEASIBLE)
        status = sp_error_set(error, SP_INFEASIBLE,
                              "no recompute and offload fit the memory, the host link and the host's memory");
    if (status == SP_OK)
        status = read_values(search, candidate, estimate, &model, values, arena, ret_assignment, error);
    sp_lp_destroy(model.lp);
    if (status == SP_OK)
        candidate->estimate_ns = sp_estimate_time(candidate, estimate, ret_assignment->slowest_ns);
    return status;
}
