/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of sp_plan_compose. Messages call things what the command line calls them. */
#ifndef SLIMPIPE_PLANNER_COMPOSE_H
#define SLIMPIPE_PLANNER_COMPOSE_H

#include "slimpipe/planner.h"

struct composing {
    const struct sp_request *request;
    const struct sp_schedule *schedule;
    struct sp_plan *plan;
    struct sp_shape shape;
    struct sp_error *error;
};

#define COMPOSE_FAIL(composing, ...) sp_error_set((composing)->error, SP_INPUT, __VA_ARGS__)

/* Degrees, slices and microbatches, from the request alone. */
enum sp_status sp_compose_workload(struct composing *composing) SP_MUST_CHECK;
/* Stages with their devices and layers, for the shape, which is checked. */
enum sp_status sp_compose_stages(struct composing *composing) SP_MUST_CHECK;

/*
 * compose_divide.c: lengths of slices by the request's division, in tiles of `tile` tokens, where it is not
 * equal; the degrees are filled. *count: how many are asked for, 0: open; changed where the division chooses
 * it. *ret_tokens in the plan's arena.
 */
enum sp_status sp_compose_divide_slices(struct composing *composing, int64_t tile, uint32_t *count,
                                        int64_t **ret_tokens) SP_MUST_CHECK;
/* compose_divide.c: layers of `count` stages by time, for the vocabulary policy that the plan will have. */
enum sp_status sp_compose_divide_stages(struct composing *composing, struct sp_stage *stages,
                                        uint32_t count) SP_MUST_CHECK;

/* Fills a plan from sp_plan_create with everything but the order: enough for its costs. */
enum sp_status sp_compose_frame(const struct sp_request *request, struct sp_plan *plan,
                                struct sp_error *error) SP_MUST_CHECK;

#endif
