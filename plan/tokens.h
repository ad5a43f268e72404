/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a plan's small parts, beyond the passes of plan.h. */
#ifndef SLIMPIPE_TOKENS_H
#define SLIMPIPE_TOKENS_H

#include "slimpipe/plan.h"

enum { PART_TEXT_SIZE = 128 };

/* A decimal number without needless zeros, 0 to most. False (cursor unmoved) where there is none. */
bool sp_number_parse(const char **cursor, uint64_t most, uint64_t *ret_number);
/* Writes the digits (no 0 byte) and returns the place behind them. */
char *sp_number_text(char *at, uint64_t number);

/*
 * An exchange part: `12F0.31:0-4096@15F0.20`, past tokens [0, 4096) of pass 12F0.31 computed during pass
 * 15F0.20; `<` in place of `@` before it, `>` after it.
 */
char *sp_part_text(const struct sp_exchange_part *part, uint32_t slice_count, char text[PART_TEXT_SIZE]);
/* False (cursor unmoved) where there is none. */
bool sp_part_parse(const char **cursor, bool with_slice, struct sp_exchange_part *ret_part);

#endif
