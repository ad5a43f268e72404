/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timetables of nodes: which pass takes which time, none of them at once, for planners that place one
 * microbatch after the other around those already placed.
 */
#ifndef SLIMPIPE_PLANNER_TIMETABLE_H
#define SLIMPIPE_PLANNER_TIMETABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/plan.h"
#include "slimpipe/schedule.h"

struct sp_timetable_entry {
    int64_t start, end;
    struct sp_pass pass;
};

/* One node's, by start. */
struct sp_timetable {
    struct sp_timetable_entry *entries;
    uint32_t count, capacity;
    int64_t *leaves; /* the latest ends of microbatches held, descending, at most `most_held` of them */
    uint32_t leave_count, most_held;
};

/* most_held 0: any number of microbatches may be held. False where memory is short; finish in any case. */
bool sp_timetable_init(struct sp_timetable *table, uint32_t most_held);
void sp_timetable_finish(struct sp_timetable *table);

/* The earliest start at or after `ready` at which nothing else runs for `duration`. */
int64_t sp_timetable_fit(const struct sp_timetable *table, int64_t ready, int64_t duration);
/* From when on one more microbatch may be held. */
int64_t sp_timetable_room(const struct sp_timetable *table);
/* Enters a pass that fits; false where memory is short. */
bool sp_timetable_enter(struct sp_timetable *table, int64_t start, int64_t duration, struct sp_pass pass);
/* A microbatch is held until `end`, for sp_timetable_room. */
void sp_timetable_hold(struct sp_timetable *table, int64_t end);

#endif
