/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole backwards from building blocks: each W stays in the slot behind its I. Every pass moves to the first
 * slots that are free and, for a forward, that memory allows.
 */
#include "block_table.h"

static void put_weights(struct sp_block_table *table)
{
    for (uint32_t j = 0; j < table->device_count; j++)
        for (unsigned kind = 0; kind < 2; kind++)
            for (uint32_t i = 0; i < table->microbatches; i++)
                sp_block_table_put(&table->devices[j], W0 + kind, i,
                                   table->devices[j].times[I0 + kind][i] + 1);
    table->has_weights = true;
}

/* A backward from another device is there behind its W. */
static uint32_t earliest(const struct sp_block_table *table, uint32_t j, unsigned leg, uint32_t place)
{
    uint32_t t = sp_block_table_earliest(table, j, leg, place);
    bool crosses = leg == I0 ? j > 0 : leg == I1;

    return crosses ? t + 1 : t;
}

static uint32_t find_slot(const struct sp_block_table *table, uint32_t j, uint32_t place, uint32_t t)
{
    const struct sp_block_device *device = &table->devices[j];
    unsigned leg = device->slots[t];
    bool is_forward = sp_leg_is_forward(leg);
    uint32_t to = earliest(table, j, leg, place);

    for (uint32_t x = t; is_forward && x > to; x--)
        if (device->levels[x - 1].held >= table->cap)
            to = x;
    while (to < t && (device->slots[to] != FREE || (!is_forward && device->slots[to + 1] != FREE)))
        to++;
    return to;
}

static void move(struct sp_block_device *device, uint32_t place, uint32_t to, uint32_t t)
{
    unsigned leg = device->slots[t];
    bool is_forward = sp_leg_is_forward(leg);

    device->slots[t] = FREE;
    sp_block_table_put(device, leg, place, to);
    if (!is_forward) {
        device->slots[t + 1] = FREE;
        sp_block_table_put(device, leg - I0 + W0, place, to + 1);
    }
    /* Held units change at a forward's slot, or at the slot of a backward's W. */
    for (uint32_t x = is_forward ? to : to + 1; x < (is_forward ? t : t + 1); x++)
        device->levels[x].held += is_forward ? 1 : -1;
}

void sp_block_table_gather_whole(struct sp_block_table *table)
{
    uint32_t length;

    put_weights(table);
    length = sp_block_table_length(table);
    sp_block_table_set_levels(table);
    sp_block_table_forget_seen(table);
    for (uint32_t t = 0; t < length; t++) {
        for (uint32_t j = 0; j < table->device_count; j++) {
            struct sp_block_device *device = &table->devices[j];
            unsigned leg = t < device->length ? device->slots[t] : FREE;
            uint32_t place, to;
            if (leg >= W0)
                continue;
            place = device->seen[leg]++;
            to = find_slot(table, j, place, t);
            if (to < t)
                move(device, place, to, t);
        }
    }
}
