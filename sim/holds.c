/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of PP-Schedule-Visualization beyond the plain ones, as waits with a delay. All of them are on
 * earlier work of the same device: between devices, a hop is a message and has its delay.
 */
#include "engine.h"
#include "units.h"

struct blocking {
    const struct sp_program *program;
    struct sp_sim_units units;
    struct sp_sim_hold *holds;
    uint32_t *last; /* per device: last instruction so far that runs a pass */
};

/* What a hop costs; on one device as much as to the one beside it. */
static int64_t hop_delay(const struct sp_program *program, uint32_t from, uint32_t to, uint32_t slice)
{
    struct sp_transfer transfer;

    if (program->plan->costs)
        return program->plan->costs->message_ns;
    if (from == to)
        to = from + 1 < program->device_count ? from + 1 : from - (from > 0);
    transfer = sp_cost_transfer(program->cost, from, to, sp_cost_hop_bytes(program->cost, slice));
    return time_add(transfer.latency_ns, transfer.busy_ns);
}

static bool is_joined(const struct sp_program *program, uint32_t number)
{
    return program->instructions[number].kind == SP_INSTRUCTION_JOINED;
}

/* The pass whose result a pass gets by a hop (F, B, I), or its own I (W) where that is paid for. */
static uint32_t delayed_source(const struct blocking *blocking, const struct sp_pass *pass)
{
    const struct sp_plan *plan = blocking->program->plan;
    const struct sp_sim_units *units = &blocking->units;
    uint32_t microbatch = pass->microbatch, stage = pass->stage;

    switch (pass->kind) {
    case SP_PASS_F:
        return unit_entry(units, units->forward, sp_plan_previous_stage(plan, microbatch, stage), microbatch,
                          pass->slice);
    case SP_PASS_B:
    case SP_PASS_I:
        return unit_entry(units, units->backward, sp_plan_next_stage(plan, microbatch, stage), microbatch,
                          pass->slice);
    case SP_PASS_W:
        if (sp_plan_next_stage(plan, microbatch, stage) < 0)
            return SP_NO_INDEX;
        return unit_entry(units, units->backward, (int32_t)stage, microbatch, pass->slice);
    default:
        return SP_NO_INDEX;
    }
}

/* The pass that a pass's result hops to. */
static uint32_t receiver(const struct blocking *blocking, const struct sp_pass *pass)
{
    const struct sp_plan *plan = blocking->program->plan;
    const struct sp_sim_units *units = &blocking->units;
    uint32_t microbatch = pass->microbatch, stage = pass->stage;

    if (pass->kind == SP_PASS_F)
        return unit_entry(units, units->forward, sp_plan_next_stage(plan, microbatch, stage), microbatch,
                          pass->slice);
    if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
        return unit_entry(units, units->backward, sp_plan_previous_stage(plan, microbatch, stage), microbatch,
                          pass->slice);
    return SP_NO_INDEX;
}

/* 'F', 'B' for all of a backward, 0 for what these rules do not speak of. */
static char direction(const struct sp_pass *pass)
{
    switch (pass->kind) {
    case SP_PASS_F:
        return 'F';
    case SP_PASS_B:
    case SP_PASS_I:
    case SP_PASS_W:
        return 'B';
    default:
        return 0;
    }
}

/*
 * The instruction that gets the result of `before`, where sending it keeps the device from starting `number`;
 * else SP_NO_INDEX.
 */
static uint32_t blocked_by(const struct blocking *blocking, uint32_t before, uint32_t number)
{
    const struct sp_program *program = blocking->program;
    const struct sp_instruction *a = &program->instructions[before], *b = &program->instructions[number];
    const struct sp_pass *passes = program->plan->order.passes;
    const struct sp_pass *sent = &passes[a->pass], *next = &passes[b->pass];
    uint32_t to;

    if (a->pass == b->pass || is_joined(program, before) || is_joined(program, number))
        return SP_NO_INDEX;
    if (direction(sent) == 0 || direction(sent) != direction(next) || sent->stage != next->stage)
        return SP_NO_INDEX;
    to = receiver(blocking, sent);
    return to != SP_NO_INDEX && !is_joined(program, to) ? to : SP_NO_INDEX;
}

static void set_hold(struct blocking *blocking, uint32_t number)
{
    const struct sp_program *program = blocking->program;
    const struct sp_instruction *instruction = &program->instructions[number];
    struct sp_sim_hold *hold = &blocking->holds[number];
    uint32_t *last = &blocking->last[instruction->device];
    int count = instruction_passes(instruction);

    *hold = (struct sp_sim_hold){.after = {SP_NO_INDEX, SP_NO_INDEX}};
    if (count == 0)
        return;
    const struct sp_pass *passes = &program->plan->order.passes[instruction->pass];
    for (int k = 0; k < count; k++) {
        uint32_t source = delayed_source(blocking, &passes[k]);
        if (source == SP_NO_INDEX || source >= number ||
            program->instructions[source].device != instruction->device)
            continue;
        hold->after[k] = source;
        hold->delay_ns[k] = hop_delay(program, instruction->device, instruction->device, passes[k].slice);
    }
    uint32_t to = *last == SP_NO_INDEX ? SP_NO_INDEX : blocked_by(blocking, *last, number);
    if (to != SP_NO_INDEX) {
        uint32_t slice = program->plan->order.passes[program->instructions[*last].pass].slice;
        hold->after[1] = *last;
        hold->delay_ns[1] = hop_delay(program, instruction->device, program->instructions[to].device, slice);
    }
    *last = number;
}

enum sp_status sp_sim_holds_create(const struct sp_program *program, struct sp_sim_hold **ret_holds,
                                   struct sp_error *error)
{
    struct blocking blocking = {.program = program};
    enum sp_status status = sp_sim_units_init(&blocking.units, program, error);

    if (status != SP_OK)
        return status;
    blocking.holds = sp_alloc(program->instruction_count, sizeof *blocking.holds);
    blocking.last = sp_alloc(program->device_count, sizeof *blocking.last);
    if (!blocking.holds || !blocking.last) {
        status = sp_error_set(error, SP_MEMORY, "no memory for the rules of %u instructions",
                              program->instruction_count);
        sp_free(blocking.holds);
        goto out;
    }
    for (uint32_t i = 0; i < program->instruction_count; i++)
        sp_sim_units_enter(&blocking.units, program, i);
    for (uint32_t device = 0; device < program->device_count; device++)
        blocking.last[device] = SP_NO_INDEX;
    for (uint32_t i = 0; i < program->instruction_count; i++)
        set_hold(&blocking, i);
    *ret_holds = blocking.holds;
out:
    sp_free(blocking.last);
    sp_sim_units_finish(&blocking.units);
    return status;
}
