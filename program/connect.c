/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for what, and the messages in between. */
#include "lowering.h"

/* A message of `bytes` from one device to another that leaves when `producer` has ended. */
static uint32_t emit_message(struct lowering *l, enum sp_instruction_kind kind, uint64_t pass, uint32_t from,
                             uint32_t to, int64_t bytes, uint32_t producer)
{
    struct sp_transfer transfer = sp_cost_transfer(l->cost, from, to, bytes);
    struct sp_instruction message = {.kind = (uint8_t)kind,
                                     .stream = SP_STREAM_SEND,
                                     .same_node = transfer.same_node != 0,
                                     .device = (uint16_t)from,
                                     .peer = (uint16_t)to,
                                     .layer = SP_WHOLE_PASS,
                                     .pass = (uint32_t)pass,
                                     .part = SP_NO_INDEX,
                                     .duration_ns = transfer.busy_ns,
                                     .bytes = bytes};
    uint32_t raw = sp_lowering_emit(l, &message);
    l->latency_ns[transfer.same_node != 0] = transfer.latency_ns;
    sp_lowering_wait(l, raw, producer);
    return raw;
}

/* `consumer` needs what `producer` made: directly on one device, else by a message. */
static void hand_over(struct lowering *l, enum sp_instruction_kind kind, uint64_t from_pass,
                      uint32_t producer, uint32_t from, uint32_t consumer, uint32_t to, int64_t bytes)
{
    if (from != to)
        producer = emit_message(l, kind, from_pass, from, to, bytes, producer);
    sp_lowering_wait(l, consumer, producer);
}

static void connect_hop(struct lowering *l, uint64_t index)
{
    uint64_t source = l->hop_source[index];
    if (source != SP_NO_PASS)
        hand_over(l, SP_INSTRUCTION_HOP, source, l->last[source], l->device_of[source], l->first[index],
                  l->device_of[index], sp_cost_hop_bytes(l->cost, l->plan->order.passes[index].slice));
}

static void connect_weight(struct lowering *l, uint64_t index)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    uint64_t input = sp_pass_table_find(l->table, SP_PASS_I, pass->stage, pass->microbatch, pass->slice);
    if (input != SP_NO_PASS)
        sp_lowering_wait(l, l->first[index], l->last[input]);
}

static uint32_t last_stage_of(const struct lowering *l, uint32_t microbatch)
{
    const struct sp_plan *plan = l->plan;
    if (!plan->path_begin)
        return plan->stage_count - 1;
    return plan->path_stages[plan->path_begin[microbatch + 1] - 1];
}

/* S waits for the hidden states of the last stage's F. */
static void connect_output_forward(struct lowering *l, uint64_t index)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    uint64_t source = sp_pass_table_find(l->table, SP_PASS_F, last_stage_of(l, pass->microbatch),
                                         pass->microbatch, pass->slice);
    if (source != SP_NO_PASS)
        hand_over(l, SP_INSTRUCTION_SCATTER, source, l->last[source], l->device_of[source], l->first[index],
                  l->device_of[index], sp_cost_output_bytes(l->cost, pass->slice));
}

/*
 * The last stage's backward waits for the gradient from every device's T; with the one barrier of shard2 S
 * has made it already, and T only adds the weight gradient.
 */
static void connect_output_gradient(struct lowering *l, uint64_t index)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    enum sp_pass_kind kind = l->plan->vocabulary == SP_VOCABULARY_SHARD2 ? SP_PASS_S : SP_PASS_T;
    if (pass->stage != last_stage_of(l, pass->microbatch))
        return;
    for (uint32_t d = 0; d < l->plan->order.device_count; d++) {
        uint64_t output = sp_pass_table_find_output(l->table, kind, d, pass->microbatch, pass->slice);
        if (output != SP_NO_PASS)
            hand_over(l, SP_INSTRUCTION_SCATTER, output, l->last[output], d, l->first[index],
                      l->device_of[index], sp_cost_output_bytes(l->cost, pass->slice));
    }
}

/*
 * With a split vocabulary no T starts before every S: row maxima and sums (8 bytes a token) meet at the
 * device of the last stage and go back out.
 */
