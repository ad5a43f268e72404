/* SPDX-License-Identifier: Apache-2.0 */
/* The value of --unit-cost: KEY=VALUE,KEY=VALUE…, a value for all stages or `:`-separated ones. */
#ifndef SLIMPIPE_CLI_UNIT_COSTS_H
#define SLIMPIPE_CLI_UNIT_COSTS_H

#include "slimpipe/plan.h"

/* Text for --help: the keys and what they mean. */
#define UNIT_COST_HELP                                                                                       \
    "Unit costs:\n"                                                                                          \
    "  --unit-cost takes KEY=VALUE pairs separated by commas. Times are whole\n"                             \
    "  nanoseconds, or numbers with us, ms or s; of stages that differ, one value\n"                         \
    "  per stage, as in forward=10:10:12.\n"                                                                 \
    "    forward          F of one slice; required\n"                                                        \
    "    backward         input gradient: I, and B without its weight part\n"                                \
    "    weight           weight gradient: W, and the rest of B\n"                                           \
    "    recompute        R, or added to B and I under full recompute\n"                                     \
    "    overlap          one F and one B that run as one; default: their sum\n"                             \
    "    p2p              a message between devices\n"                                                       \
    "    attention        share of forward, 0 to 1, that follows causal attention\n"                         \
    "    activation       bytes held from F to the end of the backward\n"                                    \
    "    weight-held      part of these that is held until W\n"                                              \
    "    output-forward   the output layer's S of one slice on one device\n"                                 \
    "    output-backward  its T\n"

enum { UNIT_COST_TIMES = 5 }; /* keys that take a value per stage */

struct unit_costs {
    struct sp_pass_costs costs;      /* arrays of stage_count entries */
    uint32_t stage_count;            /* 1: the same for all stages */
    int64_t *times[UNIT_COST_TIMES]; /* the storage of these arrays */
};

/* Fills a zeroed struct; whatever it returns, unit_costs_finish frees. */
enum sp_status unit_costs_parse(struct unit_costs *costs, const char *text,
                                struct sp_error *error) SP_MUST_CHECK;
void unit_costs_finish(struct unit_costs *costs);

#endif
