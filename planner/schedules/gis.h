/* SPDX-License-Identifier: Apache-2.0 */
/* The order that GIS and the offloading schedules built on it share. */
#ifndef SLIMPIPE_PLANNER_GIS_H
#define SLIMPIPE_PLANNER_GIS_H

#include "slimpipe/schedule.h"

/* SP_INPUT where shape->group is set and outside p/2 … p; name is the schedule's. */
enum sp_status sp_gis_check(const char *name, const struct sp_shape *shape, struct sp_error *error);
/*
 * Pushes all passes in groups of `group` microbatches. Units of the first `offloaded_chunks` chunks of a
 * device are offloaded: O behind the forward, L two backwards ahead of the unit's own.
 */
void sp_gis_push(const struct sp_shape *shape, uint32_t group, uint32_t offloaded_chunks,
                 struct sp_order_builder *builder);

#endif
