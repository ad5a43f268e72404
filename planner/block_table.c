/* SPDX-License-Identifier: Apache-2.0 */
#include "block_table.h"

#include <string.h>

#include "slimpipe/arena.h"

static uint32_t later(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* One piece of memory for the arrays of all devices, the widest elements first. */
static bool create_arrays(struct sp_block_table *table)
{
    size_t p = table->device_count, m = table->microbatches;
    size_t time_count = (LEGS + 1) * 2 * m;
    size_t slot_count = table->capacity;
    struct sp_level *levels = sp_alloc(p, slot_count * (sizeof(*levels) + 1) + time_count * sizeof(uint32_t));
    uint32_t *times;
    uint8_t *slots;

    table->memory = levels;
    table->devices = sp_alloc(p, sizeof(*table->devices));
    if (!levels || !table->devices)
        return false;
    times = (uint32_t *)(levels + p * slot_count);
    slots = (uint8_t *)(times + p * time_count);
    for (uint32_t j = 0; j < p; j++) {
        struct sp_block_device *device = &table->devices[j];
        device->levels = levels + j * slot_count;
        for (unsigned leg = 0; leg < LEGS; leg++)
            device->times[leg] = times + j * time_count + leg * 2 * m;
        device->input_times = times + j * time_count + LEGS * 2 * m;
        device->slots = slots + j * slot_count;
    }
    return true;
}

static uint32_t last_start(const struct sp_shape *shape, const struct sp_block *blocks)
{
    uint32_t last = 0;

    for (uint32_t j = 0; j < shape->devices; j++)
        for (unsigned leg = 0; leg < CROSSING_LEGS; leg++)
            last = later(last, blocks[j].start[leg]);
    return last;
}

bool sp_block_table_init(struct sp_block_table *table, const struct sp_shape *shape,
                         const struct sp_block *blocks)
{
    *table = (struct sp_block_table){.device_count = shape->devices,
                                     .microbatches = shape->microbatches,
                                     .capacity = last_start(shape, blocks) +
                                                 (SP_BLOCK_PERIOD + 4) * shape->microbatches + 1};
    return create_arrays(table);
}

void sp_block_table_finish(struct sp_block_table *table)
{
    sp_free(table->memory);
    sp_free(table->devices);
}

void sp_block_table_put(struct sp_block_device *device, enum sp_leg leg, uint32_t place, uint32_t t)
{
    device->slots[t] = (uint8_t)leg;
    device->times[leg][place] = t;
    if (t >= device->length)
        device->length = t + 1;
}

void sp_block_table_lay_out(struct sp_block_table *table, const struct sp_block *blocks)
{
    table->has_weights = false;
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        device->length = 0;
        memset(device->slots, FREE, table->capacity);
        for (unsigned leg = 0; leg < CROSSING_LEGS; leg++)
            for (uint32_t i = 0; i < table->microbatches; i++)
                sp_block_table_put(device, leg, i, blocks[j].start[leg] + SP_BLOCK_PERIOD * i);
    }
}

void sp_block_table_put_weights(struct sp_block_table *table, bool apart)
{
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        uint32_t waiting[2] = {0, 0}, done[2] = {0, 0};
        for (uint32_t t = 0; t < device->length || waiting[0] || waiting[1]; t++) {
            unsigned leg = t < device->length ? device->slots[t] : FREE, kind;
            if (sp_leg_is_input(leg))
                waiting[apart && leg == I1]++;
            if (leg != FREE || (!waiting[0] && !waiting[1]))
                continue;
            kind = waiting[0] ? 0 : 1;
            waiting[kind]--;
            sp_block_table_put(device, W0 + kind, done[kind]++, t);
        }
    }
    table->has_weights = true;
}

void sp_block_table_remove_weights(struct sp_block_table *table)
{
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        for (uint32_t t = 0; t < device->length; t++)
            if (device->slots[t] == W0 || device->slots[t] == W1)
                device->slots[t] = FREE;
        while (device->slots[device->length - 1] == FREE)
            device->length--;
    }
    table->has_weights = false;
}

struct sp_level sp_block_table_after(const struct sp_block_table *table, struct sp_level level, unsigned leg)
{
    if (sp_leg_is_forward(leg)) {
        level.held++;
    } else if (sp_leg_is_input(leg)) {
        level.waiting++;
    } else if (leg != FREE || (!table->has_weights && level.waiting > 0)) {
        level.held--;
        level.waiting--;
    }
    return level;
}

void sp_block_table_set_levels(struct sp_block_table *table)
{
    table->cap = 0;
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        struct sp_level level = {0, 0};
        for (uint32_t t = 0; t < device->length; t++) {
            level = device->levels[t] = sp_block_table_after(table, level, device->slots[t]);
            if (level.held > table->cap)
                table->cap = level.held;
        }
    }
}

void sp_block_table_forget_seen(struct sp_block_table *table)
{
    for (uint32_t j = 0; j < table->device_count; j++) {
        memset(table->devices[j].seen, 0, sizeof(table->devices[j].seen));
        table->devices[j].next = 0;
    }
}

uint32_t sp_block_table_length(const struct sp_block_table *table)
{
    uint32_t length = 0;

    for (uint32_t j = 0; j < table->device_count; j++)
        length = later(length, table->devices[j].length);
    return length;
}

uint32_t sp_block_table_earliest(const struct sp_block_table *table, uint32_t j, enum sp_leg leg,
                                 uint32_t place)
{
    const struct sp_block_device *device = &table->devices[j];
    uint32_t t = 0;

    if ((leg == F0 || leg == I0) && j > 0)
        t = device[-1].times[leg][place] + 1;
    if ((leg == F1 || leg == I1) && j + 1 < table->device_count)
        t = device[1].times[leg][place] + 1;
    if (leg > F0)
        t = later(t, device->times[leg - 1][place] + 1);
    if (place > 0)
        t = later(t, device->times[leg][place - 1] + 1);
    return t;
}
