/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "lowering.h"

bool sp_lowering_reserve(struct lowering *l, void **items, size_t count, size_t *capacity, size_t size)
{
    if (l->short_of_memory)
        return false;
    if (count < *capacity)
        return true;
    size_t grown = *capacity < 512 ? 1024 : *capacity * 2;
    void *block = sp_realloc(*items, grown, size);
    if (!block) {
        l->short_of_memory = true;
        return false;
    }
    *items = block;
    *capacity = grown;
    return true;
}

uint32_t sp_lowering_emit(struct lowering *l, const struct sp_instruction *instruction)
{
    if (l->raw_count >= SP_NO_INDEX - 1)
        l->short_of_memory = true;
    if (!sp_lowering_reserve(l, (void **)&l->raw, l->raw_count, &l->raw_capacity, sizeof *l->raw))
        return SP_NO_INDEX;
    l->raw[l->raw_count] = *instruction;
    return (uint32_t)l->raw_count++;
}

void sp_lowering_wait(struct lowering *l, uint32_t to, uint32_t from)
{
    if (to == SP_NO_INDEX || from == SP_NO_INDEX)
        return;
    if (!sp_lowering_reserve(l, (void **)&l->edges, l->edge_count, &l->edge_capacity, sizeof *l->edges))
        return;
    l->edges[l->edge_count++] = (struct edge){.to = to, .from = from};
}

static bool is_compute(const struct sp_pass *pass)
{
    return pass->kind != SP_PASS_O && pass->kind != SP_PASS_L;
}

uint64_t sp_lowering_next_pass(const struct lowering *l, uint64_t pass)
{
    uint64_t end = l->plan->order.begin[l->device_of[pass] + 1];
    for (uint64_t i = pass + 1; i < end; i++)
        if (is_compute(&l->plan->order.passes[i]))
            return i;
    return SP_NO_PASS;
}

uint64_t sp_lowering_previous_pass(const struct lowering *l, uint64_t pass)
{
    uint64_t begin = l->plan->order.begin[l->device_of[pass]];
    for (uint64_t i = pass; i > begin; i--)
        if (is_compute(&l->plan->order.passes[i - 1]))
            return i - 1;
    return SP_NO_PASS;
}

uint32_t sp_lowering_layers(const struct lowering *l, const struct sp_pass *pass)
{
    uint32_t layers = l->plan->stages[pass->stage].layer_count;
    return layers ? layers : 1;
}

/* The pass whose hidden states or gradient this one receives. */
static uint64_t find_hop_source(const struct lowering *l, const struct sp_pass *pass)
{
    if (pass->kind == SP_PASS_F) {
        int32_t stage = sp_plan_previous_stage(l->plan, pass->microbatch, pass->stage);
        return stage < 0
                   ? SP_NO_PASS
                   : sp_pass_table_find(l->table, SP_PASS_F, (uint32_t)stage, pass->microbatch, pass->slice);
    }
    if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I) {
        int32_t stage = sp_plan_next_stage(l->plan, pass->microbatch, pass->stage);
        return stage < 0
                   ? SP_NO_PASS
                   : sp_pass_table_find_backward(l->table, (uint32_t)stage, pass->microbatch, pass->slice);
    }
    return SP_NO_PASS;
}

static void *scratch_array(struct lowering *l, size_t count, size_t size)
{
    void *array = l->short_of_memory ? NULL : sp_arena_alloc(l->scratch, count, size);
    if (!array)
        l->short_of_memory = true;
    return array;
}

