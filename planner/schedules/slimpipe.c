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

/* A place in the sequence of units: of a microbatch, counted in the forward order. */
struct place {
    uint32_t microbatch, unit;
};

static void advance(struct place *place, uint32_t per_microbatch)
{
    if (++place->unit == per_microbatch) {
        place->unit = 0;
        place->microbatch++;
    }
}

static void push(const struct sp_shape *shape, struct sp_order_builder *builder, uint32_t group, uint32_t r,
                 enum sp_pass_kind kind, struct place place)
{
    uint32_t p = shape->devices, v = shape->chunks, per_microbatch = shape->slices * v;
    uint32_t unit = kind == SP_PASS_F ? place.unit : per_microbatch - 1 - place.unit;
    uint32_t round = unit / group, chunk = round % v, cycle = round / v;

    sp_order_push(builder, r, kind, chunk * p + r, place.microbatch, cycle * group + (unit - round * group));
}

static void order_rank(const struct sp_shape *shape, uint32_t group, uint32_t r,
                       struct sp_order_builder *builder)
{
    uint32_t per_microbatch = shape->slices * shape->chunks;
    uint64_t units = (uint64_t)per_microbatch * shape->microbatches;
    uint64_t window = shape->window ? shape->window : AUTHORS_WINDOW;
    uint64_t ahead = per_microbatch + window * (shape->devices - 1 - r) - 1;
    struct place forward = {0, 0}, backward = {0, 0};

    if (ahead > units - 1)
        ahead = units - 1;
    for (uint64_t k = 0; k < units + ahead; k++) {
        if (k < units) {
            push(shape, builder, group, r, SP_PASS_F, forward);
            advance(&forward, per_microbatch);
        }
        if (k >= ahead) {
            push(shape, builder, group, r, SP_PASS_B, backward);
            advance(&backward, per_microbatch);
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
