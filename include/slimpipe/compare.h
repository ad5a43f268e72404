/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every schedule on one model (or explicit costs), with the same degrees, workload and memory cap.
 *
 * Each schedule of the registry is planned with all combinations of a small set of its own knobs that the
 * request leaves open, and each plan is lowered, held against the cap, simulated and bounded. The answer does
 * not depend on the number of threads.
 */
#ifndef SLIMPIPE_COMPARE_H
#define SLIMPIPE_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "slimpipe/planner.h"
#include "slimpipe/search.h"

struct sp_compare_request {
    /*
     * Model or costs, degrees, workload, cap; and every fixed knob. Explicit costs with one entry are those
     * of a device's whole part of one microbatch: a stage has 1/v of them and a pass 1/n of that. With more
     * entries, one per stage, they are divided by n alone, and give the v of all schedules.
     */
    struct sp_request base;
    unsigned fixed;               /* enum sp_search_fixed */
    const char *const *schedules; /* NULL-terminated; NULL: the registry, but for those that run no backward
                                     or leave stages out */
    int threads;                  /* 0: one per processor */
    /* Called now and then from the calling thread with the share of the work that is done, 0 … 1. */
    void (*progress)(void *context, double share);
    void *progress_context;
};

enum sp_compare_outcome {
    SP_COMPARE_FITS,
    SP_COMPARE_OVER_CAP, /* planned and simulated, but some device's peak is above the cap */
    SP_COMPARE_REFUSED   /* the schedule refuses every combination of its knobs, or cannot be planned */
};

/* One plan. */
struct sp_compare_row {
    const struct sp_schedule *schedule;
    /* What was planned; its pointers are the base's or the result's. A refused row has the first knobs tried.
     */
    struct sp_request request;
    enum sp_compare_outcome outcome;
    const char *reason; /* refused: the rule that was broken; else NULL */
    /* Not refused: */
    int64_t time_ns, bound_ns; /* bound: of sp_plan_bound */
    int64_t peak_bytes;        /* of the device that holds most */
    int64_t over_bytes;        /* peak − cap where above it; else 0 */
    int64_t message_bytes;     /* as in struct sp_metrics */
    double bubble_mean_idle, bubble_longest_span;
    double gap, mfu; /* mfu: NaN with explicit costs */
    bool best;       /* of its schedule: the fastest that fits; of those over the cap, the nearest to it */
    bool front;      /* fits, and none that fits is better in time or peak memory and as good in the other */
};

struct sp_compare_result {
    struct sp_arena *arena;
    /* Those that fit, fastest first; those over the cap, nearest first; those refused, by the registry. */
    int64_t row_count;
    struct sp_compare_row *rows;
};

/* SP_INPUT where the base is wrong whatever the schedule; a schedule that fails has a refused row instead. */
enum sp_status sp_compare_run(const struct sp_compare_request *request, struct sp_compare_result *ret_result,
                              struct sp_error *error) SP_MUST_CHECK;
void sp_compare_finish(struct sp_compare_result *result);

/*
 * Outputs; errors of the stream are found by who closes it. A row's knobs in words, such as
 * "selective, exchange optimal, window 1": what differs from the defaults, v and n left out. Returns text.
 */
char *sp_compare_knobs_text(const struct sp_compare_row *row, char *text, size_t size);
/*
 * For people: each schedule's best row, or with `front` the rows of the front; then those that do not fit,
 * and those that are refused with the reason. 100 columns and the knobs.
 */
void sp_compare_write_table(const struct sp_compare_result *result, bool front, FILE *stream);
/* Members of the open object: `rows`, an array with every row. */
struct sp_json_writer;
void sp_compare_write_json(const struct sp_compare_result *result, struct sp_json_writer *writer);
/* A picture of time against peak memory: every plan, the best of each schedule by name, front and cap. */
void sp_compare_write_svg(const struct sp_compare_result *result, const char *title, FILE *stream);

#endif
