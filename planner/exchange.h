/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange policies' common ground. A policy finds the waves of the plan's order (waves.h), decides for
 * each wave which past tokens of whose pass are computed elsewhere, and appends that as parts.
 */
#ifndef SLIMPIPE_PLANNER_EXCHANGE_H
#define SLIMPIPE_PLANNER_EXCHANGE_H

#include "balance.h"
#include "slimpipe/cost.h"
#include "slimpipe/planner.h"
#include "waves.h"

extern const struct sp_exchange_policy sp_exchange_none, sp_exchange_pairwise, sp_exchange_optimal;

/* --- exchange_parts.c: parts in the making ----------------------------------------------------------- */

struct sp_exchange_parts;

struct sp_exchange_parts *sp_exchange_parts_create(void);
void sp_exchange_parts_destroy(struct sp_exchange_parts *parts);
/*
 * Past tokens [begin, end) of order.passes[requester] go to `device`, at order.passes[anchor]. Short memory
 * is remembered for sp_exchange_parts_take.
 */
void sp_exchange_parts_add(struct sp_exchange_parts *parts, uint64_t requester, uint64_t anchor,
                           uint32_t device, enum sp_anchor where, int64_t begin, int64_t end);
/* Puts the parts into plan's arena in their order. The policy's name is static text. */
enum sp_status sp_exchange_parts_take(const struct sp_exchange_parts *parts, const char *policy,
                                      struct sp_plan *plan, struct sp_error *error) SP_MUST_CHECK;

/* --- exchange_optimal.c: all waves of a plan --------------------------------------------------------- */

struct sp_exchange_settings {
    int64_t tile_tokens;   /* 0: 128, or less where an eighth of a slice is less */
    uint32_t partners;     /* others that a device exchanges with in a wave, at most; 0: no limit */
    int64_t guest_bytes;   /* of one layer that a helper may hold for others; 0: no limit */
    int64_t link_permille; /* messages are taken to last so much of what the cluster states; 0: as free */
    int64_t nodes;         /* of GLPK's search for fewer partners in a wave; 0: none */
    int64_t gain_permille; /* where messages take time: what a wave must gain for its moves to be made */
    bool idle_helps;       /* devices that have nothing to do in a wave take part */
};
extern const struct sp_exchange_settings sp_exchange_settings_default;

/* What was done, over all waves. */
struct sp_exchange_report {
    uint32_t waves, solved; /* equal waves are solved once */
    uint32_t rehearsed;     /* of the solved: where messages take time or layers differ */
    int64_t length_ps;      /* of all waves, one after the other, after the moves */
    double length_bound_ps; /* that no moves can beat, wave by wave, with free messages */
    int64_t tokens;         /* times layers, moved */
    double tokens_bound;    /* that no moves reaching the same lengths can beat, with free messages */
    int64_t early_bytes;    /* keys and values (backward: more) that go ahead, of all devices' ranks */
    uint64_t partners, partners_bound;
};

/* report may be NULL. */
enum sp_status sp_exchange_optimal_fill(struct sp_plan *plan, const struct sp_exchange_settings *settings,
                                        struct sp_exchange_report *report,
                                        struct sp_error *error) SP_MUST_CHECK;

/* --- exchange_wave.c: the moves of one wave ---------------------------------------------------------- */

struct sp_wave_solver;
struct sp_seating;
struct sp_sitter;

/* In arena. Borrows the rest. */
enum sp_status sp_wave_solver_create(const struct sp_plan *plan, const struct sp_cost *cost,
                                     const struct sp_exchange_settings *settings,
                                     const struct sp_seating *seating, struct sp_arena *arena,
                                     struct sp_wave_solver **ret_solver,
                                     struct sp_error *error) SP_MUST_CHECK;
void sp_wave_solver_finish(struct sp_wave_solver *solver);

struct sp_wave_moves {
    const struct sp_move *moves; /* in the solver's arena; by seat of sitters */
    struct sp_balance balance;   /* peak_ps as rehearsed where messages or layers ask for it */
};

/* Measures the sitters; waves alike are solved once. */
enum sp_status sp_wave_solver_run(struct sp_wave_solver *solver, struct sp_sitter *sitters, uint32_t count,
                                  const struct sp_wave_moves **ret_moves,
                                  struct sp_error *error) SP_MUST_CHECK;
/* Waves that were not like one before; and those of them that were rehearsed. */
void sp_wave_solver_count(const struct sp_wave_solver *solver, uint32_t *ret_solved, uint32_t *ret_rehearsed);

/* --- exchange_seats.c: from costs to what sp_balance_solve takes ------------------------------------- */

struct sp_seating;

/* In arena. Borrows the plan, the costs and the settings. */
enum sp_status sp_seating_create(const struct sp_plan *plan, const struct sp_cost *cost,
                                 const struct sp_exchange_settings *settings, struct sp_arena *arena,
                                 struct sp_seating **ret_seating, struct sp_error *error) SP_MUST_CHECK;

/* Tokens of a tile. */
int64_t sp_seating_tile(const struct sp_seating *seating);

/* One layer of a pass, in nanoseconds. */
struct sp_layer_times {
    double before, own, after; /* own: causal attention */
    double token, guest;       /* one past token at home, elsewhere */
    double merge, merge_token; /* of each partner's result, of each token that it took */
    int64_t layers, past;      /* past: tokens */
};

/* Somebody in a wave: the pass that it runs, or SP_NO_PASS where it is idle. */
struct sp_sitter {
    uint64_t pass;
    uint32_t device;
    struct sp_layer_times layer; /* of the pass; set by sp_seating_measure */
};

void sp_seating_measure(const struct sp_seating *seating, struct sp_sitter *sitters, uint32_t count);

/*
 * seats[i] is sitters[i]'s. At least one is not idle. link_permille: messages are taken to last so much of
 * what the cluster states; 0: they are free.
 */
void sp_seating_fill(const struct sp_seating *seating, const struct sp_sitter *sitters, uint32_t count,
                     int64_t link_permille, struct sp_seat *seats);

/* --- exchange_rehearsal.c: one wave, layer by layer -------------------------------------------------- */

/*
 * How long a wave lasts with these moves when all its passes begin together and its messages have the ports
 * for themselves: what the lowering would make of it, and the simulator of that, for the one wave.
 */
struct sp_rehearsal;
struct sp_rehearsal *sp_rehearsal_create(const struct sp_plan *plan, const struct sp_cost *cost,
                                         int64_t tile_tokens);
void sp_rehearsal_destroy(struct sp_rehearsal *rehearsal);
enum sp_status sp_rehearsal_run(struct sp_rehearsal *rehearsal, const struct sp_sitter *sitters,
                                uint32_t count, const struct sp_move *moves, uint32_t move_count,
                                double *ret_ns, struct sp_error *error) SP_MUST_CHECK;

#endif
