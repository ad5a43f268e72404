/* SPDX-License-Identifier: Apache-2.0 */
/* Compute streams: what each device runs, in order. */
#include "lowering.h"

/* Merges a second draft into one for the same instruction. */
static void merge_draft(struct effect_draft *draft, const struct effect_draft *more)
{
    for (int time = 0; time < DRAFT_TIMES; time++)
        for (int i = 0; i < more->count[time]; i++)
            sp_draft_add(draft, (enum draft_time)time, more->changes[time][i].category,
                         more->changes[time][i].bytes);
    draft->in_flight_start += more->in_flight_start;
    draft->in_flight_end += more->in_flight_end;
}

/* The changes of a whole pass, of which the first instruction takes the start and the last the end. */
static struct effect_draft part_of_draft(const struct effect_draft *whole, bool first, bool last)
{
    struct effect_draft draft = {.in_flight_start = first ? whole->in_flight_start : 0,
                                 .in_flight_end = last ? whole->in_flight_end : 0};
    for (int time = 0; time < DRAFT_TIMES; time++)
        if (time == DRAFT_END ? last : first)
            for (int i = 0; i < whole->count[time]; i++)
                draft.changes[time][draft.count[time]++] = whole->changes[time][i];
    return draft;
}

static struct sp_instruction compute(enum sp_instruction_kind kind, uint64_t pass, uint32_t device)
{
    return (struct sp_instruction){.kind = (uint8_t)kind,
                                   .stream = SP_STREAM_COMPUTE,
                                   .device = (uint16_t)device,
                                   .peer = (uint16_t)device,
                                   .layer = SP_WHOLE_PASS,
                                   .pass = (uint32_t)pass,
                                   .part = SP_NO_INDEX};
}

static void emit_whole(struct lowering *l, uint64_t index, uint32_t device)
{
    struct effect_draft draft = {.count = {0}};
    struct sp_instruction instruction = compute(SP_INSTRUCTION_PASS, index, device);
    sp_draft_pass(l, index, &draft);
    instruction.duration_ns = sp_cost_pass_ns(l->cost, &l->plan->order.passes[index]);
    instruction.memory = sp_lowering_effect(l, &draft);
    l->first[index] = l->last[index] = sp_lowering_emit(l, &instruction);
}

static void emit_joined(struct lowering *l, uint64_t index, uint32_t device)
{
    struct effect_draft draft = {.count = {0}}, second = {.count = {0}};
    struct sp_instruction instruction = compute(SP_INSTRUCTION_JOINED, index, device);
    sp_draft_pass(l, index, &draft);
    sp_draft_pass(l, index + 1, &second);
    merge_draft(&draft, &second);
    instruction.duration_ns =
        sp_cost_joined_ns(l->cost, &l->plan->order.passes[index], &l->plan->order.passes[index + 1]);
    instruction.memory = sp_lowering_effect(l, &draft);
    l->first[index] = l->last[index] = sp_lowering_emit(l, &instruction);
    l->first[index + 1] = l->last[index + 1] = l->first[index];
}

/* One layer of a part, computed on `device`; buffers for what comes and goes are held meanwhile. */
static void emit_guest(struct lowering *l, uint32_t part_number, uint32_t layer, uint32_t device)
{
    const struct sp_exchange_part *part = &l->plan->exchange[part_number];
    int64_t tokens = part->token_end - part->token_begin;
    struct effect_draft draft = {.count = {0}};
    struct sp_exchange_bytes bytes;
    uint64_t requester = sp_pass_table_find(l->table, part->pass.kind, part->pass.stage,
                                            part->pass.microbatch, part->pass.slice);
    struct sp_instruction guest = compute(SP_INSTRUCTION_GUEST, requester, device);
    sp_cost_exchange_bytes(l->cost, &part->pass, tokens, &bytes);
    int64_t held = bytes.early + bytes.urgent + bytes.result;
    sp_draft_add(&draft, DRAFT_START, SP_MEMORY_EXCHANGE, held);
    sp_draft_add(&draft, DRAFT_END, SP_MEMORY_EXCHANGE, -held);
    guest.peer = l->device_of[requester];
    guest.layer = (uint16_t)layer;
    guest.part = part_number;
    guest.duration_ns = sp_cost_guest_ns(l->cost, &part->pass, tokens);
    guest.memory = sp_lowering_effect(l, &draft);
    l->guest_of_layer[part_number][layer] = sp_lowering_emit(l, &guest);
}

