/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: allocations that live and die together, one arena per document or run.
 *
 * The few long-lived handles use sp_alloc directly. Both go through one seam, by which a test makes the n-th
 * allocation fail (sp_alloc_fail_after).
 */
#ifndef SLIMPIPE_ARENA_H
#define SLIMPIPE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct sp_arena;

/* Zeroed memory for count objects of size bytes; NULL when count * size overflows or memory is short. */
void *sp_alloc(size_t count, size_t size);
/* Grows or makes a block; the old block stays valid when NULL is returned. New bytes are not zeroed. */
void *sp_realloc(void *block, size_t count, size_t size);
void sp_free(void *block);

/* After `successes` more successful allocations, every one fails until sp_alloc_fail_after(-1). Tests only.
 */
void sp_alloc_fail_after(int64_t successes);

/* NULL when memory is short. */
struct sp_arena *sp_arena_create(void);
/* Frees everything allocated from the arena; NULL is fine. */
void sp_arena_destroy(struct sp_arena *arena);
/* Zeroed, aligned for any type, alive until the arena goes; NULL when count * size overflows or memory is
 * short. */
void *sp_arena_alloc(struct sp_arena *arena, size_t count, size_t size);
/* A copy of text in the arena; NULL when memory is short. */
char *sp_arena_strdup(struct sp_arena *arena, const char *text);

#endif
