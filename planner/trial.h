/* SPDX-License-Identifier: Apache-2.0 */
/* A candidate planned in full and simulated, its memory held against the cap by the ledger. */
#ifndef SLIMPIPE_PLANNER_TRIAL_H
#define SLIMPIPE_PLANNER_TRIAL_H

#include "candidate.h"

struct trial {
    struct sp_arena *arena; /* owns the request's arrays and the assignment */
    struct sp_found found;
    struct candidate candidate;
    struct assignment assignment;
    enum sp_status status; /* SP_INFEASIBLE: above the cap */
    struct sp_error error; /* unless SP_OK */
    int64_t overshoot;     /* bytes above the cap; ≤ 0: below */
    int variations;        /* simulated by sp_trial_polish */
    size_t place;          /* breaks ties */
};

/*
 * Plans and simulates; where the ledger is above the cap, the assignment is made anew with less memory, a few
 * times. Needs sp_trial_drop whatever the status.
 */
void sp_trial_run(const struct sp_search_request *search, const struct candidate *candidate,
                  const struct estimate *estimate, const struct assignment *assignment,
                  struct trial *ret_trial);
/*
 * Hill climbing on the simulator: less recompute on one chunk of all devices or on one device, less offload,
 * the other window; what is faster and fits is kept. At most `rounds` improvements.
 */
void sp_trial_polish(const struct sp_search_request *search, struct trial *trial, int rounds);
/* Copies what was found, arrays into arena. False when memory is short. */
bool sp_trial_copy(const struct trial *trial, struct sp_arena *arena, struct sp_found *ret_found);
void sp_trial_drop(struct trial *trial);

#endif
