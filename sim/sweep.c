/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain rules in one sweep: instructions are numbered in an order of streams and waits, so at each one
 * everything it waits for is known.
 *
 * The loop has no branch on what an instruction is. A message has no stream to wait for and adds a latency,
 * others have a stream and none: both are looked up by stream.
 */
#include "engine.h"

static enum sp_status sweep(const struct sp_program *program, const struct sp_sim_hold *holds,
                            int64_t *clocks, int64_t *start_ns, int64_t *end_ns, struct sp_error *error)
{
    static const int64_t kept[SP_STREAMS] = {
        [SP_STREAM_COMPUTE] = -1, [SP_STREAM_SEND] = 0, [SP_STREAM_OFFLOAD] = -1, [SP_STREAM_RELOAD] = -1};
    const int64_t latency_ns[SP_STREAMS][2] = {
        [SP_STREAM_SEND] = {program->latency_ns[0], program->latency_ns[1]}};
    const struct sp_instruction *instructions = program->instructions;
    const uint32_t *waits = program->waits;
    int64_t signs = 0;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &instructions[i];
        unsigned stream = instruction->stream;
        int64_t *clock = &clocks[instruction->device * SP_STREAMS + stream];
        int64_t start = *clock;
        for (const uint32_t *wait = waits + instruction->wait_begin, *last = wait + instruction->wait_count;
             wait < last; wait++)
            start = time_later(start, end_ns[*wait]);
        if (holds)
            start = time_later(start, hold_end(&holds[i], end_ns));
        int64_t busy = time_add(start, instruction->duration_ns);
        int64_t end = time_add(busy, latency_ns[stream][instruction->same_node]);
        start_ns[i] = start;
        end_ns[i] = end;
        *clock = end & kept[stream];
        signs |= busy | end;
    }
    return signs < 0 ? sp_sim_too_long(error) : SP_OK;
}

enum sp_status sp_sim_sweep(const struct sp_program *program, const struct sp_sim_hold *holds,
                            struct sp_timeline *timeline, struct sp_error *error)
{
    int64_t *clocks = sp_alloc((size_t)program->device_count * SP_STREAMS, sizeof *clocks);
    enum sp_status status;

    if (!clocks)
        return sp_error_set(error, SP_MEMORY, "no memory for the clocks of %u devices",
                            program->device_count);
    status = sweep(program, holds, clocks, timeline->start_ns, timeline->end_ns, error);
    sp_free(clocks);
    return status;
}
