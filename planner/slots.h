/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List scheduling in slots of equal length: in each slot every device takes, of the passes it could run, the
 * one of the oldest microbatch, and of these the one that is farthest along. With forward and backward one
 * slot each this gives the orders of the bidirectional and wave schedules, which are drawn that way.
 */
#ifndef SLIMPIPE_PLANNER_SLOTS_H
#define SLIMPIPE_PLANNER_SLOTS_H

#include "slimpipe/schedule.h"

struct sp_slots {
    uint32_t devices, stages, microbatches;
    /* Microbatch i runs in direction i % directions; those of the same i / directions are equally old. */
    uint32_t directions;
    uint32_t limit; /* microbatches of a direction under way at once */
    /* Device of a stage in a direction. */
    uint32_t (*device)(const struct sp_shape *shape, uint32_t stage, uint32_t direction);
};

enum sp_status sp_slots_push(const struct sp_slots *slots, const struct sp_shape *shape,
                             struct sp_order_builder *builder, struct sp_error *error);

#endif
