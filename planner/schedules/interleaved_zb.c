/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interleaved with split backwards, as PyTorch runs it: interleaved 1F1B in groups of p, input gradients in
 * the place of backwards, and on rank r weight gradients r units behind them.
 */
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->microbatches % shape->devices != 0)
        return sp_error_set(
            error, SP_INPUT,
            "interleaved-zb: %u microbatches; expected a multiple of %u, the number of devices",
            shape->microbatches, shape->devices);
    return SP_OK;
}

/* Unit k; the chunks are mirrored for I and W. */
static void push(const struct sp_shape *shape, struct sp_order_builder *builder, uint32_t r,
                 enum sp_pass_kind kind, uint32_t k)
{
    uint32_t p = shape->devices, v = shape->chunks;
    uint32_t chunk = k / p % v;

    if (kind != SP_PASS_F)
        chunk = v - 1 - chunk;
    sp_order_push(builder, r, kind, chunk * p + r, k / (p * v) * p + k % p, 0);
}

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t p = shape->devices, units = shape->microbatches * shape->chunks;
    uint32_t ahead = p - 1 - r + (shape->chunks - 1) * p;

    for (uint32_t k = 0; k < units + ahead + r; k++) {
        if (k < units)
            push(shape, builder, r, SP_PASS_F, k);
        if (k >= ahead && k - ahead < units)
            push(shape, builder, r, SP_PASS_I, k - ahead);
        if (k >= ahead + r)
            push(shape, builder, r, SP_PASS_W, k - ahead - r);
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

const struct sp_schedule sp_schedule_interleaved_zb = {
    .name = "interleaved-zb",
    .description = "interleaved with weight gradients split off and r units behind on rank r",
    .source = "PyTorch's ScheduleInterleavedZeroBubble",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W,
    .default_chunks = 2,
    .check = check,
    .order = order,
};
