/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cost engine's insides. Times are doubles in nanoseconds here and become whole at the public border.
 *
 * What depends on a slice's token count alone is computed once per distinct count. What a pass asks for lies
 * in a table by (class of stage, slice), so that asking is an array access.
 */
#ifndef SLIMPIPE_COST_INTERNAL_H
#define SLIMPIPE_COST_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/cost.h"

/*
 * In bf16: bytes of a weight or activation, of a main gradient, of the optimizer's state (master copy, two
 * moments). In float32 an element has four and there is no master copy.
 */
enum { ELEMENT_BYTES = 2, GRADIENT_BYTES = 4, OPTIMIZER_BYTES = 12 };

static inline bool sp_is_float32(const struct sp_plan *plan)
{
    return plan->cluster.precision == SP_PRECISION_FLOAT32;
}

static inline int64_t sp_element_bytes(const struct sp_plan *plan)
{
    return sp_is_float32(plan) ? 4 : ELEMENT_BYTES;
}

static inline int64_t sp_optimizer_bytes(const struct sp_plan *plan)
{
    return sp_is_float32(plan) ? 8 : OPTIMIZER_BYTES;
}

/* Columns of logits that a tiled output layer holds at a time in float32. */
enum { OUTPUT_TILE_COLUMNS = 1024 };

/* Rows of logits that a tiled output layer holds at a time. */
enum { OUTPUT_TILE_ROWS = 1024 };

/* Backward attention in forward ones: five matrix products against two. */
#define ATTENTION_BACKWARD 2.5

/* What a training step does with a layer. */
enum phase { PHASE_FORWARD, PHASE_INPUT, PHASE_WEIGHT, PHASES };

/* Compute, and the communication that nothing of the same pass hides. */
struct span {
    double compute, exposed;
};

/*
 * One layer on one GPU for a slice of some token count. Head: norm, query, key and value products, rotary
 * embedding. Tail: output product, second norm, MLP.
 */
struct layer_times {
    struct span head[PHASES], tail[PHASES];
    struct span selective;   /* selective recompute */
    double own_attention;    /* forward, the causal part inside the slice */
    double past_attention;   /* forward, per token before the slice */
    double merge[2];         /* one partial result, forward and backward */
    double merge_past_token; /* backward: adding the returned key and value gradient of one past token */
    /* Outside the layers. */
    struct span embedding[PHASES];
    struct span final_norm[PHASES];
    struct span output[PHASES];                /* the output layer in the last stage */
    struct span share_forward, share_backward; /* S and T on one device */
};

/* Stages alike in everything that costs. */
struct stage_class {
    uint32_t stage; /* the first of them */
    uint32_t layers;
    enum sp_recompute recompute;
    enum sp_train train;
    uint32_t offload_permille;
    bool first, last;
};

/* Rows of the time table beyond the kinds of pass: the backward of a unit whose recompute is its own pass. */
enum { ROW_B_AFTER_R = SP_PASS_KINDS, ROW_I_AFTER_R, ROWS };

struct sp_cost {
    struct sp_arena *arena;
    const struct sp_plan *plan;

    uint32_t class_count;
    struct stage_class *classes;
    uint16_t *class_of_stage;

    /* pass_ns[row][class * columns + slice * column_step]; one column where all slices cost the same. */
    uint32_t columns, column_step;
    int64_t *pass_ns[ROWS];

    uint64_t *recomputed; /* bit per unit: the order has an R for it; NULL: for none */

    int64_t *slice_begin; /* slice_count + 1: tokens before each slice */
    uint32_t size_count;  /* distinct token counts */
    int64_t *sizes;
    uint32_t *size_of_slice;
    struct layer_times *times;        /* per size; NULL with explicit costs */
    struct sp_unit_bytes *unit_bytes; /* per class and size: [class * size_count + size] */

    int64_t (*resident)[SP_MEMORY_OPTIMIZER + 1]; /* per device; NULL with explicit costs */
};

/* What one layer of a unit's pass is made of. past and merge_past: per token of the past. */
struct layer_parts {
    double before, own, past, after;
    double merge, merge_past;
};

