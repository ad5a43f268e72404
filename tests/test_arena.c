/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "slimpipe/arena.h"

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

/* Objects of many sizes, filled to the last byte: none may touch another. */
Test(arena, objects_are_zeroed_aligned_and_apart)
{
    enum { COUNT = 2000 };
    struct sp_arena *arena = sp_arena_create();
    unsigned char *objects[COUNT];
    cr_assert_not_null(arena);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i * 37 % 5000;
        objects[i] = sp_arena_alloc(arena, size, 1);
        cr_assert_not_null(objects[i]);
        cr_assert_eq((uintptr_t)objects[i] % alignof(max_align_t), 0);
        cr_assert(is_zero(objects[i], size));
        memset(objects[i], (int)(i % 251) + 1, size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < i * 37 % 5000; j++)
            cr_assert_eq(objects[i][j], i % 251 + 1);
    }
    sp_arena_destroy(arena);
    sp_arena_destroy(NULL);
}

Test(arena, sizes_are_multiplied_with_care)
{
    struct sp_arena *arena = sp_arena_create();
    cr_expect_null(sp_arena_alloc(arena, SIZE_MAX / 2, 4));
    cr_expect_null(sp_arena_alloc(arena, SIZE_MAX, 1));
    cr_expect_null(sp_alloc(SIZE_MAX / 2, 4));
    cr_expect_null(sp_realloc(NULL, SIZE_MAX / 2, 4));
    sp_arena_destroy(arena);
}

Test(arena, nothing_is_something)
{
    struct sp_arena *arena = sp_arena_create();
    void *block = sp_alloc(0, 8);
    cr_expect_not_null(sp_arena_alloc(arena, 0, 8));
    cr_expect_not_null(block);
    sp_free(block);
    sp_free(NULL);
    sp_arena_destroy(arena);
}

Test(arena, large_objects_leave_room_in_the_current_block)
{
    struct sp_arena *arena = sp_arena_create();
    int *first = sp_arena_alloc(arena, 1, sizeof *first);
    char *large = sp_arena_alloc(arena, 1 << 22, 1);
    int *second = sp_arena_alloc(arena, 1, sizeof *second);
    cr_assert(first && large && second);
    *first = 1;
    memset(large, 2, 1 << 22);
    *second = 3;
    cr_expect_eq(*first, 1);
    cr_expect_eq(large[(1 << 22) - 1], 2);
    sp_arena_destroy(arena);
}

Test(arena, strdup_copies)
{
    struct sp_arena *arena = sp_arena_create();
    char text[] = "hidden states";
    char *copy = sp_arena_strdup(arena, text);
    text[0] = 'H';
    cr_expect_str_eq(copy, "hidden states");
    sp_arena_destroy(arena);
}

Test(arena, the_nth_allocation_fails_and_all_after_it)
{
    void *blocks[3];
    sp_alloc_fail_after(2);
    blocks[0] = sp_alloc(1, 1);
    blocks[1] = sp_realloc(NULL, 1, 1);
    blocks[2] = sp_alloc(1, 1);
    cr_expect(blocks[0] && blocks[1] && !blocks[2]);
    cr_expect_null(sp_realloc(blocks[1], 2, 1));
    cr_expect_null(sp_arena_create());
    sp_alloc_fail_after(-1);
    blocks[2] = sp_alloc(1, 1);
    cr_expect_not_null(blocks[2]);
    for (int i = 0; i < 3; i++)
        sp_free(blocks[i]);
}
