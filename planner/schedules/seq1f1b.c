/* SPDX-License-Identifier: Apache-2.0 */
/* Seq1F1B: 1F1B over slices. Backwards run the slices of a microbatch from the last to the first. */
#include "schedules.h"

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t n = shape->slices;
    uint64_t units = (uint64_t)shape->microbatches * n;
    uint64_t ahead = shape->devices - 1 - r + n - 1;

    if (ahead > units)
        ahead = units;
    for (uint64_t k = 0; k < units + ahead; k++) {
        if (k < units)
            sp_order_push(builder, r, SP_PASS_F, r, (uint32_t)(k / n), (uint32_t)(k % n));
        if (k >= ahead)
            sp_order_push(builder, r, SP_PASS_B, r, (uint32_t)((k - ahead) / n),
                          n - 1 - (uint32_t)((k - ahead) % n));
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

const struct sp_schedule sp_schedule_seq1f1b = {
    .name = "seq1f1b",
    .description = "1F1B over slices; n + p - 1 - r slices in flight on rank r",
    .source = "Seq1F1B, arXiv 2406.03488",
    .traits = SP_SCHEDULE_SLICES,
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = sp_schedule_bubble_fill,
};
