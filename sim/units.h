/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sim/: where in a program the passes of each unit (stage, microbatch, slice) are.
 */
#ifndef SLIMPIPE_SIM_UNITS_H
#define SLIMPIPE_SIM_UNITS_H

#include <stdint.h>

#include "slimpipe/program.h"

/* Last instruction of each unit's F, and of its B or I; SP_NO_INDEX where there is none. */
struct sp_sim_units {
    uint32_t microbatches, slices;
    size_t count;
    uint32_t *forward, *backward;
};

/* Empty tables; SP_MEMORY when short. */
enum sp_status sp_sim_units_init(struct sp_sim_units *units, const struct sp_program *program,
                                 struct sp_error *error) SP_MUST_CHECK;
void sp_sim_units_finish(struct sp_sim_units *units);
/* Enters an instruction as the last of its passes, of which it has none, one or two. */
void sp_sim_units_enter(struct sp_sim_units *units, const struct sp_program *program, uint32_t number);

/* How many passes run in an instruction: `pass` and, where 2, the one after it in the order. */
static inline int instruction_passes(const struct sp_instruction *instruction)
{
    switch (instruction->kind) {
    case SP_INSTRUCTION_PASS:
    case SP_INSTRUCTION_BEFORE:
    case SP_INSTRUCTION_ATTENTION:
    case SP_INSTRUCTION_PAST:
    case SP_INSTRUCTION_AFTER:
        return 1;
    case SP_INSTRUCTION_JOINED:
        return 2;
    default:
        return 0;
    }
}

static inline size_t unit_of(const struct sp_sim_units *units, uint32_t stage, uint32_t microbatch,
                             uint32_t slice)
{
    return ((size_t)stage * units->microbatches + microbatch) * units->slices + slice;
}

/* A unit's entry in a table; SP_NO_INDEX for a stage of −1. */
static inline uint32_t unit_entry(const struct sp_sim_units *units, const uint32_t *table, int32_t stage,
                                  uint32_t microbatch, uint32_t slice)
{
    return stage < 0 ? SP_NO_INDEX : table[unit_of(units, (uint32_t)stage, microbatch, slice)];
}

#endif
