/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs and timelines built by hand, so that what is made of them is tested apart from lowering and
 * simulation. hand_compute and hand_message append one instruction with its times; hand_finish makes the
 * streams. hand_pipeline is a whole one: forward and backward in SlimPipe's order, each as early as it can.
 */
#ifndef HAND_PROGRAM_H
#define HAND_PROGRAM_H

#include <stdlib.h>
#include <string.h>

#include "slimpipe/timeline.h"

enum { HAND_MOST_CHANGES = 4 };

struct hand {
    struct sp_plan plan;
    struct sp_program program;
    struct sp_timeline timeline;
    uint32_t room;
    int64_t (*resident)[SP_MEMORY_CATEGORIES];
};

static inline struct hand *hand_create(uint32_t devices, uint32_t room)
{
    struct hand *hand = calloc(1, sizeof *hand);
    hand->room = room + 1;
    hand->plan.schedule = "hand-made";
    hand->plan.slice_count = 1;
    hand->plan.stage_count = devices;
    hand->plan.order.device_count = devices;
    hand->plan.order.passes = calloc(2 * hand->room, sizeof *hand->plan.order.passes);
    hand->program.plan = &hand->plan;
    hand->program.device_count = devices;
    hand->program.instructions = calloc(hand->room, sizeof *hand->program.instructions);
    hand->program.waits = calloc(2 * hand->room, sizeof *hand->program.waits);
    hand->program.effects = calloc(hand->room, sizeof *hand->program.effects);
    hand->program.changes = calloc(HAND_MOST_CHANGES * hand->room, sizeof *hand->program.changes);
    hand->program.effect_count = 1;
    hand->resident = calloc(devices, sizeof *hand->resident);
    hand->program.resident = hand->resident;
    hand->timeline = (struct sp_timeline){.program = &hand->program,
                                          .start_ns = calloc(hand->room, sizeof(int64_t)),
                                          .end_ns = calloc(hand->room, sizeof(int64_t)),
                                          .source = "predicted"};
    return hand;
}

static inline void hand_destroy(struct hand *hand)
{
    free(hand->plan.order.passes);
    free(hand->program.instructions);
    free(hand->program.waits);
    free(hand->program.effects);
    free(hand->program.changes);
    free(hand->program.stream_begin);
    free(hand->program.stream_items);
    free(hand->resident);
    free(hand->timeline.start_ns);
    free(hand->timeline.end_ns);
    free(hand);
}

/* Each instruction has a pass of its own (a joined one two), at twice its number. */
static inline uint32_t hand_append(struct hand *hand, struct sp_instruction instruction, struct sp_pass pass,
                                   int64_t start_ns, int64_t end_ns)
{
    uint32_t number = hand->program.instruction_count++;
    if (number >= hand->room)
        abort();
    instruction.pass = 2 * number;
    instruction.part = SP_NO_INDEX;
    instruction.layer = SP_WHOLE_PASS;
    instruction.wait_begin = 2 * (uint64_t)number;
    instruction.duration_ns = end_ns - start_ns;
    hand->plan.order.passes[2 * number] = pass;
    hand->program.instructions[number] = instruction;
    hand->timeline.start_ns[number] = start_ns;
    hand->timeline.end_ns[number] = end_ns;
    return number;
}

static inline uint32_t hand_compute(struct hand *hand, uint32_t device, struct sp_pass pass, int64_t start_ns,
                                    int64_t end_ns)
{
    struct sp_instruction instruction = {
        .stream = SP_STREAM_COMPUTE, .device = (uint16_t)device, .peer = (uint16_t)device};
    return hand_append(hand, instruction, pass, start_ns, end_ns);
}

/* A hop that waits for `from`. */
static inline uint32_t hand_message(struct hand *hand, uint32_t from, uint32_t to_device, int64_t bytes,
                                    int64_t start_ns, int64_t end_ns)
{
    const struct sp_instruction *producer = &hand->program.instructions[from];
    struct sp_instruction instruction = {.kind = SP_INSTRUCTION_HOP,
                                         .stream = SP_STREAM_SEND,
                                         .device = producer->device,
                                         .peer = (uint16_t)to_device,
                                         .wait_count = 1,
                                         .bytes = bytes};
    uint32_t number =
        hand_append(hand, instruction, hand->plan.order.passes[producer->pass], start_ns, end_ns);
    hand->program.waits[hand->program.instructions[number].wait_begin] = from;
    return number;
}

