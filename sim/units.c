/* SPDX-License-Identifier: Apache-2.0 */
#include "units.h"

#include <string.h>

enum sp_status sp_sim_units_init(struct sp_sim_units *units, const struct sp_program *program,
                                 struct sp_error *error)
{
    const struct sp_plan *plan = program->plan;

    *units = (struct sp_sim_units){.microbatches = (uint32_t)plan->workload.microbatches,
                                   .slices = plan->slice_count};
    units->count = (size_t)plan->stage_count * units->microbatches * units->slices;
    units->forward = sp_alloc(units->count, sizeof *units->forward);
    units->backward = sp_alloc(units->count, sizeof *units->backward);
    if (!units->forward || !units->backward) {
        sp_sim_units_finish(units);
        return sp_error_set(error, SP_MEMORY, "no memory for a table of %zu units", units->count);
    }
    memset(units->forward, 0xff, units->count * sizeof *units->forward);
    memset(units->backward, 0xff, units->count * sizeof *units->backward);
    return SP_OK;
}

void sp_sim_units_finish(struct sp_sim_units *units)
{
    sp_free(units->forward);
    sp_free(units->backward);
    *units = (struct sp_sim_units){0};
}

void sp_sim_units_enter(struct sp_sim_units *units, const struct sp_program *program, uint32_t number)
{
    const struct sp_instruction *instruction = &program->instructions[number];

    for (int k = 0; k < instruction_passes(instruction); k++) {
        const struct sp_pass *pass = &program->plan->order.passes[instruction->pass + k];
        size_t unit = unit_of(units, pass->stage, pass->microbatch, pass->slice);
        if (pass->kind == SP_PASS_F)
            units->forward[unit] = number;
        else if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
            units->backward[unit] = number;
    }
}
