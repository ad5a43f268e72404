/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: a plan lowered to what devices do. Per device, in-order streams of instructions; between them
 * explicit dependencies; every allocation and release in bytes.
 *
 * Instructions are numbered in a topological order of dependencies and streams, so one sweep over them visits
 * each after everything it waits for. A pass that takes part in an exchange is several instructions per
 * layer, any other is one. A message is one instruction: its producer is its dependency, its consumer depends
 * on it.
 *
 * Memory changes belong to compute instructions only (start or end), so the ledger does not depend on timing,
 * and a replay's high-water marks can equal the prediction to the byte.
 */
#ifndef SLIMPIPE_PROGRAM_H
#define SLIMPIPE_PROGRAM_H

#include <stdint.h>

#include "slimpipe/cost.h"
#include "slimpipe/plan.h"

enum sp_stream { SP_STREAM_COMPUTE, SP_STREAM_SEND, SP_STREAM_OFFLOAD, SP_STREAM_RELOAD, SP_STREAMS };

#define SP_INSTRUCTION_LIST(X)                                                                               \
    X(PASS, "pass")               /* a whole pass */                                                         \
    X(JOINED, "joined passes")    /* two passes as one: `pass` and the one after it in the order */          \
    X(BEFORE, "before attention") /* one layer of an exchanged pass, up to its attention */                  \
    X(ATTENTION, "attention")     /* its own attention; where it hosts guests, the causal part alone */      \
    X(PAST, "past attention")     /* what it kept of its past, once its guests are served */                 \
    X(AFTER, "after attention")   /* merge of partial results, and the rest of the layer */                  \
    X(GUEST, "guest attention")   /* one layer's attention of another device's pass */                       \
    X(STEP, "optimizer step")     /* gradient reduction and optimizer; `pass` is SP_NO_INDEX */              \
    X(HOP, "hop message")         /* hidden states to the next stage, or their gradient back */              \
    X(EARLY, "early exchange")    /* keys and values (and more in backward) to a helper */                   \
    X(URGENT, "urgent exchange")  /* query or output gradient to a helper */                                 \
    X(RESULT, "exchange result")  /* partial result back */                                                  \
    X(SCATTER, "output scatter")  /* hidden states to a device's S, or gradients back from its T */          \
    X(OFFLOAD, "offload")         /* copy to host memory */                                                  \
    X(RELOAD, "reload")           /* copy back */

enum sp_instruction_kind {
#define X(name, text) SP_INSTRUCTION_##name,
    SP_INSTRUCTION_LIST(X)
#undef X
        SP_INSTRUCTION_KINDS
};

#define SP_NO_INDEX   UINT32_MAX
#define SP_WHOLE_PASS UINT16_MAX

struct sp_instruction {
    uint8_t kind;      /* enum sp_instruction_kind */
    uint8_t stream;    /* enum sp_stream */
    uint8_t same_node; /* messages: inside a node (1) or over the network card (0) */
    uint8_t reserved;
    uint16_t device;     /* whose stream; a message's sender */
    uint16_t peer;       /* a message's receiver; a guest's requester; else device */
    uint16_t layer;      /* layer within the stage; SP_WHOLE_PASS */
    uint16_t wait_count; /* dependencies beyond the stream's own order, see wait_begin */
    uint32_t pass;       /* in plan->order.passes: the pass it belongs to (a guest: the requester's) */
    uint32_t part;       /* in plan->exchange for guests and exchange messages; else SP_NO_INDEX */
    uint32_t memory;     /* index of its memory effect; 0: none */
    uint64_t wait_begin; /* its waits are program->waits[wait_begin …], all smaller than its own number */
    int64_t duration_ns; /* compute: run time; messages and copies: time the ports are taken */
    int64_t bytes;       /* messages and copies: size */
};

/* One change of one category on the instruction's device. */
struct sp_memory_change {
    int64_t bytes;    /* positive: allocated, negative: released */
    uint8_t category; /* enum sp_memory_category */
    uint8_t at_end;   /* 0: at the instruction's start, 1: at its end */
};
/* Changes program->changes[begin … end), those at the start first. In flight: forward units held, +1, 0 or
 * −1. */
struct sp_memory_effect {
    uint32_t begin, end;
    int8_t in_flight_start, in_flight_end;
};

struct sp_program {
    struct sp_arena *arena;
    const struct sp_plan *plan; /* borrowed; outlives the program */
    const struct sp_cost *cost; /* owned */

    uint32_t instruction_count;
    struct sp_instruction *instructions;
    uint32_t *waits;

    /* Stream s of device d, in order: stream_items[stream_begin[d * SP_STREAMS + s] …]. */
    uint32_t device_count;
    uint32_t *stream_begin;
    uint32_t *stream_items;

    uint32_t effect_count;
    struct sp_memory_effect *effects; /* effects[0] is empty */
    uint32_t change_count;
    struct sp_memory_change *changes;
    int64_t (*resident)[SP_MEMORY_CATEGORIES]; /* per device, there throughout */

    int64_t latency_ns[2];     /* of messages, by same_node */
    const uint32_t *host_port; /* per device; devices with the same port share a host link */

    /* Of one iteration on all GPUs, for MFU and throughput; 0 with explicit costs. */
    double model_flops, peak_flops; /* what the model needs; and the peak FLOP/s */
    int64_t tokens;
};

/* Lowers a valid plan. The program borrows the plan. */
enum sp_status sp_program_create(const struct sp_plan *plan, struct sp_program **ret_program,
                                 struct sp_error *error) SP_MUST_CHECK;
void sp_program_destroy(struct sp_program *program);

extern const char *const sp_instruction_names[SP_INSTRUCTION_KINDS];

/*
 * The ledger: what each device holds, swept over its compute stream. Peaks do not depend on timing.
 */
struct sp_device_memory {
    int64_t peak_bytes;        /* device memory, all categories but OFFLOAD */
    uint32_t peak_instruction; /* where it is first reached; SP_NO_INDEX: before the first */
    int64_t peak_by_category[SP_MEMORY_CATEGORIES]; /* each category's own high-water mark */
    int64_t at_peak[SP_MEMORY_CATEGORIES];          /* what was live at the device's peak */
    int64_t at_end[SP_MEMORY_CATEGORIES];           /* what is left: the resident bytes in a valid program */
    int64_t peak_in_flight;                         /* forward units held */
};
void sp_program_memory(const struct sp_program *program, uint32_t device,
                       struct sp_device_memory *ret_memory);

/* SP_INFEASIBLE with device, peak, cap and what was live when a device's peak is above the plan's cap. */
enum sp_status sp_program_check_memory(const struct sp_program *program,
                                       struct sp_error *error) SP_MUST_CHECK;

#endif