/* Guests before or after a pass, one part after the other. */
static void emit_guests_beside(struct lowering *l, uint64_t anchor, enum sp_anchor where, uint32_t device)
{
    for (uint64_t i = l->guest_begin[anchor]; i < l->guest_begin[anchor + 1]; i++) {
        const struct sp_exchange_part *part = &l->plan->exchange[l->guests[i]];
        uint32_t layers = sp_lowering_layers(l, &part->pass);
        for (uint32_t k = 0; k < layers && part->where == (uint32_t)where; k++)
            emit_guest(l, l->guests[i], k, device);
    }
}

/*
 * Guests during a pass of `of_layers` layers: own layer `layer` hosts the requesters' layers that fall on it
 * in proportion, so that all run side by side from first to last. A layer of all parts comes before the next
 * of any: a requester goes on to its next layer only when all its parts of this one are back.
 */
static void emit_guests_during(struct lowering *l, uint64_t anchor, uint32_t layer, uint32_t of_layers,
                               uint32_t device)
{
    bool more = true;
    for (uint32_t k = 0; more; k++) {
        more = false;
        for (uint64_t i = l->guest_begin[anchor]; i < l->guest_begin[anchor + 1]; i++) {
            const struct sp_exchange_part *part = &l->plan->exchange[l->guests[i]];
            uint32_t layers = sp_lowering_layers(l, &part->pass);
            if (part->where != SP_ANCHOR_DURING || k >= layers)
                continue;
            more = true;
            if ((uint64_t)k * of_layers / layers == layer)
                emit_guest(l, l->guests[i], k, device);
        }
    }
}

/* Tokens of the pass's past that other devices take over. */
static int64_t given_tokens(const struct lowering *l, uint64_t index)
{
    int64_t tokens = 0;
    for (uint64_t e = l->part_begin[index]; e < l->part_begin[index + 1]; e++)
        tokens += l->plan->exchange[e].token_end - l->plan->exchange[e].token_begin;
    return tokens;
}

/* Buffers for partial results of one layer, held until they are merged. */
static void draft_results(const struct lowering *l, uint64_t index, struct effect_draft *draft)
{
    int64_t held = 0;
    for (uint64_t e = l->part_begin[index]; e < l->part_begin[index + 1]; e++) {
        const struct sp_exchange_part *part = &l->plan->exchange[e];
        struct sp_exchange_bytes bytes;
        sp_cost_exchange_bytes(l->cost, &part->pass, part->token_end - part->token_begin, &bytes);
        held += bytes.result;
    }
    sp_draft_add(draft, DRAFT_START, SP_MEMORY_EXCHANGE, held);
    sp_draft_add(draft, DRAFT_END, SP_MEMORY_EXCHANGE, -held);
}

static bool hosts_during(const struct lowering *l, uint64_t index)
{
    for (uint64_t i = l->guest_begin[index]; i < l->guest_begin[index + 1]; i++)
        if (l->plan->exchange[l->guests[i]].where == SP_ANCHOR_DURING)
            return true;
    return false;
}

