/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules from a building block (arXiv 2405.15362, and its published code): two chunks per device in a V,
 * passes F, I and W of one slot each. A block says when the four F and I of microbatch 0 start; it is
 * repeated every six slots, W fill the gaps, and then the passes of the fill and the drain are moved forward
 * as far as the memory of the repeated block allows. The life of a microbatch in the block decides the
 * memory.
 */
#ifndef SLIMPIPE_PLANNER_BLOCK_H
#define SLIMPIPE_PLANNER_BLOCK_H

#include "slimpipe/schedule.h"

/* Slots from one microbatch to the next: two F, two I, two W. */
enum { SP_BLOCK_PERIOD = 6 };

/* First slots on one device of F of the lower and upper chunk, then I of the upper and lower. */
struct sp_block {
    uint32_t start[4];
};

/* blocks: one per device; the four starts of a device must differ modulo 6. */
enum sp_status sp_block_push(const struct sp_shape *shape, const struct sp_block *blocks,
                             struct sp_order_builder *builder, struct sp_error *error);

/* What comes of a block: with the shape's times (all equal where it has none), and the units held at most. */
struct sp_block_result {
    int64_t makespan, sum_of_ends;
    int32_t peak;
};
enum sp_status sp_block_measure(const struct sp_shape *shape, const struct sp_block *blocks,
                                struct sp_block_result *ret_result, struct sp_error *error);

/* Units held at most by the repeated block before anything is moved, however many microbatches there are. */
int32_t sp_block_peak(const struct sp_block *blocks, uint32_t devices);

/* sp_block_push with B in the place of I and W; a block's backward has two slots. */
enum sp_status sp_block_push_whole(const struct sp_shape *shape, const struct sp_block *blocks,
                                   struct sp_order_builder *builder, struct sp_error *error);

#endif
