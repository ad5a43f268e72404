/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep that looks for deadlocks: every device runs its order as far as it can; when none can go on, all
 * must be at their ends. Linear in passes and exchange parts.
 *
 * With an exchange, passes bound by parts that are computed *during* one of them run side by side, layer by
 * layer: none ends before all have begun. They form a gang, which runs as one once each of its members is
 * next on its device. Parts computed *before* or *after* a pass stand in the order of their device as a slot
 * of their own, which takes one part after the other; each belongs to the gang of the pass that it helps.
 */
#ifndef SLIMPIPE_PLAN_SWEEP_H
#define SLIMPIPE_PLAN_SWEEP_H

#include "plan_check.h"

#define SWEEP_NONE UINT32_MAX

struct gang {
    uint32_t missing;               /* members and slot parts that have not come up yet */
    uint32_t first_node, last_node; /* members */
    uint32_t first_part, last_part; /* in slots */
};

/* Parts before or after a pass, in the plan's order; `part` is the current one, SWEEP_NONE behind the last.
 */
struct slot {
    uint32_t part, last;
};

/* Who runs side by side, and which parts stand where. */
struct gangs {
    uint32_t *of_pass;                  /* by pass: its gang */
    uint32_t *slot_before, *slot_after; /* by pass */
    uint32_t *next_in_slot, *next_part; /* by part: the next of its slot, of its gang */
    uint32_t *pass_of, *next_node;      /* by node, a pass that takes part in the exchange */
    uint32_t *parent;                   /* by node, while gangs are joined */
    uint32_t node_count, slot_count;
    struct gang *gangs; /* by the node that stands for the gang */
    struct slot *slots;
};

enum sweep_phase { SWEEP_BEFORE, SWEEP_PASS, SWEEP_AFTER };

struct sweep {
    struct plan_checker *checker;
    bool has_gangs;
    struct gangs gangs;
    /* By device: the next pass, and whether the device is at the slot before it, at the pass, or still at the
     * slot after the one that it has run. */
    uint64_t *cursor;
    uint8_t *phase;
    /* Waiting: by event the first device that waits for it, plus one; by device the next that waits for the
     * same. Events are passes, then all S of each (microbatch, slice), then all T. */
    uint16_t *waiting, *next_waiting;
    uint64_t units;     /* microbatches · slices */
    uint32_t *outputs;  /* by event beyond the passes: passes done of them */
    uint32_t *runnable; /* devices that may go on */
    uint32_t runnable_count;
};

#define SWEEP_NO_EVENT UINT64_MAX

/* plan_gangs.c */
enum sp_status sp_plan_find_gangs(struct plan_checker *checker, struct gangs *gangs) SP_MUST_CHECK;

/* The event that the pass waits for and that has not come; SWEEP_NO_EVENT. Its gang does not count. */
uint64_t sp_plan_sweep_unmet(const struct sweep *sweep, uint64_t index);
/* The current slot of a device that stands before or after a pass; SWEEP_NONE without parts left. */
uint32_t sp_plan_sweep_slot(const struct sweep *sweep, uint32_t device);
/* Index behind the last pass of the device. */
uint64_t sp_plan_sweep_end(const struct sweep *sweep, uint32_t device);

/* plan_cycle.c: SP_INFEASIBLE with the chain of waits that `device` is stuck in. */
enum sp_status sp_plan_report_cycle(const struct sweep *sweep, uint32_t device);

#endif
