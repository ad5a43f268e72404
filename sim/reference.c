/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The specification of the simulator: every rule as sim.h says it, by going over all instructions again and
 * again. It relies on no order of numbers but to break ties.
 */
#include <assert.h>

#include "slimpipe/sim.h"

struct model {
    const struct sp_program *program;
    enum sp_sim_rules rules;
    int64_t *start_ns, *end_ns;
    uint32_t *before; /* the one before it in its stream; SP_NO_INDEX: none, or a message */
    bool *known;      /* whether it has its times */
};

static bool is_message(const struct model *model, uint32_t i)
{
    return model->program->instructions[i].stream == SP_STREAM_SEND;
}

static bool is_copy(const struct model *model, uint32_t i)
{
    uint8_t stream = model->program->instructions[i].stream;

    return stream == SP_STREAM_OFFLOAD || stream == SP_STREAM_RELOAD;
}

/* The k-th pass that runs in an instruction; NULL: it runs no more. */
static const struct sp_pass *pass_in(const struct model *model, uint32_t i, int k)
{
    const struct sp_instruction *instruction = &model->program->instructions[i];
    bool runs = instruction->kind <= SP_INSTRUCTION_AFTER;

    if (!runs || k > (instruction->kind == SP_INSTRUCTION_JOINED))
        return NULL;
    return &model->program->plan->order.passes[instruction->pass + k];
}

/* The last instruction of a pass; kind B stands for I too. SP_NO_INDEX where there is none. */
static uint32_t find(const struct model *model, enum sp_pass_kind kind, int32_t stage,
                     const struct sp_pass *unit)
{
    for (uint32_t i = model->program->instruction_count; i-- > 0;)
        for (int k = 0; pass_in(model, i, k); k++) {
            const struct sp_pass *pass = pass_in(model, i, k);
            bool same_kind = pass->kind == kind || (kind == SP_PASS_B && pass->kind == SP_PASS_I);
            if (same_kind && pass->stage == stage && pass->microbatch == unit->microbatch &&
                pass->slice == unit->slice)
                return i;
        }
    return SP_NO_INDEX;
}

static int32_t stage_beside(const struct model *model, const struct sp_pass *pass, bool next)
{
    const struct sp_plan *plan = model->program->plan;

    return next ? sp_plan_next_stage(plan, pass->microbatch, pass->stage)
                : sp_plan_previous_stage(plan, pass->microbatch, pass->stage);
}

/* The delay of a pass's hop from device to device; on one device that to its neighbour. */
static int64_t hop_ns(const struct model *model, const struct sp_pass *pass, uint32_t from, uint32_t to)
{
    const struct sp_program *program = model->program;
    bool is_last = from + 1 == program->device_count;
    uint32_t neighbour = !is_last ? from + 1 : from > 0 ? from - 1 : from;

    if (program->plan->costs)
        return program->plan->costs->message_ns;
    int64_t bytes = sp_cost_hop_bytes(program->cost, pass->slice);
    struct sp_transfer transfer = sp_cost_transfer(program->cost, from, from == to ? neighbour : to, bytes);
    return transfer.latency_ns + transfer.busy_ns;
}

/* Sender blocks, first and second rule: hops on one device, and W after its own I. */
static int64_t hop_arrives(const struct model *model, uint32_t i, const struct sp_pass *pass)
{
    const struct sp_instruction *all = model->program->instructions;
    bool backward = pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
    uint32_t from = SP_NO_INDEX;

    if (pass->kind == SP_PASS_F)
        from = find(model, SP_PASS_F, stage_beside(model, pass, false), pass);
    else if (backward)
        from = find(model, SP_PASS_B, stage_beside(model, pass, true), pass);
    else if (pass->kind == SP_PASS_W && stage_beside(model, pass, true) >= 0)
        from = find(model, SP_PASS_B, pass->stage, pass);
    if (from == SP_NO_INDEX || from == i || all[from].device != all[i].device)
        return 0;
    return model->end_ns[from] + hop_ns(model, pass, all[i].device, all[i].device);
}

static bool is_backward(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_B || pass->kind == SP_PASS_I || pass->kind == SP_PASS_W;
}

