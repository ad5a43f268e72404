/* SPDX-License-Identifier: Apache-2.0 */
/* Linear maps: y = x · Wᵀ with W[outputs][inputs]. */
#ifndef SLIMPIPE_EXECUTOR_HOST_LINEAR_H
#define SLIMPIPE_EXECUTOR_HOST_LINEAR_H

#include "blas.h"

struct sp_host_linear {
    int64_t inputs, outputs;
    const float *weight;
};

/* y = x · Wᵀ + beta · y */
void sp_host_linear(const struct sp_host_math *math, int64_t rows, struct sp_host_linear map, const float *x,
                    float beta, float *y);
/* dx = dy · W + beta · dx */
void sp_host_linear_backward(const struct sp_host_math *math, int64_t rows, struct sp_host_linear map,
                             const float *dy, float beta, float *dx);
/* dweight += dyᵀ · x; map.weight is not used. */
void sp_host_linear_weight(const struct sp_host_math *math, int64_t rows, struct sp_host_linear map,
                           const float *x, const float *dy, float *dweight);

#endif
