/* SPDX-License-Identifier: Apache-2.0 */
#include "moe.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

static bool is_chosen(int64_t count, const int32_t *expert, int64_t candidate)
{
    for (int64_t i = 0; i < count; i++)
        if (expert[i] == candidate)
            return true;
    return false;
}

/* The largest logit that is not chosen yet. A NaN is never larger; its row's first expert takes its place. */
static int32_t choose_next(int64_t experts, const float *logits, int64_t count, const int32_t *expert)
{
    int32_t best = -1;
    for (int32_t i = 0; i < experts; i++)
        if (!is_chosen(count, expert, i) && (best < 0 || logits[i] > logits[best]))
            best = i;
    return best;
}

void sp_host_route(int64_t rows, int64_t experts, int64_t top_k, const float *logits, int32_t *ret_expert,
                   float *ret_weight)
{
    assert(top_k <= experts);
    for (int64_t r = 0; r < rows; r++, logits += experts, ret_expert += top_k, ret_weight += top_k) {
        float sum = 0;
        for (int64_t i = 0; i < top_k; i++) {
            ret_expert[i] = choose_next(experts, logits, i, ret_expert);
            ret_weight[i] = expf(logits[ret_expert[i]] - logits[ret_expert[0]]);
            sum += ret_weight[i];
        }
        for (int64_t i = 0; i < top_k; i++)
            ret_weight[i] /= sum;
    }
}

void sp_host_route_backward(int64_t rows, int64_t experts, int64_t top_k, const int32_t *expert,
                            const float *weight, const float *dweight, float *dlogits)
{
    memset(dlogits, 0, (size_t)(rows * experts) * sizeof *dlogits);
    for (int64_t r = 0; r < rows; r++, dlogits += experts) {
        float mean = 0;
        for (int64_t i = r * top_k; i < (r + 1) * top_k; i++)
            mean += weight[i] * dweight[i];
        for (int64_t i = r * top_k; i < (r + 1) * top_k; i++)
            dlogits[expert[i]] = weight[i] * (dweight[i] - mean);
    }
}

void sp_host_route_order(int64_t pairs, int64_t experts, const int32_t *expert,
                         int32_t begin[SP_HOST_MAX_EXPERTS + 1], int32_t *ret_slot)
{
    int32_t next[SP_HOST_MAX_EXPERTS];
    memset(begin, 0, (size_t)(experts + 1) * sizeof *begin);
    for (int64_t i = 0; i < pairs; i++)
        begin[expert[i] + 1]++;
    for (int64_t e = 0; e < experts; e++)
        begin[e + 1] += begin[e];
    memcpy(next, begin, (size_t)experts * sizeof *next);
    for (int64_t i = 0; i < pairs; i++)
        ret_slot[i] = next[expert[i]]++;
}

void sp_host_gather(int64_t pairs, int64_t top_k, int64_t width, const int32_t *slot, const float *weight,
                    const float *x, float *y)
{
    for (int64_t i = 0; i < pairs; i++) {
        const float *from = x + i / top_k * width;
        float *to = y + slot[i] * width, factor = weight ? weight[i] : 1;
        for (int64_t j = 0; j < width; j++)
            to[j] = factor * from[j];
    }
}

void sp_host_scatter(int64_t pairs, int64_t top_k, int64_t width, const int32_t *slot, const float *weight,
                     const float *x, float *y)
{
    for (int64_t i = 0; i < pairs; i++) {
        const float *from = x + slot[i] * width;
        float *to = y + i / top_k * width, factor = weight ? weight[i] : 1;
        for (int64_t j = 0; j < width; j++)
            to[j] += factor * from[j];
    }
}
