/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels.h"

extern const struct sp_host_kernels sp_host_plain_kernels, sp_host_generic_kernels;
#if defined(SP_HOST_X86)
extern const struct sp_host_kernels sp_host_avx2_kernels, sp_host_avx512_kernels;
#endif

const struct sp_host_kernels *const sp_host_kernel_sets[] = {
    &sp_host_plain_kernels,
    &sp_host_generic_kernels,
#if defined(SP_HOST_X86)
    &sp_host_avx2_kernels,
    &sp_host_avx512_kernels,
#endif
    NULL,
};

const struct sp_host_kernels *sp_host_kernels_best(void)
{
    const struct sp_host_kernels *best = NULL;
    for (int i = 0; sp_host_kernel_sets[i]; i++)
        if (sp_host_kernel_sets[i]->probe())
            best = sp_host_kernel_sets[i];
    return best;
}

const struct sp_host_kernels *sp_host_kernels_find(const char *name)
{
    for (int i = 0; sp_host_kernel_sets[i]; i++)
        if (strcmp(sp_host_kernel_sets[i]->name, name) == 0)
            return sp_host_kernel_sets[i]->probe() ? sp_host_kernel_sets[i] : NULL;
    return NULL;
}

void sp_host_rotary_table(int64_t begin, int64_t tokens, int64_t head_dim, double theta, float *ret_cosine,
                          float *ret_sine)
{
    int64_t half = head_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        double frequency = pow(theta, -2.0 * (double)i / (double)head_dim);
        for (int64_t t = 0; t < tokens; t++) {
            double angle = (double)(begin + t) * frequency;
            ret_cosine[t * half + i] = (float)cos(angle);
            ret_sine[t * half + i] = (float)sin(angle);
        }
    }
}
