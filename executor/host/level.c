/* SPDX-License-Identifier: Apache-2.0 */
#include "level.h"

#define TEXT_(name) #name
#define TEXT(name)  TEXT_(name)

/* What the compiler may have used anywhere in this level's files. */
static bool probe(void)
{
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

const struct sp_host_kernels LEVEL(kernels) = {
    .name = TEXT(SP_HOST_LEVEL),
    .description = "tiled kernels for " TEXT(SP_HOST_LEVEL),
    .probe = probe,
    .gemm = LEVEL(gemm),
    .rmsnorm = LEVEL(rmsnorm),
    .rmsnorm_backward = LEVEL(rmsnorm_backward),
    .rotary = LEVEL(rotary),
    .swiglu = LEVEL(swiglu),
    .swiglu_backward = LEVEL(swiglu_backward),
    .row_lse = LEVEL(row_lse),
    .row_softmax = LEVEL(row_softmax),
    .attention = LEVEL(attention),
    .attention_backward = LEVEL(attention_backward),
    .attention_merge = LEVEL(attention_merge),
    .add = LEVEL(add),
    .column_sum = LEVEL(column_sum),
    .adamw = LEVEL(adamw),
    .sgd = LEVEL(sgd),
};
