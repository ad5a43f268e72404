/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a unit and of what stays. Per token and layer, two bytes an element, h hidden, a query width,
 * g key or value width, f MLP width (times the experts a token visits):
 *   no recompute   8h + 4a + 6f   norm and product inputs, query, attention output, MLP
 *   selective      4h + 4a
 *   full           2h
 * and 4g of key and value, as in the SlimPipe authors' planner, where a = h.
 */
#include "internal.h"

const char *const sp_memory_names[SP_MEMORY_CATEGORIES + 1] = {
#define X(name, text) text,
    SP_MEMORY_LIST(X)
#undef X
        NULL,
};

/* Element counts of a token in a layer. */
struct widths {
    int64_t hidden, query, kv, ffn;
};

static struct widths widths_of(const struct sp_plan *plan)
{
    const struct sp_model *model = &plan->model;
    int64_t tensor = plan->parallel.tensor;
    return (struct widths){
        .hidden = model->hidden,
        .query = model->heads * model->head_dim,
        .kv = (model->kv_heads > tensor ? model->kv_heads : tensor) * model->head_dim,
        .ffn = model->ffn * (model->experts > 0 ? model->experts_per_token : 1),
    };
}

/* All that a layer's forward makes and its backward reads, key and value included. */
static int64_t whole_bytes(const struct widths *width)
{
    return 8 * width->hidden + 4 * width->query + 4 * width->kv + 6 * width->ffn;
}

/* Saved for the backward besides key and value. Where no weight is trained, no product's input is. */
static int64_t saved_bytes(const struct widths *width, enum sp_recompute recompute, enum sp_train train)
{
    if (train == SP_TRAIN_NONE)
        return 0;
    switch (recompute) {
    case SP_RECOMPUTE_FULL:
        return 2 * width->hidden;
    case SP_RECOMPUTE_SELECTIVE:
        return 4 * width->hidden + 4 * width->query;
    default:
        return whole_bytes(width) - 4 * width->kv -
               (train == SP_TRAIN_INPUT ? 4 * width->hidden + 2 * width->ffn : 0);
    }
}

static int64_t recompute_bytes(const struct widths *width, const struct stage_class *class)
{
    switch (class->recompute) {
    case SP_RECOMPUTE_SELECTIVE:
        return 6 * width->ffn * class->layers;
    case SP_RECOMPUTE_FULL:
        return class->layers > 0 ? whole_bytes(width) - 2 * width->hidden : 0;
    default:
        return 0;
    }
}

static int64_t logit_bytes(const struct sp_plan *plan, int64_t tokens)
{
    int64_t rows = tokens * plan->workload.microbatch_sequences;
    int64_t ranks = plan->parallel.tensor * plan->parallel.context;
    if (sp_vocabulary_is_spread(plan->vocabulary))
        ranks *= plan->parallel.pipeline;
    if (plan->vocabulary == SP_VOCABULARY_TILED && rows > OUTPUT_TILE_ROWS * plan->parallel.context)
        rows = OUTPUT_TILE_ROWS * plan->parallel.context;
    return sp_divide_up(4 * plan->model.vocab * rows, ranks);
}

/*
 * Later slices read the key and value, so they stay on the device, even where the rest is offloaded (then the
 * authors' share counts them once more) or recomputed. One slice alone recomputes them with the rest.
 */
static void saved_unit(const struct sp_plan *plan, const struct widths *width,
                       const struct stage_class *class, int64_t tokens, struct sp_unit_bytes *unit)
{
    int64_t ranks = plan->parallel.tensor * plan->parallel.context;
    int64_t kv = class->recompute == SP_RECOMPUTE_FULL && plan->slice_count == 1 ? 0 : 4 * width->kv;
    int64_t saved = saved_bytes(width, class->recompute, class->train);
    if (class->offload_permille > 0 && class->recompute != SP_RECOMPUTE_FULL)
        saved += kv;
    unit->activations = sp_divide_up(saved * tokens, ranks);
    unit->offloaded = unit->activations * class->offload_permille / 1000;
    unit->kv = sp_divide_up(kv * tokens, ranks);
}

/* Matrix inputs, and the gradients of matrix outputs, that W multiplies: as much as a whole layer's forward.
 */
static int64_t weight_held_bytes(const struct widths *width, const struct stage_class *class)
{
    return class->train == SP_TRAIN_FULL ? whole_bytes(width) : 0;
}

static void modelled_unit(const struct sp_plan *plan, const struct stage_class *class, int64_t slice_tokens,
                          struct sp_unit_bytes *unit)
{
    struct widths width = widths_of(plan);
    int64_t ranks = plan->parallel.tensor * plan->parallel.context;
    int64_t tokens = slice_tokens * plan->workload.microbatch_sequences;
    int64_t layer_tokens = tokens * class->layers;
    *unit = (struct sp_unit_bytes){0};
    saved_unit(plan, &width, class, layer_tokens, unit);
    unit->weight_held = sp_divide_up(weight_held_bytes(&width, class) * layer_tokens, ranks);
    if (plan->slice_count > 1 && class->train != SP_TRAIN_NONE)
        unit->kv_gradient = sp_divide_up(
            4 * (plan->kv_gradient == SP_KV_GRADIENT_EXPANDED ? width.query : width.kv) * layer_tokens,
            ranks);
    if (class->train != SP_TRAIN_NONE)
        unit->recompute = sp_divide_up(recompute_bytes(&width, class) * tokens, ranks);
    unit->hop = sp_divide_up(ELEMENT_BYTES * width.hidden * tokens, ranks);
    if (class->last)
        unit->logits = logit_bytes(plan, slice_tokens);
}

static void explicit_unit(const struct sp_plan *plan, const struct stage_class *class,
                          struct sp_unit_bytes *unit)
{
    *unit = (struct sp_unit_bytes){
        .activations = plan->costs->activation_bytes,
        .offloaded = plan->costs->activation_bytes * class->offload_permille / 1000,
        .weight_held = plan->costs->weight_held_bytes,
    };
}

void sp_memory_fill_units(struct sp_cost *cost)
{
    for (uint32_t group = 0; group < cost->class_count; group++)
        for (uint32_t size = 0; size < cost->size_count; size++) {
            struct sp_unit_bytes *unit = &cost->unit_bytes[(uint64_t)group * cost->size_count + size];
            if (cost->plan->has_model && sp_is_float32(cost->plan))
                sp_memory_float32(cost, &cost->classes[group], cost->sizes[size], unit);
            else if (cost->plan->has_model)
                modelled_unit(cost->plan, &cost->classes[group], cost->sizes[size], unit);
            else
                explicit_unit(cost->plan, &cost->classes[group], unit);
        }
}

void sp_cost_unit_bytes(const struct sp_cost *cost, uint32_t stage, uint32_t slice,
                        struct sp_unit_bytes *ret_bytes)
{
    uint64_t class = cost->class_of_stage[stage];
    *ret_bytes = cost->unit_bytes[class * cost->size_count + cost->size_of_slice[slice]];
}
