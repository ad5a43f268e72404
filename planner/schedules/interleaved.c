/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interleaved 1F1B of Megatron-LM: v chunks per device, microbatches in groups of g (p by default) that go
 * through one chunk after the other. A last group of g or fewer microbatches is kept as it is, as Megatron
 * does, as long as it fills the pipeline.
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

/* Unit k of a rank's forwards (or, with the chunks mirrored, backwards). */
static void push(const struct sp_shape *shape, struct sp_order_builder *builder, uint32_t r,
                 enum sp_pass_kind kind, uint32_t k)
{
    uint32_t m = shape->microbatches, v = shape->chunks, g = group_size(shape);
    uint32_t first = k / (g * v) * g; /* microbatch of its group */
    uint32_t size = m - first < g ? m - first : g;
    uint32_t in_group = k - first * v;
    uint32_t chunk = in_group / size;

    if (kind == SP_PASS_B)
        chunk = v - 1 - chunk;
    sp_order_push(builder, r, kind, chunk * shape->devices + r, first + in_group % size, 0);
}

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t units = shape->microbatches * shape->chunks;
    uint32_t ahead = 2 * (shape->devices - 1 - r) + (shape->chunks - 1) * group_size(shape);

    if (ahead > units)
        ahead = units;
    for (uint32_t k = 0; k < units + ahead; k++) {
        if (k < units)
            push(shape, builder, r, SP_PASS_F, k);
        if (k >= ahead)
            push(shape, builder, r, SP_PASS_B, k - ahead);
    }
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

static double bubble(const struct sp_shape *shape)
{
    double fill = shape->devices - 1;

    return fill / ((double)shape->chunks * shape->microbatches + fill);
}

const struct sp_schedule sp_schedule_interleaved = {
    .name = "interleaved",
    .description = "1F1B over v chunks per device, in groups of microbatches",
    .source = "Megatron-LM, arXiv 2104.04473",
    .traits = SP_SCHEDULE_CHUNKS,
    .default_chunks = 2,
    .check = check,
    .order = order,
    .bubble = bubble,
};
