/* SPDX-License-Identifier: Apache-2.0 */
#include "linear.h"

void sp_host_linear(const struct sp_host_math *math, int64_t rows, struct sp_host_linear map, const float *x,
                    float beta, float *y)
{
    struct sp_host_matrix left = {x, map.inputs, false}, right = {map.weight, map.inputs, true};
    math->gemm(rows, map.outputs, map.inputs, 1, left, right, beta, y, map.outputs);
}

void sp_host_linear_backward(const struct sp_host_math *math, int64_t rows, struct sp_host_linear map,
                             const float *dy, float beta, float *dx)
{
    struct sp_host_matrix left = {dy, map.outputs, false}, right = {map.weight, map.inputs, false};
    math->gemm(rows, map.inputs, map.outputs, 1, left, right, beta, dx, map.inputs);
}

void sp_host_linear_weight(const struct sp_host_math *math, int64_t rows, struct sp_host_linear map,
                           const float *x, const float *dy, float *dweight)
{
    struct sp_host_matrix left = {dy, map.outputs, true}, right = {x, map.inputs, false};
    math->gemm(map.outputs, map.inputs, rows, 1, left, right, 1, dweight, map.inputs);
}
