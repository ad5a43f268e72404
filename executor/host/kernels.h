/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's kernels: the float32 building blocks of a Llama-style decoder, forward and backward.
 *
 * There are several sets of them, `const` structs of functions in one registry: `plain`, slow and obvious,
 * the specification and the oracle of the tests; and one source compiled for several instruction sets. Every
 * function is serial and sums in a fixed order, so that two runs of one set give the same bits; two sets give
 * different bits.
 *
 * Conventions. Matrices are row-major. `rows` counts tokens; a token's heads lie side by side in its row.
 * Lengths are in floats unless stated. All storage is the caller's; outputs do not overlap inputs unless
 * stated. "+=" marks what is added to, everything else is overwritten.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_KERNELS_H
#define SLIMPIPE_EXECUTOR_HOST_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

enum { SP_HOST_MAX_HEAD_DIM = 256 };

/* An operand of a matrix product. */
struct sp_host_matrix {
    const float *data;
    int64_t pitch;   /* from one stored row to the next */
    bool transposed; /* as stored it is the transpose of what the product takes */
};

/* C = alpha · A · B + beta · C. C is rows × columns, A rows × depth, B depth × columns; beta 0 reads no C. */
typedef void sp_host_gemm(int64_t rows, int64_t columns, int64_t depth, float alpha, struct sp_host_matrix a,
                          struct sp_host_matrix b, float beta, float *c, int64_t c_pitch);

/*
 * A run of keys and values: tokens [begin, begin + count) of each sequence. Row t of sequence i is at
 * (i * pitch + t) * kv_heads * head_dim. A slice reads its past as several runs, as it lies in the cache.
 */
struct sp_host_keys {
    int64_t begin, count;
    int64_t pitch; /* tokens from one sequence to the next */
    const float *k, *v;
    float *dk, *dv; /* backward: +=, same layout; NULL in forward */
};

/*
 * Causal attention of one slice's queries over runs of keys: a key counts for a query when its token is not
 * after the query's. Over part of the keys the result is partial: o is normalised over those keys, and lse,
 * the logarithm of the sum of their exponentials, says with what weight it enters a merge. No key at all
 * gives o = 0, lse = -inf. Query head i reads KV head i / (heads / kv_heads).
 *
 * q, o: [sequences][query_count][heads * head_dim]; lse: [sequences][heads][query_count].
 *
 * Backward over part of the keys: o and lse are the merged ones, d_o the gradient of the merged o; dq is then
 * partial too, and partial ones are summed.
 */
struct sp_host_attention {
    int64_t sequences, heads, kv_heads, head_dim;
    int64_t query_begin, query_count; /* first token within the sequence, tokens */
    int64_t run_count;
    const struct sp_host_keys *runs;
    const float *q;
    float *o, *lse;   /* written by forward, read by backward */
    const float *d_o; /* backward */
    float *dq;        /* backward; may be q itself */
};

struct sp_host_adamw {
    float rate, beta1, beta2, epsilon, decay; /* decay decoupled: w -= rate * decay * w */
    float gradient_scale;                     /* gradients are multiplied by this first */
    int64_t step;                             /* 1 in the first step */
};

struct sp_host_kernels {
    const char *name, *description;
    bool (*probe)(void); /* whether this processor runs it */

    sp_host_gemm *gemm; /* for where there is no BLAS */

    /* y = x / rms(x) · weight, row by row. y may be x. */
    void (*rmsnorm)(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon,
                    float *y);
    /* dx = residual + gradient (residual may be NULL, or dx itself; dx may be x or dy); dweight +=. */
    void (*rmsnorm_backward)(int64_t rows, int64_t width, const float *x, const float *weight, float epsilon,
                             const float *dy, const float *residual, float *dx, float *dweight);

    /*
     * Rotary embedding in place on x[tokens][heads][head_dim], Hugging Face's convention: element i is paired
     * with i + head_dim/2. cosine, sine: [tokens][head_dim/2], see sp_host_rotary_table. direction 1 rotates,
     * -1 rotates back, which is also the backward of 1.
     */
    void (*rotary)(int64_t tokens, int64_t heads, int64_t head_dim, const float *cosine, const float *sine,
                   int direction, float *x);

    /* act = silu(gate) · up. act may be gate or up. */
    void (*swiglu)(int64_t count, const float *gate, const float *up, float *act);
    /* dgate may be gate, dup may be up, either may be dact. */
    void (*swiglu_backward)(int64_t count, const float *gate, const float *up, const float *dact,
                            float *dgate, float *dup);

    /* lse[r] = log Σ exp(x[r][·]). */
    void (*row_lse)(int64_t rows, int64_t columns, const float *x, float *lse);
    /* x = scale · exp(x - lse[r]), in place. */
    void (*row_softmax)(int64_t rows, int64_t columns, const float *lse, float scale, float *x);

    void (*attention)(const struct sp_host_attention *call);
    void (*attention_backward)(const struct sp_host_attention *call);
    /*
     * o, lse = online-softmax merge of (o, lse) and (part, part_lse), all with the shapes of
     * sp_host_attention. Merging is done part by part in an order that the caller fixes.
     */
    void (*attention_merge)(int64_t sequences, int64_t tokens, int64_t heads, int64_t head_dim,
                            const float *part, const float *part_lse, float *o, float *lse);

    void (*add)(int64_t count, const float *x, float *y);                          /* y += x */
    void (*column_sum)(int64_t rows, int64_t columns, const float *x, float *sum); /* sum += */

    void (*adamw)(const struct sp_host_adamw *settings, int64_t count, const float *gradient, float *weight,
                  float *first, float *second); /* first, second: moments, 0 before step 1 */
    void (*sgd)(float rate, int64_t count, const float *gradient, float *weight);
};

/* All sets, the fastest last; NULL-terminated. Those whose probe fails must not be called. */
extern const struct sp_host_kernels *const sp_host_kernel_sets[];
/* The fastest set that this processor runs. */
const struct sp_host_kernels *sp_host_kernels_best(void);
/* By name; NULL where there is none of that name or the processor does not run it. */
const struct sp_host_kernels *sp_host_kernels_find(const char *name);

/* cosine, sine: [tokens][head_dim/2] of positions begin …; angles computed in double. theta: rotary base. */
void sp_host_rotary_table(int64_t begin, int64_t tokens, int64_t head_dim, double theta, float *ret_cosine,
                          float *ret_sine);

#endif
