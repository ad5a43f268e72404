/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The obvious evaluator of orders for the tests of schedules: sweeps over the devices, each running its list
 * as far as what it needs is there. A pass needs the stage before (or after), the slices before (or after) on
 * its own stage, and W its I; a hop between devices costs a fixed time; two joined passes start together and
 * take one time. Knows nothing of plans, programs or the simulator.
 */
#ifndef TESTS_SCHEDULE_CLOCK_H
#define TESTS_SCHEDULE_CLOCK_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/schedule.h"

struct clock_rules {
    int64_t forward, input, weight; /* B takes input + weight */
    int64_t joined;                 /* one F with one B; 0: their sum */
    int64_t hop;
};

enum { CLOCK_DEVICES = 64 };

struct clock_result {
    const char *fault; /* NULL: everything ran; else the first thing wrong */
    int64_t makespan;
    int64_t longest_span; /* of a device, first start to last end */
    int64_t busy[CLOCK_DEVICES], end[CLOCK_DEVICES];
    int64_t held[CLOCK_DEVICES];      /* units in flight at most: F to the end of B, or of W */
    int64_t held_half[CLOCK_DEVICES]; /* in halves: I frees one, W one */
    uint64_t passes;
};

struct clock_table {
    const struct sp_schedule *schedule;
    const struct sp_shape *shape;
    const struct sp_order *order;
    const struct clock_rules *rules;
    uint32_t stages;
    size_t units;
    /* Per microbatch and stage: the stage before and after on the path, −1 at its ends, −2 off it. */
    int32_t *before, *after;
    /* Per kind of work (0 F, 1 B or I, 2 W) and unit: when it ended, −1 not yet, −2 not in the order; where.
     */
    int64_t *ends[3];
    uint16_t *devices[3];
    uint64_t *next;
    int64_t *clock, *first;
};

static inline size_t clock_unit(const struct clock_table *t, uint32_t stage, uint32_t microbatch,
                                uint32_t slice)
{
    return ((size_t)stage * t->shape->microbatches + microbatch) * t->shape->slices + slice;
}

static inline int clock_kind(const struct sp_pass *pass)
{
    switch (pass->kind) {
    case SP_PASS_F:
        return 0;
    case SP_PASS_B:
    case SP_PASS_I:
        return 1;
    case SP_PASS_W:
        return 2;
    default:
        return -1;
    }
}

static inline bool clock_holds(const struct sp_schedule *schedule, const struct sp_shape *shape,
                               uint32_t stage, uint32_t device)
{
    uint32_t at = sp_schedule_device(schedule, shape, stage);

    for (uint32_t k = 0; at != SP_NO_DEVICE && at != device; k++)
        at = sp_schedule_replica(schedule, shape, stage, k);
    return at == device;
}

/* Fills before and after; the fault, if any. */
static inline const char *clock_note_paths(struct clock_table *t)
{
    const uint32_t m = t->shape->microbatches, all = t->stages;
    const uint32_t *begin = NULL;
    const uint16_t *stages = NULL;
    struct sp_arena *arena = sp_arena_create();
    struct sp_error error;
    const char *fault = NULL;

    for (size_t i = 0; i < (size_t)m * all; i++)
        t->before[i] = t->after[i] = -2;
    if (t->schedule->paths && t->schedule->paths(t->shape, arena, &begin, &stages, &error))
        fault = "no paths";
    for (uint32_t i = 0; i < m && !fault; i++) {
        uint32_t length = begin ? begin[i + 1] - begin[i] : all;
        for (uint32_t k = 0; k < length && !fault; k++) {
            uint32_t stage = begin ? stages[begin[i] + k] : k;
            size_t at = (size_t)i * all + stage;
            if (t->before[at] != -2)
                fault = "a stage twice on a path";
            t->before[at] = k == 0 ? -1 : begin ? stages[begin[i] + k - 1] : (int32_t)k - 1;
            t->after[at] = k + 1 == length ? -1 : begin ? stages[begin[i] + k + 1] : (int32_t)k + 1;
        }
    }
    sp_arena_destroy(arena);
    return fault;
}

