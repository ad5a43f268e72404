/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hanayo: stages run to and fro over the devices, w waves of two chunks per device. Drawn, as in the paper,
 * with forward and backward of equal length; at most p microbatches are under way.
 */
#include "../slots.h"
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks % 2 != 0)
        return sp_error_set(error, SP_INPUT, "hanayo: %u chunks per device; expected two for each wave",
                            shape->chunks);
    return SP_OK;
}

static uint32_t device_in(const struct sp_shape *shape, uint32_t stage, uint32_t direction)
{
    (void)direction;
    return sp_schedule_device_v(shape, stage);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    struct sp_slots slots = {
        .devices = shape->devices,
        .stages = shape->devices * shape->chunks,
        .microbatches = shape->microbatches,
        .directions = 1,
        .limit = shape->devices,
        .device = device_in,
    };

    return sp_slots_push(&slots, shape, builder, error);
}

const struct sp_schedule sp_schedule_hanayo = {
    .name = "hanayo",
    .description = "waves: stages to and fro over the devices, no copies of weights",
    .source = "Hanayo, SC 2023, arXiv 2308.15762",
    .traits = SP_SCHEDULE_CHUNKS,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
