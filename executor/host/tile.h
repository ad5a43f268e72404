/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tiled attention forward and backward share. A tile is TILE_QUERIES queries of one head by up to
 * TILE_KEYS keys. Scores lie transposed, a row per key and a lane per query: then the softmax of a query runs
 * down its lane without sums across lanes, and keys and values are used as they lie in the cache. Only files
 * that are compiled once per level include this.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_TILE_H
#define SLIMPIPE_EXECUTOR_HOST_TILE_H

#include <assert.h>
#include <math.h>
#include <stdalign.h>

#include "level.h"
#include "micro.h"

enum {
    TILE_QUERIES = 64,
    TILE_KEYS = 64,
    TILE_VECTORS = TILE_QUERIES / LANES,
    MAX_DIM = SP_HOST_MAX_HEAD_DIM,
};

/* One head of up to TILE_QUERIES queries. */
struct tile {
    const struct sp_host_attention *call;
    int64_t sequence, head;
    int64_t first, rows; /* queries first … first + rows of the slice */
    float scale;         /* of scores, which are logarithms to base 2 */
};

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline struct tile tile_make(const struct sp_host_attention *call, int64_t sequence, int64_t head,
                                    int64_t first)
{
    assert(call->head_dim <= MAX_DIM && call->heads % call->kv_heads == 0);
    return (struct tile){call,
                         sequence,
                         head,
                         first,
                         smaller(TILE_QUERIES, call->query_count - first),
                         LOG2_E / sqrtf((float)call->head_dim)};
}

/* Where the tile begins in a tensor like q, and in lse. */
static inline int64_t tile_offset(const struct tile *tile)
{
    const struct sp_host_attention *call = tile->call;
    return ((tile->sequence * call->query_count + tile->first) * call->heads + tile->head) * call->head_dim;
}

static inline int64_t tile_lse_offset(const struct tile *tile)
{
    const struct sp_host_attention *call = tile->call;
    return (tile->sequence * call->heads + tile->head) * call->query_count + tile->first;
}

/* Where the tile's keys begin in a run. */
static inline int64_t tile_run_offset(const struct tile *tile, const struct sp_host_keys *run)
{
    const struct sp_host_attention *call = tile->call;
    int64_t head = tile->head / (call->heads / call->kv_heads);
    return (tile->sequence * run->pitch * call->kv_heads + head) * call->head_dim;
}

/* How many keys of a run any of the tile's queries sees. */
static inline int64_t tile_visible(const struct tile *tile, const struct sp_host_keys *run)
{
    int64_t last = tile->call->query_begin + tile->first + tile->rows - 1;
    int64_t visible = last + 1 - run->begin;
    return visible < 0 ? 0 : smaller(visible, run->count);
}

/* The tile's rows of a tensor like q, transposed: to[i][query], lanes without a query 0. */
static inline void tile_transpose(const struct tile *tile, const float *tensor, float factor, float *to)
{
    int64_t dim = tile->call->head_dim, pitch = tile->call->heads * dim;
    const float *from = tensor + tile_offset(tile);
    memset(to, 0, (size_t)(dim * TILE_QUERIES) * sizeof *to);
    for (int64_t i = 0; i < dim; i++)
        for (int64_t query = 0; query < tile->rows; query++)
            to[i * TILE_QUERIES + query] = factor * from[query * pitch + i];
}

/*
 * Scores of keys that come after the query become -inf. key: token of the first row.
 */
static inline void tile_mask(const struct tile *tile, int64_t key, int64_t keys, float *scores)
{
    int64_t query = tile->call->query_begin + tile->first;
    for (int64_t j = 0; j < keys; j++)
        for (int64_t i = 0; i < smaller(TILE_QUERIES, key + j - query); i++)
            scores[j * TILE_QUERIES + i] = -INFINITY;
}

/* Scores of `keys` keys: scores[key][query] = k[key] · q[query] · scale, masked. q: transposed and scaled. */
static inline void tile_scores(const struct tile *tile, int64_t key, int64_t keys, struct strided k,
                               const float *q, float *scores)
{
    micro_multiply(keys, TILE_QUERIES, tile->call->head_dim, k, q, TILE_QUERIES, scores, TILE_QUERIES, false);
    if (key + keys - 1 > tile->call->query_begin + tile->first)
        tile_mask(tile, key, keys, scores);
}

#endif
