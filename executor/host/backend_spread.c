/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output layer spread over all devices, as S and T passes. Scatter: each device has some rows of a slice
 * and the whole matrix. Shards: all rows and some columns. The hub is the device of the last stage: from it
 * come the normalised hidden states, at it the shards' log-sum-exps meet, and to it the gradients return.
 *
 * A unit's block of logits holds, in floats, its logits, its hidden states, and for shards the log-sum-exp
 * and the target's logit of each row.
 */
#include <math.h>
#include <string.h>

#include "backend.h"

static int64_t divide_up(int64_t number, int64_t divisor)
{
    return (number + divisor - 1) / divisor;
}

static bool is_scatter(const struct host_state *s)
{
    return s->plan->vocabulary == SP_VOCABULARY_SCATTER;
}

/* Whether the last stage's forward of the pass's slice is this device's. */
static bool is_hub(const struct host_state *s, const struct sp_pass *pass)
{
    const struct sp_order *order = &s->plan->order;
    uint64_t forward =
        sp_pass_table_find(s->table, SP_PASS_F, s->plan->stage_count - 1, pass->microbatch, pass->slice);
    return forward >= order->begin[s->device->number] && forward < order->begin[s->device->number + 1];
}

/* A slice's part on one device. */
struct share {
    int64_t rows;                     /* of the slice */
    int64_t first, count, most;       /* rows of this device; of any */
    int64_t column, columns, largest; /* of the vocabulary, likewise */
};

static int64_t within(int64_t number, int64_t most)
{
    return number < 0 ? 0 : number > most ? most : number;
}

static struct share share_of(const struct host_state *s, uint32_t slice, uint32_t device)
{
    int64_t devices = s->plan->parallel.pipeline;
    int64_t rows = s->plan->slice_tokens[slice] * s->plan->workload.microbatch_sequences,
            vocab = s->model->vocab;
    struct share share = {.rows = rows, .count = rows, .most = rows, .columns = vocab, .largest = vocab};
    if (is_scatter(s)) {
        share.most = divide_up(rows, devices);
        share.first = within(share.most * device, rows);
        share.count = within(rows - share.first, share.most);
    } else {
        share.largest = divide_up(vocab, devices);
        share.column = within(share.largest * device, vocab);
        share.columns = within(vocab - share.column, share.largest);
    }
    return share;
}

struct host_group sp_host_spread_head(const struct host_state *s)
{
    struct share share = share_of(s, 0, s->device->number);
    return (struct host_group){
        .kind = HOST_HEAD, .first_row = share.column, .count = share.largest * s->model->hidden};
}

static struct host_output *output_at(struct host_state *s, const struct sp_pass *pass)
{
    return &s->outputs[(uint64_t)pass->microbatch * s->plan->slice_count + pass->slice];
}

/* The parts of a unit's block. */
struct parts {
    float *logits, *normed, *lse, *target;
};

static struct parts parts_of(const struct host_state *s, const struct share *share, float *block)
{
    struct parts parts = {.logits = block};
    int64_t hidden = share->most * s->model->hidden;
    parts.normed = block + share->most * share->largest;
    parts.lse = parts.normed + hidden;
    parts.target = parts.lse + share->rows;
    return parts;
}

static struct sp_host_output call_of(const struct host_state *s, const struct share *share,
                                     const struct parts *parts)
{
    return (struct sp_host_output){.math = &s->math,
                                   .rows = share->count,
                                   .hidden = s->model->hidden,
                                   .vocab_begin = share->column,
                                   .vocab_count = share->columns,
                                   .x = parts->normed,
                                   .weight = s->head->weight,
                                   .targets = s->targets + share->first};
}

static enum sp_status add_loss(struct host_state *s, const struct share *share, const float *lse,
                               const float *target, struct sp_error *error)
{
    double loss = sp_host_output_loss(share->count, s->targets + share->first, lse, target);
    s->loss += loss * (double)s->scale;
    return isfinite(loss) ? SP_OK : sp_error_set(error, SP_DEVICE, "the loss is not a number");
}

/* --- The last stage ------------------------------------------------------------------------------------ */

