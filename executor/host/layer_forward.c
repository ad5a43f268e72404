/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "layer.h"
#include "layer_mlp.h"
#include "linear.h"

/* Widths, and what else every piece reads. */
struct sizes {
    int64_t rows, hidden, query, key, dim;
    float epsilon;
};

static struct sizes sizes_of(const struct sp_host_work *work)
{
    const struct sp_model *model = work->model;
    return (struct sizes){work->sequences * work->tokens,    model->hidden,   model->heads * model->head_dim,
                          model->kv_heads * model->head_dim, model->head_dim, (float)model->norm_epsilon};
}

/* y = x · Wᵀ + bias, bias may be NULL. */
static void project(const struct sp_host_work *work, int64_t outputs, const float *weight, const float *bias,
                    const float *x, float *y)
{
    struct sizes size = sizes_of(work);
    for (int64_t r = 0; bias && r < size.rows; r++)
        memcpy(y + r * outputs, bias, (size_t)outputs * sizeof *y);
    sp_host_linear(work->math, size.rows, (struct sp_host_linear){size.hidden, outputs, weight}, x,
                   bias ? 1 : 0, y);
}

static void rotate(const struct sp_host_work *work, int64_t heads, float *x)
{
    int64_t dim = work->model->head_dim;
    for (int64_t i = 0; i < work->sequences; i++)
        work->math->kernels->rotary(work->tokens, heads, dim, work->cosine, work->sine, 1,
                                    x + i * work->tokens * heads * dim);
}

static void normalise_input(const struct sp_host_work *work, const struct sp_host_weights *weights,
                            struct sp_host_activations *a)
{
    struct sizes size = sizes_of(work);
    work->math->kernels->rmsnorm(size.rows, size.hidden, a->x, weights->norm1, size.epsilon, a->norm1);
}

/* One head's norm, where the model has it: a row is a head of a token. */
static void normalise_heads(const struct sp_host_work *work, int64_t heads, const float *weight,
                            const float *raw, float *x)
{
    struct sizes size = sizes_of(work);
    work->math->kernels->rmsnorm(size.rows * heads, size.dim, raw, weight, size.epsilon, x);
}

static void make_queries(const struct sp_host_work *work, const struct sp_host_weights *weights,
                         struct sp_host_activations *a)
{
    bool norm = work->model->qk_norm;
    project(work, sizes_of(work).query, weights->q, weights->q_bias, a->norm1, norm ? a->q_raw : a->q);
    if (norm)
        normalise_heads(work, work->model->heads, weights->q_norm, a->q_raw, a->q);
    rotate(work, work->model->heads, a->q);
}

static void make_keys(const struct sp_host_work *work, const struct sp_host_weights *weights,
                      struct sp_host_activations *a)
{
    bool norm = work->model->qk_norm;
    project(work, sizes_of(work).key, weights->k, weights->k_bias, a->norm1, norm ? a->k_raw : a->k);
    if (norm)
        normalise_heads(work, work->model->kv_heads, weights->k_norm, a->k_raw, a->k);
    rotate(work, work->model->kv_heads, a->k);
    project(work, sizes_of(work).key, weights->v, weights->v_bias, a->norm1, a->v);
}

void sp_host_layer_before(const struct sp_host_work *work, const struct sp_host_weights *weights,
                          struct sp_host_activations *a)
{
    normalise_input(work, weights, a);
    make_queries(work, weights, a);
    make_keys(work, weights, a);
}

void sp_host_layer_attention(const struct sp_host_work *work, int64_t run_count,
                             const struct sp_host_keys *runs, struct sp_host_activations *a)
{
    const struct sp_model *model = work->model;
    work->math->kernels->attention(&(struct sp_host_attention){
        .sequences = work->sequences,
        .heads = model->heads,
        .kv_heads = model->kv_heads,
        .head_dim = model->head_dim,
        .query_begin = work->begin,
        .query_count = work->tokens,
        .run_count = run_count,
        .runs = runs,
        .q = a->q,
        .o = a->o,
        .lse = a->lse,
    });
}

void sp_host_layer_merge(const struct sp_host_work *work, const float *part, const float *part_lse,
                         struct sp_host_activations *a)
{
    work->math->kernels->attention_merge(work->sequences, work->tokens, work->model->heads,
                                         work->model->head_dim, part, part_lse, a->o, a->lse);
}

/* middle = x + o · Woᵀ */
static void make_middle(const struct sp_host_work *work, const struct sp_host_weights *weights,
                        struct sp_host_activations *a)
{
    struct sizes size = sizes_of(work);
    memcpy(a->middle, a->x, (size_t)(size.rows * size.hidden) * sizeof *a->x);
    sp_host_linear(work->math, size.rows, (struct sp_host_linear){size.query, size.hidden, weights->o}, a->o,
                   1, a->middle);
}

/* The second half up to the last matrix, which a backward does not need. */
static void make_inner(const struct sp_host_work *work, const struct sp_host_weights *weights,
                       struct sp_host_activations *a)
{
    struct sizes size = sizes_of(work);
    work->math->kernels->rmsnorm(size.rows, size.hidden, a->middle, weights->norm2, size.epsilon, a->norm2);
    sp_host_mlp_inner(work, weights, a);
}

void sp_host_layer_after(const struct sp_host_work *work, const struct sp_host_weights *weights,
                         struct sp_host_activations *a, float *output)
{
    struct sizes size = sizes_of(work);
    make_middle(work, weights, a);
    make_inner(work, weights, a);
    memcpy(output, a->middle, (size_t)(size.rows * size.hidden) * sizeof *output);
    sp_host_mlp_outer(work, weights, a, output);
}

void sp_host_layer_recompute(const struct sp_host_work *work, const struct sp_host_weights *weights,
                             enum sp_recompute recompute, bool keys, int64_t run_count,
                             const struct sp_host_keys *runs, struct sp_host_activations *a)
{
    if (recompute == SP_RECOMPUTE_NONE)
        return;
    normalise_input(work, weights, a);
    if (recompute == SP_RECOMPUTE_FULL) {
        make_queries(work, weights, a);
        if (keys)
            make_keys(work, weights, a);
        else if (work->model->qk_norm)
            project(work, sizes_of(work).key, weights->k, weights->k_bias, a->norm1, a->k_raw);
        sp_host_layer_attention(work, run_count, runs, a);
        make_middle(work, weights, a);
    }
    make_inner(work, weights, a);
}
