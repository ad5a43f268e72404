/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders of public planners (tests/data/peers), imported, lowered and simulated: each takes as long as its
 * planner, or an independent evaluation of its order, says.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "slimpipe/interchange.h"
#include "support.h"

enum { ORDERS = 512, SCALE = 1000, SLOW = 2000 };

/* Times of a row, whatever its unit, in whole thousandths. */
struct times {
    int64_t forward, input, weight, joined, makespan;
    struct sp_pass_costs costs;
};

struct orders {
    char *text;
    int count;
    const char *names[ORDERS]; /* end at the bracket */
    const char *lines[ORDERS]; /* end at an empty line */
};

static void read_orders(struct orders *orders)
{
    FILE *file = fopen("tests/data/peers/orders.txt", "r");
    size_t size = 0;

    cr_assert(file);
    *orders = (struct orders){.text = NULL};
    cr_assert_gt(getdelim(&orders->text, &size, 0, file), 0);
    fclose(file);
    for (char *at = strstr(orders->text, "\n["); at; at = strstr(at, "\n[")) {
        cr_assert_lt(orders->count, ORDERS);
        at += 2;
        orders->names[orders->count] = at;
        at = strchr(at, '\n') + 1;
        orders->lines[orders->count++] = at;
    }
}

/* The order's lines as a file of their own; the caller frees and removes it. */
static char *write_order(const struct orders *orders, const char *name)
{
    char *path = strdup("/tmp/slimpipe-order-XXXXXX");
    size_t length = strlen(name);

    for (int i = 0; i < orders->count; i++) {
        const char *end = strstr(orders->lines[i], "\n\n");
        size_t size = end ? (size_t)(end + 1 - orders->lines[i]) : strlen(orders->lines[i]);
        if (strncmp(orders->names[i], name, length) != 0 || orders->names[i][length] != ']')
            continue;
        int file = mkstemp(path);
        cr_assert_geq(file, 0);
        cr_assert_eq(write(file, orders->lines[i], size), (ssize_t)size);
        close(file);
        return path;
    }
    cr_assert(false, "no order %s", name);
    return NULL;
}

/* A time of the table in thousandths of its unit. */
static int64_t parse_time(const char *text)
{
    char *rest;
    int64_t whole = strtol(text, &rest, 10) * SCALE;
    int64_t digit = SCALE / 10;

    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, digit /= 10)
            whole += (*rest - '0') * digit;
    cr_assert_eq(*rest, 0, "%s is not a time", text);
    return whole;
}

static enum sp_sim_rules parse_rules(const char *text)
{
    for (int rules = 0; sp_sim_rules_names[rules]; rules++)
        if (strcmp(sp_sim_rules_names[rules], text) == 0)
            return (enum sp_sim_rules)rules;
    cr_assert(false, "no rules %s", text);
    return SP_SIM_PLAIN;
}

/* fields: forward, input, weight, message, joined, makespan. */
static void parse_times(char **fields, struct times *times)
{
    times->forward = parse_time(fields[0]);
    times->input = parse_time(fields[1]);
    times->weight = parse_time(fields[2]);
    times->joined = parse_time(fields[4]);
    times->makespan = parse_time(fields[5]);
    times->costs = (struct sp_pass_costs){.forward_ns = &times->forward,
                                          .input_ns = &times->input,
                                          .weight_ns = &times->weight,
                                          .overlap_ns = *fields[4] ? &times->joined : NULL,
                                          .message_ns = parse_time(fields[3]),
                                          .activation_bytes = 1};
}

static int64_t last_end(const struct sp_timeline *timeline)
{
    int64_t latest = 0;

    for (uint32_t i = 0; i < timeline->program->instruction_count; i++)
        if (timeline->program->instructions[i].stream == SP_STREAM_COMPUTE && timeline->end_ns[i] > latest)
            latest = timeline->end_ns[i];
    return latest;
}

/* Both evaluators, where the slow one takes milliseconds; destroys the plan. */
static void check_run(const char *run, struct sp_plan *plan, enum sp_sim_rules rules, int64_t expected)
{
    struct simulated s = simulate_plan(plan, rules);
    struct sp_error error;

    cr_expect_eq(s.metrics.makespan_ns, expected, "%s: %ld, not %ld", run, (long)s.metrics.makespan_ns,
                 (long)expected);
    cr_expect_leq(s.metrics.bound_ns, expected, "%s: bound %ld", run, (long)s.metrics.bound_ns);
    if (s.program->instruction_count < SLOW) {
        cr_assert_eq(sp_sim_run_reference(s.program, rules, &s.timeline, &error), SP_OK);
        cr_expect_eq(last_end(&s.timeline), expected, "%s by the reference: %ld, not %ld", run,
                     (long)last_end(&s.timeline), (long)expected);
    }
    drop_simulated(&s);
}

static struct sp_plan *import(const struct orders *orders, const char *order, const struct times *times)
{
    char *path = write_order(orders, order);
    struct sp_plan *plan = NULL;
    struct sp_error error;

    cr_assert_eq(sp_import_torch(path, &times->costs, 1, &plan, &error), SP_OK, "%s: %s", order,
                 error.message);
    unlink(path);
    free(path);
    return plan;
}

/* source,run,order,rules,forward,input,weight,message,joined,makespan */
Test(sim_peers, orders_take_as_long_as_recorded)
{
    enum { FIELDS = 10, RUNS = 546 };
    FILE *file = fopen("tests/data/peers/makespans.csv", "r");
    char line[512], *fields[FIELDS];
    struct orders orders;
    struct times times;
    int runs = 0;

    cr_assert(file);
    read_orders(&orders);
    while (read_csv_row(file, line, sizeof line, fields, FIELDS) == FIELDS) {
        parse_times(fields + 4, &times);
        check_run(fields[1], import(&orders, fields[2], &times), parse_rules(fields[3]), times.makespan);
        runs++;
    }
    cr_expect_eq(runs, RUNS);
    free(orders.text);
    fclose(file);
}

/* run,schedule,devices,chunks,microbatches,forward,input,weight,message,joined,makespan */
Test(sim_peers, sender_blocking_is_that_of_ppviz)
{
    enum { FIELDS = 11, RUNS = 180 };
    FILE *file = fopen("tests/data/peers/ppviz.csv", "r");
    char line[512], *fields[FIELDS];
    struct sp_error error;
    struct times times;
    int runs = 0;

    cr_assert(file);
    while (read_csv_row(file, line, sizeof line, fields, FIELDS) == FIELDS) {
        struct sp_request request = {.schedule = fields[1],
                                     .costs = &times.costs,
                                     .cost_stages = 1,
                                     .parallel = {.pipeline = atoi(fields[2])},
                                     .chunks = (uint32_t)atoi(fields[3]),
                                     .microbatches = atoi(fields[4])};
        struct sp_plan *plan = NULL;
        parse_times(fields + 5, &times);
        cr_assert_eq(sp_plan_compose(&request, &plan, &error), SP_OK, "%s: %s", fields[0], error.message);
        check_run(fields[0], plan, SP_SIM_SENDER_BLOCKS, times.makespan);
        runs++;
    }
    cr_expect_eq(runs, RUNS);
    fclose(file);
}
