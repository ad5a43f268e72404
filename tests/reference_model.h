/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole model in double on one device, unsliced, forward and backward in plain loops that keep every
 * intermediate result, full score matrices too. It shares no code with the executor: it is what the executor
 * is held against. For small sizes only.
 */
#ifndef SLIMPIPE_TESTS_REFERENCE_MODEL_H
#define SLIMPIPE_TESTS_REFERENCE_MODEL_H

#include <stdint.h>

#include "slimpipe/model.h"

/*
 * Parameters in one vector: input embedding, layers (norm1, q, k, v, q_bias, k_bias, v_bias, q_norm, k_norm,
 * o, norm2, router, gate, up, down; what the model has not takes nothing), final norm, and the head unless
 * tied. Matrices are [outputs][inputs], experts one after the other.
 */
int64_t reference_parameters(const struct sp_model *model);

/*
 * Mean cross-entropy over all tokens with a target ≥ 0. ids, targets: [sequences][tokens]. gradient: of that
 * mean by every parameter, overwritten; NULL: forward alone.
 */
double reference_loss(const struct sp_model *model, int64_t sequences, int64_t tokens, const int32_t *ids,
                      const int32_t *targets, const double *parameters, double *gradient);

#endif
