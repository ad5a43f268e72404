/* SPDX-License-Identifier: Apache-2.0 */
/* Memory effects. What each pass allocates and releases is stated here and nowhere else. */
#include <assert.h>
#include <string.h>

#include "lowering.h"

void sp_draft_add(struct effect_draft *draft, enum draft_time time, enum sp_memory_category category,
                  int64_t bytes)
{
    if (!bytes)
        return;
    assert(draft->count[time] < DRAFT_LIMIT);
    draft->changes[time][draft->count[time]++] =
        (struct sp_memory_change){.bytes = bytes, .category = (uint8_t)category, .at_end = time == DRAFT_END};
}

/* Held while the instruction runs. */
static void draft_hold(struct effect_draft *draft, enum sp_memory_category category, int64_t bytes)
{
    sp_draft_add(draft, DRAFT_START, category, bytes);
    sp_draft_add(draft, DRAFT_END, category, -bytes);
}

static bool crosses(const struct lowering *l, uint64_t a, uint64_t b)
{
    return a != SP_NO_PASS && b != SP_NO_PASS && l->device_of[a] != l->device_of[b];
}

static bool stays(const struct lowering *l, uint64_t a, uint64_t b)
{
    return a != SP_NO_PASS && b != SP_NO_PASS && l->device_of[a] == l->device_of[b];
}

/* Buffers of the messages that the pass receives and sends, and of what goes on to a pass of its own device.
 */
static void draft_hops(const struct lowering *l, uint64_t index, const struct sp_unit_bytes *unit,
                       struct effect_draft *draft)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    int64_t buffers = crosses(l, l->hop_source[index], index);
    int32_t stage = pass->kind == SP_PASS_F ? sp_plan_next_stage(l->plan, pass->microbatch, pass->stage)
                                            : sp_plan_previous_stage(l->plan, pass->microbatch, pass->stage);
    uint64_t target = SP_NO_PASS;
    if (stage >= 0) {
        target = pass->kind == SP_PASS_F
                     ? sp_pass_table_find(l->table, SP_PASS_F, (uint32_t)stage, pass->microbatch, pass->slice)
                     : sp_pass_table_find_backward(l->table, (uint32_t)stage, pass->microbatch, pass->slice);
        buffers += crosses(l, index, target);
    }
    draft_hold(draft, SP_MEMORY_MESSAGES, buffers * unit->hop);
    if (stays(l, l->hop_source[index], index))
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_MESSAGES, -unit->local_hop);
    if (stays(l, index, target))
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_MESSAGES, unit->local_hop);
}

/* The device's own S or T of the slice whose last stage runs on it too; SP_NO_PASS elsewhere. */
static uint64_t own_output(const struct lowering *l, uint64_t index, enum sp_pass_kind kind)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    if (sp_plan_next_stage(l->plan, pass->microbatch, pass->stage) >= 0)
        return SP_NO_PASS;
    return sp_pass_table_find_output(l->table, kind, l->device_of[index], pass->microbatch, pass->slice);
}

/* Whether an S or T hands over on its own device: the hidden states come, the gradient goes without a
 * message. */
static bool hands_over_here(const struct lowering *l, uint64_t index, const struct sp_unit_bytes *unit)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    uint64_t forward = sp_pass_table_find(l->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice);
    return unit->local_hop && stays(l, forward, index);
}

/* S takes its share of hidden states at its start, or finds it; T leaves its gradient at its end, or to B. */
static void draft_share(const struct lowering *l, uint64_t index, const struct sp_unit_bytes *unit,
                        struct effect_draft *draft)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    int64_t bytes = sp_cost_output_bytes(l->cost, pass->slice);
    bool here = hands_over_here(l, index, unit);
    if (!here || pass->kind == SP_PASS_T)
        sp_draft_add(draft, DRAFT_START, SP_MEMORY_MESSAGES, bytes);
    if (!here || pass->kind == SP_PASS_S)
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_MESSAGES, -bytes);
}

