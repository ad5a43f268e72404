/* SPDX-License-Identifier: Apache-2.0 */
#include "sliced_model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../executor/host/layer.h"
#include "../executor/host/output.h"
#include "random.h"
#include "slimpipe/arena.h"

enum { MAX_RUNS = 64 };

/* One layer of one slice. */
struct unit {
    struct sp_host_activations a;
    struct sp_host_gradients g;
    float *unsaved; /* NaN between forward and backward */
    float *dk, *dv; /* the slice's part of the KV gradient */
};

struct slice {
    int64_t begin, tokens, rows;
    float *cosine, *sine;
    int32_t *ids, *targets; /* [sequences][tokens of the slice] */
    float *x, *d_x;         /* the model's hidden state behind the last layer, and a gradient on its way */
    struct unit *units;     /* per layer */
};

struct sliced {
    const struct sliced_settings *settings;
    const struct sp_model *model;
    struct sp_arena *arena;
    int64_t sequences, tokens, key; /* key: width of a token's keys */
    struct slice *slices;
    struct sp_host_weights *weights, *d_weights; /* per layer */
    const float *embedding, *norm, *head;
    float *d_embedding, *d_norm, *d_head;
    float *scratch;
    int64_t scratch_floats;
    float scale; /* of a token's loss */
};

static void *allocate(struct sliced *run, int64_t count, size_t size)
{
    void *block = sp_arena_alloc(run->arena, (size_t)(count > 0 ? count : 1), size);
    assert(block);
    return block;
}

static float *new_floats(struct sliced *run, int64_t count)
{
    return allocate(run, count, sizeof(float));
}

static void poison(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = NAN;
}

static struct sp_host_work work_on(struct sliced *run, const struct slice *slice)
{
    poison(run->scratch, run->scratch_floats);
    return (struct sp_host_work){
        .model = run->model,
        .math = run->settings->math,
        .sequences = run->sequences,
        .begin = slice->begin,
        .tokens = slice->tokens,
        .cosine = slice->cosine,
        .sine = slice->sine,
        .scratch = run->scratch,
    };
}

/* The parts of [begin, end) of one layer's cache, slice by slice. */
static int64_t add_runs(const struct sliced *run, int64_t layer, int64_t begin, int64_t end, int64_t count,
                        struct sp_host_keys *runs)
{
    for (int64_t i = 0; i < run->settings->slice_count; i++) {
        const struct slice *slice = &run->slices[i];
        const struct unit *unit = &slice->units[layer];
        int64_t from = begin > slice->begin ? begin : slice->begin;
        int64_t to = end < slice->begin + slice->tokens ? end : slice->begin + slice->tokens;
        if (from >= to)
            continue;
        assert(count < MAX_RUNS);
        int64_t skip = (from - slice->begin) * run->key;
        runs[count++] = (struct sp_host_keys){
            from,           to - from, slice->tokens, unit->a.k + skip, unit->a.v + skip, unit->dk + skip,
            unit->dv + skip};
    }
    return count;
}

/* The past of a slice in pieces, each kept or given away. The same cuts in forward and backward. */
struct pieces {
    int64_t bounds[16];
    bool given[16];
    int count;
};

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static struct pieces cut(const struct sliced *run, const struct slice *slice)
{
    struct pieces pieces = {.bounds = {0}, .count = run->settings->exchange_cuts + 1};
    struct random random = {(uint64_t)run->settings->seed << 32 | (uint64_t)slice->begin};
    assert(pieces.count < 16);
    for (int i = 1; i < pieces.count; i++)
        pieces.bounds[i] = random_below(&random, (uint32_t)slice->begin + 1);
    pieces.bounds[pieces.count] = slice->begin;
    qsort(pieces.bounds, (size_t)pieces.count + 1, sizeof *pieces.bounds, compare);
    for (int i = 0; i < pieces.count; i++)
        pieces.given[i] = run->settings->exchange_cuts > 0 && random_one_in(&random, 2);
    return pieces;
}

