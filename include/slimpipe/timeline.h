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

/*
 * Outputs. They need no memory of their own; errors of the stream are found by who closes it.
 */
struct sp_json_writer;
/* The machine-readable summary with exactly the keys of the design, as members of the open object. */
void sp_metrics_write_json(const struct sp_metrics *metrics, struct sp_json_writer *writer);
/*
 * The table for people: totals, then a line per device, at most `columns` wide (56 are needed). From 24
 * devices on neighbours share a line.
 */
void sp_metrics_write_table(const struct sp_metrics *metrics, FILE *stream, int columns);

/* Plain is ASCII letters; Unicode needs a UTF-8 terminal, colour one with 256 ANSI colours. */
enum sp_text_style { SP_TEXT_PLAIN = 0, SP_TEXT_COLOUR = 1 << 0, SP_TEXT_UNICODE = 1 << 1 };
/*
 * One row per device, time from left to right, with axis and legend, at most `columns` wide (20 are needed);
 * style: bits of enum sp_text_style. Above 64 devices neighbours share a row. Where passes are shorter than a
 * cell, coloured Unicode divides a cell between the two kinds with the most time; the other styles give each
 * kind its share of the cells of a row.
 */
void sp_timeline_write_text(const struct sp_timeline *timeline, FILE *stream, int columns, unsigned style);
/*
 * Trace Event Format for Perfetto and chrome://tracing: a track per device, messages and copies on tracks of
 * their own and as flows from pass to pass, device memory by category as counters.
 */
void sp_timeline_write_trace(const struct sp_timeline *timeline, FILE *stream);
/*
 * A directory, made where it is missing, with a timeline as AMD Primus' pipeline simulator writes it
 * (config.json, pp_rank_0.json and so on; times in milliseconds, memory in GiB). For plans that
 * sp_export_check passed (interchange.h).
 */
enum sp_status sp_timeline_write_primus(const struct sp_timeline *timeline, const char *directory,
                                        struct sp_error *error) SP_MUST_CHECK;
/*
 * A picture, under 1.5 MB whatever the plan: the devices' rows, legend, idle share and peak memory per
 * device, and memory over time where it is highest. title may be NULL: the schedule's name.
 */
void sp_timeline_write_svg(const struct sp_timeline *timeline, const struct sp_metrics *metrics,
                           const char *title, FILE *stream);

/*
 * Predicted against measured: two timelines of one program, instruction by instruction.
 */
struct sp_comparison_row {
    int64_t count;                     /* instructions */
    int64_t predicted_ns, measured_ns; /* sums of their durations */
    int64_t absolute_ns;               /* sum of |measured − predicted| */
};
enum { SP_COMPARISON_WORST = 8 };
struct sp_comparison {
    const struct sp_timeline *predicted, *measured; /* borrowed */
    int64_t predicted_makespan_ns, measured_makespan_ns;
    /* By kind of instruction and of its pass; those without a pass (STEP) are at SP_PASS_KINDS. */
    struct sp_comparison_row rows[SP_INSTRUCTION_KINDS][SP_PASS_KINDS + 1];
    /* Instructions with the largest |measured − predicted|, largest first; ties: lower number first. */
    int worst_count;
    uint32_t worst[SP_COMPARISON_WORST];
};

/* Both of the same program. */
void sp_comparison_make(const struct sp_timeline *predicted, const struct sp_timeline *measured,
                        struct sp_comparison *ret_comparison);
/* Relative error of a row's mean duration: measured / predicted − 1; NaN where nothing was predicted. */
double sp_comparison_error(const struct sp_comparison_row *row);
void sp_comparison_write_table(const struct sp_comparison *comparison, FILE *stream, int columns);
/*
 * Members of the open object: `makespan` {`predicted_ns`, `measured_ns`, `error`}, `kinds` (array of {`kind`,
 * `pass`, `count`, `predicted_mean_ns`, `measured_mean_ns`, `error`, `absolute_error`}) and `worst` (array of
 * {`instruction`, `device`, `predicted_ns`, `measured_ns`}).
 */
void sp_comparison_write_json(const struct sp_comparison *comparison, struct sp_json_writer *writer);
/* Predicted above measured on one time axis. */
void sp_comparison_write_svg(const struct sp_comparison *comparison, const struct sp_metrics *predicted,
                             const struct sp_metrics *measured, const char *title, FILE *stream);

#endif