static void fill_pass_arrays(struct lowering *l)
{
    const struct sp_order *order = &l->plan->order;
    size_t count = l->pass_count;
    l->device_of = scratch_array(l, count + 1, sizeof *l->device_of);
    l->first = scratch_array(l, count + 1, sizeof *l->first);
    l->last = scratch_array(l, count + 1, sizeof *l->last);
    l->hop_source = scratch_array(l, count + 1, sizeof *l->hop_source);
    if (l->short_of_memory)
        return;
    bool has_recompute_pass = false;
    for (uint32_t d = 0; d < order->device_count; d++) {
        for (uint64_t i = order->begin[d]; i < order->begin[d + 1]; i++) {
            l->device_of[i] = (uint16_t)d;
            l->first[i] = l->last[i] = SP_NO_INDEX;
            l->hop_source[i] = find_hop_source(l, &order->passes[i]);
            has_recompute_pass |= order->passes[i].kind == SP_PASS_R;
        }
    }
    if (!has_recompute_pass || !(l->recomputed_before = scratch_array(l, count, sizeof(bool))))
        return;
    for (uint64_t i = 0; i < count; i++) {
        const struct sp_pass *pass = &order->passes[i];
        if (pass->kind != SP_PASS_R)
            continue;
        uint64_t backward = sp_pass_table_find_backward(l->table, pass->stage, pass->microbatch, pass->slice);
        if (backward != SP_NO_PASS)
            l->recomputed_before[backward] = true;
    }
}

static uint64_t index_of(const struct lowering *l, const struct sp_pass *pass, uint32_t device)
{
    if (pass->kind == SP_PASS_S || pass->kind == SP_PASS_T)
        return sp_pass_table_find_output(l->table, pass->kind, device, pass->microbatch, pass->slice);
    return sp_pass_table_find(l->table, pass->kind, pass->stage, pass->microbatch, pass->slice);
}

/* Parts by requesting pass and by anchor, both as ranges over part numbers in their given order. */
static void fill_exchange_arrays(struct lowering *l)
{
    const struct sp_plan *plan = l->plan;
    if (!plan->exchange_count)
        return;
    l->part_begin = scratch_array(l, l->pass_count + 1, sizeof *l->part_begin);
    l->guest_begin = scratch_array(l, l->pass_count + 1, sizeof *l->guest_begin);
    l->guests = scratch_array(l, plan->exchange_count, sizeof *l->guests);
    l->sites = scratch_array(l, l->pass_count, sizeof *l->sites);
    l->guest_of_layer = scratch_array(l, plan->exchange_count, sizeof *l->guest_of_layer);
    if (l->short_of_memory)
        return;
    for (uint64_t e = 0; e < plan->exchange_count; e++) {
        const struct sp_exchange_part *part = &plan->exchange[e];
        l->part_begin[index_of(l, &part->pass, 0) + 1]++;
        l->guest_begin[index_of(l, &part->anchor, part->device) + 1]++;
        uint32_t layers = sp_lowering_layers(l, &part->pass);
        if (!(l->guest_of_layer[e] = scratch_array(l, layers, sizeof(uint32_t))))
            return;
    }
    for (uint64_t i = 0; i < l->pass_count; i++) {
        l->part_begin[i + 1] += l->part_begin[i];
        l->guest_begin[i + 1] += l->guest_begin[i];
    }
    uint64_t *cursor = scratch_array(l, l->pass_count, sizeof *cursor);
    if (!cursor)
        return;
    for (uint64_t e = 0; e < plan->exchange_count; e++) {
        uint64_t anchor = index_of(l, &plan->exchange[e].anchor, plan->exchange[e].device);
        l->guests[l->guest_begin[anchor] + cursor[anchor]++] = (uint32_t)e;
    }
}

/* Memory that is there for the whole iteration. */
static void fill_resident(const struct lowering *l, struct sp_program *program)
{
    for (uint32_t d = 0; d < program->device_count; d++)
        for (int c = 0; c < SP_MEMORY_CATEGORIES; c++)
            program->resident[d][c] = sp_cost_resident_bytes(l->cost, d, (enum sp_memory_category)c);
}

static enum sp_status lower(struct lowering *l, struct sp_program *program, struct sp_error *error)
{
    static const struct effect_draft empty;
    fill_pass_arrays(l);
    fill_exchange_arrays(l);
    if (!l->short_of_memory) {
        sp_lowering_effect(l, &empty);
        sp_lowering_plan_copies(l);
        sp_lowering_emit_compute(l);
        sp_lowering_emit_copies(l);
        sp_lowering_connect(l);
    }
    if (l->short_of_memory)
        return sp_error_set(error, SP_MEMORY, "out of memory while lowering %llu passes",
                            (unsigned long long)l->pass_count);
    return sp_lowering_number(l, program, error);
}

