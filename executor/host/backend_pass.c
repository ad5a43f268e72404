/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a pass: what program/changes.c says, carried out. */
#include <inttypes.h>
#include <string.h>

#include "backend.h"

void *sp_host_take(struct host_state *s, enum sp_memory_category category, int64_t bytes,
                   struct sp_error *error)
{
    void *block = sp_device_alloc(s->device->memory, category, bytes);
    if (!block)
        sp_error_set(error, SP_MEMORY, "no memory for %" PRId64 " bytes of %s", bytes,
                     sp_memory_names[category]);
    return block;
}

static void drop(struct host_state *s, float **block)
{
    sp_device_free(s->device->memory, *block);
    *block = NULL;
}

/* Takes where there is something to take. */
static bool take(struct host_state *s, enum sp_memory_category category, int64_t bytes, float **block,
                 struct sp_error *error)
{
    return bytes == 0 || (*block = sp_host_take(s, category, bytes, error)) != NULL;
}

struct host_unit *sp_host_unit_of(struct host_state *s, uint32_t stage, uint32_t microbatch, uint32_t slice)
{
    int32_t at = s->stage_of[stage];
    return at < 0 ? NULL : &s->stages[at].units[(uint64_t)microbatch * s->plan->slice_count + slice];
}

static bool here(const struct host_state *s, uint64_t pass)
{
    const struct sp_order *order = &s->plan->order;
    return pass != SP_NO_PASS && pass >= order->begin[s->device->number] &&
           pass < order->begin[s->device->number + 1];
}

/* The pass whose result this one takes (or, on: that takes its result); SP_NO_PASS. */
static uint64_t neighbour(const struct host_state *s, const struct sp_pass *pass, bool on)
{
    bool forward = pass->kind == SP_PASS_F;
    int32_t stage = forward == on ? sp_plan_next_stage(s->plan, pass->microbatch, pass->stage)
                                  : sp_plan_previous_stage(s->plan, pass->microbatch, pass->stage);
    if (stage < 0)
        return SP_NO_PASS;
    return forward ? sp_pass_table_find(s->table, SP_PASS_F, (uint32_t)stage, pass->microbatch, pass->slice)
                   : sp_pass_table_find_backward(s->table, (uint32_t)stage, pass->microbatch, pass->slice);
}

static bool output_here(const struct host_state *s, const struct sp_pass *pass)
{
    return pass->stage + 1u == s->plan->stage_count;
}

static void set_work(struct host_state *s, struct host_pass *p)
{
    p->work = (struct sp_host_work){
        .model = s->model,
        .math = &s->math,
        .sequences = s->plan->workload.microbatch_sequences,
        .begin = sp_plan_slice_begin(s->plan, p->pass->slice),
        .tokens = s->plan->slice_tokens[p->pass->slice],
        .cosine = s->cosine[p->pass->slice],
        .sine = s->sine[p->pass->slice],
        .scratch = s->scratch,
    };
    p->rows = p->work.sequences * p->work.tokens;
}

/* Gradients of all keys and values so far, with a microbatch's first backward. */
static bool take_kv_gradients(struct host_state *s, struct host_pass *p, struct sp_error *error)
{
    struct sp_unit_bytes bytes;
    if (s->plan->slice_count == 1 || p->pass->slice + 1u < s->plan->slice_count)
        return true;
    for (uint32_t slice = 0; slice < s->plan->slice_count; slice++) {
        struct host_unit *unit = sp_host_unit_of(s, p->pass->stage, p->pass->microbatch, slice);
        sp_cost_unit_bytes(s->program->cost, p->pass->stage, slice, &bytes);
        if (!take(s, SP_MEMORY_KV_GRADIENT, bytes.kv_gradient, &unit->d_kv, error))
            return false;
        if (unit->d_kv)
            memset(unit->d_kv, 0, (size_t)bytes.kv_gradient);
    }
    return true;
}

static bool begin_forward(struct host_state *s, struct host_pass *p, const struct sp_unit_bytes *bytes,
                          struct sp_error *error)
{
    return take(s, SP_MEMORY_KV_CACHE, bytes->kv, &p->unit->kv, error) &&
           take(s, SP_MEMORY_ACTIVATIONS, bytes->activations, &p->unit->saved, error) &&
           (!output_here(s, p->pass) || sp_vocabulary_is_spread(s->plan->vocabulary) ||
            take(s, SP_MEMORY_LOGITS, bytes->logits, &p->unit->logits, error));
}

