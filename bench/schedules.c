/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long schedules take to generate, against their Python peers on the same instances. The peers' medians
 * come from tests/data/peers/timing.csv, which says where they were measured; the ratio is to be 100 or more.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "slimpipe/arena.h"
#include "slimpipe/schedule.h"

enum { WARM_UPS = 3, REPEATS = 15, PASSES_PER_SAMPLE = 20000, WANTED_RATIO = 100 };

/* One line of the data: peer, schedule, p, v, m, memory_units, F, I, W, message, peer's median in ns. */
struct row {
    char peer[48], schedule[32];
    struct sp_shape shape;
    int64_t peer_ns;
};

static bool read_row(FILE *file, struct row *row)
{
    char line[256];
    uint32_t p, v, m;
    int64_t units, f, i, w, c;

    do {
        if (!fgets(line, sizeof(line), file))
            return false;
    } while (line[0] == '#' || strncmp(line, "peer,", 5) == 0);
    if (sscanf(line,
               "%47[^,],%31[^,],%" SCNu32 ",%" SCNu32 ",%" SCNu32 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64
               ",%" SCNd64 ",%" SCNd64 ",%" SCNd64,
               row->peer, row->schedule, &p, &v, &m, &units, &f, &i, &w, &c, &row->peer_ns) != 11) {
        fprintf(stderr, "bad line: %s", line);
        exit(1);
    }
    row->shape = (struct sp_shape){.devices = p,
                                   .chunks = v,
                                   .microbatches = m,
                                   .slices = 1,
                                   .memory_units = units,
                                   .forward_ns = f,
                                   .input_ns = i,
                                   .weight_ns = w,
                                   .message_ns = c};
    return true;
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void generate(const struct sp_schedule *schedule, const struct sp_shape *shape)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_order order;
    struct sp_error error;

    if (!arena || sp_schedule_order(schedule, shape, arena, &order, &error)) {
        fprintf(stderr, "%s: %s\n", schedule->name, arena ? error.message : "no memory");
        exit(1);
    }
    sp_arena_destroy(arena);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Nanoseconds of one generation: fills `samples`, ascending. */
static void measure(const struct sp_schedule *schedule, const struct sp_shape *shape, double samples[REPEATS])
{
    int passes = (int)(shape->devices * shape->chunks * shape->microbatches * 3);
    int rounds = PASSES_PER_SAMPLE / passes + 1;

    for (int k = -WARM_UPS; k < REPEATS; k++) {
        int64_t start = now_ns();
        for (int i = 0; i < rounds; i++)
            generate(schedule, shape);
        if (k >= 0)
            samples[k] = (double)(now_ns() - start) / rounds;
    }
    qsort(samples, REPEATS, sizeof(*samples), compare);
}

int main(void)
{
    FILE *file = fopen("tests/data/peers/timing.csv", "r");
    struct row row;
    int below = 0, count = 0;

    if (!file) {
        perror("tests/data/peers/timing.csv");
        return 1;
    }
    printf("%-44s %-12s %3s %4s %10s %10s %10s %12s %8s\n", "peer", "schedule", "p", "m", "min us",
           "median us", "p95 us", "peer us", "ratio");
    while (read_row(file, &row)) {
        const struct sp_schedule *schedule = sp_schedule_find(row.schedule);
        double samples[REPEATS], ratio;
        if (!schedule) {
            fprintf(stderr, "no schedule %s\n", row.schedule);
            return 1;
        }
        measure(schedule, &row.shape, samples);
        ratio = (double)row.peer_ns / samples[REPEATS / 2];
        printf("%-44s %-12s %3u %4u %10.2f %10.2f %10.2f %12.1f %8.0f\n", row.peer, row.schedule,
               row.shape.devices, row.shape.microbatches, samples[0] / 1000, samples[REPEATS / 2] / 1000,
               samples[REPEATS * 95 / 100] / 1000, (double)row.peer_ns / 1000, ratio);
        below += ratio < WANTED_RATIO;
        count++;
    }
    fclose(file);
    printf("%d of %d at %d times or more\n", count - below, count, WANTED_RATIO);
    return below > 0;
}
