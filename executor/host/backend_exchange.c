/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention computed elsewhere. What a message holds, in floats, k and v of the part's tokens, the rest of
 * the requester's slice: forward    early k v           urgent q             result o lse backward   early k
 * v q o lse   urgent d_o           result dq dk dv backward under full recompute, where q, o and lse are
 * known late: early k v           urgent q o lse d_o   result dq dk dv
 */
#include <inttypes.h>
#include <string.h>

#include "backend.h"

static int64_t key_width(const struct host_state *s)
{
    return s->model->kv_heads * s->model->head_dim;
}

static int64_t query_floats(const struct host_state *s, const struct host_pass *p)
{
    return p->rows * s->model->heads * s->model->head_dim;
}

static struct sp_host_keys run_of(struct host_state *s, const struct host_pass *p, uint32_t layer,
                                  uint32_t slice, int64_t begin, int64_t end)
{
    const struct host_unit *unit = sp_host_unit_of(s, p->pass->stage, p->pass->microbatch, slice);
    int64_t tokens = s->plan->slice_tokens[slice], keys = p->work.sequences * tokens * key_width(s);
    int64_t skip = (begin - sp_plan_slice_begin(s->plan, slice)) * key_width(s);
    struct sp_host_keys run = {.begin = begin, .count = end - begin, .pitch = tokens};
    const float *k = unit->kv + 2 * layer * keys;
    float *dk = unit->d_kv ? unit->d_kv + 2 * layer * keys : s->d_kv;
    run.k = k + skip;
    run.v = k + keys + skip;
    if (p->pass->kind != SP_PASS_F) {
        run.dk = dk + skip;
        run.dv = dk + keys + skip;
    }
    return run;
}

/* The cache's pieces of tokens [begin, end), slice by slice, behind the first `count` runs. */
static int64_t add_runs(struct host_state *s, const struct host_pass *p, uint32_t layer, int64_t begin,
                        int64_t end, int64_t count)
{
    int64_t slice_begin = 0;
    for (uint32_t slice = 0; slice <= p->pass->slice; slice++) {
        int64_t slice_end = slice_begin + s->plan->slice_tokens[slice];
        int64_t from = begin > slice_begin ? begin : slice_begin, to = end < slice_end ? end : slice_end;
        if (from < to)
            s->runs[count++] = run_of(s, p, layer, slice, from, to);
        slice_begin = slice_end;
    }
    return count;
}

int64_t sp_host_own_runs(struct host_state *s, const struct host_pass *p, uint32_t layer, bool all)
{
    int64_t end = p->work.begin + p->work.tokens, from = 0, count = 0;
    if (s->part_begin && !all)
        for (uint64_t e = s->part_begin[p->index]; e < s->part_begin[p->index + 1]; e++) {
            count = add_runs(s, p, layer, from, s->plan->exchange[e].token_begin, count);
            from = s->plan->exchange[e].token_end;
        }
    return add_runs(s, p, layer, from, end, count);
}

/* A pass that runs on another device, or not yet: enough of it to bind its buffers and size its messages. */
static struct host_pass outline(struct host_state *s, uint64_t index)
{
    const struct sp_pass *pass = &s->plan->order.passes[index];
    int64_t sequences = s->plan->workload.microbatch_sequences, tokens = s->plan->slice_tokens[pass->slice];
    return (struct host_pass){
        .index = index,
        .pass = pass,
        .unit = sp_host_unit_of(s, pass->stage, pass->microbatch, pass->slice),
        .layers = s->plan->stages[pass->stage].layer_count,
        .rows = sequences * tokens,
        .work = {.sequences = sequences,
                 .begin = sp_plan_slice_begin(s->plan, pass->slice),
                 .tokens = tokens},
    };
}

static float *put(float *to, const float *from, int64_t floats)
{
    memcpy(to, from, (size_t)floats * sizeof *to);
    return to + floats;
}

static const float *next(const float **from, int64_t floats)
{
    const float *taken = *from;
    *from += floats;
    return taken;
}

static bool late_queries(const struct host_state *s, const struct host_pass *p)
{
    return s->plan->stages[p->pass->stage].recompute == SP_RECOMPUTE_FULL;
}

/* --- Packing ------------------------------------------------------------------------------------------- */

