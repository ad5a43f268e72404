/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interleaved 1F1B of Megatron-LM: v chunks per device, microbatches in groups of g (p by default) that go
 * through one chunk after the other. A last group of g or fewer microbatches is kept as it is, as Megatron
 * does, as long as it fills the pipeline. Overlapped, each forward runs together with a backward, for which
 * one more forward runs ahead.
 */
#include "schedules.h"

static uint32_t group_size(const struct sp_shape *shape)
{
    return shape->group ? shape->group : shape->devices;
}

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t p = shape->devices, m = shape->microbatches, g = group_size(shape);

    if (g < p)
        return sp_error_set(error, SP_INPUT,
                            "interleaved: a group of %u microbatches does not fill %u devices", g, p);
    if (m % g != 0 && m % g < p)
        return sp_error_set(
            error, SP_INPUT,
            "interleaved: %u microbatches leave a last group of %u in groups of %u; expected a "
            "multiple of %u, or a last group of at least %u, the number of devices",
            m, m % g, g, g, p);
    return SP_OK;
}

struct unit {
    uint32_t chunk, microbatch;
};

/* Unit k of a rank's forwards; of its backwards, but that the chunks are mirrored. */
static struct unit unit_at(const struct sp_shape *shape, uint32_t k)
{
    uint32_t m = shape->microbatches, v = shape->chunks, g = group_size(shape);
    uint32_t first = k / (g * v) * g; /* microbatch of its group */
    uint32_t size = m - first < g ? m - first : g;
    uint32_t place = k - first * v;

    return (struct unit){.chunk = place / size, .microbatch = first + place % size};
}

static void order_rank(const struct sp_shape *shape, uint32_t r, bool overlaps,
                       struct sp_order_builder *builder)
{
    uint32_t p = shape->devices, v = shape->chunks, units = shape->microbatches * v;
    uint32_t ahead = 2 * (p - 1 - r) + (v - 1) * group_size(shape) + overlaps;

    if (ahead > units)
        ahead = units;
    for (uint32_t k = 0; k < units + ahead; k++) {
        bool has_backward = k >= ahead;
        if (k < units) {
            struct unit unit = unit_at(shape, k);
            (overlaps && has_backward ? sp_order_push_joined : sp_order_push)(
                builder, r, SP_PASS_F, unit.chunk * p + r, unit.microbatch, 0);
        }
        if (has_backward) {
            struct unit unit = unit_at(shape, k - ahead);
            sp_order_push(builder, r, SP_PASS_B, (v - 1 - unit.chunk) * p + r, unit.microbatch, 0);
        }
    }
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, false, builder);
    return SP_OK;
}

static enum sp_status order_overlapped(const struct sp_shape *shape, struct sp_order_builder *builder,
                                       struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, true, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_interleaved = {
    .name = "interleaved",
    .description = "1F1B over v chunks per device, in groups of microbatches",
    .source = "Megatron-LM, arXiv 2104.04473",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_USES_GROUP,
    .default_chunks = 2,
    .check = check,
    .order = order,
    .bubble = sp_schedule_bubble_fill,
};

const struct sp_schedule sp_schedule_interleaved_overlap = {
    .name = "interleaved-overlap",
    .description = "interleaved 1F1B with each forward over a backward",
    .source = "Megatron-LM's combined 1F1B; PP-Schedule-Visualization",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_JOINS,
    .default_chunks = 2,
    .check = check,
    .order = order_overlapped,
};
