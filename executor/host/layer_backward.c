/* SPDX-License-Identifier: Apache-2.0 */
#include "layer.h"
#include "layer_mlp.h"
#include "linear.h"

static int64_t slice_rows(const struct sp_host_work *work)
{
    return work->sequences * work->tokens;
}

/* The matrices of attention; weight may be NULL where only a gradient is taken. */
static struct sp_host_linear query_map(const struct sp_host_work *work, const float *weight)
{
    const struct sp_model *model = work->model;
    return (struct sp_host_linear){model->hidden, model->heads * model->head_dim, weight};
}

static struct sp_host_linear key_map(const struct sp_host_work *work, const float *weight)
{
    const struct sp_model *model = work->model;
    return (struct sp_host_linear){model->hidden, model->kv_heads * model->head_dim, weight};
}

static struct sp_host_linear output_map(const struct sp_host_work *work, const float *weight)
{
    const struct sp_model *model = work->model;
    return (struct sp_host_linear){model->heads * model->head_dim, model->hidden, weight};
}

void sp_host_layer_after_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                                  const struct sp_host_activations *a, struct sp_host_gradients *g,
                                  struct sp_host_weights *d)
{
    int64_t rows = slice_rows(work), hidden = work->model->hidden;
    float *dnorm2 = work->scratch;
    sp_host_mlp_backward(work, weights, a, g, d, dnorm2, work->scratch + rows * hidden);
    work->math->kernels->rmsnorm_backward(rows, hidden, a->middle, weights->norm2,
                                          (float)work->model->norm_epsilon, dnorm2, g->output, g->middle,
                                          d->norm2);
    sp_host_linear_backward(work->math, rows, output_map(work, weights->o), g->middle, 0, g->o);
}

void sp_host_layer_attention_backward(const struct sp_host_work *work, int64_t run_count,
                                      const struct sp_host_keys *runs, const struct sp_host_activations *a,
                                      struct sp_host_gradients *g)
{
    const struct sp_model *model = work->model;
    work->math->kernels->attention_backward(&(struct sp_host_attention){
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
        .d_o = g->o,
        .dq = g->q,
    });
}

/* Back through rotation and, where the model has it, the heads' norm; in place. */
static void heads_backward(const struct sp_host_work *work, int64_t heads, const float *weight,
                           const float *raw, float *dweight, float *dx)
{
    const struct sp_host_kernels *kernels = work->math->kernels;
    int64_t dim = work->model->head_dim;
    for (int64_t i = 0; i < work->sequences; i++)
        kernels->rotary(work->tokens, heads, dim, work->cosine, work->sine, -1,
                        dx + i * work->tokens * heads * dim);
    if (work->model->qk_norm)
        kernels->rmsnorm_backward(slice_rows(work) * heads, dim, raw, weight,
                                  (float)work->model->norm_epsilon, dx, NULL, dx, dweight);
}

void sp_host_layer_before_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                                   const struct sp_host_activations *a, struct sp_host_gradients *g,
                                   struct sp_host_weights *d, float *dx)
{
    int64_t rows = slice_rows(work);
    float *dnorm1 = work->scratch;
    heads_backward(work, work->model->heads, weights->q_norm, a->q_raw, d->q_norm, g->q);
    heads_backward(work, work->model->kv_heads, weights->k_norm, a->k_raw, d->k_norm, g->k);
    sp_host_linear_backward(work->math, rows, query_map(work, weights->q), g->q, 0, dnorm1);
    sp_host_linear_backward(work->math, rows, key_map(work, weights->k), g->k, 1, dnorm1);
    sp_host_linear_backward(work->math, rows, key_map(work, weights->v), g->v, 1, dnorm1);
    work->math->kernels->rmsnorm_backward(rows, work->model->hidden, a->x, weights->norm1,
                                          (float)work->model->norm_epsilon, dnorm1, g->middle, dx, d->norm1);
}

/* Matrix and bias (NULL where there is none) of one map. */
static void map_weights(const struct sp_host_work *work, struct sp_host_linear map, const float *x,
                        const float *dy, float *dweight, float *dbias)
{
    int64_t rows = slice_rows(work);
    sp_host_linear_weight(work->math, rows, map, x, dy, dweight);
    if (dbias)
        work->math->kernels->column_sum(rows, map.outputs, dy, dbias);
}

void sp_host_layer_weights(const struct sp_host_work *work, unsigned which,
                           const struct sp_host_activations *a, const struct sp_host_gradients *g,
                           struct sp_host_weights *d)
{
    if (which & SP_HOST_WEIGHTS_QUERY)
        map_weights(work, query_map(work, NULL), a->norm1, g->q, d->q, d->q_bias);
    if (which & SP_HOST_WEIGHTS_KEYS) {
        map_weights(work, key_map(work, NULL), a->norm1, g->k, d->k, d->k_bias);
        map_weights(work, key_map(work, NULL), a->norm1, g->v, d->v, d->v_bias);
    }
    if (which & SP_HOST_WEIGHTS_OUTPUT)
        map_weights(work, output_map(work, NULL), a->o, g->middle, d->o, NULL);
    if (which & SP_HOST_WEIGHTS_MLP)
        sp_host_mlp_weights(work, a, g, d);
}
