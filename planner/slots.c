/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include <stdbool.h>
#include <stdlib.h>

#include "slimpipe/arena.h"

/* A microbatch under way: pass `step` of its 2·stages is the next, and may run from slot `ready`. */
struct traveller {
    uint32_t microbatch, step;
    uint64_t ready;
};

struct run {
    const struct sp_slots *slots;
    const struct sp_shape *shape;
    struct sp_order_builder *builder;
    struct traveller *travellers; /* by age */
    uint32_t count;
    uint32_t *entered, *under_way; /* per direction */
    uint32_t *taken;               /* per device: the traveller that has the slot, + 1 */
};

static uint32_t stage_of(const struct run *run, const struct traveller *traveller)
{
    uint32_t stages = run->slots->stages;

    return traveller->step < stages ? traveller->step : 2 * stages - 1 - traveller->step;
}

static uint32_t device_of(const struct run *run, const struct traveller *traveller)
{
    return run->slots->device(run->shape, stage_of(run, traveller),
                              traveller->microbatch % run->slots->directions);
}

static void enter(struct run *run, uint64_t slot)
{
    const struct sp_slots *slots = run->slots;

    for (uint32_t i = 0; i < slots->directions; i++) {
        uint32_t microbatch;
        while (run->under_way[i] < slots->limit &&
               (microbatch = run->entered[i] * slots->directions + i) < slots->microbatches) {
            run->travellers[run->count++] = (struct traveller){.microbatch = microbatch, .ready = slot};
            run->entered[i]++;
            run->under_way[i]++;
        }
    }
}

static bool goes_before(const struct run *run, const struct traveller *a, const struct traveller *b)
{
    uint32_t directions = run->slots->directions;

    if (a->microbatch / directions != b->microbatch / directions)
        return a->microbatch / directions < b->microbatch / directions;
    return a->step > b->step || (a->step == b->step && a->microbatch < b->microbatch);
}

/* Which traveller has which device in this slot. */
static void share_out(struct run *run, uint64_t slot)
{
    for (uint32_t i = 0; i < run->count; i++) {
        const struct traveller *traveller = &run->travellers[i];
        uint32_t *taken = &run->taken[device_of(run, traveller)];
        if (traveller->ready <= slot &&
            (!*taken || goes_before(run, traveller, &run->travellers[*taken - 1])))
            *taken = i + 1;
    }
}

static void run_slot(struct run *run, uint64_t slot)
{
    for (uint32_t d = 0; d < run->slots->devices; d++) {
        struct traveller *traveller;
        if (!run->taken[d])
            continue;
        traveller = &run->travellers[run->taken[d] - 1];
        sp_order_push(run->builder, d, traveller->step < run->slots->stages ? SP_PASS_F : SP_PASS_B,
                      stage_of(run, traveller), traveller->microbatch, 0);
        traveller->step++;
        traveller->ready = slot + 1;
        run->taken[d] = 0;
    }
}

/* Lets go of those that have arrived; the rest stay in order. */
static void leave(struct run *run)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < run->count; i++) {
        struct traveller *traveller = &run->travellers[i];
        if (traveller->step == 2 * run->slots->stages)
            run->under_way[traveller->microbatch % run->slots->directions]--;
        else
            run->travellers[kept++] = *traveller;
    }
    run->count = kept;
}

enum sp_status sp_slots_push(const struct sp_slots *slots, const struct sp_shape *shape,
                             struct sp_order_builder *builder, struct sp_error *error)
{
    enum sp_status status = SP_OK;
    struct run run = {
        .slots = slots,
        .shape = shape,
        .builder = builder,
        .travellers = sp_alloc((size_t)slots->directions * slots->limit, sizeof(*run.travellers)),
        .entered = sp_alloc(slots->directions, sizeof(*run.entered)),
        .under_way = sp_alloc(slots->directions, sizeof(*run.under_way)),
        .taken = sp_alloc(slots->devices, sizeof(*run.taken)),
    };

    if (!run.travellers || !run.entered || !run.under_way || !run.taken) {
        status = sp_error_set(error, SP_MEMORY, "no memory to schedule %u devices", slots->devices);
        goto out;
    }
    enter(&run, 0);
    for (uint64_t slot = 0; run.count; slot++) {
        share_out(&run, slot);
        run_slot(&run, slot);
        leave(&run);
        enter(&run, slot + 1);
    }
out:
    sp_free(run.travellers);
    sp_free(run.entered);
    sp_free(run.under_way);
    sp_free(run.taken);
    return status;
}
