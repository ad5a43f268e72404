/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transformer layer on one GPU. docs/costs.md has every operation in a table.
 *
 * Sequence parallelism goes with tensor parallelism: norms and residuals work on 1/t of the tokens, and the
 * hidden states are gathered before the products and reduce-scattered after them. Context parallelism moves
 * queries and outputs where there are slices; keys and values stay.
 */
#include "internal.h"

/* Widths and token counts of one GPU. */
struct shape {
    const struct sp_plan *plan;
    double rows;   /* tokens of the slice on a context rank, all its sequences: rows of the products */
    double shard;  /* of these, one tensor rank's */
    double gather; /* tokens of the slice over all context ranks */
    double hidden, query, kv, ffn, heads;
    double routed; /* MLP rows per token: experts per token, 1 where dense */
};

static struct shape shape_of(const struct sp_plan *plan, int64_t tokens)
{
    const struct sp_model *model = &plan->model;
    const struct sp_parallel *parallel = &plan->parallel;
    double tensor = (double)parallel->tensor;
    double gather = (double)tokens * (double)plan->workload.microbatch_sequences;
    double rows = gather / (double)parallel->context;
    /* Where there are more tensor ranks than key/value heads, each rank holds one head, copied. */
    int64_t kv_heads = model->kv_heads > parallel->tensor ? model->kv_heads : parallel->tensor;
    return (struct shape){
        .plan = plan,
        .rows = rows,
        .shard = rows / tensor,
        .gather = gather,
        .hidden = (double)model->hidden,
        .query = (double)(model->heads * model->head_dim) / tensor,
        .kv = (double)(kv_heads * model->head_dim) / tensor,
        .ffn = (double)model->ffn / tensor,
        .heads = (double)model->heads / tensor,
        .routed = model->experts > 0 ? (double)model->experts_per_token : 1,
    };
}

static double exposed_share(int64_t overlap_permille)
{
    return 1 - (double)overlap_permille / 1000;
}

/* Gathering or reduce-scattering the slice's hidden states among the tensor ranks. */
static double tensor_exposed(const struct shape *shape)
{
    const struct sp_plan *plan = shape->plan;
    int64_t tensor = plan->parallel.tensor;
    return exposed_share(plan->profile.tensor_overlap_permille) *
           sp_network_collective(sp_network_link(&plan->cluster, tensor), &plan->profile, tensor,
                                 ELEMENT_BYTES * shape->hidden * shape->rows);
}

static double context_collective(const struct shape *shape, double token_bytes)
{
    const struct sp_plan *plan = shape->plan;
    const struct sp_parallel *parallel = &plan->parallel;
    const struct sp_link *link = sp_network_link(&plan->cluster, parallel->tensor * parallel->context);
    return exposed_share(plan->profile.context_overlap_permille) *
           sp_network_collective(link, &plan->profile, parallel->context, token_bytes * shape->gather);
}

/*
 * Gathering or reduce-scattering among the context ranks: forward the query and the output, backward the
 * query, output, its gradient and the query's. One slice has no past to leave where it is: the keys and
 * values move instead, and their gradients, which are as many tensors and narrower.
 */
static double context_exposed(const struct shape *shape, int tensors)
{
    double width = shape->plan->slice_count > 1 ? shape->query : shape->kv;
    return tensors * context_collective(shape, ELEMENT_BYTES * width);
}

static double context_lse_exposed(const struct shape *shape)
{
    return shape->plan->slice_count > 1 ? context_collective(shape, 4 * shape->heads) : 0;
}

/* One all-to-all of the tokens routed to experts. */
static double expert_exposed(const struct shape *shape)
{
    const struct sp_plan *plan = shape->plan;
    const struct sp_parallel *parallel = &plan->parallel;
    if (plan->model.experts == 0)
        return 0;
    const struct sp_link *link = sp_network_link(&plan->cluster, parallel->tensor * parallel->expert);
    return exposed_share(plan->profile.expert_overlap_permille) *
           sp_network_collective(link, &plan->profile, parallel->expert,
                                 ELEMENT_BYTES * shape->hidden * shape->shard * shape->routed);
}

static double memory_ns(const struct shape *shape, double bytes)
{
    return sp_roofline_memory(shape->plan, bytes);
}

/* A product of the MLP: one of all tokens, or one per local expert with tokens spread evenly. */
static double mlp_product(const struct shape *shape, double inner, double columns, double weight_bytes)
{
    const struct sp_plan *plan = shape->plan;
    if (plan->model.experts == 0)
        return sp_roofline_product(plan, shape->rows, inner, columns, weight_bytes);
    double local = (double)plan->model.experts / (double)plan->parallel.expert;
    return local *
           sp_roofline_product(plan, shape->rows * shape->routed / local, inner, columns, weight_bytes);
}

/* Scores of the experts; moving tokens into expert order and back. */
static double routing_ns(const struct shape *shape, double weight_bytes)
{
    const struct sp_plan *plan = shape->plan;
    if (plan->model.experts == 0)
        return 0;
    double scores =
        sp_roofline_product(plan, shape->shard, shape->hidden, (double)plan->model.experts, weight_bytes);
    return scores + memory_ns(shape, 8 * shape->hidden * shape->shard * shape->routed);
}

/* Bytes of a norm or a residual addition per hidden element: what is read and written. */
enum { NORM_FORWARD = 4, NORM_BACKWARD = 6, RESIDUAL = 6, ROTARY = 4, GATE_FORWARD = 6, GATE_BACKWARD = 10 };

