/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "level.h"

/* Sums run over this many partial sums, which the compiler keeps in vectors. */
enum { PARTIAL = 32 };

static float total(const float *partial)
{
    double sum = 0;
    for (int i = 0; i < PARTIAL; i++)
        sum += (double)partial[i];
    return (float)sum;
}

static float dot(int64_t count, const float *x, const float *y)
{
    float partial[PARTIAL] = {0};
    int64_t i = 0;
    for (; i + PARTIAL <= count; i += PARTIAL)
        for (int j = 0; j < PARTIAL; j++)
            partial[j] += x[i + j] * y[i + j];
    for (; i < count; i++)
        partial[0] += x[i] * y[i];
    return total(partial);
}

static float dot3(int64_t count, const float *x, const float *y, const float *z)
{
    float partial[PARTIAL] = {0};
    int64_t i = 0;
    for (; i + PARTIAL <= count; i += PARTIAL)
        for (int j = 0; j < PARTIAL; j++)
            partial[j] += x[i + j] * y[i + j] * z[i + j];
    for (; i < count; i++)
        partial[0] += x[i] * y[i] * z[i];
    return total(partial);
}

static float inverse_rms(int64_t width, const float *x, float epsilon)
{
    return 1.0f / sqrtf(dot(width, x, x) / (float)width + epsilon);
}

void LEVEL(rmsnorm)(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        float inverse = inverse_rms(width, x, epsilon);
        for (int64_t i = 0; i < width; i++)
            y[i] = x[i] * inverse * weight[i];
    }
}

/*
 * With n = x / rms: dweight = Σ dy·n, and dx = (dy·weight - n · mean(dy·weight·n)) / rms. Written out in x,
 * because dx may overwrite it.
 */
void LEVEL(rmsnorm_backward)(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon,
                             const float *dy, const float *residual, float *dx, float *dweight)
{
    for (int64_t r = 0; r < rows; r++, x += width, dy += width, dx += width) {
        float inverse = inverse_rms(width, x, epsilon);
        float along = dot3(width, dy, weight, x) * inverse * inverse * inverse / (float)width;
        for (int64_t i = 0; i < width; i++)
            dweight[i] += dy[i] * x[i] * inverse;
        if (residual)
            for (int64_t i = 0; i < width; i++)
                dx[i] = residual[r * width + i] + (dy[i] * weight[i] * inverse - x[i] * along);
        else
            for (int64_t i = 0; i < width; i++)
                dx[i] = dy[i] * weight[i] * inverse - x[i] * along;
    }
}
