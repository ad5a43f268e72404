/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that are freed are kept for the next of the same size: a pipeline asks for few sizes, over and over,
 * and fresh pages would cost more than many an instruction.
 */
#include "device_arena.h"

#include <assert.h>
#include <string.h>

/* Before each block; the block is aligned behind it. */
struct header {
    struct header *next, *previous; /* in the list of blocks in use, or (next) in that of a free size */
    void *raw;
    int64_t bytes;
    enum sp_memory_category category;
};
enum { ALIGNMENT = 64, HEADER_ROOM = 64 };
_Static_assert(sizeof(struct header) <= HEADER_ROOM, "a header fits before its block");

struct size_list {
    int64_t bytes;
    struct header *first;
};
enum { SIZES = 64 };

struct sp_device_arena {
    struct sp_device_memory books; /* at_end: live now */
    int64_t total, in_flight;
    struct header *used;
    struct size_list sizes[SIZES]; /* of the largest number of sizes that is kept; more are given back */
    int size_count;
};

struct sp_device_arena *sp_device_arena_create(void)
{
    return sp_alloc(1, sizeof(struct sp_device_arena));
}

static void free_list(struct header *first)
{
    while (first) {
        struct header *next = first->next;
        sp_free(first->raw);
        first = next;
    }
}

void sp_device_arena_destroy(struct sp_device_arena *arena)
{
    if (!arena)
        return;
    free_list(arena->used);
    for (int i = 0; i < arena->size_count; i++)
        free_list(arena->sizes[i].first);
    sp_free(arena);
}

static struct size_list *list_of(struct sp_device_arena *arena, int64_t bytes)
{
    for (int i = 0; i < arena->size_count; i++)
        if (arena->sizes[i].bytes == bytes)
            return &arena->sizes[i];
    if (arena->size_count == SIZES)
        return NULL;
    arena->sizes[arena->size_count].bytes = bytes;
    return &arena->sizes[arena->size_count++];
}

static void book(struct sp_device_arena *arena, enum sp_memory_category category, int64_t bytes)
{
    struct sp_device_memory *books = &arena->books;
    books->at_end[category] += bytes;
    assert(books->at_end[category] >= 0);
    if (books->at_end[category] > books->peak_by_category[category])
        books->peak_by_category[category] = books->at_end[category];
    if (category == SP_MEMORY_OFFLOAD)
        return;
    arena->total += bytes;
    if (arena->total > books->peak_bytes) {
        books->peak_bytes = arena->total;
        memcpy(books->at_peak, books->at_end, sizeof books->at_peak);
    }
}

static struct header *header_of(void *block)
{
    return (struct header *)((char *)block - HEADER_ROOM);
}

static struct header *fresh(int64_t bytes)
{
    char *raw = sp_alloc(1, (size_t)bytes + HEADER_ROOM + ALIGNMENT);
    if (!raw)
        return NULL;
    uintptr_t block = ((uintptr_t)raw + HEADER_ROOM + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    struct header *header = header_of(raw + (block - (uintptr_t)raw));
    *header = (struct header){.raw = raw, .bytes = bytes};
    return header;
}

static void *take_block(struct sp_device_arena *arena, enum sp_memory_category category, int64_t bytes)
{
    struct size_list *list = list_of(arena, bytes);
    struct header *header = list ? list->first : NULL;
    if (header)
        list->first = header->next;
    else if (!(header = fresh(bytes)))
        return NULL;
    header->category = category;
    header->previous = NULL;
    header->next = arena->used;
    if (arena->used)
        arena->used->previous = header;
    arena->used = header;
    return (char *)header + HEADER_ROOM;
}

static void give_block(struct sp_device_arena *arena, void *block)
{
    struct header *header = header_of(block);
    struct size_list *list = list_of(arena, header->bytes);
    if (header->previous)
        header->previous->next = header->next;
    else
        arena->used = header->next;
    if (header->next)
        header->next->previous = header->previous;
    if (!list) {
        sp_free(header->raw);
        return;
    }
    header->next = list->first;
    list->first = header;
}

void *sp_device_alloc(struct sp_device_arena *arena, enum sp_memory_category category, int64_t bytes)
{
    void *block = take_block(arena, category, bytes);
    if (block)
        book(arena, category, bytes);
    return block;
}

void sp_device_free(struct sp_device_arena *arena, void *block)
{
    if (!block)
        return;
    book(arena, header_of(block)->category, -header_of(block)->bytes);
    give_block(arena, block);
}

void *sp_device_resize(struct sp_device_arena *arena, void *block, int64_t bytes)
{
    const struct header *header = header_of(block);
    int64_t kept = bytes < header->bytes ? bytes : header->bytes, change = bytes - header->bytes;
    void *resized = take_block(arena, header->category, bytes);
    if (!resized)
        return NULL;
    memcpy(resized, block, (size_t)kept);
    book(arena, header->category, change);
    give_block(arena, block);
    return resized;
}

void sp_device_arena_count_unit(struct sp_device_arena *arena, int change)
{
    arena->in_flight += change;
    if (arena->in_flight > arena->books.peak_in_flight)
        arena->books.peak_in_flight = arena->in_flight;
}

void sp_device_arena_read(const struct sp_device_arena *arena, struct sp_device_memory *ret_memory)
{
    *ret_memory = arena->books;
    ret_memory->peak_instruction = SP_NO_INDEX;
}
