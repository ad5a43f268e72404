/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: memory changes in the order of a device's compute stream. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "slimpipe/program.h"

/* Those of one device lie apart, at no stride that the processor sees. */
enum { PREFETCH_AHEAD = 16 };

struct ledger {
    int64_t live[SP_MEMORY_CATEGORIES];
    int64_t total; /* device memory: all but OFFLOAD */
    int64_t in_flight;
};

static void note_peaks(const struct ledger *ledger, uint32_t number, struct sp_device_memory *memory)
{
    if (ledger->total <= memory->peak_bytes)
        return;
    memory->peak_bytes = ledger->total;
    memory->peak_instruction = number;
    memcpy(memory->at_peak, ledger->live, sizeof memory->at_peak);
}

/* Every change counts on its own, as it does in an arena that carries them out one by one. */
static void apply(struct ledger *ledger, const struct sp_memory_change *change, uint32_t number,
                  struct sp_device_memory *memory)
{
    int64_t *live = &ledger->live[change->category];

    *live += change->bytes;
    assert(*live >= 0);
    if (*live > memory->peak_by_category[change->category])
        memory->peak_by_category[change->category] = *live;
    if (change->category == SP_MEMORY_OFFLOAD)
        return;
    ledger->total += change->bytes;
    note_peaks(ledger, number, memory);
}

static void count_units(struct ledger *ledger, int change, struct sp_device_memory *memory)
{
    ledger->in_flight += change;
    assert(ledger->in_flight >= 0);
    if (ledger->in_flight > memory->peak_in_flight)
        memory->peak_in_flight = ledger->in_flight;
}

/* Start and end of an instruction follow each other directly: nothing else changes memory in between. */
static void run(const struct sp_program *program, uint32_t number, struct ledger *ledger,
                struct sp_device_memory *memory)
{
    const struct sp_memory_effect *effect = &program->effects[program->instructions[number].memory];

    count_units(ledger, effect->in_flight_start, memory);
    for (uint32_t k = effect->begin; k < effect->end; k++)
        apply(ledger, &program->changes[k], number, memory);
    count_units(ledger, effect->in_flight_end, memory);
}

static void open_books(const struct sp_program *program, uint32_t device, struct ledger *ledger,
                       struct sp_device_memory *memory)
{
    *ledger = (struct ledger){0};
    *memory = (struct sp_device_memory){0};
    for (int category = 0; category < SP_MEMORY_CATEGORIES; category++) {
        ledger->live[category] = memory->peak_by_category[category] = program->resident[device][category];
        if (category != SP_MEMORY_OFFLOAD)
            ledger->total += program->resident[device][category];
    }
    memory->peak_bytes = ledger->total;
    memory->peak_instruction = SP_NO_INDEX;
    memcpy(memory->at_peak, ledger->live, sizeof memory->at_peak);
}

void sp_program_memory(const struct sp_program *program, uint32_t device, struct sp_device_memory *ret_memory)
{
    const uint32_t *begin = &program->stream_begin[(size_t)device * SP_STREAMS + SP_STREAM_COMPUTE];
    const uint32_t *items = program->stream_items;
    struct sp_device_memory memory;
    struct ledger ledger;

    open_books(program, device, &ledger, &memory);
    for (uint32_t k = begin[0]; k < begin[1]; k++) {
        if (k + PREFETCH_AHEAD < begin[1])
            __builtin_prefetch(&program->instructions[items[k + PREFETCH_AHEAD]]);
        if (program->instructions[items[k]].memory != 0)
            run(program, items[k], &ledger, &memory);
    }
    memcpy(memory.at_end, ledger.live, sizeof memory.at_end);
    *ret_memory = memory;
}

static double gib(int64_t bytes)
{
    return (double)bytes / (1 << 30);
}

/* ": weights 3.25 GiB, activations 70.12 GiB" */
static void list_live(const struct sp_device_memory *memory, char *text, size_t size)
{
    size_t used = 0;

    text[0] = 0;
    for (int category = 0; category < SP_MEMORY_CATEGORIES; category++) {
        if (category == SP_MEMORY_OFFLOAD || memory->at_peak[category] == 0)
            continue;
        int length = snprintf(text + used, size - used, "%s%s %.2f GiB", used ? ", " : ": ",
                              sp_memory_names[category], gib(memory->at_peak[category]));
        if (length < 0 || (size_t)length >= size - used)
            return;
        used += (size_t)length;
    }
}

/* " at pass 12F0.31" */
static void name_place(const struct sp_program *program, const struct sp_device_memory *memory, char *text,
                       size_t size)
{
    char pass[32];

    text[0] = 0;
    if (memory->peak_instruction == SP_NO_INDEX)
        return;
    const struct sp_instruction *instruction = &program->instructions[memory->peak_instruction];
    if (instruction->pass != SP_NO_INDEX)
        snprintf(text, size, " at pass %s",
                 sp_pass_text(&program->plan->order.passes[instruction->pass], program->plan->slice_count,
                              pass, sizeof pass));
}

enum sp_status sp_program_check_memory(const struct sp_program *program, struct sp_error *error)
{
    int64_t cap = program->plan->memory_cap_bytes;
    struct sp_device_memory worst = {0}, memory;
    char live[400], place[64];
    uint32_t device = 0;

    if (cap == 0)
        return SP_OK;
    for (uint32_t d = 0; d < program->device_count; d++) {
        sp_program_memory(program, d, &memory);
        if (memory.peak_bytes > worst.peak_bytes) {
            worst = memory;
            device = d;
        }
    }
    if (worst.peak_bytes <= cap)
        return SP_OK;
    list_live(&worst, live, sizeof live);
    name_place(program, &worst, place, sizeof place);
    return sp_error_set(error, SP_INFEASIBLE,
                        "device %" PRIu32 " needs %.2f GiB (%" PRId64
                        " bytes)%s, above the cap of %.2f GiB (%" PRId64 " bytes)%s",
                        device, gib(worst.peak_bytes), worst.peak_bytes, place, gib(cap), cap, live);
}
