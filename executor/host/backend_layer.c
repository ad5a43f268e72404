/* SPDX-License-Identifier: Apache-2.0 */
/* A pass on its way through the layers of its stage. */
#include <string.h>

#include "backend.h"

static bool is_forward(const struct host_pass *p)
{
    return p->pass->kind == SP_PASS_F;
}

static int64_t key_floats(const struct host_state *s, int64_t rows)
{
    return rows * s->model->kv_heads * s->model->head_dim;
}

static enum sp_recompute policy(const struct host_state *s, const struct host_pass *p)
{
    return s->plan->stages[p->pass->stage].recompute;
}

/* The stage's layer that is k-th to run. */
static uint32_t layer_at(const struct host_pass *p, uint32_t k)
{
    return is_forward(p) ? k : p->layers - 1 - k;
}

/* Where what is not saved of a layer is: with W's gradients, in the recompute buffer, or nowhere to stay. */
static float *unsaved_of(const struct host_state *s, const struct host_pass *p, uint32_t layer)
{
    int64_t floats = sp_host_unsaved_floats(s->model, p->rows, policy(s, p));
    if (p->unit->extra)
        return p->unit->extra + layer * floats;
    if (!p->unit->recompute)
        return s->unsaved;
    bool all = sp_pass_table_find(s->table, SP_PASS_R, p->pass->stage, p->pass->microbatch, p->pass->slice) !=
               SP_NO_PASS;
    return p->unit->recompute + (all ? layer * floats : 0);
}

void sp_host_bind(struct host_state *s, const struct host_pass *p, uint32_t layer,
                  struct sp_host_activations *a)
{
    float *saved = p->unit->saved + layer * sp_host_saved_floats(s->model, p->rows, policy(s, p));
    int64_t keys = key_floats(s, p->rows);
    sp_host_activations_bind(s->model, p->rows, policy(s, p), saved, unsaved_of(s, p, layer), a);
    if (p->unit->kv) {
        a->k = p->unit->kv + 2 * layer * keys;
        a->v = a->k + keys;
    }
}

/* Before W, gradients lie over the activations that are theirs, and the rest behind what is unsaved. */
static void bind_held(struct host_state *s, const struct host_pass *p, uint32_t layer,
                      struct sp_host_gradients *g)
{
    struct sp_host_activations a;
    int64_t keys = key_floats(s, p->rows), hidden = p->rows * s->model->hidden;
    float *held = p->unit->extra + p->layers * sp_host_unsaved_floats(s->model, p->rows, policy(s, p));
    sp_host_bind(s, p, layer, &a);
    g->output = held + layer * (hidden + 2 * keys);
    g->k = g->output + hidden;
    g->v = g->k + keys;
    g->gate = a.gate;
    g->up = a.up;
    g->middle = a.middle;
    g->q = a.q;
}

void sp_host_bind_gradients(struct host_state *s, const struct host_pass *p, uint32_t layer,
                            struct sp_host_gradients *g)
{
    int64_t keys = key_floats(s, p->rows);
    sp_host_gradients_bind(s->model, p->rows, s->gradients, g);
    if (p->unit->extra) {
        bind_held(s, p, layer, g);
        return;
    }
    g->output = p->flow;
    g->k = p->unit->d_kv ? p->unit->d_kv + 2 * layer * keys : s->d_kv;
    g->v = g->k + keys;
}

/* --- Tokens -------------------------------------------------------------------------------------------- */

/* The slice's tokens, or with ahead 1 those that are to be predicted: whole sequences of the text in turn. */
static void read_tokens(const struct host_state *s, const struct sp_pass *pass, int64_t ahead,
                        int32_t *tokens)
{
    const struct sp_workload *workload = &s->plan->workload;
    int64_t count = s->plan->slice_tokens[pass->slice], begin = sp_plan_slice_begin(s->plan, pass->slice);
    int64_t sequences = (s->device->training->token_count - 1) / workload->sequence_tokens;
    int64_t first = (s->step * workload->microbatches + pass->microbatch) * workload->microbatch_sequences;
    for (int64_t i = 0; i < workload->microbatch_sequences; i++) {
        int64_t at = (first + i) % sequences * workload->sequence_tokens + begin + ahead;
        memcpy(tokens + i * count, s->device->training->tokens + at, (size_t)count * sizeof *tokens);
    }
}