static void forward_times(const struct shape *shape, struct layer_times *times)
{
    const struct sp_plan *plan = shape->plan;
    double launch = (double)plan->profile.launch_ns;
    double hidden_bytes = shape->hidden * shape->shard;
    times->head[PHASE_FORWARD] = (struct span){
        .compute = launch + memory_ns(shape, NORM_FORWARD * hidden_bytes) +
                   sp_roofline_product(plan, shape->rows, shape->hidden, shape->query + 2 * shape->kv,
                                       ELEMENT_BYTES) +
                   memory_ns(shape, ROTARY * (shape->query + shape->kv) * shape->rows),
        .exposed = tensor_exposed(shape) + context_exposed(shape, 1),
    };
    times->tail[PHASE_FORWARD] = (struct span){
        .compute = memory_ns(shape, (NORM_FORWARD + 2 * RESIDUAL) * hidden_bytes) +
                   memory_ns(shape, GATE_FORWARD * shape->ffn * shape->rows * shape->routed) +
                   sp_roofline_product(plan, shape->rows, shape->query, shape->hidden, ELEMENT_BYTES) +
                   mlp_product(shape, shape->hidden, 2 * shape->ffn, ELEMENT_BYTES) +
                   mlp_product(shape, shape->ffn, shape->hidden, ELEMENT_BYTES) +
                   routing_ns(shape, ELEMENT_BYTES),
        .exposed = 3 * tensor_exposed(shape) + context_exposed(shape, 1) + context_lse_exposed(shape) +
                   2 * expert_exposed(shape),
    };
    times->selective = (struct span){
        .compute = memory_ns(shape, 2 * NORM_FORWARD * hidden_bytes) +
                   memory_ns(shape, GATE_FORWARD * shape->ffn * shape->rows * shape->routed) +
                   mlp_product(shape, shape->hidden, 2 * shape->ffn, ELEMENT_BYTES),
        .exposed = tensor_exposed(shape) + expert_exposed(shape),
    };
}

/* In backward the tail runs before the attention. Query, output and log-sum-exp are gathered again. */
static void input_times(const struct shape *shape, struct layer_times *times)
{
    const struct sp_plan *plan = shape->plan;
    double launch = (double)plan->profile.launch_ns;
    double hidden_bytes = shape->hidden * shape->shard;
    times->tail[PHASE_INPUT] = (struct span){
        .compute = launch + memory_ns(shape, (NORM_BACKWARD + 2 * RESIDUAL) * hidden_bytes) +
                   memory_ns(shape, GATE_BACKWARD * shape->ffn * shape->rows * shape->routed) +
                   sp_roofline_product(plan, shape->rows, shape->hidden, shape->query, ELEMENT_BYTES) +
                   mlp_product(shape, shape->hidden, shape->ffn, ELEMENT_BYTES) +
                   mlp_product(shape, 2 * shape->ffn, shape->hidden, ELEMENT_BYTES) +
                   routing_ns(shape, ELEMENT_BYTES),
        .exposed = 3 * tensor_exposed(shape) + context_exposed(shape, 3) + context_lse_exposed(shape) +
                   2 * expert_exposed(shape),
    };
    times->head[PHASE_INPUT] = (struct span){
        .compute = memory_ns(shape, NORM_BACKWARD * hidden_bytes) +
                   sp_roofline_product(plan, shape->rows, shape->query + 2 * shape->kv, shape->hidden,
                                       ELEMENT_BYTES) +
                   memory_ns(shape, ROTARY * (shape->query + shape->kv) * shape->rows),
        .exposed = tensor_exposed(shape) + context_exposed(shape, 1),
    };
}

/* Weight gradients are added into the main gradients: these are read and written. */
static void weight_times(const struct shape *shape, struct layer_times *times)
{
    const struct sp_plan *plan = shape->plan;
    double add = 2 * GRADIENT_BYTES;
    times->tail[PHASE_WEIGHT].compute =
        (double)plan->profile.launch_ns +
        sp_roofline_product(plan, shape->rows, shape->query, shape->hidden, add) +
        mlp_product(shape, shape->hidden, 2 * shape->ffn, add) +
        mlp_product(shape, shape->ffn, shape->hidden, add);
    times->head[PHASE_WEIGHT].compute =
        sp_roofline_product(plan, shape->rows, shape->hidden, shape->query + 2 * shape->kv, add);
}

static void attention_times(const struct shape *shape, int64_t tokens, struct layer_times *times)
{
    const struct sp_plan *plan = shape->plan;
    double sequences = (double)plan->workload.microbatch_sequences / (double)plan->parallel.context;
    double query_tokens = (double)tokens / (double)plan->parallel.context;
    double pair_flops = 4 * shape->query;
    double token_bytes = 2 * ELEMENT_BYTES * shape->kv * sequences;
    double pairs = (double)tokens * sequences;
    times->past_attention = sp_roofline_attention(plan, query_tokens, pair_flops * pairs, token_bytes);
    times->own_attention =
        sp_roofline_attention(plan, query_tokens, pair_flops * pairs * (double)tokens / 2,
                              2 * ELEMENT_BYTES * (shape->query + shape->kv) * shape->rows);
    /* Two operands read and one written; the log-sum-exps of both with the outputs. */
    double add = 3 * ELEMENT_BYTES;
    times->merge[0] = memory_ns(shape, (add * shape->query + 2 * 4 * shape->heads) * shape->rows);
    times->merge[1] = memory_ns(shape, add * shape->query * shape->rows);
    times->merge_past_token = memory_ns(shape, 2 * add * shape->kv * sequences);
}

void sp_layer_times(const struct sp_plan *plan, int64_t tokens, struct layer_times *times)
{
    struct shape shape = shape_of(plan, tokens);
    forward_times(&shape, times);
    input_times(&shape, times);
    weight_times(&shape, times);
    attention_times(&shape, tokens, times);
}
