/* SPDX-License-Identifier: Apache-2.0 */
#include "lp.h"

#include <assert.h>
#include <glpk.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include "slimpipe/arena.h"

struct column {
    enum sp_lp_kind kind;
    double lower, upper, cost;
};

struct row {
    double lower, upper;
};

struct term {
    int32_t row, column;
    double value;
};

struct sp_lp {
    int32_t column_count, column_room, row_count, row_room, term_count, term_room;
    struct column *columns;
    struct row *rows;
    struct term *terms;
    bool has_whole, out_of_memory;
};

struct sp_lp *sp_lp_create(void)
{
    return sp_alloc(1, sizeof(struct sp_lp));
}

void sp_lp_destroy(struct sp_lp *lp)
{
    if (!lp)
        return;
    sp_free(lp->columns);
    sp_free(lp->rows);
    sp_free(lp->terms);
    sp_free(lp);
}

/* Room for one more item; 0 when memory is short. */
static int grow(void **items, int32_t count, int32_t *room, size_t size)
{
    if (count < *room)
        return 1;
    if (*room > INT32_MAX / 2)
        return 0;
    int32_t more = *room ? *room * 2 : 32;
    void *block = sp_realloc(*items, (size_t)more, size);
    if (!block)
        return 0;
    *items = block;
    *room = more;
    return 1;
}

int32_t sp_lp_column(struct sp_lp *lp, enum sp_lp_kind kind, double lower, double upper, double cost)
{
    if (!grow((void **)&lp->columns, lp->column_count, &lp->column_room, sizeof(*lp->columns))) {
        lp->out_of_memory = true;
        return 0;
    }
    lp->has_whole |= kind == SP_LP_WHOLE;
    lp->columns[lp->column_count] = (struct column){kind, lower, upper, cost};
    return lp->column_count++;
}

int32_t sp_lp_row(struct sp_lp *lp, double lower, double upper)
{
    if (!grow((void **)&lp->rows, lp->row_count, &lp->row_room, sizeof(*lp->rows))) {
        lp->out_of_memory = true;
        return 0;
    }
    lp->rows[lp->row_count] = (struct row){lower, upper};
    return lp->row_count++;
}

void sp_lp_term(struct sp_lp *lp, int32_t row, int32_t column, double value)
{
    if (lp->out_of_memory)
        return;
    assert(row >= 0 && row < lp->row_count && column >= 0 && column < lp->column_count);
    if (!grow((void **)&lp->terms, lp->term_count, &lp->term_room, sizeof(*lp->terms))) {
        lp->out_of_memory = true;
        return;
    }
    lp->terms[lp->term_count++] = (struct term){row, column, value};
}

void sp_lp_set_cost(struct sp_lp *lp, int32_t column, double cost)
{
    if (lp->out_of_memory)
        return;
    assert(column >= 0 && column < lp->column_count);
    lp->columns[column].cost = cost;
}

void sp_lp_set_bounds(struct sp_lp *lp, int32_t column, double lower, double upper)
{
    if (lp->out_of_memory)
        return;
    assert(column >= 0 && column < lp->column_count);
    lp->columns[column].lower = lower;
    lp->columns[column].upper = upper;
}

/* Whole columns need whole bounds: GLPK refuses others. */
static double column_lower(const struct column *column)
{
    return column->kind == SP_LP_WHOLE ? ceil(column->lower - 1e-9) : column->lower;
}

static double column_upper(const struct column *column)
{
    return column->kind == SP_LP_WHOLE ? floor(column->upper + 1e-9) : column->upper;
}

static bool bounds_usable(double lower, double upper)
{
    return !isnan(lower) && !isnan(upper) && lower < INFINITY && upper > -INFINITY;
}

/* GLPK ends the process on an invalid call, so none may get through. */
static enum sp_status check_numbers(const struct sp_lp *lp, struct sp_error *error)
{
    for (int32_t i = 0; i < lp->column_count; i++) {
        const struct column *column = &lp->columns[i];
        if (!isfinite(column->cost) || !bounds_usable(column->lower, column->upper))
            return sp_error_set(error, SP_SOLVER, "column %d has cost %g and bounds %g … %g", i, column->cost,
                                column->lower, column->upper);
    }
    for (int32_t i = 0; i < lp->row_count; i++) {
        const struct row *row = &lp->rows[i];
        if (!bounds_usable(row->lower, row->upper))
            return sp_error_set(error, SP_SOLVER, "row %d has bounds %g … %g", i, row->lower, row->upper);
    }
    for (int32_t i = 0; i < lp->term_count; i++) {
        const struct term *term = &lp->terms[i];
        if (!isfinite(term->value))
            return sp_error_set(error, SP_SOLVER, "row %d, column %d: the factor is %g", term->row,
                                term->column, term->value);
    }
    return SP_OK;
}

