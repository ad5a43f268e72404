/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For benchmarks: runs a case a few times to warm up and then often, and reports least, median and 95th
 * percentile of the processor time that the thread took, as a table or as JSON (--json); beside it the
 * median of the wall time, which on a machine that others use too is off by what they do.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "slimpipe/format.h"
#include "slimpipe/json.h"

enum { BENCH_WARM_UP = 3, BENCH_RUNS = 41, BENCH_CASES = 32 };

struct bench_case {
    const char *name;
    const char *unit; /* of count: "passes" */
    double count;     /* done in one run */
    int runs;
    double least_s, median_s, p95_s; /* processor time */
    double wall_s;                   /* median */
    int64_t peak_bytes;              /* of the process, where measured; 0: not */
    double share;                    /* of the rate of the case it ran beside; 0: ran alone */
};

/* What a case runs: `count` of `unit` in one run. */
struct bench_job {
    const char *name;
    double count;
    const char *unit;
    void (*run)(void *context);
    void *context;
};

struct bench {
    bool json;
    int count;
    struct bench_case cases[BENCH_CASES];
};

/* A moment, or a time between two. */
struct bench_time {
    double cpu_s, wall_s;
};

static inline double bench_clock(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static inline struct bench_time bench_now(void)
{
    return (struct bench_time){bench_clock(CLOCK_THREAD_CPUTIME_ID), bench_clock(CLOCK_MONOTONIC)};
}

static inline struct bench_time bench_since(struct bench_time begin)
{
    struct bench_time now = bench_now();

    return (struct bench_time){now.cpu_s - begin.cpu_s, now.wall_s - begin.wall_s};
}

static inline int bench_compare_cpu(const void *a, const void *b)
{
    const struct bench_time *x = a, *y = b;

    return (x->cpu_s > y->cpu_s) - (x->cpu_s < y->cpu_s);
}

static inline int bench_compare_wall(const void *a, const void *b)
{
    const struct bench_time *x = a, *y = b;

    return (x->wall_s > y->wall_s) - (x->wall_s < y->wall_s);
}

/* Enters a case from its samples, which get sorted. */
static inline struct bench_case *bench_enter(struct bench *bench, const char *name, double count,
                                             const char *unit, struct bench_time *samples, int runs)
{
    struct bench_case *entry = &bench->cases[bench->count++];

    qsort(samples, (size_t)runs, sizeof *samples, bench_compare_wall);
    double wall_s = samples[runs / 2].wall_s;
    qsort(samples, (size_t)runs, sizeof *samples, bench_compare_cpu);
    *entry = (struct bench_case){.name = name,
                                 .unit = unit,
                                 .count = count,
                                 .runs = runs,
                                 .least_s = samples[0].cpu_s,
                                 .median_s = samples[runs / 2].cpu_s,
                                 .p95_s = samples[(runs * 95 - 1) / 100].cpu_s,
                                 .wall_s = wall_s};
    return entry;
}

/* Times run(context); `count` of `unit` are done in one run. */
static inline struct bench_case *bench_run(struct bench *bench, const char *name, double count,
                                           const char *unit, void (*run)(void *context), void *context)
{
    struct bench_time samples[BENCH_RUNS];

    for (int k = 0; k < BENCH_WARM_UP; k++)
        run(context);
    for (int k = 0; k < BENCH_RUNS; k++) {
        struct bench_time begin = bench_now();
        run(context);
        samples[k] = bench_since(begin);
    }
    return bench_enter(bench, name, count, unit, samples, BENCH_RUNS);
}

/*
 * Two jobs turn about, so that both see the same machine: a case each, the second with its rate as a share
 * of the first's.
 */
static inline void bench_run_beside(struct bench *bench, const struct bench_job jobs[2])
{
    struct bench_time samples[2][BENCH_RUNS];
    struct bench_case *entries[2];

    for (int k = -BENCH_WARM_UP; k < BENCH_RUNS; k++)
        for (int j = 0; j < 2; j++) {
            struct bench_time begin = bench_now();
            jobs[j].run(jobs[j].context);
            if (k >= 0)
                samples[j][k] = bench_since(begin);
        }
    for (int j = 0; j < 2; j++)
        entries[j] = bench_enter(bench, jobs[j].name, jobs[j].count, jobs[j].unit, samples[j], BENCH_RUNS);
    entries[1]->share = entries[1]->count / entries[1]->median_s / (entries[0]->count / entries[0]->median_s);
}

static inline int64_t bench_ns(double seconds)
{
    return (int64_t)(seconds * 1e9);
}

static inline void bench_write_table(const struct bench *bench)
{
    printf("%-44s %4s %8s %8s %8s %8s  %-20s %s\n", "case", "runs", "least", "median", "p95", "wall",
           "at the median", "peak");
    for (int k = 0; k < bench->count; k++) {
        const struct bench_case *c = &bench->cases[k];
        char rate[48];
        int length =
            snprintf(rate, sizeof rate, "%s %s/s", sp_format_count(c->count / c->median_s).text, c->unit);
        if (c->share > 0)
            snprintf(rate + length, sizeof rate - (size_t)length, ", %.0f %%", 100 * c->share);
        printf("%-44s %4d %8s %8s %8s %8s  %-20s %s\n", c->name, c->runs,
               sp_format_time(bench_ns(c->least_s)).text, sp_format_time(bench_ns(c->median_s)).text,
               sp_format_time(bench_ns(c->p95_s)).text, sp_format_time(bench_ns(c->wall_s)).text, rate,
               c->peak_bytes ? sp_format_bytes(c->peak_bytes).text : "");
    }
}

static inline void bench_write_json(const struct bench *bench)
{
    struct sp_json_writer writer;

    sp_json_writer_init(&writer, stdout);
    sp_json_begin_object(&writer, NULL);
    sp_json_begin_array(&writer, "cases", false);
    for (int k = 0; k < bench->count; k++) {
        const struct bench_case *c = &bench->cases[k];
        sp_json_begin_line_object(&writer, NULL);
        sp_json_put_string(&writer, "name", c->name);
        sp_json_put_whole(&writer, "runs", c->runs);
        sp_json_put_whole(&writer, "least_ns", bench_ns(c->least_s));
        sp_json_put_whole(&writer, "median_ns", bench_ns(c->median_s));
        sp_json_put_whole(&writer, "p95_ns", bench_ns(c->p95_s));
        sp_json_put_whole(&writer, "wall_median_ns", bench_ns(c->wall_s));
        sp_json_put_string(&writer, "unit", c->unit);
        sp_json_put_real(&writer, "count", c->count);
        sp_json_put_real(&writer, "per_second", c->count / c->median_s);
        if (c->share > 0)
            sp_json_put_real(&writer, "share", c->share);
        if (c->peak_bytes)
            sp_json_put_whole(&writer, "peak_bytes", c->peak_bytes);
        sp_json_end_object(&writer);
    }
    sp_json_end_array(&writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
}

/* The only option of a benchmark is --json. */
static inline void bench_init(struct bench *bench, int argc, char **argv)
{
    *bench = (struct bench){.json = argc == 2 && strcmp(argv[1], "--json") == 0};
    if (argc > 1 && !bench->json) {
        fprintf(stderr, "usage: %s [--json]\n", argv[0]);
        exit(2);
    }
}

static inline void bench_finish(const struct bench *bench)
{
    if (bench->json)
        bench_write_json(bench);
    else
        bench_write_table(bench);
}

/* Ends the benchmark with the error's message unless the status is SP_OK. */
static inline void bench_check(enum sp_status status, const struct sp_error *error)
{
    char text[1400];

    if (status == SP_OK)
        return;
    fprintf(stderr, "benchmark: %s\n", sp_error_text(error, text, sizeof text));
    exit(1);
}

#endif
