/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine reaches: one layer's pieces timed, as a pass runs them, by the thread's CPU time. */
#include "measure.h"

#include <string.h>
#include <time.h>

#include "layer.h"

enum { LEAST_RUNS = 5, WARM_UP = 2, MOST_RUNS = 61, LEAST_SETS = 4, MOST_SETS = 256, MOST_LAYERS = 64 };
#define COLD_BYTES INT64_C(100000000)
#define ENOUGH_NS  INT64_C(60000000)

/*
 * Buffers of one layer and slice. As many sets as no cache holds are taken in turn, as a pipeline's units
 * follow each other, and as many weights as the model has layers.
 */
struct set {
    struct sp_host_weights weights, d_weights;
    struct sp_host_activations a;
    struct sp_host_gradients g;
    struct sp_host_keys *runs; /* the past in slices of this size, and the own one */
    float *output;
};

struct bench {
    struct sp_arena *arena;
    struct sp_host_math math;
    struct sp_host_work work;
    float *weights[MOST_LAYERS], *d_weights[MOST_LAYERS];
    int layers;
    struct sp_host_keys *past_runs;
    int past_count;
    struct set *sets;
    int set_count;
    int64_t past;
};

static int64_t thread_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Small numbers that differ; NULL when memory is short. */
static float *numbers(struct bench *bench, int64_t count)
{
    float *x = sp_arena_alloc(bench->arena, (size_t)count, sizeof *x);
    uint32_t state = 1;
    for (int64_t i = 0; x && i < count; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(state >> 8) / (1 << 24) * 0.1f - 0.05f;
    }
    return x;
}

static bool make_run(struct bench *bench, int64_t begin, int64_t count, struct sp_host_keys *run)
{
    int64_t width = bench->work.model->kv_heads * bench->work.model->head_dim;
    int64_t size = bench->work.sequences * count * width;
    float *all = numbers(bench, 4 * size);
    *run = (struct sp_host_keys){begin, count, count, all, all + size, all + 2 * size, all + 3 * size};
    return all != NULL;
}

static bool make_set(struct bench *bench, struct set *set)
{
    const struct sp_model *model = bench->work.model;
    int64_t rows = bench->work.sequences * bench->work.tokens, which = (set - bench->sets) % bench->layers;
    float *saved = numbers(bench, sp_host_saved_floats(model, rows, SP_RECOMPUTE_NONE));
    float *gradients = numbers(bench, sp_host_gradient_floats(model, rows));
    set->output = numbers(bench, rows * model->hidden);
    set->runs = sp_arena_alloc(bench->arena, (size_t)bench->past_count + 1, sizeof *set->runs);
    if (!set->runs)
        return false;
    memcpy(set->runs, bench->past_runs, (size_t)bench->past_count * sizeof *set->runs);
    if (!saved || !gradients || !set->output ||
        !make_run(bench, bench->past, bench->work.tokens, &set->runs[bench->past_count]))
        return false;
    sp_host_weights_bind(model, bench->weights[which], &set->weights);
    sp_host_weights_bind(model, bench->d_weights[which], &set->d_weights);
    sp_host_activations_bind(model, rows, SP_RECOMPUTE_NONE, saved, NULL, &set->a);
    sp_host_gradients_bind(model, rows, gradients, &set->g);
    set->a.k = (float *)set->runs[bench->past_count].k;
    set->a.v = (float *)set->runs[bench->past_count].v;
    return true;
}

/* Enough to be cold again when its turn comes. */
static int count_sets(const struct bench *bench)
{
    const struct sp_model *model = bench->work.model;
    int64_t rows = bench->work.sequences * bench->work.tokens;
    int64_t floats =
        sp_host_saved_floats(model, rows, SP_RECOMPUTE_NONE) + 4 * rows * model->kv_heads * model->head_dim;
    int64_t sets = COLD_BYTES / (floats * (int64_t)sizeof(float));
    return sets < LEAST_SETS ? LEAST_SETS : sets > MOST_SETS ? MOST_SETS : (int)sets;
}

static bool make_weights(struct bench *bench)
{
    int64_t count = sp_host_weight_floats(bench->work.model);
    for (int i = 0; i < bench->layers; i++)
        if (!(bench->weights[i] = numbers(bench, count)) || !(bench->d_weights[i] = numbers(bench, count)))
            return false;
    return true;
}

static bool make_past(struct bench *bench)
{
    int64_t tokens = bench->work.tokens;
    bench->past_count = (int)((bench->past + tokens - 1) / tokens);
    bench->past_runs = sp_arena_alloc(bench->arena, (size_t)bench->past_count, sizeof *bench->past_runs);
    for (int i = 0; bench->past_runs && i < bench->past_count; i++) {
        int64_t begin = i * tokens, count = bench->past - begin < tokens ? bench->past - begin : tokens;
        if (!make_run(bench, begin, count, &bench->past_runs[i]))
            return false;
    }
    return bench->past_runs != NULL;
}

static bool make_bench(struct bench *bench)
{
    const struct sp_model *model = bench->work.model;
    int64_t rows = bench->work.sequences * bench->work.tokens, half = model->head_dim / 2;
    float *cosine = numbers(bench, bench->work.tokens * half),
          *sine = numbers(bench, bench->work.tokens * half);
    bench->work.scratch = numbers(bench, sp_host_scratch_floats(model, rows));
    if (!cosine || !sine || !bench->work.scratch)
        return false;
    sp_host_rotary_table(bench->past, bench->work.tokens, model->head_dim, model->rope_theta, cosine, sine);
    bench->work.cosine = cosine;
    bench->work.sine = sine;
    bench->set_count = count_sets(bench);
    bench->layers = model->layers < MOST_LAYERS ? (int)model->layers : MOST_LAYERS;
    bench->sets = sp_arena_alloc(bench->arena, (size_t)bench->set_count, sizeof *bench->sets);
    if (!bench->sets || !make_weights(bench) || !make_past(bench))
        return false;
    for (int i = 0; i < bench->set_count; i++)
        if (!make_set(bench, &bench->sets[i]))
            return false;
    return true;
}

