/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZB-1p and ZB-2p: the automatic Zero Bubble schedule, with the memory of p or of 2p microbatches, or as much
 * as memory_units says.
 */
#include "../zb_heuristic.h"
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->memory_units && shape->memory_units < 1000)
        return sp_error_set(error, SP_INPUT,
                            "memory_units %lld; expected at least 1000, one microbatch's activations",
                            (long long)shape->memory_units);
    if (shape->weight_held_permille > 1000)
        return sp_error_set(error, SP_INPUT, "weight_held_permille %u; expected 0 to 1000",
                            shape->weight_held_permille);
    return SP_OK;
}

static enum sp_status order(const struct sp_shape *shape, int64_t default_units,
                            struct sp_order_builder *builder, struct sp_error *error)
{
    return sp_zb_heuristic_push(shape, shape->memory_units ? shape->memory_units : default_units, builder,
                                error);
}

static enum sp_status order_1p(const struct sp_shape *shape, struct sp_order_builder *builder,
                               struct sp_error *error)
{
    return order(shape, 1000 * (int64_t)shape->devices, builder, error);
}

static enum sp_status order_2p(const struct sp_shape *shape, struct sp_order_builder *builder,
                               struct sp_error *error)
{
    return order(shape, 2000 * (int64_t)shape->devices, builder, error);
}

const struct sp_schedule sp_schedule_zb_1p = {
    .name = "zb-1p",
    .description = "zero bubble by heuristic, in the memory of 1F1B",
    .source = "Zero Bubble, arXiv 2401.10241, section 3.1",
    .traits = SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_COSTS | SP_SCHEDULE_USES_MEMORY,
    .check = check,
    .order = order_1p,
};

const struct sp_schedule sp_schedule_zb_2p = {
    .name = "zb-2p",
    .description = "zero bubble by heuristic, in twice the memory of 1F1B",
    .source = "Zero Bubble, arXiv 2401.10241, section 3.1",
    .traits = SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_COSTS | SP_SCHEDULE_USES_MEMORY,
    .check = check,
    .order = order_2p,
};
