/* SPDX-License-Identifier: Apache-2.0 */
/* DualPipeV: DualPipe folded at its middle. One direction, and device d holds stages d and 2p − 1 − d. */
#include "dual.h"
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t p = shape->devices, m = shape->microbatches;

    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "dualpipev: %u chunks per device; expected 2", shape->chunks);
    if (m < 2 * p)
        return sp_error_set(error, SP_INPUT, "dualpipev: %u microbatches on %u devices; expected at least %u",
                            m, p, 2 * p);
    return SP_OK;
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    uint32_t p = shape->devices;

    (void)error;
    for (uint32_t d = 0; d < p; d++) {
        struct sp_dual dual = {
            .device = d,
            .stage = {d, 2 * p - 1 - d},
            .microbatches = shape->microbatches,
            .place = d,
            .depth = p,
        };
        sp_dual_push(&dual, builder);
    }
    return SP_OK;
}

const struct sp_schedule sp_schedule_dualpipev = {
    .name = "dualpipev",
    .description = "DualPipe folded into a V: no second direction",
    .source = "DualPipe's published code; PyTorch's ScheduleDualPipeV",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_JOINS,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