void sp_host_read_targets(struct host_state *s, const struct sp_pass *pass)
{
    read_tokens(s, pass, 1, s->targets);
}

/* --- In and out ---------------------------------------------------------------------------------------- */

static const struct sp_parcel *find_hop(const struct host_state *s, const struct host_pass *p,
                                        const struct sp_parcel *inputs, int count)
{
    for (int i = 0; i < count; i++) {
        const struct sp_instruction *message = &s->program->instructions[inputs[i].message];
        const struct sp_pass *source = &s->plan->order.passes[message->pass];
        if (message->kind == SP_INSTRUCTION_HOP && (source->kind == SP_PASS_F) == is_forward(p) &&
            source->microbatch == p->pass->microbatch && source->slice == p->pass->slice)
            return &inputs[i];
    }
    return NULL;
}

/* What the neighbouring stage made, from a message or from this device. */
static void fetch(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs, int count,
                  float *x)
{
    size_t size = (size_t)(p->rows * s->model->hidden) * sizeof *x;
    const struct sp_parcel *hop = find_hop(s, p, inputs, count);
    if (hop) {
        memcpy(p->incoming, hop->data, size);
        memcpy(x, p->incoming, size);
        return;
    }
    uint32_t stage = is_forward(p) ? p->pass->stage - 1u : p->pass->stage + 1u;
    memcpy(x, sp_host_unit_of(s, stage, p->pass->microbatch, p->pass->slice)->passed_on, size);
}

enum sp_status sp_host_enter(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs,
                             int count, struct sp_error *error)
{
    struct sp_host_activations a = {.x = p->flow};
    (void)error;
    if (!is_forward(p)) {
        if (p->pass->stage + 1u == s->plan->stage_count) {
            read_tokens(s, p->pass, 1, s->targets);
            sp_host_output_backward(s, p, inputs, count);
        } else {
            fetch(s, p, inputs, count, p->flow);
        }
        return SP_OK;
    }
    if (p->layers)
        sp_host_bind(s, p, 0, &a);
    if (p->pass->stage > 0) {
        fetch(s, p, inputs, count, a.x);
        return SP_OK;
    }
    read_tokens(s, p->pass, 0, s->ids);
    sp_host_embed(p->rows, s->model->hidden, s->ids, 0, s->model->vocab, s->embedding->weight, a.x);
    return SP_OK;
}

enum sp_status sp_host_leave(struct host_state *s, struct host_pass *p, struct sp_error *error)
{
    if (is_forward(p) && p->pass->stage + 1u == s->plan->stage_count) {
        read_tokens(s, p->pass, 1, s->targets);
        return sp_host_output_forward(s, p, error);
    }
    if (!is_forward(p) && p->pass->stage == 0) {
        read_tokens(s, p->pass, 0, s->ids);
        sp_host_embed_backward(p->rows, s->model->hidden, s->ids, 0, s->model->vocab, p->flow,
                               s->embedding->gradient);
    }
    if (p->outgoing)
        memcpy(p->outgoing, p->flow, (size_t)(p->rows * s->model->hidden) * sizeof *p->flow);
    return SP_OK;
}

/* --- Layers -------------------------------------------------------------------------------------------- */

static void recompute_layer(struct host_state *s, struct host_pass *p, uint32_t layer,
                            struct sp_host_activations *a)
{
    int64_t runs = policy(s, p) == SP_RECOMPUTE_FULL ? sp_host_own_runs(s, p, layer, true) : 0;
    sp_host_layer_recompute(&p->work, &p->stage->weights[layer], policy(s, p), false, runs, s->runs, a);
}

static void before_backward(struct host_state *s, struct host_pass *p, uint32_t layer)
{
    struct sp_host_activations a;
    struct sp_host_gradients g;
    size_t size = (size_t)(p->rows * s->model->hidden) * sizeof *p->flow;
    sp_host_bind(s, p, layer, &a);
    sp_host_bind_gradients(s, p, layer, &g);
    if (g.output != p->flow)
        memcpy(g.output, p->flow, size);
    if (!p->unit->d_kv)
        memset(s->d_kv, 0, (size_t)(2 * key_floats(s, p->rows)) * sizeof *s->d_kv);
    if (!p->recomputed || p->unit->extra)
        recompute_layer(s, p, layer, &a);
    sp_host_layer_after_backward(&p->work, &p->stage->weights[layer], &a, &g, &p->stage->gradients[layer]);
}