/* Copies the effects into the program's arena: they outlive the workspace. */
static bool keep_effects(const struct lowering *l, struct sp_program *program)
{
    program->effects = sp_arena_alloc(program->arena, l->effect_count, sizeof *l->effects);
    program->changes = sp_arena_alloc(program->arena, l->change_count + 1, sizeof *l->changes);
    if (!program->effects || !program->changes)
        return false;
    program->effect_count = (uint32_t)l->effect_count;
    program->change_count = (uint32_t)l->change_count;
    memcpy(program->effects, l->effects, l->effect_count * sizeof *l->effects);
    if (l->change_count)
        memcpy(program->changes, l->changes, l->change_count * sizeof *l->changes);
    return true;
}

static enum sp_status fill_program(struct lowering *l, struct sp_program *program, struct sp_error *error)
{
    uint32_t devices = l->plan->order.device_count;
    program->device_count = devices;
    program->resident = sp_arena_alloc(program->arena, devices, sizeof *program->resident);
    uint32_t *host_port = sp_arena_alloc(program->arena, devices, sizeof *host_port);
    if (!program->resident || !host_port)
        return sp_error_set(error, SP_MEMORY, "out of memory while lowering %u devices", devices);
    for (uint32_t d = 0; d < devices; d++)
        host_port[d] = sp_cost_host_port(l->cost, d);
    program->host_port = host_port;
    fill_resident(l, program);
    enum sp_status status = lower(l, program, error);
    program->latency_ns[0] = l->latency_ns[0];
    program->latency_ns[1] = l->latency_ns[1];
    program->model_flops = sp_cost_model_flops(l->cost);
    program->peak_flops = sp_cost_peak_flops(l->cost);
    program->tokens = sp_cost_tokens(l->cost);
    if (status == SP_OK && !keep_effects(l, program))
        status = sp_error_set(error, SP_MEMORY, "out of memory while lowering the memory effects");
    return status;
}

static void drop_workspace(struct lowering *l)
{
    sp_free(l->raw);
    sp_free(l->edges);
    sp_free(l->copies);
    sp_free(l->effects);
    sp_free(l->changes);
    sp_free(l->effect_slots);
    sp_arena_destroy(l->scratch);
}

enum sp_status sp_program_create(const struct sp_plan *plan, struct sp_program **ret_program,
                                 struct sp_error *error)
{
    enum sp_status status = SP_OK;
    struct sp_cost *cost = NULL;
    struct lowering l = {.plan = plan, .pass_count = plan->order.begin[plan->order.device_count]};
    struct sp_arena *arena = sp_arena_create();
    struct sp_program *program = arena ? sp_arena_alloc(arena, 1, sizeof *program) : NULL;
    l.scratch = sp_arena_create();
    l.table = l.scratch ? sp_pass_table_create(plan, l.scratch) : NULL;
    if (!program || !l.scratch || !l.table) {
        status = sp_error_set(error, SP_MEMORY, "out of memory while lowering the plan");
        goto out;
    }
    status = sp_cost_create(plan, &cost, error);
    if (status != SP_OK)
        goto out;
    program->arena = arena;
    program->plan = plan;
    program->cost = l.cost = cost;
    status = fill_program(&l, program, error);
out:
    drop_workspace(&l);
    if (status == SP_OK) {
        *ret_program = program;
    } else {
        sp_cost_destroy(cost);
        sp_arena_destroy(arena);
    }
    return status;
}

void sp_program_destroy(struct sp_program *program)
{
    if (!program)
        return;
    sp_cost_destroy((struct sp_cost *)program->cost);
    sp_arena_destroy(program->arena);
}

const char *const sp_instruction_names[SP_INSTRUCTION_KINDS] = {
#define X(name, text) text,
    SP_INSTRUCTION_LIST(X)
#undef X
};
