/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of a device: where they lie, their names, and their first values. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"

static bool holds(const struct sp_stage *stage, uint32_t device)
{
    bool held = stage->device == device;
    for (uint32_t i = 0; i < stage->replica_count; i++)
        held |= stage->replicas[i] == device;
    return held;
}

/* --- First values -------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Of about a normal distribution: the sum of four uniform ones; the same for every cut of the model. */
static float normal(uint64_t key, int64_t index)
{
    uint64_t bits = mix(key ^ mix((uint64_t)index));
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)(bits >> (16 * i) & 0xffff) / 32768 - 1;
    return sum * 0.8660254f;
}

static void fill(float *x, int64_t count, uint64_t key, int64_t first, float deviation)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = deviation * normal(key, first + i);
}

static void fill_layer(const struct host_state *s, const struct host_group *group, uint64_t key)
{
    const struct sp_model *model = s->model;
    float deviation = 0.55f / sqrtf((float)model->hidden);
    struct sp_host_weights w;
    int64_t q = model->heads * model->head_dim, h = model->hidden;
    fill(group->weight, group->count, key, 0, deviation);
    sp_host_weights_bind(model, group->weight, &w);
    for (int64_t i = 0; i < h; i++)
        w.norm1[i] = w.norm2[i] = 1;
    for (int64_t i = 0; w.q_norm && i < model->head_dim; i++)
        w.q_norm[i] = w.k_norm[i] = 1;
    if (w.q_bias)
        memset(w.q_bias, 0, (size_t)(q + 2 * model->kv_heads * model->head_dim) * sizeof(float));
}

static void fill_group(const struct host_state *s, const struct host_group *group)
{
    uint64_t key = mix(s->device->training->seed * 1024 + (uint64_t)group->kind) + (uint64_t)group->layer;
    float deviation = 0.55f / sqrtf((float)s->model->hidden);
    if (group->kind == HOST_LAYER) {
        fill_layer(s, group, key);
    } else if (group->kind == HOST_NORM) {
        for (int64_t i = 0; i < group->count; i++)
            group->weight[i] = 1;
    } else {
        if (s->model->tied_embeddings)
            key = mix(s->device->training->seed * 1024 + HOST_EMBEDDING);
        fill(group->weight, group->count, key, group->first_row * s->model->hidden, deviation);
    }
}

/* --- Where they lie ------------------------------------------------------------------------------------ */

static enum sp_status add_group(struct host_state *s, struct host_group group, struct sp_error *error)
{
    int64_t bytes = group.count * (int64_t)sizeof(float);
    group.weight = sp_host_take(s, SP_MEMORY_WEIGHTS, bytes, error);
    group.gradient = sp_host_take(s, SP_MEMORY_GRADIENTS, bytes, error);
    group.first = sp_host_take(s, SP_MEMORY_OPTIMIZER, bytes, error);
    group.second = sp_host_take(s, SP_MEMORY_OPTIMIZER, bytes, error);
    if (!group.weight || !group.gradient || !group.first || !group.second)
        return SP_MEMORY;
    memset(group.gradient, 0, (size_t)bytes);
    memset(group.first, 0, (size_t)bytes);
    memset(group.second, 0, (size_t)bytes);
    fill_group(s, &group);
    s->groups[s->group_count++] = group;
    return SP_OK;
}

static enum sp_status add_stage(struct host_state *s, uint32_t number, struct sp_error *error)
{
    const struct sp_stage *plan_stage = &s->plan->stages[number];
    struct host_stage *stage = &s->stages[s->stage_count];
    uint32_t layers = plan_stage->layer_count;
    stage->number = number;
    stage->weights = sp_arena_alloc(s->arena, layers, sizeof *stage->weights);
    stage->gradients = sp_arena_alloc(s->arena, layers, sizeof *stage->gradients);
    stage->units = sp_arena_alloc(s->arena, (size_t)s->plan->workload.microbatches * s->plan->slice_count,
                                  sizeof *stage->units);
    if (!stage->weights || !stage->gradients || !stage->units)
        return sp_error_set(error, SP_MEMORY, "no memory for stage %u", number);
    s->stage_of[number] = (int32_t)s->stage_count++;
    for (uint32_t k = 0; k < layers; k++) {
        struct host_group group = {.kind = HOST_LAYER,
                                   .layer = plan_stage->layer_begin + k,
                                   .count = sp_host_weight_floats(s->model)};
        enum sp_status status = add_group(s, group, error);
        if (status != SP_OK)
            return status;
        sp_host_weights_bind(s->model, s->groups[s->group_count - 1].weight, &stage->weights[k]);
        sp_host_weights_bind(s->model, s->groups[s->group_count - 1].gradient, &stage->gradients[k]);
    }
    return SP_OK;
}

