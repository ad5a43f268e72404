/* SPDX-License-Identifier: Apache-2.0 */
#include "balance_lp.h"

#include <math.h>

#include "slimpipe/arena.h"

/*
 * Level and volume: since any seat may help any other, pairs need not be told apart. In units of the wave's
 * longest tile, which keeps the matrix near one:
 *
 *     level + give_i · u_i − w_i ≥ load_i (+ help_i)    each seat i: u_i tiles given, w_i time taken
 *     Σ guest_i · u_i ≤ Σ w_i
 */
struct linear {
    struct sp_lp *lp;
    double unit;
    int32_t level;
    int32_t column_count;
};

static double longest_tile(uint32_t count, const struct sp_seat *seats)
{
    int64_t longest = 1;
    for (uint32_t i = 0; i < count; i++)
        if (seats[i].tiles && seats[i].guest_ps > longest)
            longest = seats[i].guest_ps;
    return (double)longest;
}

static void add_seat(struct linear *model, const struct sp_seat *seat, bool helps, int32_t work,
                     double tile_cost)
{
    double load = (double)seat->load_ps + (helps ? (double)seat->help_ps : 0);
    int32_t row = sp_lp_row(model->lp, load / model->unit, INFINITY);
    sp_lp_term(model->lp, row, model->level, 1);
    if (seat->tiles) {
        int32_t given = sp_lp_column(model->lp, SP_LP_REAL, 0, seat->tiles, tile_cost);
        sp_lp_term(model->lp, row, given, (double)seat->give_ps / model->unit);
        sp_lp_term(model->lp, work, given, (double)seat->guest_ps / model->unit);
        model->column_count++;
    }
    if (helps) {
        int32_t taken = sp_lp_column(model->lp, SP_LP_REAL, 0, seat->room, 0);
        sp_lp_term(model->lp, row, taken, -1);
        sp_lp_term(model->lp, work, taken, -1);
        model->column_count++;
    }
}

static bool linear_init(struct linear *model, uint32_t count, const struct sp_seat *seats,
                        const bool *helpers, double tile_cost)
{
    *model = (struct linear){.lp = sp_lp_create(), .unit = longest_tile(count, seats), .column_count = 1};
    if (!model->lp)
        return false;
    model->level = sp_lp_column(model->lp, SP_LP_REAL, 0, INFINITY, tile_cost > 0 ? 0 : 1);
    int32_t work = sp_lp_row(model->lp, -INFINITY, 0);
    for (uint32_t i = 0; i < count; i++)
        add_seat(model, &seats[i], helpers[i], work, tile_cost);
    return true;
}

static enum sp_status linear_solve(const struct linear *model, double *ret_cost,
                                   enum sp_lp_outcome *ret_outcome, struct sp_error *error)
{
    struct sp_lp_result result;
    double *values = sp_alloc((size_t)model->column_count, sizeof(*values));
    if (!values)
        return sp_error_set(error, SP_MEMORY, "no memory to balance a wave");
    enum sp_status status = sp_lp_solve(model->lp, NULL, values, &result, error);
    if (!status) {
        *ret_cost = result.cost;
        *ret_outcome = result.outcome;
    }
    sp_free(values);
    return status;
}

enum sp_status sp_balance_lp_level(uint32_t count, const struct sp_seat *seats, const bool *helpers,
                                   double *ret_level, enum sp_lp_outcome *ret_outcome, struct sp_error *error)
{
    struct linear model;
    double cost = 0;
    enum sp_status status = SP_MEMORY;
    if (linear_init(&model, count, seats, helpers, 0))
        status = linear_solve(&model, &cost, ret_outcome, error);
    else
        sp_error_set(error, status, "no memory to balance a wave");
    if (!status)
        *ret_level = cost * model.unit;
    sp_lp_destroy(model.lp);
    return status;
}

enum sp_status sp_balance_lp_tiles(uint32_t count, const struct sp_seat *seats, const bool *helpers,
                                   int64_t level, double *ret_tiles, enum sp_lp_outcome *ret_outcome,
                                   struct sp_error *error)
{
    struct linear model;
    enum sp_status status = SP_MEMORY;
    if (linear_init(&model, count, seats, helpers, 1)) {
        sp_lp_set_bounds(model.lp, model.level, 0, (double)level / model.unit);
        status = linear_solve(&model, ret_tiles, ret_outcome, error);
    } else {
        sp_error_set(error, status, "no memory to balance a wave");
    }
    sp_lp_destroy(model.lp);
    return status;
}

