/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One decoder layer over one slice, in the pieces that a program's instructions are made of.
 *
 * Forward:  before → attention (own part) → merge of others' parts → after.
 * Backward: recompute → after_backward → attention_backward (own part), sum of others' parts →
 * before_backward; weights, then (B) or later (W).
 *
 * Another device's part, forward or backward, is the kernels' attention over the keys that came by message.
 *
 * All storage is the caller's, so that an arena can count it: buffers are named by the lists below, which
 * give their size per row. A row is a token of one of the microbatch's sequences; `rows` is the slice's.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_LAYER_H
#define SLIMPIPE_EXECUTOR_HOST_LAYER_H

#include "blas.h"
#include "slimpipe/model.h"
#include "slimpipe/plan.h"

/*
 * Weights of a layer, and with the same struct their gradients: name, floats. Matrices are [outputs][inputs],
 * as Hugging Face stores them, so y = x · Wᵀ; experts one after the other. What the model has not is NULL.
 * h, f: hidden, ffn; q, kv: widths of queries and of keys; d: head_dim; e: experts, n: the same, at least 1.
 */
#define SP_HOST_WEIGHT_LIST(X)                                                                               \
    X(norm1, h)                                                                                              \
    X(q, q *h)                                                                                               \
    X(k, kv *h)                                                                                              \
    X(v, kv *h)                                                                                              \
    X(q_bias, model->qkv_bias ? q : 0)                                                                       \
    X(k_bias, model->qkv_bias ? kv : 0)                                                                      \
    X(v_bias, model->qkv_bias ? kv : 0)                                                                      \
    X(q_norm, model->qk_norm ? d : 0)                                                                        \
    X(k_norm, model->qk_norm ? d : 0)                                                                        \
    X(o, h *q)                                                                                               \
    X(norm2, h)                                                                                              \
    X(router, e *h)                                                                                          \
    X(gate, n *f *h)                                                                                         \
    X(up, n *f *h)                                                                                           \
    X(down, n *h *f)

struct sp_host_weights {
#define X(name, floats) float *name;
    SP_HOST_WEIGHT_LIST(X)
#undef X
};

int64_t sp_host_weight_floats(const struct sp_model *model);
/* Points into base[sp_host_weight_floats], in the list's order. */
void sp_host_weights_bind(const struct sp_model *model, float *base, struct sp_host_weights *ret_weights);

/*
 * What the forward of a layer and slice computes and its backward reads: type, name, floats per row, and
 * whether it is saved (1) or recomputed in the backward (0) under recompute none, selective and full.
 * t: experts per token, 0 for a dense layer; g = max(t, 1) · ffn. Per token that is, without what is small,
 * 6h + 3g floats for none, 4h for selective, h for full (with q = h); keys and values come on top, in the
 * cache.
 */
#define SP_HOST_ACTIVATION_LIST(X)                                                                           \
    X(float, x, h, 1, 1, 1)                           /* the layer's input */                                \
    X(float, norm1, h, 1, 0, 0)                       /* normalised input */                                 \
    X(float, q_raw, model->qk_norm ? q : 0, 1, 1, 0)  /* before its norm */                                  \
    X(float, k_raw, model->qk_norm ? kv : 0, 1, 1, 0) /* before its norm */                                  \
    X(float, q, q, 1, 1, 0)                           /* queries, rotated */                                 \
    X(float, o, q, 1, 1, 0)                           /* attention's output, merged */                       \
    X(float, lse, model->heads, 1, 1, 0)              /* its log-sum-exp: [sequences][heads][tokens] */      \
    X(float, middle, h, 1, 1, 0)                      /* input of the second half */                         \
    X(float, norm2, h, 1, 0, 0)                       /* normalised */                                       \
    X(float, route_weight, t, 1, 1, 0)                /* weight of each chosen expert: [rows][t] */          \
    X(int32_t, route_expert, t, 1, 1, 0)              /* which: [rows][t] */                                 \
    X(float, gate, g, 1, 0, 0)                        /* with experts: [rows · t][ffn], by expert */        \
    X(float, up, g, 1, 0, 0)                          /* likewise */                                         \
    X(float, act, g, 1, 0, 0)                         /* likewise */

struct sp_host_activations {
#define X(type, name, floats, none, selective, full) type *name;
    SP_HOST_ACTIVATION_LIST(X)
#undef X
    float *k, *v; /* the slice's part of the cache: [rows][kv], keys rotated */
};

/* Floats that stay from forward to backward, and floats that each layer's pass may use over. */
int64_t sp_host_saved_floats(const struct sp_model *model, int64_t rows, enum sp_recompute recompute);
int64_t sp_host_unsaved_floats(const struct sp_model *model, int64_t rows, enum sp_recompute recompute);
/* Points into saved[] and unsaved[] of those sizes. k and v are left as they are. */
void sp_host_activations_bind(const struct sp_model *model, int64_t rows, enum sp_recompute recompute,
                              float *saved, float *unsaved, struct sp_host_activations *ret_activations);

