/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs made by hand, instruction by instruction, for tests of what runs over programs. Instructions are
 * added in the order of their numbers; waits belong to the one added last. Compute instructions are guests,
 * so no rule about passes concerns them.
 */
#ifndef TESTS_PROGRAM_BUILDER_H
#define TESTS_PROGRAM_BUILDER_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/program.h"
#include "slimpipe/timeline.h"

enum { BUILDER_INSTRUCTIONS = 1024, BUILDER_WAITS = 4096, BUILDER_CHANGES = 64, BUILDER_DEVICES = 16 };

struct builder {
    struct sp_program program;
    struct sp_plan plan;
    struct sp_pass_costs costs;
    struct sp_instruction instructions[BUILDER_INSTRUCTIONS];
    uint32_t waits[BUILDER_WAITS];
    uint32_t wait_count;
    uint32_t stream_begin[BUILDER_DEVICES * SP_STREAMS + 1];
    uint32_t stream_items[BUILDER_INSTRUCTIONS];
    struct sp_memory_effect effects[BUILDER_CHANGES];
    struct sp_memory_change changes[BUILDER_CHANGES];
    int64_t resident[BUILDER_DEVICES][SP_MEMORY_CATEGORIES];
    uint32_t host_port[BUILDER_DEVICES];
    int64_t start_ns[BUILDER_INSTRUCTIONS], end_ns[BUILDER_INSTRUCTIONS];
    struct sp_timeline timeline;
};

/* On the heap: it is large, and points into itself. free() it. */
static inline struct builder *builder_create(uint32_t devices)
{
    struct builder *b = calloc(1, sizeof *b);

    assert(b && devices <= BUILDER_DEVICES);
    b->plan.costs = &b->costs;
    b->plan.stage_count = b->plan.slice_count = 1;
    b->plan.workload.microbatches = 1;
    b->program.plan = &b->plan;
    b->program.instructions = b->instructions;
    b->program.waits = b->waits;
    b->program.device_count = devices;
    b->program.stream_begin = b->stream_begin;
    b->program.stream_items = b->stream_items;
    b->program.effect_count = 1;
    b->program.effects = b->effects;
    b->program.changes = b->changes;
    b->program.resident = b->resident;
    b->program.host_port = b->host_port;
    for (uint32_t device = 0; device < devices; device++)
        b->host_port[device] = device;
    b->timeline = (struct sp_timeline){
        .program = &b->program, .start_ns = b->start_ns, .end_ns = b->end_ns, .source = "predicted"};
    return b;
}

static inline uint32_t builder_add(struct builder *b, struct sp_instruction instruction)
{
    uint32_t number = b->program.instruction_count++;

    assert(number < BUILDER_INSTRUCTIONS);
    instruction.layer = SP_WHOLE_PASS;
    instruction.part = SP_NO_INDEX;
    instruction.wait_begin = b->wait_count;
    b->instructions[number] = instruction;
    return number;
}

static inline uint32_t builder_compute(struct builder *b, uint32_t device, int64_t duration)
{
    return builder_add(b, (struct sp_instruction){.kind = SP_INSTRUCTION_GUEST,
                                                  .stream = SP_STREAM_COMPUTE,
                                                  .device = (uint16_t)device,
                                                  .peer = (uint16_t)device,
                                                  .duration_ns = duration});
}

static inline uint32_t builder_message(struct builder *b, uint32_t from, uint32_t to, int64_t duration,
                                       int same_node)
{
    return builder_add(b, (struct sp_instruction){.kind = SP_INSTRUCTION_HOP,
                                                  .stream = SP_STREAM_SEND,
                                                  .same_node = (uint8_t)same_node,
                                                  .device = (uint16_t)from,
                                                  .peer = (uint16_t)to,
                                                  .duration_ns = duration});
}

static inline uint32_t builder_copy(struct builder *b, uint32_t device, enum sp_stream stream,
                                    int64_t duration)
{
    return builder_add(b, (struct sp_instruction){.kind = stream == SP_STREAM_OFFLOAD ? SP_INSTRUCTION_OFFLOAD
                                                                                      : SP_INSTRUCTION_RELOAD,
                                                  .stream = (uint8_t)stream,
                                                  .device = (uint16_t)device,
                                                  .peer = (uint16_t)device,
                                                  .duration_ns = duration});
}

/* The instruction added last waits for `number`. */
static inline void builder_wait(struct builder *b, uint32_t number)
{
    assert(b->wait_count < BUILDER_WAITS);
    b->waits[b->wait_count++] = number;
    b->instructions[b->program.instruction_count - 1].wait_count++;
}

/* The instruction added last changes memory; all its changes are given one after the other. */
static inline void builder_change(struct builder *b, enum sp_memory_category category, int64_t bytes,
                                  int at_end)
{
    struct sp_instruction *last = &b->instructions[b->program.instruction_count - 1];

    if (last->memory == 0) {
        last->memory = b->program.effect_count++;
        b->effects[last->memory].begin = b->program.change_count;
    }
    assert(b->program.change_count < BUILDER_CHANGES && b->program.effect_count < BUILDER_CHANGES);
    b->changes[b->program.change_count++] =
        (struct sp_memory_change){bytes, (uint8_t)category, (uint8_t)at_end};
    b->effects[last->memory].end = b->program.change_count;
}

/* Fills the streams; returns the finished program. */
static inline const struct sp_program *builder_close(struct builder *b)
{
    uint32_t streams = b->program.device_count * SP_STREAMS, next[BUILDER_DEVICES * SP_STREAMS];

    memset(b->stream_begin, 0, sizeof b->stream_begin);
    for (uint32_t i = 0; i < b->program.instruction_count; i++)
        b->stream_begin[b->instructions[i].device * SP_STREAMS + b->instructions[i].stream + 1]++;
    for (uint32_t stream = 0; stream < streams; stream++)
        b->stream_begin[stream + 1] += b->stream_begin[stream];
    memcpy(next, b->stream_begin, sizeof next);
    for (uint32_t i = 0; i < b->program.instruction_count; i++)
        b->stream_items[next[b->instructions[i].device * SP_STREAMS + b->instructions[i].stream]++] = i;
    return &b->program;
}

#endif
