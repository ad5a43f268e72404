/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event engine. When an instruction runs is decided by its waits and its stream alone, except for
 * transfers, which compete for ports. So only transfers go through a queue ordered by time; what computes is
 * run ahead as far as its waits are known. A transfer that is made ready while another is served is never
 * ready before it, and has a higher number, so the queue gives all transfers in order of readiness.
 *
 * An instruction that is held up hangs on one of its waits, and looks at the next when that one is done: each
 * wait is looked at once. Only the head of a stream can be held up, and every message, which has none.
 */
#include <assert.h>
#include <string.h>

#include "engine.h"
#include "queue.h"

/*
 * Instructions run roughly in the order of their numbers, but not closely enough for the processor to see it.
 * This many ahead is far enough for memory to arrive, and near enough to be in the cache still.
 */
enum { PREFETCH_AHEAD = 512 };

struct state {
    uint32_t waiter;      /* first of those that hang on this one; SP_NO_INDEX ends a list */
    uint32_t next;        /* next that hangs on the same, or next to be tried */
    uint32_t follower;    /* next of its stream; SP_NO_INDEX: none, or a message */
    uint16_t waits_known; /* how many of its waits are done; start_ns is the latest of their ends */
};

/* When a port is free again, by same_node and device (messages) or by host link (copies). */
struct ports {
    int64_t *send[2], *receive[2];
    int64_t *offload, *reload;
};

struct engine {
    const struct sp_program *program;
    const struct sp_sim_hold *holds;
    const uint32_t *host_links;
    bool message_ports;
    int64_t *start_ns, *end_ns;
    struct state *states;
    uint32_t to_try; /* instructions whose wait is done */
    uint32_t *last;  /* of each stream, while states are set */
    int64_t *clocks; /* end of each stream's last instruction that is done */
    int64_t *port_times;
    struct ports ports;
    queue_key *keys;
    struct queue queue;
    uint32_t done;
    int64_t signs; /* see engine.h */
};

static uint32_t stream_of(const struct sp_instruction *instruction)
{
    return instruction->device * SP_STREAMS + instruction->stream;
}

static void try_later(struct engine *engine, uint32_t number)
{
    engine->states[number].next = engine->to_try;
    engine->to_try = number;
}

static void hang(struct engine *engine, uint32_t number, uint32_t wait)
{
    engine->states[number].next = engine->states[wait].waiter;
    engine->states[wait].waiter = number;
}

/* Records an end and wakes what hangs on it. */
static void finish(struct engine *engine, uint32_t number, int64_t end)
{
    engine->end_ns[number] = end;
    engine->signs |= end;
    engine->done++;
    for (uint32_t waiter = engine->states[number].waiter, next; waiter != SP_NO_INDEX; waiter = next) {
        next = engine->states[waiter].next;
        try_later(engine, waiter);
    }
}

/* Ends a stream's head and goes on to the one after it. */
static void finish_head(struct engine *engine, uint32_t number, uint32_t stream, int64_t end)
{
    engine->clocks[stream] = end;
    finish(engine, number, end);
    if (engine->states[number].follower != SP_NO_INDEX)
        try_later(engine, engine->states[number].follower);
}

/* Takes in the waits that are done; false, and hung on the first that is not. */
static bool waits_are_done(struct engine *engine, uint32_t number)
{
    const struct sp_instruction *instruction = &engine->program->instructions[number];
    const uint32_t *waits = engine->program->waits + instruction->wait_begin;
    struct state *state = &engine->states[number];
    int64_t start = engine->start_ns[number];

    for (; state->waits_known < instruction->wait_count; state->waits_known++) {
        uint32_t wait = waits[state->waits_known];
        if (engine->end_ns[wait] < 0) {
            hang(engine, number, wait);
            break;
        }
        start = time_later(start, engine->end_ns[wait]);
    }
    engine->start_ns[number] = start;
    return state->waits_known == instruction->wait_count;
}

