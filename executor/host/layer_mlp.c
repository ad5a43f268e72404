/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "layer_mlp.h"
#include "linear.h"
#include "moe.h"

static int64_t slice_rows(const struct sp_host_work *work)
{
    return work->sequences * work->tokens;
}

/* The matrices of the first expert; a dense layer has the one. */
static struct sp_host_linear wide(const struct sp_host_work *work, const float *weight)
{
    return (struct sp_host_linear){work->model->hidden, work->model->ffn, weight};
}

static struct sp_host_linear down(const struct sp_host_work *work, const float *weight)
{
    return (struct sp_host_linear){work->model->ffn, work->model->hidden, weight};
}

static struct sp_host_linear router(const struct sp_host_work *work, const float *weight)
{
    return (struct sp_host_linear){work->model->hidden, work->model->experts, weight};
}

/* Where the rows of an MLP pass are: dense, one expert with all rows in order. */
struct routing {
    int64_t experts, top_k, slots;
    int32_t begin[SP_HOST_MAX_EXPERTS + 1];
    int32_t *slot; /* of each pair, in scratch; NULL: dense */
};

/* Uses *scratch for the slots and moves it behind them. */
static void route(const struct sp_host_work *work, const struct sp_host_activations *a, float **scratch,
                  struct routing *ret_routing)
{
    int64_t rows = slice_rows(work), top_k = work->model->experts_per_token;
    if (work->model->experts == 0) {
        *ret_routing = (struct routing){1, 1, rows, {0, (int32_t)rows}, NULL};
        return;
    }
    ret_routing->experts = work->model->experts;
    ret_routing->top_k = top_k;
    ret_routing->slots = rows * top_k;
    ret_routing->slot = (int32_t *)*scratch;
    *scratch += ret_routing->slots;
    sp_host_route_order(rows * top_k, ret_routing->experts, a->route_expert, ret_routing->begin,
                        ret_routing->slot);
}

/* x in slots, in *scratch, which moves behind it; a dense layer's x as it is. */
static const float *gather(const struct routing *routing, int64_t width, const float *weight, const float *x,
                           float **scratch)
{
    if (!routing->slot)
        return x;
    float *gathered = *scratch;
    *scratch += routing->slots * width;
    sp_host_gather(routing->slots, routing->top_k, width, routing->slot, weight, x, gathered);
    return gathered;
}

/* Each expert's matrix on its slots: y = x · Wᵀ + beta · y. */
static void forward(const struct sp_host_work *work, const struct routing *routing, struct sp_host_linear map,
                    const float *x, float beta, float *y)
{
    for (int64_t e = 0; e < routing->experts; e++, map.weight += map.inputs * map.outputs) {
        int64_t first = routing->begin[e], count = routing->begin[e + 1] - first;
        sp_host_linear(work->math, count, map, x + first * map.inputs, beta, y + first * map.outputs);
    }
}

/* dx = dy · W + beta · dx */
static void backward(const struct sp_host_work *work, const struct routing *routing,
                     struct sp_host_linear map, const float *dy, float beta, float *dx)
{
    for (int64_t e = 0; e < routing->experts; e++, map.weight += map.inputs * map.outputs) {
        int64_t first = routing->begin[e], count = routing->begin[e + 1] - first;
        sp_host_linear_backward(work->math, count, map, dy + first * map.outputs, beta,
                                dx + first * map.inputs);
    }
}

/* dW += dyᵀ · x */
static void weight_gradient(const struct sp_host_work *work, const struct routing *routing,
                            struct sp_host_linear map, const float *x, const float *dy, float *dweight)
{
    for (int64_t e = 0; e < routing->experts; e++, dweight += map.inputs * map.outputs) {
        int64_t first = routing->begin[e], count = routing->begin[e + 1] - first;
        sp_host_linear_weight(work->math, count, map, x + first * map.inputs, dy + first * map.outputs,
                              dweight);
    }
}

static void choose_experts(const struct sp_host_work *work, const struct sp_host_weights *weights,
                           struct sp_host_activations *a)
{
    int64_t rows = slice_rows(work), experts = work->model->experts;
    float *logits = work->scratch;
    sp_host_linear(work->math, rows, router(work, weights->router), a->norm2, 0, logits);
    sp_host_route(rows, experts, work->model->experts_per_token, logits, a->route_expert, a->route_weight);
}

