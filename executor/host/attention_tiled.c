/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention forward, tile by tile with an online softmax (Milakov and Gimelshein, arXiv 1805.02867; Dao et
 * al., arXiv 2205.14135).
 */
#include "tile.h"

/* Below every score, yet finite, so that differences of maxima stay numbers while no key was seen. */
#define NO_MAXIMUM -1e30f

/* The state of a tile: o[i][query] unnormalised, and per query the maximum score and sum of exponentials. */
struct state {
    alignas(64) float q[MAX_DIM * TILE_QUERIES];
    alignas(64) float o[MAX_DIM * TILE_QUERIES];
    alignas(64) float scores[TILE_KEYS * TILE_QUERIES];
    lanes maximum[TILE_VECTORS], sum[TILE_VECTORS];
};

static void state_init(struct state *state, const struct tile *tile)
{
    tile_transpose(tile, tile->call->q, tile->scale, state->q);
    memset(state->o, 0, (size_t)(tile->call->head_dim * TILE_QUERIES) * sizeof *state->o);
    for (int i = 0; i < TILE_VECTORS; i++) {
        state->maximum[i] = spread(NO_MAXIMUM);
        state->sum[i] = (lanes){0};
    }
}

/* Scores become exponentials; returns by how much what was summed so far shrinks. */
static lanes exponentials(struct state *state, int vector, int64_t keys)
{
    float *scores = state->scores + vector * LANES;
    lanes before = state->maximum[vector], maximum = before, sum = {0};
    for (int64_t j = 0; j < keys; j++)
        maximum = larger(maximum, load(scores + j * TILE_QUERIES));
    for (int64_t j = 0; j < keys; j++) {
        lanes value = exp2_lanes(load(scores + j * TILE_QUERIES) - maximum);
        store(scores + j * TILE_QUERIES, value);
        sum += value;
    }
    lanes shrink = exp2_lanes(before - maximum);
    state->maximum[vector] = maximum;
    state->sum[vector] = state->sum[vector] * shrink + sum;
    return shrink;
}

static void block_forward(struct state *state, const struct tile *tile, const struct sp_host_keys *run,
                          int64_t first, int64_t keys)
{
    int64_t dim = tile->call->head_dim, pitch = tile->call->kv_heads * dim;
    int64_t offset = tile_run_offset(tile, run) + first * pitch;
    tile_scores(tile, run->begin + first, keys, (struct strided){run->k + offset, pitch, 1}, state->q,
                state->scores);
    for (int v = 0; v < TILE_VECTORS; v++) {
        lanes shrink = exponentials(state, v, keys);
        for (int64_t i = 0; i < dim; i++) {
            float *o = state->o + i * TILE_QUERIES + v * LANES;
            store(o, load(o) * shrink);
        }
    }
    micro_multiply(dim, TILE_QUERIES, keys, (struct strided){run->v + offset, 1, pitch}, state->scores,
                   TILE_QUERIES, state->o, TILE_QUERIES, true);
}

static void state_write(const struct state *state, const struct tile *tile)
{
    int64_t dim = tile->call->head_dim, pitch = tile->call->heads * dim;
    float *o = tile->call->o + tile_offset(tile), *lse = tile->call->lse + tile_lse_offset(tile);
    for (int64_t query = 0; query < tile->rows; query++) {
        float maximum = state->maximum[query / LANES][query % LANES];
        float sum = state->sum[query / LANES][query % LANES];
        float inverse = sum == 0 ? 0 : 1 / sum;
        lse[query] = sum == 0 ? -INFINITY : maximum * LN_2 + logf(sum);
        for (int64_t i = 0; i < dim; i++)
            o[query * pitch + i] = state->o[i * TILE_QUERIES + query] * inverse;
    }
}

static void tile_forward(const struct tile *tile)
{
    struct state state;
    state_init(&state, tile);
    for (int64_t r = 0; r < tile->call->run_count; r++) {
        const struct sp_host_keys *run = &tile->call->runs[r];
        int64_t visible = tile_visible(tile, run);
        for (int64_t first = 0; first < visible; first += TILE_KEYS)
            block_forward(&state, tile, run, first, smaller(TILE_KEYS, visible - first));
    }
    state_write(&state, tile);
}

void LEVEL(attention)(const struct sp_host_attention *call)
{
    for (int64_t sequence = 0; sequence < call->sequences; sequence++)
        for (int64_t head = 0; head < call->heads; head++)
            for (int64_t first = 0; first < call->query_count; first += TILE_QUERIES) {
                struct tile tile = tile_make(call, sequence, head, first);
                tile_forward(&tile);
            }
}

/* With lse' = log(e^lse + e^part_lse): o = o·e^(lse - lse') + part·e^(part_lse - lse'). */
void LEVEL(attention_merge)(int64_t sequences, int64_t tokens, int64_t heads, int64_t head_dim,
                            const float *part, const float *part_lse, float *o, float *lse)
{
    for (int64_t row = 0; row < sequences * tokens; row++)
        for (int64_t head = 0; head < heads; head++, o += head_dim, part += head_dim) {
            int64_t at = (row / tokens * heads + head) * tokens + row % tokens;
            float most = lse[at] > part_lse[at] ? lse[at] : part_lse[at];
            if (most == -INFINITY)
                continue;
            float keep = expf(lse[at] - most), take = expf(part_lse[at] - most), sum = keep + take;
            lse[at] = most + logf(sum);
            for (int64_t i = 0; i < head_dim; i++)
                o[i] = (o[i] * keep + part[i] * take) / sum;
        }
}
