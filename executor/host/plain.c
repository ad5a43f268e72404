/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels as one would write them down: the specification of the fast ones and the oracle of their tests.
 * Sums are in double. Attention is in attention_plain.c.
 */
#include "plain.h"

#include <math.h>
#include <stddef.h>

static bool probe(void)
{
    return true;
}

static double element(struct sp_host_matrix matrix, int64_t row, int64_t column)
{
    return (double)(matrix.transposed ? matrix.data[column * matrix.pitch + row]
                                      : matrix.data[row * matrix.pitch + column]);
}

static void gemm(int64_t rows, int64_t columns, int64_t depth, float alpha, struct sp_host_matrix a,
                 struct sp_host_matrix b, float beta, float *c, int64_t c_pitch)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            double sum = 0;
            for (int64_t k = 0; k < depth; k++)
                sum += element(a, i, k) * element(b, k, j);
            double before = beta == 0 ? 0 : (double)beta * (double)c[i * c_pitch + j];
            c[i * c_pitch + j] = (float)((double)alpha * sum + before);
        }
}

static double inverse_rms(int64_t width, const float *x, float epsilon)
{
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += (double)x[i] * (double)x[i];
    return 1 / sqrt(sum / (double)width + (double)epsilon);
}

static void rmsnorm(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        double inverse = inverse_rms(width, x, epsilon);
        for (int64_t i = 0; i < width; i++)
            y[i] = (float)((double)x[i] * inverse * (double)weight[i]);
    }
}

static void rmsnorm_backward(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon,
                             const float *dy, const float *residual, float *dx, float *dweight)
{
    for (int64_t r = 0; r < rows; r++, x += width, dy += width, dx += width) {
        double inverse = inverse_rms(width, x, epsilon), mean = 0;
        for (int64_t i = 0; i < width; i++) {
            double normed = (double)x[i] * inverse;
            mean += (double)dy[i] * (double)weight[i] * normed / (double)width;
            dweight[i] = (float)((double)dweight[i] + (double)dy[i] * normed);
        }
        for (int64_t i = 0; i < width; i++) {
            double before = residual ? (double)residual[r * width + i] : 0;
            double normed = (double)x[i] * inverse;
            dx[i] = (float)(before + inverse * ((double)dy[i] * (double)weight[i] - normed * mean));
        }
    }
}

static void rotary(int64_t tokens, int64_t heads, int64_t head_dim, const float *cosine, const float *sine,
                   int direction, float *x)
{
    int64_t half = head_dim / 2;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t i = 0; i < half; i++) {
                float *pair = x + (t * heads + head) * head_dim + i;
                double first = (double)pair[0], second = (double)pair[half];
                double c = (double)cosine[t * half + i], s = direction * (double)sine[t * half + i];
                pair[0] = (float)(first * c - second * s);
                pair[half] = (float)(second * c + first * s);
            }
}

static double sigmoid(float x)
{
    return 1 / (1 + exp(-(double)x));
}

static void swiglu(int64_t count, const float *gate, const float *up, float *act)
{
    for (int64_t i = 0; i < count; i++)
        act[i] = (float)((double)gate[i] * sigmoid(gate[i]) * (double)up[i]);
}

static void swiglu_backward(int64_t count, const float *gate, const float *up, const float *dact,
                            float *dgate, float *dup)
{
    for (int64_t i = 0; i < count; i++) {
        double g = (double)gate[i], u = (double)up[i], d = (double)dact[i], s = sigmoid(gate[i]);
        dgate[i] = (float)(d * u * (s + g * s * (1 - s)));
        dup[i] = (float)(d * g * s);
    }
}

static void row_lse(int64_t rows, int64_t columns, const float *x, float *lse)
{
    for (int64_t r = 0; r < rows; r++, x += columns) {
        double maximum = (double)x[0], sum = 0;
        for (int64_t i = 1; i < columns; i++)
            maximum = fmax(maximum, (double)x[i]);
        for (int64_t i = 0; i < columns; i++)
            sum += exp((double)x[i] - maximum);
        lse[r] = (float)(maximum + log(sum));
    }
}

static void row_softmax(int64_t rows, int64_t columns, const float *lse, float scale, float *x)
{
    for (int64_t r = 0; r < rows; r++, x += columns)
        for (int64_t i = 0; i < columns; i++)
            x[i] = (float)((double)scale * exp((double)x[i] - (double)lse[r]));
}

static void add(int64_t count, const float *x, float *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

static void column_sum(int64_t rows, int64_t columns, const float *x, float *sum)
{
    for (int64_t i = 0; i < columns; i++) {
        double total = (double)sum[i];
        for (int64_t r = 0; r < rows; r++)
            total += (double)x[r * columns + i];
        sum[i] = (float)total;
    }
}

static void adamw(const struct sp_host_adamw *settings, int64_t count, const float *gradient, float *weight,
                  float *first, float *second)
{
    double beta1 = (double)settings->beta1, beta2 = (double)settings->beta2, rate = (double)settings->rate;
    for (int64_t i = 0; i < count; i++) {
        double g = (double)gradient[i] * (double)settings->gradient_scale;
        double m = beta1 * (double)first[i] + (1 - beta1) * g;
        double v = beta2 * (double)second[i] + (1 - beta2) * g * g;
        double unbiased_m = m / (1 - pow(beta1, (double)settings->step));
        double unbiased_v = v / (1 - pow(beta2, (double)settings->step));
        double w = (double)weight[i] * (1 - rate * (double)settings->decay);
        first[i] = (float)m;
        second[i] = (float)v;
        weight[i] = (float)(w - rate * unbiased_m / (sqrt(unbiased_v) + (double)settings->epsilon));
    }
}

static void sgd(float rate, int64_t count, const float *gradient, float *weight)
{
    for (int64_t i = 0; i < count; i++)
        weight[i] -= rate * gradient[i];
}

const struct sp_host_kernels sp_host_plain_kernels = {
    .name = "plain",
    .description = "slow and obvious, the oracle",
    .probe = probe,
    .gemm = gemm,
    .rmsnorm = rmsnorm,
    .rmsnorm_backward = rmsnorm_backward,
    .rotary = rotary,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .row_lse = row_lse,
    .row_softmax = row_softmax,
    .attention = sp_host_plain_attention,
    .attention_backward = sp_host_plain_attention_backward,
    .attention_merge = sp_host_plain_attention_merge,
    .add = add,
    .column_sum = column_sum,
    .adamw = adamw,
    .sgd = sgd,
};
