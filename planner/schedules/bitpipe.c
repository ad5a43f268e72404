/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BitPipe: two V-shaped interleaved pipelines in opposite directions. Device r holds four chunks: stages r
 * and 2p − 1 − r of the first direction (chunks 0 and 2), p − 1 − r and p + r of the second (1 and 3). A unit
 * is p microbatches, half of them in each direction; units follow each other without a gap.
 */
#include "schedules.h"

enum { CHUNKS = 4 };

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t p = shape->devices, m = shape->microbatches;

    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "bitpipe: %u stages per device and direction; expected 2",
                            shape->chunks);
    if (p % 2 != 0)
        return sp_error_set(error, SP_INPUT, "bitpipe: %u devices; expected an even number", p);
    if (m % p != 0)
        return sp_error_set(error, SP_INPUT,
                            "bitpipe: %u microbatches; expected a multiple of %u, the number of devices", m,
                            p);
    return SP_OK;
}

static uint32_t opposite(const struct sp_shape *shape, uint32_t stage)
{
    return shape->devices - 1 - sp_schedule_device_v(shape, stage);
}

/* One device's run through its sequences of chunks. */
struct run {
    const struct sp_shape *shape;
    struct sp_order_builder *builder;
    uint32_t rank;
    uint32_t forward_names[CHUNKS], backward_names[CHUNKS];
    uint64_t forwards, backwards;     /* passes out */
    uint32_t chunk_passes[2][CHUNKS]; /* of them in each chunk */
};

/* How many passes of the own direction stand alone at a unit's ends: 1 in the middle of the pipe. */
static uint32_t alone(uint32_t p, uint32_t rank)
{
    return rank < p / 2 ? p / 2 - rank : rank + 1 - p / 2;
}

/*
 * The chunk of one of a unit's 2p passes. First the nearest chunk alone, then with the one after it in turn,
 * and so on to the farthest alone; names are the chunks from near to far.
 */
static uint32_t chunk_at(uint32_t p, uint32_t rank, uint32_t item, const uint32_t names[CHUNKS])
{
    uint32_t single = alone(p, rank), pairs = p / 2 - single;
    bool odd;

    if (item < single)
        return names[0];
    item -= single;
    odd = item % 2;
    if (item < 2 * pairs)
        return names[odd ? 0 : 1];
    if (item < p)
        return names[odd ? 2 : 1];
    if (item < p + 2 * pairs)
        return names[odd ? 2 : 3];
    return names[3];
}

static uint32_t stage_of(uint32_t p, uint32_t rank, uint32_t chunk)
{
    const uint32_t stages[CHUNKS] = {rank, p - 1 - rank, 2 * p - 1 - rank, p + rank};

    return stages[chunk];
}

static void push(struct run *run, enum sp_pass_kind kind)
{
    uint32_t p = run->shape->devices;
    bool is_forward = kind == SP_PASS_F;
    uint64_t *passes = is_forward ? &run->forwards : &run->backwards;
    uint32_t chunk = chunk_at(p, run->rank, (uint32_t)((*passes)++ % (2 * p)),
                              is_forward ? run->forward_names : run->backward_names);
    uint32_t k = run->chunk_passes[is_forward][chunk]++;
    uint32_t unit = k / (p / 2), place = k % (p / 2);

    sp_order_push(run->builder, run->rank, kind, stage_of(p, run->rank, chunk),
                  unit * p + (chunk % 2 ? p / 2 : 0) + place, 0);
}

static void push_pairs(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        push(run, SP_PASS_F);
        push(run, SP_PASS_B);
    }
}

static void order_rank(const struct sp_shape *shape, uint32_t rank, struct sp_order_builder *builder)
{
    uint32_t p = shape->devices, near = rank < p / 2 ? 0 : 1;
    struct run run = {
        .shape = shape,
        .builder = builder,
        .rank = rank,
        .forward_names = {near, 1 - near, 3 - near, 2 + near},
        .backward_names = {2 + near, 3 - near, 1 - near, near},
    };
    uint32_t ahead = p + p / 2 + (near ? p - 1 - rank : rank);
    uint32_t pairs = 2 * p - ahead;

    for (uint32_t i = 0; i < ahead; i++)
        push(&run, SP_PASS_F);
    push_pairs(&run, pairs);
    for (uint32_t unit = 1; unit < shape->microbatches / p; unit++) {
        for (uint32_t i = 0; i < ahead - pairs + 1; i++)
            push(&run, SP_PASS_B);
        push_pairs(&run, pairs - 1);
        for (uint32_t i = 0; i < ahead - pairs + 1; i++)
            push(&run, SP_PASS_F);
        push_pairs(&run, pairs);
    }
    for (uint32_t i = 0; i < ahead; i++)
        push(&run, SP_PASS_B);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_bitpipe = {
    .name = "bitpipe",
    .description = "two V-shaped interleaved pipelines in opposite directions",
    .source = "BitPipe, arXiv 2410.19367, and its published code",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_TWIN_WEIGHTS,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .twin = opposite,
    .order = order,
};
