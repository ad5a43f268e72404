/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear and mixed-integer programmes: minimise cost · x, with bounds on rows and columns. lp.c is the one
 * file that knows GLPK.
 *
 * A model is built by appending columns, rows and terms, and solved any number of times. Solving prints
 * nothing, leaves nothing behind in the thread, and without a time limit gives the same answer on every run.
 */
#ifndef SLIMPIPE_PLANNER_LP_H
#define SLIMPIPE_PLANNER_LP_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/status.h"

enum sp_lp_kind { SP_LP_REAL, SP_LP_WHOLE };

/* What a solution is worth. */
enum sp_lp_outcome {
    SP_LP_OPTIMAL,    /* proven */
    SP_LP_FEASIBLE,   /* a limit was hit; values are the best found, bound says how far it may be off */
    SP_LP_INFEASIBLE, /* proven: no values satisfy the rows */
    SP_LP_UNBOUNDED,  /* the cost has no least value; or no values satisfy the rows */
    SP_LP_UNKNOWN     /* a limit was hit before anything was found; bound holds */
};

/* Zero: no limit. Only the time limit makes answers depend on the machine. */
struct sp_lp_limits {
    int64_t iterations; /* of the simplex method; models without whole columns */
    int64_t nodes;      /* of the search tree; models with whole columns */
    int64_t milliseconds;
};

struct sp_lp_result {
    enum sp_lp_outcome outcome;
    double cost;  /* of the values; OPTIMAL and FEASIBLE */
    double bound; /* no values cost less; −INFINITY where nothing is proven */
};

struct sp_lp;

/* NULL when memory is short. */
struct sp_lp *sp_lp_create(void);
void sp_lp_destroy(struct sp_lp *lp);

/*
 * Numbers from 0. Bounds may be infinite; lower above upper makes the model infeasible. When memory is short,
 * the model remembers it and solving says so.
 */
int32_t sp_lp_column(struct sp_lp *lp, enum sp_lp_kind kind, double lower, double upper, double cost);
int32_t sp_lp_row(struct sp_lp *lp, double lower, double upper);
/* Adds value · column to the row; terms of the same row and column add up. */
void sp_lp_term(struct sp_lp *lp, int32_t row, int32_t column, double value);
void sp_lp_set_cost(struct sp_lp *lp, int32_t column, double cost);
void sp_lp_set_bounds(struct sp_lp *lp, int32_t column, double lower, double upper);

/*
 * limits may be NULL. ret_values: one per column, written with OPTIMAL and FEASIBLE only; whole columns hold
 * whole numbers. An infeasible model is a result, not an error. SP_SOLVER: a number in the model is not
 * finite, or GLPK failed.
 */
enum sp_status sp_lp_solve(const struct sp_lp *lp, const struct sp_lp_limits *limits, double *ret_values,
                           struct sp_lp_result *ret_result, struct sp_error *error) SP_MUST_CHECK;

#endif
