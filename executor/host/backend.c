/* SPDX-License-Identifier: Apache-2.0 */
/* The host backend: a device's instructions on this machine's processor, in float32. */
#include "backend.h"
#include <assert.h>

#include <inttypes.h>
#include <string.h>

#include "../registry.h"
#include "measure.h"

static const char *probe(void)
{
    return NULL;
}

/* --- What it runs -------------------------------------------------------------------------------------- */

static enum sp_status check_degrees(const struct sp_plan *plan, struct sp_error *error)
{
    const struct {
        const char *name;
        int64_t degree;
    } degrees[] = {{"tensor", plan->parallel.tensor},
                   {"context", plan->parallel.context},
                   {"expert", plan->parallel.expert},
                   {"data", plan->parallel.data}};
    for (size_t i = 0; i < sizeof degrees / sizeof *degrees; i++)
        if (degrees[i].degree > 1)
            return sp_error_set(error, SP_UNSUPPORTED,
                                "backend host: the plan's %s degree is %" PRId64 "; it runs 1 for now",
                                degrees[i].name, degrees[i].degree);
    return SP_OK;
}

static enum sp_status check_stages(const struct sp_plan *plan, struct sp_error *error)
{
    for (uint32_t i = 0; i < plan->stage_count; i++) {
        if (plan->stages[i].train != SP_TRAIN_FULL)
            return sp_error_set(error, SP_UNSUPPORTED,
                                "backend host: stage %u is not trained in full; it runs only such", i);
        if (plan->stages[i].offload_permille > 0)
            return sp_error_set(error, SP_UNSUPPORTED,
                                "backend host: stage %u offloads activations; it keeps them, for now", i);
    }
    return SP_OK;
}

static enum sp_status check(const struct sp_program *program, struct sp_error *error)
{
    const struct sp_plan *plan = program->plan;
    enum sp_status status;
    if (!plan->has_model)
        return sp_error_set(error, SP_UNSUPPORTED,
                            "backend host: the plan has no model, only costs of passes");
    if (plan->cluster.precision != SP_PRECISION_FLOAT32)
        return sp_error_set(
            error, SP_UNSUPPORTED,
            "backend host: cluster %s counts bf16; plan for one with precision float32, such as "
            "host",
            plan->cluster.name);
    if (plan->path_begin)
        return sp_error_set(error, SP_UNSUPPORTED,
                            "backend host: microbatches skip stages; it trains whole models");
    if (plan->kv_gradient == SP_KV_GRADIENT_EXPANDED && plan->slice_count > 1)
        return sp_error_set(error, SP_UNSUPPORTED, "backend host: kv_gradient is expanded; it runs compact");
    if (plan->vocabulary == SP_VOCABULARY_SHARD2)
        return sp_error_set(
            error, SP_UNSUPPORTED,
            "backend host: vocabulary is shard2; it runs last, tiled, scatter and shard1, for now");
    if (sp_vocabulary_is_spread(plan->vocabulary) && plan->model.tied_embeddings)
        return sp_error_set(
            error, SP_UNSUPPORTED,
            "backend host: vocabulary is %s and embeddings are tied; it runs last and tiled with "
            "such, for now",
            sp_vocabulary_names[plan->vocabulary]);
    if ((status = check_degrees(plan, error)) || (status = check_stages(plan, error)))
        return status;
    return sp_host_model_check(&plan->model, error);
}

/* --- Creating ------------------------------------------------------------------------------------------ */

static enum sp_status check_training(const struct host_state *s, struct sp_error *error)
{
    const struct sp_training *training = s->device->training;
    int64_t needed = s->plan->workload.sequence_tokens + 1;
    if (!training->tokens || training->token_count < needed)
        return sp_error_set(error, SP_INPUT, "the text has %" PRId64 " tokens: expected at least %" PRId64,
                            training->token_count, needed);
    for (int64_t i = 0; i < training->token_count; i++)
        if (training->tokens[i] < 0 || training->tokens[i] >= s->model->vocab)
            return sp_error_set(error, SP_INPUT,
                                "token %" PRId64 " of the text is %d: expected 0 to %" PRId64
                                ", the vocabulary",
                                i, (int)training->tokens[i], s->model->vocab - 1);
    return SP_OK;
}

