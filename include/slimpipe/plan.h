/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: every decision about one training iteration, in one document. The planner writes it, the lowering
 * (program.h) turns it into instructions, and nothing else is needed to predict or replay it.
 *
 * A plan that came from sp_plan_read or passed sp_plan_check is valid; everything behind the door trusts it.
 * docs/plan-format.md describes the JSON form.
 */
#ifndef SLIMPIPE_PLAN_H
#define SLIMPIPE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "slimpipe/arena.h"
#include "slimpipe/cluster.h"
#include "slimpipe/model.h"
#include "slimpipe/status.h"

/* Limits checked at the door. */
enum {
    SP_PLAN_VERSION = 1,
    SP_MAX_DEVICES = 4096,
    SP_MAX_STAGES = 16384,
    SP_MAX_SLICES = 65535,
    SP_MAX_MICROBATCHES = 1 << 20,
    SP_MAX_PASSES = 1 << 26,
};

/*
 * The kinds of pass and their letters in a plan. B = I + W in one. S and T are the output layer's forward
 * (logits and loss) and backward where it is a pass of its own; they carry the last stage's number, and each
 * device that holds a part of the output layer runs its own. R is recompute where the order places it;
 * without an R it is part of B or I. O and L start the copies of a unit to and from host memory; they take no
 * compute time.
 */
#define SP_PASS_LIST(X)                                                                                      \
    X(F, 'F', "forward")                                                                                     \
    X(I, 'I', "input gradient")                                                                              \
    X(W, 'W', "weight gradient")                                                                             \
    X(B, 'B', "backward")                                                                                    \
    X(R, 'R', "recompute")                                                                                   \
    X(O, 'O', "offload")                                                                                     \
    X(L, 'L', "reload")                                                                                      \
    X(S, 'S', "output layer forward")                                                                        \
    X(T, 'T', "output layer backward")

enum sp_pass_kind {
#define X(name, letter, text) SP_PASS_##name,
    SP_PASS_LIST(X)
#undef X
        SP_PASS_KINDS
};

struct sp_pass {
    uint32_t microbatch;
    uint16_t slice;
    uint16_t stage;
    uint8_t kind;   /* enum sp_pass_kind */
    uint8_t joined; /* 1: runs overlapped with the next pass of the order, as one (OVERLAP_F_B) */
};

/* What a stage's backward computes. */
enum sp_train { SP_TRAIN_FULL, SP_TRAIN_INPUT, SP_TRAIN_NONE }; /* I and W (or B); I alone; no backward */
/* What is recomputed in the backward. Selective: norms, the first MLP matrices and the activation. */
enum sp_recompute { SP_RECOMPUTE_NONE, SP_RECOMPUTE_SELECTIVE, SP_RECOMPUTE_FULL };
/*
 * Where the output layer runs. Last: inside the last stage's F and B. Scatter: every slice's hidden states
 * are scattered along the sequence over all devices (SlimPipe), S and T passes. Shard1, shard2: the
 * vocabulary dimension is split over all devices, with two barriers or one (arXiv 2411.05288), S and T
 * passes. Tiled: in the last stage, tile by tile, full logits never held.
 */
enum sp_vocabulary {
    SP_VOCABULARY_LAST,
    SP_VOCABULARY_SCATTER,
    SP_VOCABULARY_SHARD1,
    SP_VOCABULARY_SHARD2,
    SP_VOCABULARY_TILED
};
/* Whether every device has a part of the output layer, and runs S and T passes for it: scatter and shards. */
bool sp_vocabulary_is_spread(enum sp_vocabulary vocabulary);
/*
 * How the KV gradient of past slices is held. Compact: KV heads' width, accumulated in place. Expanded: the
 * SlimPipe authors' form: all query heads' width, an old and a new copy while a slice runs.
 */
enum sp_kv_gradient { SP_KV_GRADIENT_COMPACT, SP_KV_GRADIENT_EXPANDED };

/* JSON names of the enumerations, NULL-terminated, in order. */
extern const char *const sp_train_names[];
extern const char *const sp_recompute_names[];
extern const char *const sp_vocabulary_names[];
extern const char *const sp_kv_gradient_names[];

