/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace Event Format (JSON object form). Process 1 has the devices as threads, so that they lie below each
 * other as in a paper's picture; process 2 the messages and copies as asynchronous events, one track per pair
 * of devices, since several can be on their way at once; process 3 the memory counters. A viewer takes
 * process 0 and thread 0 for the idle task, so numbers start at 1.
 */
#include <inttypes.h>

#include "emit.h"
#include "ledger.h"
#include "palette.h"
#include "row.h"

enum { PROCESS_DEVICES = 1, PROCESS_LINKS, PROCESS_MEMORY };

struct trace {
    const struct sp_timeline *timeline;
    const struct sp_program *program;
    int64_t begin_ns; /* is 0 in the trace */
    int device_digits;
    struct sp_emitter out;
};

static void text(struct trace *trace, const char *part)
{
    sp_emit_text(&trace->out, part);
}

static void whole(struct trace *trace, const char *before, int64_t number)
{
    sp_emit_text(&trace->out, before);
    sp_emit_whole(&trace->out, number);
}

static void time_of(struct trace *trace, const char *before, int64_t ns)
{
    sp_emit_text(&trace->out, before);
    sp_emit_micros(&trace->out, ns - trace->begin_ns);
}

/* Devices with leading zeros, so that a viewer that sorts by name has them in order. */
static void put_device(struct trace *trace, const char *before, uint32_t device)
{
    char name[16];
    snprintf(name, sizeof name, "%0*" PRIu32, trace->device_digits, device);
    text(trace, before);
    text(trace, name);
}

