/* SPDX-License-Identifier: Apache-2.0 */
/* The linear and whole-number models behind balance.h. All answers are sums of what GLPK proved. */
#ifndef SLIMPIPE_PLANNER_BALANCE_LP_H
#define SLIMPIPE_PLANNER_BALANCE_LP_H

#include "balance.h"
#include "lp.h"

/*
 * The least level, moves of any size; helpers[i]: seat i takes guests, and pays its help_ps. Writes
 * ret_level when the outcome is SP_LP_OPTIMAL.
 */
enum sp_status sp_balance_lp_level(uint32_t count, const struct sp_seat *seats, const bool *helpers,
                                   double *ret_level, enum sp_lp_outcome *ret_outcome,
                                   struct sp_error *error) SP_MUST_CHECK;

/* The least tiles that have to move for this level, likewise. */
enum sp_status sp_balance_lp_tiles(uint32_t count, const struct sp_seat *seats, const bool *helpers,
                                   int64_t level, double *ret_tiles, enum sp_lp_outcome *ret_outcome,
                                   struct sp_error *error) SP_MUST_CHECK;

/* givers[i] has to give `tiles` of guest_ps each; helper j has free_ps of time and room for `tiles`. */
struct sp_partner_seat {
    uint32_t seat, tiles;
    uint32_t partners; /* at most; 0: no limit */
    int64_t time_ps;   /* guest_ps of a giver, free_ps of a helper */
};
struct sp_partner_model {
    uint32_t giver_count, helper_count;
    const struct sp_partner_seat *givers, *helpers;
    int64_t nodes;
};

/*
 * Fewest pairs that place all tiles. ret_moves has room for giver_count · helper_count and is written with
 * OPTIMAL and FEASIBLE; ret_bound: no placement has fewer.
 */
enum sp_status sp_balance_lp_partners(const struct sp_partner_model *model, struct sp_move *ret_moves,
                                      uint32_t *ret_count, uint32_t *ret_bound,
                                      enum sp_lp_outcome *ret_outcome, struct sp_error *error) SP_MUST_CHECK;

#endif