struct sp_stage {
    uint32_t device;        /* holds the stage's weights and runs its passes */
    uint32_t replica_count; /* further devices that hold a copy (bidirectional pipelines, node replicas) */
    const uint32_t *replicas;
    uint32_t layer_begin,
        layer_count; /* transformer layers [begin, begin + count); 0 layers with unit costs */
    enum sp_recompute recompute;
    uint32_t offload_permille; /* share of each unit's saved activations that goes to host memory */
    enum sp_train train;
};

struct sp_parallel {
    int64_t pipeline, tensor, context, data, expert; /* p t c d e; GPUs = p·t·c·d */
};

struct sp_workload {
    int64_t sequence_tokens;      /* s, tokens of one sequence; sum of the slices */
    int64_t microbatches;         /* m, per data-parallel replica */
    int64_t microbatch_sequences; /* b */
};

/*
 * Explicit costs of passes in place of a model (unit-cost studies, measured stage times). Each array has
 * stage_count entries, or is NULL for zeros. Durations are those of one slice when all slices are equal; with
 * `attention_permille` a share of the forward follows the causal attention of each slice, its backward 2.5
 * times of that, W none. Memory is per unit (stage, microbatch, slice).
 */
struct sp_pass_costs {
    const int64_t *forward_ns, *input_ns, *weight_ns; /* F, I, W; B = I + W */
    const int64_t *recompute_ns;                      /* R, or added to B and I where the stage recomputes */
    const int64_t *overlap_ns; /* one F joined with one B (or I), by the F's stage; NULL: their sum */
    int64_t output_forward_ns, output_backward_ns; /* S and T of one slice on one device */
    int64_t message_ns;                            /* a hop between devices */
    int64_t attention_permille;
    int64_t activation_bytes; /* held from F until the end of B, or of W where it is split off */
    int64_t
        weight_held_bytes; /* part of activation_bytes that stays from I until W; the rest goes at I's end */
};

/*
 * A copy in the arena with stage_count entries in each array. cost_stages, the entries that the arrays of
 * costs have, is 1 (the same for all stages) or stage_count; else SP_INPUT. Negative costs are SP_INPUT too.
 */
enum sp_status sp_pass_costs_spread(const struct sp_pass_costs *costs, uint32_t cost_stages,
                                    uint32_t stage_count, struct sp_arena *arena,
                                    const struct sp_pass_costs **ret_costs,
                                    struct sp_error *error) SP_MUST_CHECK;

/* Passes of all devices in execution order: device d runs passes[begin[d]] … passes[begin[d + 1] - 1]. */
struct sp_order {
    uint32_t device_count;
    uint64_t *begin; /* device_count + 1 */
    struct sp_pass *passes;
};

/*
 * One part of the exchange: the attention of `pass` over its past tokens [token_begin, token_end) is computed
 * by another device, at `anchor`, a pass of that device: during it (layer by layer, beside its own
 * attention), or, where the device is idle, before or after it. pass is an F, B or I, and so is an anchor of
 * a part computed during it; one before or after may also be a W or R. Neither is joined.
 *
 * Passes bound by `during` run side by side, layer by layer: none ends before all have begun, so no two of
 * them are on one device. Parts before (or after) one pass are computed one after the other in their order
 * here, each from the start to the end of the pass that it helps.
 */
enum sp_anchor { SP_ANCHOR_DURING, SP_ANCHOR_BEFORE, SP_ANCHOR_AFTER };

struct sp_exchange_part {
    struct sp_pass pass;
    struct sp_pass anchor;
    uint32_t device; /* where the anchor runs; derived */
    uint32_t where;  /* enum sp_anchor */
    int64_t token_begin, token_end;
};

struct sp_plan {
    struct sp_arena *arena;      /* owns everything below */
    const char *schedule;        /* registry name, or "imported" */
    const char *exchange_policy; /* "none", "pairwise", "optimal" */

    bool has_model; /* model, cluster and profile are set; else costs is */
    struct sp_model model;
    struct sp_cluster cluster;
    struct sp_profile profile;
    const struct sp_pass_costs *costs; /* NULL with a model */

    struct sp_parallel parallel;
    struct sp_workload workload;
    enum sp_vocabulary vocabulary;
    enum sp_kv_gradient kv_gradient;
    int64_t memory_cap_bytes; /* per GPU; 0: none */

