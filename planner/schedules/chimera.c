/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chimera: two 1F1B pipelines in opposite directions over the same p devices, microbatches shared between
 * them. Units of p microbatches follow each other directly. Drawn, as in the paper, with forward and backward
 * of equal length.
 */
#include "../slots.h"
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->devices % 2 != 0)
        return sp_error_set(error, SP_INPUT, "chimera: %u devices; expected an even number", shape->devices);
    if (shape->microbatches % 2 != 0)
        return sp_error_set(error, SP_INPUT, "chimera: %u microbatches; expected an even number",
                            shape->microbatches);
    return SP_OK;
}

static uint32_t opposite(const struct sp_shape *shape, uint32_t stage)
{
    return shape->devices - 1 - stage;
}

static uint32_t device_in(const struct sp_shape *shape, uint32_t stage, uint32_t direction)
{
    return direction ? opposite(shape, stage) : stage;
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    struct sp_slots slots = {
        .devices = shape->devices,
        .stages = shape->devices,
        .microbatches = shape->microbatches,
        .directions = 2,
        .limit = shape->devices / 2,
        .device = device_in,
    };

    return sp_slots_push(&slots, shape, builder, error);
}

const struct sp_schedule sp_schedule_chimera = {
    .name = "chimera",
    .description = "two 1F1B pipelines in opposite directions",
    .source = "Chimera, arXiv 2107.06925",
    .traits = SP_SCHEDULE_TWIN_WEIGHTS,
    .check = check,
    .twin = opposite,
    .order = order,
};
