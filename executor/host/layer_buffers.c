/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and places of a layer's buffers: the lists of layer.h, counted. */
#include <stddef.h>

#include "layer.h"
#include "moe.h"

/* The letters of the lists. Not every list uses every letter. */
#define LETTERS                                                                                              \
    int64_t h = model->hidden, f = model->ffn, d = model->head_dim, e = model->experts, n = e > 0 ? e : 1;   \
    int64_t q = model->heads * d, kv = model->kv_heads * d;                                                  \
    int64_t t = model->experts_per_token, g = (t > 0 ? t : 1) * f;                                           \
    (void)h, (void)f, (void)d, (void)e, (void)n, (void)q, (void)kv, (void)t, (void)g

/* The next `floats` of *place; NULL for none. */
static float *take(float **place, int64_t floats)
{
    float *taken = floats > 0 ? *place : NULL;
    *place += floats;
    return taken;
}

int64_t sp_host_weight_floats(const struct sp_model *model)
{
    LETTERS;
    int64_t total = 0;
#define X(name, floats) total += (floats);
    SP_HOST_WEIGHT_LIST(X)
#undef X
    return total;
}

void sp_host_weights_bind(const struct sp_model *model, float *base, struct sp_host_weights *ret_weights)
{
    LETTERS;
#define X(name, floats) ret_weights->name = take(&base, floats);
    SP_HOST_WEIGHT_LIST(X)
#undef X
}

static int64_t activation_floats(const struct sp_model *model, int64_t rows, enum sp_recompute recompute,
                                 int saved)
{
    LETTERS;
    int64_t total = 0;
#define X(type, name, floats, none, selective, full)                                                         \
    if ((const int[]){none, selective, full}[recompute] == saved)                                            \
        total += rows * (floats);
    SP_HOST_ACTIVATION_LIST(X)
#undef X
    return total;
}

int64_t sp_host_saved_floats(const struct sp_model *model, int64_t rows, enum sp_recompute recompute)
{
    return activation_floats(model, rows, recompute, 1);
}

int64_t sp_host_unsaved_floats(const struct sp_model *model, int64_t rows, enum sp_recompute recompute)
{
    return activation_floats(model, rows, recompute, 0);
}

void sp_host_activations_bind(const struct sp_model *model, int64_t rows, enum sp_recompute recompute,
                              float *saved, float *unsaved, struct sp_host_activations *ret_activations)
{
    LETTERS;
#define X(type, name, floats, none, selective, full)                                                         \
    ret_activations->name =                                                                                  \
        (type *)take((const int[]){none, selective, full}[recompute] ? &saved : &unsaved, rows * (floats));
    SP_HOST_ACTIVATION_LIST(X)
#undef X
}

int64_t sp_host_gradient_floats(const struct sp_model *model, int64_t rows)
{
    LETTERS;
    int64_t total = 0;
#define X(name, floats, held) total += rows * (floats);
    SP_HOST_GRADIENT_LIST(X)
#undef X
    return total;
}

void sp_host_gradients_bind(const struct sp_model *model, int64_t rows, float *base,
                            struct sp_host_gradients *ret_gradients)
{
    LETTERS;
#define X(name, floats, held) ret_gradients->name = take(&base, rows * (floats));
    SP_HOST_GRADIENT_LIST(X)
#undef X
}

enum sp_status sp_host_model_check(const struct sp_model *model, struct sp_error *error)
{
    if (model->head_dim % 2 != 0 || model->head_dim > SP_HOST_MAX_HEAD_DIM)
        return sp_error_set(error, SP_UNSUPPORTED, "head_dim is %ld; the host runs even ones up to %d",
                            (long)model->head_dim, SP_HOST_MAX_HEAD_DIM);
    if (model->experts > SP_HOST_MAX_EXPERTS)
        return sp_error_set(error, SP_UNSUPPORTED, "the model has %ld experts; the host runs up to %d",
                            (long)model->experts, SP_HOST_MAX_EXPERTS);
    return SP_OK;
}

/* The most that any piece uses; see mlp_backward and expert_weights. */
int64_t sp_host_scratch_floats(const struct sp_model *model, int64_t rows)
{
    LETTERS;
    int64_t pairs = rows * t;
    int64_t dense = rows * (h + g);
    return e == 0 ? dense : dense + pairs * (2 * h + 3) + rows * e;
}
