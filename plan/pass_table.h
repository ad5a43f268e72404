/* SPDX-License-Identifier: Apache-2.0 */
/* The dense table of passes, as the checks fill it before they trust the plan. */
#ifndef SLIMPIPE_PASS_TABLE_H
#define SLIMPIPE_PASS_TABLE_H

#include "slimpipe/plan.h"

/*
 * An empty table in arena with room for the kinds that occur in the plan; NULL when memory is short. Stages,
 * microbatches, slices and devices of the plan must be within their limits.
 */
struct sp_pass_table *sp_pass_table_create_empty(const struct sp_plan *plan, struct sp_arena *arena);

/* Enters order.passes[index], which device runs; the index that stood there before, or SP_NO_PASS. */
uint64_t sp_pass_table_enter(struct sp_pass_table *table, const struct sp_plan *plan, uint32_t device,
                             uint64_t index);

#endif