static bool bounds_cross(const struct sp_lp *lp)
{
    for (int32_t i = 0; i < lp->column_count; i++)
        if (column_lower(&lp->columns[i]) > column_upper(&lp->columns[i]))
            return true;
    for (int32_t i = 0; i < lp->row_count; i++)
        if (lp->rows[i].lower > lp->rows[i].upper)
            return true;
    return false;
}

static int compare_terms(const void *a, const void *b)
{
    const struct term *s = a, *t = b;
    if (s->row != t->row)
        return s->row < t->row ? -1 : 1;
    return (s->column > t->column) - (s->column < t->column);
}

/* The matrix in GLPK's form: from 1, no pair twice. */
struct matrix {
    int count;
    int *rows, *columns;
    double *values;
    struct term *sorted;
};

static void matrix_finish(struct matrix *matrix)
{
    sp_free(matrix->rows);
    sp_free(matrix->columns);
    sp_free(matrix->values);
    sp_free(matrix->sorted);
}

static enum sp_status matrix_init(struct matrix *matrix, const struct sp_lp *lp, struct sp_error *error)
{
    size_t count = (size_t)lp->term_count;
    *matrix = (struct matrix){
        .rows = sp_alloc(count + 1, sizeof(int)),
        .columns = sp_alloc(count + 1, sizeof(int)),
        .values = sp_alloc(count + 1, sizeof(double)),
        .sorted = sp_alloc(count + 1, sizeof(struct term)),
    };
    if (!matrix->rows || !matrix->columns || !matrix->values || !matrix->sorted)
        return sp_error_set(error, SP_MEMORY, "no memory for a linear programme of %zu terms", count);
    for (size_t i = 0; i < count; i++)
        matrix->sorted[i] = lp->terms[i];
    qsort(matrix->sorted, count, sizeof(struct term), compare_terms);
    for (size_t i = 0; i < count; i++) {
        const struct term *term = &matrix->sorted[i];
        if (i && compare_terms(term - 1, term) == 0) {
            matrix->values[matrix->count] += term->value;
            continue;
        }
        int k = ++matrix->count;
        matrix->rows[k] = term->row + 1;
        matrix->columns[k] = term->column + 1;
        matrix->values[k] = term->value;
    }
    return SP_OK;
}

static int bounds_type(double lower, double upper)
{
    if (isinf(lower))
        return isinf(upper) ? GLP_FR : GLP_UP;
    if (isinf(upper))
        return GLP_LO;
    return lower == upper ? GLP_FX : GLP_DB;
}

static void load(glp_prob *problem, const struct sp_lp *lp, const struct matrix *matrix)
{
    glp_set_obj_dir(problem, GLP_MIN);
    if (lp->column_count)
        glp_add_cols(problem, lp->column_count);
    if (lp->row_count)
        glp_add_rows(problem, lp->row_count);
    for (int32_t i = 0; i < lp->column_count; i++) {
        const struct column *column = &lp->columns[i];
        double lower = column_lower(column), upper = column_upper(column);
        glp_set_col_kind(problem, i + 1, column->kind == SP_LP_WHOLE ? GLP_IV : GLP_CV);
        glp_set_col_bnds(problem, i + 1, bounds_type(lower, upper), lower, upper);
        glp_set_obj_coef(problem, i + 1, column->cost);
    }
    for (int32_t i = 0; i < lp->row_count; i++)
        glp_set_row_bnds(problem, i + 1, bounds_type(lp->rows[i].lower, lp->rows[i].upper), lp->rows[i].lower,
                         lp->rows[i].upper);
    glp_load_matrix(problem, matrix->count, matrix->rows, matrix->columns, matrix->values);
}

static int milliseconds_limit(const struct sp_lp_limits *limits)
{
    if (!limits || limits->milliseconds <= 0 || limits->milliseconds > INT_MAX)
        return INT_MAX;
    return (int)limits->milliseconds;
}

