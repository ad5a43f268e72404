/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SlimPipe. Microbatches are cut into n slices, which go through a device's v chunks in groups of g, the
 * smallest divisor of n that is not below p. Backwards run a microbatch's units in exactly the reversed
 * order. Rank r holds n·v + w·(p − 1 − r) units: it fills up to that, then runs one backward, one forward in
 * turn. The authors' w = 2 hides the latency of messages; w = 1 has the same bubble when they are free.
 */
#include "schedules.h"

enum { AUTHORS_WINDOW = 2 };

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->slices < shape->devices)
        return sp_error_set(error, SP_INPUT,
                            "slimpipe: %u slices on %u devices; expected at least one per device",
                            shape->slices, shape->devices);
    if (shape->window > 2)
        return sp_error_set(error, SP_INPUT, "slimpipe: window %u; expected 1 or 2", shape->window);
    return SP_OK;
}

static uint32_t group_size(uint32_t slices, uint32_t devices)
{
    uint32_t g = devices;

    while (slices % g != 0)
        g++;
    return g;
}

struct unit {
    uint32_t microbatch, chunk, slice;
};

/* Unit k of the forward order. */
static struct unit unit_at(const struct sp_shape *shape, uint32_t group, uint64_t k)
{
    uint32_t per_microbatch = shape->slices * shape->chunks;
    uint32_t place = (uint32_t)(k % per_microbatch);
    uint32_t cycle = place / (group * shape->chunks);

    return (struct unit){.microbatch = (uint32_t)(k / per_microbatch),
                         .chunk = place / group % shape->chunks,
                         .slice = cycle * group + place % group};
}

/* The k-th backward: within each microbatch the forward order reversed. */
static struct unit backward_unit_at(const struct sp_shape *shape, uint32_t group, uint64_t k)
{
    uint32_t per_microbatch = shape->slices * shape->chunks;
    uint64_t first = k / per_microbatch * per_microbatch;

    return unit_at(shape, group, first + per_microbatch - 1 - (k - first));
}

static void order_rank(const struct sp_shape *shape, uint32_t group, uint32_t r,
                       struct sp_order_builder *builder)
{
    uint64_t per_microbatch = (uint64_t)shape->slices * shape->chunks;
    uint64_t units = per_microbatch * shape->microbatches;
    uint64_t window = shape->window ? shape->window : AUTHORS_WINDOW;
    uint64_t ahead = per_microbatch + window * (shape->devices - 1 - r) - 1;

    if (ahead > units - 1)
        ahead = units - 1;
    for (uint64_t k = 0; k < units + ahead; k++) {
        if (k < units) {
            struct unit unit = unit_at(shape, group, k);
            sp_order_push(builder, r, SP_PASS_F, unit.chunk * shape->devices + r, unit.microbatch,
                          unit.slice);
        }
        if (k >= ahead) {
            struct unit unit = backward_unit_at(shape, group, k - ahead);
            sp_order_push(builder, r, SP_PASS_B, unit.chunk * shape->devices + r, unit.microbatch,
                          unit.slice);
        }
    }
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    uint32_t group = group_size(shape->slices, shape->devices);

    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, group, r, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_slimpipe = {
    .name = "slimpipe",
    .description = "slices of a microbatch through v chunks, one forward, one backward",
    .source = "SlimPipe, arXiv 2504.14519, and its published code",
    .traits = SP_SCHEDULE_SLICES | SP_SCHEDULE_CHUNKS | SP_SCHEDULE_USES_WINDOW,
    .check = check,
    .order = order,
    .bubble = sp_schedule_bubble_fill,
};
