/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offload: a unit's copy out starts when its F has ended, its bytes leave the device once the next forward
 * has run beside the copy; its reload is queued two backwards ahead of its own. A unit whose release would
 * not come before its reload stays on the device. O and L passes of the order, where it has any, say instead
 * which units leave, when their copy out starts, and when their reload does.
 */
#include <stdlib.h>

#include "lowering.h"

/* Backwards between a reload's start and its use. */
enum { RELOAD_AHEAD = 2 };

static bool any_offload(const struct sp_plan *plan)
{
    for (uint32_t s = 0; s < plan->stage_count; s++)
        if (plan->stages[s].offload_permille)
            return true;
    return false;
}

static bool is_backward(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
}

static uint64_t next_forward(const struct lowering *l, uint64_t pass)
{
    uint64_t i = sp_lowering_next_pass(l, pass);
    while (i != SP_NO_PASS && l->plan->order.passes[i].kind != SP_PASS_F)
        i = sp_lowering_next_pass(l, i);
    return i;
}

static void add_copy(struct lowering *l, const struct copy *copy)
{
    bool fits = copy->source != SP_NO_PASS && copy->release != SP_NO_PASS && copy->anchor != SP_NO_PASS &&
                copy->backward != SP_NO_PASS && copy->release <= copy->anchor &&
                copy->anchor < copy->backward;
    if (!fits || !copy->bytes ||
        !sp_lowering_reserve(l, (void **)&l->copies, l->copy_count, &l->copy_capacity, sizeof *l->copies))
        return;
    l->copies[l->copy_count++] = *copy;
    l->release_bytes[copy->release] += copy->bytes;
    l->anchor_bytes[copy->anchor] += copy->bytes;
    l->unit_bytes[copy->unit] = copy->bytes;
}

static int64_t offloaded_bytes(const struct lowering *l, const struct sp_pass *pass)
{
    struct sp_unit_bytes unit;
    sp_cost_unit_bytes(l->cost, pass->stage, pass->slice, &unit);
    return unit.offloaded;
}

/* anchors[i]: the backward RELOAD_AHEAD before pass i among the device's backwards. */
static void plan_device(struct lowering *l, uint32_t device, uint64_t *anchors)
{
    const struct sp_order *order = &l->plan->order;
    uint64_t recent[RELOAD_AHEAD];
    for (int k = 0; k < RELOAD_AHEAD; k++)
        recent[k] = SP_NO_PASS;
    for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
        anchors[i] = SP_NO_PASS;
        if (!is_backward(&order->passes[i]))
            continue;
        anchors[i] = recent[0];
        for (int k = 0; k + 1 < RELOAD_AHEAD; k++)
            recent[k] = recent[k + 1];
        recent[RELOAD_AHEAD - 1] = i;
    }
    for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
        const struct sp_pass *pass = &order->passes[i];
        if (pass->kind != SP_PASS_F || !l->plan->stages[pass->stage].offload_permille)
            continue;
        struct copy copy = {.unit = i, .source = i, .bytes = offloaded_bytes(l, pass)};
        uint64_t beside = next_forward(l, i);
        copy.release = beside == SP_NO_PASS ? SP_NO_PASS : sp_lowering_next_pass(l, beside);
        copy.backward = sp_pass_table_find_backward(l->table, pass->stage, pass->microbatch, pass->slice);
        copy.anchor = copy.backward == SP_NO_PASS ? SP_NO_PASS : anchors[copy.backward];
        add_copy(l, &copy);
    }
}