void sp_host_before(struct host_state *s, struct host_pass *p, uint32_t k)
{
    uint32_t layer = layer_at(p, k);
    struct sp_host_activations a;
    if (k >= p->layers)
        return;
    if (!is_forward(p)) {
        before_backward(s, p, layer);
        return;
    }
    sp_host_bind(s, p, layer, &a);
    sp_host_layer_before(&p->work, &p->stage->weights[layer], &a);
}

void sp_host_attention(struct host_state *s, struct host_pass *p, uint32_t k)
{
    uint32_t layer = layer_at(p, k);
    struct sp_host_activations a;
    struct sp_host_gradients g;
    if (k >= p->layers)
        return;
    int64_t runs = sp_host_own_runs(s, p, layer, false);
    sp_host_bind(s, p, layer, &a);
    if (is_forward(p)) {
        sp_host_layer_attention(&p->work, runs, s->runs, &a);
        return;
    }
    sp_host_bind_gradients(s, p, layer, &g);
    sp_host_layer_attention_backward(&p->work, runs, s->runs, &a, &g);
}

/* The own slice's gradient of keys and values is complete now; for W it is kept beyond its own block. */
static void keep_key_gradients(struct host_state *s, struct host_pass *p, uint32_t layer,
                               struct sp_host_gradients *g)
{
    int64_t keys = key_floats(s, p->rows);
    const float *complete = p->unit->d_kv ? p->unit->d_kv + 2 * layer * keys : s->d_kv;
    if (g->k != complete)
        memcpy(g->k, complete, (size_t)(2 * keys) * sizeof *g->k);
}

static void after_backward(struct host_state *s, struct host_pass *p, uint32_t layer)
{
    struct sp_host_weights *weights = &p->stage->weights[layer], *gradients = &p->stage->gradients[layer];
    bool now = p->pass->kind == SP_PASS_B;
    struct sp_host_activations a;
    struct sp_host_gradients g;
    sp_host_bind(s, p, layer, &a);
    sp_host_bind_gradients(s, p, layer, &g);
    if (now) /* before the gradient of the output is written over */
        sp_host_layer_weights(&p->work, SP_HOST_WEIGHTS_MLP | SP_HOST_WEIGHTS_OUTPUT, &a, &g, gradients);
    keep_key_gradients(s, p, layer, &g);
    sp_host_layer_before_backward(&p->work, weights, &a, &g, gradients, p->flow);
    if (now)
        sp_host_layer_weights(&p->work, SP_HOST_WEIGHTS_QUERY | SP_HOST_WEIGHTS_KEYS, &a, &g, gradients);
}

void sp_host_after(struct host_state *s, struct host_pass *p, uint32_t k)
{
    uint32_t layer = layer_at(p, k);
    struct sp_host_activations a, next = {.x = p->flow};
    if (k >= p->layers)
        return;
    if (!is_forward(p)) {
        after_backward(s, p, layer);
        return;
    }
    sp_host_bind(s, p, layer, &a);
    if (k + 1 < p->layers)
        sp_host_bind(s, p, layer + 1, &next);
    sp_host_layer_after(&p->work, &p->stage->weights[layer], &a, next.x);
}

void sp_host_layers(struct host_state *s, struct host_pass *p)
{
    for (uint32_t k = 0; k < p->layers; k++) {
        sp_host_before(s, p, k);
        sp_host_attention(s, p, k);
        sp_host_after(s, p, k);
    }
}

void sp_host_weights(struct host_state *s, struct host_pass *p)
{
    for (uint32_t layer = 0; layer < p->layers; layer++) {
        struct sp_host_activations a;
        struct sp_host_gradients g;
        sp_host_bind(s, p, layer, &a);
        sp_host_bind_gradients(s, p, layer, &g);
        sp_host_layer_weights(&p->work, SP_HOST_WEIGHTS_ALL, &a, &g, &p->stage->gradients[layer]);
    }
}

void sp_host_recompute(struct host_state *s, struct host_pass *p)
{
    for (uint32_t layer = 0; layer < p->layers; layer++) {
        struct sp_host_activations a;
        sp_host_bind(s, p, layer, &a);
        recompute_layer(s, p, layer, &a);
    }
}
