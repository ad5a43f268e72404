/* SPDX-License-Identifier: Apache-2.0 */
#include "order_builder.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

struct list {
    struct sp_pass *passes;
    uint64_t count, capacity;
};

struct sp_order_builder {
    uint32_t device_count;
    bool short_of_memory; /* a push failed: what was pushed is incomplete */
    struct list lists[];
};

struct sp_order_builder *sp_order_builder_create(uint32_t device_count)
{
    struct sp_order_builder *builder = sp_alloc(1, sizeof(*builder) + device_count * sizeof(struct list));

    if (builder)
        builder->device_count = device_count;
    return builder;
}

void sp_order_builder_destroy(struct sp_order_builder *builder)
{
    if (!builder)
        return;
    for (uint32_t d = 0; d < builder->device_count; d++)
        sp_free(builder->lists[d].passes);
    sp_free(builder);
}

uint64_t sp_order_builder_count(const struct sp_order_builder *builder, uint32_t device)
{
    assert(device < builder->device_count);
    return builder->lists[device].count;
}

static bool grow(struct list *list)
{
    uint64_t capacity = list->capacity ? 2 * list->capacity : FIRST_CAPACITY;
    struct sp_pass *passes = sp_realloc(list->passes, capacity, sizeof(*passes));

    if (!passes)
        return false;
    list->passes = passes;
    list->capacity = capacity;
    return true;
}

static void push(struct sp_order_builder *builder, uint32_t device, struct sp_pass pass)
{
    struct list *list = &builder->lists[device];

    assert(device < builder->device_count);
    if (list->count == list->capacity && !grow(list)) {
        builder->short_of_memory = true;
        return;
    }
    list->passes[list->count++] = pass;
}

void sp_order_push(struct sp_order_builder *builder, uint32_t device, enum sp_pass_kind kind, uint32_t stage,
                   uint32_t microbatch, uint32_t slice)
{
    push(builder, device,
         (struct sp_pass){.microbatch = microbatch,
                          .slice = (uint16_t)slice,
                          .stage = (uint16_t)stage,
                          .kind = (uint8_t)kind});
}

void sp_order_push_joined(struct sp_order_builder *builder, uint32_t device, enum sp_pass_kind kind,
                          uint32_t stage, uint32_t microbatch, uint32_t slice)
{
    push(builder, device,
         (struct sp_pass){.microbatch = microbatch,
                          .slice = (uint16_t)slice,
                          .stage = (uint16_t)stage,
                          .kind = (uint8_t)kind,
                          .joined = 1});
}

static uint64_t total_count(const struct sp_order_builder *builder)
{
    uint64_t total = 0;

    for (uint32_t d = 0; d < builder->device_count; d++)
        total += builder->lists[d].count;
    return total;
}

enum sp_status sp_order_builder_take(const struct sp_order_builder *builder, struct sp_arena *arena,
                                     struct sp_order *ret_order, struct sp_error *error)
{
    uint64_t total = total_count(builder);
    uint64_t *begin = sp_arena_alloc(arena, builder->device_count + 1, sizeof(*begin));
    struct sp_pass *passes = sp_arena_alloc(arena, total ? total : 1, sizeof(*passes));

    if (builder->short_of_memory || !begin || !passes)
        return sp_error_set(error, SP_MEMORY, "no memory for an order of %llu passes",
                            (unsigned long long)total);
    for (uint32_t d = 0; d < builder->device_count; d++) {
        const struct list *list = &builder->lists[d];
        begin[d + 1] = begin[d] + list->count;
        if (list->count)
            memcpy(passes + begin[d], list->passes, list->count * sizeof(*passes));
    }
    *ret_order = (struct sp_order){.device_count = builder->device_count, .begin = begin, .passes = passes};
    return SP_OK;
}