    uint32_t slice_count;        /* n */
    const int64_t *slice_tokens; /* with unit costs relative weights; equal slices: all 1 */

    uint32_t stage_count;
    struct sp_stage *stages;
    /* Stages of microbatch i in forward order (SkipPipe); NULL: all stages in order. */
    const uint32_t *path_begin; /* microbatches + 1 */
    const uint16_t *path_stages;

    struct sp_order order;
    uint64_t exchange_count;
    struct sp_exchange_part *exchange; /* by device of pass, in its order; parts of one pass by token_begin */
};

/* A plan with an arena and defaults (degrees 1, one slice, no cap); NULL when memory is short. */
struct sp_plan *sp_plan_create(void);
void sp_plan_destroy(struct sp_plan *plan);

/* Reads and checks; `-` for standard input. */
enum sp_status sp_plan_read(const char *path, struct sp_plan **ret_plan,
                            struct sp_error *error) SP_MUST_CHECK;
/* The same from size bytes of text. source names it in messages. */
enum sp_status sp_plan_parse(const char *text, size_t size, const char *source, struct sp_plan **ret_plan,
                             struct sp_error *error) SP_MUST_CHECK;
/* The canonical form of a valid plan: read, written, read again it is byte for byte the same. */
enum sp_status sp_plan_write(const struct sp_plan *plan, const char *path,
                             struct sp_error *error) SP_MUST_CHECK;
/* The same to a stream, whose errors are the caller's to look for. SP_MEMORY. */
enum sp_status sp_plan_print(const struct sp_plan *plan, FILE *stream, struct sp_error *error) SP_MUST_CHECK;

/*
 * All checks of the door on a plan built in memory: limits, every pass present exactly once and on a device
 * that holds its stage, per device the order that dependencies on the same stage demand, no cycle
 * (SP_INFEASIBLE; the message is the chain of passes), exchange parts inside the past, not overlapping,
 * helpers not depending on what they help. Fills the derived fields and sorts the parts. Memory caps are not
 * checked here (program.h).
 */
enum sp_status sp_plan_check(struct sp_plan *plan, struct sp_error *error) SP_MUST_CHECK;

/* "12F0.31"; the slice is left out where slice_count is 1. Returns text. size ≥ 32. */
char *sp_pass_text(const struct sp_pass *pass, uint32_t slice_count, char *text, size_t size);
/*
 * Parses one pass token at *cursor and moves the cursor behind it. False (cursor unmoved) where there is
 * none. Accepts kinds FIWBROLST; with_slice says whether `.slice` must be there or must not.
 */
bool sp_pass_parse(const char **cursor, bool with_slice, struct sp_pass *ret_pass);

/*
 * Where each pass stands in order.passes. One entry per (kind, stage, microbatch, slice); S and T, which run
 * on several devices, are found by device.
 */
struct sp_pass_table;
#define SP_NO_PASS UINT64_MAX

/* In arena, and gone with it; NULL when memory is short. */
struct sp_pass_table *sp_pass_table_create(const struct sp_plan *plan, struct sp_arena *arena);
/* Index in order.passes, or SP_NO_PASS. pass->joined is ignored. */
uint64_t sp_pass_table_find(const struct sp_pass_table *table, enum sp_pass_kind kind, uint32_t stage,
                            uint32_t microbatch, uint32_t slice);
uint64_t sp_pass_table_find_output(const struct sp_pass_table *table, enum sp_pass_kind kind, uint32_t device,
                                   uint32_t microbatch, uint32_t slice);
/* The backward that gives the input gradient: B or I; SP_NO_PASS where the stage has none. */
uint64_t sp_pass_table_find_backward(const struct sp_pass_table *table, uint32_t stage, uint32_t microbatch,
                                     uint32_t slice);
/* Stage before or after `stage` on the microbatch's path, or -1 at its ends. */
int32_t sp_plan_previous_stage(const struct sp_plan *plan, uint32_t microbatch, uint32_t stage);
int32_t sp_plan_next_stage(const struct sp_plan *plan, uint32_t microbatch, uint32_t stage);
/* The first token of a slice. */
int64_t sp_plan_slice_begin(const struct sp_plan *plan, uint32_t slice);

#endif
