/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zero Bubble H1 and H2, the handcrafted ones. Rank r runs ahead by p − r forwards (H1: the memory of 1F1B)
 * or 2(p − r) − 1 (H2); its weight gradients trail the input gradients by r, or 2r, microbatches.
 */
#include "schedules.h"

static uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void order_rank(const struct sp_shape *shape, uint32_t r, uint32_t ahead, uint32_t delay,
                       struct sp_order_builder *builder)
{
    uint32_t m = shape->microbatches;
    uint32_t forwards = min(ahead, m), weights = 0;

    for (uint32_t i = 0; i < forwards; i++)
        sp_order_push(builder, r, SP_PASS_F, r, i, 0);
    for (uint32_t i = 0; i < m; i++) {
        sp_order_push(builder, r, SP_PASS_I, r, i, 0);
        if (i >= delay)
            sp_order_push(builder, r, SP_PASS_W, r, weights++, 0);
        if (forwards < m)
            sp_order_push(builder, r, SP_PASS_F, r, forwards++, 0);
    }
    while (weights < m)
        sp_order_push(builder, r, SP_PASS_W, r, weights++, 0);
}

static enum sp_status order_h1(const struct sp_shape *shape, struct sp_order_builder *builder,
                               struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, shape->devices - r, r, builder);
    return SP_OK;
}

static enum sp_status order_h2(const struct sp_shape *shape, struct sp_order_builder *builder,
                               struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, 2 * (shape->devices - r) - 1, 2 * r, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_zb_h1 = {
    .name = "zb-h1",
    .description = "zero bubble by hand: memory of 1F1B, a third of its bubble",
    .source = "Zero Bubble, arXiv 2401.10241, section 2.1",
    .traits = SP_SCHEDULE_SPLITS_W,
    .check = sp_schedule_check_any,
    .order = order_h1,
};

const struct sp_schedule sp_schedule_zb_h2 = {
    .name = "zb-h2",
    .description = "zero bubble by hand: 2p - 1 microbatches in flight, no bubble at equal times",
    .source = "Zero Bubble, arXiv 2401.10241, section 2.2",
    .traits = SP_SCHEDULE_SPLITS_W,
    .check = sp_schedule_check_any,
    .order = order_h2,
};