/* The outcome, or −1 where GLPK failed. With the presolver an infeasible model has only a return code. */
static int simplex_outcome(int code, int status)
{
    switch (code) {
    case 0:
        break;
    case GLP_ENOPFS:
        return SP_LP_INFEASIBLE;
    case GLP_ENODFS:
        return SP_LP_UNBOUNDED;
    case GLP_EITLIM:
    case GLP_ETMLIM:
        return status == GLP_FEAS || status == GLP_OPT ? SP_LP_FEASIBLE : SP_LP_UNKNOWN;
    default:
        return -1;
    }
    switch (status) {
    case GLP_OPT:
        return SP_LP_OPTIMAL;
    case GLP_FEAS:
        return SP_LP_FEASIBLE;
    case GLP_NOFEAS:
    case GLP_INFEAS:
        return SP_LP_INFEASIBLE;
    case GLP_UNBND:
        return SP_LP_UNBOUNDED;
    default:
        return -1;
    }
}

static int run_simplex(glp_prob *problem, const struct sp_lp_limits *limits, struct sp_lp_result *result)
{
    glp_smcp settings;
    glp_init_smcp(&settings);
    settings.msg_lev = GLP_MSG_OFF;
    settings.presolve = GLP_ON;
    settings.tm_lim = milliseconds_limit(limits);
    if (limits && limits->iterations > 0 && limits->iterations < INT_MAX) {
        /* The presolver gives no solution back when the simplex method stops early. */
        settings.presolve = GLP_OFF;
        settings.it_lim = (int)limits->iterations;
        glp_adv_basis(problem, 0);
    }
    int code = glp_simplex(problem, &settings);
    int outcome = simplex_outcome(code, glp_get_status(problem));
    if (outcome < 0)
        return code ? code : GLP_EFAIL;
    *result = (struct sp_lp_result){(enum sp_lp_outcome)outcome, glp_get_obj_val(problem), -INFINITY};
    if (outcome == SP_LP_OPTIMAL)
        result->bound = result->cost;
    return 0;
}

/* What the search tree tells while it grows. */
struct search {
    int64_t nodes_left; /* −1: no limit */
    double bound;
};

static void watch_search(glp_tree *tree, void *info)
{
    struct search *search = info;
    int best = glp_ios_best_node(tree);
    if (best)
        search->bound = fmax(search->bound, glp_ios_node_bound(tree, best));
    if (glp_ios_reason(tree) != GLP_ISELECT || search->nodes_left < 0)
        return;
    if (search->nodes_left-- == 0)
        glp_ios_terminate(tree);
}

static int search_outcome(int code, int status)
{
    switch (code) {
    case 0:
        break;
    case GLP_ENOPFS:
        return SP_LP_INFEASIBLE;
    case GLP_ENODFS:
        return SP_LP_UNBOUNDED;
    case GLP_EMIPGAP:
    case GLP_ETMLIM:
    case GLP_ESTOP:
        return status == GLP_FEAS || status == GLP_OPT ? SP_LP_FEASIBLE : SP_LP_UNKNOWN;
    default:
        return -1;
    }
    switch (status) {
    case GLP_OPT:
        return SP_LP_OPTIMAL;
    case GLP_FEAS:
        return SP_LP_FEASIBLE;
    case GLP_NOFEAS:
        return SP_LP_INFEASIBLE;
    default:
        return -1;
    }
}

static int run_search(glp_prob *problem, const struct sp_lp_limits *limits, struct sp_lp_result *result)
{
    struct search search = {limits && limits->nodes > 0 ? limits->nodes : -1, -INFINITY};
    glp_iocp settings;
    glp_init_iocp(&settings);
    settings.msg_lev = GLP_MSG_OFF;
    settings.presolve = GLP_ON;
    settings.tm_lim = milliseconds_limit(limits);
    settings.cb_func = watch_search;
    settings.cb_info = &search;
    int code = glp_intopt(problem, &settings);
    int outcome = search_outcome(code, glp_mip_status(problem));
    if (outcome < 0)
        return code ? code : GLP_EFAIL;
    *result = (struct sp_lp_result){(enum sp_lp_outcome)outcome, glp_mip_obj_val(problem), search.bound};
    if (outcome == SP_LP_OPTIMAL)
        result->bound = result->cost;
    else if (outcome == SP_LP_FEASIBLE)
        result->bound = fmin(result->bound, result->cost);
    return 0;
}