static bool allocate_tables(struct host_state *s)
{
    int64_t half = s->model->head_dim / 2;
    uint32_t slices = s->plan->slice_count;
    s->cosine = sp_arena_alloc(s->arena, slices, sizeof *s->cosine);
    s->sine = sp_arena_alloc(s->arena, slices, sizeof *s->sine);
    for (uint32_t i = 0; s->cosine && s->sine && i < slices; i++) {
        int64_t tokens = s->plan->slice_tokens[i];
        s->cosine[i] = sp_arena_alloc(s->arena, (size_t)(tokens * half), sizeof(float));
        s->sine[i] = sp_arena_alloc(s->arena, (size_t)(tokens * half), sizeof(float));
        if (!s->cosine[i] || !s->sine[i])
            return false;
        sp_host_rotary_table(sp_plan_slice_begin(s->plan, i), tokens, s->model->head_dim,
                             s->model->rope_theta, s->cosine[i], s->sine[i]);
    }
    return s->cosine && s->sine;
}

static float *floats(struct host_state *s, int64_t count)
{
    return sp_arena_alloc(s->arena, (size_t)count, sizeof(float));
}

/* Of the longest slice, under the policy that saves least. */
static bool allocate_scratch(struct host_state *s)
{
    const struct sp_model *model = s->model;
    int64_t rows = 0;
    for (uint32_t i = 0; i < s->plan->slice_count; i++)
        rows = s->plan->slice_tokens[i] > rows ? s->plan->slice_tokens[i] : rows;
    rows *= s->plan->workload.microbatch_sequences;
    for (int i = 0; i < 2; i++)
        if (!(s->flow[i] = floats(s, rows * model->hidden)))
            return false;
    s->unsaved = floats(s, sp_host_unsaved_floats(model, rows, SP_RECOMPUTE_FULL));
    s->normed = floats(s, rows * model->hidden);
    s->scratch = floats(s, sp_host_scratch_floats(model, rows));
    s->gradients = floats(s, sp_host_gradient_floats(model, rows));
    s->d_kv = floats(s, 2 * rows * model->kv_heads * model->head_dim);
    s->shard_lse = floats(s, rows * s->plan->order.device_count);
    s->outputs = sp_arena_alloc(s->arena, (size_t)s->plan->workload.microbatches * s->plan->slice_count,
                                sizeof *s->outputs);
    s->lse = floats(s, rows);
    s->target = floats(s, rows);
    s->ids = sp_arena_alloc(s->arena, (size_t)rows, sizeof *s->ids);
    s->targets = sp_arena_alloc(s->arena, (size_t)rows, sizeof *s->targets);
    s->runs = sp_arena_alloc(s->arena, s->plan->slice_count + s->plan->exchange_count + 1, sizeof *s->runs);
    return s->shard_lse && s->outputs && s->unsaved && s->normed && s->scratch && s->gradients && s->d_kv &&
           s->lse && s->target && s->ids && s->targets && s->runs && allocate_tables(s);
}

/* Parts of one pass lie side by side in the plan. */
static bool find_parts(struct host_state *s)
{
    const struct sp_plan *plan = s->plan;
    uint64_t passes = plan->order.begin[plan->order.device_count];
    if (!plan->exchange_count)
        return true;
    s->part_begin = sp_arena_alloc(s->arena, passes + 1, sizeof *s->part_begin);
    if (!s->part_begin)
        return false;
    for (uint64_t e = 0; e < plan->exchange_count; e++) {
        const struct sp_pass *pass = &plan->exchange[e].pass;
        s->part_begin[sp_pass_table_find(s->table, pass->kind, pass->stage, pass->microbatch, pass->slice) +
                      1]++;
    }
    for (uint64_t i = 0; i < passes; i++)
        s->part_begin[i + 1] += s->part_begin[i];
    return true;
}

static void destroy(void *state)
{
    struct host_state *s = state;
    if (s)
        sp_arena_destroy(s->arena);
}