void sp_host_mlp_inner(const struct sp_host_work *work, const struct sp_host_weights *weights,
                       struct sp_host_activations *a)
{
    float *scratch = work->scratch;
    struct routing routing;
    if (work->model->experts > 0)
        choose_experts(work, weights, a);
    route(work, a, &scratch, &routing);
    const float *x = gather(&routing, work->model->hidden, NULL, a->norm2, &scratch);
    forward(work, &routing, wide(work, weights->gate), x, 0, a->gate);
    forward(work, &routing, wide(work, weights->up), x, 0, a->up);
    work->math->kernels->swiglu(routing.slots * work->model->ffn, a->gate, a->up, a->act);
}

void sp_host_mlp_outer(const struct sp_host_work *work, const struct sp_host_weights *weights,
                       const struct sp_host_activations *a, float *output)
{
    float *scratch = work->scratch;
    struct routing routing;
    route(work, a, &scratch, &routing);
    if (!routing.slot) {
        forward(work, &routing, down(work, weights->down), a->act, 1, output);
        return;
    }
    forward(work, &routing, down(work, weights->down), a->act, 0, scratch);
    sp_host_scatter(routing.slots, routing.top_k, work->model->hidden, routing.slot, a->route_weight, scratch,
                    output);
}

/*
 * dact: per slot the gradient for a weight of 1. The gradient of a pair's weight is the output gradient times
 * the expert's output, which is dact · act, so that outputs need not be saved. dact is then weighted.
 */
static void weigh(const struct sp_host_work *work, const struct routing *routing,
                  const struct sp_host_activations *a, float *dact, float *dweight)
{
    int64_t f = work->model->ffn;
    for (int64_t pair = 0; pair < routing->slots; pair++) {
        float *gradient = dact + routing->slot[pair] * f;
        const float *act = a->act + routing->slot[pair] * f;
        double sum = 0;
        for (int64_t i = 0; i < f; i++) {
            sum += (double)gradient[i] * (double)act[i];
            gradient[i] *= a->route_weight[pair];
        }
        dweight[pair] = (float)sum;
    }
}

static void router_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                            const struct sp_host_activations *a, const float *dweight,
                            struct sp_host_weights *d, float *dnorm2, float *dlogits)
{
    int64_t rows = slice_rows(work);
    sp_host_route_backward(rows, work->model->experts, work->model->experts_per_token, a->route_expert,
                           a->route_weight, dweight, dlogits);
    sp_host_linear_backward(work->math, rows, router(work, weights->router), dlogits, 1, dnorm2);
    sp_host_linear_weight(work->math, rows, router(work, NULL), a->norm2, dlogits, d->router);
}

void sp_host_mlp_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                          const struct sp_host_activations *a, struct sp_host_gradients *g,
                          struct sp_host_weights *d, float *dnorm2, float *scratch)
{
    int64_t h = work->model->hidden, f = work->model->ffn;
    struct routing routing;
    route(work, a, &scratch, &routing);
    const float *dy = gather(&routing, h, NULL, g->output, &scratch);
    float *dact = scratch, *dx = routing.slot ? dact + routing.slots * f : dnorm2;
    float *dweight = dx + routing.slots * h;
    backward(work, &routing, down(work, weights->down), dy, 0, dact);
    if (routing.slot)
        weigh(work, &routing, a, dact, dweight);
    work->math->kernels->swiglu_backward(routing.slots * f, a->gate, a->up, dact, g->gate, g->up);
    backward(work, &routing, wide(work, weights->gate), g->gate, 0, dx);
    backward(work, &routing, wide(work, weights->up), g->up, 1, dx);
    if (!routing.slot)
        return;
    memset(dnorm2, 0, (size_t)(slice_rows(work) * h) * sizeof *dnorm2);
    sp_host_scatter(routing.slots, routing.top_k, h, routing.slot, NULL, dx, dnorm2);
    router_backward(work, weights, a, dweight, d, dnorm2, dweight + routing.slots);
}

void sp_host_mlp_weights(const struct sp_host_work *work, const struct sp_host_activations *a,
                         const struct sp_host_gradients *g, struct sp_host_weights *d)
{
    int64_t h = work->model->hidden;
    float *scratch = work->scratch;
    struct routing routing;
    route(work, a, &scratch, &routing);
    const float *x = gather(&routing, h, NULL, a->norm2, &scratch);
    const float *dy = gather(&routing, h, a->route_weight, g->output, &scratch);
    weight_gradient(work, &routing, wide(work, NULL), x, g->gate, d->gate);
    weight_gradient(work, &routing, wide(work, NULL), x, g->up, d->up);
    weight_gradient(work, &routing, down(work, NULL), a->act, dy, d->down);
}
