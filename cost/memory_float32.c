/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a unit as the host backend holds them, to the byte. Per token and layer, in floats, h hidden, q
 * query width, k key width, f MLP width times the experts t that a token visits: no recompute   4h + 2q + 3f,
 * one log-sum-exp a head, and 2t of routing selective      2h + 2q, and the same full           h plus
 * queries and keys before their norm where the model has it. What is not saved is in the recompute buffer
 * while a backward runs: one layer's, or the whole unit's where the order has recompute passes.
 */
#include "internal.h"

struct floats {
    int64_t saved, all; /* per token and layer */
};

static struct floats layer_floats(const struct sp_model *model, enum sp_recompute recompute)
{
    int64_t visits = model->experts > 0 ? model->experts_per_token : 0;
    int64_t query = model->heads * model->head_dim, key = model->kv_heads * model->head_dim;
    int64_t attention = 2 * query + model->heads + 2 * visits + (model->qk_norm ? query + key : 0);
    int64_t selective = 2 * model->hidden + attention;
    int64_t all = selective + 2 * model->hidden + 3 * model->ffn * (visits ? visits : 1);
    return (struct floats){
        .saved = recompute == SP_RECOMPUTE_FULL        ? model->hidden
                 : recompute == SP_RECOMPUTE_SELECTIVE ? selective
                                                       : all,
        .all = all,
    };
}

static bool order_has(const struct sp_plan *plan, enum sp_pass_kind kind)
{
    const struct sp_order *order = &plan->order;
    for (uint64_t i = 0; order->begin && i < order->begin[order->device_count]; i++)
        if (order->passes[i].kind == kind)
            return true;
    return false;
}

/* Logits of the device's part, and what its T needs besides: hidden states, log-sum-exp, target's logit. */
static int64_t logit_bytes(const struct sp_plan *plan, int64_t rows)
{
    const struct sp_model *model = &plan->model;
    int64_t devices = plan->parallel.pipeline;
    switch (plan->vocabulary) {
    case SP_VOCABULARY_SCATTER:
        return 4 * sp_divide_up(rows, devices) * (model->vocab + model->hidden);
    case SP_VOCABULARY_SHARD1:
    case SP_VOCABULARY_SHARD2: /* which the host backend does not run */
        return 4 * rows * (sp_divide_up(model->vocab, devices) + model->hidden + 2);
    case SP_VOCABULARY_TILED:
        return 4 * rows * (model->vocab < OUTPUT_TILE_COLUMNS ? model->vocab : OUTPUT_TILE_COLUMNS);
    default:
        return 4 * rows * model->vocab;
    }
}

void sp_memory_float32(const struct sp_cost *cost, const struct stage_class *class, int64_t slice_tokens,
                       struct sp_unit_bytes *unit)
{
    const struct sp_plan *plan = cost->plan;
    const struct sp_model *model = &plan->model;
    struct floats floats = layer_floats(model, class->recompute);
    int64_t rows = slice_tokens * plan->workload.microbatch_sequences, layers = class->layers;
    int64_t key = model->kv_heads * model->head_dim, unsaved = floats.all - floats.saved;
    *unit = (struct sp_unit_bytes){0};
    unit->kv = 8 * key * rows * layers;
    unit->hop = unit->local_hop = 4 * model->hidden * rows;
    if (class->last)
        unit->logits = logit_bytes(plan, rows);
    if (class->train == SP_TRAIN_NONE)
        return;
    /* The last stage keeps the final norm's input, and a tiled output layer its log-sum-exp. */
    int64_t ends = class->last ? model->hidden + (plan->vocabulary == SP_VOCABULARY_TILED) : 0;
    unit->activations = 4 * rows * (floats.saved * layers + ends);
    unit->offloaded = unit->activations * class->offload_permille / 1000;
    unit->recompute = 4 * rows * unsaved * (order_has(plan, SP_PASS_R) || layers == 0 ? layers : 1);
    if (plan->slice_count > 1)
        unit->kv_gradient = unit->kv;
    if (order_has(plan, SP_PASS_W))
        unit->weight_extra = 4 * rows * layers * (unsaved + model->hidden + 2 * key);
    unit->weight_held = unit->activations + unit->weight_extra;
}
