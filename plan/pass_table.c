/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One dense array per kind of pass that occurs, by (stage or device, microbatch, slice). Entries hold the
 * index plus one in 32 bits, so that zeroed memory is an empty table.
 */
#include "pass_table.h"

struct sp_pass_table {
    size_t microbatches, slices;
    size_t rows[SP_PASS_KINDS]; /* stages, or devices for S and T; 0 where the kind does not occur */
    uint32_t *entries[SP_PASS_KINDS];
};

_Static_assert(SP_MAX_PASSES < UINT32_MAX, "an index plus one fits an entry");

static bool is_output(enum sp_pass_kind kind)
{
    return kind == SP_PASS_S || kind == SP_PASS_T;
}

struct sp_pass_table *sp_pass_table_create_empty(const struct sp_plan *plan, struct sp_arena *arena)
{
    struct sp_pass_table *table = sp_arena_alloc(arena, 1, sizeof *table);
    if (!table)
        return NULL;
    table->microbatches = (size_t)plan->workload.microbatches;
    table->slices = plan->slice_count;
    uint64_t end = plan->order.begin[plan->order.device_count];
    for (uint64_t i = 0; i < end; i++)
        table->rows[plan->order.passes[i].kind] = 1;
    for (int kind = 0; kind < SP_PASS_KINDS; kind++) {
        if (!table->rows[kind])
            continue;
        table->rows[kind] = is_output(kind) ? plan->order.device_count : plan->stage_count;
        size_t count = table->rows[kind] * table->microbatches * table->slices;
        table->entries[kind] = sp_arena_alloc(arena, count, sizeof *table->entries[kind]);
        if (!table->entries[kind])
            return NULL;
    }
    return table;
}

static uint32_t *entry(const struct sp_pass_table *table, enum sp_pass_kind kind, size_t row,
                       size_t microbatch, size_t slice)
{
    if (row >= table->rows[kind] || microbatch >= table->microbatches || slice >= table->slices)
        return NULL;
    return &table->entries[kind][(row * table->microbatches + microbatch) * table->slices + slice];
}

uint64_t sp_pass_table_enter(struct sp_pass_table *table, const struct sp_plan *plan, uint32_t device,
                             uint64_t index)
{
    const struct sp_pass *pass = &plan->order.passes[index];
    size_t row = is_output(pass->kind) ? device : pass->stage;
    uint32_t *place = entry(table, pass->kind, row, pass->microbatch, pass->slice);
    uint64_t before = *place ? *place - 1 : SP_NO_PASS;
    *place = (uint32_t)index + 1;
    return before;
}

struct sp_pass_table *sp_pass_table_create(const struct sp_plan *plan, struct sp_arena *arena)
{
    struct sp_pass_table *table = sp_pass_table_create_empty(plan, arena);
    if (!table)
        return NULL;
    const struct sp_order *order = &plan->order;
    for (uint32_t device = 0; device < order->device_count; device++) {
        for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++)
            sp_pass_table_enter(table, plan, device, i);
    }
    return table;
}

static uint64_t look_up(const struct sp_pass_table *table, enum sp_pass_kind kind, size_t row,
                        size_t microbatch, size_t slice)
{
    const uint32_t *found = entry(table, kind, row, microbatch, slice);
    return found && *found ? *found - 1 : SP_NO_PASS;
}

uint64_t sp_pass_table_find(const struct sp_pass_table *table, enum sp_pass_kind kind, uint32_t stage,
                            uint32_t microbatch, uint32_t slice)
{
    return is_output(kind) ? SP_NO_PASS : look_up(table, kind, stage, microbatch, slice);
}

uint64_t sp_pass_table_find_output(const struct sp_pass_table *table, enum sp_pass_kind kind, uint32_t device,
                                   uint32_t microbatch, uint32_t slice)
{
    return is_output(kind) ? look_up(table, kind, device, microbatch, slice) : SP_NO_PASS;
}

uint64_t sp_pass_table_find_backward(const struct sp_pass_table *table, uint32_t stage, uint32_t microbatch,
                                     uint32_t slice)
{
    uint64_t found = look_up(table, SP_PASS_B, stage, microbatch, slice);
    return found != SP_NO_PASS ? found : look_up(table, SP_PASS_I, stage, microbatch, slice);
}
