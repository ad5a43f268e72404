/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 1F1B-V: whole backwards over a V of two chunks per device, with the bubble of 1F1B in three quarters of its
 * memory or less.
 */
#include "../block.h"
#include "schedules.h"
#include "slimpipe/arena.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "1f1b-v: %u chunks per device; expected 2", shape->chunks);
    return SP_OK;
}

/*
 * Forwards go down and up a slot apart, backwards two. After every third backward three slots are skipped:
 * without that a device's four passes would meet modulo six.
 */
static void lay_blocks(uint32_t p, struct sp_block *blocks)
{
    uint32_t t = 2 * p + (p % 3 == 0 ? 3 : 0);

    for (uint32_t k = 0; k < p; k++) {
        blocks[k].start[0] = k;
        blocks[p - 1 - k].start[1] = p + k;
    }
    for (uint32_t k = 0; k < 2 * p; k++) {
        if (k < p)
            blocks[k].start[2] = t;
        else
            blocks[2 * p - 1 - k].start[3] = t;
        t += (k + 2 * p + 2) % 3 == 0 ? 5 : 2;
    }
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    struct sp_block *blocks = sp_alloc(shape->devices, sizeof(*blocks));
    enum sp_status status;

    if (!blocks)
        return sp_error_set(error, SP_MEMORY, "no memory for the blocks of %u devices", shape->devices);
    lay_blocks(shape->devices, blocks);
    status = sp_block_push_whole(shape, blocks, builder, error);
    sp_free(blocks);
    return status;
}

const struct sp_schedule sp_schedule_1f1b_v = {
    .name = "1f1b-v",
    .description = "1F1B over a V of two chunks per device: its bubble, less memory",
    .source = "Pipeline Parallelism with Controllable Memory, arXiv 2405.15362",
    .traits = SP_SCHEDULE_CHUNKS,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