static inline void hand_wait(struct hand *hand, uint32_t number, uint32_t dependency)
{
    struct sp_instruction *instruction = &hand->program.instructions[number];
    hand->program.waits[instruction->wait_begin + instruction->wait_count++] = dependency;
}

/* Adds a change to the instruction appended last; those at the start first. */
static inline void hand_change(struct hand *hand, enum sp_memory_category category, int64_t bytes, int at_end)
{
    struct sp_program *program = &hand->program;
    struct sp_instruction *instruction = &program->instructions[program->instruction_count - 1];
    if (instruction->memory == 0) {
        instruction->memory = program->effect_count++;
        program->effects[instruction->memory].begin = program->change_count;
    }
    program->changes[program->change_count++] =
        (struct sp_memory_change){bytes, (uint8_t)category, (uint8_t)at_end};
    program->effects[instruction->memory].end = program->change_count;
}

/* As above, a forward unit held or given back. Needs a change of bytes before it. */
static inline void hand_in_flight(struct hand *hand, int start, int end)
{
    const struct sp_program *program = &hand->program;
    struct sp_memory_effect *effect =
        &program->effects[program->instructions[program->instruction_count - 1].memory];
    effect->in_flight_start = (int8_t)start;
    effect->in_flight_end = (int8_t)end;
}

static inline void hand_finish(struct hand *hand)
{
    struct sp_program *program = &hand->program;
    uint32_t streams = program->device_count * SP_STREAMS, at = 0;
    program->stream_begin = calloc(streams + 1, sizeof *program->stream_begin);
    program->stream_items = calloc(hand->room, sizeof *program->stream_items);
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        program->stream_begin[instruction->device * SP_STREAMS + instruction->stream + 1]++;
    }
    for (uint32_t s = 0; s < streams; s++)
        program->stream_begin[s + 1] += program->stream_begin[s];
    uint32_t *next = calloc(streams + 1, sizeof *next);
    memcpy(next, program->stream_begin, (streams + 1) * sizeof *next);
    for (at = 0; at < program->instruction_count; at++) {
        const struct sp_instruction *instruction = &program->instructions[at];
        program->stream_items[next[instruction->device * SP_STREAMS + instruction->stream]++] = at;
    }
    free(next);
}

/* What hand_pipeline builds. Each unit holds 1 MiB of activations and a quarter of that as keys and values.
 */
struct hand_shape {
    uint32_t devices, chunks, microbatches, slices, window; /* units in flight: n·v + window (p − 1 − r) */
    int64_t forward_ns, backward_ns, message_ns;
};

struct hand_pipeline {
    const struct hand_shape *shape;
    struct hand *hand;
    uint32_t units, group; /* per microbatch and device; slices of a group */
    uint32_t *message;     /* by hand_slot: 1 + message that brings its input, 0: none yet */
    uint32_t *pass;        /* by hand_slot: 1 + instruction */
    uint32_t *next;        /* by device: place in its order */
    int64_t *free_ns;
};

/* The j-th forward of a device in SlimPipe's order. */
static inline struct sp_pass hand_forward(const struct hand_pipeline *line, uint32_t rank, uint32_t j)
{
    uint32_t in = j % line->units, cycle = in / (line->shape->chunks * line->group);
    uint32_t rest = in % (line->shape->chunks * line->group);
    return (struct sp_pass){.kind = SP_PASS_F,
                            .microbatch = j / line->units,
                            .stage = (uint16_t)(rest / line->group * line->shape->devices + rank),
                            .slice = (uint16_t)(cycle * line->group + rest % line->group)};
}

/* The j-th backward: its microbatch's forwards from the end. */
static inline struct sp_pass hand_backward(const struct hand_pipeline *line, uint32_t rank, uint32_t j)
{
    uint32_t first = j / line->units * line->units;
    struct sp_pass pass = hand_forward(line, rank, first + line->units - 1 - (j - first));
    pass.kind = SP_PASS_B;
    return pass;
}

