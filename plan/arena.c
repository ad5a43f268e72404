/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/arena.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Under the address sanitizer every allocation gets a block of its own, so that it sees overruns. */
#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_EACH 1
#endif
#endif
#ifndef BLOCK_EACH
#define BLOCK_EACH 0
#endif

enum { ALIGNMENT = _Alignof(max_align_t), FIRST_BLOCK = 1 << 12, LARGEST_BLOCK = 1 << 20 };

struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
};

struct sp_arena {
    struct block *current; /* the one allocated from, then all older ones */
    size_t next_size;
};

/* Allocations still allowed; negative: no limit. */
static _Atomic int64_t successes_left = -1;

void sp_alloc_fail_after(int64_t successes)
{
    atomic_store(&successes_left, successes);
}

static bool allowed(void)
{
    int64_t left = atomic_load_explicit(&successes_left, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&successes_left, &left, left - 1))
            return true;
    }
    return left < 0;
}

void *sp_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !allowed())
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *sp_realloc(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !allowed())
        return NULL;
    return realloc(block, bytes ? bytes : 1);
}

void sp_free(void *block)
{
    free(block);
}

struct sp_arena *sp_arena_create(void)
{
    struct sp_arena *arena = sp_alloc(1, sizeof *arena);
    if (arena)
        arena->next_size = FIRST_BLOCK;
    return arena;
}

void sp_arena_destroy(struct sp_arena *arena)
{
    if (!arena)
        return;
    for (struct block *block = arena->current, *next; block; block = next) {
        next = block->next;
        sp_free(block);
    }
    sp_free(arena);
}

static struct block *create_block(size_t size)
{
    struct block *block = sp_alloc(1, sizeof *block + size);
    if (block)
        block->size = size;
    return block;
}

/* A block for one large object goes behind the current one, which may have room left. */
static void *alloc_alone(struct sp_arena *arena, size_t bytes)
{
    struct block *block = create_block(bytes);
    if (!block)
        return NULL;
    block->used = bytes;
    if (arena->current) {
        block->next = arena->current->next;
        arena->current->next = block;
    } else {
        arena->current = block;
    }
    return block->data;
}

void *sp_arena_alloc(struct sp_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    if (BLOCK_EACH)
        return alloc_alone(arena, bytes);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct block *block = arena->current;
    if (!block || block->size - block->used < bytes) {
        if (bytes > arena->next_size / 4)
            return alloc_alone(arena, bytes);
        block = create_block(arena->next_size);
        if (!block)
            return NULL;
        if (arena->next_size < LARGEST_BLOCK)
            arena->next_size *= 2;
        block->next = arena->current;
        arena->current = block;
    }
    void *object = (char *)block->data + block->used;
    block->used += bytes;
    return object;
}

char *sp_arena_strdup(struct sp_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = sp_arena_alloc(arena, size, 1);
    return copy ? memcpy(copy, text, size) : NULL;
}
