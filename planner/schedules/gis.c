/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GIS of PipeOffload: interleaved, microbatches in groups of g with p/2 ≤ g ≤ p, each input gradient followed
 * by its weight gradient. Rank r holds g·(v − 1) + p − r units, p − 1 − r less than Megatron's interleaved:
 * the gradient of the input need not wait for the one of the weights. GIS-H is g = p/2.
 */
#include "gis.h"

#include "schedules.h"

static uint32_t half(const struct sp_shape *shape)
{
    return (shape->devices + 1) / 2;
}

enum sp_status sp_gis_check(const char *name, const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t g = shape->group;

    if (g && (g < half(shape) || g > shape->devices))
        return sp_error_set(error, SP_INPUT,
                            "%s: groups of %u microbatches; expected %u to %u, from half the devices to all",
                            name, g, half(shape), shape->devices);
    return SP_OK;
}

/*
 * One rank. Slots are the same in every group, so that in a last group that is not full the passes that
 * remain keep their places.
 */
struct run {
    const struct sp_shape *shape;
    struct sp_order_builder *builder;
    uint32_t rank, group, offloaded_chunks;
    uint64_t slots, ahead;
};

struct unit {
    uint32_t chunk, microbatch;
};

static struct unit unit_at(const struct run *run, uint64_t slot)
{
    uint32_t g = run->group, v = run->shape->chunks;

    return (struct unit){.chunk = (uint32_t)(slot / g % v),
                         .microbatch = (uint32_t)(slot / ((uint64_t)g * v) * g + slot % g)};
}

static struct unit backward_unit_at(const struct run *run, uint64_t slot)
{
    struct unit unit = unit_at(run, slot);

    unit.chunk = run->shape->chunks - 1 - unit.chunk;
    return unit;
}

static void push(const struct run *run, enum sp_pass_kind kind, struct unit unit)
{
    sp_order_push(run->builder, run->rank, kind, unit.chunk * run->shape->devices + run->rank,
                  unit.microbatch, 0);
}

/*
 * Whether a unit leaves the device. Its copy out has until the forward after its own has run, its copy back
 * starts two backwards ahead; what comes back earlier than that, or has no forward or backwards to run
 * beside, stays.
 */
static bool is_offloaded(const struct run *run, struct unit unit)
{
    uint32_t g = run->group, v = run->shape->chunks;
    uint64_t first = (uint64_t)(unit.microbatch / g) * g * v + unit.microbatch % g;
    uint64_t forward = first + (uint64_t)unit.chunk * g,
             backward = first + (uint64_t)(v - 1 - unit.chunk) * g;

    return unit.chunk < run->offloaded_chunks && backward >= 2 && forward + 1 < run->slots &&
           backward + run->ahead >= forward + 4;
}

static void push_forward(const struct run *run, uint64_t slot)
{
    struct unit unit = unit_at(run, slot);

    if (unit.microbatch >= run->shape->microbatches)
        return;
    push(run, SP_PASS_F, unit);
    if (is_offloaded(run, unit))
        push(run, SP_PASS_O, unit);
}

static void push_reload(const struct run *run, uint64_t slot)
{
    struct unit unit = backward_unit_at(run, slot);

    if (slot < run->slots && unit.microbatch < run->shape->microbatches && is_offloaded(run, unit))
        push(run, SP_PASS_L, unit);
}

static void push_backward(const struct run *run, uint64_t slot)
{
    struct unit unit = backward_unit_at(run, slot);

    if (unit.microbatch < run->shape->microbatches) {
        push(run, SP_PASS_I, unit);
        push(run, SP_PASS_W, unit);
    }
    push_reload(run, slot + 2);
}

void sp_gis_push(const struct sp_shape *shape, uint32_t group, uint32_t offloaded_chunks,
                 struct sp_order_builder *builder)
{
    uint32_t groups = (shape->microbatches + group - 1) / group;
    struct run run = {.shape = shape,
                      .builder = builder,
                      .group = group,
                      .offloaded_chunks = offloaded_chunks,
                      .slots = (uint64_t)groups * group * shape->chunks};

    for (run.rank = 0; run.rank < shape->devices; run.rank++) {
        run.ahead = (uint64_t)group * (shape->chunks - 1) + shape->devices - 1 - run.rank;
        for (uint64_t slot = 0; slot < run.slots + run.ahead; slot++) {
            if (slot < run.slots)
                push_forward(&run, slot);
            if (slot >= run.ahead)
                push_backward(&run, slot - run.ahead);
        }
    }
}

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    return sp_gis_check("gis", shape, error);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    sp_gis_push(shape, shape->group ? shape->group : shape->devices, 0, builder);
    return SP_OK;
}

static enum sp_status order_half(const struct sp_shape *shape, struct sp_order_builder *builder,
                                 struct sp_error *error)
{
    (void)error;
    sp_gis_push(shape, half(shape), 0, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_gis = {
    .name = "gis",
    .description = "interleaved in groups of p/2 to p, weight gradients split off; memory of 1F1B",
    .source = "PipeOffload, arXiv 2503.01328, section 3",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_GROUP,
    .default_chunks = 2,
    .check = check,
    .order = order,
};

const struct sp_schedule sp_schedule_gis_h = {
    .name = "gis-h",
    .description = "GIS in groups of p/2: half the memory, some more bubble",
    .source = "PipeOffload, arXiv 2503.01328, section 3",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W,
    .default_chunks = 2,
    .check = sp_schedule_check_any,
    .order = order_half,
};