/* A pass that gives parts away or hosts guests: before, attention, guests, after, layer by layer. */
static void emit_layers(struct lowering *l, uint64_t index, uint32_t device)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    uint32_t layers = sp_lowering_layers(l, pass);
    int parts = (int)(l->part_begin[index + 1] - l->part_begin[index]);
    int64_t kept_past = sp_plan_slice_begin(l->plan, pass->slice) - given_tokens(l, index);
    struct effect_draft whole = {.count = {0}};
    struct sp_layer_cost cost, own;
    bool hosts = hosts_during(l, index);
    sp_draft_pass(l, index, &whole);
    sp_cost_layer(l->cost, pass, kept_past, parts, &cost);
    sp_cost_layer(l->cost, pass, 0, parts, &own);
    if (parts && !(l->sites[index] = sp_arena_alloc(l->scratch, layers, sizeof *l->sites[index]))) {
        l->short_of_memory = true;
        return;
    }
    for (uint32_t k = 0; k < layers && !l->short_of_memory; k++) {
        bool last = k + 1 == layers;
        struct effect_draft before = part_of_draft(&whole, k == 0, false);
        struct effect_draft after = part_of_draft(&whole, false, last);
        struct sp_instruction instruction = compute(SP_INSTRUCTION_BEFORE, index, device);
        instruction.layer = (uint16_t)k;
        instruction.duration_ns = cost.before_ns;
        instruction.memory = sp_lowering_effect(l, &before);
        uint32_t raw_before = sp_lowering_emit(l, &instruction);
        instruction.kind = SP_INSTRUCTION_ATTENTION;
        instruction.duration_ns = hosts ? own.attention_ns : cost.attention_ns;
        instruction.memory = 0;
        sp_lowering_emit(l, &instruction);
        emit_guests_during(l, index, k, layers, device);
        if (hosts && cost.attention_ns > own.attention_ns) {
            instruction.kind = SP_INSTRUCTION_PAST;
            instruction.duration_ns = cost.attention_ns - own.attention_ns;
            sp_lowering_emit(l, &instruction);
        }
        draft_results(l, index, &after);
        instruction.kind = SP_INSTRUCTION_AFTER;
        instruction.duration_ns = cost.after_ns;
        instruction.memory = sp_lowering_effect(l, &after);
        uint32_t raw_after = sp_lowering_emit(l, &instruction);
        if (k == 0)
            l->first[index] = raw_before;
        l->last[index] = raw_after;
        if (parts)
            l->sites[index][k] = (struct layer_site){.before = raw_before, .after = raw_after};
    }
}

static bool has_attention(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_F || pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
}

static void emit_pass(struct lowering *l, uint64_t index, uint32_t device)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    if (!l->part_begin) {
        emit_whole(l, index, device);
        return;
    }
    bool gives = l->part_begin[index + 1] > l->part_begin[index];
    bool hosts = hosts_during(l, index);
    emit_guests_beside(l, index, SP_ANCHOR_BEFORE, device);
    if (has_attention(pass) && (gives || hosts)) {
        emit_layers(l, index, device);
    } else {
        emit_whole(l, index, device);
        emit_guests_during(l, index, 0, 1, device);
    }
    emit_guests_beside(l, index, SP_ANCHOR_AFTER, device);
}

static void emit_step(struct lowering *l, uint32_t device)
{
    int64_t duration = sp_cost_step_ns(l->cost, device);
    struct sp_instruction step = compute(SP_INSTRUCTION_STEP, SP_NO_INDEX, device);
    step.duration_ns = duration;
    if (duration > 0)
        sp_lowering_emit(l, &step);
}

void sp_lowering_emit_compute(struct lowering *l)
{
    const struct sp_order *order = &l->plan->order;
    for (uint32_t d = 0; d < order->device_count; d++) {
        for (uint64_t i = order->begin[d]; i < order->begin[d + 1] && !l->short_of_memory; i++) {
            const struct sp_pass *pass = &order->passes[i];
            if (pass->kind == SP_PASS_O || pass->kind == SP_PASS_L)
                continue;
            if (pass->joined) {
                emit_joined(l, i, d);
                i++;
            } else {
                emit_pass(l, i, d);
            }
        }
        emit_step(l, d);
    }
}
