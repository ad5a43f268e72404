/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "level.h"

/* Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with PyTorch's placement of epsilon. */
void LEVEL(adamw)(const struct sp_host_adamw *settings, int64_t count, const float *restrict gradient,
                  float *restrict weight, float *restrict first, float *restrict second)
{
    double correction1 = 1 - pow((double)settings->beta1, (double)settings->step);
    double correction2 = 1 - pow((double)settings->beta2, (double)settings->step);
    float rate = (float)((double)settings->rate / correction1);
    float inverse = (float)(1 / sqrt(correction2));
    float beta1 = settings->beta1, beta2 = settings->beta2, epsilon = settings->epsilon;
    float keep = 1 - settings->rate * settings->decay, scale = settings->gradient_scale;
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i] * scale;
        first[i] = beta1 * first[i] + (1 - beta1) * g;
        second[i] = beta2 * second[i] + (1 - beta2) * g * g;
        weight[i] = keep * weight[i] - rate * first[i] / (sqrtf(second[i]) * inverse + epsilon);
    }
}

void LEVEL(sgd)(float rate, int64_t count, const float *restrict gradient, float *restrict weight)
{
    for (int64_t i = 0; i < count; i++)
        weight[i] -= rate * gradient[i];
}