/* Tokens of a part in one run, [sequences][tokens][width]. to_cache: gradients, added. */
static void move_part(struct host_state *s, const struct host_pass *p, uint32_t layer,
                      const struct sp_exchange_part *part, bool to_cache, float *k, float *v)
{
    int64_t width = key_width(s), count = part->token_end - part->token_begin;
    int64_t runs = add_runs(s, p, layer, part->token_begin, part->token_end, 0);
    for (int64_t i = 0; i < runs; i++)
        for (int64_t j = 0; j < p->work.sequences; j++) {
            const struct sp_host_keys *run = &s->runs[i];
            int64_t at = j * run->pitch * width, floats = run->count * width;
            int64_t to = (j * count + run->begin - part->token_begin) * width;
            if (to_cache) {
                s->math.kernels->add(floats, k + to, run->dk + at);
                s->math.kernels->add(floats, v + to, run->dv + at);
            } else {
                put(k + to, run->k + at, floats);
                put(v + to, run->v + at, floats);
            }
        }
}

static float *put_attention(struct host_state *s, const struct host_pass *p,
                            const struct sp_host_activations *a, float *data)
{
    data = put(data, a->q, query_floats(s, p));
    data = put(data, a->o, query_floats(s, p));
    return put(data, a->lse, p->rows * s->model->heads);
}

static void pack_early(struct host_state *s, const struct host_pass *p, uint32_t layer,
                       const struct sp_exchange_part *part, float *data)
{
    int64_t keys = p->work.sequences * (part->token_end - part->token_begin) * key_width(s);
    struct sp_host_activations a;
    move_part(s, p, layer, part, false, data, data + keys);
    if (p->pass->kind == SP_PASS_F || late_queries(s, p))
        return;
    sp_host_bind(s, p, layer, &a);
    put_attention(s, p, &a, data + 2 * keys);
}

static void pack_urgent(struct host_state *s, const struct host_pass *p, uint32_t layer, float *data)
{
    struct sp_host_activations a;
    struct sp_host_gradients g;
    sp_host_bind(s, p, layer, &a);
    if (p->pass->kind == SP_PASS_F) {
        put(data, a.q, query_floats(s, p));
        return;
    }
    if (late_queries(s, p))
        data = put_attention(s, p, &a, data);
    sp_host_gradients_bind(s->model, p->rows, s->gradients, &g);
    put(data, g.o, query_floats(s, p));
}

void sp_host_pack_exchange(struct host_state *s, uint32_t message, float *data)
{
    const struct sp_instruction *instruction = &s->program->instructions[message];
    const struct sp_exchange_part *part = &s->plan->exchange[instruction->part];
    struct host_pass p = outline(s, instruction->pass);
    bool forward = p.pass->kind == SP_PASS_F;
    uint32_t layer = forward ? instruction->layer : p.layers - 1 - instruction->layer;
    if (instruction->kind == SP_INSTRUCTION_EARLY)
        pack_early(s, &p, layer, part, data);
    else if (instruction->kind == SP_INSTRUCTION_URGENT)
        pack_urgent(s, &p, layer, data);
    else
        put(data, s->guest_result, instruction->bytes / (int64_t)sizeof(float));
}

/* --- Helping ------------------------------------------------------------------------------------------- */

static const struct sp_parcel *find_input(const struct host_state *s, const struct sp_parcel *inputs,
                                          int count, enum sp_instruction_kind kind)
{
    for (int i = 0; i < count; i++)
        if (s->program->instructions[inputs[i].message].kind == kind)
            return &inputs[i];
    return NULL;
}

static void guest_forward(struct host_state *s, const struct host_pass *p, struct sp_host_attention *call)
{
    call->o = s->guest_result;
    call->lse = s->guest_result + query_floats(s, p);
    s->math.kernels->attention(call);
}

static void guest_backward(struct host_state *s, const struct host_pass *p, struct sp_host_attention *call,
                           struct sp_host_keys *run)
{
    int64_t keys = p->work.sequences * run->count * key_width(s);
    call->dq = s->guest_result;
    run->dk = call->dq + query_floats(s, p);
    run->dv = run->dk + keys;
    memset(run->dk, 0, (size_t)(2 * keys) * sizeof(float));
    s->math.kernels->attention_backward(call);
}

