/* SPDX-License-Identifier: Apache-2.0 */
/* The combinations of knobs that a comparison tries for one schedule. */
#ifndef SLIMPIPE_PLANNER_COMPARE_KNOBS_H
#define SLIMPIPE_PLANNER_COMPARE_KNOBS_H

#include <stdbool.h>
#include <stddef.h>

#include "slimpipe/compare.h"

/* Requests for one schedule after the other; items are freed with sp_free. */
struct sp_knobs {
    const struct sp_compare_request *comparison;
    struct sp_arena *arena; /* divided costs */
    struct sp_request *items;
    size_t count, capacity;
    bool short_of_memory;
};

/*
 * Appends all combinations of chunks, slices, group, memory and recompute, the schedule's own defaults
 * first; the other knobs are the base's. At least one.
 */
void sp_knobs_add(struct sp_knobs *knobs, const struct sp_schedule *schedule);
/*
 * Appends what differs from a request in window, vocabulary, exchange, or in how slices or stages are
 * divided; may be none.
 */
void sp_knobs_refine(struct sp_knobs *knobs, const struct sp_schedule *schedule,
                     const struct sp_request *request);

#endif
