/* SPDX-License-Identifier: Apache-2.0 */
/* Random tensors for the tests of the host's kernels. */
#ifndef TESTS_HOST_RANDOM_H
#define TESTS_HOST_RANDOM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

/* Uniform in [-1, 1). */
static inline float random_float(struct random *random)
{
    return (float)((double)random_below(random, 1 << 24) / (1 << 23) - 1);
}

/* The caller frees these. */
static inline float *new_floats(int64_t count)
{
    float *x = calloc((size_t)(count > 0 ? count : 1), sizeof *x);
    if (!x)
        abort();
    return x;
}

static inline double *new_doubles(int64_t count)
{
    double *x = calloc((size_t)(count > 0 ? count : 1), sizeof *x);
    if (!x)
        abort();
    return x;
}

static inline float *random_floats(struct random *random, int64_t count)
{
    float *x = new_floats(count);
    for (int64_t i = 0; i < count; i++)
        x[i] = random_float(random);
    return x;
}

static inline float *copy_floats(const float *x, int64_t count)
{
    float *copy = new_floats(count);
    memcpy(copy, x, (size_t)count * sizeof *copy);
    return copy;
}

#endif