static void run_compute(struct engine *engine, uint32_t number, const struct sp_instruction *instruction)
{
    uint32_t stream = stream_of(instruction);
    int64_t start = time_later(engine->start_ns[number], engine->clocks[stream]);

    if (engine->holds)
        start = time_later(start, hold_end(&engine->holds[number], engine->end_ns));
    engine->start_ns[number] = start;
    finish_head(engine, number, stream, time_add(start, instruction->duration_ns));
}

/* Serves a transfer whose turn has come: from `start` on its ports are taken for its duration. */
static int64_t take_ports(int64_t *from, int64_t *to, int64_t ready, int64_t duration, int64_t *ret_start)
{
    int64_t start = time_later(ready, time_later(*from, *to));

    *from = *to = time_add(start, duration);
    *ret_start = start;
    return *from;
}

static void serve_message(struct engine *engine, uint32_t number, const struct sp_instruction *instruction)
{
    int64_t *start = &engine->start_ns[number];
    unsigned near = instruction->same_node;
    int64_t sent;

    if (engine->message_ports)
        sent = take_ports(&engine->ports.send[near][instruction->device],
                          &engine->ports.receive[near][instruction->peer], *start, instruction->duration_ns,
                          start);
    else
        sent = time_add(*start, instruction->duration_ns);
    engine->signs |= sent;
    finish(engine, number, time_add(sent, engine->program->latency_ns[near]));
}

static void serve_copy(struct engine *engine, uint32_t number, const struct sp_instruction *instruction)
{
    uint32_t host = engine->host_links[instruction->device];
    int64_t *port =
        instruction->stream == SP_STREAM_OFFLOAD ? &engine->ports.offload[host] : &engine->ports.reload[host];
    int64_t *start = &engine->start_ns[number];
    int64_t end = take_ports(port, port, *start, instruction->duration_ns, start);

    finish_head(engine, number, stream_of(instruction), end);
}

/* Runs an instruction whose waits are done, or queues it for its port. */
static void launch(struct engine *engine, uint32_t number)
{
    const struct sp_instruction *instruction = &engine->program->instructions[number];
    int64_t *start = &engine->start_ns[number];

    if (instruction->stream == SP_STREAM_COMPUTE) {
        run_compute(engine, number, instruction);
    } else if (instruction->stream != SP_STREAM_SEND) {
        *start = time_later(*start, engine->clocks[stream_of(instruction)]);
        queue_push(&engine->queue, *start, number);
    } else if (engine->message_ports) {
        queue_push(&engine->queue, *start, number);
    } else {
        serve_message(engine, number, instruction);
    }
}

static void try_all(struct engine *engine)
{
    uint64_t count = engine->program->instruction_count;

    while (engine->to_try != SP_NO_INDEX) {
        uint32_t number = engine->to_try;
        uint64_t ahead = (uint64_t)number + PREFETCH_AHEAD;
        /* Not a function of its own: gcc takes one that only prefetches for one without effect. */
        if (ahead < count) {
            __builtin_prefetch(&engine->program->instructions[ahead]);
            __builtin_prefetch(&engine->states[ahead], 1);
            __builtin_prefetch(&engine->start_ns[ahead], 1);
            __builtin_prefetch(&engine->end_ns[ahead], 1);
        }
        engine->to_try = engine->states[number].next;
        if (waits_are_done(engine, number))
            launch(engine, number);
    }
}

static void serve_next(struct engine *engine)
{
    uint32_t number = queue_pop(&engine->queue);
    const struct sp_instruction *instruction = &engine->program->instructions[number];

    if (instruction->stream == SP_STREAM_SEND)
        serve_message(engine, number, instruction);
    else
        serve_copy(engine, number, instruction);
}

/* At the start nothing is done, so every message hangs on its first wait, which was set before it. */
static void set_message(struct engine *engine, uint32_t number)
{
    const struct sp_instruction *instruction = &engine->program->instructions[number];

    if (instruction->wait_count == 0)
        try_later(engine, number);
    else
        hang(engine, number, engine->program->waits[instruction->wait_begin]);
}

