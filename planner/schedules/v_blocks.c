/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V-Min and V-Half: two chunks per device in a V, from building blocks in which a microbatch lives for about
 * a third, or half, of the time it lives in ZB-V. The blocks take F, I and W for equally long.
 */
#include "../block.h"
#include "schedules.h"
#include "slimpipe/arena.h"

static enum sp_status check_chunks(const char *name, const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "%s: %u chunks per device; expected 2", name, shape->chunks);
    return SP_OK;
}

static enum sp_status check_min(const struct sp_shape *shape, struct sp_error *error)
{
    return check_chunks("v-min", shape, error);
}

static enum sp_status check_half(const struct sp_shape *shape, struct sp_error *error)
{
    return check_chunks("v-half", shape, error);
}

/* Blocks of arXiv 2405.15362. The gap before I keeps the four starts apart modulo six. */
static struct sp_block min_block(uint32_t p, uint32_t j)
{
    uint32_t gap = p % 3 == 0 ? 2 : 0;

    return (struct sp_block){{j, 2 * p - j - 1, 2 * p + gap + j, 4 * p + gap - j - 1}};
}

static struct sp_block half_block(uint32_t p, uint32_t j)
{
    uint32_t gap = p % 2 == 0 ? 3 : 0;

    return (struct sp_block){{2 * j, 3 * p - j - 2, 3 * p + gap + 2 * j - 1, 6 * p + gap - j - 2}};
}

static enum sp_status order(const struct sp_shape *shape, struct sp_block (*block)(uint32_t, uint32_t),
                            struct sp_order_builder *builder, struct sp_error *error)
{
    struct sp_block *blocks = sp_alloc(shape->devices, sizeof(*blocks));
    enum sp_status status;

    if (!blocks)
        return sp_error_set(error, SP_MEMORY, "no memory for the blocks of %u devices", shape->devices);
    for (uint32_t j = 0; j < shape->devices; j++)
        blocks[j] = block(shape->devices, j);
    status = sp_block_push(shape, blocks, builder, error);
    sp_free(blocks);
    return status;
}

static enum sp_status order_min(const struct sp_shape *shape, struct sp_order_builder *builder,
                                struct sp_error *error)
{
    return order(shape, min_block, builder, error);
}

static enum sp_status order_half(const struct sp_shape *shape, struct sp_order_builder *builder,
                                 struct sp_error *error)
{
    return order(shape, half_block, builder, error);
}

const struct sp_schedule sp_schedule_v_min = {
    .name = "v-min",
    .description = "V of two chunks per device in a third of 1F1B's memory",
    .source = "Pipeline Parallelism with Controllable Memory, arXiv 2405.15362",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_COSTS,
    .default_chunks = 2,
    .check = check_min,
    .device = sp_schedule_device_v,
    .order = order_min,
};

const struct sp_schedule sp_schedule_v_half = {
    .name = "v-half",
    .description = "V of two chunks per device in half of 1F1B's memory",
    .source = "Pipeline Parallelism with Controllable Memory, arXiv 2405.15362",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_COSTS,
    .default_chunks = 2,
    .check = check_half,
    .device = sp_schedule_device_v,
    .order = order_half,
};