static bool begin_backward(struct host_state *s, struct host_pass *p, const struct sp_unit_bytes *bytes,
                           struct sp_error *error)
{
    bool tiled = s->plan->vocabulary == SP_VOCABULARY_TILED;
    bool extra = p->weights_follow && bytes->weight_extra;
    if (extra && !take(s, SP_MEMORY_ACTIVATIONS, bytes->weight_extra, &p->unit->extra, error))
        return false;
    if (!extra && !p->recomputed &&
        !take(s, SP_MEMORY_RECOMPUTE, bytes->recompute, &p->unit->recompute, error))
        return false;
    return take_kv_gradients(s, p, error) &&
           (!tiled || !output_here(s, p->pass) ||
            take(s, SP_MEMORY_LOGITS, bytes->logits, &p->unit->logits, error));
}

enum sp_status sp_host_pass_begin(struct host_state *s, struct host_pass *p, uint64_t index,
                                  struct sp_error *error)
{
    const struct sp_pass *pass = &s->plan->order.passes[index];
    struct sp_unit_bytes bytes;
    bool fits = true;
    *p = (struct host_pass){.index = index, .pass = pass, .flow = s->flow[p - s->passes]};
    p->stage = &s->stages[s->stage_of[pass->stage]];
    p->unit = sp_host_unit_of(s, pass->stage, pass->microbatch, pass->slice);
    p->layers = s->plan->stages[pass->stage].layer_count;
    set_work(s, p);
    sp_cost_unit_bytes(s->program->cost, pass->stage, pass->slice, &bytes);
    p->weights_follow =
        pass->kind == SP_PASS_I &&
        sp_pass_table_find(s->table, SP_PASS_W, pass->stage, pass->microbatch, pass->slice) != SP_NO_PASS;
    p->recomputed =
        sp_pass_table_find(s->table, SP_PASS_R, pass->stage, pass->microbatch, pass->slice) != SP_NO_PASS;
    if (pass->kind == SP_PASS_R)
        fits = take(s, SP_MEMORY_RECOMPUTE, bytes.recompute, &p->unit->recompute, error);
    else if (pass->kind == SP_PASS_F)
        fits = begin_forward(s, p, &bytes, error);
    else if (pass->kind != SP_PASS_W)
        fits = begin_backward(s, p, &bytes, error);
    if (pass->kind == SP_PASS_W || pass->kind == SP_PASS_R)
        return fits ? SP_OK : SP_MEMORY;
    uint64_t from = neighbour(s, pass, false), to = neighbour(s, pass, true);
    if (fits && from != SP_NO_PASS && !here(s, from))
        fits = take(s, SP_MEMORY_MESSAGES, bytes.hop, &p->incoming, error);
    if (fits && to != SP_NO_PASS && !here(s, to))
        fits = take(s, SP_MEMORY_MESSAGES, bytes.hop, &p->outgoing, error);
    return fits ? SP_OK : SP_MEMORY;
}

/* A result for a pass of this device stays here; the one that it was made from goes. */
static enum sp_status hand_on(struct host_state *s, struct host_pass *p, struct sp_error *error)
{
    uint64_t from = neighbour(s, p->pass, false), to = neighbour(s, p->pass, true);
    int64_t bytes = sp_cost_hop_bytes(s->program->cost, p->pass->slice);
    drop(s, &p->incoming);
    drop(s, &p->outgoing);
    if (here(s, from)) {
        const struct sp_pass *source = &s->plan->order.passes[from];
        drop(s, &sp_host_unit_of(s, source->stage, source->microbatch, source->slice)->passed_on);
    }
    if (!here(s, to))
        return SP_OK;
    if (!take(s, SP_MEMORY_MESSAGES, bytes, &p->unit->passed_on, error))
        return SP_MEMORY;
    memcpy(p->unit->passed_on, p->flow, (size_t)bytes);
    return SP_OK;
}

enum sp_status sp_host_pass_end(struct host_state *s, struct host_pass *p, struct sp_error *error)
{
    bool tiled = s->plan->vocabulary == SP_VOCABULARY_TILED;
    enum sp_status status = SP_OK;
    switch (p->pass->kind) {
    case SP_PASS_F:
        if (tiled)
            drop(s, &p->unit->logits);
        status = hand_on(s, p, error);
        if (status == SP_OK && output_here(s, p->pass) && sp_vocabulary_is_spread(s->plan->vocabulary))
            status = sp_host_spread_keep(s, p, error);
        break;
    case SP_PASS_B:
    case SP_PASS_I:
        drop(s, &p->unit->recompute);
        drop(s, &p->unit->d_kv);
        if (!p->weights_follow)
            drop(s, &p->unit->saved);
        drop(s, &p->unit->kv);
        drop(s, &p->unit->logits);
        status = hand_on(s, p, error);
        if (output_here(s, p->pass) && sp_vocabulary_is_spread(s->plan->vocabulary))
            sp_host_spread_drop(s, p);
        break;
    case SP_PASS_W:
        drop(s, &p->unit->saved);
        drop(s, &p->unit->extra);
        break;
    default:
        break;
    }
    p->index = SP_NO_PASS;
    return status;
}