/* Sender blocks, third rule: until when sending what the device did before keeps it from starting i. */
static int64_t blocked_until(const struct model *model, uint32_t i)
{
    const struct sp_instruction *all = model->program->instructions;
    const struct sp_pass *next = pass_in(model, i, 0), *sent;
    uint32_t before = model->before[i], to = SP_NO_INDEX;

    while (before != SP_NO_INDEX && !pass_in(model, before, 0))
        before = model->before[before];
    if (before == SP_NO_INDEX || pass_in(model, before, 1) || pass_in(model, i, 1))
        return 0;
    sent = pass_in(model, before, 0);
    if (sent == next || sent->stage != next->stage)
        return 0;
    if (sent->kind == SP_PASS_F && next->kind == SP_PASS_F)
        to = find(model, SP_PASS_F, stage_beside(model, sent, true), sent);
    else if (is_backward(sent) && sent->kind != SP_PASS_W && is_backward(next))
        to = find(model, SP_PASS_B, stage_beside(model, sent, false), sent);
    if (to == SP_NO_INDEX || all[to].kind == SP_INSTRUCTION_JOINED)
        return 0;
    return model->end_ns[before] + hop_ns(model, sent, all[i].device, all[to].device);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Whether all that i waits for is known; if so, when it is done. */
static bool is_ready(const struct model *model, uint32_t i, int64_t *ret_ready)
{
    const struct sp_instruction *instruction = &model->program->instructions[i];
    uint32_t before = model->before[i];
    int64_t ready = 0;

    if (before != SP_NO_INDEX && !model->known[before])
        return false;
    if (before != SP_NO_INDEX)
        ready = model->end_ns[before];
    for (uint32_t k = 0; k < instruction->wait_count; k++) {
        uint32_t wait = model->program->waits[instruction->wait_begin + k];
        if (!model->known[wait])
            return false;
        ready = later(ready, model->end_ns[wait]);
    }
    if (model->rules == SP_SIM_SENDER_BLOCKS && pass_in(model, i, 0)) {
        for (int k = 0; pass_in(model, i, k); k++)
            ready = later(ready, hop_arrives(model, i, pass_in(model, i, k)));
        ready = later(ready, blocked_until(model, i));
    }
    *ret_ready = ready;
    return true;
}

/* Whether an instruction takes ports at all. */
static bool takes_ports(const struct model *model, uint32_t i)
{
    return is_copy(model, i) || (is_message(model, i) && model->rules == SP_SIM_LINKS);
}

static bool share_a_port(const struct model *model, uint32_t i, uint32_t j)
{
    const struct sp_program *program = model->program;
    const struct sp_instruction *a = &program->instructions[i], *b = &program->instructions[j];

    if (!takes_ports(model, i) || !takes_ports(model, j) || a->stream != b->stream)
        return false;
    if (is_message(model, i))
        return a->same_node == b->same_node && (a->device == b->device || a->peer == b->peer);
    if (program->host_port)
        return program->host_port[a->device] == program->host_port[b->device];
    return a->device == b->device;
}

/* Gives i its times: behind all that have taken one of its ports before it. */
static void serve(struct model *model, uint32_t i, int64_t ready)
{
    const struct sp_program *program = model->program;
    const struct sp_instruction *instruction = &program->instructions[i];
    int64_t start = ready;

    for (uint32_t j = 0; j < program->instruction_count; j++)
        if (model->known[j] && share_a_port(model, i, j))
            start = later(start, model->start_ns[j] + program->instructions[j].duration_ns);
    model->known[i] = true;
    model->start_ns[i] = start;
    model->end_ns[i] = start + instruction->duration_ns;
    if (is_message(model, i))
        model->end_ns[i] += program->latency_ns[instruction->same_node];
}

/* Everything that competes with nothing, as far as it goes; false when there is nothing left. */
static bool run_free(struct model *model)
{
    bool any = false;
    int64_t ready;

    for (uint32_t i = 0; i < model->program->instruction_count; i++)
        if (!model->known[i] && !takes_ports(model, i) && is_ready(model, i, &ready)) {
            serve(model, i, ready);
            any = true;
        }
    return any;
}

/* Of all that wait for a port, the one that was ready first, ties by the lower number. */
static bool serve_first(struct model *model)
{
    uint32_t first = SP_NO_INDEX;
    int64_t ready, first_ready = 0;

    for (uint32_t i = 0; i < model->program->instruction_count; i++)
        if (!model->known[i] && takes_ports(model, i) && is_ready(model, i, &ready) &&
            (first == SP_NO_INDEX || ready < first_ready)) {
            first = i;
            first_ready = ready;
        }
    if (first != SP_NO_INDEX)
        serve(model, first, first_ready);
    return first != SP_NO_INDEX;
}

static void set_before(struct model *model)
{
    const struct sp_program *program = model->program;

    for (uint32_t i = 0; i < program->instruction_count; i++)
        model->before[i] = SP_NO_INDEX;
    for (uint32_t stream = 0; stream < program->device_count * SP_STREAMS; stream++)
        for (uint32_t k = program->stream_begin[stream] + 1; k < program->stream_begin[stream + 1]; k++)
            if (!is_message(model, program->stream_items[k]))
                model->before[program->stream_items[k]] = program->stream_items[k - 1];
}

enum sp_status sp_sim_run_reference(const struct sp_program *program, enum sp_sim_rules rules,
                                    struct sp_timeline *timeline, struct sp_error *error)
{
    struct model model = {program, rules, timeline->start_ns, timeline->end_ns, NULL, NULL};
    uint32_t count = program->instruction_count;
    enum sp_status status = SP_OK;

    model.before = sp_alloc(count, sizeof *model.before);
    model.known = sp_alloc(count, sizeof *model.known);
    if (!model.before || !model.known) {
        status = sp_error_set(error, SP_MEMORY, "no memory for %u instructions", count);
        goto out;
    }
    set_before(&model);
    while (run_free(&model) || serve_first(&model))
        continue;
    for (uint32_t i = 0; i < count; i++)
        assert(model.known[i]);
out:
    sp_free(model.before);
    sp_free(model.known);
    return status;
}
