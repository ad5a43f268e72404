/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "order_builder.h"
#include "schedules/schedules.h"

const struct sp_schedule *const sp_schedules[] = {
#define X(name) &sp_schedule_##name,
    SP_SCHEDULE_LIST(X)
#undef X
        NULL,
};

const struct sp_schedule *sp_schedule_find(const char *name)
{
    for (const struct sp_schedule *const *schedule = sp_schedules; *schedule; schedule++)
        if (strcmp((*schedule)->name, name) == 0)
            return *schedule;
    return NULL;
}

enum sp_status sp_schedule_check_any(const struct sp_shape *shape, struct sp_error *error)
{
    (void)shape;
    (void)error;
    return SP_OK;
}

double sp_schedule_bubble_fill(const struct sp_shape *shape)
{
    double fill = shape->devices - 1;

    return fill / ((double)shape->slices * shape->chunks * shape->microbatches + fill);
}

uint32_t sp_schedule_device_v(const struct sp_shape *shape, uint32_t stage)
{
    uint32_t p = shape->devices;

    return stage / p % 2 ? p - 1 - stage % p : stage % p;
}

static enum sp_status check_count(const char *name, uint64_t count, uint64_t limit, struct sp_error *error)
{
    if (count >= 1 && count <= limit)
        return SP_OK;
    return sp_error_set(error, SP_INPUT, "%llu %s: expected 1 to %llu", (unsigned long long)count, name,
                        (unsigned long long)limit);
}

/* The limits of a plan. The last one counts F, I and W of every unit, whatever the schedule makes of them. */
static enum sp_status check_limits(const struct sp_shape *shape, struct sp_error *error)
{
    uint64_t stages = (uint64_t)shape->devices * shape->chunks;
    uint64_t units;
    enum sp_status status;

    if ((status = check_count("devices", shape->devices, SP_MAX_DEVICES, error)) ||
        (status = check_count("chunks", shape->chunks, SP_MAX_STAGES, error)) ||
        (status = check_count("stages", stages, SP_MAX_STAGES, error)) ||
        (status = check_count("microbatches", shape->microbatches, SP_MAX_MICROBATCHES, error)) ||
        (status = check_count("slices", shape->slices, SP_MAX_SLICES, error)))
        return status;
    units = (uint64_t)shape->microbatches * shape->slices;
    if (units > SP_MAX_PASSES / stages)
        return sp_error_set(error, SP_INPUT,
                            "%llu stages of %u microbatches of %u slices: more than %d passes of a kind",
                            (unsigned long long)stages, shape->microbatches, shape->slices, SP_MAX_PASSES);
    return SP_OK;
}

enum sp_status sp_schedule_check(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                 struct sp_error *error)
{
    enum sp_status status = check_limits(shape, error);

    if (status)
        return status;
    if (shape->slices > 1 && !(schedule->traits & SP_SCHEDULE_SLICES))
        return sp_error_set(error, SP_INPUT, "%s does not cut microbatches: expected 1 slice, got %u",
                            schedule->name, shape->slices);
    if (shape->chunks > 1 && !(schedule->traits & SP_SCHEDULE_CHUNKS))
        return sp_error_set(error, SP_INPUT, "%s has one chunk per device, got %u", schedule->name,
                            shape->chunks);
    return schedule->check(shape, error);
}

enum sp_status sp_schedule_order(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                 struct sp_arena *arena, struct sp_order *ret_order, struct sp_error *error)
{
    enum sp_status status = sp_schedule_check(schedule, shape, error);
    struct sp_order_builder *builder;

    if (status)
        return status;
    builder = sp_order_builder_create(shape->devices);
    if (!builder)
        return sp_error_set(error, SP_MEMORY, "no memory for the order of %u devices", shape->devices);
    status = schedule->order(shape, builder, error);
    if (!status)
        status = sp_order_builder_take(builder, arena, ret_order, error);
    sp_order_builder_destroy(builder);
    return status;
}

uint32_t sp_schedule_device(const struct sp_schedule *schedule, const struct sp_shape *shape, uint32_t stage)
{
    return schedule->device ? schedule->device(shape, stage) : stage % shape->devices;
}

uint32_t sp_schedule_stage_count(const struct sp_schedule *schedule, const struct sp_shape *shape)
{
    return schedule->stage_count ? schedule->stage_count(shape) : shape->devices * shape->chunks;
}

uint32_t sp_schedule_replica(const struct sp_schedule *schedule, const struct sp_shape *shape, uint32_t stage,
                             uint32_t k)
{
    uint32_t device;

    if (schedule->twin)
        return k == 0 ? schedule->twin(shape, stage) : SP_NO_DEVICE;
    if (!schedule->stage_count)
        return SP_NO_DEVICE;
    device = stage + (k + 1) * schedule->stage_count(shape);
    return device < shape->devices ? device : SP_NO_DEVICE;
}