/* The first event has no comma before it. */
static void put_process(struct trace *trace, const char *comma, int process, const char *name)
{
    text(trace, comma);
    whole(trace, "\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":", process);
    text(trace, ",\"tid\":0,\"args\":{\"name\":\"");
    sp_emit_json(&trace->out, name);
    whole(trace, "\"}},\n{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":", process);
    whole(trace, ",\"tid\":0,\"args\":{\"sort_index\":", process);
    text(trace, "}}");
}

static void put_thread(struct trace *trace, uint32_t device)
{
    whole(trace, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":", device + 1);
    put_device(trace, ",\"args\":{\"name\":\"device ", device);
    whole(trace, "\"}},\n{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":1,\"tid\":", device + 1);
    whole(trace, ",\"args\":{\"sort_index\":", device);
    text(trace, "}}");
}

static void put_head(struct trace *trace, int64_t makespan_ns)
{
    const struct sp_plan *plan = trace->program->plan;
    char name[64];
    text(trace, "{\"displayTimeUnit\":\"ns\",\n\"otherData\":{\"schedule\":\"");
    sp_emit_json(&trace->out, plan->schedule ? plan->schedule : "");
    text(trace, "\",\"source\":\"");
    sp_emit_json(&trace->out, trace->timeline->source);
    whole(trace, "\",\"makespan_ns\":", makespan_ns);
    text(trace, "},\n\"traceEvents\":[");

    snprintf(name, sizeof name, "devices (%s)", trace->timeline->source);
    put_process(trace, "", PROCESS_DEVICES, name);
    put_process(trace, ",", PROCESS_LINKS, "messages and copies");
    put_process(trace, ",", PROCESS_MEMORY, "memory");
    for (uint32_t d = 0; d < trace->program->device_count; d++)
        put_thread(trace, d);
}

/* "args":{…} of any instruction. */
static void put_args(struct trace *trace, const struct sp_instruction *instruction)
{
    text(trace, ",\"args\":{\"kind\":\"");
    if (instruction->pass == SP_NO_INDEX) {
        text(trace, sp_instruction_names[instruction->kind]);
        text(trace, "\"}}");
        return;
    }
    const struct sp_pass *pass = &trace->program->plan->order.passes[instruction->pass];
    text(trace, sp_pass_kind_names[pass->kind]);
    if (instruction->kind != SP_INSTRUCTION_PASS) {
        text(trace, "\",\"part\":\"");
        text(trace, sp_instruction_names[instruction->kind]);
    }
    whole(trace, "\",\"stage\":", pass->stage);
    whole(trace, ",\"microbatch\":", pass->microbatch);
    whole(trace, ",\"slice\":", pass->slice);
    if (instruction->layer != SP_WHOLE_PASS)
        whole(trace, ",\"layer\":", instruction->layer);
    if (instruction->kind == SP_INSTRUCTION_GUEST)
        whole(trace, ",\"for_device\":", instruction->peer);
    if (instruction->bytes > 0)
        whole(trace, ",\"bytes\":", instruction->bytes);
    text(trace, "}}");
}

static void put_compute(struct trace *trace, uint32_t number)
{
    const struct sp_instruction *instruction = &trace->program->instructions[number];
    int64_t start = trace->timeline->start_ns[number], end = trace->timeline->end_ns[number];
    char name[96];
    whole(trace, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":", instruction->device + 1);
    time_of(trace, ",\"ts\":", start);
    text(trace, ",\"dur\":");
    sp_emit_micros(&trace->out, end - start);
    text(trace, ",\"name\":\"");
    text(trace, sp_instruction_text(trace->program, instruction, name, sizeof name));
    text(trace, "\",\"cat\":\"");
    text(trace, sp_paint_styles[sp_paint_of(trace->program, instruction)].name);
    text(trace, "\"");
    put_args(trace, instruction);
}

static void put_async(struct trace *trace, uint32_t number, const char *phase, int64_t at_ns)
{
    const struct sp_instruction *instruction = &trace->program->instructions[number];
    text(trace, ",\n{\"ph\":\"");
    text(trace, phase);
    whole(trace, "\",\"pid\":2,\"tid\":1,\"id\":", number);
    time_of(trace, ",\"ts\":", at_ns);
    text(trace, ",\"cat\":\"");
    text(trace, sp_instruction_names[instruction->kind]);
    put_device(trace, "\",\"name\":\"", instruction->device);
    if (instruction->stream == SP_STREAM_SEND)
        put_device(trace, " to ", instruction->peer);
    else
        text(trace, instruction->stream == SP_STREAM_OFFLOAD ? " offload" : " reload");
    text(trace, "\"");
}

/* A message or copy: begin with arguments, and end. */
static void put_transfer(struct trace *trace, uint32_t number)
{
    const struct sp_instruction *instruction = &trace->program->instructions[number];
    put_async(trace, number, "b", trace->timeline->start_ns[number]);
    put_args(trace, instruction);
    put_async(trace, number, "e", trace->timeline->end_ns[number]);
    text(trace, "}");
}

static void put_flow_end(struct trace *trace, const char *phase, uint32_t number, int64_t id, int64_t at_ns)
{
    text(trace, ",\n{\"ph\":\"");
    text(trace, phase);
    whole(trace, "\",\"pid\":1,\"tid\":", trace->program->instructions[number].device + 1);
    whole(trace, ",\"id\":", id);
    time_of(trace, ",\"ts\":", at_ns);
    text(trace, ",\"cat\":\"message\",\"name\":\"message\"}");
}

/* The compute instruction a message comes from, through other messages if need be; or SP_NO_INDEX. */
static uint32_t producer_of(const struct sp_program *program, uint32_t number)
{
    while (program->instructions[number].stream != SP_STREAM_COMPUTE) {
        const struct sp_instruction *instruction = &program->instructions[number];
        const uint32_t *waits = &program->waits[instruction->wait_begin];
        if (instruction->wait_count == 0)
            return SP_NO_INDEX;
        number = waits[0];
        for (int i = 1; i < instruction->wait_count; i++)
            if (program->instructions[waits[i]].stream == SP_STREAM_COMPUTE)
                number = waits[i];
    }
    return number;
}

/*
 * An arrow for every message that a compute instruction waits for. A flow event binds to the slice that is
 * open at its time, so it starts in the middle of the producer, where the next slice cannot be meant.
 */
static void put_flows(struct trace *trace, uint32_t number)
{
    const struct sp_program *program = trace->program;
    const struct sp_instruction *instruction = &program->instructions[number];
    for (uint64_t i = 0; i < instruction->wait_count; i++) {
        uint32_t message = program->waits[instruction->wait_begin + i];
        if (program->instructions[message].stream != SP_STREAM_SEND)
            continue;
        uint32_t producer = producer_of(program, message);
        if (producer == SP_NO_INDEX)
            continue;
        const struct sp_timeline *timeline = trace->timeline;
        int64_t start = timeline->start_ns[producer], end = timeline->end_ns[producer];
        int64_t id = (int64_t)(instruction->wait_begin + i);
        put_flow_end(trace, "s", producer, id, start + (end - start) / 2);
        put_flow_end(trace, "f\",\"bp\":\"e", number, id, timeline->start_ns[number]);
    }
}

/*
 * The categories as one counter with several series, which chrome://tracing stacks to the device's memory,
 * and their total, since Perfetto shows each series alone.
 */
static void put_counter(struct trace *trace, uint32_t device, const struct sp_ledger *ledger,
                        const struct sp_device_memory *memory)
{
    const char *comma = "";
    put_device(trace, ",\n{\"ph\":\"C\",\"pid\":3,\"tid\":1,\"name\":\"device ", device);
    time_of(trace, "\",\"ts\":", ledger->at_ns);
    text(trace, ",\"args\":{");
    for (int i = 0; i < SP_MEMORY_CATEGORIES; i++) {
        if (i == SP_MEMORY_OFFLOAD || memory->peak_by_category[i] == 0)
            continue;
        text(trace, comma);
        text(trace, "\"");
        text(trace, sp_memory_styles[i].name);
        whole(trace, "\":", ledger->live[i]);
        comma = ",";
    }
    put_device(trace, "}},\n{\"ph\":\"C\",\"pid\":3,\"tid\":1,\"name\":\"device ", device);
    time_of(trace, " total\",\"ts\":", ledger->at_ns);
    whole(trace, ",\"args\":{\"device\":", ledger->total);
    if (memory->peak_by_category[SP_MEMORY_OFFLOAD] > 0)
        whole(trace, ",\"host\":", ledger->live[SP_MEMORY_OFFLOAD]);
    text(trace, "}}");
}

/* Of several changes at one time the last counts. */
static void put_counters(struct trace *trace, uint32_t device)
{
    struct sp_device_memory memory;
    struct sp_ledger now, next;
    sp_program_memory(trace->program, device, &memory);
    if (memory.peak_bytes == 0)
        return;
    sp_ledger_init(&now, trace->timeline, device, trace->begin_ns);
    next = now;
    while (sp_ledger_next(&next)) {
        if (next.at_ns != now.at_ns)
            put_counter(trace, device, &now, &memory);
        now = next;
    }
    put_counter(trace, device, &now, &memory);
}

void sp_timeline_write_trace(const struct sp_timeline *timeline, FILE *stream)
{
    const struct sp_program *program = timeline->program;
    struct trace trace = {.timeline = timeline, .program = program, .device_digits = 1};
    int64_t end;
    for (uint32_t d = program->device_count; d > 10; d = (d + 9) / 10)
        trace.device_digits++;
    sp_emit_init(&trace.out, stream);
    sp_timeline_span(timeline, &trace.begin_ns, &end);
    put_head(&trace, end - trace.begin_ns);

    for (uint32_t s = 0; s < program->device_count * SP_STREAMS; s++) {
        for (uint32_t at = program->stream_begin[s]; at < program->stream_begin[s + 1]; at++) {
            if (s % SP_STREAMS == SP_STREAM_COMPUTE)
                put_compute(&trace, program->stream_items[at]);
            else
                put_transfer(&trace, program->stream_items[at]);
        }
    }
    /* Behind all slices, since some viewers bind a flow to what they have read so far. */
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instructions[i].stream == SP_STREAM_COMPUTE)
            put_flows(&trace, i);
    for (uint32_t d = 0; d < program->device_count; d++)
        put_counters(&trace, d);
    text(&trace, "\n]}\n");
    sp_emit_flush(&trace.out);
}
