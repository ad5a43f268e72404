/* SPDX-License-Identifier: Apache-2.0 */
/* Creating the tables, and looking passes up in them. */
#include <string.h>

#include "internal.h"

/* Beyond this many classes of stages a stage is no longer compared with all of them. */
enum { CLASSES_COMPARED = 64 };

static int64_t cost_entry(const int64_t *array, uint32_t stage)
{
    return array ? array[stage] : 0;
}

static bool same_costs(const struct sp_pass_costs *costs, uint32_t a, uint32_t b)
{
    return cost_entry(costs->forward_ns, a) == cost_entry(costs->forward_ns, b) &&
           cost_entry(costs->input_ns, a) == cost_entry(costs->input_ns, b) &&
           cost_entry(costs->weight_ns, a) == cost_entry(costs->weight_ns, b) &&
           cost_entry(costs->recompute_ns, a) == cost_entry(costs->recompute_ns, b);
}

static bool same_class(const struct sp_plan *plan, const struct stage_class *a, const struct stage_class *b)
{
    return a->layers == b->layers && a->recompute == b->recompute && a->train == b->train &&
           a->offload_permille == b->offload_permille && a->first == b->first && a->last == b->last &&
           (plan->has_model || same_costs(plan->costs, a->stage, b->stage));
}

static void classify(struct sp_cost *cost, uint32_t index)
{
    const struct sp_plan *plan = cost->plan;
    const struct sp_stage *stage = &plan->stages[index];
    struct stage_class class = {
        .stage = index,
        .layers = stage->layer_count,
        .recompute = stage->recompute,
        .train = stage->train,
        .offload_permille = stage->offload_permille,
        .first = index == 0,
        .last = index + 1 == plan->stage_count,
    };
    uint32_t compared = cost->class_count < CLASSES_COMPARED ? cost->class_count : CLASSES_COMPARED;
    uint32_t at = 0;
    while (at < compared && !same_class(plan, &cost->classes[at], &class))
        at++;
    if (at == compared) {
        at = cost->class_count++;
        cost->classes[at] = class;
    }
    cost->class_of_stage[index] = (uint16_t)at;
}

/* Slices of a count met before share its entry; only neighbours and the first few are compared. */
static void measure_slice(struct sp_cost *cost, uint32_t slice)
{
    int64_t tokens = cost->plan->slice_tokens[slice];
    cost->slice_begin[slice + 1] = cost->slice_begin[slice] + tokens;
    uint32_t size = 0;
    if (slice > 0 && cost->plan->slice_tokens[slice - 1] == tokens) {
        cost->size_of_slice[slice] = cost->size_of_slice[slice - 1];
        return;
    }
    uint32_t compared = cost->size_count < CLASSES_COMPARED ? cost->size_count : CLASSES_COMPARED;
    while (size < compared && cost->sizes[size] != tokens)
        size++;
    if (size == compared) {
        size = cost->size_count++;
        cost->sizes[size] = tokens;
    }
    cost->size_of_slice[slice] = size;
}

static bool classify_all(struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    cost->classes = sp_arena_alloc(cost->arena, plan->stage_count, sizeof *cost->classes);
    cost->class_of_stage = sp_arena_alloc(cost->arena, plan->stage_count, sizeof *cost->class_of_stage);
    cost->slice_begin = sp_arena_alloc(cost->arena, plan->slice_count + 1u, sizeof *cost->slice_begin);
    cost->sizes = sp_arena_alloc(cost->arena, plan->slice_count, sizeof *cost->sizes);
    cost->size_of_slice = sp_arena_alloc(cost->arena, plan->slice_count, sizeof *cost->size_of_slice);
    if (!cost->classes || !cost->class_of_stage || !cost->slice_begin || !cost->sizes || !cost->size_of_slice)
        return false;
    for (uint32_t i = 0; i < plan->stage_count; i++)
        classify(cost, i);
    for (uint32_t i = 0; i < plan->slice_count; i++)
        measure_slice(cost, i);
    bool alike = !plan->has_model && plan->costs->attention_permille == 0 && cost->size_count == 1;
    cost->columns = alike ? 1 : plan->slice_count;
    cost->column_step = alike ? 0 : 1;
    return true;
}

