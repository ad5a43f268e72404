/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <string.h>

#include "predict.h"

enum { ATTEMPTS = 4 };

static void *copy_array(struct sp_arena *arena, const void *items, size_t count, size_t size)
{
    void *copy = sp_arena_alloc(arena, count, size);
    if (copy && items)
        memcpy(copy, items, count * size);
    return copy;
}

/*
 * Stage arrays from the device counts. Chunks with the heavier policies come first and are the same on all
 * devices as far as the counts allow, so that passes that run side by side take equally long.
 */
static enum sp_status spread(const struct candidate *candidate, const struct assignment *assignment,
                             struct sp_arena *arena, struct sp_request *request)
{
    uint32_t p = (uint32_t)candidate->parallel.pipeline, stages = p * candidate->chunks;
    enum sp_recompute *recompute = sp_arena_alloc(arena, stages, sizeof *recompute);
    uint32_t *offload = sp_arena_alloc(arena, stages, sizeof *offload);
    uint32_t *placed = sp_arena_alloc(arena, p, sizeof *placed);
    const struct sp_shape shape = {.devices = p, .chunks = candidate->chunks};
    if (!recompute || !offload || !placed)
        return SP_MEMORY;
    for (uint32_t s = 0; s < stages; s++) {
        uint32_t d = sp_schedule_device(candidate->schedule, &shape, s);
        uint32_t at = placed[d]++;
        int policy = RECOMPUTE_POLICIES - 1;
        while (policy > 0 && at >= assignment->stages[d][policy])
            at -= assignment->stages[d][policy--];
        recompute[s] = (enum sp_recompute)policy;
        offload[s] = assignment->offload_permille[d];
    }
    request->stage_recompute = recompute;
    request->stage_offload = offload;
    return SP_OK;
}

/* SP_INFEASIBLE with the overshoot where the plan does not fit. */
static enum sp_status plan_and_measure(const struct sp_request *request, struct trial *trial)
{
    struct sp_predicted predicted;
    enum sp_status status = sp_predict(request, &predicted, &trial->error);
    if (status != SP_OK)
        return status;
    trial->overshoot = request->memory_cap_bytes ? predicted.peak_bytes - request->memory_cap_bytes : 0;
    trial->found.time_ns = predicted.time_ns;
    trial->found.bound_ns = predicted.bound_ns;
    trial->found.peak_bytes = predicted.peak_bytes;
    trial->found.mfu = predicted.mfu;
    trial->found.bubble = predicted.bubble_mean_idle;
    return trial->overshoot > 0 ? SP_INFEASIBLE : SP_OK;
}

void sp_trial_run(const struct sp_search_request *search, const struct candidate *candidate,
                  const struct estimate *estimate, const struct assignment *assignment,
                  struct trial *ret_trial)
{
    struct trial trial = {.arena = sp_arena_create(), .candidate = *candidate, .status = SP_MEMORY};
    struct sp_error error;
    int64_t cap = search->base.memory_cap_bytes;
    if (trial.arena) {
        uint32_t p = estimate->devices;
        trial.assignment = *assignment;
        trial.assignment.stages = copy_array(trial.arena, assignment->stages, p, sizeof *assignment->stages);
        trial.assignment.offload_permille =
            copy_array(trial.arena, assignment->offload_permille, p, sizeof(uint32_t));
        trial.status = trial.assignment.stages && trial.assignment.offload_permille ? SP_OK : SP_MEMORY;
    }
    for (int attempt = 0; attempt < ATTEMPTS && trial.status == SP_OK; attempt++) {
        trial.found.request = sp_candidate_request(search, candidate);
        trial.found.estimate_ns = (int64_t)trial.candidate.estimate_ns;
        trial.status = spread(candidate, &trial.assignment, trial.arena, &trial.found.request);
        if (trial.status == SP_OK)
            trial.status = plan_and_measure(&trial.found.request, &trial);
        if (trial.status != SP_INFEASIBLE || attempt + 1 == ATTEMPTS)
            break;
        /* The estimate was short by so much: leave that room, and a little. */
        cap -= trial.overshoot + trial.overshoot / 8 + (1 << 20);
        trial.status =
            sp_assign_solve(search, &trial.candidate, estimate, cap, trial.arena, &trial.assignment, &error);
    }
    *ret_trial = trial;
}

