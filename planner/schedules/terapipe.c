/* SPDX-License-Identifier: Apache-2.0 */
/* TeraPipe: slices of all microbatches forward, then everything back in the reversed order. */
#include "schedules.h"

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t m = shape->microbatches, n = shape->slices;

    for (uint32_t i = 0; i < m; i++)
        for (uint32_t s = 0; s < n; s++)
            sp_order_push(builder, r, SP_PASS_F, r, i, s);
    for (uint32_t i = m; i-- > 0;)
        for (uint32_t s = n; s-- > 0;)
            sp_order_push(builder, r, SP_PASS_B, r, i, s);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_terapipe = {
    .name = "terapipe",
    .description = "slices of all microbatches forward, then all back",
    .source = "TeraPipe, arXiv 2102.07988",
    .traits = SP_SCHEDULE_SLICES,
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = sp_schedule_bubble_fill,
};
