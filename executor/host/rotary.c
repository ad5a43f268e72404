/* SPDX-License-Identifier: Apache-2.0 */
#include "level.h"

static void rotate(int64_t half, const float *restrict cosine, const float *restrict sine, float direction,
                   float *restrict first, float *restrict second)
{
    for (int64_t i = 0; i < half; i++) {
        float x = first[i], y = second[i], turn = direction * sine[i];
        first[i] = x * cosine[i] - y * turn;
        second[i] = y * cosine[i] + x * turn;
    }
}

void LEVEL(rotary)(int64_t tokens, int64_t heads, int64_t head_dim, const float *cosine, const float *sine,
                   int direction, float *x)
{
    int64_t half = head_dim / 2;
    for (int64_t t = 0; t < tokens; t++, cosine += half, sine += half)
        for (int64_t i = 0; i < heads; i++, x += head_dim)
            rotate(half, cosine, sine, (float)direction, x, x + half);
}