static void connect_barrier(struct lowering *l, uint64_t index)
{
    const struct sp_plan *plan = l->plan;
    const struct sp_pass *pass = &plan->order.passes[index];
    uint64_t forward = sp_pass_table_find(l->table, SP_PASS_F, last_stage_of(l, pass->microbatch),
                                          pass->microbatch, pass->slice);
    uint32_t hub = forward == SP_NO_PASS ? 0 : l->device_of[forward];
    if (l->device_of[index] != hub)
        return;
    int64_t bytes =
        8 * plan->slice_tokens[pass->slice] * plan->workload.microbatch_sequences / plan->parallel.context;
    uint32_t devices = plan->order.device_count;
    size_t first_edge = l->edge_count;
    for (uint32_t d = 0; d < devices; d++) {
        uint64_t s = sp_pass_table_find_output(l->table, SP_PASS_S, d, pass->microbatch, pass->slice);
        if (s != SP_NO_PASS)
            hand_over(l, SP_INSTRUCTION_SCATTER, s, l->last[s], d, l->first[index], hub, bytes);
    }
    /* The hub's T waits for all of them; the messages back wait for the same. */
    size_t last_edge = l->edge_count;
    for (uint32_t d = 0; d < devices; d++) {
        uint64_t t = sp_pass_table_find_output(l->table, SP_PASS_T, d, pass->microbatch, pass->slice);
        if (d == hub || t == SP_NO_PASS)
            continue;
        uint32_t raw = emit_message(l, SP_INSTRUCTION_SCATTER, index, hub, d, bytes, SP_NO_INDEX);
        for (size_t e = first_edge; e < last_edge; e++)
            if (l->edges[e].to == l->first[index])
                sp_lowering_wait(l, raw, l->edges[e].from);
        sp_lowering_wait(l, l->first[t], raw);
    }
}

static void connect_part(struct lowering *l, uint64_t index, uint32_t part_number)
{
    const struct sp_exchange_part *part = &l->plan->exchange[part_number];
    uint32_t layers = sp_lowering_layers(l, &part->pass);
    uint32_t from = l->device_of[index], to = part->device;
    struct sp_exchange_bytes bytes;
    sp_cost_exchange_bytes(l->cost, &part->pass, part->token_end - part->token_begin, &bytes);
    for (uint32_t k = 0; k < layers && !l->short_of_memory; k++) {
        struct layer_site site = l->sites[index][k];
        uint32_t guest = l->guest_of_layer[part_number][k];
        /* Keys and values of past slices are known: they go as soon as the device turns to this layer. */
        bool first_on_device = site.before == 0 || l->raw[site.before - 1].device != from;
        uint32_t ahead = first_on_device ? SP_NO_INDEX : site.before - 1;
        uint32_t early = emit_message(l, SP_INSTRUCTION_EARLY, index, from, to, bytes.early, ahead);
        uint32_t urgent = emit_message(l, SP_INSTRUCTION_URGENT, index, from, to, bytes.urgent, site.before);
        uint32_t result = emit_message(l, SP_INSTRUCTION_RESULT, index, to, from, bytes.result, guest);
        if (l->short_of_memory)
            return;
        l->raw[early].part = l->raw[urgent].part = l->raw[result].part = part_number;
        l->raw[early].layer = l->raw[urgent].layer = l->raw[result].layer = (uint16_t)k;
        sp_lowering_wait(l, guest, early);
        sp_lowering_wait(l, guest, urgent);
        sp_lowering_wait(l, site.after, result);
    }
}

void sp_lowering_connect(struct lowering *l)
{
    const struct sp_plan *plan = l->plan;
    bool split = plan->vocabulary == SP_VOCABULARY_SHARD1 || plan->vocabulary == SP_VOCABULARY_SHARD2;
    for (uint64_t i = 0; i < l->pass_count && !l->short_of_memory; i++) {
        const struct sp_pass *pass = &plan->order.passes[i];
        connect_hop(l, i);
        if (pass->kind == SP_PASS_W)
            connect_weight(l, i);
        else if (pass->kind == SP_PASS_S)
            connect_output_forward(l, i);
        else if (pass->kind == SP_PASS_T && split)
            connect_barrier(l, i);
        else if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
            connect_output_gradient(l, i);
        if (l->part_begin)
            for (uint64_t e = l->part_begin[i]; e < l->part_begin[i + 1] && !l->short_of_memory; e++)
                connect_part(l, i, (uint32_t)e);
    }
}