static int64_t own_runs(const struct sliced *run, const struct slice *slice, int64_t layer,
                        struct sp_host_keys *runs)
{
    struct pieces pieces = cut(run, slice);
    int64_t count = 0;
    for (int i = 0; i < pieces.count; i++)
        if (!pieces.given[i])
            count = add_runs(run, layer, pieces.bounds[i], pieces.bounds[i + 1], count, runs);
    return add_runs(run, layer, slice->begin, slice->begin + slice->tokens, count, runs);
}

/* A piece of the cache as a message brings it: copied, in one run. to_cache: gradients are added back. */
static void copy_piece(const struct sliced *run, int64_t layer, const struct sp_host_keys *piece,
                       bool to_cache)
{
    struct sp_host_keys runs[MAX_RUNS];
    int64_t count = add_runs(run, layer, piece->begin, piece->begin + piece->count, 0, runs);
    for (int64_t i = 0; i < count; i++)
        for (int64_t s = 0; s < run->sequences; s++)
            for (int64_t j = 0; j < runs[i].count * run->key; j++) {
                int64_t at = s * runs[i].pitch * run->key + j;
                int64_t to = (s * piece->count + runs[i].begin - piece->begin) * run->key + j;
                if (to_cache) {
                    runs[i].dk[at] += piece->dk[to];
                    runs[i].dv[at] += piece->dv[to];
                } else {
                    ((float *)piece->k)[to] = runs[i].k[at];
                    ((float *)piece->v)[to] = runs[i].v[at];
                }
            }
}

static struct sp_host_keys fetch_piece(struct sliced *run, int64_t layer, int64_t begin, int64_t end)
{
    int64_t floats = run->sequences * (end - begin) * run->key;
    struct sp_host_keys piece = {begin,
                                 end - begin,
                                 end - begin,
                                 new_floats(run, floats),
                                 new_floats(run, floats),
                                 new_floats(run, floats),
                                 new_floats(run, floats)};
    copy_piece(run, layer, &piece, false);
    return piece;
}

/* What a helper does for a slice: the attention of its queries over a piece. */
static struct sp_host_attention guest_call(const struct sliced *run, const struct slice *slice,
                                           const struct unit *unit, const struct sp_host_keys *piece)
{
    const struct sp_model *model = run->model;
    return (struct sp_host_attention){
        .sequences = run->sequences,
        .heads = model->heads,
        .kv_heads = model->kv_heads,
        .head_dim = model->head_dim,
        .query_begin = slice->begin,
        .query_count = slice->tokens,
        .run_count = 1,
        .runs = piece,
        .q = unit->a.q,
        .o = unit->a.o,
        .lse = unit->a.lse,
        .d_o = unit->g.o,
    };
}

static void guests_forward(struct sliced *run, const struct sp_host_work *work, const struct slice *slice,
                           int64_t layer, struct unit *unit)
{
    struct pieces pieces = cut(run, slice);
    for (int i = 0; i < pieces.count; i++) {
        if (!pieces.given[i])
            continue;
        struct sp_host_keys piece = fetch_piece(run, layer, pieces.bounds[i], pieces.bounds[i + 1]);
        struct sp_host_attention call = guest_call(run, slice, unit, &piece);
        call.o = new_floats(run, slice->rows * run->model->heads * run->model->head_dim);
        call.lse = new_floats(run, slice->rows * run->model->heads);
        run->settings->math->kernels->attention(&call);
        sp_host_layer_merge(work, call.o, call.lse, &unit->a);
    }
}

static void guests_backward(struct sliced *run, const struct slice *slice, int64_t layer, struct unit *unit)
{
    const struct sp_host_kernels *kernels = run->settings->math->kernels;
    struct pieces pieces = cut(run, slice);
    int64_t floats = slice->rows * run->model->heads * run->model->head_dim;
    for (int i = 0; i < pieces.count; i++) {
        if (!pieces.given[i])
            continue;
        struct sp_host_keys piece = fetch_piece(run, layer, pieces.bounds[i], pieces.bounds[i + 1]);
        struct sp_host_attention call = guest_call(run, slice, unit, &piece);
        call.dq = new_floats(run, floats);
        kernels->attention_backward(&call);
        kernels->add(floats, call.dq, unit->g.q);
        copy_piece(run, layer, &piece, true);
    }
}

