/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lowering's workspace. Instructions are emitted in raw order: compute streams device by device, then
 * copies device by device, then messages; edges say which raw instruction waits for which. number.c turns
 * that into the program's topological order.
 */
#ifndef PROGRAM_LOWERING_H
#define PROGRAM_LOWERING_H

#include <stdbool.h>

#include "slimpipe/program.h"

struct edge {
    uint32_t to, from; /* raw: `to` waits for `from` */
};

/* A unit's way to host memory and back. All but bytes are pass indices. */
struct copy {
    uint64_t unit;     /* the F whose activations go */
    uint64_t source;   /* at whose end the offload is queued: the F, or the pass before an explicit O */
    uint64_t release;  /* at whose start the offloaded bytes leave the device */
    uint64_t anchor;   /* at whose end the reload is queued and its bytes are allocated */
    uint64_t backward; /* needs them again */
    int64_t bytes;
};

/* Changes of one instruction: releases at its start, then allocations at its start, then all at its end. */
enum { DRAFT_LIMIT = 24 };
enum draft_time { DRAFT_RELEASE, DRAFT_START, DRAFT_END, DRAFT_TIMES };
struct effect_draft {
    struct sp_memory_change changes[DRAFT_TIMES][DRAFT_LIMIT];
    int count[DRAFT_TIMES];
    int in_flight_start, in_flight_end;
};

/* The instructions of one layer of a pass cut into layers. */
struct layer_site {
    uint32_t before, after;
};

struct lowering {
    const struct sp_plan *plan;
    const struct sp_cost *cost;
    const struct sp_pass_table *table;
    struct sp_arena *scratch; /* gone after the lowering */
    bool short_of_memory;

    struct sp_instruction *raw;
    size_t raw_count, raw_capacity;
    struct edge *edges;
    size_t edge_count, edge_capacity;
    int64_t latency_ns[2]; /* of messages, by same_node */

    /* By pass index. */
    uint64_t pass_count;
    uint16_t *device_of;
    uint32_t *first, *last;  /* raw instructions of the pass; SP_NO_INDEX for O and L */
    uint64_t *hop_source;    /* pass whose result this one waits for; SP_NO_PASS */
    bool *recomputed_before; /* a B or I whose recompute is an R of the order; NULL without R passes */

    /* Exchange; all NULL without. */
    uint64_t *part_begin;      /* by requesting pass: parts [part_begin[i], part_begin[i + 1]) */
    uint64_t *guest_begin;     /* by anchor pass: guests[guest_begin[i] …] */
    uint32_t *guests;          /* part numbers */
    struct layer_site **sites; /* by requesting pass: its layers */
    uint32_t **guest_of_layer; /* by part: raw guest instruction of each of the requester's layers */

    /* Offload; NULL without. */
    struct copy *copies; /* in the order of sources */
    size_t copy_count, copy_capacity;
    int64_t *release_bytes, *anchor_bytes; /* by pass */
    int64_t *unit_bytes;                   /* by F: what was copied out */

    struct sp_memory_effect *effects;
    size_t effect_count, effect_capacity;
    struct sp_memory_change *changes;
    size_t change_count, change_capacity;
    uint32_t *effect_slots; /* hash table: effect number, 0: free */
    size_t slot_count;      /* a power of two */
};

/* Appends an instruction; SP_NO_INDEX (and short_of_memory) on failure. */
uint32_t sp_lowering_emit(struct lowering *l, const struct sp_instruction *instruction);
/* `to` waits for `from`; nothing where either is SP_NO_INDEX. */
void sp_lowering_wait(struct lowering *l, uint32_t to, uint32_t from);
/* Grows a vector to hold one more item. False (and short_of_memory) on failure. */
bool sp_lowering_reserve(struct lowering *l, void **items, size_t count, size_t *capacity, size_t size);

/* The neighbouring compute pass (O and L skipped) on the same device, or SP_NO_PASS. */
uint64_t sp_lowering_next_pass(const struct lowering *l, uint64_t pass);
uint64_t sp_lowering_previous_pass(const struct lowering *l, uint64_t pass);
/* Layers that a pass is cut into when it takes part in an exchange: its stage's, or 1 with explicit costs. */
uint32_t sp_lowering_layers(const struct lowering *l, const struct sp_pass *pass);

/* offload.c: which units are copied out and back, and when. */
void sp_lowering_plan_copies(struct lowering *l);
void sp_lowering_emit_copies(struct lowering *l);

/* changes.c: memory effects of instructions. */
void sp_draft_pass(const struct lowering *l, uint64_t pass, struct effect_draft *draft);
void sp_draft_add(struct effect_draft *draft, enum draft_time time, enum sp_memory_category category,
                  int64_t bytes);
/* The effect's number; equal drafts share one. An empty draft is 0. */
uint32_t sp_lowering_effect(struct lowering *l, const struct effect_draft *draft);

/* emit.c: compute streams. */
void sp_lowering_emit_compute(struct lowering *l);

/* connect.c: edges between what was emitted, and messages. */
void sp_lowering_connect(struct lowering *l);

/* number.c: raw order to topological order; fills the program's instructions, waits and streams. */
enum sp_status sp_lowering_number(struct lowering *l, struct sp_program *program, struct sp_error *error);

#endif
