/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention backward, tile by tile. With P the probabilities, which the merged log-sum-exp gives for any part
 * of the keys, and D = Σ dO·O per query (Dao et al., arXiv 2205.14135, algorithm 4):
 * dV += Pᵀ·dO, dS = P∘(dO·Vᵀ - D), dQ += dS·K, dK += dSᵀ·Q, the last two scaled like the scores.
 */
#include "tile.h"

/* Suffix _t: [head_dim][query]; the others [query][head_dim rounded up to whole vectors]. */
struct state {
    alignas(64) float q[TILE_QUERIES * MAX_DIM];
    alignas(64) float q_t[MAX_DIM * TILE_QUERIES]; /* scaled */
    alignas(64) float d_o[TILE_QUERIES * MAX_DIM];
    alignas(64) float d_o_t[MAX_DIM * TILE_QUERIES];
    alignas(64) float dq_t[MAX_DIM * TILE_QUERIES];
    alignas(64) float p[TILE_KEYS * TILE_QUERIES], ds[TILE_KEYS * TILE_QUERIES]; /* [key][query] */
    alignas(64) float lse[TILE_QUERIES];   /* to base 2; lanes without a query: inf, so that P is 0 */
    alignas(64) float along[TILE_QUERIES]; /* D */
    int64_t width;                         /* of q and d_o */
};

/* The tile's rows of a tensor like q, side by side. */
static void copy_rows(const struct tile *tile, int64_t width, const float *tensor, float factor, float *to)
{
    int64_t dim = tile->call->head_dim, pitch = tile->call->heads * dim;
    const float *from = tensor + tile_offset(tile);
    for (int64_t query = 0; query < tile->rows; query++) {
        for (int64_t i = 0; i < dim; i++)
            to[query * width + i] = factor * from[query * pitch + i];
        for (int64_t i = dim; i < width; i++)
            to[query * width + i] = 0;
    }
}

static void state_init(struct state *state, const struct tile *tile)
{
    const struct sp_host_attention *call = tile->call;
    int64_t dim = call->head_dim, pitch = call->heads * dim;
    const float *o = call->o + tile_offset(tile), *lse = call->lse + tile_lse_offset(tile);
    state->width = (dim + LANES - 1) / LANES * LANES;
    copy_rows(tile, state->width, call->q, 1 / sqrtf((float)dim), state->q);
    copy_rows(tile, state->width, call->d_o, 1, state->d_o);
    tile_transpose(tile, call->q, tile->scale, state->q_t);
    tile_transpose(tile, call->d_o, 1, state->d_o_t);
    memset(state->dq_t, 0, (size_t)(dim * TILE_QUERIES) * sizeof *state->dq_t);
    for (int64_t query = 0; query < TILE_QUERIES; query++) {
        float sum = 0;
        for (int64_t i = 0; query < tile->rows && i < dim; i++)
            sum += state->d_o[query * state->width + i] * o[query * pitch + i];
        state->along[query] = sum;
        state->lse[query] = query < tile->rows ? lse[query] * LOG2_E : INFINITY;
    }
}

/* p: scores become probabilities; ds: their gradients become those of the scores. */
static void softmax_backward(struct state *state, int64_t keys)
{
    for (int v = 0; v < TILE_QUERIES; v += LANES) {
        lanes lse = load(state->lse + v), along = load(state->along + v);
        for (int64_t at = v; at < keys * TILE_QUERIES; at += TILE_QUERIES) {
            lanes p = exp2_lanes(load(state->p + at) - lse);
            store(state->p + at, p);
            store(state->ds + at, p * (load(state->ds + at) - along));
        }
    }
}

static void block_backward(struct state *state, const struct tile *tile, const struct sp_host_keys *run,
                           int64_t first, int64_t keys)
{
    int64_t dim = tile->call->head_dim, pitch = tile->call->kv_heads * dim;
    int64_t offset = tile_run_offset(tile, run) + first * pitch;
    struct strided k = {run->k + offset, pitch, 1}, k_t = {run->k + offset, 1, pitch};
    struct strided v = {run->v + offset, pitch, 1};
    struct strided p = {state->p, TILE_QUERIES, 1}, ds = {state->ds, TILE_QUERIES, 1};
    tile_scores(tile, run->begin + first, keys, k, state->q_t, state->p);
    micro_multiply(keys, TILE_QUERIES, dim, v, state->d_o_t, TILE_QUERIES, state->ds, TILE_QUERIES, false);
    softmax_backward(state, keys);
    micro_multiply(keys, dim, tile->rows, p, state->d_o, state->width, run->dv + offset, pitch, true);
    micro_multiply(keys, dim, tile->rows, ds, state->q, state->width, run->dk + offset, pitch, true);
    micro_multiply(dim, TILE_QUERIES, keys, k_t, state->ds, TILE_QUERIES, state->dq_t, TILE_QUERIES, true);
}

static void state_write(const struct state *state, const struct tile *tile)
{
    int64_t dim = tile->call->head_dim, pitch = tile->call->heads * dim;
    float *dq = tile->call->dq + tile_offset(tile), factor = 1 / sqrtf((float)dim);
    for (int64_t query = 0; query < tile->rows; query++)
        for (int64_t i = 0; i < dim; i++)
            dq[query * pitch + i] = state->dq_t[i * TILE_QUERIES + query] * factor;
}

static void tile_backward(const struct tile *tile)
{
    struct state state;
    state_init(&state, tile);
    for (int64_t r = 0; r < tile->call->run_count; r++) {
        const struct sp_host_keys *run = &tile->call->runs[r];
        int64_t visible = tile_visible(tile, run);
        for (int64_t first = 0; first < visible; first += TILE_KEYS)
            block_backward(&state, tile, run, first, smaller(TILE_KEYS, visible - first));
    }
    state_write(&state, tile);
}

void LEVEL(attention_backward)(const struct sp_host_attention *call)
{
    for (int64_t sequence = 0; sequence < call->sequences; sequence++)
        for (int64_t head = 0; head < call->heads; head++)
            for (int64_t first = 0; first < call->query_count; first += TILE_QUERIES) {
                struct tile tile = tile_make(call, sequence, head, first);
                tile_backward(&tile);
            }
}
