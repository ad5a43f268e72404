/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Row by row against public schedulers (tests/data/peers/schedules.csv): our order in the place of theirs
 * ends no later and holds no more. What does not is listed below with the reason.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "schedule_clock.h"
#include "support.h"

enum { FIELDS = 17 };

struct row {
    char source[16], schedule[24];
    struct sp_shape shape;
    struct clock_rules rules;
    int64_t makespan, peak; /* the peer's */
};

/*
 * V-Auto measures a block with the two ways of moving passes that V-Min and V-Half know. The peer's search
 * has a third one, which in these rows places two passes of the drain better: two hops, 0.03 % of the
 * makespan.
 */
static const struct exception {
    char source[16];
    uint32_t p, m;
    int64_t memory_units, forward_ns;
    int64_t later_ns; /* ours by exactly this */
} exceptions[] = {
    {"v_auto", 8, 16, 4000, 29718, 1054},
    {"v_auto", 8, 32, 4000, 29718, 1054},
};

static struct row parse(char **field)
{
    struct row row = {.shape = {.devices = (uint32_t)atoi(field[2]),
                                .chunks = (uint32_t)atoi(field[3]),
                                .microbatches = (uint32_t)atoi(field[4]),
                                .slices = (uint32_t)atoi(field[5]),
                                .group = (uint32_t)atoi(field[6]),
                                .memory_units = atoll(field[7]),
                                .weight_held_permille = (uint32_t)atoi(field[8]),
                                .message_ns = atoll(field[9]),
                                .forward_ns = atoll(field[10]),
                                .input_ns = atoll(field[11]),
                                .weight_ns = atoll(field[12])},
                      .rules = {.forward = atoll(field[10]),
                                .input = atoll(field[11]),
                                .weight = atoll(field[12]),
                                .joined = atoll(field[13]),
                                .hop = atoll(field[14])},
                      .makespan = atoll(field[15]),
                      .peak = atoll(field[16])};
    snprintf(row.source, sizeof(row.source), "%s", field[0]);
    snprintf(row.schedule, sizeof(row.schedule), "%s", field[1]);
    return row;
}

static int64_t allowed_later(const struct row *row)
{
    for (size_t i = 0; i < sizeof(exceptions) / sizeof(*exceptions); i++) {
        const struct exception *e = &exceptions[i];
        if (!strcmp(e->source, row->source) && e->p == row->shape.devices &&
            e->m == row->shape.microbatches && e->memory_units == row->shape.memory_units &&
            e->forward_ns == row->shape.forward_ns)
            return e->later_ns;
    }
    return 0;
}

static void check_row(const struct row *row)
{
    struct clock_result result = clock_schedule(row->schedule, &row->shape, &row->rules);
    uint32_t p = row->shape.devices;
    bool halves = row->shape.weight_held_permille == 500;
    int64_t peak = halves ? 500 * clock_most(result.held_half, p) : 1000 * clock_most(result.held, p);
    int64_t later = result.makespan - row->makespan, allowed = allowed_later(row);

    cr_expect(allowed ? later == allowed : later <= 0,
              "%s %s p %u v %u m %u n %u cap %lld F %lld: ends at %lld, theirs at %lld", row->source,
              row->schedule, p, row->shape.chunks, row->shape.microbatches, row->shape.slices,
              (long long)row->shape.memory_units, (long long)row->shape.forward_ns,
              (long long)result.makespan, (long long)row->makespan);
    cr_expect(!row->peak || peak <= row->peak, "%s %s p %u m %u cap %lld: holds %lld, theirs %lld",
              row->source, row->schedule, p, row->shape.microbatches, (long long)row->shape.memory_units,
              (long long)peak, (long long)row->peak);
}

/* All rows of a source; how many there are. */
static void check_source(const char *source, int expected)
{
    FILE *file = fopen("tests/data/peers/schedules.csv", "r");
    char line[512], *field[FIELDS];
    int count = 0;

    cr_assert_not_null(file);
    while (read_csv_row(file, line, sizeof(line), field, FIELDS) == FIELDS) {
        struct row row;
        if (strcmp(field[0], source) != 0)
            continue;
        row = parse(field);
        check_row(&row);
        count++;
    }
    fclose(file);
    cr_assert_eq(count, expected, "%d rows of %s", count, source);
}

Test(schedule_peers, zero_bubble_heuristic)
{
    check_source("zb", 360);
}

Test(schedule_peers, zero_bubble_v_heuristic)
{
    check_source("zbv", 216);
}

Test(schedule_peers, v_half_and_v_min)
{
    check_source("greedy", 144);
}

Test(schedule_peers, v_auto)
{
    check_source("v_auto", 24);
}

Test(schedule_peers, fixed_schedules)
{
    check_source("fixed", 162);
}

Test(schedule_peers, pytorch)
{
    check_source("torch", 216);
}

Test(schedule_peers, schedule_visualization)
{
    check_source("ppviz", 252);
}

Test(schedule_peers, dualpipe)
{
    check_source("dualpipe", 54);
}

Test(schedule_peers, primus)
{
    check_source("primus", 270);
}

Test(schedule_peers, minpp)
{
    check_source("minpp", 30);
}
