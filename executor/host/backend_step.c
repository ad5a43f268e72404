/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an iteration: gradients of what several devices hold are summed, and the optimizer's step. */
#include "backend.h"

static bool in_list(const uint32_t *list, int count, uint32_t device)
{
    for (int i = 0; i < count; i++)
        if (list[i] == device)
            return true;
    return false;
}

/* Adds a stage's devices, ascending over all. */
static int add_holders(const struct sp_plan *plan, uint32_t stage, uint32_t *list, int count)
{
    const struct sp_stage *at = &plan->stages[stage];
    for (uint32_t d = 0; d < plan->order.device_count; d++) {
        bool held = at->device == d;
        for (uint32_t i = 0; i < at->replica_count; i++)
            held |= at->replicas[i] == d;
        if (held && !in_list(list, count, d))
            list[count++] = d;
    }
    return count;
}

/* The devices that hold the same parameters: the first sums up. */
static int holders_of(const struct host_state *s, const struct host_group *group, uint32_t *list)
{
    const struct sp_plan *plan = s->plan;
    uint32_t last = plan->stage_count - 1;
    bool matrix = group->kind == HOST_EMBEDDING || group->kind == HOST_HEAD;
    int count = 0;
    if (group->kind == HOST_LAYER) {
        for (uint32_t i = 0; i <= last; i++)
            if (group->layer >= plan->stages[i].layer_begin &&
                group->layer < plan->stages[i].layer_begin + plan->stages[i].layer_count)
                return add_holders(plan, i, list, 0);
        return 0;
    }
    if (group->kind == HOST_HEAD && sp_vocabulary_is_spread(plan->vocabulary)) {
        /* Whole where tokens are scattered; else everybody has columns of its own. */
        while (plan->vocabulary == SP_VOCABULARY_SCATTER && (uint32_t)count < plan->order.device_count) {
            list[count] = (uint32_t)count;
            count++;
        }
        return count;
    }
    if (group->kind == HOST_EMBEDDING || (matrix && s->model->tied_embeddings))
        count = add_holders(plan, 0, list, count);
    if (group->kind != HOST_EMBEDDING || s->model->tied_embeddings)
        count = add_holders(plan, last, list, count);
    return count;
}

static enum sp_status sum_up(struct host_state *s, struct host_group *group, const uint32_t *list, int count,
                             struct sp_error *error)
{
    const struct sp_device *device = s->device;
    int64_t bytes = group->count * (int64_t)sizeof(float);
    enum sp_status status = SP_OK;
    if (list[0] != device->number) {
        status = device->send(device, list[0], group->gradient, bytes, error);
        return status == SP_OK ? device->receive(device, list[0], group->gradient, bytes, error) : status;
    }
    float *more = sp_alloc((size_t)group->count, sizeof *more);
    if (!more)
        return sp_error_set(error, SP_MEMORY, "no memory for the gradient of another device");
    for (int i = 1; status == SP_OK && i < count; i++) {
        status = device->receive(device, list[i], more, bytes, error);
        if (status == SP_OK)
            s->math.kernels->add(group->count, more, group->gradient);
    }
    sp_free(more);
    for (int i = 1; status == SP_OK && i < count; i++)
        status = device->send(device, list[i], group->gradient, bytes, error);
    return status;
}

static void update(const struct host_state *s, struct host_group *group)
{
    const struct sp_training *training = s->device->training;
    const struct sp_host_adamw adamw = {.rate = training->rate,
                                        .beta1 = training->beta1,
                                        .beta2 = training->beta2,
                                        .epsilon = training->epsilon,
                                        .decay = training->decay,
                                        .gradient_scale = 1,
                                        .step = s->step + 1};
    if (training->keep_gradients)
        return;
    if (training->sgd)
        s->math.kernels->sgd(training->rate, group->count, group->gradient, group->weight);
    else
        s->math.kernels->adamw(&adamw, group->count, group->gradient, group->weight, group->first,
                               group->second);
}

enum sp_status sp_host_step(struct host_state *s, struct sp_error *error)
{
    uint32_t list[SP_MAX_DEVICES];
    s->stepped = true;
    for (int i = 0; i < s->group_count; i++) {
        int count = holders_of(s, &s->groups[i], list);
        if (count > 1) {
            enum sp_status status = sum_up(s, &s->groups[i], list, count, error);
            if (status != SP_OK)
                return status;
        }
        update(s, &s->groups[i]);
    }
    return SP_OK;
}
