/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's kernels: a layer's passes beside its matrix products alone, attention beside a large matrix
 * product, and our own matrix product beside the library's. FLOPs are those that the mathematics needs: the
 * causal half of the scores, and 2.5 times of it in the backward.
 */
#include "../executor/host/layer.h"
#include "harness.h"

static float *new_floats(int64_t count)
{
    float *x = aligned_alloc(64, (size_t)((count + 15) / 16 * 64));
    uint32_t random = 1;

    if (!x)
        exit(1);
    for (int64_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        x[i] = (float)(random >> 8) / (1 << 24) - 0.5f;
    }
    return x;
}

struct product {
    sp_host_gemm *gemm;
    int64_t size;
    float *a, *b, *c;
};

static void run_product(void *context)
{
    struct product *p = context;
    struct sp_host_matrix a = {p->a, p->size, false}, b = {p->b, p->size, true};

    p->gemm(p->size, p->size, p->size, 1, a, b, 0, p->c, p->size);
}

static struct product product_make(sp_host_gemm *gemm, int64_t size)
{
    return (struct product){gemm, size, new_floats(size * size), new_floats(size * size),
                            new_floats(size * size)};
}

static double product_flops(const struct product *p)
{
    return 2 * (double)p->size * (double)p->size * (double)p->size;
}

static void product_drop(struct product *p)
{
    free(p->a), free(p->b), free(p->c);
}

static void bench_product(struct bench *bench, const struct sp_host_math *math)
{
    struct product library = product_make(math->gemm, 1024), own = library;

    own.gemm = math->kernels->gemm;
    bench_run_beside(
        bench,
        (struct bench_job[]){{"matrix product 1024", product_flops(&library), "FLOP", run_product, &library},
                             {"own matrix product 1024", product_flops(&own), "FLOP", run_product, &own}});
    product_drop(&library);
}

struct attention {
    const struct sp_host_kernels *kernels;
    struct sp_host_attention call;
    struct sp_host_keys keys;
};

static void run_attention(void *context)
{
    struct attention *attention = context;

    attention->kernels->attention(&attention->call);
}

static void run_attention_backward(void *context)
{
    struct attention *attention = context;

    attention->kernels->attention_backward(&attention->call);
}

enum { HEADS = 4, KV_HEADS = 2, HEAD_DIM = 64 };

static void attention_init(struct attention *attention, const struct sp_host_kernels *kernels, int64_t past,
                           int64_t tokens)
{
    int64_t query = tokens * HEADS * HEAD_DIM, key = (past + tokens) * KV_HEADS * HEAD_DIM;

    attention->kernels = kernels;
    attention->keys = (struct sp_host_keys){.count = past + tokens,
                                            .pitch = past + tokens,
                                            .k = new_floats(key),
                                            .v = new_floats(key),
                                            .dk = new_floats(key),
                                            .dv = new_floats(key)};
    attention->call = (struct sp_host_attention){.sequences = 1,
                                                 .heads = HEADS,
                                                 .kv_heads = KV_HEADS,
                                                 .head_dim = HEAD_DIM,
                                                 .query_begin = past,
                                                 .query_count = tokens,
                                                 .run_count = 1,
                                                 .runs = &attention->keys,
                                                 .q = new_floats(query),
                                                 .o = new_floats(query),
                                                 .lse = new_floats(tokens * HEADS),
                                                 .d_o = new_floats(query),
                                                 .dq = new_floats(query)};
}

static void attention_finish(struct attention *attention)
{
    struct sp_host_attention *call = &attention->call;

    free((float *)attention->keys.k), free((float *)attention->keys.v);
    free(attention->keys.dk), free(attention->keys.dv);
    free((float *)call->q), free((float *)call->d_o), free(call->o), free(call->lse), free(call->dq);
}

/* Two products of head_dim per query head and visible pair of tokens. */
static double attention_flops(int64_t past, int64_t tokens)
{
    double pairs = (double)tokens * (double)past + (double)tokens * (double)(tokens + 1) / 2;

    return 4 * pairs * HEADS * HEAD_DIM;
}

static void bench_attention(struct bench *bench, const struct sp_host_math *math, int64_t past,
                            const char *const names[4])
{
    struct product product = product_make(math->gemm, 512);
    struct attention attention;
    double flops = attention_flops(past, 1024), base = product_flops(&product);

    attention_init(&attention, math->kernels, past, 1024);
    bench_run_beside(bench, (struct bench_job[]){{names[0], base, "FLOP", run_product, &product},
                                                 {names[1], flops, "FLOP", run_attention, &attention}});
    bench_run_beside(
        bench, (struct bench_job[]){{names[2], base, "FLOP", run_product, &product},
                                    {names[3], 2.5 * flops, "FLOP", run_attention_backward, &attention}});
    attention_finish(&attention);
    product_drop(&product);
}

/* A layer of 512, grouped heads; attention is left out, which is measured above. */
static const struct sp_model layer_model = {.hidden = 512,
                                            .ffn = 1408,
                                            .heads = 8,
                                            .kv_heads = 4,
                                            .head_dim = 64,
                                            .norm_epsilon = 1e-5,
                                            .rope_theta = 10000};
enum { TOKENS = 512 };

struct layer {
    struct sp_host_work work;
    struct sp_host_weights weights, gradients;
    struct sp_host_activations a;
    struct sp_host_gradients g;
    float *output, *blocks[8];
};