/* Notes where every pass stands; what is twice, missing, or on a device that has no copy of the stage. */
static inline const char *clock_note(struct clock_table *t)
{
    const struct sp_schedule *schedule = t->schedule;

    for (uint32_t d = 0; d < t->order->device_count; d++) {
        for (uint64_t k = t->order->begin[d]; k < t->order->begin[d + 1]; k++) {
            const struct sp_pass *pass = &t->order->passes[k];
            int kind = clock_kind(pass);
            size_t unit;
            if (pass->stage >= t->stages || pass->microbatch >= t->shape->microbatches ||
                pass->slice >= t->shape->slices)
                return "a pass outside the shape";
            if (!clock_holds(schedule, t->shape, pass->stage, d))
                return "a pass on a device without its stage";
            if (kind < 0)
                continue;
            unit = clock_unit(t, pass->stage, pass->microbatch, pass->slice);
            if (t->ends[kind][unit] != -2)
                return "a pass twice";
            if (pass->kind == SP_PASS_B)
                t->ends[2][unit] = -1;
            t->ends[kind][unit] = -1;
            t->devices[kind][unit] = (uint16_t)d;
        }
    }
    for (size_t unit = 0; unit < t->units; unit++) {
        size_t stage = unit / t->shape->slices / t->shape->microbatches;
        size_t microbatch = unit / t->shape->slices % t->shape->microbatches;
        bool is_off = t->before[microbatch * t->stages + stage] == -2;
        bool forward_only = schedule->traits & SP_SCHEDULE_FORWARD_ONLY;
        if (is_off && (t->ends[0][unit] != -2 || t->ends[1][unit] != -2 || t->ends[2][unit] != -2))
            return "a pass off the path";
        if (is_off)
            continue;
        if (t->ends[0][unit] == -2 || (!forward_only && (t->ends[1][unit] == -2 || t->ends[2][unit] == -2)))
            return "a pass missing";
        if (forward_only && (t->ends[1][unit] != -2 || t->ends[2][unit] != -2))
            return "a backward where there is none";
    }
    return NULL;
}

/* When one need is met for a pass on device d; −1: not yet. */
static inline int64_t clock_need(const struct clock_table *t, uint32_t d, int kind, size_t unit)
{
    if (t->ends[kind][unit] < 0)
        return -1;
    return t->ends[kind][unit] + (t->devices[kind][unit] == d ? 0 : t->rules->hop);
}

/* When a pass may start for all that it needs; −1: not yet. */
static inline int64_t clock_ready(const struct clock_table *t, uint32_t d, const struct sp_pass *pass)
{
    uint32_t n = t->shape->slices;
    int kind = clock_kind(pass), count = 0, kinds[3];
    size_t unit = clock_unit(t, pass->stage, pass->microbatch, pass->slice), needs[3];
    size_t at = (size_t)pass->microbatch * t->stages + pass->stage;
    int64_t ready = 0;

    if (kind == 0 && t->before[at] >= 0)
        kinds[count] = 0,
        needs[count++] = clock_unit(t, (uint32_t)t->before[at], pass->microbatch, pass->slice);
    if (kind == 0 && pass->slice > 0)
        kinds[count] = 0, needs[count++] = unit - 1;
    if (kind == 1)
        kinds[count] = 0, needs[count++] = unit;
    if (kind == 1 && t->after[at] >= 0)
        kinds[count] = 1,
        needs[count++] = clock_unit(t, (uint32_t)t->after[at], pass->microbatch, pass->slice);
    if (kind == 1 && pass->slice + 1u < n)
        kinds[count] = 1, needs[count++] = unit + 1;
    if (kind == 2)
        kinds[count] = 1, needs[count++] = unit;
    for (int i = 0; i < count; i++) {
        int64_t met = clock_need(t, d, kinds[i], needs[i]);
        if (met < 0)
            return -1;
        if (met > ready)
            ready = met;
    }
    return ready;
}

static inline int64_t clock_cost(const struct clock_rules *rules, const struct sp_pass *pass)
{
    switch (pass->kind) {
    case SP_PASS_F:
        return rules->forward;
    case SP_PASS_I:
        return rules->input;
    case SP_PASS_W:
        return rules->weight;
    case SP_PASS_B:
        return rules->input + rules->weight;
    default:
        return 0;
    }
}

/* Runs device d's list as far as it goes; whether it went anywhere. */
static inline bool clock_advance(struct clock_table *t, uint32_t d, struct clock_result *result)
{
    bool moved = false;

    while (t->next[d] < t->order->begin[d + 1]) {
        const struct sp_pass *pass = &t->order->passes[t->next[d]];
        bool joined = pass->joined;
        int64_t ready = clock_kind(pass) < 0 ? 0 : clock_ready(t, d, pass), duration, start;
        int64_t other = joined ? clock_ready(t, d, pass + 1) : 0;
        if (ready < 0 || other < 0)
            break;
        start = t->clock[d];
        start = ready > start ? ready : start;
        start = other > start ? other : start;
        duration = clock_cost(t->rules, pass) + (joined ? clock_cost(t->rules, pass + 1) : 0);
        if (joined && t->rules->joined)
            duration = t->rules->joined;
        t->first[d] = t->first[d] < 0 ? start : t->first[d];
        t->clock[d] = start + duration;
        result->busy[d] += duration;
        for (int i = 0; i <= joined; i++) {
            if (clock_kind(pass + i) >= 0)
                t->ends[clock_kind(pass + i)]
                       [clock_unit(t, pass[i].stage, pass[i].microbatch, pass[i].slice)] = t->clock[d];
        }
        t->next[d] += 1 + (uint64_t)joined;
        result->passes += 1 + (uint64_t)joined;
        moved = true;
    }
    return moved;
}

