/* SPDX-License-Identifier: Apache-2.0 */
/* A device's memory over time: the ledger's changes at the times of a timeline. */
#ifndef SP_TIMELINE_LEDGER_H
#define SP_TIMELINE_LEDGER_H

#include <stdbool.h>

#include "slimpipe/timeline.h"

/*
 * A walk over the moments at which a device's memory changes. `at_ns` and `live` describe the state from that
 * moment on; the first step is the resident memory at begin_ns.
 */
struct sp_ledger {
    const struct sp_timeline *timeline;
    int64_t at_ns;
    int64_t live[SP_MEMORY_CATEGORIES];
    int64_t total;     /* device memory: all but OFFLOAD */
    int64_t in_flight; /* forward units held */
    uint32_t cursor, last;
    bool at_end; /* the next step is the end of the instruction at cursor */
};

/* Positions the ledger on the resident memory at begin_ns. */
void sp_ledger_init(struct sp_ledger *ledger, const struct sp_timeline *timeline, uint32_t device,
                    int64_t begin_ns);
/* Moves to the next change; false when there is none. Several may be at the same time. */
bool sp_ledger_next(struct sp_ledger *ledger);

#endif