/* The last stage's part in that: F leaves hidden states to S, B takes T's gradient. */
static void draft_output_share(const struct lowering *l, uint64_t index, const struct sp_unit_bytes *unit,
                               struct effect_draft *draft)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    bool forward = pass->kind == SP_PASS_F;
    int64_t bytes = sp_cost_output_bytes(l->cost, pass->slice);
    if (unit->local_hop && own_output(l, index, forward ? SP_PASS_S : SP_PASS_T) != SP_NO_PASS)
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_MESSAGES, forward ? bytes : -bytes);
}

static bool is_last_stage(const struct lowering *l, const struct sp_pass *pass)
{
    return sp_plan_next_stage(l->plan, pass->microbatch, pass->stage) < 0;
}

static bool output_in_last_stage(const struct lowering *l)
{
    return l->plan->vocabulary == SP_VOCABULARY_LAST || l->plan->vocabulary == SP_VOCABULARY_TILED;
}

static int64_t kv_of_slices(const struct lowering *l, uint32_t stage, uint32_t slices)
{
    int64_t bytes = 0;
    for (uint32_t s = 0; s < slices; s++) {
        struct sp_unit_bytes unit;
        sp_cost_unit_bytes(l->cost, stage, s, &unit);
        bytes += unit.kv;
    }
    return bytes;
}

static int64_t kv_gradient_of_slices(const struct lowering *l, uint32_t stage, uint32_t slices)
{
    int64_t bytes = 0;
    for (uint32_t s = 0; s < slices; s++) {
        struct sp_unit_bytes unit;
        sp_cost_unit_bytes(l->cost, stage, s, &unit);
        bytes += unit.kv_gradient;
    }
    return bytes;
}

static void draft_forward(const struct lowering *l, uint64_t index, const struct sp_unit_bytes *unit,
                          struct effect_draft *draft)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    bool trains = l->plan->stages[pass->stage].train != SP_TRAIN_NONE;
    sp_draft_add(draft, DRAFT_START, SP_MEMORY_KV_CACHE, unit->kv);
    draft->in_flight_start = 1;
    if (trains) {
        sp_draft_add(draft, DRAFT_START, SP_MEMORY_ACTIVATIONS, unit->activations);
    } else {
        draft_hold(draft, SP_MEMORY_ACTIVATIONS, unit->hop);
        draft->in_flight_end = -1;
        /* Keys and values serve the later slices of the microbatch, and no backward. */
        if (pass->slice + 1u == l->plan->slice_count)
            sp_draft_add(draft, DRAFT_END, SP_MEMORY_KV_CACHE,
                         -kv_of_slices(l, pass->stage, l->plan->slice_count));
    }
    if (is_last_stage(l, pass) && output_in_last_stage(l)) {
        sp_draft_add(draft, DRAFT_START, SP_MEMORY_LOGITS, unit->logits);
        if (!trains || l->plan->vocabulary == SP_VOCABULARY_TILED)
            sp_draft_add(draft, DRAFT_END, SP_MEMORY_LOGITS, -unit->logits);
    }
    if (l->unit_bytes && l->unit_bytes[index])
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_OFFLOAD, l->unit_bytes[index]);
}

/* The gradient of past slices' keys and values: compact in place, or the authors' old and new copies. */
static void draft_kv_gradient(const struct lowering *l, const struct sp_pass *pass,
                              const struct sp_unit_bytes *unit, struct effect_draft *draft)
{
    if (l->plan->slice_count == 1)
        return;
    bool first_backward = pass->slice + 1u == l->plan->slice_count;
    bool expanded = l->plan->kv_gradient == SP_KV_GRADIENT_EXPANDED;
    int64_t past_and_own =
        first_backward || expanded ? kv_gradient_of_slices(l, pass->stage, pass->slice + 1u) : 0;
    sp_draft_add(draft, DRAFT_START, SP_MEMORY_KV_GRADIENT, past_and_own);
    sp_draft_add(draft, DRAFT_END, SP_MEMORY_KV_GRADIENT, -unit->kv_gradient);
    if (expanded && !first_backward)
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_KV_GRADIENT, -past_and_own);
}

