/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLIMPIPE_EXECUTOR_DEVICE_ARENA_H
#define SLIMPIPE_EXECUTOR_DEVICE_ARENA_H

#include "slimpipe/executor.h"

/* NULL when memory is short. */
struct sp_device_arena *sp_device_arena_create(void);
/* Blocks that were not freed go too. */
void sp_device_arena_destroy(struct sp_device_arena *arena);
/* Forward units held: more or less by `change`. */
void sp_device_arena_count_unit(struct sp_device_arena *arena, int change);
/* peak_instruction is SP_NO_INDEX: an arena knows no instructions. */
void sp_device_arena_read(const struct sp_device_arena *arena, struct sp_device_memory *ret_memory);

#endif
