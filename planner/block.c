/* SPDX-License-Identifier: Apache-2.0 */
#include "block.h"

#include "block_table.h"
#include "slimpipe/arena.h"

struct clock {
    int64_t end;
    uint32_t done[LEGS];
    int64_t *ends[CROSSING_LEGS];
};

static int64_t cost_of(const struct sp_shape *shape, unsigned leg)
{
    if (!shape->forward_ns && !shape->input_ns && !shape->weight_ns)
        return 1;
    return sp_leg_is_forward(leg) ? shape->forward_ns
           : sp_leg_is_input(leg) ? shape->input_ns
                                  : shape->weight_ns;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When pass i of a leg may start on device j for what comes from other devices. */
static int64_t arrival(const struct sp_shape *shape, const struct clock *clocks, uint32_t j, unsigned leg,
                       uint32_t i)
{
    if ((leg == F0 || leg == I0) && j > 0)
        return clocks[j - 1].ends[leg][i] + shape->message_ns;
    if ((leg == F1 || leg == I1) && j + 1 < shape->devices)
        return clocks[j + 1].ends[leg][i] + shape->message_ns;
    return 0;
}

static void run_slot(const struct sp_shape *shape, struct clock *clocks, uint32_t j, unsigned leg)
{
    struct clock *clock = &clocks[j];
    uint32_t i = clock->done[leg]++;

    if (leg < CROSSING_LEGS)
        clock->end = later(clock->end, arrival(shape, clocks, j, leg, i));
    clock->end += cost_of(shape, leg);
    if (leg < CROSSING_LEGS)
        clock->ends[leg][i] = clock->end;
}

/* What comes of a table. Its slots are in an order that any times allow: one walk over them is enough. */
static struct sp_block_result evaluate(struct sp_block_table *table, const struct sp_shape *shape,
                                       struct clock *clocks)
{
    uint32_t length = sp_block_table_length(table);
    struct sp_block_result result = {0, 0, 0};

    for (uint32_t j = 0; j < shape->devices; j++) {
        clocks[j].end = 0;
        for (unsigned leg = 0; leg < LEGS; leg++)
            clocks[j].done[leg] = 0;
    }
    for (uint32_t t = 0; t < length; t++)
        for (uint32_t j = 0; j < shape->devices; j++)
            if (t < table->devices[j].length && table->devices[j].slots[t] != FREE)
                run_slot(shape, clocks, j, table->devices[j].slots[t]);
    for (uint32_t j = 0; j < shape->devices; j++) {
        result.makespan = later(result.makespan, clocks[j].end);
        result.sum_of_ends += clocks[j].end;
    }
    sp_block_table_set_levels(table);
    result.peak = table->cap;
    return result;
}

static bool is_better(struct sp_block_result a, struct sp_block_result b)
{
    if (a.peak != b.peak)
        return a.peak < b.peak;
    return a.makespan < b.makespan || (a.makespan == b.makespan && a.sum_of_ends < b.sum_of_ends);
}

/* whole: B for I, and no W. */
static void push_table(const struct sp_block_table *table, bool whole, struct sp_order_builder *builder)
{
    static const enum sp_pass_kind split_kinds[LEGS] = {SP_PASS_F, SP_PASS_F, SP_PASS_I,
                                                        SP_PASS_I, SP_PASS_W, SP_PASS_W};
    uint32_t p = table->device_count;

    for (uint32_t j = 0; j < p; j++) {
        const struct sp_block_device *device = &table->devices[j];
        uint32_t done[LEGS] = {0};
        for (uint32_t t = 0; t < device->length; t++) {
            unsigned leg = device->slots[t];
            bool is_lower = leg == F0 || leg == I1 || leg == W1;
            if (leg == FREE || (whole && leg >= W0))
                continue;
            sp_order_push(builder, j, whole && sp_leg_is_input(leg) ? SP_PASS_B : split_kinds[leg],
                          is_lower ? j : 2 * p - 1 - j, done[leg]++, 0);
        }
    }
}

static enum sp_status short_of_memory(const struct sp_shape *shape, struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "no memory to schedule %u microbatches on %u devices",
                        shape->microbatches, shape->devices);
}

static struct clock *create_clocks(const struct sp_shape *shape)
{
    size_t p = shape->devices, m = shape->microbatches;
    struct clock *clocks = sp_alloc(p, sizeof(*clocks) + CROSSING_LEGS * m * sizeof(int64_t));

