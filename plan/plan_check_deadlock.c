/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_sweep.h"

static uint64_t output_event(const struct sweep *sweep, enum sp_pass_kind kind, const struct sp_pass *pass)
{
    uint64_t unit = (uint64_t)pass->microbatch * sweep->checker->plan->slice_count + pass->slice;
    return sweep->checker->pass_count + (kind == SP_PASS_T ? sweep->units : 0) + unit;
}

/* All devices' S or T of the pass's slice. */
static uint64_t unmet_outputs(const struct sweep *sweep, enum sp_pass_kind kind, const struct sp_pass *pass)
{
    uint64_t event = output_event(sweep, kind, pass);
    uint32_t done = sweep->outputs[event - sweep->checker->pass_count];
    return done < sweep->checker->plan->order.device_count ? event : SWEEP_NO_EVENT;
}

static uint64_t unmet_pass(const struct sweep *sweep, uint64_t index)
{
    if (index == SP_NO_PASS)
        return SWEEP_NO_EVENT;
    return index < sweep->cursor[sweep->checker->device_of[index]] ? SWEEP_NO_EVENT : index;
}

static uint64_t unmet_forward(const struct sweep *sweep, const struct sp_pass *pass)
{
    uint32_t stage = sp_plan_path_previous(sweep->checker, pass->microbatch, pass->stage);
    if (stage >= PLAN_PATH_END)
        return SWEEP_NO_EVENT;
    return unmet_pass(
        sweep, sp_pass_table_find(sweep->checker->table, SP_PASS_F, stage, pass->microbatch, pass->slice));
}

/*
 * The gradient comes from the next stage, or at the path's end from the output layer: with a barrier inside T
 * from every T; with one barrier (shard2) S has made it already and T only adds the weight gradient.
 */
static uint64_t unmet_backward(const struct sweep *sweep, const struct sp_pass *pass)
{
    const struct sp_plan *plan = sweep->checker->plan;
    uint32_t stage = sp_plan_path_next(sweep->checker, pass->microbatch, pass->stage);
    if (stage < PLAN_PATH_END)
        return unmet_pass(
            sweep, sp_pass_table_find_backward(sweep->checker->table, stage, pass->microbatch, pass->slice));
    if (!sp_vocabulary_is_spread(plan->vocabulary))
        return SWEEP_NO_EVENT;
    bool one_barrier = plan->vocabulary == SP_VOCABULARY_SHARD2;
    return unmet_outputs(sweep, one_barrier ? SP_PASS_S : SP_PASS_T, pass);
}

uint64_t sp_plan_sweep_unmet(const struct sweep *sweep, uint64_t index)
{
    const struct plan_checker *checker = sweep->checker;
    const struct sp_pass *pass = &checker->plan->order.passes[index];
    switch (pass->kind) {
    case SP_PASS_F:
        return unmet_forward(sweep, pass);
    case SP_PASS_B:
    case SP_PASS_I:
        return unmet_backward(sweep, pass);
    case SP_PASS_S:
        return unmet_pass(
            sweep, sp_pass_table_find(checker->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice));
    case SP_PASS_T:
        if (checker->plan->vocabulary == SP_VOCABULARY_SCATTER)
            return SWEEP_NO_EVENT;
        return unmet_outputs(sweep, SP_PASS_S, pass);
    default:
        return SWEEP_NO_EVENT; /* its own device's order has been checked */
    }
}

uint64_t sp_plan_sweep_end(const struct sweep *sweep, uint32_t device)
{
    return sweep->checker->plan->order.begin[device + 1];
}

uint32_t sp_plan_sweep_slot(const struct sweep *sweep, uint32_t device)
{
    const struct gangs *gangs = &sweep->gangs;
    uint64_t at = sweep->cursor[device];
    if (!sweep->has_gangs)
        return SWEEP_NONE;
    uint32_t slot = SWEEP_NONE;
    if (sweep->phase[device] == SWEEP_AFTER)
        slot = gangs->slot_after[at - 1];
    else if (sweep->phase[device] == SWEEP_BEFORE && at < sp_plan_sweep_end(sweep, device))
        slot = gangs->slot_before[at];
    return slot != SWEEP_NONE && gangs->slots[slot].part != SWEEP_NONE ? slot : SWEEP_NONE;
}

static void make_runnable(struct sweep *sweep, uint32_t device)
{
    sweep->runnable[sweep->runnable_count++] = device;
}

static void wait_for(struct sweep *sweep, uint32_t device, uint64_t event)
{
    sweep->next_waiting[device] = sweep->waiting[event];
    sweep->waiting[event] = (uint16_t)(device + 1);
}

static void wake(struct sweep *sweep, uint64_t event)
{
    for (uint32_t next = sweep->waiting[event]; next; next = sweep->next_waiting[next - 1])
        make_runnable(sweep, next - 1);
    sweep->waiting[event] = 0;
}

static void finish_pass(struct sweep *sweep, uint64_t index)
{
    const struct plan_checker *checker = sweep->checker;
    const struct sp_pass *pass = &checker->plan->order.passes[index];
    uint32_t device = checker->device_of[index];
    sweep->cursor[device] = index + 1;
    sweep->phase[device] = SWEEP_AFTER;
    wake(sweep, index);
    if (pass->kind != SP_PASS_S && pass->kind != SP_PASS_T)
        return;
    uint64_t event = output_event(sweep, pass->kind, pass);
    if (++sweep->outputs[event - checker->pass_count] == checker->plan->order.device_count)
        wake(sweep, event);
}

