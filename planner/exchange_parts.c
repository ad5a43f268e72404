/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "exchange.h"

struct part {
    uint64_t requester, anchor;
    int64_t begin, end;
    uint32_t device, where;
};

struct sp_exchange_parts {
    size_t count, room;
    struct part *items;
    bool out_of_memory;
};

struct sp_exchange_parts *sp_exchange_parts_create(void)
{
    return sp_alloc(1, sizeof(struct sp_exchange_parts));
}

void sp_exchange_parts_destroy(struct sp_exchange_parts *parts)
{
    if (!parts)
        return;
    sp_free(parts->items);
    sp_free(parts);
}

void sp_exchange_parts_add(struct sp_exchange_parts *parts, uint64_t requester, uint64_t anchor,
                           uint32_t device, enum sp_anchor where, int64_t begin, int64_t end)
{
    if (parts->out_of_memory)
        return;
    if (parts->count == parts->room) {
        size_t room = parts->room ? parts->room * 2 : 256;
        struct part *items = sp_realloc(parts->items, room, sizeof(*items));
        if (!items) {
            parts->out_of_memory = true;
            return;
        }
        parts->items = items;
        parts->room = room;
    }
    parts->items[parts->count++] = (struct part){requester, anchor, begin, end, device, (uint32_t)where};
}

static int compare_parts(const void *a, const void *b)
{
    const struct part *s = a, *t = b;
    if (s->requester != t->requester)
        return s->requester < t->requester ? -1 : 1;
    return (s->begin > t->begin) - (s->begin < t->begin);
}

enum sp_status sp_exchange_parts_take(const struct sp_exchange_parts *parts, const char *policy,
                                      struct sp_plan *plan, struct sp_error *error)
{
    struct sp_exchange_part *exchange = sp_arena_alloc(plan->arena, parts->count + 1, sizeof(*exchange));
    if (parts->out_of_memory || !exchange)
        return sp_error_set(error, SP_MEMORY, "no memory for %zu exchange parts", parts->count);
    if (parts->count > SP_MAX_PASSES)
        return sp_error_set(error, SP_INPUT, "%zu exchange parts, expected at most %d", parts->count,
                            SP_MAX_PASSES);
    if (parts->count)
        qsort(parts->items, parts->count, sizeof(*parts->items), compare_parts);
    for (size_t i = 0; i < parts->count; i++) {
        const struct part *part = &parts->items[i];
        exchange[i] = (struct sp_exchange_part){.pass = plan->order.passes[part->requester],
                                                .anchor = plan->order.passes[part->anchor],
                                                .device = part->device,
                                                .where = part->where,
                                                .token_begin = part->begin,
                                                .token_end = part->end};
    }
    plan->exchange = parts->count ? exchange : NULL;
    plan->exchange_count = parts->count;
    plan->exchange_policy = policy;
    return SP_OK;
}
