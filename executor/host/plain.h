/* SPDX-License-Identifier: Apache-2.0 */
/* The obvious attention, see struct sp_host_kernels for the contracts. */
#ifndef SLIMPIPE_EXECUTOR_HOST_PLAIN_H
#define SLIMPIPE_EXECUTOR_HOST_PLAIN_H

#include "kernels.h"

extern const struct sp_host_kernels sp_host_plain_kernels;

void sp_host_plain_attention(const struct sp_host_attention *call);
void sp_host_plain_attention_backward(const struct sp_host_attention *call);
void sp_host_plain_attention_merge(int64_t sequences, int64_t tokens, int64_t heads, int64_t head_dim,
                                   const float *part, const float *part_lse, float *o, float *lse);

#endif
