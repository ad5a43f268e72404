/* SPDX-License-Identifier: Apache-2.0 */
#include "palette.h"

#include <stdio.h>

const struct sp_paint_style sp_paint_styles[SP_PAINTS] = {
    [SP_PAINT_FORWARD] = {"forward", "█", 'F', 75, {"#7eb0f1", "#5a99ed", "#a3c7f5", "#3a86e9"}},
    [SP_PAINT_BACKWARD] = {"backward", "▓", 'B', 72, {"#75c7ac", "#58bb9a", "#96d4bf", "#46aa89"}},
    [SP_PAINT_INPUT] = {"input gradient", "▒", 'I', 79, {"#6bc7be", "#4ebcb1", "#8cd4cc", "#3fa69c"}},
    [SP_PAINT_WEIGHT] = {"weight gradient", "░", 'W', 221, {"#f4cd71", "#f0bf4c", "#f7da97", "#eeb32b"}},
    [SP_PAINT_RECOMPUTE] = {"recompute", "▚", 'R', 141, {"#bca4e5", "#aa8cde", "#cdbceb", "#9975d7"}},
    [SP_PAINT_JOINED] = {"forward + backward", "▙", 'J', 37, {"#72bbca", "#59afc0", "#90c9d5", "#439fb1"}},
    [SP_PAINT_GUEST] = {"guest attention", "▞", 'G', 209, {"#f49071", "#f17650", "#f6aa92", "#ef6034"}},
    [SP_PAINT_OUTPUT] = {"output layer", "▀", 'O', 176, {"#e79dc8", "#e085ba", "#edb6d6", "#da6cac"}},
    [SP_PAINT_STEP] = {"optimizer step", "▄", 'U', 245, {"#8792a1", "#8792a1", "#8792a1", "#8792a1"}},
};

/* A colour for each category; a new category does not compile without. */
#define FILL_WEIGHTS     "#94a3b8"
#define FILL_GRADIENTS   "#b4c0d0"
#define FILL_OPTIMIZER   "#d3dae4"
#define FILL_ACTIVATIONS "#f3b076"
#define FILL_KV_CACHE    "#eed06a"
#define FILL_KV_GRADIENT "#a9d18e"
#define FILL_LOGITS      "#e6a3cb"
#define FILL_RECOMPUTE   "#bca4e5"
#define FILL_EXCHANGE    "#f08f72"
#define FILL_MESSAGES    "#7fc8cf"
#define FILL_OFFLOAD     "#8aa4d6"

const struct sp_memory_style sp_memory_styles[SP_MEMORY_CATEGORIES] = {
#define X(name, text) [SP_MEMORY_##name] = {text, FILL_##name},
    SP_MEMORY_LIST(X)
#undef X
};

const char *const sp_pass_kind_names[SP_PASS_KINDS] = {
#define X(name, letter, text) [SP_PASS_##name] = text,
    SP_PASS_LIST(X)
#undef X
};

static const enum sp_paint pass_paints[SP_PASS_KINDS] = {
    [SP_PASS_F] = SP_PAINT_FORWARD,
    [SP_PASS_I] = SP_PAINT_INPUT,
    [SP_PASS_W] = SP_PAINT_WEIGHT,
    [SP_PASS_B] = SP_PAINT_BACKWARD,
    [SP_PASS_R] = SP_PAINT_RECOMPUTE,
    [SP_PASS_S] = SP_PAINT_OUTPUT,
    [SP_PASS_T] = SP_PAINT_OUTPUT,
    /* Starting a copy takes no compute time, so these are never seen. */
    [SP_PASS_O] = SP_PAINT_STEP,
    [SP_PASS_L] = SP_PAINT_STEP,
};

enum sp_paint sp_paint_of(const struct sp_program *program, const struct sp_instruction *instruction)
{
    switch (instruction->kind) {
    case SP_INSTRUCTION_STEP:
        return SP_PAINT_STEP;
    case SP_INSTRUCTION_GUEST:
        return SP_PAINT_GUEST;
    case SP_INSTRUCTION_JOINED:
        return SP_PAINT_JOINED;
    default:
        return sp_paint_of_pass(program, instruction->pass);
    }
}

enum sp_paint sp_paint_of_pass(const struct sp_program *program, uint32_t pass)
{
    return pass_paints[program->plan->order.passes[pass].kind];
}

int sp_paint_shade(const struct sp_program *program, const struct sp_instruction *instruction,
                   uint32_t second)
{
    if (instruction->pass == SP_NO_INDEX)
        return 0;
    return (int)(program->plan->order.passes[instruction->pass + second].microbatch % SP_SHADES);
}

char *sp_instruction_text(const struct sp_program *program, const struct sp_instruction *instruction,
                          char *text, size_t size)
{
    const struct sp_plan *plan = program->plan;
    char first[32], second[32];
    const char *what = sp_instruction_names[instruction->kind];
    if (instruction->pass == SP_NO_INDEX) {
        snprintf(text, size, "%s", what);
        return text;
    }
    const struct sp_pass *pass = &plan->order.passes[instruction->pass];
    sp_pass_text(pass, plan->slice_count, first, sizeof first);
    if (instruction->kind == SP_INSTRUCTION_PASS)
        snprintf(text, size, "%s", first);
    else if (instruction->kind == SP_INSTRUCTION_JOINED)
        snprintf(text, size, "%s + %s", first,
                 sp_pass_text(pass + 1, plan->slice_count, second, sizeof second));
    else
        snprintf(text, size, "%s %s", first, what);
    return text;
}
