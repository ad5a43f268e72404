/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waves: the passes that run side by side on all devices.
 *
 * The order is timed with every pass of a kind taking that kind's mean time, as they nearly do once their
 * attention is exchanged, and with free messages. First each pass gets the earliest and the latest start that
 * the least makespan of this order allows. Then the order is timed once more, and passes of one kind that can
 * start together within these limits do: those are a wave. SlimPipe's waves are the forwards of items j + (r
 * − i), as its authors pair them; a schedule without room to wait falls apart into smaller ones.
 *
 * Waves are numbered so that whatever a pass depends on, and whatever stands before it on its device, is in a
 * wave of a smaller number or in none and timed before it. So no pass of a wave depends on another of the
 * same wave, and work may be exchanged among them, and with devices that have nothing to do meanwhile,
 * without any cycle.
 */
#ifndef SLIMPIPE_PLANNER_WAVES_H
#define SLIMPIPE_PLANNER_WAVES_H

#include "slimpipe/cost.h"
#include "slimpipe/plan.h"

#define SP_NO_WAVE UINT32_MAX

struct sp_waves {
    uint32_t wave_count;
    uint64_t *member_begin; /* by wave, wave_count + 1: its members [begin, next begin) */
    uint64_t *members;      /* indices in order.passes; within a wave by device */
    int64_t *start_ns;      /* by wave */
    uint32_t *wave_of;      /* by pass; SP_NO_WAVE: a kind without attention, or half of a joined pair */
    uint32_t *next_wave;    /* by pass: the first wave timed after it */
    uint32_t *number;       /* by pass: its place in one order of all that keeps every dependency */
    int64_t *pass_start_ns, *pass_end_ns; /* by pass */
    int64_t makespan_ns;
};

/*
 * All arrays in arena. SP_INFEASIBLE where the order deadlocks (sp_plan_check names the chain), SP_MEMORY.
 */
enum sp_status sp_waves_find(const struct sp_plan *plan, const struct sp_cost *cost, struct sp_arena *arena,
                             struct sp_waves *ret_waves, struct sp_error *error) SP_MUST_CHECK;

#endif
