/* SPDX-License-Identifier: Apache-2.0 */
#include "compose.h"

#include <string.h>

#include "slimpipe/cost.h"

static enum sp_status find_schedule(struct composing *composing)
{
    const char *name = composing->request->schedule ? composing->request->schedule : "slimpipe";
    char list[512] = "";

    if ((composing->schedule = sp_schedule_find(name))) {
        composing->plan->schedule = composing->schedule->name;
        return SP_OK;
    }
    for (int i = 0; sp_schedules[i]; i++) {
        strncat(list, i ? ", " : "", sizeof(list) - strlen(list) - 1);
        strncat(list, sp_schedules[i]->name, sizeof(list) - strlen(list) - 1);
    }
    return COMPOSE_FAIL(composing, "schedule '%s': expected one of %s", name, list);
}

static enum sp_status fill_inputs(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    struct sp_plan *plan = composing->plan;

    if (!request->model == !request->costs)
        return COMPOSE_FAIL(composing, "expected a model or unit costs, %s",
                            request->model ? "not both" : "and neither is given");
    if (!request->model)
        return SP_OK; /* the costs are spread once the stages are counted */
    if (!request->cluster || !request->profile)
        return COMPOSE_FAIL(composing, "a model needs a cluster and its profile");
    plan->has_model = true;
    plan->model = *request->model;
    plan->cluster = *request->cluster;
    plan->profile = *request->profile;
    return SP_OK;
}

static int64_t mean_ns(const struct sp_plan *plan, const struct sp_cost *cost, enum sp_pass_kind kind)
{
    double sum = 0;

    for (uint32_t stage = 0; stage < plan->stage_count; stage++)
        for (uint32_t slice = 0; slice < plan->slice_count; slice++)
            sum += (double)sp_cost_pass_ns(
                cost,
                &(struct sp_pass){.stage = (uint16_t)stage, .slice = (uint16_t)slice, .kind = (uint8_t)kind});
    return (int64_t)(sum / plan->stage_count / plan->slice_count);
}

/* The times that some schedules look at. */
static enum sp_status fill_shape_times(struct composing *composing)
{
    const struct sp_plan *plan = composing->plan;
    struct sp_shape *shape = &composing->shape;
    struct sp_cost *cost;
    struct sp_transfer hop;
    enum sp_status status;

    if (!(composing->schedule->traits & SP_SCHEDULE_USES_COSTS))
        return SP_OK;
    if ((status = sp_cost_create(plan, &cost, composing->error)))
        return status;
    shape->forward_ns = mean_ns(plan, cost, SP_PASS_F);
    shape->input_ns = mean_ns(plan, cost, SP_PASS_I);
    shape->weight_ns = mean_ns(plan, cost, SP_PASS_W);
    hop = sp_cost_transfer(cost, 0, shape->devices > 1 ? 1 : 0, sp_cost_hop_bytes(cost, 0));
    shape->message_ns = hop.latency_ns + hop.busy_ns;
    sp_cost_destroy(cost);
    return SP_OK;
}

static enum sp_status fill_shape(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    const struct sp_schedule *schedule = composing->schedule;
    const struct sp_plan *plan = composing->plan;
    uint32_t default_chunks = schedule->default_chunks ? schedule->default_chunks : 1;

    composing->shape = (struct sp_shape){
        .devices = (uint32_t)plan->parallel.pipeline,
        .chunks = request->chunks ? request->chunks : default_chunks,
        .microbatches = (uint32_t)plan->workload.microbatches,
        .slices = plan->slice_count,
        .window = request->window,
        .group = request->group,
        .memory_units = request->memory_units,
        .stages = request->stages,
        .path_stages = request->path_stages,
    };
    if (!(schedule->traits & SP_SCHEDULE_SKIPS) && (request->stages || request->path_stages))
        return COMPOSE_FAIL(composing, "%s runs every stage: stages and path-stages are for skippipe",
                            schedule->name);
    return sp_schedule_check(schedule, &composing->shape, composing->error);
}

