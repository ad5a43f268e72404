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

/* Fills a plan from sp_plan_create with everything but the order: enough for its costs. */
enum sp_status sp_compose_frame(const struct sp_request *request, struct sp_plan *plan,
                                struct sp_error *error) SP_MUST_CHECK;

#endif