/* Of the others, the first of each stream is tried, and tells the rest. */
static void set_states(struct engine *engine)
{
    const struct sp_program *program = engine->program;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        engine->states[i] = (struct state){.waiter = SP_NO_INDEX, .follower = SP_NO_INDEX};
        if (instruction->stream == SP_STREAM_SEND) {
            set_message(engine, i);
            continue;
        }
        uint32_t *last = &engine->last[stream_of(instruction)];
        if (*last == SP_NO_INDEX)
            try_later(engine, i);
        else
            engine->states[*last].follower = i;
        *last = i;
    }
}

static void run(struct engine *engine)
{
    for (try_all(engine); engine->queue.count > 0 && engine->signs >= 0; try_all(engine))
        serve_next(engine);
}

static size_t count_transfers(const struct sp_program *program)
{
    size_t count = 0;

    for (uint32_t stream = 0; stream < program->device_count * SP_STREAMS; stream++)
        if (stream % SP_STREAMS != SP_STREAM_COMPUTE)
            count += program->stream_begin[stream + 1] - program->stream_begin[stream];
    return count;
}

static void set_ports(struct engine *engine, uint32_t devices)
{
    int64_t *times = engine->port_times;

    for (int near = 0; near < 2; near++) {
        engine->ports.send[near] = times + (size_t)devices * (2 * near);
        engine->ports.receive[near] = times + (size_t)devices * (2 * near + 1);
    }
    engine->ports.offload = times + (size_t)devices * 4;
    engine->ports.reload = times + (size_t)devices * 5;
}

static enum sp_status init(struct engine *engine, struct sp_error *error)
{
    const struct sp_program *program = engine->program;
    uint32_t count = program->instruction_count, devices = program->device_count;
    uint32_t streams = devices * SP_STREAMS;

    engine->states = sp_alloc(count, sizeof *engine->states);
    engine->last = sp_alloc(streams, sizeof *engine->last);
    engine->clocks = sp_alloc(streams, sizeof *engine->clocks);
    engine->port_times = sp_alloc((size_t)devices * 6, sizeof *engine->port_times);
    engine->keys = sp_alloc(count_transfers(program) + QUEUE_CHILDREN, sizeof *engine->keys);
    if (!engine->states || !engine->last || !engine->clocks || !engine->port_times || !engine->keys)
        return sp_error_set(error, SP_MEMORY, "no memory to simulate %u instructions", count);

    engine->to_try = SP_NO_INDEX;
    memset(engine->start_ns, 0, count * sizeof *engine->start_ns);
    memset(engine->end_ns, 0xff, count * sizeof *engine->end_ns); /* negative: not known */
    memset(engine->last, 0xff, streams * sizeof *engine->last);   /* SP_NO_INDEX */
    queue_init(&engine->queue, engine->keys);
    set_ports(engine, devices);
    set_states(engine);
    return SP_OK;
}

static void release(struct engine *engine)
{
    sp_free(engine->keys);
    sp_free(engine->port_times);
    sp_free(engine->clocks);
    sp_free(engine->last);
    sp_free(engine->states);
}

enum sp_status sp_sim_events(const struct sp_program *program, const struct sp_sim_hold *holds,
                             const uint32_t *host_links, bool message_ports, struct sp_timeline *timeline,
                             struct sp_error *error)
{
    struct engine engine = {.program = program,
                            .holds = holds,
                            .host_links = host_links,
                            .message_ports = message_ports,
                            .start_ns = timeline->start_ns,
                            .end_ns = timeline->end_ns};
    enum sp_status status = init(&engine, error);

    if (status == SP_OK) {
        run(&engine);
        if (engine.signs < 0)
            status = sp_sim_too_long(error);
        else
            assert(engine.done == program->instruction_count);
    }
    release(&engine);
    return status;
}