static bool fill_times(struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    for (int row = 0; row < ROWS; row++) {
        cost->pass_ns[row] =
            sp_arena_alloc(cost->arena, (size_t)cost->class_count * cost->columns, sizeof **cost->pass_ns);
        if (!cost->pass_ns[row])
            return false;
    }
    if (!plan->has_model) {
        sp_explicit_fill(cost);
        return true;
    }
    cost->times = sp_arena_alloc(cost->arena, cost->size_count, sizeof *cost->times);
    if (!cost->times)
        return false;
    for (uint32_t size = 0; size < cost->size_count; size++) {
        sp_layer_times(plan, cost->sizes[size], &cost->times[size]);
        sp_output_times(plan, cost->sizes[size], &cost->times[size]);
    }
    sp_modelled_fill(cost);
    return true;
}

static bool fill_memory(struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    cost->unit_bytes =
        sp_arena_alloc(cost->arena, (size_t)cost->class_count * cost->size_count, sizeof *cost->unit_bytes);
    if (!cost->unit_bytes)
        return false;
    sp_memory_fill_units(cost);
    if (!plan->has_model)
        return true;
    cost->resident = sp_arena_alloc(cost->arena, (size_t)plan->parallel.pipeline, sizeof *cost->resident);
    if (!cost->resident)
        return false;
    sp_memory_fill_resident(cost);
    return true;
}

static uint64_t unit_index(const struct sp_plan *plan, const struct sp_pass *pass)
{
    return ((uint64_t)pass->microbatch * plan->stage_count + pass->stage) * plan->slice_count + pass->slice;
}

/* A plan that is still without an order has no R. */
static bool mark_recomputed(struct sp_cost *cost)
{
    const struct sp_plan *plan = cost->plan;
    uint64_t passes = plan->order.begin ? plan->order.begin[plan->order.device_count] : 0;
    uint64_t units = (uint64_t)plan->workload.microbatches * plan->stage_count * plan->slice_count;
    for (uint64_t i = 0; i < passes; i++) {
        const struct sp_pass *pass = &plan->order.passes[i];
        if (pass->kind != SP_PASS_R)
            continue;
        if (!cost->recomputed)
            cost->recomputed = sp_arena_alloc(cost->arena, units / 64 + 1, sizeof *cost->recomputed);
        if (!cost->recomputed)
            return false;
        uint64_t unit = unit_index(plan, pass);
        cost->recomputed[unit / 64] |= UINT64_C(1) << unit % 64;
    }
    return true;
}

enum sp_status sp_cost_create(const struct sp_plan *plan, struct sp_cost **ret_cost, struct sp_error *error)
{
    enum sp_status status = plan->has_model ? sp_degrees_check(plan, error) : SP_OK;
    if (status == SP_OK && plan->has_model)
        status = sp_limits_check_bytes(plan, error);
    if (status != SP_OK)
        return status;
    struct sp_arena *arena = sp_arena_create();
    struct sp_cost *cost = arena ? sp_arena_alloc(arena, 1, sizeof *cost) : NULL;
    if (cost) {
        cost->arena = arena;
        cost->plan = plan;
    }
    if (!cost || !classify_all(cost) || !fill_times(cost) || !fill_memory(cost) || !mark_recomputed(cost)) {
        sp_arena_destroy(arena);
        return sp_error_set(error, SP_MEMORY, "no memory for the costs of %u stages and %u slices",
                            plan->stage_count, plan->slice_count);
    }
    if (plan->has_model)
        status = sp_limits_check_times(cost, error);
    if (status != SP_OK)
        sp_arena_destroy(arena);
    else
        *ret_cost = cost;
    return status;
}

void sp_cost_destroy(struct sp_cost *cost)
{
    if (cost)
        sp_arena_destroy(cost->arena);
}

int sp_cost_row(const struct sp_cost *cost, const struct sp_pass *pass)
{
    bool backward = pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
    if (!backward || !cost->recomputed)
        return pass->kind;
    uint64_t unit = unit_index(cost->plan, pass);
    if (!(cost->recomputed[unit / 64] >> unit % 64 & 1))
        return pass->kind;
    return pass->kind == SP_PASS_B ? ROW_B_AFTER_R : ROW_I_AFTER_R;
}

int64_t sp_cost_pass_ns(const struct sp_cost *cost, const struct sp_pass *pass)
{
    uint64_t class = cost->class_of_stage[pass->stage];
    return cost->pass_ns[sp_cost_row(cost, pass)][class * cost->columns + pass->slice * cost->column_step];
}

int64_t sp_cost_joined_ns(const struct sp_cost *cost, const struct sp_pass *first,
                          const struct sp_pass *second)
{
    return cost->plan->has_model ? sp_modelled_joined_ns(cost, first, second)
                                 : sp_explicit_joined_ns(cost, first, second);
}
