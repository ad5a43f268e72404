/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primus' way: every pass moves to the first free slot that memory allows; then the drain once more, with its
 * W put aside and filled in last.
 */
#include "block_table.h"

/* W in the first free slots after their I, in the order of these. */
static void put_weights(struct sp_block_table *table)
{
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        uint32_t inputs = 0, weights = 0, done[2] = {0, 0};
        for (uint32_t t = 0; t < device->length || weights < inputs; t++) {
            unsigned leg = t < device->length ? device->slots[t] : FREE, kind;
            if (sp_leg_is_input(leg))
                device->input_times[inputs++] = leg == I1; /* as a queue of kinds */
            if (leg != FREE || weights == inputs)
                continue;
            kind = device->input_times[weights++];
            sp_block_table_put(device, W0 + kind, done[kind]++, t);
        }
    }
    table->has_weights = true;
}

static void move(struct sp_block_device *device, unsigned leg, uint32_t place, uint32_t to, uint32_t t)
{
    device->slots[t] = FREE;
    sp_block_table_put(device, leg, place, to);
}

/* The first slot of a pass, looking at what it needs, and for W at its own I. */
static uint32_t earliest(const struct sp_block_table *table, uint32_t j, unsigned leg, uint32_t place)
{
    const struct sp_block_device *device = &table->devices[j];
    uint32_t t;

    if (leg < CROSSING_LEGS)
        return sp_block_table_earliest(table, j, leg, place);
    t = device->times[leg - W0 + I0][place] + 1;
    return place > 0 && device->times[leg][place - 1] >= t ? device->times[leg][place - 1] + 1 : t;
}

/* Levels between a pass's new slot and its old one: one more held after a forward, one less after a W. */
static void shift_levels(struct sp_block_device *device, unsigned leg, uint32_t to, uint32_t t)
{
    int32_t more = sp_leg_is_forward(leg) ? 1 : sp_leg_is_input(leg) ? 0 : -1;

    for (uint32_t x = to; x < t; x++)
        device->levels[x].held += more;
}

static uint32_t first_allowed(const struct sp_block_table *table, const struct sp_block_device *device,
                              unsigned leg, uint32_t from, uint32_t t)
{
    for (uint32_t x = t; sp_leg_is_forward(leg) && x > from; x--)
        if (device->levels[x - 1].held >= table->cap)
            return x;
    return from;
}

static void gather_all(struct sp_block_table *table)
{
    uint32_t length = sp_block_table_length(table);

    sp_block_table_set_levels(table);
    sp_block_table_forget_seen(table);
    for (uint32_t t = 0; t < length; t++) {
        for (uint32_t j = 0; j < table->device_count; j++) {
            struct sp_block_device *device = &table->devices[j];
            unsigned leg = t < device->length ? device->slots[t] : FREE;
            uint32_t place, to;
            if (leg == FREE)
                continue;
            place = device->seen[leg]++;
            to = first_allowed(table, device, leg, earliest(table, j, leg, place), t);
            while (to < t && device->slots[to] != FREE)
                to++;
            if (to >= t)
                continue;
            shift_levels(device, leg, to, t);
            move(device, leg, place, to, t);
        }
    }
}

/* The drain is what comes behind the last F1 of the repeated block. */
static void find_drain(struct sp_block_table *table)
{
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        uint32_t last = device->times[F1][table->microbatches - 1];
        for (unsigned leg = 0; leg < LEGS; leg++)
            device->drain_from[leg] = 0;
        for (uint32_t t = 0; t <= last; t++)
            if (device->slots[t] != FREE)
                device->drain_from[device->slots[t]]++;
    }
}

/* Moves F and I of the drain, takes its W out of their slots and notes their kinds. */
static void gather_drain(struct sp_block_table *table)
{
    uint32_t length = sp_block_table_length(table);

    sp_block_table_forget_seen(table);
    for (uint32_t t = 0; t < length; t++) {
        for (uint32_t j = 0; j < table->device_count; j++) {
            struct sp_block_device *device = &table->devices[j];
            unsigned leg = t < device->length ? device->slots[t] : FREE;
            uint32_t place, to;
            if (leg == FREE)
                continue;
            place = device->seen[leg]++;
            if (place < device->drain_from[leg])
                continue;
            if (leg >= W0) {
                device->input_times[device->next++] = leg;
                device->slots[t] = FREE;
                continue;
            }
            to = earliest(table, j, leg, place);
            while (to < t && device->slots[to] != FREE)
                to++;
            if (to < t)
                move(device, leg, place, to, t);
        }
    }
}

static void put_weights_back(struct sp_block_table *table)
{
    for (uint32_t j = 0; j < table->device_count; j++) {
        struct sp_block_device *device = &table->devices[j];
        for (uint32_t k = 0; k < device->next; k++) {
            unsigned leg = device->input_times[k];
            uint32_t place = device->drain_from[leg]++;
            uint32_t t = earliest(table, j, leg, place);
            while (t < device->length && device->slots[t] != FREE)
                t++;
            sp_block_table_put(device, leg, place, t);
        }
    }
}

void sp_block_table_gather(struct sp_block_table *table)
{
    put_weights(table);
    find_drain(table);
    gather_all(table);
    gather_drain(table);
    put_weights_back(table);
}
