/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "walker.h"

char *sp_describe_instruction(const struct sp_program *program, uint32_t number, char *text, size_t size)
{
    const struct sp_instruction *instruction = &program->instructions[number];
    const char *name = sp_instruction_names[instruction->kind];
    char pass[32], layer[32] = "";
    if (instruction->pass == SP_NO_INDEX) {
        snprintf(text, size, "%s", name);
        return text;
    }
    sp_pass_text(&program->plan->order.passes[instruction->pass], program->plan->slice_count, pass,
                 sizeof pass);
    if (instruction->layer != SP_WHOLE_PASS)
        snprintf(layer, sizeof layer, ", layer %u", instruction->layer);
    snprintf(text, size, "%s%s %s%s", name, instruction->kind == SP_INSTRUCTION_PASS ? "" : " of", pass,
             layer);
    return text;
}