/* After the last stage's F: the hub's own share stays for its S. */
enum sp_status sp_host_spread_keep(struct host_state *s, const struct host_pass *p, struct sp_error *error)
{
    struct share share = share_of(s, p->pass->slice, s->device->number);
    struct host_output *output = output_at(s, p->pass);
    int64_t bytes = sp_cost_output_bytes(s->program->cost, p->pass->slice), hidden = s->model->hidden;
    output->normed = sp_host_take(s, SP_MEMORY_MESSAGES, bytes, error);
    if (!output->normed)
        return SP_MEMORY;
    memcpy(output->normed, s->normed + share.first * hidden, (size_t)(share.count * hidden) * sizeof(float));
    return SP_OK;
}

static const float *gradient_from(const struct host_state *s, struct host_output *output, uint32_t device,
                                  const struct sp_parcel *inputs, int count)
{
    for (int i = 0; i < count; i++) {
        const struct sp_instruction *message = &s->program->instructions[inputs[i].message];
        if (message->kind == SP_INSTRUCTION_SCATTER && message->device == device)
            return inputs[i].data;
    }
    return output->gradient;
}

/* All devices' parts, in their order. */
void sp_host_spread_sum(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs, int count)
{
    int64_t hidden = s->model->hidden;
    memset(p->flow, 0, (size_t)(p->rows * hidden) * sizeof(float));
    for (uint32_t d = 0; d < s->plan->order.device_count; d++) {
        struct share share = share_of(s, p->pass->slice, d);
        const float *part = gradient_from(s, output_at(s, p->pass), d, inputs, count);
        s->math.kernels->add(share.count * hidden, part, p->flow + share.first * hidden);
    }
}

void sp_host_spread_drop(struct host_state *s, const struct host_pass *p)
{
    struct host_output *output = output_at(s, p->pass);
    sp_device_free(s->device->memory, output->gradient);
    output->gradient = NULL;
}

/* --- S ------------------------------------------------------------------------------------------------- */

static enum sp_status run_forward(struct host_state *s, const struct sp_pass *pass,
                                  const struct sp_parcel *inputs, int count, struct sp_error *error)
{
    struct host_output *output = output_at(s, pass);
    struct share share = share_of(s, pass->slice, s->device->number);
    struct sp_unit_bytes bytes;
    sp_cost_unit_bytes(s->program->cost, pass->stage, pass->slice, &bytes);
    if (!output->normed) {
        int64_t size = sp_cost_output_bytes(s->program->cost, pass->slice);
        if (!(output->normed = sp_host_take(s, SP_MEMORY_MESSAGES, size, error)))
            return SP_MEMORY;
        memcpy(output->normed, inputs[0].data, (size_t)size);
    }
    (void)count;
    if (!(output->logits = sp_host_take(s, SP_MEMORY_LOGITS, bytes.logits, error)))
        return SP_MEMORY;
    struct parts parts = parts_of(s, &share, output->logits);
    struct sp_host_output call = call_of(s, &share, &parts);
    memcpy(parts.normed, output->normed, (size_t)(share.count * s->model->hidden) * sizeof(float));
    sp_host_output_logits(&call, parts.logits, is_scatter(s) ? s->target : parts.target);
    sp_host_output_lse(&call, parts.logits, is_scatter(s) ? s->lse : parts.lse);
    if (!is_scatter(s))
        return SP_OK;
    sp_host_output_gradient(&call, s->lse, s->scale, parts.logits);
    return add_loss(s, &share, s->lse, s->target, error);
}

/* --- The barrier --------------------------------------------------------------------------------------- */

/* Log-sum-exp and target's logit of all shards together: s->lse, s->target. inputs: the other devices' S. */
static void combine(struct host_state *s, const struct sp_pass *pass, const struct sp_parcel *inputs,
                    int count)
{
    struct share share = share_of(s, pass->slice, s->device->number);
    struct parts own = parts_of(s, &share, output_at(s, pass)->logits);
    uint32_t devices = s->plan->order.device_count;
    int64_t rows = share.rows;
    memset(s->target, 0, (size_t)rows * sizeof(float));
    for (uint32_t d = 0; d < devices; d++) {
        const float *lse = own.lse, *target = own.target;
        for (int i = 0; i < count; i++)
            if (s->program->instructions[inputs[i].message].device == d) {
                lse = inputs[i].data;
                target = lse + rows;
            }
        memcpy(s->shard_lse + d * rows, lse, (size_t)rows * sizeof(float));
        s->math.kernels->add(rows, target, s->target);
    }
    sp_host_output_combine(rows, devices, s->shard_lse, s->lse);
}

