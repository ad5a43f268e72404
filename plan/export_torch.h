/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of PyTorch's pipelining CSV, out. */
#ifndef SLIMPIPE_PLAN_EXPORT_TORCH_H
#define SLIMPIPE_PLAN_EXPORT_TORCH_H

#include <stdbool.h>

#include "slimpipe/plan.h"

enum { TORCH_CELL_SIZE = 128 };

/* F, I, W and B. */
bool sp_torch_has_word(const struct sp_pass *pass);
/* A slice is a microbatch of its own. */
uint32_t sp_torch_microbatch(const struct sp_plan *plan, const struct sp_pass *pass);
/* The cell of a pass, or of a joined pair that it begins. Returns cell. */
char *sp_torch_cell(const struct sp_plan *plan, const struct sp_pass *pass, char cell[TORCH_CELL_SIZE]);

#endif
