/* SPDX-License-Identifier: Apache-2.0 */
/* What the schedule files share: their names for the registry, and rules that several of them state. */
#ifndef SLIMPIPE_PLANNER_SCHEDULES_H
#define SLIMPIPE_PLANNER_SCHEDULES_H

#include "slimpipe/schedule.h"

extern const struct sp_schedule sp_schedule_slimpipe;
extern const struct sp_schedule sp_schedule_1f1b;
extern const struct sp_schedule sp_schedule_interleaved;
extern const struct sp_schedule sp_schedule_gpipe;

/* `check` of a schedule that has no rule of its own. */
enum sp_status sp_schedule_check_any(const struct sp_shape *shape, struct sp_error *error);

#endif