/* --- Timing -------------------------------------------------------------------------------------------- */

static void linear(struct bench *bench, struct set *set)
{
    sp_host_layer_before(&bench->work, &set->weights, &set->a);
    sp_host_layer_after(&bench->work, &set->weights, &set->a, set->output);
    sp_host_layer_after_backward(&bench->work, &set->weights, &set->a, &set->g, &set->d_weights);
    sp_host_layer_weights(&bench->work, SP_HOST_WEIGHTS_MLP | SP_HOST_WEIGHTS_OUTPUT, &set->a, &set->g,
                          &set->d_weights);
    sp_host_layer_before_backward(&bench->work, &set->weights, &set->a, &set->g, &set->d_weights,
                                  set->output);
    sp_host_layer_weights(&bench->work, SP_HOST_WEIGHTS_QUERY | SP_HOST_WEIGHTS_KEYS, &set->a, &set->g,
                          &set->d_weights);
}

static void attention(struct bench *bench, struct set *set)
{
    int runs = bench->past_count + 1;
    sp_host_layer_attention(&bench->work, runs, set->runs, &set->a);
    sp_host_layer_attention_backward(&bench->work, runs, set->runs, &set->a, &set->g);
}

static void sort(int64_t *times, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && times[j] < times[j - 1]; j--) {
            int64_t swapped = times[j];
            times[j] = times[j - 1];
            times[j - 1] = swapped;
        }
}

/* The median of runs that take long enough together. */
static int64_t median_ns(struct bench *bench, void (*run)(struct bench *, struct set *))
{
    int64_t times[MOST_RUNS], total = 0;
    int count = 0;
    for (int i = 0; i < WARM_UP; i++)
        run(bench, &bench->sets[i]);
    while (count < MOST_RUNS && (count < LEAST_RUNS || total < ENOUGH_NS)) {
        int64_t begun = thread_ns();
        run(bench, &bench->sets[(WARM_UP + count) % bench->set_count]);
        times[count] = thread_ns() - begun;
        total += times[count++];
    }
    sort(times, count);
    return times[count / 2];
}

enum sp_status sp_host_measure_layer(const struct sp_model *model, int64_t sequences, int64_t tokens,
                                     int64_t past, struct sp_layer_measure *ret_measure,
                                     struct sp_error *error)
{
    struct bench bench = {.arena = sp_arena_create(), .past = past};
    enum sp_status status = sp_host_math_open(NULL, NULL, &bench.math, error);
    bench.work = (struct sp_host_work){
        .model = model, .math = &bench.math, .sequences = sequences, .begin = past, .tokens = tokens};
    if (status == SP_OK && (!bench.arena || !make_bench(&bench)))
        status = sp_error_set(error, SP_MEMORY, "no memory to measure a layer of %ld tokens", (long)tokens);
    if (status == SP_OK)
        *ret_measure = (struct sp_layer_measure){.linear_ns = median_ns(&bench, linear),
                                                 .attention_ns = median_ns(&bench, attention)};
    sp_arena_destroy(bench.arena);
    return status;
}

/* --- Peak rates ---------------------------------------------------------------------------------------- */

enum { SQUARE = 768, STREAM = 1 << 22, RATE_RUNS = 7 };

enum sp_status sp_host_measure_rates(struct sp_machine_measure *ret_measure, struct sp_error *error)
{
    struct bench bench = {.arena = sp_arena_create()};
    enum sp_status status = sp_host_math_open(NULL, NULL, &bench.math, error);
    float *x = status == SP_OK && bench.arena ? numbers(&bench, 4 * STREAM) : NULL;
    if (status == SP_OK && !x)
        status = sp_error_set(error, SP_MEMORY, "no memory to measure rates");
    int64_t product = INT64_MAX, stream = INT64_MAX;
    for (int i = 0; status == SP_OK && i < RATE_RUNS; i++) {
        struct sp_host_matrix a = {x, SQUARE, false}, b = {x + STREAM, SQUARE, false};
        struct sp_host_adamw adamw = {.rate = 1e-9f, .beta1 = 0.9f, .beta2 = 0.9f, .epsilon = 1, .step = 1};
        int64_t begun = thread_ns();
        bench.math.gemm(SQUARE, SQUARE, SQUARE, 1, a, b, 0, x + 2 * STREAM, SQUARE);
        int64_t between = thread_ns();
        memset(x + 3 * STREAM, 0, STREAM * sizeof *x); /* a second moment is not negative */
        int64_t cleared = thread_ns();
        bench.math.kernels->adamw(&adamw, STREAM, x, x + STREAM, x + 2 * STREAM, x + 3 * STREAM);
        int64_t ended = thread_ns();
        product = between - begun < product ? between - begun : product;
        stream = ended - cleared < stream ? ended - cleared : stream;
    }
    if (status == SP_OK)
        *ret_measure = (struct sp_machine_measure){
            .matrix_flops = (int64_t)(2.0 * SQUARE * SQUARE * SQUARE / (double)product * 1e9),
            /* Four arrays read and three written. */
            .memory_bytes_per_second = (int64_t)(7.0 * sizeof *x * STREAM / (double)stream * 1e9)};
    sp_arena_destroy(bench.arena);
    return status;
}