    for (uint32_t j = 0; clocks && j < p; j++)
        for (unsigned leg = 0; leg < CROSSING_LEGS; leg++)
            clocks[j].ends[leg] = (int64_t *)(clocks + p) + (j * CROSSING_LEGS + leg) * m;
    return clocks;
}

/* The two ways to move a block's passes forward, each in its own table, and what comes of them. */
struct tries {
    struct sp_block_table reordered, gathered;
    struct clock *clocks;
    bool gathered_is_better;
    struct sp_block_result result; /* of the better one */
};

static void tries_finish(struct tries *tries)
{
    sp_block_table_finish(&tries->reordered);
    sp_block_table_finish(&tries->gathered);
    sp_free(tries->clocks);
}

/* Finish in any case. */
static bool tries_init(struct tries *tries, const struct sp_shape *shape, const struct sp_block *blocks)
{
    *tries = (struct tries){.clocks = create_clocks(shape)};
    if (!tries->clocks || !sp_block_table_init(&tries->reordered, shape, blocks) ||
        !sp_block_table_init(&tries->gathered, shape, blocks))
        return false;
    sp_block_table_lay_out(&tries->reordered, blocks);
    sp_block_table_reorder(&tries->reordered);
    sp_block_table_lay_out(&tries->gathered, blocks);
    sp_block_table_gather(&tries->gathered);
    tries->result = evaluate(&tries->reordered, shape, tries->clocks);
    tries->gathered_is_better = is_better(evaluate(&tries->gathered, shape, tries->clocks), tries->result);
    if (tries->gathered_is_better)
        tries->result = evaluate(&tries->gathered, shape, tries->clocks);
    return true;
}

static int32_t device_peak(const struct sp_block *block)
{
    uint32_t next[CROSSING_LEGS], end = 0;
    int32_t held = 0, waiting = 0, peak = 0;

    for (unsigned leg = 0; leg < CROSSING_LEGS; leg++) {
        next[leg] = block->start[leg];
        end = next[leg] > end ? next[leg] : end;
    }
    /* Two periods on, every level has come that will come again. */
    for (uint32_t t = 0; t < end + 2 * SP_BLOCK_PERIOD; t++) {
        unsigned leg = 0;
        while (leg < CROSSING_LEGS && next[leg] != t)
            leg++;
        if (leg < CROSSING_LEGS)
            next[leg] += SP_BLOCK_PERIOD;
        if (sp_leg_is_forward(leg)) {
            held++;
        } else if (sp_leg_is_input(leg)) {
            waiting++;
        } else if (waiting > 0) {
            waiting--;
            held--;
        }
        peak = held > peak ? held : peak;
    }
    return peak;
}

int32_t sp_block_peak(const struct sp_block *blocks, uint32_t devices)
{
    int32_t peak = 0;

    for (uint32_t j = 0; j < devices; j++) {
        int32_t here = device_peak(&blocks[j]);
        peak = here > peak ? here : peak;
    }
    return peak;
}

enum sp_status sp_block_measure(const struct sp_shape *shape, const struct sp_block *blocks,
                                struct sp_block_result *ret_result, struct sp_error *error)
{
    struct tries tries;
    enum sp_status status = SP_OK;

    if (tries_init(&tries, shape, blocks))
        *ret_result = tries.result;
    else
        status = short_of_memory(shape, error);
    tries_finish(&tries);
    return status;
}

enum sp_status sp_block_push(const struct sp_shape *shape, const struct sp_block *blocks,
                             struct sp_order_builder *builder, struct sp_error *error)
{
    struct tries tries;
    enum sp_status status = SP_OK;

    if (tries_init(&tries, shape, blocks))
        push_table(tries.gathered_is_better ? &tries.gathered : &tries.reordered, false, builder);
    else
        status = short_of_memory(shape, error);
    tries_finish(&tries);
    return status;
}

enum sp_status sp_block_push_whole(const struct sp_shape *shape, const struct sp_block *blocks,
                                   struct sp_order_builder *builder, struct sp_error *error)
{
    struct sp_block_table table;
    enum sp_status status = SP_OK;

    if (sp_block_table_init(&table, shape, blocks)) {
        sp_block_table_lay_out(&table, blocks);
        sp_block_table_gather_whole(&table);
        push_table(&table, true, builder);
    } else {
        status = short_of_memory(shape, error);
    }
    sp_block_table_finish(&table);
    return status;
}
