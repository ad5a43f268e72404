/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of slots for schedules from building blocks (block.h): which pass a device runs in which slot of
 * unit length, and what it holds after it.
 */
#ifndef SLIMPIPE_PLANNER_BLOCK_TABLE_H
#define SLIMPIPE_PLANNER_BLOCK_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"

/*
 * F and I cross the devices down (F0, I0) and up (F1, I1); the upper chunk's are F1 and I0. W0 is of I0, W1
 * of I1; but where W are not told apart, every one is a W0.
 */
enum sp_leg { F0, F1, I0, I1, W0, W1, LEGS, FREE };
enum { CROSSING_LEGS = W0 };

/* What a device holds after a slot: units, and input gradients whose W has not run. */
struct sp_level {
    int32_t held, waiting;
};

struct sp_block_device {
    uint8_t *slots;        /* leg, or FREE */
    uint32_t length;       /* slots in use */
    uint32_t *times[LEGS]; /* slot of each pass; W0: room for all W */
    uint32_t *input_times; /* room for the slots of all I */
    struct sp_level *levels;
    uint32_t seen[LEGS];       /* passes met, for walks over the slots */
    uint32_t next;             /* likewise: first slot behind the last pass placed; a count */
    uint32_t drain_from[LEGS]; /* first pass of the drain */
};

struct sp_block_table {
    uint32_t device_count, microbatches;
    uint32_t capacity; /* slots that a device may need */
    bool has_weights;  /* W stand in slots; else one is thought to run in each free slot */
    int32_t cap;       /* units held at most */
    struct sp_block_device *devices;
    void *memory; /* of their arrays */
};

static inline bool sp_leg_is_forward(unsigned leg)
{
    return leg == F0 || leg == F1;
}

static inline bool sp_leg_is_input(unsigned leg)
{
    return leg == I0 || leg == I1;
}

/* An empty table with room for the repeated block; false where memory is short. finish in any case. */
bool sp_block_table_init(struct sp_block_table *table, const struct sp_shape *shape,
                         const struct sp_block *blocks);
void sp_block_table_finish(struct sp_block_table *table);

/* Empties the table and puts F and I of all microbatches where the blocks say. */
void sp_block_table_lay_out(struct sp_block_table *table, const struct sp_block *blocks);
/* W in the first free slots after their I: told apart (W0 before W1), or all as W0. */
void sp_block_table_put_weights(struct sp_block_table *table, bool apart);
void sp_block_table_remove_weights(struct sp_block_table *table);
/* Puts pass `place` of a leg into a free slot. */
void sp_block_table_put(struct sp_block_device *device, enum sp_leg leg, uint32_t place, uint32_t t);

/* The level after one more slot, and all levels and with them the cap. */
struct sp_level sp_block_table_after(const struct sp_block_table *table, struct sp_level level, unsigned leg);
void sp_block_table_set_levels(struct sp_block_table *table);

void sp_block_table_forget_seen(struct sp_block_table *table);
/* Slots in use on the longest device. */
uint32_t sp_block_table_length(const struct sp_block_table *table);
/* The first slot in which pass `place` of F or I has all that it needs. */
uint32_t sp_block_table_earliest(const struct sp_block_table *table, uint32_t j, enum sp_leg leg,
                                 uint32_t place);

/*
 * Two ways to move the passes of a laid out table forward: the authors' (block_reorder.c) and Primus'
 * (block_gather.c). W are told apart afterwards.
 */
void sp_block_table_reorder(struct sp_block_table *table);
void sp_block_table_gather(struct sp_block_table *table);
/* The same where W stays behind its I (block_whole.c). */
void sp_block_table_gather_whole(struct sp_block_table *table);

#endif
