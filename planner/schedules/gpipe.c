/* SPDX-License-Identifier: Apache-2.0 */
/* GPipe: all forwards, then all backwards. */
#include "schedules.h"

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++) {
        for (uint32_t i = 0; i < shape->microbatches; i++)
            sp_order_push(builder, r, SP_PASS_F, r, i, 0);
        for (uint32_t i = 0; i < shape->microbatches; i++)
            sp_order_push(builder, r, SP_PASS_B, r, i, 0);
    }
    return SP_OK;
}

const struct sp_schedule sp_schedule_gpipe = {
    .name = "gpipe",
    .description = "all forwards, then all backwards",
    .source = "GPipe, arXiv 1811.06965",
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = sp_schedule_bubble_fill,
};
