/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of the host's kernels: how far two tensors are apart. */
#ifndef TESTS_HOST_SUPPORT_H
#define TESTS_HOST_SUPPORT_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>

#include "../executor/host/kernels.h"
#include "host_random.h"

/* |x - y| / |y|, of y's norm; NaN where any element is. */
static inline double distance(const float *x, const float *y, int64_t count)
{
    double apart = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        apart += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)y[i] * (double)y[i];
    }
    return apart == 0 ? 0 : sqrt(apart / size);
}

/*
 * Float32 rounds to 6e-8; sums of hundreds of products of random signs stay within some 30 of that. Stated
 * once for all kernels.
 */
#define KERNEL_TOLERANCE 2e-6

#define assert_close(x, y, count, ...)                                                                       \
    do {                                                                                                     \
        double apart_ = distance(x, y, count);                                                               \
        cr_assert(apart_ <= KERNEL_TOLERANCE, "apart by %g: " #x " %s", apart_, __VA_ARGS__);                \
    } while (0)

#endif