/* Units held, from the order alone: a joined pair takes its forward before it frees its backward. */
static inline void clock_hold(const struct sp_order *order, uint32_t d, struct clock_result *result)
{
    int64_t held = 0, halves = 0;

    for (uint64_t k = order->begin[d]; k < order->begin[d + 1]; k++) {
        uint8_t kind = order->passes[k].kind;
        held += (kind == SP_PASS_F) - (kind == SP_PASS_B) - (kind == SP_PASS_W);
        halves +=
            2 * (kind == SP_PASS_F) - 2 * (kind == SP_PASS_B) - (kind == SP_PASS_I) - (kind == SP_PASS_W);
        result->held[d] = held > result->held[d] ? held : result->held[d];
        result->held_half[d] = halves > result->held_half[d] ? halves : result->held_half[d];
    }
}

static inline struct clock_result clock_run(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                            const struct sp_order *order, const struct clock_rules *rules)
{
    struct clock_result result = {0};
    struct clock_table t = {.schedule = schedule, .shape = shape, .order = order, .rules = rules};
    uint32_t devices = order->device_count;
    bool moved = true;

    cr_assert_leq(devices, CLOCK_DEVICES);
    t.stages = sp_schedule_stage_count(schedule, shape);
    t.units = (size_t)t.stages * shape->microbatches * shape->slices;
    for (int kind = 0; kind < 3; kind++) {
        t.ends[kind] = malloc(t.units * sizeof(int64_t));
        t.devices[kind] = calloc(t.units, sizeof(uint16_t));
        for (size_t unit = 0; unit < t.units; unit++)
            t.ends[kind][unit] = -2;
    }
    t.next = calloc(devices, sizeof(*t.next));
    t.clock = calloc(devices, sizeof(*t.clock));
    t.first = calloc(devices, sizeof(*t.first));
    for (uint32_t d = 0; d < devices; d++) {
        t.next[d] = order->begin[d];
        t.first[d] = -1;
    }
    t.before = malloc((size_t)shape->microbatches * t.stages * sizeof(*t.before));
    t.after = malloc((size_t)shape->microbatches * t.stages * sizeof(*t.after));
    result.fault = clock_note_paths(&t);
    if (!result.fault)
        result.fault = clock_note(&t);
    while (moved && !result.fault) {
        moved = false;
        for (uint32_t d = 0; d < devices; d++)
            moved |= clock_advance(&t, d, &result);
    }
    if (!result.fault && result.passes < order->begin[devices])
        result.fault = "a deadlock";
    for (uint32_t d = 0; d < devices; d++) {
        result.end[d] = t.clock[d];
        result.makespan = t.clock[d] > result.makespan ? t.clock[d] : result.makespan;
        if (t.clock[d] - t.first[d] > result.longest_span)
            result.longest_span = t.clock[d] - t.first[d];
        clock_hold(order, d, &result);
    }
    for (int kind = 0; kind < 3; kind++) {
        free(t.ends[kind]);
        free(t.devices[kind]);
    }
    free(t.before);
    free(t.after);
    free(t.next);
    free(t.clock);
    free(t.first);
    return result;
}

/* A schedule by name, its order, and what comes of it. Fails the test where anything is wrong. */
static inline struct clock_result clock_schedule(const char *name, const struct sp_shape *asked,
                                                 const struct clock_rules *rules)
{
    const struct sp_schedule *schedule = sp_schedule_find(name);
    struct sp_arena *arena = sp_arena_create();
    struct sp_shape shape = *asked;
    struct sp_order order;
    struct sp_error error = {0};
    struct clock_result result;

    cr_assert_not_null(schedule, "no schedule %s", name);
    shape.slices = shape.slices ? shape.slices : 1;
    if (!shape.chunks)
        shape.chunks = schedule->default_chunks ? schedule->default_chunks : 1;
    cr_assert_eq(sp_schedule_order(schedule, &shape, arena, &order, &error), SP_OK, "%s", error.message);
    result = clock_run(schedule, &shape, &order, rules);
    cr_assert_null(result.fault, "%s p %u v %u m %u n %u: %s", name, shape.devices, shape.chunks,
                   shape.microbatches, shape.slices, result.fault);
    sp_arena_destroy(arena);
    return result;
}

static inline int64_t clock_most(const int64_t *values, uint32_t count)
{
    int64_t most = values[0];

    for (uint32_t i = 1; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

#endif
