/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices in a V: DualPipeV's steps, run apart, with slices in the place of microbatches. Forwards take the
 * slices of all microbatches in a row; backwards take each microbatch's slices from the last one, so n more
 * slices are held than DualPipeV would hold microbatches.
 */
#include "schedules.h"

static uint64_t slice_count(const struct sp_shape *shape)
{
    return (uint64_t)shape->microbatches * shape->slices;
}

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t least = shape->slices + 2 * shape->devices - 2;

    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "slice-v: %u chunks per device; expected 2", shape->chunks);
    if (slice_count(shape) < least)
        return sp_error_set(
            error, SP_INPUT,
            "slice-v: %llu slices in all; expected at least %u, those of one microbatch and 2p - 2",
            (unsigned long long)slice_count(shape), least);
    return SP_OK;
}

/* How many passes of each chunk of a device are out. */
struct run {
    const struct sp_shape *shape;
    struct sp_order_builder *builder;
    uint32_t rank;
    uint64_t forwards[2], inputs[2], weights[2];
};

static void push(struct run *run, enum sp_pass_kind kind, uint32_t chunk, uint64_t k)
{
    uint32_t n = run->shape->slices;
    uint32_t slice = (uint32_t)(k % n);
    uint32_t stage = chunk ? 2 * run->shape->devices - 1 - run->rank : run->rank;

    sp_order_push(run->builder, run->rank, kind, stage, (uint32_t)(k / n),
                  kind == SP_PASS_F ? slice : n - 1 - slice);
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

static void fill(struct run *run, uint32_t inner, uint64_t turns)
{
    for (uint32_t i = 0; i < 2 * inner; i++)
        forward(run, 0);
    for (uint64_t i = 0; i < turns; i++) {
        forward(run, 0);
        forward(run, 1);
    }
    for (uint32_t i = 0; i < inner; i++) {
        backward(run, 1);
        forward(run, 1);
    }
}

static void drain(struct run *run, uint32_t inner, uint64_t turns)
{
    for (uint32_t i = 0; i < inner; i++) {
        backward(run, 1);
        backward(run, 0);
        forward(run, 1);
    }
    for (uint64_t i = 0; i < turns; i++) {
        input(run, 1);
        input(run, 0);
    }
    for (uint64_t i = 0; i < 2 * turns + inner; i++) {
        weight(run, i < 2 * turns ? 1 - i % 2 : 0);
        if (i < inner)
            input(run, 0);
    }
}

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    struct run run = {.shape = shape, .builder = builder, .rank = r};
    uint32_t inner = shape->devices - 1 - r;
    uint64_t turns = (uint64_t)shape->slices + r;

    fill(&run, inner, turns);
    for (uint64_t i = 2 * (uint64_t)inner + turns; i < slice_count(shape); i++) {
        backward(&run, 1);
        forward(&run, 0);
        backward(&run, 0);
        forward(&run, 1);
    }
    drain(&run, inner, turns);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_slice_v = {
    .name = "slice-v",
    .description = "slices over a V of two chunks per device, weight gradients split off",
    .source = "slice-level V schedule in a fork of SlimPipe's published code",
    .traits = SP_SCHEDULE_SLICES | SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
