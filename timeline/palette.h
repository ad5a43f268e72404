/* SPDX-License-Identifier: Apache-2.0 */
/* What every picture agrees on: classes of work, their names, glyphs and colours. */
#ifndef SP_TIMELINE_PALETTE_H
#define SP_TIMELINE_PALETTE_H

#include "slimpipe/program.h"

enum { SP_SHADES = 4 }; /* of one colour, told apart by microbatch */

enum sp_paint {
    SP_PAINT_FORWARD,
    SP_PAINT_BACKWARD,
    SP_PAINT_INPUT,
    SP_PAINT_WEIGHT,
    SP_PAINT_RECOMPUTE,
    SP_PAINT_JOINED,
    SP_PAINT_GUEST,
    SP_PAINT_OUTPUT,
    SP_PAINT_STEP,
    SP_PAINTS
};

struct sp_paint_style {
    const char *name;            /* in legends */
    const char *block;           /* one UTF-8 cell without colour */
    char letter;                 /* one ASCII cell */
    uint8_t ansi;                /* of the terminal's 256 colours */
    const char *fill[SP_SHADES]; /* #rrggbb, light enough for dark text */
};
extern const struct sp_paint_style sp_paint_styles[SP_PAINTS];

/* Memory categories: the name of the summary's keys, and the fill in stacked pictures. */
struct sp_memory_style {
    const char *name, *fill;
};
extern const struct sp_memory_style sp_memory_styles[SP_MEMORY_CATEGORIES];

/* "forward", "input gradient", …: as in SP_PASS_LIST. */
extern const char *const sp_pass_kind_names[SP_PASS_KINDS];

/* Class of a compute instruction, and of a pass by its place in order.passes. */
enum sp_paint sp_paint_of(const struct sp_program *program, const struct sp_instruction *instruction);
enum sp_paint sp_paint_of_pass(const struct sp_program *program, uint32_t pass);
/* Shade of a compute instruction, 0 … SP_SHADES − 1; the second pass of a joined one has its own. */
int sp_paint_shade(const struct sp_program *program, const struct sp_instruction *instruction,
                   uint32_t second);

/*
 * A message or compute instruction in words: "12F0.31", "12F0.31 attention", "1F0 + 0B1", "optimizer step".
 * Returns text; size ≥ 80.
 */
char *sp_instruction_text(const struct sp_program *program, const struct sp_instruction *instruction,
                          char *text, size_t size);

#endif