static void draft_backward(const struct lowering *l, uint64_t index, const struct sp_unit_bytes *unit,
                           struct effect_draft *draft)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    bool weights_follow =
        pass->kind == SP_PASS_I &&
        sp_pass_table_find(l->table, SP_PASS_W, pass->stage, pass->microbatch, pass->slice) != SP_NO_PASS;
    bool keeps_all = weights_follow && unit->weight_extra;
    if (keeps_all)
        sp_draft_add(draft, DRAFT_START, SP_MEMORY_ACTIVATIONS, unit->weight_extra);
    if (l->recomputed_before && l->recomputed_before[index])
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_RECOMPUTE, -unit->recompute);
    else if (!keeps_all)
        draft_hold(draft, SP_MEMORY_RECOMPUTE, unit->recompute);
    draft_kv_gradient(l, pass, unit, draft);
    sp_draft_add(draft, DRAFT_END, SP_MEMORY_ACTIVATIONS,
                 (weights_follow ? unit->weight_held : 0) - unit->activations -
                     (keeps_all ? unit->weight_extra : 0));
    sp_draft_add(draft, DRAFT_END, SP_MEMORY_KV_CACHE, -unit->kv);
    if (!weights_follow)
        draft->in_flight_end = -1;
    if (is_last_stage(l, pass) && output_in_last_stage(l)) {
        if (l->plan->vocabulary == SP_VOCABULARY_TILED)
            draft_hold(draft, SP_MEMORY_LOGITS, unit->logits);
        else
            sp_draft_add(draft, DRAFT_END, SP_MEMORY_LOGITS, -unit->logits);
    }
    if (l->unit_bytes) {
        uint64_t forward =
            sp_pass_table_find(l->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice);
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_OFFLOAD, -l->unit_bytes[forward]);
    }
}

void sp_draft_pass(const struct lowering *l, uint64_t index, struct effect_draft *draft)
{
    const struct sp_pass *pass = &l->plan->order.passes[index];
    struct sp_unit_bytes unit;
    sp_cost_unit_bytes(l->cost, pass->stage, pass->slice, &unit);
    if (l->release_bytes) {
        sp_draft_add(draft, DRAFT_RELEASE, SP_MEMORY_ACTIVATIONS, -l->release_bytes[index]);
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_ACTIVATIONS, l->anchor_bytes[index]);
    }
    switch (pass->kind) {
    case SP_PASS_F:
        draft_forward(l, index, &unit, draft);
        draft_hops(l, index, &unit, draft);
        draft_output_share(l, index, &unit, draft);
        break;
    case SP_PASS_B:
    case SP_PASS_I:
        draft_backward(l, index, &unit, draft);
        draft_hops(l, index, &unit, draft);
        draft_output_share(l, index, &unit, draft);
        break;
    case SP_PASS_W:
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_ACTIVATIONS, -unit.weight_held);
        draft->in_flight_end = -1;
        break;
    case SP_PASS_R:
        sp_draft_add(draft, DRAFT_START, SP_MEMORY_RECOMPUTE, unit.recompute);
        break;
    case SP_PASS_S:
        draft_share(l, index, &unit, draft);
        sp_draft_add(draft, DRAFT_START, SP_MEMORY_LOGITS, unit.logits);
        break;
    case SP_PASS_T:
        draft_share(l, index, &unit, draft);
        sp_draft_add(draft, DRAFT_END, SP_MEMORY_LOGITS, -unit.logits);
        break;
    default:
        break;
    }
}

static uint64_t hash_draft(const struct effect_draft *draft)
{
    uint64_t hash = (uint64_t)(draft->in_flight_start + 8 * draft->in_flight_end) + 1469598103934665603u;
    for (int time = 0; time < DRAFT_TIMES; time++) {
        for (int i = 0; i < draft->count[time]; i++) {
            const struct sp_memory_change *change = &draft->changes[time][i];
            hash = (hash ^ (uint64_t)change->bytes) * 1099511628211u;
            hash = (hash ^ (uint64_t)(change->category * 4 + time)) * 1099511628211u;
        }
    }
    return hash ^ hash >> 29;
}

