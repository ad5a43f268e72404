/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole model in float32 on one device, but slice by slice and out of the same pieces as the executor's:
 * KV cache per slice, exchanged parts over random ranges, recompute, weight gradients split off, every
 * placement of the output layer. What a piece may not rely on (scratch, unsaved activations) is filled with
 * NaN before it runs.
 */
#ifndef SLIMPIPE_TESTS_SLICED_MODEL_H
#define SLIMPIPE_TESTS_SLICED_MODEL_H

#include "../executor/host/blas.h"
#include "slimpipe/model.h"
#include "slimpipe/plan.h"

struct sliced_settings {
    const struct sp_host_math *math;
    int64_t slice_count;
    const int64_t *slice_tokens; /* their sum is `tokens` */
    enum sp_recompute recompute;
    enum sp_vocabulary vocabulary;
    int64_t vocabulary_parts; /* devices that share the output layer (and its vocabulary) */
    bool weights_later;       /* W after all of I */
    int exchange_cuts;        /* the past of each slice is cut so often; each piece is kept or given away */
    uint32_t seed;            /* of the cuts */
};

/* As reference_loss, with the same order of parameters. */
double sliced_loss(const struct sliced_settings *settings, const struct sp_model *model, int64_t sequences,
                   int64_t tokens, const int32_t *ids, const int32_t *targets, const float *parameters,
                   float *gradient);

#endif
