/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened when: the start and end of every instruction of a program, predicted by sim/ or measured by
 * executor/, in one form. Metrics, comparison and pictures are made from it alone.
 */
#ifndef SLIMPIPE_TIMELINE_H
#define SLIMPIPE_TIMELINE_H

#include <stdint.h>
#include <stdio.h>

#include "slimpipe/program.h"

struct sp_timeline {
    const struct sp_program *program; /* borrowed */
    int64_t *start_ns, *end_ns;       /* by instruction; a message: from first byte sent to last byte there */
    const char *source;               /* "predicted", "measured": static text */
};

/* SP_MEMORY when short. Times are zero. */
enum sp_status sp_timeline_init(struct sp_timeline *timeline, const struct sp_program *program,
                                const char *source, struct sp_error *error) SP_MUST_CHECK;
void sp_timeline_finish(struct sp_timeline *timeline);

struct sp_device_metrics {
    int64_t busy_ns;           /* sum of its compute instructions' durations */
    int64_t first_ns, last_ns; /* first start and last end of its compute instructions */
    struct sp_device_memory memory;
};

/* The summary of DESIGN.md; `devices` is freed by sp_metrics_finish. */
struct sp_metrics {
    int64_t makespan_ns;
    double bubble_mean_idle;    /* 1 − Σ busy / (p · makespan) */
    double bubble_longest_span; /* (longest span − its busy) / longest span */
    int64_t bound_ns;           /* proven: no order of this stage split ends earlier */
    double gap;                 /* makespan / bound − 1 */
    double mfu;                 /* NaN with explicit costs */
    double tokens_per_second;   /* NaN with explicit costs */
    int64_t message_bytes;      /* all messages of one GPU rank of every device, summed */
    uint32_t device_count;
    struct sp_device_metrics *devices;
};

/* bound_ns from sp_sim_bound or better; 0: unknown. */
enum sp_status sp_metrics_init(struct sp_metrics *metrics, const struct sp_timeline *timeline,
                               int64_t bound_ns, struct sp_error *error) SP_MUST_CHECK;
void sp_metrics_finish(struct sp_metrics *metrics);

/* Outputs. Errors of the stream are found by who closes it. */
struct sp_json_writer;
/* The machine-readable summary with exactly the keys of the design, as members of the open object. */
void sp_metrics_write_json(const struct sp_metrics *metrics, struct sp_json_writer *writer);
/* The table for people, at most `columns` wide. */
void sp_metrics_write_table(const struct sp_metrics *metrics, FILE *stream, int columns);
/* One row per device, time from left to right, `columns` wide; colour: ANSI colours. */
void sp_timeline_write_text(const struct sp_timeline *timeline, FILE *stream, int columns, int colour);
/* Trace Event Format for Perfetto: devices as tracks, messages as flows, memory as counters. */
void sp_timeline_write_trace(const struct sp_timeline *timeline, FILE *stream);
/* A picture: the devices' rows, legend, bubble and peak memory per device; title may be NULL. */
void sp_timeline_write_svg(const struct sp_timeline *timeline, const struct sp_metrics *metrics,
                           const char *title, FILE *stream);

#endif
