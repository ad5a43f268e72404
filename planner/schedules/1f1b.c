/* SPDX-License-Identifier: Apache-2.0 */
/* 1F1B: rank r runs p − 1 − r forwards ahead, then one forward, one backward in turn. */
#include "schedules.h"

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t m = shape->microbatches;
    uint32_t ahead = shape->devices - 1 - r;

    for (uint32_t i = 0; i < m + ahead; i++) {
        if (i < m)
            sp_order_push(builder, r, SP_PASS_F, r, i, 0);
        if (i >= ahead)
            sp_order_push(builder, r, SP_PASS_B, r, i - ahead, 0);
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

    return fill / ((double)shape->microbatches + fill);
}

const struct sp_schedule sp_schedule_1f1b = {
    .name = "1f1b",
    .description = "one forward, one backward; p - r microbatches in flight on rank r",
    .source = "PipeDream-Flush, arXiv 2006.09503",
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = bubble,
};