static bool same_effect(const struct lowering *l, const struct sp_memory_effect *effect,
                        const struct effect_draft *draft)
{
    uint32_t at = effect->begin;
    int total = draft->count[0] + draft->count[1] + draft->count[2];
    if (effect->end - effect->begin != (uint32_t)total || effect->in_flight_start != draft->in_flight_start ||
        effect->in_flight_end != draft->in_flight_end)
        return false;
    for (int time = 0; time < DRAFT_TIMES; time++) {
        for (int i = 0; i < draft->count[time]; i++, at++) {
            const struct sp_memory_change *a = &l->changes[at], *b = &draft->changes[time][i];
            if (a->bytes != b->bytes || a->category != b->category || a->at_end != b->at_end)
                return false;
        }
    }
    return true;
}

static bool add_effect(struct lowering *l, const struct effect_draft *draft)
{
    if (!sp_lowering_reserve(l, (void **)&l->effects, l->effect_count, &l->effect_capacity,
                             sizeof *l->effects))
        return false;
    struct sp_memory_effect effect = {.begin = (uint32_t)l->change_count,
                                      .in_flight_start = (int8_t)draft->in_flight_start,
                                      .in_flight_end = (int8_t)draft->in_flight_end};
    for (int time = 0; time < DRAFT_TIMES; time++) {
        for (int i = 0; i < draft->count[time]; i++) {
            if (!sp_lowering_reserve(l, (void **)&l->changes, l->change_count, &l->change_capacity,
                                     sizeof *l->changes))
                return false;
            l->changes[l->change_count++] = draft->changes[time][i];
        }
    }
    effect.end = (uint32_t)l->change_count;
    l->effects[l->effect_count++] = effect;
    return true;
}

static struct effect_draft draft_of_effect(const struct lowering *l, const struct sp_memory_effect *effect)
{
    struct effect_draft draft = {.in_flight_start = effect->in_flight_start,
                                 .in_flight_end = effect->in_flight_end};
    for (uint32_t i = effect->begin; i < effect->end; i++) {
        const struct sp_memory_change *change = &l->changes[i];
        enum draft_time time = change->at_end ? DRAFT_END : change->bytes < 0 ? DRAFT_RELEASE : DRAFT_START;
        draft.changes[time][draft.count[time]++] = *change;
    }
    return draft;
}

static bool grow_slots(struct lowering *l)
{
    size_t grown = l->slot_count ? l->slot_count * 2 : 1024;
    uint32_t *slots = sp_alloc(grown, sizeof *slots);
    if (!slots) {
        l->short_of_memory = true;
        return false;
    }
    for (size_t e = 1; e < l->effect_count; e++) {
        struct effect_draft draft = draft_of_effect(l, &l->effects[e]);
        size_t at = hash_draft(&draft) & (grown - 1);
        while (slots[at])
            at = (at + 1) & (grown - 1);
        slots[at] = (uint32_t)e;
    }
    sp_free(l->effect_slots);
    l->effect_slots = slots;
    l->slot_count = grown;
    return true;
}

uint32_t sp_lowering_effect(struct lowering *l, const struct effect_draft *draft)
{
    if (!draft->count[0] && !draft->count[1] && !draft->count[2] && !draft->in_flight_start &&
        !draft->in_flight_end && l->effect_count)
        return 0;
    if ((l->effect_count + 1) * 2 > l->slot_count && !grow_slots(l))
        return 0;
    size_t at = hash_draft(draft) & (l->slot_count - 1);
    for (; l->effect_slots[at]; at = (at + 1) & (l->slot_count - 1))
        if (same_effect(l, &l->effects[l->effect_slots[at]], draft))
            return l->effect_slots[at];
    if (!add_effect(l, draft))
        return 0;
    if (l->effect_count > 1)
        l->effect_slots[at] = (uint32_t)l->effect_count - 1;
    return (uint32_t)l->effect_count - 1;
}
