/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <string.h>

static void count_total(struct sp_ledger *ledger)
{
    ledger->total = 0;
    for (int i = 0; i < SP_MEMORY_CATEGORIES; i++)
        if (i != SP_MEMORY_OFFLOAD)
            ledger->total += ledger->live[i];
}

void sp_ledger_init(struct sp_ledger *ledger, const struct sp_timeline *timeline, uint32_t device,
                    int64_t begin_ns)
{
    const struct sp_program *program = timeline->program;
    *ledger = (struct sp_ledger){
        .timeline = timeline,
        .at_ns = begin_ns,
        .cursor = program->stream_begin[device * SP_STREAMS + SP_STREAM_COMPUTE],
        .last = program->stream_begin[device * SP_STREAMS + SP_STREAM_COMPUTE + 1],
    };
    memcpy(ledger->live, program->resident[device], sizeof ledger->live);
    count_total(ledger);
}

/* Applies the changes of one side of an instruction; false when there are none. */
static bool apply(struct sp_ledger *ledger, const struct sp_memory_effect *effect, bool at_end)
{
    const struct sp_memory_change *changes = ledger->timeline->program->changes;
    int in_flight = at_end ? effect->in_flight_end : effect->in_flight_start;
    bool any = in_flight != 0;
    ledger->in_flight += in_flight;
    for (uint32_t i = effect->begin; i < effect->end; i++) {
        if (changes[i].at_end != at_end)
            continue;
        ledger->live[changes[i].category] += changes[i].bytes;
        any = true;
    }
    if (any)
        count_total(ledger);
    return any;
}

bool sp_ledger_next(struct sp_ledger *ledger)
{
    const struct sp_timeline *timeline = ledger->timeline;
    const struct sp_program *program = timeline->program;
    while (ledger->cursor < ledger->last) {
        uint32_t item = program->stream_items[ledger->cursor];
        bool at_end = ledger->at_end;
        ledger->cursor += at_end;
        ledger->at_end = !at_end;
        if (apply(ledger, &program->effects[program->instructions[item].memory], at_end)) {
            ledger->at_ns = at_end ? timeline->end_ns[item] : timeline->start_ns[item];
            return true;
        }
    }
    return false;
}
