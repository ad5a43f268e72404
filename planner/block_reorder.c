/* SPDX-License-Identifier: Apache-2.0 */
/* The authors' way: the fill and the drain with W in their slots, then the drain once more without. */
#include "block_table.h"

static uint32_t later(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static bool equal(struct sp_level a, struct sp_level b)
{
    return a.held == b.held && a.waiting == b.waiting;
}

static struct sp_level level_before(const struct sp_block_device *device, uint32_t t)
{
    return t > 0 ? device->levels[t - 1] : (struct sp_level){0, 0};
}

/* Whether a device stays within the cap when the pass in slot t moves forward to a free slot. */
static bool fits(const struct sp_block_table *table, const struct sp_block_device *device, uint32_t to,
                 uint32_t t)
{
    struct sp_level level = level_before(device, to);

    for (uint32_t x = to; x < device->length; x++) {
        level = sp_block_table_after(table, level,
                                     x == to  ? device->slots[t]
                                     : x == t ? FREE
                                              : device->slots[x]);
        if (level.held > table->cap)
            return false;
        if (x >= t && equal(level, device->levels[x]))
            break;
    }
    return true;
}

static void move(const struct sp_block_table *table, struct sp_block_device *device, uint32_t place,
                 uint32_t to, uint32_t t)
{
    struct sp_level level = level_before(device, to);

    device->times[device->slots[t]][place] = to;
    device->slots[to] = device->slots[t];
    device->slots[t] = FREE;
    for (uint32_t x = to; x < device->length; x++) {
        level = sp_block_table_after(table, level, device->slots[x]);
        if (x >= t && equal(level, device->levels[x]))
            break;
        device->levels[x] = level;
    }
}

/* With W in slots a forward that moves adds one to every level it passes; nothing else adds. */
static uint32_t first_allowed(const struct sp_block_table *table, const struct sp_block_device *device,
                              uint32_t from, uint32_t t)
{
    if (!table->has_weights || !sp_leg_is_forward(device->slots[t]))
        return from;
    for (uint32_t x = t; x > from; x--)
        if (device->levels[x - 1].held >= table->cap)
            return x;
    return from;
}

/* A W may belong to any input gradient here: the k-th W needs k input gradients before it. */
static uint32_t earliest(const struct sp_block_table *table, uint32_t j, enum sp_leg leg, uint32_t place)
{
    const struct sp_block_device *device = &table->devices[j];

    if (leg != W0)
        return sp_block_table_earliest(table, j, leg, place);
    return later(device->input_times[place], place > 0 ? device->times[W0][place - 1] : 0) + 1;
}

static uint32_t move_forward(const struct sp_block_table *table, uint32_t j, uint32_t place, uint32_t t)
{
    struct sp_block_device *device = &table->devices[j];
    uint32_t from = earliest(table, j, device->slots[t], place);

    for (uint32_t to = first_allowed(table, device, from, t); to < t; to++) {
        if (device->slots[to] == FREE && (table->has_weights || fits(table, device, to, t))) {
            move(table, device, place, to, t);
            return to;
        }
    }
    return t;
}

/* Keeps input_times ascending. */
static void note_input(struct sp_block_device *device, uint32_t t)
{
    uint32_t count = device->seen[I0] + device->seen[I1];

    for (; count > 0 && device->input_times[count - 1] > t; count--)
        device->input_times[count] = device->input_times[count - 1];
    device->input_times[count] = t;
}

/*
 * Moves passes forward in the order of their slots. The fill ends with the first I1 on device 0, the drain
 * begins behind the last F0. Without W in slots only the drain is moved.
 */
static void move_all(struct sp_block_table *table)
{
    enum { FILL, STEADY, DRAIN } phase = FILL;
    uint32_t length = sp_block_table_length(table);

    sp_block_table_set_levels(table);
    sp_block_table_forget_seen(table);
    for (uint32_t t = 0; t < length; t++) {
        for (uint32_t j = 0; j < table->device_count; j++) {
            struct sp_block_device *device = &table->devices[j];
            unsigned leg = t < device->length ? device->slots[t] : FREE;
            uint32_t place, to = t;
            if (leg == FREE)
                continue;
            place = device->seen[leg];
            if (leg == I1 && j == 0 && phase == FILL)
                phase = STEADY;
            if (phase == DRAIN || (phase == FILL && table->has_weights))
                to = move_forward(table, j, place, t);
            if (phase == STEADY && leg == F0 && place == table->microbatches - 1)
                phase = DRAIN;
            if (sp_leg_is_input(leg))
                note_input(device, to);
            device->seen[leg]++;
        }
    }
}

/* Every pass as early as the order on its device and what it needs allow. */
static void squeeze(struct sp_block_table *table)
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
            to =
                leg == W0 ? device->next : later(device->next, sp_block_table_earliest(table, j, leg, place));
            device->slots[t] = FREE;
            sp_block_table_put(device, leg, place, to);
            device->next = to + 1;
        }
    }
    for (uint32_t j = 0; j < table->device_count; j++)
        table->devices[j].length = table->devices[j].next;
}

void sp_block_table_reorder(struct sp_block_table *table)
{
    sp_block_table_put_weights(table, false);
    move_all(table);
    squeeze(table);
    sp_block_table_remove_weights(table);
    move_all(table);
    sp_block_table_put_weights(table, false);
    squeeze(table);
    sp_block_table_remove_weights(table);
    sp_block_table_put_weights(table, true);
}