/* A slice that no other one reads keeps no keys and values under full recompute. */
static bool recomputes_keys(const struct sliced *run)
{
    return run->settings->slice_count == 1 && run->settings->recompute == SP_RECOMPUTE_FULL;
}

static void unit_forward(struct sliced *run, struct slice *slice, int64_t layer, float *output)
{
    struct unit *unit = &slice->units[layer];
    struct sp_host_work work = work_on(run, slice);
    struct sp_host_keys runs[MAX_RUNS];
    sp_host_layer_before(&work, &run->weights[layer], &unit->a);
    sp_host_layer_attention(&work, own_runs(run, slice, layer, runs), runs, &unit->a);
    guests_forward(run, &work, slice, layer, unit);
    sp_host_layer_after(&work, &run->weights[layer], &unit->a, output);
    poison(unit->unsaved, sp_host_unsaved_floats(run->model, slice->rows, run->settings->recompute));
    if (recomputes_keys(run)) {
        poison(unit->a.k, slice->rows * run->key);
        poison(unit->a.v, slice->rows * run->key);
    }
}

/* A helper gets only saved state, so with full recompute the attention is not exchanged again. */
static void unit_backward(struct sliced *run, struct slice *slice, int64_t layer, float *dx)
{
    struct unit *unit = &slice->units[layer];
    struct sp_host_weights *weights = &run->weights[layer], *d = &run->d_weights[layer];
    struct sp_host_work work = work_on(run, slice);
    struct sp_host_keys all[MAX_RUNS], own[MAX_RUNS];
    int64_t all_count = add_runs(run, layer, 0, slice->begin + slice->tokens, 0, all);
    int64_t own_count = own_runs(run, slice, layer, own);
    sp_host_layer_recompute(&work, weights, run->settings->recompute, recomputes_keys(run), all_count, all,
                            &unit->a);
    work = work_on(run, slice);
    sp_host_layer_after_backward(&work, weights, &unit->a, &unit->g, d);
    sp_host_layer_attention_backward(&work, own_count, own, &unit->a, &unit->g);
    guests_backward(run, slice, layer, unit);
    memcpy(unit->g.k, unit->dk, (size_t)(slice->rows * run->key) * sizeof(float));
    memcpy(unit->g.v, unit->dv, (size_t)(slice->rows * run->key) * sizeof(float));
    work = work_on(run, slice);
    sp_host_layer_before_backward(&work, weights, &unit->a, &unit->g, d, dx);
    if (!run->settings->weights_later)
        sp_host_layer_weights(&work, SP_HOST_WEIGHTS_ALL, &unit->a, &unit->g, d);
}

/* W of everything, in forward order and matrix by matrix, for variety. */
static void weights_later(struct sliced *run)
{
    for (int64_t i = 0; i < run->settings->slice_count; i++)
        for (int64_t layer = 0; layer < run->model->layers; layer++) {
            struct unit *unit = &run->slices[i].units[layer];
            struct sp_host_work work = work_on(run, &run->slices[i]);
            for (unsigned which = 1; which & SP_HOST_WEIGHTS_ALL; which <<= 1)
                sp_host_layer_weights(&work, which, &unit->a, &unit->g, &run->d_weights[layer]);
        }
}

/* Part i of n equal ones of `count`. */
static int64_t part_begin(int64_t count, int64_t parts, int64_t i)
{
    return count * i / parts;
}

static void embed(struct sliced *run, const struct slice *slice, float *x)
{
    int64_t hidden = run->model->hidden, vocab = run->model->vocab, parts = run->settings->vocabulary_parts;
    float *part = new_floats(run, slice->rows * hidden);
    memset(x, 0, (size_t)(slice->rows * hidden) * sizeof *x);
    for (int64_t i = 0; i < parts; i++) {
        int64_t begin = part_begin(vocab, parts, i), end = part_begin(vocab, parts, i + 1);
        sp_host_embed(slice->rows, hidden, slice->ids, begin, end - begin, run->embedding + begin * hidden,
                      part);
        run->settings->math->kernels->add(slice->rows * hidden, part, x);
    }
}