static enum sp_status fill(struct host_state *s, struct sp_error *error)
{
    const struct sp_workload *workload = &s->plan->workload;
    enum sp_status status;
    s->scale =
        1 / (float)(workload->sequence_tokens * workload->microbatches * workload->microbatch_sequences);
    s->passes[0].index = s->passes[1].index = SP_NO_PASS;
    s->table = sp_pass_table_create(s->plan, s->arena);
    if (!s->table || !find_parts(s) || !allocate_scratch(s))
        return sp_error_set(error, SP_MEMORY, "no memory for device %u", s->device->number);
    if ((status = check_training(s, error)) || (status = sp_host_math_open(NULL, NULL, &s->math, error)))
        return status;
    return sp_host_create_groups(s, error);
}

static enum sp_status create(const struct sp_device *device, void **ret_state, struct sp_error *error)
{
    struct sp_arena *arena = sp_arena_create();
    struct host_state *s = arena ? sp_arena_alloc(arena, 1, sizeof *s) : NULL;
    if (!s) {
        sp_arena_destroy(arena);
        return sp_error_set(error, SP_MEMORY, "no memory for device %u", device->number);
    }
    s->arena = arena;
    s->device = device;
    s->program = device->program;
    s->plan = device->program->plan;
    s->model = &s->plan->model;
    enum sp_status status = fill(s, error);
    if (status != SP_OK)
        destroy(s);
    else
        *ret_state = s;
    return status;
}

/* --- Running ------------------------------------------------------------------------------------------- */

static enum sp_status begin(void *state, int64_t step, struct sp_error *error)
{
    struct host_state *s = state;
    (void)error;
    s->step = step;
    s->loss = 0;
    s->stepped = false;
    for (int i = 0; i < s->group_count; i++)
        memset(s->groups[i].gradient, 0, (size_t)s->groups[i].count * sizeof(float));
    return SP_OK;
}

static enum sp_status finish(void *state, double *loss, struct sp_error *error)
{
    struct host_state *s = state;
    *loss += s->loss;
    return s->stepped ? SP_OK : sp_host_step(s, error);
}

static enum sp_status run_begun(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs,
                                int count, struct sp_error *error)
{
    if (p->pass->kind == SP_PASS_W || p->pass->kind == SP_PASS_R) {
        if (p->pass->kind == SP_PASS_W)
            sp_host_weights(s, p);
        else
            sp_host_recompute(s, p);
        return SP_OK;
    }
    enum sp_status status = sp_host_enter(s, p, inputs, count, error);
    if (status != SP_OK)
        return status;
    sp_host_layers(s, p);
    return sp_host_leave(s, p, error);
}

static bool is_output(const struct host_state *s, const struct sp_instruction *at)
{
    enum sp_pass_kind kind = s->plan->order.passes[at->pass].kind;
    return at->kind == SP_INSTRUCTION_PASS && (kind == SP_PASS_S || kind == SP_PASS_T);
}

static enum sp_status run_whole(struct host_state *s, const struct sp_instruction *at,
                                const struct sp_parcel *inputs, int count, struct sp_error *error)
{
    int passes = at->kind == SP_INSTRUCTION_JOINED ? 2 : 1;
    enum sp_status status = SP_OK;
    if (is_output(s, at))
        return sp_host_spread_run(s, at->pass, inputs, count, error);
    for (int i = 0; status == SP_OK && i < passes; i++)
        status = sp_host_pass_begin(s, &s->passes[i], at->pass + (uint64_t)i, error);
    for (int i = 0; status == SP_OK && i < passes; i++)
        status = run_begun(s, &s->passes[i], inputs, count, error);
    return status;
}

static enum sp_status run_before(struct host_state *s, const struct sp_instruction *at,
                                 const struct sp_parcel *inputs, int count, struct sp_error *error)
{
    struct host_pass *p = &s->passes[0];
    enum sp_status status = SP_OK;
    if (at->layer == 0 && (status = sp_host_pass_begin(s, p, at->pass, error)) == SP_OK)
        status = sp_host_enter(s, p, inputs, count, error);
    if (status == SP_OK)
        sp_host_before(s, p, at->layer);
    return status;
}

