/* SPDX-License-Identifier: Apache-2.0 */
/* Looped breadth-first: each chunk forwards all microbatches before the next one; backwards reversed. */
#include "schedules.h"

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint32_t p = shape->devices, v = shape->chunks, m = shape->microbatches;

    for (uint32_t c = 0; c < v; c++)
        for (uint32_t i = 0; i < m; i++)
            sp_order_push(builder, r, SP_PASS_F, c * p + r, i, 0);
    for (uint32_t c = v; c-- > 0;)
        for (uint32_t i = m; i-- > 0;)
            sp_order_push(builder, r, SP_PASS_B, c * p + r, i, 0);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

/* With fewer than p microbatches each chunk but the last waits for the first one to come round. */
static double bubble(const struct sp_shape *shape)
{
    double p = shape->devices, m = shape->microbatches, v = shape->chunks;

    return 1 - v * m / ((v - 1) * (m > p ? m : p) + m + p - 1);
}

const struct sp_schedule sp_schedule_looped_bfs = {
    .name = "looped-bfs",
    .description = "all microbatches through one chunk after the other, then back",
    .source = "Breadth-first pipeline parallelism, arXiv 2211.05953",
    .traits = SP_SCHEDULE_CHUNKS,
    .default_chunks = 2,
    .check = sp_schedule_check_any,
    .order = order,
    .bubble = bubble,
};
