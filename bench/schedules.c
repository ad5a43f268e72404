/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long schedules take to generate, against their Python peers on the same instances. The peers' medians
 * come from tests/data/peers/timing.csv, which says where they were measured; the ratio is to be 100 or more,
 * and the benchmark fails where it is not.
 */
#include <inttypes.h>

#include "harness.h"
#include "slimpipe/arena.h"
#include "slimpipe/schedule.h"

enum { SAMPLES = 15, PASSES_PER_SAMPLE = 20000, WANTED_RATIO = 100 };

struct row {
    char peer[48], schedule[32];
    struct sp_shape shape;
    int64_t peer_ns;
    double least_ns, median_ns, p95_ns;
};

static bool read_row(FILE *file, struct row *row)
{
    struct sp_shape *shape = &row->shape;
    char line[256];

    *row = (struct row){.shape = {.slices = 1}};
    do {
        if (!fgets(line, sizeof(line), file))
            return false;
    } while (line[0] == '#' || strncmp(line, "peer,", 5) == 0);
    if (sscanf(line,
               "%47[^,],%31[^,],%" SCNu32 ",%" SCNu32 ",%" SCNu32 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64
               ",%" SCNd64 ",%" SCNd64 ",%" SCNd64,
               row->peer, row->schedule, &shape->devices, &shape->chunks, &shape->microbatches,
               &shape->memory_units, &shape->forward_ns, &shape->input_ns, &shape->weight_ns,
               &shape->message_ns, &row->peer_ns) != 11) {
        fprintf(stderr, "benchmark: bad line: %s", line);
        exit(1);
    }
    return true;
}

static void generate(const struct row *row)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_order order;
    struct sp_error error;

    bench_check(sp_schedule_order(sp_schedule_find(row->schedule), &row->shape, arena, &order, &error),
                &error);
    sp_arena_destroy(arena);
}

static void measure(struct row *row)
{
    uint32_t passes = 3 * row->shape.devices * row->shape.chunks * row->shape.microbatches;
    int rounds = (int)(PASSES_PER_SAMPLE / passes) + 1;
    struct bench_time samples[SAMPLES];

    for (int k = -BENCH_WARM_UP; k < SAMPLES; k++) {
        struct bench_time begin = bench_now();
        for (int i = 0; i < rounds; i++)
            generate(row);
        if (k >= 0)
            samples[k] = bench_since(begin);
    }
    qsort(samples, SAMPLES, sizeof(*samples), bench_compare_cpu);
    row->least_ns = 1e9 * samples[0].cpu_s / rounds;
    row->median_ns = 1e9 * samples[SAMPLES / 2].cpu_s / rounds;
    row->p95_ns = 1e9 * samples[(SAMPLES * 95 - 1) / 100].cpu_s / rounds;
}

static double ratio(const struct row *row)
{
    return (double)row->peer_ns / row->median_ns;
}

static void print_row(const struct row *row)
{
    printf("%-36s %-11s %3u %4u %10s %10s %10s %10s %7.0f\n", row->peer, row->schedule, row->shape.devices,
           row->shape.microbatches, sp_format_time((int64_t)row->least_ns).text,
           sp_format_time((int64_t)row->median_ns).text, sp_format_time((int64_t)row->p95_ns).text,
           sp_format_time(row->peer_ns).text, ratio(row));
}

static void put_row(struct sp_json_writer *writer, const struct row *row)
{
    sp_json_begin_line_object(writer, NULL);
    sp_json_put_string(writer, "peer", row->peer);
    sp_json_put_string(writer, "schedule", row->schedule);
    sp_json_put_whole(writer, "devices", row->shape.devices);
    sp_json_put_whole(writer, "microbatches", row->shape.microbatches);
    sp_json_put_whole(writer, "least_ns", (int64_t)row->least_ns);
    sp_json_put_whole(writer, "median_ns", (int64_t)row->median_ns);
    sp_json_put_whole(writer, "p95_ns", (int64_t)row->p95_ns);
    sp_json_put_whole(writer, "peer_median_ns", row->peer_ns);
    sp_json_put_real(writer, "ratio", ratio(row));
    sp_json_end_object(writer);
}

int main(int argc, char **argv)
{
    FILE *file = fopen("tests/data/peers/timing.csv", "r");
    struct sp_json_writer writer;
    struct bench bench;
    struct row row;
    int count = 0, fast = 0;

    bench_init(&bench, argc, argv);
    if (!file) {
        perror("tests/data/peers/timing.csv");
        return 1;
    }
    if (bench.json) {
        sp_json_writer_init(&writer, stdout);
        sp_json_begin_object(&writer, NULL);
        sp_json_begin_array(&writer, "cases", false);
    } else {
        printf("%-36s %-11s %3s %4s %10s %10s %10s %10s %7s\n", "peer", "schedule", "p", "m", "least",
               "median", "p95", "peer", "ratio");
    }
    for (; read_row(file, &row); count++) {
        measure(&row);
        fast += ratio(&row) >= WANTED_RATIO;
        if (bench.json)
            put_row(&writer, &row);
        else
            print_row(&row);
    }
    fclose(file);
    if (bench.json) {
        sp_json_end_array(&writer);
        sp_json_end_object(&writer);
        sp_json_writer_finish(&writer);
    } else {
        printf("%d of %d at %d times or more\n", fast, count, WANTED_RATIO);
    }
    return fast < count;
}
