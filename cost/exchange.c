/* SPDX-License-Identifier: Apache-2.0 */
/* Attention computed elsewhere: times of a layer's parts, and bytes that move. */
#include <math.h>

#include "internal.h"

static void parts_of(const struct sp_cost *cost, const struct sp_pass *pass, struct layer_parts *ret_parts)
{
    if (cost->plan->has_model)
        sp_modelled_parts(cost, pass, ret_parts);
    else
        sp_explicit_parts(cost, pass, ret_parts);
}

void sp_cost_layer(const struct sp_cost *cost, const struct sp_pass *pass, int64_t kept_past, int parts,
                   struct sp_layer_cost *ret_layer)
{
    struct layer_parts layer;
    parts_of(cost, pass, &layer);
    int64_t moved = cost->slice_begin[pass->slice] - kept_past;
    ret_layer->before_ns = llround(layer.before);
    ret_layer->attention_ns = llround(layer.own + layer.past * (double)kept_past);
    ret_layer->after_ns = llround(layer.after + layer.merge * parts + layer.merge_past * (double)moved);
}

int64_t sp_cost_guest_ns(const struct sp_cost *cost, const struct sp_pass *pass, int64_t tokens)
{
    struct layer_parts layer;
    parts_of(cost, pass, &layer);
    return llround(layer.past * (double)tokens);
}

/* Bytes per token and layer that one GPU holds, times t·c. */
static int64_t rank_bytes(const struct sp_plan *plan, int64_t token_bytes, int64_t tokens)
{
    return sp_divide_up(token_bytes * tokens * plan->workload.microbatch_sequences,
                        plan->parallel.tensor * plan->parallel.context);
}

/*
 * Volumes per pair and layer as the SlimPipe authors' code moves them. Under full recompute a backward's
 * helper does the recompute's attention as well, so output and log-sum-exp come back too.
 */
void sp_cost_exchange_bytes(const struct sp_cost *cost, const struct sp_pass *pass, int64_t tokens,
                            struct sp_exchange_bytes *ret_bytes)
{
    const struct sp_plan *plan = cost->plan;
    *ret_bytes = (struct sp_exchange_bytes){0};
    if (!plan->has_model)
        return;
    const struct sp_model *model = &plan->model;
    int64_t element = sp_element_bytes(plan), query_bytes = element * model->heads * model->head_dim,
            lse_bytes = 4 * model->heads;
    int64_t heads = model->kv_heads > plan->parallel.tensor ? model->kv_heads : plan->parallel.tensor;
    int64_t own = plan->slice_tokens[pass->slice];
    int64_t kv = rank_bytes(plan, 2 * element * heads * model->head_dim, tokens);
    int64_t query = rank_bytes(plan, query_bytes, own), lse = rank_bytes(plan, lse_bytes, own);
    if (pass->kind == SP_PASS_F) {
        *ret_bytes = (struct sp_exchange_bytes){.early = kv, .urgent = query, .result = query + lse};
        return;
    }
    /* The host backend recomputes attention alone, so query, output and log-sum-exp are known late. */
    if (sp_is_float32(plan) && plan->stages[pass->stage].recompute == SP_RECOMPUTE_FULL) {
        *ret_bytes = (struct sp_exchange_bytes){.early = kv, .urgent = 3 * query + lse, .result = query + kv};
        return;
    }
    int row = sp_cost_row(cost, pass);
    bool recomputed =
        (row == SP_PASS_B || row == SP_PASS_I) && plan->stages[pass->stage].recompute == SP_RECOMPUTE_FULL;
    *ret_bytes = (struct sp_exchange_bytes){
        .early = kv + 2 * query + lse,
        .urgent = query,
        .result = query + kv + (recomputed ? query + lse : 0),
    };
}
