/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax along long rows: the logits over the vocabulary, and a router's over the experts. */
#include <math.h>

#include "lanes.h"
#include "level.h"

static float row_maximum(int64_t columns, const float *x)
{
    float maximum = x[0];
    int64_t i = 0;
    lanes most = spread(x[0]);
    for (; i + LANES <= columns; i += LANES)
        most = larger(most, load(x + i));
    for (int j = 0; j < LANES; j++)
        maximum = most[j] < maximum ? maximum : most[j];
    for (; i < columns; i++)
        maximum = x[i] < maximum ? maximum : x[i];
    return maximum;
}

void LEVEL(row_lse)(int64_t rows, int64_t columns, const float *x, float *lse)
{
    for (int64_t r = 0; r < rows; r++, x += columns) {
        float maximum = row_maximum(columns, x);
        lanes sums = {0};
        int64_t i = 0;
        for (; i + LANES <= columns; i += LANES)
            sums += exp2_lanes((load(x + i) - maximum) * LOG2_E);
        float sum = lanes_sum(sums);
        for (; i < columns; i++)
            sum += exp2_lanes(spread((x[i] - maximum) * LOG2_E))[0];
        lse[r] = maximum + logf(sum);
    }
}

void LEVEL(row_softmax)(int64_t rows, int64_t columns, const float *lse, float scale, float *x)
{
    for (int64_t r = 0; r < rows; r++, x += columns) {
        int64_t i = 0;
        for (; i + LANES <= columns; i += LANES)
            store(x + i, scale * exp2_lanes((load(x + i) - lse[r]) * LOG2_E));
        for (; i < columns; i++)
            x[i] = scale * exp2_lanes(spread((x[i] - lse[r]) * LOG2_E))[0];
    }
}
