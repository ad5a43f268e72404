/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the host backend: what a device holds. Sizes are those of cost/memory_float32.c; what the ledger
 * does not count is scratch, allocated once: gradients and rotary tables of one slice, and what a layer's
 * pieces use over.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_BACKEND_H
#define SLIMPIPE_EXECUTOR_HOST_BACKEND_H

#include "layer.h"
#include "output.h"
#include "slimpipe/executor.h"

/* Parameters that belong together: a layer, the final norm, a matrix of the vocabulary. */
struct host_group {
    enum { HOST_EMBEDDING, HOST_LAYER, HOST_NORM, HOST_HEAD } kind;
    int64_t layer;     /* of the model */
    int64_t first_row; /* of a matrix of the vocabulary */
    int64_t count;     /* floats */
    float *weight, *gradient, *first, *second;
};

/* A stage that the device holds. */
struct host_stage {
    uint32_t number;
    struct sp_host_weights *weights, *gradients; /* by layer of the stage */
    struct host_unit *units;                     /* [microbatch][slice] */
};

/* What is held of one stage, microbatch and slice. Blocks of the device's arena; NULL where there is none. */
struct host_unit {
    float *saved;     /* activations */
    float *extra;     /* gradients that W needs, and what would be recomputed again */
    float *kv, *d_kv; /* [layers][k, v][rows][key width] */
    float *recompute; /* unsaved activations */
    float *logits;
    float *passed_on; /* its result, until the next pass of this device takes it */
};

/* A pass under way. */
struct host_pass {
    uint64_t index; /* in the order; SP_NO_PASS: none */
    const struct sp_pass *pass;
    struct host_stage *stage;
    struct host_unit *unit;
    uint32_t layers;
    int64_t rows;
    struct sp_host_work work;
    bool weights_follow, recomputed;
    float *incoming, *outgoing; /* buffers of messages */
    float *partial;             /* others' parts of a layer's attention while they are merged */
    float *flow;                /* hidden states or their gradient between layers */
};

/* A slice's part of an output layer that is spread over all devices. */
struct host_output {
    float *logits;   /* S to T */
    float *normed;   /* hidden states behind the final norm: until S has run */
    float *gradient; /* their gradient: while T runs; at the last stage's device until its backward */
};

struct host_state {
    const struct sp_device *device;
    const struct sp_program *program;
    const struct sp_plan *plan;
    const struct sp_model *model;
    struct sp_arena *arena; /* of all that the ledger does not count */
    struct sp_pass_table *table;
    struct sp_host_math math;

    int group_count;
    struct host_group *groups;
    struct host_group *embedding, *norm, *head; /* NULL where not here */
    uint32_t stage_count;
    struct host_stage *stages;
    int32_t *stage_of; /* by stage number: index in stages, or −1 */

    struct host_output *outputs; /* [microbatch][slice] */
    float *shard_lse;            /* [device][row] */

    struct host_pass passes[2]; /* the second where two are joined */
    float *flow[2];             /* of these */
    float *unsaved;             /* of a forward */
    float *normed;              /* behind the final norm */
    float *scratch, *gradients, *d_kv, *lse, *target;
    float **cosine, **sine; /* by slice */
    int32_t *ids, *targets;
    struct sp_host_keys *runs;
    uint64_t *part_begin;        /* by pass: its parts in plan->exchange; NULL without an exchange */
    float *guest, *guest_result; /* the block of the guest at hand, and where its result is in it */

    int64_t step;
    float scale; /* of a token's loss */
    double loss;
    bool stepped;
};

/* backend_model.c */
enum sp_status sp_host_create_groups(struct host_state *s, struct sp_error *error) SP_MUST_CHECK;
bool sp_host_group_tensor(const struct host_state *s, int index, struct sp_tensor *ret_tensor);

/* backend_pass.c: what a pass takes and gives of memory, apart from running it. */
enum sp_status sp_host_pass_begin(struct host_state *s, struct host_pass *p, uint64_t index,
                                  struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_host_pass_end(struct host_state *s, struct host_pass *p,
                                struct sp_error *error) SP_MUST_CHECK;
void *sp_host_take(struct host_state *s, enum sp_memory_category category, int64_t bytes,
                   struct sp_error *error);
struct host_unit *sp_host_unit_of(struct host_state *s, uint32_t stage, uint32_t microbatch, uint32_t slice);

/* backend_layer.c: a pass in pieces; k counts layers in the order of running. */
enum sp_status sp_host_enter(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs,
                             int count, struct sp_error *error) SP_MUST_CHECK;
/* All layers of a pass that gives nothing away and hosts nothing. */
void sp_host_layers(struct host_state *s, struct host_pass *p);
void sp_host_before(struct host_state *s, struct host_pass *p, uint32_t k);
void sp_host_attention(struct host_state *s, struct host_pass *p, uint32_t k);
void sp_host_after(struct host_state *s, struct host_pass *p, uint32_t k);
enum sp_status sp_host_leave(struct host_state *s, struct host_pass *p, struct sp_error *error) SP_MUST_CHECK;
void sp_host_weights(struct host_state *s, struct host_pass *p);
void sp_host_recompute(struct host_state *s, struct host_pass *p);
/* The activations of layer `layer` of the stage. */
void sp_host_bind(struct host_state *s, const struct host_pass *p, uint32_t layer,
                  struct sp_host_activations *a);
void sp_host_bind_gradients(struct host_state *s, const struct host_pass *p, uint32_t layer,
                            struct sp_host_gradients *g);

/* backend_exchange.c */
int64_t sp_host_own_runs(struct host_state *s, const struct host_pass *p, uint32_t layer, bool all);
enum sp_status sp_host_merge_begin(struct host_state *s, struct host_pass *p, uint32_t k,
                                   const struct sp_parcel *inputs, int count,
                                   struct sp_error *error) SP_MUST_CHECK;
void sp_host_merge_end(struct host_state *s, struct host_pass *p);
enum sp_status sp_host_guest(struct host_state *s, uint32_t number, const struct sp_parcel *inputs, int count,
                             struct sp_error *error) SP_MUST_CHECK;
void sp_host_pack_exchange(struct host_state *s, uint32_t message, float *data);

/* backend_output.c: the output layer. */
enum sp_status sp_host_output_forward(struct host_state *s, struct host_pass *p,
                                      struct sp_error *error) SP_MUST_CHECK;
void sp_host_output_backward(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs,
                             int count);

/* backend_spread.c: the output layer on all devices. */
struct host_group sp_host_spread_head(const struct host_state *s);
enum sp_status sp_host_spread_keep(struct host_state *s, const struct host_pass *p,
                                   struct sp_error *error) SP_MUST_CHECK;
void sp_host_spread_sum(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs, int count);
void sp_host_spread_drop(struct host_state *s, const struct host_pass *p);
enum sp_status sp_host_spread_run(struct host_state *s, uint64_t index, const struct sp_parcel *inputs,
                                  int count, struct sp_error *error) SP_MUST_CHECK;
void sp_host_spread_end(struct host_state *s, uint64_t index);
void sp_host_spread_pack(struct host_state *s, uint32_t message, const struct sp_parcel *inputs, int count,
                         float *data);
/* backend_layer.c: fills s->targets with a pass's. */
void sp_host_read_targets(struct host_state *s, const struct sp_pass *pass);

/* backend_step.c */
enum sp_status sp_host_step(struct host_state *s, struct sp_error *error) SP_MUST_CHECK;

#endif
