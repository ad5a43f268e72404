/* SPDX-License-Identifier: Apache-2.0 */
/* The order builder that schedules push into (slimpipe/schedule.h): one growing list of passes per device. */
#ifndef SLIMPIPE_PLANNER_ORDER_BUILDER_H
#define SLIMPIPE_PLANNER_ORDER_BUILDER_H

#include <stdint.h>

#include "slimpipe/arena.h"
#include "slimpipe/plan.h"
#include "slimpipe/schedule.h"
#include "slimpipe/status.h"

/* NULL when memory is short. */
struct sp_order_builder *sp_order_builder_create(uint32_t device_count);
void sp_order_builder_destroy(struct sp_order_builder *builder);

/* Passes pushed on a device so far. */
uint64_t sp_order_builder_count(const struct sp_order_builder *builder, uint32_t device);

/*
 * The order of everything pushed, copied into the arena; the builder may be pushed to further. SP_MEMORY also
 * where a push ran short of memory before.
 */
enum sp_status sp_order_builder_take(const struct sp_order_builder *builder, struct sp_arena *arena,
                                     struct sp_order *ret_order, struct sp_error *error) SP_MUST_CHECK;

#endif