static void embed_backward(struct sliced *run, const struct slice *slice, const float *dx)
{
    int64_t hidden = run->model->hidden, vocab = run->model->vocab, parts = run->settings->vocabulary_parts;
    for (int64_t i = 0; i < parts; i++) {
        int64_t begin = part_begin(vocab, parts, i), end = part_begin(vocab, parts, i + 1);
        sp_host_embed_backward(slice->rows, hidden, slice->ids, begin, end - begin, dx,
                               run->d_embedding + begin * hidden);
    }
}

/* An output layer for `rows` rows from `row` on, and columns [begin, end) of the vocabulary. */
static struct sp_host_output output_of(const struct sliced *run, const struct slice *slice, const float *x,
                                       int64_t row, int64_t rows, int64_t begin, int64_t end)
{
    int64_t hidden = run->model->hidden;
    return (struct sp_host_output){
        run->settings->math, rows, hidden, begin, end - begin, x + row * hidden, run->head + begin * hidden,
        slice->targets + row};
}

/* last, and scatter: each device some of the rows. */
static double output_by_rows(struct sliced *run, const struct slice *slice, const float *x, int64_t parts,
                             float *dx)
{
    int64_t vocab = run->model->vocab;
    double loss = 0;
    for (int64_t i = 0; i < parts; i++) {
        int64_t row = part_begin(slice->rows, parts, i), rows = part_begin(slice->rows, parts, i + 1) - row;
        struct sp_host_output output = output_of(run, slice, x, row, rows, 0, vocab);
        float *logits = new_floats(run, rows * vocab), *lse = new_floats(run, rows);
        float *target = new_floats(run, rows);
        sp_host_output_logits(&output, logits, target);
        sp_host_output_lse(&output, logits, lse);
        loss += sp_host_output_loss(rows, output.targets, lse, target);
        sp_host_output_gradient(&output, lse, run->scale, logits);
        sp_host_output_input(&output, logits, 0, dx + row * run->model->hidden);
        sp_host_output_weight(&output, logits, run->d_head);
    }
    return loss;
}

/* shard1 and shard2: each device some of the vocabulary; barriers where the loops end. */
static double output_by_columns(struct sliced *run, const struct slice *slice, const float *x, float *dx)
{
    int64_t parts = run->settings->vocabulary_parts, hidden = run->model->hidden, rows = slice->rows;
    bool early = run->settings->vocabulary == SP_VOCABULARY_SHARD2;
    float *lse_parts = new_floats(run, parts * rows), *targets = new_floats(run, rows);
    float *lse = new_floats(run, rows), *target = new_floats(run, rows);
    float **logits = allocate(run, parts, sizeof *logits), **part = allocate(run, parts, sizeof *part);
    struct sp_host_output *outputs = allocate(run, parts, sizeof *outputs);
    for (int64_t i = 0; i < parts; i++) {
        int64_t begin = part_begin(run->model->vocab, parts, i);
        int64_t end = part_begin(run->model->vocab, parts, i + 1);
        outputs[i] = output_of(run, slice, x, 0, rows, begin, end);
        logits[i] = new_floats(run, rows * (end - begin));
        part[i] = new_floats(run, rows * hidden);
        sp_host_output_logits(&outputs[i], logits[i], target);
        run->settings->math->kernels->add(rows, target, targets);
        sp_host_output_lse(&outputs[i], logits[i], lse_parts + i * rows);
        if (early)
            sp_host_output_product(&outputs[i], lse_parts + i * rows, logits[i], part[i]);
    }
    sp_host_output_combine(rows, parts, lse_parts, lse);
    memset(dx, 0, (size_t)(rows * hidden) * sizeof *dx);
    for (int64_t i = 0; i < parts; i++) {
        if (early) {
            sp_host_output_join(&outputs[i], lse_parts + i * rows, lse, run->scale, part[i], logits[i],
                                part[i]);
        } else {
            sp_host_output_gradient(&outputs[i], lse, run->scale, logits[i]);
            sp_host_output_input(&outputs[i], logits[i], 0, part[i]);
        }
        sp_host_output_weight(&outputs[i], logits[i], run->d_head + outputs[i].vocab_begin * hidden);
        run->settings->math->kernels->add(rows * hidden, part[i], dx);
    }
    return sp_host_output_loss(rows, slice->targets, lse, targets);
}

