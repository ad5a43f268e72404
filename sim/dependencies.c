/* SPDX-License-Identifier: Apache-2.0 */
#include "dependencies.h"

#include <stdbool.h>

#include "units.h"

/* A pass needs at most two others. */
enum { NEEDS_PER_PASS = 2 };

struct builder {
    const struct sp_program *program;
    struct sp_sim_units units; /* of the instructions before the one at hand */
    uint32_t *items;
    uint64_t count;
};

static bool is_copy(const struct sp_instruction *instruction)
{
    return instruction->stream == SP_STREAM_OFFLOAD || instruction->stream == SP_STREAM_RELOAD;
}

static void need(struct builder *builder, uint32_t number)
{
    if (number != SP_NO_INDEX)
        builder->items[builder->count++] = number;
}

static void add_waits(struct builder *builder, const struct sp_instruction *instruction)
{
    const struct sp_program *program = builder->program;
    const uint32_t *waits = program->waits + instruction->wait_begin;

    if (is_copy(instruction) || instruction->kind == SP_INSTRUCTION_EARLY)
        return;
    for (uint32_t k = 0; k < instruction->wait_count; k++)
        if (!is_copy(&program->instructions[waits[k]]))
            need(builder, waits[k]);
}

/* F needs the stage before and the slice before it; B and I the stage after, and the slice after or F. */
static void add_pass(struct builder *builder, const struct sp_pass *pass)
{
    const struct sp_plan *plan = builder->program->plan;
    const struct sp_sim_units *units = &builder->units;
    uint32_t microbatch = pass->microbatch, stage = pass->stage, slice = pass->slice;
    const uint32_t *backward = &units->backward[unit_of(units, stage, microbatch, slice)];
    const uint32_t *forward = &units->forward[unit_of(units, stage, microbatch, slice)];

    switch (pass->kind) {
    case SP_PASS_F:
        need(builder, unit_entry(units, units->forward, sp_plan_previous_stage(plan, microbatch, stage),
                                 microbatch, slice));
        if (slice > 0)
            need(builder, forward[-1]);
        break;
    case SP_PASS_B:
    case SP_PASS_I:
        need(builder, unit_entry(units, units->backward, sp_plan_next_stage(plan, microbatch, stage),
                                 microbatch, slice));
        need(builder, slice + 1 < units->slices ? backward[1] : *forward);
        break;
    case SP_PASS_W:
        need(builder, *backward);
        break;
    case SP_PASS_R:
        need(builder, *forward);
        break;
    default:
        break;
    }
}

/* The earlier instruction of the same F, B or I; a pass of several runs them in turn. */
static uint32_t own_part_before(const struct builder *builder, const struct sp_pass *pass)
{
    const struct sp_sim_units *units = &builder->units;
    size_t unit = unit_of(units, pass->stage, pass->microbatch, pass->slice);

    if (pass->kind == SP_PASS_F)
        return units->forward[unit];
    if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
        return units->backward[unit];
    return SP_NO_INDEX;
}

static void add_passes(struct builder *builder, uint32_t number)
{
    const struct sp_instruction *instruction = &builder->program->instructions[number];

    for (int k = 0; k < instruction_passes(instruction); k++) {
        const struct sp_pass *pass = &builder->program->plan->order.passes[instruction->pass + k];
        uint32_t before = own_part_before(builder, pass);
        if (before == SP_NO_INDEX)
            add_pass(builder, pass);
        else
            need(builder, before);
    }
    sp_sim_units_enter(&builder->units, builder->program, number);
}

static uint64_t most_items(const struct sp_program *program)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < program->instruction_count; i++)
        count += program->instructions[i].wait_count +
                 (uint64_t)instruction_passes(&program->instructions[i]) * NEEDS_PER_PASS;
    return count;
}

enum sp_status sp_sim_dependencies_init(struct sp_sim_dependencies *dependencies,
                                        const struct sp_program *program, struct sp_error *error)
{
    struct builder builder = {.program = program};
    uint32_t count = program->instruction_count;
    enum sp_status status = sp_sim_units_init(&builder.units, program, error);

    if (status != SP_OK)
        return status;
    dependencies->begin = sp_alloc((size_t)count + 1, sizeof *dependencies->begin);
    dependencies->items = builder.items = sp_alloc(most_items(program) + 1, sizeof *dependencies->items);
    if (!dependencies->begin || !dependencies->items) {
        sp_sim_dependencies_finish(dependencies);
        status = sp_error_set(error, SP_MEMORY, "no memory for the dependencies of %u instructions", count);
        goto out;
    }
    for (uint32_t i = 0; i < count; i++) {
        dependencies->begin[i] = builder.count;
        add_waits(&builder, &program->instructions[i]);
        add_passes(&builder, i);
    }
    dependencies->begin[count] = builder.count;
out:
    sp_sim_units_finish(&builder.units);
    return status;
}

void sp_sim_dependencies_finish(struct sp_sim_dependencies *dependencies)
{
    sp_free(dependencies->begin);
    sp_free(dependencies->items);
    *dependencies = (struct sp_sim_dependencies){0};
}
