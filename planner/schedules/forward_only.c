/* SPDX-License-Identifier: Apache-2.0 */
/* Forward passes alone (evaluation, frozen models): microbatches in groups of p through the chunks. */
#include "schedules.h"

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t p = shape->devices, m = shape->microbatches;

    for (uint32_t first = 0; first < m; first += p)
        for (uint32_t c = 0; c < shape->chunks; c++)
            for (uint32_t i = first; i < m && i < first + p; i++)
                for (uint32_t s = 0; s < shape->slices; s++)
                    sp_order_push(builder, r, SP_PASS_F, c * p + r, i, s);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

/* In a last group of fewer than p passes a chunk each but the last chunk waits for the first to come round.
 */
static double bubble(const struct sp_shape *shape)
{
    double p = shape->devices, n = shape->slices, v = shape->chunks;
    double last = (shape->microbatches - 1) % shape->devices + 1;
    double before = v * n * (shape->microbatches - last);
    double span = before + (v - 1) * (last * n > p ? last * n : p) + last * n + p - 1;

    return 1 - v * n * shape->microbatches / span;
}

const struct sp_schedule sp_schedule_forward_only = {
    .name = "forward-only",
    .description = "forward passes alone",
    .source = "no backward: bubble (p - 1)/(v m + p - 1)",
    .traits = SP_SCHEDULE_SLICES | SP_SCHEDULE_CHUNKS | SP_SCHEDULE_FORWARD_ONLY,
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = bubble,
};