static double output_tiled(struct sliced *run, const struct slice *slice, const float *x, float *dx)
{
    int64_t tile = run->model->vocab / 3 + 1, rows = slice->rows;
    struct sp_host_output output = output_of(run, slice, x, 0, rows, 0, run->model->vocab);
    float *tiles = new_floats(run, rows * tile), *part = new_floats(run, rows);
    float *lse = new_floats(run, rows), *target = new_floats(run, rows);
    sp_host_output_tiled_forward(&output, tile, tiles, part, lse, target);
    sp_host_output_tiled_backward(&output, tile, lse, run->scale, tiles, dx, run->d_head);
    return sp_host_output_loss(rows, slice->targets, lse, target);
}

/* Sum of the slice's losses; its gradient by the last layer's output goes to slice->d_x. */
static double output_layer(struct sliced *run, struct slice *slice)
{
    const struct sp_host_kernels *kernels = run->settings->math->kernels;
    int64_t hidden = run->model->hidden;
    float epsilon = (float)run->model->norm_epsilon, *normed = new_floats(run, slice->rows * hidden);
    float *d_normed = new_floats(run, slice->rows * hidden);
    double loss = 0;
    kernels->rmsnorm(slice->rows, hidden, slice->x, run->norm, epsilon, normed);
    switch (run->settings->vocabulary) {
    case SP_VOCABULARY_LAST:
        loss = output_by_rows(run, slice, normed, 1, d_normed);
        break;
    case SP_VOCABULARY_SCATTER:
        loss = output_by_rows(run, slice, normed, run->settings->vocabulary_parts, d_normed);
        break;
    case SP_VOCABULARY_SHARD1:
    case SP_VOCABULARY_SHARD2:
        loss = output_by_columns(run, slice, normed, d_normed);
        break;
    case SP_VOCABULARY_TILED:
        loss = output_tiled(run, slice, normed, d_normed);
        break;
    }
    kernels->rmsnorm_backward(slice->rows, hidden, slice->x, run->norm, epsilon, d_normed, NULL, slice->d_x,
                              run->d_norm);
    return loss;
}

static void make_unit(struct sliced *run, const struct slice *slice, struct unit *unit)
{
    const struct sp_model *model = run->model;
    enum sp_recompute recompute = run->settings->recompute;
    int64_t floats = slice->rows * run->key, unsaved = sp_host_unsaved_floats(model, slice->rows, recompute);
    float *saved = new_floats(run, sp_host_saved_floats(model, slice->rows, recompute));
    float *gradients = new_floats(run, sp_host_gradient_floats(model, slice->rows));
    unit->unsaved = new_floats(run, unsaved);
    sp_host_activations_bind(model, slice->rows, recompute, saved, unit->unsaved, &unit->a);
    sp_host_gradients_bind(model, slice->rows, gradients, &unit->g);
    unit->a.k = new_floats(run, floats);
    unit->a.v = new_floats(run, floats);
    unit->dk = new_floats(run, floats);
    unit->dv = new_floats(run, floats);
    poison(gradients, sp_host_gradient_floats(model, slice->rows));
}

/* Tokens [begin, begin + tokens) of each sequence. */
static int32_t *cut_tokens(struct sliced *run, const struct slice *slice, const int32_t *all)
{
    int32_t *part = allocate(run, slice->rows, sizeof *part);
    for (int64_t s = 0; s < run->sequences; s++)
        memcpy(part + s * slice->tokens, all + s * run->tokens + slice->begin,
               (size_t)slice->tokens * sizeof *part);
    return part;
}

static void make_slice(struct sliced *run, struct slice *slice, const int32_t *ids, const int32_t *targets)
{
    int64_t half = run->model->head_dim / 2;
    slice->rows = run->sequences * slice->tokens;
    slice->cosine = new_floats(run, slice->tokens * half);
    slice->sine = new_floats(run, slice->tokens * half);
    sp_host_rotary_table(slice->begin, slice->tokens, run->model->head_dim, run->model->rope_theta,
                         slice->cosine, slice->sine);
    slice->ids = cut_tokens(run, slice, ids);
    slice->targets = cut_tokens(run, slice, targets);
    slice->x = new_floats(run, slice->rows * run->model->hidden);
    slice->d_x = new_floats(run, slice->rows * run->model->hidden);
    slice->units = allocate(run, run->model->layers, sizeof *slice->units);
    for (int64_t layer = 0; layer < run->model->layers; layer++)
        make_unit(run, slice, &slice->units[layer]);
}

