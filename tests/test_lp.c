/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "../planner/lp.h"
#include "slimpipe/arena.h"

/* max x + y with 2x + y ≤ 4 and x + 3y ≤ 6: (6/5, 8/5), 14/5. */
static struct sp_lp *corner(enum sp_lp_kind kind)
{
    struct sp_lp *lp = sp_lp_create();
    int32_t x = sp_lp_column(lp, kind, 0, INFINITY, -1), y = sp_lp_column(lp, kind, 0, INFINITY, -1);
    int32_t first = sp_lp_row(lp, -INFINITY, 4), second = sp_lp_row(lp, -INFINITY, 6);
    sp_lp_term(lp, first, x, 2);
    sp_lp_term(lp, first, y, 1);
    sp_lp_term(lp, second, x, 1);
    sp_lp_term(lp, second, y, 3);
    return lp;
}

static struct sp_lp_result solve(struct sp_lp *lp, const struct sp_lp_limits *limits, double *values)
{
    struct sp_lp_result result;
    struct sp_error error = {0};
    cr_assert_eq(sp_lp_solve(lp, limits, values, &result, &error), SP_OK, "%s", error.message);
    sp_lp_destroy(lp);
    return result;
}

Test(lp, linear_optimum)
{
    double values[2];
    struct sp_lp_result result = solve(corner(SP_LP_REAL), NULL, values);
    cr_assert_eq(result.outcome, SP_LP_OPTIMAL);
    cr_assert_float_eq(values[0], 1.2, 1e-9);
    cr_assert_float_eq(values[1], 1.6, 1e-9);
    cr_assert_float_eq(result.cost, -2.8, 1e-9);
    cr_assert_float_eq(result.bound, -2.8, 1e-9);
}

Test(lp, whole_optimum)
{
    double values[2];
    struct sp_lp_result result = solve(corner(SP_LP_WHOLE), NULL, values);
    cr_assert_eq(result.outcome, SP_LP_OPTIMAL);
    cr_assert_eq(values[0] + values[1], 2);
    cr_assert(2 * values[0] + values[1] <= 4 && values[0] + 3 * values[1] <= 6);
    cr_assert_float_eq(result.cost, -2, 1e-9);
    cr_assert_float_eq(result.bound, -2, 1e-9);
}

/* GLPK refuses an integer column with a fractional bound: 0.5 … 2.5 means 1 … 2. */
Test(lp, whole_column_with_fractional_bounds)
{
    double values[1];
    struct sp_lp *lp = sp_lp_create();
    int32_t x = sp_lp_column(lp, SP_LP_WHOLE, 0.5, 2.5, -1);
    sp_lp_term(lp, sp_lp_row(lp, -INFINITY, 10), x, 1);
    struct sp_lp_result result = solve(lp, NULL, values);
    cr_assert_eq(result.outcome, SP_LP_OPTIMAL);
    cr_assert_eq(values[0], 2);
}

static struct sp_lp *contradiction(enum sp_lp_kind kind)
{
    struct sp_lp *lp = sp_lp_create();
    int32_t x = sp_lp_column(lp, kind, 0, 10, 1), y = sp_lp_column(lp, kind, 0, 10, 1);
    int32_t low = sp_lp_row(lp, 3, INFINITY), high = sp_lp_row(lp, -INFINITY, 2);
    sp_lp_term(lp, low, x, 1);
    sp_lp_term(lp, low, y, 1);
    sp_lp_term(lp, high, x, 1);
    sp_lp_term(lp, high, y, 1);
    return lp;
}

Test(lp, infeasible_is_a_result)
{
    double values[2] = {7, 7};
    cr_assert_eq(solve(contradiction(SP_LP_REAL), NULL, values).outcome, SP_LP_INFEASIBLE);
    cr_assert_eq(solve(contradiction(SP_LP_WHOLE), NULL, values).outcome, SP_LP_INFEASIBLE);
    struct sp_lp *lp = corner(SP_LP_REAL);
    sp_lp_set_bounds(lp, 0, 2, 1);
    cr_assert_eq(solve(lp, NULL, values).outcome, SP_LP_INFEASIBLE);
    /* No whole number between the bounds. */
    lp = corner(SP_LP_WHOLE);
    sp_lp_set_bounds(lp, 0, 0.25, 0.75);
    cr_assert_eq(solve(lp, NULL, values).outcome, SP_LP_INFEASIBLE);
    cr_assert(values[0] == 7 && values[1] == 7, "values were written without a solution");
}

Test(lp, unbounded_is_a_result)
{
    double values[2];
    struct sp_lp *lp = sp_lp_create();
    int32_t x = sp_lp_column(lp, SP_LP_REAL, 0, INFINITY, -1),
            y = sp_lp_column(lp, SP_LP_REAL, 0, INFINITY, 0);
    int32_t row = sp_lp_row(lp, -INFINITY, 1);
    sp_lp_term(lp, row, x, 1);
    sp_lp_term(lp, row, y, -1);
    cr_assert_eq(solve(lp, NULL, values).outcome, SP_LP_UNBOUNDED);
}

Test(lp, terms_of_one_place_add_up)
{
    double values[1];
    struct sp_lp *lp = sp_lp_create();
    int32_t x = sp_lp_column(lp, SP_LP_REAL, -INFINITY, INFINITY, 1), row = sp_lp_row(lp, 6, 6);
    sp_lp_term(lp, row, x, 1);
    sp_lp_term(lp, row, x, 2);
    cr_assert_eq(solve(lp, NULL, values).outcome, SP_LP_OPTIMAL);
    cr_assert_float_eq(values[0], 2, 1e-9);
}

