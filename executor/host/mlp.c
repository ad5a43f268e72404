/* SPDX-License-Identifier: Apache-2.0 */
/* The gated activation, and the element-wise sums around it. */
#include "lanes.h"
#include "level.h"

INLINE lanes sigmoid(lanes x)
{
    return 1.0f / (1.0f + exp2_lanes(-LOG2_E * x));
}

void LEVEL(swiglu)(int64_t count, const float *gate, const float *up, float *act)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes g = load(gate + i);
        store(act + i, g * sigmoid(g) * load(up + i));
    }
    for (; i < count; i++)
        act[i] = gate[i] * sigmoid(spread(gate[i]))[0] * up[i];
}

/* silu' = s + g·s·(1 - s), s = sigmoid(g). */
INLINE void backward(lanes g, lanes u, lanes da, lanes *ret_dgate, lanes *ret_dup)
{
    lanes s = sigmoid(g);
    *ret_dgate = da * u * s * (1.0f + g * (1.0f - s));
    *ret_dup = da * g * s;
}

void LEVEL(swiglu_backward)(int64_t count, const float *gate, const float *up, const float *dact,
                            float *dgate, float *dup)
{
    lanes dg, du;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        backward(load(gate + i), load(up + i), load(dact + i), &dg, &du);
        store(dgate + i, dg);
        store(dup + i, du);
    }
    for (; i < count; i++) {
        backward(spread(gate[i]), spread(up[i]), spread(dact[i]), &dg, &du);
        dgate[i] = dg[0];
        dup[i] = du[0];
    }
}

void LEVEL(add)(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

void LEVEL(column_sum)(int64_t rows, int64_t columns, const float *x, float *sum)
{
    for (int64_t r = 0; r < rows; r++, x += columns)
        for (int64_t i = 0; i < columns; i++)
            sum[i] += x[i];
}