static void read_values(glp_prob *problem, const struct sp_lp *lp, double *ret_values)
{
    for (int32_t i = 0; i < lp->column_count; i++) {
        if (!lp->has_whole)
            ret_values[i] = glp_get_col_prim(problem, i + 1);
        else if (lp->columns[i].kind == SP_LP_WHOLE)
            ret_values[i] = round(glp_mip_col_val(problem, i + 1));
        else
            ret_values[i] = glp_mip_col_val(problem, i + 1);
    }
}

/* GLPK calls this instead of ending the process, also when its memory is short. */
static void leave_glpk(void *info)
{
    longjmp(*(jmp_buf *)info, 1);
}

/*
 * The environment is the thread's own and goes after every call: nothing stays allocated, and after a failure
 * it could not be used again anyway. Returns GLPK's code, 0: fine.
 */
static int call_glpk(const struct sp_lp *lp, const struct matrix *matrix, const struct sp_lp_limits *limits,
                     double *ret_values, struct sp_lp_result *result)
{
    jmp_buf failed;
    if (setjmp(failed)) {
        glp_free_env();
        return GLP_EFAIL;
    }
    glp_term_out(GLP_OFF);
    glp_error_hook(leave_glpk, &failed);
    glp_prob *problem = glp_create_prob();
    load(problem, lp, matrix);
    int code = lp->has_whole ? run_search(problem, limits, result) : run_simplex(problem, limits, result);
    if (!code && (result->outcome == SP_LP_OPTIMAL || result->outcome == SP_LP_FEASIBLE))
        read_values(problem, lp, ret_values);
    glp_delete_prob(problem);
    glp_free_env();
    return code;
}

static const char *code_text(int code)
{
    switch (code) {
    case GLP_EBADB:
    case GLP_ESING:
    case GLP_ECOND:
        return "the basis is unusable";
    case GLP_EROOT:
        return "there is no basis to start from";
    case GLP_EFAIL:
        return "it gave up";
    default:
        return "unexpected return code";
    }
}

/* The cheapest value of a column that no row holds; infinite where there is none. */
static double free_value(const struct column *column)
{
    double lower = column_lower(column), upper = column_upper(column);
    if (column->cost == 0)
        return fmin(fmax(0, lower), upper);
    return column->cost < 0 ? upper : lower;
}

/* GLPK's presolver does not take a model without rows, and each column is alone. */
static struct sp_lp_result solve_columns(const struct sp_lp *lp, double *ret_values)
{
    double cost = 0;
    for (int32_t i = 0; i < lp->column_count; i++)
        if (isinf(free_value(&lp->columns[i])))
            return (struct sp_lp_result){SP_LP_UNBOUNDED, 0, -INFINITY};
    for (int32_t i = 0; i < lp->column_count; i++) {
        ret_values[i] = free_value(&lp->columns[i]);
        cost += lp->columns[i].cost * ret_values[i];
    }
    return (struct sp_lp_result){SP_LP_OPTIMAL, cost, cost};
}

enum sp_status sp_lp_solve(const struct sp_lp *lp, const struct sp_lp_limits *limits, double *ret_values,
                           struct sp_lp_result *ret_result, struct sp_error *error)
{
    if (lp->out_of_memory)
        return sp_error_set(error, SP_MEMORY,
                            "no memory for a linear programme of %d columns, %d rows and %d terms",
                            lp->column_count, lp->row_count, lp->term_count);
    enum sp_status status = check_numbers(lp, error);
    if (status)
        return status;
    if (bounds_cross(lp)) {
        *ret_result = (struct sp_lp_result){SP_LP_INFEASIBLE, 0, INFINITY};
        return SP_OK;
    }
    if (!lp->row_count) {
        *ret_result = solve_columns(lp, ret_values);
        return SP_OK;
    }
    struct matrix matrix = {0};
    struct sp_lp_result result = {SP_LP_UNKNOWN, 0, -INFINITY};
    status = matrix_init(&matrix, lp, error);
    if (!status) {
        int code = call_glpk(lp, &matrix, limits, ret_values, &result);
        if (code)
            status = sp_error_set(error, SP_SOLVER, "GLPK, %d columns and %d rows: %s (code %d)",
                                  lp->column_count, lp->row_count, code_text(code), code);
    }
    matrix_finish(&matrix);
    if (!status)
        *ret_result = result;
    return status;
}