static void fill_policies(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    struct sp_plan *plan = composing->plan;
    bool scatters = strcmp(plan->schedule, "slimpipe") == 0 && plan->has_model && plan->parallel.pipeline > 1;

    plan->kv_gradient = request->kv_gradient;
    plan->memory_cap_bytes = request->memory_cap_bytes;
    plan->vocabulary = request->vocabulary_is_set ? request->vocabulary
                       : scatters                 ? SP_VOCABULARY_SCATTER
                                                  : SP_VOCABULARY_LAST;
}

static enum sp_status find_exchange(const struct composing *composing,
                                    const struct sp_exchange_policy **ret_policy)
{
    const char *name = composing->request->exchange ? composing->request->exchange : "none";
    const struct sp_exchange_policy *policy = sp_exchange_policy_find(name);
    char list[256] = "";

    if (policy) {
        composing->plan->exchange_policy = policy->name;
        *ret_policy = policy;
        return SP_OK;
    }
    for (int i = 0; sp_exchange_policies[i]; i++) {
        strncat(list, i ? ", " : "", sizeof(list) - strlen(list) - 1);
        strncat(list, sp_exchange_policies[i]->name, sizeof(list) - strlen(list) - 1);
    }
    return COMPOSE_FAIL(composing, "exchange '%s': expected one of %s", name, list);
}

static enum sp_status fill_paths(struct composing *composing)
{
    struct sp_plan *plan = composing->plan;

    if (!composing->schedule->paths)
        return SP_OK;
    return composing->schedule->paths(&composing->shape, plan->arena, &plan->path_begin, &plan->path_stages,
                                      composing->error);
}

static enum sp_status fill_order(struct composing *composing)
{
    struct sp_plan *plan = composing->plan;
    const struct sp_exchange_policy *policy = NULL;
    enum sp_status status;

    if ((status = fill_shape_times(composing)) || (status = fill_paths(composing)) ||
        (status = sp_schedule_order(composing->schedule, &composing->shape, plan->arena, &plan->order,
                                    composing->error)) ||
        (status = find_exchange(composing, &policy)))
        return status;
    if (sp_vocabulary_is_spread(plan->vocabulary) && (status = sp_vocabulary_place(plan, composing->error)))
        return status;
    if ((status = policy->fill(plan, composing->error)))
        return status;
    return sp_plan_check(plan, composing->error);
}

static enum sp_status fill_frame(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    struct sp_plan *plan = composing->plan;
    enum sp_status status;

    if ((status = find_schedule(composing)) || (status = fill_inputs(composing)) ||
        (status = sp_compose_workload(composing)) || (status = fill_shape(composing)))
        return status;
    fill_policies(composing);
    if ((status = sp_compose_stages(composing)))
        return status;
    if (request->costs &&
        (status = sp_pass_costs_spread(request->costs, request->cost_stages, plan->stage_count, plan->arena,
                                       &plan->costs, composing->error)))
        return status;
    return SP_OK;
}

enum sp_status sp_compose_frame(const struct sp_request *request, struct sp_plan *plan,
                                struct sp_error *error)
{
    struct composing composing = {.request = request, .plan = plan, .error = error};

    return fill_frame(&composing);
}

enum sp_status sp_plan_compose(const struct sp_request *request, struct sp_plan **ret_plan,
                               struct sp_error *error)
{
    struct composing composing = {.request = request, .plan = sp_plan_create(), .error = error};
    enum sp_status status;

    if (!composing.plan)
        return sp_error_set(error, SP_MEMORY, "no memory for the plan");
    status = fill_frame(&composing);
    if (!status)
        status = fill_order(&composing);
    if (status)
        sp_plan_destroy(composing.plan);
    else
        *ret_plan = composing.plan;
    return status;
}
