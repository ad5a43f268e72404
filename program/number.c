/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbering: Kahn's algorithm over waits and stream order, first ready first served, so that the numbers run
 * along a wavefront over all devices and a sweep touches memory that is near.
 */
#include <string.h>

#include "lowering.h"

struct numbering {
    const struct lowering *l;
    uint64_t *begin; /* successors of raw i: items[begin[i]] … */
    uint32_t *items;
    uint32_t *missing;   /* waits not yet numbered, the stream's predecessor included */
    uint32_t *queue;     /* raw instructions in their new order */
    uint32_t *number;    /* new number of a raw instruction */
    uint32_t most_waits; /* of one instruction */
};

/* The next instruction of the same stream, which starts after this one; SP_NO_INDEX for messages. */
static uint32_t stream_successor(const struct lowering *l, uint32_t raw)
{
    if (raw + 1u >= l->raw_count)
        return SP_NO_INDEX;
    const struct sp_instruction *a = &l->raw[raw], *b = &l->raw[raw + 1];
    bool follows = a->stream != SP_STREAM_SEND && a->stream == b->stream && a->device == b->device;
    return follows ? raw + 1 : SP_NO_INDEX;
}

static bool init_numbering(struct numbering *n, const struct lowering *l)
{
    size_t count = l->raw_count;
    n->l = l;
    n->begin = sp_alloc(count + 2, sizeof *n->begin);
    n->items = sp_alloc(l->edge_count + 1, sizeof *n->items);
    n->missing = sp_alloc(count + 1, sizeof *n->missing);
    n->queue = sp_alloc(count + 1, sizeof *n->queue);
    n->number = sp_alloc(count + 1, sizeof *n->number);
    if (!n->begin || !n->items || !n->missing || !n->queue || !n->number)
        return false;
    for (size_t e = 0; e < l->edge_count; e++) {
        n->begin[l->edges[e].from + 2]++;
        n->missing[l->edges[e].to]++;
    }
    for (size_t i = 0; i < count; i++)
        n->begin[i + 1] += n->begin[i];
    /* begin[i + 1] serves as cursor and ends up as the end of i's range. */
    for (size_t e = 0; e < l->edge_count; e++)
        n->items[n->begin[l->edges[e].from + 1]++] = l->edges[e].to;
    for (uint32_t i = 0; i < count; i++)
        n->most_waits = n->missing[i] > n->most_waits ? n->missing[i] : n->most_waits;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t next = stream_successor(l, i);
        if (next != SP_NO_INDEX)
            n->missing[next]++;
    }
    return true;
}

static void finish_numbering(struct numbering *n)
{
    sp_free(n->begin);
    sp_free(n->items);
    sp_free(n->missing);
    sp_free(n->queue);
    sp_free(n->number);
}

/* Returns how many could be numbered: all, or there is a cycle. */
static size_t assign_numbers(struct numbering *n)
{
    const struct lowering *l = n->l;
    size_t head = 0, tail = 0;
    for (uint32_t i = 0; i < l->raw_count; i++)
        if (!n->missing[i])
            n->queue[tail++] = i;
    while (head < tail) {
        uint32_t raw = n->queue[head];
        n->number[raw] = (uint32_t)head++;
        uint32_t next = stream_successor(l, raw);
        if (next != SP_NO_INDEX && !--n->missing[next])
            n->queue[tail++] = next;
        for (uint64_t s = n->begin[raw]; s < n->begin[raw + 1]; s++)
            if (!--n->missing[n->items[s]])
                n->queue[tail++] = n->items[s];
    }
    return tail;
}

/* The instructions at which the devices are stuck. */
static enum sp_status report_cycle(const struct numbering *n, struct sp_error *error)
{
    const struct lowering *l = n->l;
    char text[512] = "", token[32];
    size_t used = 0;
    uint32_t reported = SP_NO_INDEX;
    for (uint32_t i = 0; i < l->raw_count && used + 64 < sizeof text; i++) {
        const struct sp_instruction *at = &l->raw[i];
        if (!n->missing[i] || at->stream != SP_STREAM_COMPUTE || at->device == reported ||
            at->pass == SP_NO_INDEX)
            continue;
        reported = at->device;
        sp_pass_text(&l->plan->order.passes[at->pass], l->plan->slice_count, token, sizeof token);
        used += (size_t)snprintf(text + used, sizeof text - used, "%sdevice %u at the %s of %s",
                                 used ? ", " : "", at->device, sp_instruction_names[at->kind], token);
    }
    return sp_error_set(error, SP_INFEASIBLE, "the plan cannot run: each waits for another: %s", text);
}

static bool fill_instructions(const struct numbering *n, struct sp_program *program)
{
    const struct lowering *l = n->l;
    size_t count = l->raw_count;
    program->instruction_count = (uint32_t)count;
    program->instructions = sp_arena_alloc(program->arena, count + 1, sizeof *program->instructions);
    program->waits = sp_arena_alloc(program->arena, l->edge_count + 1, sizeof *program->waits);
    if (!program->instructions || !program->waits)
        return false;
    for (size_t i = 0; i < count; i++)
        program->instructions[i] = l->raw[n->queue[i]];
    for (size_t e = 0; e < l->edge_count; e++)
        program->instructions[n->number[l->edges[e].to]].wait_count++;
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        program->instructions[i].wait_begin = at;
        at += program->instructions[i].wait_count;
        program->instructions[i].wait_count = 0;
    }
    for (size_t e = 0; e < l->edge_count; e++) {
        struct sp_instruction *to = &program->instructions[n->number[l->edges[e].to]];
        program->waits[to->wait_begin + to->wait_count++] = n->number[l->edges[e].from];
    }
    return true;
}

static bool fill_streams(struct sp_program *program)
{
    size_t streams = (size_t)program->device_count * SP_STREAMS;
    program->stream_begin = sp_arena_alloc(program->arena, streams + 2, sizeof *program->stream_begin);
    program->stream_items =
        sp_arena_alloc(program->arena, program->instruction_count + 1, sizeof *program->stream_items);
    if (!program->stream_begin || !program->stream_items)
        return false;
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *at = &program->instructions[i];
        program->stream_begin[at->device * SP_STREAMS + at->stream + 2]++;
    }
    for (size_t s = 0; s < streams; s++)
        program->stream_begin[s + 1] += program->stream_begin[s];
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *at = &program->instructions[i];
        program->stream_items[program->stream_begin[at->device * SP_STREAMS + at->stream + 1]++] = i;
    }
    return true;
}

enum sp_status sp_lowering_number(struct lowering *l, struct sp_program *program, struct sp_error *error)
{
    enum sp_status status = SP_OK;
    struct numbering n = {.l = l};
    if (!init_numbering(&n, l))
        status =
            sp_error_set(error, SP_MEMORY, "out of memory while numbering %zu instructions", l->raw_count);
    else if (n.most_waits > UINT16_MAX)
        status =
            sp_error_set(error, SP_UNSUPPORTED,
                         "a pass waits for %u messages; expected at most %d parts of an exchange per pass",
                         n.most_waits, UINT16_MAX - 1);
    else if (assign_numbers(&n) < l->raw_count)
        status = report_cycle(&n, error);
    else if (!fill_instructions(&n, program) || !fill_streams(program))
        status =
            sp_error_set(error, SP_MEMORY, "out of memory while numbering %zu instructions", l->raw_count);
    finish_numbering(&n);
    return status;
}
