/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by tests: request → plan → program → simulated metrics in one call, and CSV rows of tests/data. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/planner.h"
#include "slimpipe/sim.h"

struct simulated {
    struct sp_plan *plan;
    struct sp_program *program;
    struct sp_timeline timeline;
    struct sp_metrics metrics;
};

static inline struct simulated simulate_plan(struct sp_plan *plan, enum sp_sim_rules rules)
{
    struct simulated s = {.plan = plan};
    struct sp_error error = {.status = SP_OK};
    int64_t bound = 0;
    cr_assert_eq(sp_program_create(plan, &s.program, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_timeline_init(&s.timeline, s.program, "predicted", &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_sim_run(s.program, rules, &s.timeline, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_sim_bound(s.program, &bound, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_metrics_init(&s.metrics, &s.timeline, bound, &error), SP_OK, "%s", error.message);
    return s;
}

static inline struct simulated simulate_request(const struct sp_request *request, enum sp_sim_rules rules)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {.status = SP_OK};
    cr_assert_eq(sp_plan_compose(request, &plan, &error), SP_OK, "%s", error.message);
    return simulate_plan(plan, rules);
}

static inline void drop_simulated(struct simulated *s)
{
    sp_metrics_finish(&s->metrics);
    sp_timeline_finish(&s->timeline);
    sp_program_destroy(s->program);
    sp_plan_destroy(s->plan);
}

/* Uniform explicit costs for every stage. */
struct unit_costs {
    int64_t forward, input, weight;
    struct sp_pass_costs costs;
};

static inline const struct sp_pass_costs *unit_costs_init(struct unit_costs *u, int64_t forward,
                                                          int64_t input, int64_t weight, int64_t message)
{
    *u = (struct unit_costs){.forward = forward, .input = input, .weight = weight};
    u->costs = (struct sp_pass_costs){.forward_ns = &u->forward,
                                      .input_ns = &u->input,
                                      .weight_ns = &u->weight,
                                      .message_ns = message,
                                      .activation_bytes = 1};
    return &u->costs;
}

/* The next row of a CSV file, comments skipped, cut at commas into at most `limit` fields; count, 0 at the
 * end. */
static inline int read_csv_row(FILE *file, char *line, size_t size, char **fields, int limit)
{
    do {
        if (!fgets(line, (int)size, file))
            return 0;
    } while (line[0] == '#' || line[0] == '\n');
    line[strcspn(line, "\r\n")] = 0;
    int count = 0;
    for (char *at = line; at && count < limit; count++) {
        fields[count] = strsep(&at, ",");
    }
    return count;
}

#endif