Test(lp, no_rows)
{
    double values[2];
    struct sp_lp *lp = sp_lp_create();
    sp_lp_column(lp, SP_LP_WHOLE, 1.5, 4, 2);
    sp_lp_column(lp, SP_LP_REAL, -1, 3, -1);
    struct sp_lp_result result = solve(lp, NULL, values);
    cr_assert_eq(result.outcome, SP_LP_OPTIMAL);
    cr_assert_eq(values[0], 2);
    cr_assert_eq(values[1], 3);
    cr_assert_eq(result.cost, 1);
}

Test(lp, rows_without_columns)
{
    double values[1];
    struct sp_lp *lp = sp_lp_create();
    sp_lp_row(lp, -1, 1);
    cr_assert_eq(solve(lp, NULL, values).outcome, SP_LP_OPTIMAL);
    lp = sp_lp_create();
    sp_lp_row(lp, 1, 2);
    cr_assert_eq(solve(lp, NULL, values).outcome, SP_LP_INFEASIBLE);
}

enum { ITEMS = 16 };

/*
 * Twice some of the items and y make 15; least y. Nothing but trying every half of the items shows that it is
 * 1, and branch and bound believes 0 until then.
 */
static struct sp_lp *odd_sum(void)
{
    struct sp_lp *lp = sp_lp_create();
    int32_t row = sp_lp_row(lp, 15, 15);
    sp_lp_term(lp, row, sp_lp_column(lp, SP_LP_WHOLE, 0, 5, 1), 1);
    for (int i = 1; i < ITEMS; i++)
        sp_lp_term(lp, row, sp_lp_column(lp, SP_LP_WHOLE, 0, 1, 0), 2);
    return lp;
}

Test(lp, node_limit_gives_best_found_and_bound)
{
    double values[ITEMS], again[ITEMS];
    struct sp_lp_limits limits = {.nodes = 100};
    struct sp_lp_result result = solve(odd_sum(), &limits, values);
    cr_assert_eq(result.outcome, SP_LP_FEASIBLE);
    cr_assert_eq(values[0], result.cost);
    cr_assert_geq(result.cost, 1);
    cr_assert_float_eq(result.bound, 0, 1e-9);
    struct sp_lp_result second = solve(odd_sum(), &limits, again);
    cr_assert_eq(second.outcome, SP_LP_FEASIBLE);
    for (int i = 0; i < ITEMS; i++)
        cr_assert_eq(values[i], again[i]);
    limits.nodes = 1;
    result = solve(odd_sum(), &limits, values);
    cr_assert_eq(result.outcome, SP_LP_UNKNOWN);
    cr_assert_leq(result.bound, 1);
}

Test(lp, time_limit_gives_best_found)
{
    double values[ITEMS];
    struct sp_lp_limits limits = {.milliseconds = 1};
    struct sp_lp_result result = solve(odd_sum(), &limits, values);
    cr_assert_neq(result.outcome, SP_LP_INFEASIBLE);
    cr_assert_leq(result.bound, 1 + 1e-9);
}

Test(lp, iteration_limit)
{
    double values[2];
    struct sp_lp_limits limits = {.iterations = 1};
    struct sp_lp_result result = solve(corner(SP_LP_REAL), &limits, values);
    cr_assert(result.outcome == SP_LP_FEASIBLE || result.outcome == SP_LP_UNKNOWN);
    limits.iterations = 1000;
    result = solve(corner(SP_LP_REAL), &limits, values);
    cr_assert_eq(result.outcome, SP_LP_OPTIMAL);
    cr_assert_float_eq(result.cost, -2.8, 1e-9);
}

/* GLPK would end the process. */
Test(lp, numbers_that_are_none_are_refused)
{
    double bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        double values[2];
        struct sp_lp_result result;
        struct sp_error error = {0};
        struct sp_lp *lp = corner(SP_LP_REAL);
        sp_lp_term(lp, 0, 1, bad[i]);
        cr_assert_eq(sp_lp_solve(lp, NULL, values, &result, &error), SP_SOLVER);
        cr_assert_not_null(strstr(error.message, "row 0, column 1"), "%s", error.message);
        sp_lp_destroy(lp);
        lp = corner(SP_LP_REAL);
        sp_lp_set_cost(lp, 1, bad[i]);
        cr_assert_eq(sp_lp_solve(lp, NULL, values, &result, &error), SP_SOLVER);
        cr_assert_not_null(strstr(error.message, "column 1"), "%s", error.message);
        sp_lp_destroy(lp);
    }
}

Test(lp, every_failed_allocation_is_reported)
{
    double values[2];
    for (int n = 0;; n++) {
        struct sp_lp_result result;
        struct sp_error error = {0};
        sp_alloc_fail_after(n);
        struct sp_lp *lp = sp_lp_create();
        enum sp_status status = SP_MEMORY;
        if (lp) {
            int32_t x = sp_lp_column(lp, SP_LP_REAL, 0, 1, -1);
            sp_lp_term(lp, sp_lp_row(lp, 0, 1), x, 1);
            status = sp_lp_solve(lp, NULL, values, &result, &error);
        }
        sp_alloc_fail_after(-1);
        sp_lp_destroy(lp);
        if (!status)
            break;
        cr_assert_eq(status, SP_MEMORY);
        cr_assert_lt(n, 50);
    }
}

static void *solve_often(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20; i++) {
        double values[ITEMS];
        struct sp_lp_limits limits = {.nodes = 20};
        solve(odd_sum(), &limits, values);
        struct sp_lp_result result = solve(corner(SP_LP_REAL), NULL, values);
        if (fabs(result.cost + 2.8) > 1e-9)
            return (void *)1;
    }
    return NULL;
}

Test(lp, threads_do_not_meet)
{
    pthread_t threads[2];
    void *failed;
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, solve_often, NULL), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        cr_assert_null(failed);
    }
}