static void layer_init(struct layer *layer, const struct sp_host_math *math)
{
    const struct sp_model *model = &layer_model;
    float *weights = new_floats(sp_host_weight_floats(model));
    float *gradients = new_floats(sp_host_weight_floats(model));
    float *saved = new_floats(sp_host_saved_floats(model, TOKENS, SP_RECOMPUTE_NONE));
    float *activation_gradients = new_floats(sp_host_gradient_floats(model, TOKENS));
    float *table = new_floats(TOKENS * model->head_dim), *keys = new_floats(TOKENS * model->hidden);
    float *scratch = new_floats(sp_host_scratch_floats(model, TOKENS));

    layer->output = new_floats(TOKENS * model->hidden);
    layer->work = (struct sp_host_work){.model = model,
                                        .math = math,
                                        .sequences = 1,
                                        .tokens = TOKENS,
                                        .cosine = table,
                                        .sine = table + TOKENS * model->head_dim / 2,
                                        .scratch = scratch};
    sp_host_weights_bind(model, weights, &layer->weights);
    sp_host_weights_bind(model, gradients, &layer->gradients);
    sp_host_activations_bind(model, TOKENS, SP_RECOMPUTE_NONE, saved, NULL, &layer->a);
    sp_host_gradients_bind(model, TOKENS, activation_gradients, &layer->g);
    layer->a.k = keys, layer->a.v = keys + TOKENS * model->kv_heads * model->head_dim;
    memcpy(layer->blocks,
           (float *[]){weights, gradients, saved, activation_gradients, table, keys, scratch, layer->output},
           sizeof layer->blocks);
}

static void run_forward(void *context)
{
    struct layer *layer = context;

    sp_host_layer_before(&layer->work, &layer->weights, &layer->a);
    sp_host_layer_after(&layer->work, &layer->weights, &layer->a, layer->output);
}

static void run_backward(void *context)
{
    struct layer *layer = context;

    sp_host_layer_after_backward(&layer->work, &layer->weights, &layer->a, &layer->g, &layer->gradients);
    sp_host_layer_before_backward(&layer->work, &layer->weights, &layer->a, &layer->g, &layer->gradients,
                                  layer->output);
    sp_host_layer_weights(&layer->work, SP_HOST_WEIGHTS_ALL, &layer->a, &layer->g, &layer->gradients);
}

/* inputs, outputs of the layer's matrices: q, k, v, o, gate, up, down */
static const int64_t shapes[7][2] = {{512, 512},  {512, 256},  {512, 256}, {512, 512},
                                     {512, 1408}, {512, 1408}, {1408, 512}};

/* The same products with nothing between them, on the buffers of the MLP, which are large enough for all. */
static void run_forward_products(void *context)
{
    struct layer *layer = context;

    for (int i = 0; i < 7; i++) {
        int64_t in = shapes[i][0], out = shapes[i][1];
        struct sp_host_matrix x = {layer->a.gate, in, false}, w = {layer->weights.gate, in, true};
        layer->work.math->gemm(TOKENS, out, in, 1, x, w, 0, layer->a.up, out);
    }
}

static void run_backward_products(void *context)
{
    struct layer *layer = context;

    for (int i = 0; i < 7; i++) {
        int64_t in = shapes[i][0], out = shapes[i][1];
        struct sp_host_matrix dy = {layer->g.gate, out, false}, w = {layer->weights.gate, in, false};
        struct sp_host_matrix dy_t = {layer->g.gate, out, true}, x = {layer->a.gate, in, false};
        layer->work.math->gemm(TOKENS, in, out, 1, dy, w, 0, layer->g.up, in);
        layer->work.math->gemm(out, in, TOKENS, 1, dy_t, x, 1, layer->gradients.gate, in);
    }
}

static void bench_layer(struct bench *bench, const struct sp_host_math *math)
{
    struct layer layer;
    double flops = 0;

    layer_init(&layer, math);
    for (int i = 0; i < 7; i++)
        flops += 2.0 * TOKENS * (double)(shapes[i][0] * shapes[i][1]);
    bench_run_beside(bench, (struct bench_job[]){{"layer forward, products alone", flops, "FLOP",
                                                  run_forward_products, &layer},
                                                 {"layer forward", flops, "FLOP", run_forward, &layer}});
    bench_run_beside(bench,
                     (struct bench_job[]){
                         {"layer backward, products alone", 2 * flops, "FLOP", run_backward_products, &layer},
                         {"layer backward", 2 * flops, "FLOP", run_backward, &layer}});
    for (size_t i = 0; i < sizeof layer.blocks / sizeof *layer.blocks; i++)
        free(layer.blocks[i]);
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct sp_host_math math;
    struct sp_error error;

    bench_init(&bench, argc, argv);
    bench_check(sp_host_math_open(NULL, NULL, &math, &error), &error);
    if (!bench.json)
        printf("kernels %s; matrix product %s\n", math.kernels->name, math.blas);
    bench_product(&bench, &math);
    bench_layer(&bench, &math);
    bench_attention(&bench, &math, 0,
                    (const char *[]){"matrix product 512", "attention forward 1024", "matrix product 512",
                                     "attention backward 1024"});
    bench_attention(&bench, &math, 3072,
                    (const char *[]){"matrix product 512", "attention forward 1024 after 3072",
                                     "matrix product 512", "attention backward 1024 after 3072"});
    bench_finish(&bench);
    return 0;
}
