/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each pass of a plan takes in time, FLOPs and bytes. All per GPU, so one tensor·context rank of a
 * device.
 *
 * With a model: FLOPs and bytes of each operation, duration = roofline with the profile's efficiencies. With
 * explicit pass costs: those. The lowering asks here and nobody else computes a duration or a size.
 */
#ifndef SLIMPIPE_COST_H
#define SLIMPIPE_COST_H

#include <stdint.h>

#include "slimpipe/plan.h"

/* The memory categories of the ledger, the executor's arenas and the summary. */
#define SP_MEMORY_LIST(X)                                                                                    \
    X(WEIGHTS, "weights")                                                                                    \
    X(GRADIENTS, "gradients")                                                                                \
    X(OPTIMIZER, "optimizer")                                                                                \
    X(ACTIVATIONS, "activations")                                                                            \
    X(KV_CACHE, "kv_cache")                                                                                  \
    X(KV_GRADIENT, "kv_gradient")                                                                            \
    X(LOGITS, "logits")                                                                                      \
    X(RECOMPUTE, "recompute")                                                                                \
    X(EXCHANGE, "exchange")                                                                                  \
    X(MESSAGES, "messages")                                                                                  \
    X(OFFLOAD, "offload") /* host memory: not part of the device's total */

enum sp_memory_category {
#define X(name, text) SP_MEMORY_##name,
    SP_MEMORY_LIST(X)
#undef X
        SP_MEMORY_CATEGORIES
};
extern const char *const sp_memory_names[SP_MEMORY_CATEGORIES + 1];

struct sp_cost;

enum sp_status sp_cost_create(const struct sp_plan *plan, struct sp_cost **ret_cost,
                              struct sp_error *error) SP_MUST_CHECK;
void sp_cost_destroy(struct sp_cost *cost);

/*
 * Duration of a whole pass on its device when nothing of it is exchanged; 0 for O and L. A backward includes
 * its unit's recompute, unless the order has an R for that unit.
 */
int64_t sp_cost_pass_ns(const struct sp_cost *cost, const struct sp_pass *pass);
/* Two passes run overlapped as one. */
int64_t sp_cost_joined_ns(const struct sp_cost *cost, const struct sp_pass *first,
                          const struct sp_pass *second);

/*
 * One layer of a pass that takes part in an exchange: before its attention, its own attention with only
 * kept_past of its past tokens (own causal part included), and after it, merge of `parts` partial results
 * included. With nothing exchanged the three add up to the pass's duration / layers, but for rounding.
 */
struct sp_layer_cost {
    int64_t before_ns, attention_ns, after_ns;
};
void sp_cost_layer(const struct sp_cost *cost, const struct sp_pass *pass, int64_t kept_past, int parts,
                   struct sp_layer_cost *ret_layer);
/* One layer's attention of pass's queries over `tokens` past tokens, on the device that helps. */
int64_t sp_cost_guest_ns(const struct sp_cost *cost, const struct sp_pass *pass, int64_t tokens);

/* Duration of the end of an iteration on a device: the gradient reduction that is not hidden, optimizer step.
 */
int64_t sp_cost_step_ns(const struct sp_cost *cost, uint32_t device);

/* Bytes of the message that crosses a stage boundary: hidden states or their gradient, of one slice. */
int64_t sp_cost_hop_bytes(const struct sp_cost *cost, uint32_t slice);
/* Bytes of an exchanged part per layer, of a forward or a backward. */
struct sp_exchange_bytes {
    int64_t early;  /* keys and values (backward: and query, merged output, log-sum-exp): known ahead */
    int64_t urgent; /* query (backward: output gradient) */
    int64_t result; /* partial output and log-sum-exp (backward: gradients of query, keys and values) */
};
void sp_cost_exchange_bytes(const struct sp_cost *cost, const struct sp_pass *pass, int64_t tokens,
                            struct sp_exchange_bytes *ret_bytes);
/* Hidden states of one slice that one device gets for its S, and their gradient that comes back from its T.
 */
int64_t sp_cost_output_bytes(const struct sp_cost *cost, uint32_t slice);

/* Occupancy and latency of a message between two devices; a hop of message_ns with explicit costs. */
struct sp_transfer {
    int64_t latency_ns;
    int64_t busy_ns; /* time the sending and receiving ports are taken */
    int same_node;   /* which port: inside the node, or the network card */
};
struct sp_transfer sp_cost_transfer(const struct sp_cost *cost, uint32_t from, uint32_t to, int64_t bytes);
/* A copy over the device's host link. */
struct sp_transfer sp_cost_host_copy(const struct sp_cost *cost, uint32_t device, int64_t bytes);
/* Devices with the same number share a host link. */
uint32_t sp_cost_host_port(const struct sp_cost *cost, uint32_t device);

/* Bytes of one unit (stage, microbatch, slice) in device memory. */
struct sp_unit_bytes {
    int64_t activations;  /* saved by F for the backward, K and V excluded unless offloaded; whole unit */
    int64_t offloaded;    /* of these, what goes to host memory */
    int64_t weight_held;  /* stays from I until W, gradients saved for W included; may exceed activations */
    int64_t weight_extra; /* beside activations from I's start until W, in place of recompute */
    int64_t local_hop;    /* a result between two passes of one device, until the second has it */
    int64_t kv;           /* the slice's keys and values, all layers of the stage */
    int64_t kv_gradient;  /* their gradient, in the plan's form */
    int64_t recompute;    /* buffer while a backward runs */
    int64_t hop;          /* a received or sent message's buffer */
    int64_t logits;       /* one device's part of the slice's logits: S to T (or F to B of the last stage) */
};
void sp_cost_unit_bytes(const struct sp_cost *cost, uint32_t stage, uint32_t slice,
                        struct sp_unit_bytes *ret_bytes);
/* Weights, gradients, optimizer state: there for the whole iteration. Other categories: 0. */
int64_t sp_cost_resident_bytes(const struct sp_cost *cost, uint32_t device, enum sp_memory_category category);

/*
 * FLOPs of one iteration that the model needs on all GPUs: no recompute, causal attention counted once
 * (half). 0 with explicit costs, where there is no MFU.
 */
double sp_cost_model_flops(const struct sp_cost *cost);
/* Peak FLOP/s of all GPUs of the plan. */
double sp_cost_peak_flops(const struct sp_cost *cost);
/* Tokens of one iteration over all data-parallel replicas; 0 with explicit costs. */
int64_t sp_cost_tokens(const struct sp_cost *cost);

#endif
