/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One wave's exchange: how many tiles of whose past which device computes.
 *
 * A wave is a set of passes that start together, at most one on each device, none depending on another. Its
 * length is its largest load. Moving tiles of past keys and values from the passes above the others to the
 * ones below makes it shorter. Sought, in this order: the least length, the least tiles moved, the fewest
 * partners.
 *
 * The linear part is GLPK's: it gives the length and the volume that nothing can beat. The step to whole
 * tiles is made here, and costs at most one tile. Where all tiles take the same time, the length is the least
 * that whole tiles allow.
 */
#ifndef SLIMPIPE_PLANNER_BALANCE_H
#define SLIMPIPE_PLANNER_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/status.h"

/* One device in a wave. Times are picoseconds, so that one tile's nanoseconds are not rounded. */
struct sp_seat {
    int64_t load_ps;   /* its pass with nothing moved; idle: what guests must leave free */
    int64_t give_ps;   /* what moving one tile of its past away saves, > 0 where tiles is */
    int64_t guest_ps;  /* what that tile takes elsewhere, its share of the way back included, ≥ give_ps */
    int64_t help_ps;   /* what helping costs once, however little: messages that nothing hides */
    int64_t split_ps;  /* what each partner that it gives to costs it: merging that one's result */
    uint32_t tiles;    /* of its past that may move */
    uint32_t room;     /* tiles of others it may take */
    uint32_t partners; /* others that it may exchange with; 0: no limit */
};

/* `tiles` of seat from's past go to seat to. */
struct sp_move {
    uint32_t from, to, tiles;
};

struct sp_balance {
    int64_t peak_ps;         /* the largest load after the moves, help_ps included where it is due */
    double bound_ps;         /* no moves of any size make it smaller, with any number of partners */
    uint64_t tiles;          /* moved */
    double tiles_bound;      /* no moves that reach peak_ps are fewer */
    uint32_t partners;       /* pairs */
    uint32_t partners_bound; /* no moves that reach peak_ps need fewer pairs */
    uint32_t move_count;
};

/*
 * nodes: of GLPK's search for fewer partners; 0: none is made. ret_moves has room for
 * sp_balance_move_room(count); by from, then to. SP_MEMORY; never fails otherwise: where GLPK gives no
 * answer, the same sums are done here.
 */
enum sp_status sp_balance_solve(uint32_t count, const struct sp_seat *seats, int64_t nodes,
                                struct sp_move *ret_moves, struct sp_balance *ret_balance,
                                struct sp_error *error) SP_MUST_CHECK;

/* The same without GLPK: nothing is proven, the bounds are those of water filling and counting. */
enum sp_status sp_balance_estimate(uint32_t count, const struct sp_seat *seats, struct sp_move *ret_moves,
                                   struct sp_balance *ret_balance, struct sp_error *error) SP_MUST_CHECK;

uint32_t sp_balance_move_room(uint32_t count);

/*
 * The least length by water filling, moves of any size: the obvious method that GLPK's answer is compared
 * with. 0 for no seats.
 */
double sp_balance_level(uint32_t count, const struct sp_seat *seats);

#endif
