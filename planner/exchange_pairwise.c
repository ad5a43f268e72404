/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SlimPipe authors' exchange (their published AttnBalancer): the devices of a wave are sorted by how many
 * slices of past they have, the q-th least is paired with the q-th most, and the one with more gives half the
 * difference, rounded down to whole slices, the oldest first. Where some device has no pass in the wave
 * nothing is exchanged.
 */
#include <stdlib.h>

#include "exchange.h"

/* The authors' default limit on slices that one pair moves. */
enum { MOST_SLICES = 100 };

struct paired {
    uint64_t pass;
    uint32_t device, slice;
};

static int compare_slices(const void *a, const void *b)
{
    const struct paired *s = a, *t = b;
    if (s->slice != t->slice)
        return s->slice < t->slice ? -1 : 1;
    return (s->device > t->device) - (s->device < t->device);
}

static uint32_t pair_slices(uint32_t less, uint32_t more)
{
    uint32_t slices = (more - less) / 2;
    return slices < MOST_SLICES ? slices : MOST_SLICES;
}

static void pair_wave(const struct sp_plan *plan, const int64_t *slice_begin, struct paired *paired,
                      struct sp_exchange_parts *parts)
{
    uint32_t devices = plan->order.device_count;
    qsort(paired, devices, sizeof(*paired), compare_slices);
    for (uint32_t q = 0; q < devices / 2; q++) {
        const struct paired *less = &paired[q], *more = &paired[devices - 1 - q];
        uint32_t slices = pair_slices(less->slice, more->slice);
        if (slices)
            sp_exchange_parts_add(parts, more->pass, less->pass, less->device, SP_ANCHOR_DURING, 0,
                                  slice_begin[slices]);
    }
}

static void pair_waves(const struct sp_plan *plan, const struct sp_waves *waves, const int64_t *slice_begin,
                       struct paired *paired, struct sp_exchange_parts *parts)
{
    uint32_t devices = plan->order.device_count;
    for (uint32_t w = 0; w < waves->wave_count; w++) {
        const uint64_t *members = &waves->members[waves->member_begin[w]];
        if (waves->member_begin[w + 1] - waves->member_begin[w] < devices)
            continue;
        for (uint32_t d = 0; d < devices; d++)
            paired[d] = (struct paired){members[d], d, plan->order.passes[members[d]].slice};
        pair_wave(plan, slice_begin, paired, parts);
    }
}

static int64_t *begin_slices(const struct sp_plan *plan, struct sp_arena *arena)
{
    int64_t *begin = sp_arena_alloc(arena, plan->slice_count + 1u, sizeof(*begin));
    for (uint32_t s = 0; begin && s < plan->slice_count; s++)
        begin[s + 1] = begin[s] + plan->slice_tokens[s];
    return begin;
}

static enum sp_status fill(struct sp_plan *plan, struct sp_error *error)
{
    struct sp_cost *cost = NULL;
    struct sp_waves waves;
    struct sp_arena *arena = sp_arena_create();
    struct sp_exchange_parts *parts = sp_exchange_parts_create();
    int64_t *slice_begin = arena ? begin_slices(plan, arena) : NULL;
    struct paired *paired = arena ? sp_arena_alloc(arena, plan->order.device_count, sizeof(*paired)) : NULL;
    enum sp_status status;
    if (!parts || !slice_begin || !paired) {
        status = sp_error_set(error, SP_MEMORY, "no memory for the pairwise exchange");
        goto out;
    }
    if ((status = sp_cost_create(plan, &cost, error)) ||
        (status = sp_waves_find(plan, cost, arena, &waves, error)))
        goto out;
    pair_waves(plan, &waves, slice_begin, paired, parts);
    status = sp_exchange_parts_take(parts, "pairwise", plan, error);
out:
    sp_exchange_parts_destroy(parts);
    sp_cost_destroy(cost);
    sp_arena_destroy(arena);
    return status;
}

const struct sp_exchange_policy sp_exchange_pairwise = {
    .name = "pairwise",
    .description = "most with least loaded device, whole slices: the SlimPipe authors' rule",
    .fill = fill,
};
