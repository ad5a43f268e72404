/* SPDX-License-Identifier: Apache-2.0 */
/* ZB-V: zero bubble over a V of two chunks per device, in the memory of 1F1B or of memory_units. */
#include "../zbv_heuristic.h"
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "zb-v: %u chunks per device; expected 2", shape->chunks);
    if (shape->memory_units && shape->memory_units < 1000)
        return sp_error_set(error, SP_INPUT,
                            "zb-v: memory_units %lld; expected at least 1000, one microbatch's activations",
                            (long long)shape->memory_units);
    if (shape->weight_held_permille > 1000)
        return sp_error_set(error, SP_INPUT, "weight_held_permille %u; expected 0 to 1000",
                            shape->weight_held_permille);
    return SP_OK;
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    int64_t units = shape->memory_units ? shape->memory_units : 1000 * (int64_t)shape->devices;

    return sp_zbv_heuristic_push(shape, units, builder, error);
}

const struct sp_schedule sp_schedule_zb_v = {
    .name = "zb-v",
    .description = "zero bubble over a V of two chunks per device, in the memory of 1F1B",
    .source = "Zero Bubble, arXiv 2401.10241, section 6",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_COSTS | SP_SCHEDULE_USES_MEMORY,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