/*
 * Gradients of one layer and slice: name, floats per row, whether the weights' gradients need it (1). Some
 * may be stored over the activation of which they are the gradient: q, gate, up, middle.
 */
#define SP_HOST_GRADIENT_LIST(X)                                                                             \
    X(output, h, 1) /* of the layer's output; given */                                                       \
    X(gate, g, 1)                                                                                            \
    X(up, g, 1)                                                                                              \
    X(middle, h, 1)                                                                                          \
    X(o, q, 0)                                                                                               \
    X(q, q, 1)  /* of rotated queries; after before_backward of the q matrix's output */                     \
    X(k, kv, 1) /* likewise; given: the slice's part of the KV gradient, complete */                         \
    X(v, kv, 1)

struct sp_host_gradients {
#define X(name, floats, held) float *name;
    SP_HOST_GRADIENT_LIST(X)
#undef X
};

int64_t sp_host_gradient_floats(const struct sp_model *model, int64_t rows);
void sp_host_gradients_bind(const struct sp_model *model, int64_t rows, float *base,
                            struct sp_host_gradients *ret_gradients);

/* A slice being worked on. */
struct sp_host_work {
    const struct sp_model *model; /* passed sp_host_model_check */
    const struct sp_host_math *math;
    int64_t sequences;          /* b */
    int64_t begin, tokens;      /* of each sequence */
    const float *cosine, *sine; /* rotary table of these tokens */
    float *scratch;             /* sp_host_scratch_floats; nothing lives there between calls */
};

/* SP_UNSUPPORTED names what the kernels cannot do: odd or large head_dim, too many experts. */
enum sp_status sp_host_model_check(const struct sp_model *model, struct sp_error *error) SP_MUST_CHECK;
int64_t sp_host_scratch_floats(const struct sp_model *model, int64_t rows);

/* Reads a->x; writes a->norm1, q_raw, k_raw, q and, in the cache, k and v. */
void sp_host_layer_before(const struct sp_host_work *work, const struct sp_host_weights *weights,
                          struct sp_host_activations *a);
/* Attention of a->q over runs of keys: writes a->o and a->lse, partial when the runs are. */
void sp_host_layer_attention(const struct sp_host_work *work, int64_t run_count,
                             const struct sp_host_keys *runs, struct sp_host_activations *a);
/* Merges a partial result into a->o and a->lse. */
void sp_host_layer_merge(const struct sp_host_work *work, const float *part, const float *part_lse,
                         struct sp_host_activations *a);
/* Reads a->x, a->o; writes the rest of *a and the layer's output. */
void sp_host_layer_after(const struct sp_host_work *work, const struct sp_host_weights *weights,
                         struct sp_host_activations *a, float *output);
/*
 * Computes again what the policy does not save, with the same bits. Full recompute runs the attention over
 * all runs of keys here. keys: k and v too, where they are not in the cache (one slice alone need not keep
 * them); else they are not written.
 */
void sp_host_layer_recompute(const struct sp_host_work *work, const struct sp_host_weights *weights,
                             enum sp_recompute recompute, bool keys, int64_t run_count,
                             const struct sp_host_keys *runs, struct sp_host_activations *a);

/* Reads g->output; writes g->gate, up, middle, o. d: gradients of norm2 and router +=. */
void sp_host_layer_after_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                                  const struct sp_host_activations *a, struct sp_host_gradients *g,
                                  struct sp_host_weights *d);
/* Reads g->o; writes g->q, partial when the runs are; dk and dv of the runs +=. */
void sp_host_layer_attention_backward(const struct sp_host_work *work, int64_t run_count,
                                      const struct sp_host_keys *runs, const struct sp_host_activations *a,
                                      struct sp_host_gradients *g);
/*
 * Reads g->middle and g->q, k, v, which must be complete, and changes the latter three in place; writes the
 * gradient of the layer's input. d: gradients of norm1, q_norm, k_norm +=. dx may be g->output.
 */
void sp_host_layer_before_backward(const struct sp_host_work *work, const struct sp_host_weights *weights,
                                   const struct sp_host_activations *a, struct sp_host_gradients *g,
                                   struct sp_host_weights *d, float *dx);

/*
 * Gradients of the matrices and biases (+=), from norm1, o, norm2, act, the routing, and the gradients marked
 * in the list. They can be taken one by one: those of k and v early, say, so that their gradients need not
 * be held.
 */
enum {
    SP_HOST_WEIGHTS_QUERY = 1,
    SP_HOST_WEIGHTS_KEYS = 2, /* and values */
    SP_HOST_WEIGHTS_OUTPUT = 4,
    SP_HOST_WEIGHTS_MLP = 8,
    SP_HOST_WEIGHTS_ALL = 15,
};
void sp_host_layer_weights(const struct sp_host_work *work, unsigned which,
                           const struct sp_host_activations *a, const struct sp_host_gradients *g,
                           struct sp_host_weights *d);

#endif
