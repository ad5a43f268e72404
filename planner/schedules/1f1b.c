/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 1F1B: rank r runs p − 1 − r forwards ahead, then one forward, one backward in turn. Overlapped, each
 * forward runs together with a backward; a backward has to arrive one step earlier for that on every rank, so
 * twice as many forwards run ahead, and one more.
 */
#include "schedules.h"

static void order_rank(const struct sp_shape *shape, uint32_t r, uint32_t ahead, bool overlaps,
                       struct sp_order_builder *builder)
{
    uint32_t m = shape->microbatches;

    if (ahead > m)
        ahead = m;
    for (uint32_t i = 0; i < m + ahead; i++) {
        bool has_backward = i >= ahead;
        if (i < m)
            (overlaps && has_backward ? sp_order_push_joined : sp_order_push)(builder, r, SP_PASS_F, r, i, 0);
        if (has_backward)
            sp_order_push(builder, r, SP_PASS_B, r, i - ahead, 0);
    }
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, shape->devices - 1 - r, false, builder);
    return SP_OK;
}

static enum sp_status order_overlapped(const struct sp_shape *shape, struct sp_order_builder *builder,
                                       struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, 2 * (shape->devices - 1 - r) + 1, true, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_1f1b = {
    .name = "1f1b",
    .description = "one forward, one backward; p - r microbatches in flight on rank r",
    .source = "PipeDream-Flush, arXiv 2006.09503",
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = sp_schedule_bubble_fill,
};

const struct sp_schedule sp_schedule_1f1b_overlap = {
    .name = "1f1b-overlap",
    .description = "1F1B with each forward over a backward",
    .source = "Megatron-LM's combined 1F1B; PP-Schedule-Visualization",
    .traits = SP_SCHEDULE_JOINS,
    .check = sp_schedule_check_any,
    .order = order_overlapped,
};