/* A request that differs from the trial's; becomes the trial's own where it is faster. */
static bool try_request(struct trial *trial, const struct sp_request *request)
{
    struct trial other = {.arena = trial->arena, .found = {.request = *request}};
    trial->variations++;
    if (plan_and_measure(request, &other) != SP_OK || other.found.time_ns >= trial->found.time_ns)
        return false;
    other.found.estimate_ns = trial->found.estimate_ns;
    trial->found = other.found;
    return true;
}

static uint32_t stage_count(const struct trial *trial)
{
    return (uint32_t)trial->found.request.parallel.pipeline * trial->found.request.chunks;
}

/* Less recompute on the first stages [begin, end) that have the heaviest policy. */
static bool try_less_recompute(struct trial *trial, uint32_t begin, uint32_t end)
{
    struct sp_request request = trial->found.request;
    uint32_t stages = stage_count(trial);
    enum sp_recompute *recompute =
        copy_array(trial->arena, request.stage_recompute, stages, sizeof *recompute);
    bool changed = false;
    for (uint32_t s = begin; s < end && recompute; s++)
        if (recompute[s] > SP_RECOMPUTE_NONE) {
            recompute[s] = (enum sp_recompute)(recompute[s] - 1);
            changed = true;
        }
    request.stage_recompute = recompute;
    return changed && try_request(trial, &request);
}

static bool try_less_offload(struct trial *trial)
{
    struct sp_request request = trial->found.request;
    uint32_t stages = stage_count(trial);
    uint32_t *offload = copy_array(trial->arena, request.stage_offload, stages, sizeof *offload);
    bool changed = false;
    for (uint32_t s = 0; s < stages && offload; s++) {
        changed |= offload[s] > 0;
        offload[s] -= offload[s] / 10;
    }
    request.stage_offload = offload;
    return changed && try_request(trial, &request);
}

static bool try_other_window(struct trial *trial)
{
    struct sp_request request = trial->found.request;
    request.window = request.window == 1 ? 2 : 1;
    return request.slices > 1 && strcmp(request.schedule, "slimpipe") == 0 && try_request(trial, &request);
}

void sp_trial_polish(const struct sp_search_request *search, struct trial *trial, int rounds)
{
    uint32_t p = (uint32_t)trial->found.request.parallel.pipeline;
    for (int round = 0; round < rounds; round++) {
        bool better = false;
        if (!search->base.window && round == 0)
            better |= try_other_window(trial);
        if (!(search->fixed & SP_FIXED_RECOMPUTE))
            better |= try_less_recompute(trial, 0, p);
        if (!(search->fixed & SP_FIXED_OFFLOAD))
            better |= try_less_offload(trial);
        if (!better)
            return;
    }
}

bool sp_trial_copy(const struct trial *trial, struct sp_arena *arena, struct sp_found *ret_found)
{
    struct sp_found found = trial->found;
    uint32_t stages = stage_count(trial);
    found.request.stage_recompute =
        copy_array(arena, trial->found.request.stage_recompute, stages, sizeof(enum sp_recompute));
    found.request.stage_offload =
        copy_array(arena, trial->found.request.stage_offload, stages, sizeof(uint32_t));
    if (!found.request.stage_recompute || !found.request.stage_offload)
        return false;
    *ret_found = found;
    return true;
}

void sp_trial_drop(struct trial *trial)
{
    sp_arena_destroy(trial->arena);
    trial->arena = NULL;
}