enum sp_status sp_host_guest(struct host_state *s, uint32_t number, const struct sp_parcel *inputs, int count,
                             struct sp_error *error)
{
    const struct sp_instruction *instruction = &s->program->instructions[number];
    const struct sp_exchange_part *part = &s->plan->exchange[instruction->part];
    const struct sp_parcel *early = find_input(s, inputs, count, SP_INSTRUCTION_EARLY);
    const struct sp_parcel *urgent = find_input(s, inputs, count, SP_INSTRUCTION_URGENT);
    struct host_pass p = outline(s, instruction->pass);
    bool forward = p.pass->kind == SP_PASS_F, late = !forward && late_queries(s, &p);
    struct sp_exchange_bytes bytes;
    sp_cost_exchange_bytes(s->program->cost, p.pass, part->token_end - part->token_begin, &bytes);
    s->guest = sp_host_take(s, SP_MEMORY_EXCHANGE, bytes.early + bytes.urgent + bytes.result, error);
    if (!s->guest)
        return SP_MEMORY;
    memcpy(s->guest, early->data, (size_t)bytes.early);
    memcpy((char *)s->guest + bytes.early, urgent->data, (size_t)bytes.urgent);
    s->guest_result = s->guest + (bytes.early + bytes.urgent) / (int64_t)sizeof(float);
    const float *from = s->guest;
    struct sp_host_keys run = {.begin = part->token_begin, .count = part->token_end - part->token_begin};
    int64_t keys = p.work.sequences * run.count * key_width(s), query = query_floats(s, &p);
    run.pitch = run.count;
    run.k = next(&from, keys);
    run.v = next(&from, keys);
    struct sp_host_attention call = {.sequences = p.work.sequences,
                                     .heads = s->model->heads,
                                     .kv_heads = s->model->kv_heads,
                                     .head_dim = s->model->head_dim,
                                     .query_begin = p.work.begin,
                                     .query_count = p.work.tokens,
                                     .run_count = 1,
                                     .runs = &run};
    (void)late;
    call.q = next(&from, query);
    if (forward) {
        guest_forward(s, &p, &call);
        return SP_OK;
    }
    call.o = (float *)next(&from, query);
    call.lse = (float *)next(&from, p.rows * s->model->heads);
    call.d_o = next(&from, query);
    guest_backward(s, &p, &call, &run);
    return SP_OK;
}

/* --- Being helped -------------------------------------------------------------------------------------- */

static void merge_one(struct host_state *s, struct host_pass *p, uint32_t layer,
                      const struct sp_exchange_part *part, float *result)
{
    int64_t query = query_floats(s, p);
    struct sp_host_activations a;
    struct sp_host_gradients g;
    sp_host_bind(s, p, layer, &a);
    if (p->pass->kind == SP_PASS_F) {
        sp_host_layer_merge(&p->work, result, result + query, &a);
        return;
    }
    int64_t keys = p->work.sequences * (part->token_end - part->token_begin) * key_width(s);
    sp_host_bind_gradients(s, p, layer, &g);
    s->math.kernels->add(query, result, g.q);
    move_part(s, p, layer, part, true, result + query, result + query + keys);
}

enum sp_status sp_host_merge_begin(struct host_state *s, struct host_pass *p, uint32_t k,
                                   const struct sp_parcel *inputs, int count, struct sp_error *error)
{
    uint32_t layer = p->pass->kind == SP_PASS_F ? k : p->layers - 1 - k;
    int64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += inputs[i].bytes;
    if (bytes == 0)
        return SP_OK;
    p->partial = sp_host_take(s, SP_MEMORY_EXCHANGE, bytes, error);
    if (!p->partial)
        return SP_MEMORY;
    float *result = p->partial;
    for (int i = 0; i < count; i++) {
        uint32_t part = s->program->instructions[inputs[i].message].part;
        memcpy(result, inputs[i].data, (size_t)inputs[i].bytes);
        merge_one(s, p, layer, &s->plan->exchange[part], result);
        result += inputs[i].bytes / (int64_t)sizeof(float);
    }
    return SP_OK;
}

void sp_host_merge_end(struct host_state *s, struct host_pass *p)
{
    sp_device_free(s->device->memory, p->partial);
    p->partial = NULL;
}
