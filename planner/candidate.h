/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One configuration under consideration, and what is known of it before it is planned in full.
 *
 * The estimate treats a schedule as its profile: units in flight per device and the idle share of its order
 * with equal passes. It takes peaks of different categories as if they came together, so it errs on the side
 * of memory; the ledger of the full plan has the last word.
 */
#ifndef SLIMPIPE_PLANNER_CANDIDATE_H
#define SLIMPIPE_PLANNER_CANDIDATE_H

#include "slimpipe/search.h"

enum { RECOMPUTE_POLICIES = 3 };

struct candidate {
    const struct sp_schedule *schedule;
    struct sp_parallel parallel;
    uint32_t chunks, slices;
    int64_t microbatch_sequences, microbatches;
    double lower_ns;    /* no choice of recompute, offload or exchange is faster */
    double estimate_ns; /* with the assignment below */
    int64_t overshoot;  /* bytes above the cap with the least memory that can be had; ≤ 0: fits */
    uint32_t lightest;  /* device of that overshoot */
};

/* What an order does whatever its passes cost. */
struct order_profile {
    double idle;           /* share of time with equal passes, B = 2 F, free messages */
    uint32_t *in_flight;   /* per device: units (chunk, microbatch, slice) held at most */
    uint32_t *kv_gradient; /* per device: slices of KV gradient held at most, compact form */
};

/* A device's costs over one microbatch, with one recompute policy on all its stages. */
struct device_costs {
    double time_ns[RECOMPUTE_POLICIES];      /* all passes but S and T */
    int64_t activations[RECOMPUTE_POLICIES]; /* of all its units of one microbatch, not offloaded */
    int64_t recompute[RECOMPUTE_POLICIES];   /* the buffer of one backward */
    int64_t offloadable[RECOMPUTE_POLICIES]; /* of a unit, at full share */
    double output_ns, step_ns;
    int64_t resident, kv, kv_gradient, logits,
        messages; /* kv: of all units of one microbatch; gradient: a slice */
};

struct estimate {
    uint32_t devices;
    uint32_t units; /* of a device and microbatch: n·v */
    struct order_profile profile;
    struct device_costs *costs;
};

/* The chosen recompute and offload. */
struct assignment {
    uint32_t (*stages)[RECOMPUTE_POLICIES]; /* per device: stages with each policy */
    uint32_t *offload_permille;             /* per device */
    double slowest_ns;                      /* device time of one microbatch */
};

/* candidate.c. The request with everything chosen, ready for sp_plan_compose; arrays are left to the caller.
 */
struct sp_request sp_candidate_request(const struct sp_search_request *search,
                                       const struct candidate *candidate);

/* order_profile.c. In arena. SP_INPUT where the schedule refuses the shape. */
enum sp_status sp_order_profile_get(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                    bool expanded, struct sp_arena *arena, struct order_profile *ret_profile,
                                    struct sp_error *error) SP_MUST_CHECK;

/* estimate.c. In arena; fills lower_ns. Uses the candidate's profile. */
enum sp_status sp_estimate_create(const struct sp_search_request *search, struct candidate *candidate,
                                  const struct order_profile *profile, struct sp_arena *arena,
                                  struct estimate *ret_estimate, struct sp_error *error) SP_MUST_CHECK;
/* Iteration time when the slowest device takes microbatch_ns for its part of a microbatch. */
double sp_estimate_time(const struct candidate *candidate, const struct estimate *estimate,
                        double microbatch_ns);

/* assign.c. Recompute and offload under the cap (0: none) by GLPK; SP_INFEASIBLE fills candidate->overshoot.
 */
enum sp_status sp_assign_solve(const struct sp_search_request *search, struct candidate *candidate,
                               const struct estimate *estimate, int64_t cap, struct sp_arena *arena,
                               struct assignment *ret_assignment, struct sp_error *error) SP_MUST_CHECK;

/* enumerate.c. All candidates in a fixed order; *ret_list is freed with sp_free. */
enum sp_status sp_enumerate_candidates(const struct sp_search_request *search, struct candidate **ret_list,
                                       size_t *ret_count, struct sp_error *error) SP_MUST_CHECK;

#endif