/* Tiles of this giver that fit the helper at most. */
static uint32_t pair_tiles(const struct sp_partner_seat *giver, const struct sp_partner_seat *helper)
{
    int64_t tiles = helper->time_ps / giver->time_ps;
    if (tiles > helper->tiles)
        tiles = helper->tiles;
    return tiles < giver->tiles ? (uint32_t)tiles : giver->tiles;
}

/* Columns 2k and 2k + 1 of pair k = giver · helpers + helper: tiles moved, and whether any are. */
static void add_pairs(struct sp_lp *lp, const struct sp_partner_model *model)
{
    for (uint32_t i = 0; i < model->giver_count; i++) {
        for (uint32_t j = 0; j < model->helper_count; j++) {
            uint32_t most = pair_tiles(&model->givers[i], &model->helpers[j]);
            int32_t tiles = sp_lp_column(lp, SP_LP_WHOLE, 0, most, 0);
            int32_t used = sp_lp_column(lp, SP_LP_WHOLE, 0, most ? 1 : 0, 1);
            int32_t row = sp_lp_row(lp, -INFINITY, 0);
            sp_lp_term(lp, row, tiles, 1);
            sp_lp_term(lp, row, used, -(double)most);
        }
    }
}

static double most_partners(const struct sp_partner_seat *seat)
{
    return seat->partners ? seat->partners : INFINITY;
}

static void add_giver(struct sp_lp *lp, const struct sp_partner_model *model, uint32_t i)
{
    int32_t all = sp_lp_row(lp, model->givers[i].tiles, model->givers[i].tiles);
    int32_t pairs = sp_lp_row(lp, 1, most_partners(&model->givers[i]));
    for (uint32_t j = 0; j < model->helper_count; j++) {
        int32_t tiles = (int32_t)(2 * (i * model->helper_count + j));
        sp_lp_term(lp, all, tiles, 1);
        sp_lp_term(lp, pairs, tiles + 1, 1);
    }
}

static void add_helper(struct sp_lp *lp, const struct sp_partner_model *model, uint32_t j)
{
    const struct sp_partner_seat *helper = &model->helpers[j];
    double unit = (double)model->givers[0].time_ps;
    int32_t time = sp_lp_row(lp, -INFINITY, (double)helper->time_ps / unit);
    int32_t room = sp_lp_row(lp, -INFINITY, helper->tiles);
    int32_t pairs = sp_lp_row(lp, -INFINITY, most_partners(helper));
    for (uint32_t i = 0; i < model->giver_count; i++) {
        int32_t tiles = (int32_t)(2 * (i * model->helper_count + j));
        sp_lp_term(lp, time, tiles, (double)model->givers[i].time_ps / unit);
        sp_lp_term(lp, room, tiles, 1);
        sp_lp_term(lp, pairs, tiles + 1, 1);
    }
}

static uint32_t read_moves(const struct sp_partner_model *model, const double *values, struct sp_move *moves)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->giver_count; i++) {
        for (uint32_t j = 0; j < model->helper_count; j++) {
            double tiles = values[2 * (i * model->helper_count + j)];
            if (tiles > 0.5)
                moves[count++] =
                    (struct sp_move){model->givers[i].seat, model->helpers[j].seat, (uint32_t)tiles};
        }
    }
    return count;
}

enum sp_status sp_balance_lp_partners(const struct sp_partner_model *model, struct sp_move *ret_moves,
                                      uint32_t *ret_count, uint32_t *ret_bound,
                                      enum sp_lp_outcome *ret_outcome, struct sp_error *error)
{
    struct sp_lp_limits limits = {.nodes = model->nodes};
    struct sp_lp_result result;
    size_t columns = 2 * (size_t)model->giver_count * model->helper_count;
    struct sp_lp *lp = sp_lp_create();
    double *values = sp_alloc(columns, sizeof(*values));
    enum sp_status status = SP_MEMORY;
    if (!lp || !values) {
        sp_error_set(error, status, "no memory to choose partners in a wave");
        goto out;
    }
    add_pairs(lp, model);
    for (uint32_t i = 0; i < model->giver_count; i++)
        add_giver(lp, model, i);
    for (uint32_t j = 0; j < model->helper_count; j++)
        add_helper(lp, model, j);
    status = sp_lp_solve(lp, &limits, values, &result, error);
    if (status)
        goto out;
    if (result.outcome == SP_LP_OPTIMAL || result.outcome == SP_LP_FEASIBLE)
        *ret_count = read_moves(model, values, ret_moves);
    *ret_bound = result.bound > 0 && isfinite(result.bound) ? (uint32_t)ceil(result.bound - 1e-6) : 0;
    *ret_outcome = result.outcome;
out:
    sp_free(values);
    sp_lp_destroy(lp);
    return status;
}
