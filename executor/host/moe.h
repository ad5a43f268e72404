/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing of tokens to experts. A pair is a token and one of its experts: pair i belongs to token i / top_k.
 * A slot is a pair's place when pairs are sorted by expert, in which form experts read and write rows.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_MOE_H
#define SLIMPIPE_EXECUTOR_HOST_MOE_H

#include <stdint.h>

enum { SP_HOST_MAX_EXPERTS = 1024 };

/*
 * The top_k largest logits of each row choose the experts, of equal ones the first; weights are the softmax
 * over the chosen, which is Mixtral's softmax over all, cut and scaled to sum 1. expert, weight:
 * [rows][top_k], falling by logit.
 */
void sp_host_route(int64_t rows, int64_t experts, int64_t top_k, const float *logits, int32_t *ret_expert,
                   float *ret_weight);
/* dlogits: [rows][experts], 0 where not chosen. */
void sp_host_route_backward(int64_t rows, int64_t experts, int64_t top_k, const int32_t *expert,
                            const float *weight, const float *dweight, float *dlogits);

/* Expert e has slots [begin[e], begin[e + 1]); pairs of one expert keep their order. slot: of each pair. */
void sp_host_route_order(int64_t pairs, int64_t experts, const int32_t *expert,
                         int32_t begin[SP_HOST_MAX_EXPERTS + 1], int32_t *ret_slot);

/* y[slot of pair] = weight[pair] · x[token of pair]; weight NULL: 1. */
void sp_host_gather(int64_t pairs, int64_t top_k, int64_t width, const int32_t *slot, const float *weight,
                    const float *x, float *y);
/* y[token] += Σ weight[pair] · x[slot of pair] over its pairs in order; weight NULL: 1. */
void sp_host_scatter(int64_t pairs, int64_t top_k, int64_t width, const int32_t *slot, const float *weight,
                     const float *x, float *y);

#endif
