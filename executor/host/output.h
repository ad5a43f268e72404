/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of the model: input embedding, and output layer with the cross-entropy.
 *
 * The output layer works on any rows (tokens of a slice, or a device's share of them) and on any range of the
 * vocabulary; with the whole range log-sum-exp and gradient are final, with a part they are combined:
 *
 * last, scatter   logits → row_lse → loss → gradient
 * shard1          logits → row_lse | all devices' lse → combine → loss | gradient | sum of dx
 * shard2          logits → row_lse, softmax · W | all devices' lse and that product → combine, loss, dx
 *                 (sp_host_output_join) | gradient of the weights
 * tiled           sp_host_output_tiled_*: tile by tile over the vocabulary
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_OUTPUT_H
#define SLIMPIPE_EXECUTOR_HOST_OUTPUT_H

#include "blas.h"

/* A token without a target: it counts neither in the loss nor in the gradient. */
#define SP_HOST_NO_TARGET -1

/*
 * x[row] = table[id of row - vocab_begin], 0 where the id is outside [vocab_begin, vocab_begin + count): the
 * parts of several devices add up. Ids outside the vocabulary are the caller's bug.
 */
void sp_host_embed(int64_t rows, int64_t hidden, const int32_t *ids, int64_t vocab_begin, int64_t count,
                   const float *table, float *x);
/* dtable[id - vocab_begin] += dx, rows in order. */
void sp_host_embed_backward(int64_t rows, int64_t hidden, const int32_t *ids, int64_t vocab_begin,
                            int64_t count, const float *dx, float *dtable);

struct sp_host_output {
    const struct sp_host_math *math;
    int64_t rows, hidden;
    int64_t vocab_begin, vocab_count; /* the range of this call */
    const float *x;                   /* [rows][hidden], behind the final norm */
    const float *weight;              /* [vocab_count][hidden] */
    const int32_t *targets;           /* [rows], in the whole vocabulary, or SP_HOST_NO_TARGET */
};

/* logits: [rows][vocab_count]. ret_target[row]: logit of its target, 0 where that is outside the range. */
void sp_host_output_logits(const struct sp_host_output *output, float *logits, float *ret_target);
/* lse over the range. */
void sp_host_output_lse(const struct sp_host_output *output, const float *logits, float *ret_lse);
/* lse of all ranges from those of each: parts[part][row]. */
void sp_host_output_combine(int64_t rows, int64_t part_count, const float *parts, float *ret_lse);
/* Σ (lse - target logit) over rows with a target, in double and in order; NaN where a logit was. */
double sp_host_output_loss(int64_t rows, const int32_t *targets, const float *lse, const float *target);

/*
 * Logits become their gradients, scale · (softmax - one-hot), in place: lse over the whole vocabulary, scale
 * the loss gradient per token.
 */
void sp_host_output_gradient(const struct sp_host_output *output, const float *lse, float scale,
                             float *logits);
/* dx = dlogits · W + beta · dx */
void sp_host_output_input(const struct sp_host_output *output, const float *dlogits, float beta, float *dx);
/* dweight += dlogitsᵀ · x */
void sp_host_output_weight(const struct sp_host_output *output, const float *dlogits, float *dweight);

/*
 * shard2: the product before the exchange, with the range's own lse; logits become its softmax.
 * product: [rows][hidden].
 */
void sp_host_output_product(const struct sp_host_output *output, const float *lse, float *logits,
                            float *ret_product);
/*
 * After it: the range's part of dx = scale · (e^(own lse - lse) · product - row of the target where that is
 * in the range), and the range's logits (softmax by own lse) become gradients. dx may be product.
 */
void sp_host_output_join(const struct sp_host_output *output, const float *own_lse, const float *lse,
                         float scale, const float *product, float *logits, float *dx);

/*
 * Never more than `tile` columns of logits: tiles[rows][tile]. part_lse: [rows], scratch. The backward
 * computes the logits again.
 */
void sp_host_output_tiled_forward(const struct sp_host_output *output, int64_t tile, float *tiles,
                                  float *part_lse, float *ret_lse, float *ret_target);
void sp_host_output_tiled_backward(const struct sp_host_output *output, int64_t tile, const float *lse,
                                   float scale, float *tiles, float *dx, float *dweight);

#endif