static enum sp_status add_matrix(struct host_state *s, int kind, int64_t first_row, int64_t rows,
                                 struct host_group **ret_group, struct sp_error *error)
{
    struct host_group group = {.first_row = first_row, .count = rows * s->model->hidden};
    group.kind = kind;
    enum sp_status status = add_group(s, group, error);
    if (status == SP_OK)
        *ret_group = &s->groups[s->group_count - 1];
    return status;
}

/* The matrices of the vocabulary, and the final norm. */
static enum sp_status add_ends(struct host_state *s, struct sp_error *error)
{
    const struct sp_plan *plan = s->plan;
    uint32_t device = s->device->number;
    bool first = holds(&plan->stages[0], device), last = holds(&plan->stages[plan->stage_count - 1], device);
    enum sp_status status = SP_OK;
    if (last) {
        struct host_group norm = {.kind = HOST_NORM, .count = s->model->hidden};
        status = add_group(s, norm, error);
        s->norm = &s->groups[s->group_count - 1];
    }
    if (status == SP_OK && first)
        status = add_matrix(s, HOST_EMBEDDING, 0, s->model->vocab, &s->embedding, error);
    if (status == SP_OK && sp_vocabulary_is_spread(plan->vocabulary)) {
        status = add_group(s, sp_host_spread_head(s), error);
        s->head = &s->groups[s->group_count - 1];
        return status;
    }
    if (status == SP_OK && last && first && s->model->tied_embeddings)
        s->head = s->embedding;
    else if (status == SP_OK && last)
        status = add_matrix(s, HOST_HEAD, 0, s->model->vocab, &s->head, error);
    return status;
}

enum sp_status sp_host_create_groups(struct host_state *s, struct sp_error *error)
{
    const struct sp_plan *plan = s->plan;
    uint32_t stages = 0, layers = 0, device = s->device->number;
    for (uint32_t i = 0; i < plan->stage_count; i++)
        if (holds(&plan->stages[i], device)) {
            stages++;
            layers += plan->stages[i].layer_count;
        }
    s->groups = sp_arena_alloc(s->arena, layers + 3, sizeof *s->groups);
    s->stages = sp_arena_alloc(s->arena, stages + 1, sizeof *s->stages);
    s->stage_of = sp_arena_alloc(s->arena, plan->stage_count, sizeof *s->stage_of);
    if (!s->groups || !s->stages || !s->stage_of)
        return sp_error_set(error, SP_MEMORY, "no memory for %u stages", stages);
    memset(s->stage_of, 0xff, plan->stage_count * sizeof *s->stage_of);
    enum sp_status status = SP_OK;
    for (uint32_t i = 0; status == SP_OK && i < plan->stage_count; i++)
        if (holds(&plan->stages[i], device))
            status = add_stage(s, i, error);
    return status == SP_OK ? add_ends(s, error) : status;
}

/* --- Names --------------------------------------------------------------------------------------------- */

bool sp_host_group_tensor(const struct host_state *s, int index, struct sp_tensor *ret_tensor)
{
    if (index >= s->group_count)
        return false;
    const struct host_group *group = &s->groups[index];
    *ret_tensor = (struct sp_tensor){.offset = group->first_row * s->model->hidden,
                                     .count = group->count,
                                     .whole = group->count,
                                     .weight = group->weight,
                                     .gradient = group->gradient,
                                     .first = group->first,
                                     .second = group->second};
    size_t size = sizeof ret_tensor->name;
    if (group->kind == HOST_LAYER)
        snprintf(ret_tensor->name, size, "model.layers.%ld", (long)group->layer);
    else if (group->kind == HOST_NORM)
        snprintf(ret_tensor->name, size, "model.norm");
    else if (group->kind == HOST_EMBEDDING || s->model->tied_embeddings)
        snprintf(ret_tensor->name, size, "model.embed_tokens");
    else
        snprintf(ret_tensor->name, size, "lm_head");
    if (group->kind == HOST_EMBEDDING || group->kind == HOST_HEAD)
        ret_tensor->whole = s->model->vocab * s->model->hidden;
    /* The last share of a matrix may reach beyond its end. */
    if (ret_tensor->offset + ret_tensor->count > ret_tensor->whole && group->kind == HOST_HEAD)
        ret_tensor->count = ret_tensor->whole - ret_tensor->offset;
    return true;
}