/* --- T ------------------------------------------------------------------------------------------------- */

static enum sp_status run_backward(struct host_state *s, const struct sp_pass *pass,
                                   const struct sp_parcel *inputs, int count, struct sp_error *error)
{
    struct host_output *output = output_at(s, pass);
    struct share share = share_of(s, pass->slice, s->device->number);
    struct parts parts = parts_of(s, &share, output->logits);
    struct sp_host_output call = call_of(s, &share, &parts);
    bool hub = is_hub(s, pass);
    enum sp_status status = SP_OK;
    output->gradient =
        sp_host_take(s, SP_MEMORY_MESSAGES, sp_cost_output_bytes(s->program->cost, pass->slice), error);
    if (!output->gradient)
        return SP_MEMORY;
    if (is_scatter(s)) {
        sp_host_output_input(&call, parts.logits, 0, output->gradient);
    } else {
        if (hub) {
            combine(s, pass, inputs, count);
            status = add_loss(s, &share, s->lse, s->target, error);
        }
        sp_host_output_gradient(&call, hub ? s->lse : inputs[0].data, s->scale, parts.logits);
        sp_host_output_input(&call, parts.logits, 0, output->gradient);
    }
    sp_host_output_weight(&call, parts.logits, s->head->gradient);
    return status;
}

/* --- What the backend calls ---------------------------------------------------------------------------- */

enum sp_status sp_host_spread_run(struct host_state *s, uint64_t index, const struct sp_parcel *inputs,
                                  int count, struct sp_error *error)
{
    const struct sp_pass *pass = &s->plan->order.passes[index];
    sp_host_read_targets(s, pass);
    return pass->kind == SP_PASS_S ? run_forward(s, pass, inputs, count, error)
                                   : run_backward(s, pass, inputs, count, error);
}

void sp_host_spread_end(struct host_state *s, uint64_t index)
{
    const struct sp_pass *pass = &s->plan->order.passes[index];
    struct host_output *output = output_at(s, pass);
    struct sp_device_arena *memory = s->device->memory;
    if (pass->kind == SP_PASS_S) {
        sp_device_free(memory, output->normed);
        output->normed = NULL;
        return;
    }
    sp_device_free(memory, output->logits);
    output->logits = NULL;
    if (!is_hub(s, pass)) {
        sp_device_free(memory, output->gradient);
        output->gradient = NULL;
    }
}

void sp_host_spread_pack(struct host_state *s, uint32_t message, const struct sp_parcel *inputs, int count,
                         float *data)
{
    const struct sp_instruction *at = &s->program->instructions[message];
    const struct sp_pass *pass = &s->plan->order.passes[at->pass];
    struct host_output *output = output_at(s, pass);
    struct share share = share_of(s, pass->slice, s->device->number), to = share_of(s, pass->slice, at->peer);
    int64_t hidden = s->model->hidden, rows = share.rows;
    memset(data, 0, (size_t)at->bytes);
    if (pass->kind == SP_PASS_F) {
        memcpy(data, s->normed + to.first * hidden, (size_t)(to.count * hidden) * sizeof *data);
    } else if (pass->kind == SP_PASS_S) {
        struct parts parts = parts_of(s, &share, output->logits);
        memcpy(data, parts.lse, (size_t)rows * sizeof *data);
        memcpy(data + rows, parts.target, (size_t)rows * sizeof *data);
    } else if (is_hub(s, pass)) {
        combine(s, pass, inputs, count);
        memcpy(data, s->lse, (size_t)rows * sizeof *data);
        memcpy(data + rows, s->target, (size_t)rows * sizeof *data);
    } else {
        memcpy(data, output->gradient, (size_t)(share.count * hidden) * sizeof *data);
    }
}
