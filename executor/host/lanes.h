/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vector of floats as wide as the instruction set that the file is compiled for, and the few operations on
 * it that the kernels share. Only files that are compiled once per level include this.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_LANES_H
#define SLIMPIPE_EXECUTOR_HOST_LANES_H

#include <stdint.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t lanes_int __attribute__((vector_size(4 * LANES), may_alias));
typedef float lanes_unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE lanes load(const float *from)
{
    return *(const lanes_unaligned *)from;
}

INLINE void store(float *to, lanes value)
{
    *(lanes_unaligned *)to = value;
}

INLINE lanes spread(float value)
{
    return value - (lanes){0};
}

/* yes where mask is all ones, no where it is zero. */
INLINE lanes choose(lanes_int mask, lanes yes, lanes no)
{
    return (lanes)((mask & (lanes_int)yes) | (~mask & (lanes_int)no));
}

/* A NaN in b stays: it must reach the loss, where it is reported. */
INLINE lanes larger(lanes a, lanes b)
{
    return choose(a > b, a, b);
}

/*
 * 2^x within 2e-7 of it; exactly 0 for x ≤ -126; x is cut at 127. A NaN stays one.
 * x = n + f with n whole and f in [-1/2, 1/2]; 2^f by its Taylor series, whose remainder after f^7 is below
 * 1e-8; n goes into the exponent.
 */
INLINE lanes exp2_lanes(lanes x)
{
    const float whole = 12582912.0f; /* 1.5 · 2^23: adding it leaves n in the low bits */
    lanes_int tiny = x <= -126.0f;
    x = choose(tiny, spread(-126.0f), x);
    x = choose(x > 127.0f, spread(127.0f), x);
    lanes shifted = x + whole;
    lanes f = x - (shifted - whole);
    lanes sum = 1.5252734e-5f * f + 1.5403530e-4f;
    sum = sum * f + 1.3333558e-3f;
    sum = sum * f + 9.6181291e-3f;
    sum = sum * f + 5.5504109e-2f;
    sum = sum * f + 2.4022651e-1f;
    sum = sum * f + 6.9314718e-1f;
    sum = sum * f + 1.0f;
    lanes_int power = (lanes_int)sum + ((lanes_int)shifted << 23);
    return (lanes)(power & ~tiny);
}

#define LOG2_E 1.44269504088896340736f
#define LN_2   0.69314718055994530942f

INLINE float lanes_sum(lanes value)
{
    float sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += value[i];
    return sum;
}

#endif
