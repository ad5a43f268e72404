/* SPDX-License-Identifier: Apache-2.0 */
/* A plan simulated: what `plan` sums up and `simulate` writes in full. */
#ifndef SLIMPIPE_CLI_PREDICTION_H
#define SLIMPIPE_CLI_PREDICTION_H

#include <stdbool.h>
#include <stdio.h>

#include "slimpipe/program.h"
#include "slimpipe/sim.h"
#include "slimpipe/timeline.h"

struct prediction {
    const struct sp_plan *plan; /* borrowed */
    struct sp_program *program;
    struct sp_timeline timeline;
    struct sp_metrics metrics;
};

/* Fills a zeroed struct; whatever it returns, prediction_finish frees. check_cap: SP_INFEASIBLE above it. */
enum sp_status prediction_init(struct prediction *prediction, const struct sp_plan *plan,
                               enum sp_sim_rules rules, bool check_cap, struct sp_error *error) SP_MUST_CHECK;
void prediction_finish(struct prediction *prediction);

/* "slimpipe, 8 devices, 40 stages, 4 microbatches of 16 slices, 5120 passes" */
void print_plan_line(const struct sp_plan *plan, FILE *stream);
/* What is planned and what it is predicted to take, in a few lines. */
void print_prediction(const struct prediction *prediction, FILE *stream);

#endif
