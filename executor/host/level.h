/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels that are compiled once per instruction set. meson defines SP_HOST_LEVEL as the set's name
 * (generic, avx2, avx512); LEVEL(gemm) is that level's function. The functions are those of
 * struct sp_host_kernels, where their contracts are.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_LEVEL_H
#define SLIMPIPE_EXECUTOR_HOST_LEVEL_H

#include "kernels.h"

#ifndef SP_HOST_LEVEL
#define SP_HOST_LEVEL generic
#endif
#define LEVEL_NAME_(level, name) sp_host_##level##_##name
#define LEVEL_NAME(level, name)  LEVEL_NAME_(level, name)
#define LEVEL(name)              LEVEL_NAME(SP_HOST_LEVEL, name)

sp_host_gemm LEVEL(gemm);
void LEVEL(rmsnorm)(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon,
                    float *y);
void LEVEL(rmsnorm_backward)(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon,
                             const float *dy, const float *residual, float *dx, float *dweight);
void LEVEL(rotary)(int64_t tokens, int64_t heads, int64_t head_dim, const float *cosine, const float *sine,
                   int direction, float *x);
void LEVEL(swiglu)(int64_t count, const float *gate, const float *up, float *act);
void LEVEL(swiglu_backward)(int64_t count, const float *gate, const float *up, const float *dact,
                            float *dgate, float *dup);
void LEVEL(row_lse)(int64_t rows, int64_t columns, const float *x, float *lse);
void LEVEL(row_softmax)(int64_t rows, int64_t columns, const float *lse, float scale, float *x);
void LEVEL(attention)(const struct sp_host_attention *call);
void LEVEL(attention_backward)(const struct sp_host_attention *call);
void LEVEL(attention_merge)(int64_t sequences, int64_t tokens, int64_t heads, int64_t head_dim,
                            const float *part, const float *part_lse, float *o, float *lse);
void LEVEL(add)(int64_t count, const float *x, float *y);
void LEVEL(column_sum)(int64_t rows, int64_t columns, const float *x, float *sum);
void LEVEL(adamw)(const struct sp_host_adamw *settings, int64_t count, const float *gradient, float *weight,
                  float *first, float *second);
void LEVEL(sgd)(float rate, int64_t count, const float *gradient, float *weight);

extern const struct sp_host_kernels LEVEL(kernels);

#endif