static enum sp_status run_after(struct host_state *s, const struct sp_instruction *at,
                                const struct sp_parcel *inputs, int count, struct sp_error *error)
{
    struct host_pass *p = &s->passes[0];
    enum sp_status status = sp_host_merge_begin(s, p, at->layer, inputs, count, error);
    if (status != SP_OK)
        return status;
    sp_host_after(s, p, at->layer);
    return at->layer + 1u >= p->layers ? sp_host_leave(s, p, error) : SP_OK;
}

static enum sp_status run(void *state, uint32_t instruction, const struct sp_parcel *inputs, int count,
                          struct sp_error *error)
{
    struct host_state *s = state;
    const struct sp_instruction *at = &s->program->instructions[instruction];
    switch (at->kind) {
    case SP_INSTRUCTION_PASS:
    case SP_INSTRUCTION_JOINED:
        return run_whole(s, at, inputs, count, error);
    case SP_INSTRUCTION_BEFORE:
        return run_before(s, at, inputs, count, error);
    case SP_INSTRUCTION_ATTENTION:
        sp_host_attention(s, &s->passes[0], at->layer);
        return SP_OK;
    case SP_INSTRUCTION_PAST: /* this backend does it in one piece with the causal part */
        return SP_OK;
    case SP_INSTRUCTION_AFTER:
        return run_after(s, at, inputs, count, error);
    case SP_INSTRUCTION_GUEST:
        return sp_host_guest(s, instruction, inputs, count, error);
    default:
        assert(at->kind == SP_INSTRUCTION_STEP);
        return sp_host_step(s, error);
    }
}

/* What the instruction held goes, now that its messages have been packed. */
static enum sp_status end(void *state, uint32_t instruction, struct sp_error *error)
{
    struct host_state *s = state;
    const struct sp_instruction *at = &s->program->instructions[instruction];
    if (at->kind == SP_INSTRUCTION_GUEST) {
        sp_device_free(s->device->memory, s->guest);
        s->guest = NULL;
    }
    if (at->kind == SP_INSTRUCTION_AFTER)
        sp_host_merge_end(s, &s->passes[0]);
    if (at->kind == SP_INSTRUCTION_PASS && is_output(s, at)) {
        sp_host_spread_end(s, at->pass);
        return SP_OK;
    }
    bool last = at->kind == SP_INSTRUCTION_PASS || at->kind == SP_INSTRUCTION_JOINED ||
                (at->kind == SP_INSTRUCTION_AFTER && at->layer + 1u >= s->passes[0].layers);
    enum sp_status status = SP_OK;
    for (int i = 0; last && i < 2; i++)
        if (status == SP_OK && s->passes[i].index != SP_NO_PASS)
            status = sp_host_pass_end(s, &s->passes[i], error);
    return status;
}

static enum sp_status pack(void *state, uint32_t message, const struct sp_parcel *inputs, int count,
                           void *data, struct sp_error *error)
{
    struct host_state *s = state;
    const struct sp_instruction *at = &s->program->instructions[message];
    if (at->kind == SP_INSTRUCTION_SCATTER) {
        sp_host_spread_pack(s, message, inputs, count, data);
        return SP_OK;
    }
    if (at->part != SP_NO_INDEX) {
        sp_host_pack_exchange(s, message, data);
        return SP_OK;
    }
    for (int i = 0; i < 2; i++)
        if (s->passes[i].index == at->pass && s->passes[i].outgoing) {
            memcpy(data, s->passes[i].outgoing, (size_t)at->bytes);
            return SP_OK;
        }
    return sp_error_set(error, SP_DEVICE, "there is nothing for message %u", message);
}

static bool tensor(void *state, int index, struct sp_tensor *ret_tensor)
{
    return sp_host_group_tensor(state, index, ret_tensor);
}

const struct sp_backend sp_backend_host = {
    .name = "host",
    .description = "this machine's processor, float32",
    .probe = probe,
    .check = check,
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .finish = finish,
    .run = run,
    .end = end,
    .pack = pack,
    .tensor = tensor,
    .measure_layer = sp_host_measure_layer,
    .measure_rates = sp_host_measure_rates,
};