/* cost.c: the row of pass_ns that holds a pass. */
int sp_cost_row(const struct sp_cost *cost, const struct sp_pass *pass);

static inline int64_t sp_divide_up(int64_t number, int64_t divisor)
{
    return (number + divisor - 1) / divisor;
}

/* efficiency.c: share of peak, 0 … 1, of a curve at a size. */
double sp_efficiency_at(const struct sp_efficiency *curve, int points, double size);

/* roofline.c: one operation on one GPU. A product's weights count weight_bytes an element. */
double sp_roofline_product(const struct sp_plan *plan, double rows, double inner, double columns,
                           double weight_bytes);
double sp_roofline_memory(const struct sp_plan *plan, double bytes);
double sp_roofline_attention(const struct sp_plan *plan, double query_tokens, double flops, double bytes);

/* network.c: the link that `gpus` neighbouring GPUs share, and a message over it. */
const struct sp_link *sp_network_link(const struct sp_cluster *cluster, int64_t gpus);
double sp_network_busy(const struct sp_link *link, const struct sp_profile *profile, double bytes);
/* An all-gather, reduce-scatter or all-to-all whose whole tensor has `bytes`, among `ranks`, per rank. */
double sp_network_collective(const struct sp_link *link, const struct sp_profile *profile, int64_t ranks,
                             double bytes);

/* layer.c, output.c: times of one slice size. */
void sp_layer_times(const struct sp_plan *plan, int64_t tokens, struct layer_times *times);
void sp_output_times(const struct sp_plan *plan, int64_t tokens, struct layer_times *times);

/* explicit.c and modelled.c: fill pass_ns, and answer for one layer. */
void sp_explicit_fill(struct sp_cost *cost);
void sp_explicit_parts(const struct sp_cost *cost, const struct sp_pass *pass, struct layer_parts *ret_parts);
int64_t sp_explicit_joined_ns(const struct sp_cost *cost, const struct sp_pass *first,
                              const struct sp_pass *second);
void sp_modelled_fill(struct sp_cost *cost);
void sp_modelled_parts(const struct sp_cost *cost, const struct sp_pass *pass, struct layer_parts *ret_parts);
int64_t sp_modelled_joined_ns(const struct sp_cost *cost, const struct sp_pass *first,
                              const struct sp_pass *second);

/* memory_float32.c: what the host backend holds of a unit. */
void sp_memory_float32(const struct sp_cost *cost, const struct stage_class *class, int64_t slice_tokens,
                       struct sp_unit_bytes *unit);
/* memory.c: fill unit_bytes and resident. */
void sp_memory_fill_units(struct sp_cost *cost);
void sp_memory_fill_resident(struct sp_cost *cost);

/* parameters.c: what one GPU holds. Expert parameters are divided over the expert degree too. */
struct rank_parameters {
    int64_t dense, expert;
};
struct rank_parameters sp_parameters_layer(const struct sp_plan *plan);
int64_t sp_parameters_vocabulary(const struct sp_plan *plan, uint32_t device);
bool sp_parameters_on_device(const struct sp_stage *stage, uint32_t device);
/* In floating point, for sizes that may not fit: at least all parameters but the biases. */
double sp_parameters_estimate(const struct sp_model *model);

/* preset.c: the name that a file gives what is in it. */
void sp_preset_name(const char *path, char name[64]);

/* profile_read.c: SP_INPUT unless the document states this format, version 1. */
struct sp_json;
enum sp_status sp_format_check(const struct sp_json *json, const char *format,
                               struct sp_error *error) SP_MUST_CHECK;

/* degrees.c: SP_INPUT where the degrees do not divide the model. */
enum sp_status sp_degrees_check(const struct sp_plan *plan, struct sp_error *error) SP_MUST_CHECK;
/* limits.c: SP_INPUT where bytes, or nanoseconds once the tables are there, do not fit 64 bits. */
enum sp_status sp_limits_check_bytes(const struct sp_plan *plan, struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_limits_check_times(const struct sp_cost *cost, struct sp_error *error) SP_MUST_CHECK;

#endif