static void make_slices(struct sliced *run, const int32_t *ids, const int32_t *targets)
{
    int64_t begin = 0, counted = 0;
    run->slices = allocate(run, run->settings->slice_count, sizeof *run->slices);
    for (int64_t i = 0; i < run->settings->slice_count; i++) {
        run->slices[i].begin = begin;
        run->slices[i].tokens = run->settings->slice_tokens[i];
        begin += run->slices[i].tokens;
        make_slice(run, &run->slices[i], ids, targets);
    }
    assert(begin == run->tokens);
    for (int64_t i = 0; i < run->sequences * run->tokens; i++)
        counted += targets[i] >= 0;
    run->scale = 1 / (float)counted;
    run->scratch_floats = sp_host_scratch_floats(run->model, run->sequences * run->tokens);
    run->scratch = new_floats(run, run->scratch_floats);
}

static void place_parameters(struct sliced *run, const float *parameters, float *gradient)
{
    const struct sp_model *model = run->model;
    float *weights = (float *)parameters;
    int64_t table = model->vocab * model->hidden, layer = sp_host_weight_floats(model);
    int64_t norm = table + model->layers * layer, head = model->tied_embeddings ? 0 : norm + model->hidden;
    run->weights = allocate(run, model->layers, sizeof *run->weights);
    run->d_weights = allocate(run, model->layers, sizeof *run->d_weights);
    for (int64_t i = 0; i < model->layers; i++) {
        sp_host_weights_bind(model, weights + table + i * layer, &run->weights[i]);
        sp_host_weights_bind(model, gradient + table + i * layer, &run->d_weights[i]);
    }
    run->embedding = weights, run->norm = weights + norm, run->head = weights + head;
    run->d_embedding = gradient, run->d_norm = gradient + norm, run->d_head = gradient + head;
    memset(gradient, 0, (size_t)(norm + model->hidden + (head > 0 ? table : 0)) * sizeof *gradient);
}

static void slice_forward(struct sliced *run, struct slice *slice)
{
    int64_t layers = run->model->layers;
    embed(run, slice, slice->units[0].a.x);
    for (int64_t layer = 0; layer < layers; layer++)
        unit_forward(run, slice, layer, layer + 1 < layers ? slice->units[layer + 1].a.x : slice->x);
}

/* The gradient goes from d_x through each layer's g.output. */
static void slice_backward(struct sliced *run, struct slice *slice)
{
    size_t bytes = (size_t)(slice->rows * run->model->hidden) * sizeof(float);
    for (int64_t layer = run->model->layers - 1; layer >= 0; layer--) {
        memcpy(slice->units[layer].g.output, slice->d_x, bytes);
        unit_backward(run, slice, layer, slice->d_x);
    }
    embed_backward(run, slice, slice->d_x);
}

double sliced_loss(const struct sliced_settings *settings, const struct sp_model *model, int64_t sequences,
                   int64_t tokens, const int32_t *ids, const int32_t *targets, const float *parameters,
                   float *gradient)
{
    struct sliced run = {.settings = settings,
                         .model = model,
                         .arena = sp_arena_create(),
                         .sequences = sequences,
                         .tokens = tokens,
                         .key = model->kv_heads * model->head_dim};
    double loss = 0;
    place_parameters(&run, parameters, gradient);
    make_slices(&run, ids, targets);
    for (int64_t i = 0; i < settings->slice_count; i++)
        slice_forward(&run, &run.slices[i]);
    for (int64_t i = settings->slice_count - 1; i >= 0; i--) {
        loss += output_layer(&run, &run.slices[i]);
        slice_backward(&run, &run.slices[i]);
    }
    if (settings->weights_later)
        weights_later(&run);
    loss *= (double)run.scale;
    sp_arena_destroy(run.arena);
    return loss;
}
