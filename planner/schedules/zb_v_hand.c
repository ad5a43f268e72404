/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZB-V as it is drawn: no bubble but the fill where F, I and W take the same time, in the memory of 1F1B. It
 * is laid out for 2p − 1 microbatches or more; of fewer, the passes beyond the last are left out.
 */
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "zb-v-hand: %u chunks per device; expected 2", shape->chunks);
    return SP_OK;
}

/* How many passes of each chunk of a device are out. */
struct run {
    const struct sp_shape *shape;
    struct sp_order_builder *builder;
    uint32_t rank;
    uint32_t forwards[2], inputs[2], weights[2];
};

static void push(struct run *run, enum sp_pass_kind kind, uint32_t chunk, uint32_t i)
{
    uint32_t stage = chunk ? 2 * run->shape->devices - 1 - run->rank : run->rank;

    if (i < run->shape->microbatches)
        sp_order_push(run->builder, run->rank, kind, stage, i, 0);
}

static void forward(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_F, chunk, run->forwards[chunk]++);
}

static void input(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_I, chunk, run->inputs[chunk]++);
}

static void weight(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_W, chunk, run->weights[chunk]++);
}

static void backward(struct run *run, uint32_t chunk)
{
    input(run, chunk);
    weight(run, chunk);
}

static void fill(struct run *run)
{
    uint32_t inner = run->shape->devices - run->rank;

    for (uint32_t i = 0; i < 2 * inner - 1; i++)
        forward(run, 0);
    for (uint32_t i = 0; i < run->rank; i++) {
        forward(run, 1);
        forward(run, 0);
    }
    for (uint32_t i = 0; i < inner; i++) {
        forward(run, 1);
        backward(run, 1);
    }
}

static void steady(struct run *run, uint32_t microbatches)
{
    while (run->forwards[1] < microbatches) {
        if (run->forwards[0] < microbatches)
            forward(run, 0);
        backward(run, 0);
        forward(run, 1);
        backward(run, 1);
    }
}

static void drain(struct run *run, uint32_t microbatches)
{
    for (uint32_t i = 0; i < run->rank; i++) {
        input(run, 0);
        input(run, 1);
    }
    for (uint32_t i = run->rank; i < run->shape->devices; i++)
        backward(run, 0);
    while (run->weights[1] < microbatches)
        weight(run, 1);
    while (run->weights[0] < microbatches)
        weight(run, 0);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    uint32_t least = 2 * shape->devices - 1;
    uint32_t microbatches = shape->microbatches > least ? shape->microbatches : least;

    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++) {
        struct run run = {.shape = shape, .builder = builder, .rank = r};
        fill(&run);
        steady(&run, microbatches);
        drain(&run, microbatches);
    }
    return SP_OK;
}

const struct sp_schedule sp_schedule_zb_v_hand = {
    .name = "zb-v-hand",
    .description = "ZB-V as drawn, for equal times; PyTorch's ZBVZeroBubble",
    .source = "Zero Bubble, arXiv 2401.10241, section 6",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
