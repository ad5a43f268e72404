/* SPDX-License-Identifier: Apache-2.0 */
#include "compose.h"

static enum sp_status out_of_memory(const struct composing *composing)
{
    return sp_error_set(composing->error, SP_MEMORY, "no memory for the plan");
}

static enum sp_status copy_layers(struct composing *composing, struct sp_stage *stages, uint32_t count)
{
    const struct sp_request *request = composing->request;
    uint64_t sum = 0;

    if (request->stage_layer_count && request->stage_layer_count != count)
        return COMPOSE_FAIL(composing, "stage-layers: %u stages; expected pp x vpp = %u x %u",
                            request->stage_layer_count, composing->shape.devices, composing->shape.chunks);
    for (uint32_t s = 0; s < count; s++) {
        stages[s].layer_count = request->stage_layers[s];
        sum += stages[s].layer_count;
    }
    if (request->model && sum != (uint64_t)request->model->layers)
        return COMPOSE_FAIL(composing, "stage-layers: their sum is %llu; expected the %lld layers of %s",
                            (unsigned long long)sum, (long long)request->model->layers, request->model->name);
    return SP_OK;
}

/*
 * Position i of `count` places, the middle ones first, the last one last: what is left over goes away from
 * the ends, where the embedding and, heavier, the output layer are.
 */
static uint32_t middle_out(uint32_t i, uint32_t count)
{
    uint32_t middle = (count - 1) / 2, step = (i + 1) / 2;
    bool up = (i % 2 == 1) == (count % 2 == 0);

    return up ? middle + step : middle - step;
}

/* Rows of p stages, one per device, get a layer more as a whole; the last such row only in its middle. */
static void spread_layers(const struct composing *composing, struct sp_stage *stages, uint32_t count)
{
    uint32_t layers = (uint32_t)composing->request->model->layers;
    uint32_t devices = composing->shape.devices, rows = count / devices;
    uint32_t more = layers % count;

    for (uint32_t s = 0; s < count; s++)
        stages[s].layer_count = layers / count;
    for (uint32_t r = 0; r < rows && more; r++) {
        struct sp_stage *row = stages + (size_t)middle_out(r, rows) * devices;
        for (uint32_t i = 0; i < devices && more; i++, more--)
            row[middle_out(i, devices)].layer_count++;
    }
}

static enum sp_status fill_layers(struct composing *composing, struct sp_stage *stages, uint32_t count)
{
    const struct sp_model *model = composing->request->model;
    enum sp_status status = SP_OK;

    if (composing->request->stage_layers)
        status = copy_layers(composing, stages, count);
    else if (model && count > (uint64_t)model->layers)
        return COMPOSE_FAIL(composing, "pp x vpp = %u x %u stages: expected at most the %lld layers of %s",
                            composing->shape.devices, composing->shape.chunks, (long long)model->layers,
                            model->name);
    else if (model && composing->request->stage_division == SP_STAGES_WORK)
        status = sp_compose_divide_stages(composing, stages, count);
    else if (model)
        spread_layers(composing, stages, count);
    for (uint32_t s = 1; s < count; s++)
        stages[s].layer_begin = stages[s - 1].layer_begin + stages[s - 1].layer_count;
    return status;
}

static enum sp_status place_replicas(const struct composing *composing, struct sp_stage *stage,
                                     uint32_t number)
{
    const struct sp_shape *shape = &composing->shape;
    uint32_t count = 0, *replicas;

    while (sp_schedule_replica(composing->schedule, shape, number, count) != SP_NO_DEVICE)
        count++;
    if (count == 0)
        return SP_OK;
    if (!(replicas = sp_arena_alloc(composing->plan->arena, count, sizeof(*replicas))))
        return out_of_memory(composing);
    for (uint32_t k = 0; k < count; k++)
        replicas[k] = sp_schedule_replica(composing->schedule, shape, number, k);
    stage->replicas = replicas;
    stage->replica_count = count;
    return SP_OK;
}

static enum sp_status place_stage(const struct composing *composing, struct sp_stage *stage, uint32_t number)
{
    const struct sp_schedule *schedule = composing->schedule;
    const struct sp_request *request = composing->request;

    stage->device = sp_schedule_device(schedule, &composing->shape, number);
    stage->recompute = request->stage_recompute ? request->stage_recompute[number] : request->recompute;
    stage->offload_permille =
        request->stage_offload ? request->stage_offload[number] : request->offload_permille;
    if (schedule->traits & SP_SCHEDULE_OFFLOADS && !request->stage_offload && !request->offload_permille)
        stage->offload_permille = 1000; /* its order says which units leave */
    stage->train = schedule->traits & SP_SCHEDULE_FORWARD_ONLY ? SP_TRAIN_NONE : SP_TRAIN_FULL;
    return place_replicas(composing, stage, number);
}

enum sp_status sp_compose_stages(struct composing *composing)
{
    struct sp_plan *plan = composing->plan;
    uint32_t count =
        sp_schedule_stage_count(composing->schedule, &composing->shape); /* the shape is checked */
    enum sp_status status = SP_OK;

    if (!(plan->stages = sp_arena_alloc(plan->arena, count, sizeof(*plan->stages))))
        return out_of_memory(composing);
    plan->stage_count = count;
    for (uint32_t s = 0; s < count && !status; s++)
        status = place_stage(composing, &plan->stages[s], s);
    if (!status)
        status = fill_layers(composing, plan->stages, count);
    return status;
}