/* The at-th pass of a device's order: fill the window, then one backward, one forward; then drain. */
static inline struct sp_pass hand_ordered(const struct hand_pipeline *line, uint32_t rank, uint32_t at)
{
    uint32_t all = line->units * line->shape->microbatches;
    uint32_t window = line->units + line->shape->window * (line->shape->devices - 1 - rank);
    window = window < all ? window : all;
    if (at < window)
        return hand_forward(line, rank, at);
    uint32_t turn = (at - window) / 2;
    if (window + turn >= all)
        return hand_backward(line, rank, at - all);
    return (at - window) % 2 ? hand_forward(line, rank, window + turn) : hand_backward(line, rank, turn);
}

static inline size_t hand_slot(const struct hand_pipeline *line, struct sp_pass pass)
{
    size_t stage = pass.stage + (pass.kind == SP_PASS_B) * line->shape->chunks * line->shape->devices;
    return (stage * line->shape->microbatches + pass.microbatch) * line->shape->slices + pass.slice;
}

/* Runs a device's next pass if what it waits for is there; its hop to the next stage too. */
static inline bool hand_step(struct hand_pipeline *line, uint32_t rank)
{
    const struct hand_shape *shape = line->shape;
    struct hand *hand = line->hand;
    uint32_t stages = shape->chunks * shape->devices;
    if (line->next[rank] == 2 * line->units * shape->microbatches)
        return false;
    struct sp_pass pass = hand_ordered(line, rank, line->next[rank]), before = pass, after = pass;
    bool forward = pass.kind == SP_PASS_F;
    before.kind = SP_PASS_F;
    bool starts = forward ? pass.stage == 0 : pass.stage == stages - 1;
    bool ends = forward ? pass.stage == stages - 1 : pass.stage == 0;
    uint32_t message = line->message[hand_slot(line, pass)];
    if ((!starts && !message) || (!forward && !line->pass[hand_slot(line, before)]))
        return false;

    int64_t start = line->free_ns[rank];
    if (message && hand->timeline.end_ns[message - 1] > start)
        start = hand->timeline.end_ns[message - 1];
    int64_t end = start + (forward ? shape->forward_ns : shape->backward_ns);
    uint32_t number = hand_compute(hand, rank, pass, start, end);
    if (message)
        hand_wait(hand, number, message - 1);
    hand_change(hand, SP_MEMORY_ACTIVATIONS, forward ? 1 << 20 : -(1 << 20), !forward);
    hand_change(hand, SP_MEMORY_KV_CACHE, forward ? 1 << 18 : -(1 << 18), !forward);
    hand_in_flight(hand, forward, -!forward);
    line->pass[hand_slot(line, pass)] = number + 1;
    line->free_ns[rank] = end;
    line->next[rank]++;
    after.stage = (uint16_t)(forward ? pass.stage + 1 : pass.stage - 1);
    if (!ends)
        line->message[hand_slot(line, after)] =
            1 + hand_message(hand, number, after.stage % shape->devices, 4096, end, end + shape->message_ns);
    return true;
}

static inline struct hand *hand_pipeline(const struct hand_shape *shape)
{
    struct hand_pipeline line = {.shape = shape, .units = shape->chunks * shape->slices, .group = 1};
    while (line.group < shape->slices && (line.group < shape->devices || shape->slices % line.group != 0))
        line.group++;
    size_t passes = 2 * (size_t)line.units * shape->microbatches * shape->devices;
    line.hand = hand_create(shape->devices, (uint32_t)(2 * passes));
    line.message = calloc(passes, sizeof *line.message);
    line.pass = calloc(passes, sizeof *line.pass);
    line.next = calloc(shape->devices, sizeof *line.next);
    line.free_ns = calloc(shape->devices, sizeof *line.free_ns);
    line.hand->plan.stage_count = shape->chunks * shape->devices;
    line.hand->plan.slice_count = shape->slices;
    line.hand->plan.workload.microbatches = shape->microbatches;
    for (bool any = true; any;) {
        any = false;
        for (uint32_t rank = 0; rank < shape->devices; rank++)
            while (hand_step(&line, rank))
                any = true;
    }
    hand_finish(line.hand);
    free(line.message);
    free(line.pass);
    free(line.next);
    free(line.free_ns);
    return line.hand;
}

#endif
