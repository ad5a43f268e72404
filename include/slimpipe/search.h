/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search for a configuration: everything that a request leaves open is chosen, under the memory cap, for
 * the shortest iteration.
 *
 * All valid degrees, chunks, slices and microbatch sizes are enumerated; each is estimated from the costs of
 * its stages, and dropped when it cannot fit or its lower bound is above a better one's time. For the rest a
 * linear model (GLPK) chooses recompute per stage and offload per device; the best are planned in full and
 * simulated. The answer does not depend on the number of threads.
 */
#ifndef SLIMPIPE_SEARCH_H
#define SLIMPIPE_SEARCH_H

#include "slimpipe/planner.h"

/* Knobs that keep the request's value even where it is zero, which otherwise means "search". */
enum sp_search_fixed {
    SP_FIXED_RECOMPUTE = 1 << 0,
    SP_FIXED_OFFLOAD = 1 << 1,
    SP_FIXED_EXCHANGE = 1 << 2,
};

struct sp_search_request {
    /* Model, cluster, profile, gpus, sequence_tokens, batch_tokens or microbatches, cap; and every fixed
     * knob. */
    struct sp_request base;
    unsigned fixed;               /* enum sp_search_fixed */
    const char *const *schedules; /* NULL-terminated; NULL: slimpipe, interleaved, 1f1b */
    int top;                      /* plans to return; 0: 1 */
    int threads;                  /* 0: one per processor */
    /* Called now and then from the calling thread with the share of the work that is done, 0 … 1. */
    void (*progress)(void *context, double share);
    void *progress_context;
};

/* Why a configuration was dropped. */
enum sp_search_drop {
    SP_DROP_MEMORY,  /* fits at no recompute and offload that are allowed */
    SP_DROP_BOUND,   /* its lower bound is above a better one's estimate */
    SP_DROP_RANK,    /* estimated worse than those that were simulated */
    SP_DROP_INVALID, /* breaks a rule of the schedule or of divisibility that only planning showed */
    SP_DROPS
};
extern const char *const sp_search_drop_names[SP_DROPS];

/* A plan found. The pointers in request belong to the result. */
struct sp_found {
    struct sp_request request;
    int64_t estimate_ns; /* before simulation */
    int64_t time_ns, bound_ns, peak_bytes;
    double mfu, bubble;
};

struct sp_search_result {
    struct sp_arena *arena;
    int found_count; /* best first */
    struct sp_found *found;
    int64_t considered, simulated;
    int64_t dropped[SP_DROPS];
    /* The configuration that missed the cap by least, where any did. */
    bool has_nearest;
    struct sp_request nearest;
    int64_t nearest_overshoot;
};

/*
 * SP_INFEASIBLE when nothing fits: the message has the smallest overshoot and the knob that would fix it; the
 * result's counts are then filled all the same (found_count 0) and need sp_search_finish too.
 */
enum sp_status sp_search_run(const struct sp_search_request *request, struct sp_search_result *result,
                             struct sp_error *error) SP_MUST_CHECK;
void sp_search_finish(struct sp_search_result *result);

#endif
