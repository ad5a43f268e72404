/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For benchmarks: runs a case a few times to warm up and then often, and reports least, median and 95th
 * percentile of the wall time, as a table or as JSON (--json). On a machine that others use too, the least
 * says what the code takes, the distance to the median how far to trust it.
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
    double least_s, median_s, p95_s;
    int64_t peak_bytes; /* of the process, where measured; 0: not */
};

struct bench {
    bool json;
    int count;
    struct bench_case cases[BENCH_CASES];
};

static inline double bench_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Enters a case from its samples, which get sorted. */
static inline struct bench_case *bench_enter(struct bench *bench, const char *name, double count,
                                             const char *unit, double *samples, int runs)
{
    struct bench_case *entry = &bench->cases[bench->count++];

    qsort(samples, (size_t)runs, sizeof *samples, bench_compare);
    *entry = (struct bench_case){.name = name,
                                 .unit = unit,
                                 .count = count,
                                 .runs = runs,
                                 .least_s = samples[0],
                                 .median_s = samples[runs / 2],
                                 .p95_s = samples[(runs * 95 - 1) / 100]};
    return entry;
}

/* Times run(context); `count` of `unit` are done in one run. */
static inline struct bench_case *bench_run(struct bench *bench, const char *name, double count,
                                           const char *unit, void (*run)(void *context), void *context)
{
    double samples[BENCH_RUNS];

    for (int k = 0; k < BENCH_WARM_UP; k++)
        run(context);
    for (int k = 0; k < BENCH_RUNS; k++) {
        double begin = bench_now();
        run(context);
        samples[k] = bench_now() - begin;
    }
    return bench_enter(bench, name, count, unit, samples, BENCH_RUNS);
}

static inline int64_t bench_ns(double seconds)
{
    return (int64_t)(seconds * 1e9);
}

static inline void bench_write_table(const struct bench *bench)
{
    printf("%-44s %5s %10s %10s %10s %18s %10s\n", "case", "runs", "least", "median", "p95", "rate (median)",
           "peak");
    for (int k = 0; k < bench->count; k++) {
        const struct bench_case *c = &bench->cases[k];
        char rate[48];
        snprintf(rate, sizeof rate, "%s %s/s", sp_format_count(c->count / c->median_s).text, c->unit);
        printf("%-44s %5d %10s %10s %10s %24s %10s\n", c->name, c->runs,
               sp_format_time(bench_ns(c->least_s)).text, sp_format_time(bench_ns(c->median_s)).text,
               sp_format_time(bench_ns(c->p95_s)).text, rate,
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
        sp_json_put_string(&writer, "unit", c->unit);
        sp_json_put_real(&writer, "count", c->count);
        sp_json_put_real(&writer, "per_second", c->count / c->median_s);
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