static void finish_gang(struct sweep *sweep, const struct gang *gang)
{
    struct gangs *gangs = &sweep->gangs;
    const struct plan_checker *checker = sweep->checker;
    for (uint32_t node = gang->first_node; node != SWEEP_NONE; node = gangs->next_node[node]) {
        finish_pass(sweep, gangs->pass_of[node]);
        make_runnable(sweep, checker->device_of[gangs->pass_of[node]]);
    }
    for (uint32_t part = gang->first_part; part != SWEEP_NONE; part = gangs->next_part[part]) {
        uint32_t host = checker->plan->exchange[part].device;
        gangs->slots[sp_plan_sweep_slot(sweep, host)].part = gangs->next_in_slot[part];
        make_runnable(sweep, host);
    }
}

/* One of the gang's members or parts has come up; its device rests until the gang has run. */
static void announce(struct sweep *sweep, uint32_t gang)
{
    if (--sweep->gangs.gangs[gang].missing == 0)
        finish_gang(sweep, &sweep->gangs.gangs[gang]);
}

/* Runs the pass (or joined pair) at the cursor. False when the device has to wait. */
static bool run_pass(struct sweep *sweep, uint32_t device)
{
    uint64_t index = sweep->cursor[device];
    bool joined = sweep->checker->plan->order.passes[index].joined;
    uint64_t event = sp_plan_sweep_unmet(sweep, index);
    if (event == SWEEP_NO_EVENT && joined)
        event = sp_plan_sweep_unmet(sweep, index + 1);
    if (event != SWEEP_NO_EVENT) {
        wait_for(sweep, device, event);
        return false;
    }
    if (sweep->has_gangs && sweep->gangs.of_pass[index] != SWEEP_NONE) {
        announce(sweep, sweep->gangs.of_pass[index]);
        return false;
    }
    finish_pass(sweep, index);
    if (joined)
        finish_pass(sweep, index + 1);
    return true;
}

static void run_device(struct sweep *sweep, uint32_t device)
{
    const uint64_t end = sp_plan_sweep_end(sweep, device);
    for (;;) {
        uint32_t slot = sp_plan_sweep_slot(sweep, device);
        if (slot != SWEEP_NONE) {
            const struct sp_pass *helped =
                &sweep->checker->plan->exchange[sweep->gangs.slots[slot].part].pass;
            uint64_t index = sp_pass_table_find(sweep->checker->table, helped->kind, helped->stage,
                                                helped->microbatch, helped->slice);
            announce(sweep, sweep->gangs.of_pass[index]);
            return;
        }
        if (sweep->phase[device] == SWEEP_AFTER) {
            sweep->phase[device] = SWEEP_BEFORE;
            continue;
        }
        sweep->phase[device] = SWEEP_PASS;
        if (sweep->cursor[device] == end || !run_pass(sweep, device))
            return;
    }
}

static enum sp_status create_sweep(struct plan_checker *checker, struct sweep *sweep)
{
    const struct sp_plan *plan = checker->plan;
    struct sp_arena *arena = checker->scratch;
    uint32_t devices = plan->order.device_count;
    bool outputs = sp_vocabulary_is_spread(plan->vocabulary);
    *sweep = (struct sweep){.checker = checker, .has_gangs = plan->exchange_count > 0};
    sweep->units = outputs ? (uint64_t)plan->workload.microbatches * plan->slice_count : 0;
    uint64_t events = checker->pass_count + 2 * sweep->units;
    sweep->cursor = sp_arena_alloc(arena, devices, sizeof *sweep->cursor);
    sweep->phase = sp_arena_alloc(arena, devices, sizeof *sweep->phase);
    sweep->waiting = sp_arena_alloc(arena, events, sizeof *sweep->waiting);
    sweep->next_waiting = sp_arena_alloc(arena, devices, sizeof *sweep->next_waiting);
    sweep->outputs = sp_arena_alloc(arena, 2 * sweep->units, sizeof *sweep->outputs);
    sweep->runnable = sp_arena_alloc(arena, devices, sizeof *sweep->runnable);
    if (!sweep->cursor || !sweep->phase || !sweep->waiting || !sweep->next_waiting || !sweep->outputs ||
        !sweep->runnable)
        return sp_plan_out_of_memory(checker);
    for (uint32_t device = 0; device < devices; device++)
        sweep->cursor[device] = plan->order.begin[device];
    return sweep->has_gangs ? sp_plan_find_gangs(checker, &sweep->gangs) : SP_OK;
}

enum sp_status sp_plan_check_deadlock(struct plan_checker *checker)
{
    struct sweep sweep;
    enum sp_status status = create_sweep(checker, &sweep);
    if (status)
        return status;
    uint32_t devices = checker->plan->order.device_count;
    for (uint32_t device = devices; device > 0; device--)
        make_runnable(&sweep, device - 1);
    while (sweep.runnable_count > 0)
        run_device(&sweep, sweep.runnable[--sweep.runnable_count]);
    for (uint32_t device = 0; device < devices; device++) {
        if (sweep.cursor[device] < sp_plan_sweep_end(&sweep, device) ||
            sp_plan_sweep_slot(&sweep, device) != SWEEP_NONE)
            return sp_plan_report_cycle(&sweep, device);
    }
    return SP_OK;
}
