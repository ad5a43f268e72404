/* SPDX-License-Identifier: Apache-2.0 */
/* Which passes the exchange binds together: union of requesters and the passes they are helped during. */
#include "plan_sweep.h"

static uint32_t *filled(struct sp_arena *arena, size_t count)
{
    uint32_t *items = sp_arena_alloc(arena, count, sizeof *items);
    for (size_t i = 0; items && i < count; i++)
        items[i] = SWEEP_NONE;
    return items;
}

static bool create(struct plan_checker *checker, struct gangs *gangs)
{
    struct sp_arena *arena = checker->scratch;
    size_t passes = checker->pass_count, parts = checker->plan->exchange_count, nodes = 2 * parts;
    *gangs = (struct gangs){
        .of_pass = filled(arena, passes),
        .slot_before = filled(arena, passes),
        .slot_after = filled(arena, passes),
        .next_in_slot = filled(arena, parts),
        .next_part = filled(arena, parts),
        .pass_of = filled(arena, nodes),
        .next_node = filled(arena, nodes),
        .parent = filled(arena, nodes),
        .gangs = sp_arena_alloc(arena, nodes, sizeof *gangs->gangs),
        .slots = sp_arena_alloc(arena, parts, sizeof *gangs->slots),
    };
    return gangs->of_pass && gangs->slot_before && gangs->slot_after && gangs->next_in_slot &&
           gangs->next_part && gangs->pass_of && gangs->next_node && gangs->parent && gangs->gangs &&
           gangs->slots;
}

static uint32_t root_of(struct gangs *gangs, uint32_t node)
{
    while (gangs->parent[node] != node) {
        gangs->parent[node] = gangs->parent[gangs->parent[node]];
        node = gangs->parent[node];
    }
    return node;
}

static uint32_t node_of(struct gangs *gangs, uint64_t pass)
{
    if (gangs->of_pass[pass] == SWEEP_NONE) {
        uint32_t node = gangs->node_count++;
        gangs->of_pass[pass] = gangs->parent[node] = node;
        gangs->pass_of[node] = (uint32_t)pass;
    }
    return gangs->of_pass[pass];
}

static void append_to_slot(struct gangs *gangs, uint32_t *slot, uint32_t part)
{
    if (*slot == SWEEP_NONE) {
        *slot = gangs->slot_count++;
        gangs->slots[*slot].part = part;
    } else {
        gangs->next_in_slot[gangs->slots[*slot].last] = part;
    }
    gangs->slots[*slot].last = part;
}

static uint64_t find(const struct plan_checker *checker, const struct sp_pass *pass)
{
    return sp_pass_table_find(checker->table, pass->kind, pass->stage, pass->microbatch, pass->slice);
}

static void bind_part(struct plan_checker *checker, struct gangs *gangs, uint32_t number)
{
    const struct sp_exchange_part *part = &checker->plan->exchange[number];
    uint32_t node = node_of(gangs, find(checker, &part->pass));
    uint64_t anchor = find(checker, &part->anchor);
    if (part->where == SP_ANCHOR_DURING)
        gangs->parent[root_of(gangs, node)] = root_of(gangs, node_of(gangs, anchor));
    else if (part->where == SP_ANCHOR_BEFORE)
        append_to_slot(gangs, &gangs->slot_before[anchor], number);
    else
        append_to_slot(gangs, &gangs->slot_after[anchor], number);
}

/* Appends to a list of which `first` and `last` are the ends. */
static void append(uint32_t *first, uint32_t *last, uint32_t *next, uint32_t item)
{
    if (*first == SWEEP_NONE)
        *first = item;
    else
        next[*last] = item;
    *last = item;
}

enum sp_status sp_plan_find_gangs(struct plan_checker *checker, struct gangs *gangs)
{
    if (!create(checker, gangs))
        return sp_plan_out_of_memory(checker);
    const struct sp_plan *plan = checker->plan;
    for (uint32_t i = 0; i < plan->exchange_count; i++)
        bind_part(checker, gangs, i);
    for (uint32_t node = 0; node < gangs->node_count; node++)
        gangs->gangs[node] = (struct gang){.first_node = SWEEP_NONE, .first_part = SWEEP_NONE};
    for (uint32_t node = 0; node < gangs->node_count; node++) {
        uint32_t root = root_of(gangs, node);
        struct gang *gang = &gangs->gangs[root];
        gangs->of_pass[gangs->pass_of[node]] = root;
        gang->missing++;
        append(&gang->first_node, &gang->last_node, gangs->next_node, node);
    }
    for (uint32_t i = 0; i < plan->exchange_count; i++) {
        if (plan->exchange[i].where == SP_ANCHOR_DURING)
            continue;
        struct gang *gang = &gangs->gangs[gangs->of_pass[find(checker, &plan->exchange[i].pass)]];
        gang->missing++;
        append(&gang->first_part, &gang->last_part, gangs->next_part, i);
    }
    return SP_OK;
}