/* The order says when: O and L tokens. */
static void plan_explicit(struct lowering *l)
{
    for (uint64_t i = 0; i < l->pass_count; i++) {
        const struct sp_pass *pass = &l->plan->order.passes[i];
        if (pass->kind != SP_PASS_O)
            continue;
        uint64_t reload = sp_pass_table_find(l->table, SP_PASS_L, pass->stage, pass->microbatch, pass->slice);
        uint64_t beside = next_forward(l, i);
        struct copy copy = {
            .unit = sp_pass_table_find(l->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice),
            .source = sp_lowering_previous_pass(l, i),
            .release = beside == SP_NO_PASS ? SP_NO_PASS : sp_lowering_next_pass(l, beside),
            .anchor = reload == SP_NO_PASS ? SP_NO_PASS : sp_lowering_previous_pass(l, reload),
            .backward = sp_pass_table_find_backward(l->table, pass->stage, pass->microbatch, pass->slice),
            .bytes = offloaded_bytes(l, pass)};
        if (copy.unit != SP_NO_PASS)
            add_copy(l, &copy);
    }
}

static bool has_explicit(const struct lowering *l)
{
    for (uint64_t i = 0; i < l->pass_count; i++)
        if (l->plan->order.passes[i].kind == SP_PASS_O)
            return true;
    return false;
}

void sp_lowering_plan_copies(struct lowering *l)
{
    if (!any_offload(l->plan))
        return;
    l->release_bytes = sp_arena_alloc(l->scratch, l->pass_count, sizeof *l->release_bytes);
    l->anchor_bytes = sp_arena_alloc(l->scratch, l->pass_count, sizeof *l->anchor_bytes);
    l->unit_bytes = sp_arena_alloc(l->scratch, l->pass_count, sizeof *l->unit_bytes);
    uint64_t *anchors = sp_arena_alloc(l->scratch, l->pass_count, sizeof *anchors);
    if (!l->release_bytes || !l->anchor_bytes || !l->unit_bytes || !anchors) {
        l->short_of_memory = true;
        return;
    }
    if (has_explicit(l)) {
        plan_explicit(l);
        return;
    }
    for (uint32_t d = 0; d < l->plan->order.device_count; d++)
        plan_device(l, d, anchors);
}

static uint32_t emit_copy(struct lowering *l, const struct copy *copy, enum sp_instruction_kind kind,
                          enum sp_stream stream)
{
    uint16_t device = l->device_of[copy->unit];
    struct sp_transfer transfer = sp_cost_host_copy(l->cost, device, copy->bytes);
    struct sp_instruction instruction = {.kind = (uint8_t)kind,
                                         .stream = (uint8_t)stream,
                                         .device = device,
                                         .peer = device,
                                         .layer = SP_WHOLE_PASS,
                                         .pass = (uint32_t)copy->unit,
                                         .part = SP_NO_INDEX,
                                         .duration_ns = transfer.latency_ns + transfer.busy_ns,
                                         .bytes = copy->bytes};
    return sp_lowering_emit(l, &instruction);
}

/* Reloads run in the order in which they are queued: by anchor, which is not the order of the units. */
static int compare_anchor(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    return x->anchor != y->anchor       ? (x->anchor > y->anchor) - (x->anchor < y->anchor)
           : x->backward != y->backward ? (x->backward > y->backward) - (x->backward < y->backward)
                                        : 0;
}

void sp_lowering_emit_copies(struct lowering *l)
{
    size_t begin = 0;
    while (begin < l->copy_count && !l->short_of_memory) {
        size_t end = begin;
        while (end < l->copy_count &&
               l->device_of[l->copies[end].unit] == l->device_of[l->copies[begin].unit])
            end++;
        for (size_t i = begin; i < end; i++) {
            uint32_t raw = emit_copy(l, &l->copies[i], SP_INSTRUCTION_OFFLOAD, SP_STREAM_OFFLOAD);
            sp_lowering_wait(l, raw, l->last[l->copies[i].source]);
            sp_lowering_wait(l, l->first[l->copies[i].release], raw);
        }
        qsort(l->copies + begin, end - begin, sizeof *l->copies, compare_anchor);
        for (size_t i = begin; i < end; i++) {
            uint32_t raw = emit_copy(l, &l->copies[i], SP_INSTRUCTION_RELOAD, SP_STREAM_RELOAD);
            sp_lowering_wait(l, raw, l->last[l->copies[i].anchor]);
            sp_lowering_wait(l, l->first[l->copies[i].backward], raw);
        }
        begin = end;
    }
}
