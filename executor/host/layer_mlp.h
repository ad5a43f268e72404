/* SPDX-License-Identifier: Apache-2.0 */
/* The layer's MLP, dense or experts, between norm2 and the residual sum. See layer.h for the buffers. */
#ifndef SLIMPIPE_EXECUTOR_HOST_LAYER_MLP_H
#define SLIMPIPE_EXECUTOR_HOST_LAYER_MLP_H

#include "layer.h"

/* Reads a->norm2; writes the routing, a->gate, up, act. */
void sp_host_mlp_inner(const struct sp_host_work *work, const struct sp_host_weights *weights,
                       struct sp_host_activations *a);
/* output += down(act) */
void sp_host_mlp_outer(const struct sp_host_work *work, const struct sp_host_weights *weights,
                       const struct sp_host_activations *a, float *output);
/* Reads g->output; writes g->gate, up and dnorm2; the router's gradient +=. */
void sp_host_mlp_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                          const struct sp_host_activations *a, struct sp_host_gradients *g,
                          struct sp_host_weights *d, float *dnorm2, float *scratch);
/* Gradients of gate, up and down +=. */
void sp_host_mlp_weights(const struct sp_host_work *work, const struct sp_host_activations *a,
                         const struct sp_host_gradients *g, struct sp_host_weights *d);

#endif
