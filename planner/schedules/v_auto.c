/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V-Auto: the best building block for a cap on memory. A block is given by where the four passes of the first
 * device lie in the period, and by how far they move from device to device: by the same steps for the first
 * devices and by smaller ones for the rest (arXiv 2405.15362, appendix A).
 */
#include "../block.h"
#include "schedules.h"
#include "slimpipe/arena.h"

enum { PERIOD = 6, STEPS = 5, KEPT = 6, SPARE = 0 };

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "v-auto: %u chunks per device; expected 2", shape->chunks);
    if (shape->memory_units && shape->memory_units < 1000)
        return sp_error_set(error, SP_INPUT,
                            "v-auto: memory_units %lld; expected at least 1000, one microbatch's activations",
                            (long long)shape->memory_units);
    return SP_OK;
}

/* A family member: places of F0, F1, I0, I1 on device 0, and the steps of F0 and I0 before and from `turn`
 * on. */
struct recipe {
    uint8_t place[4];
    uint8_t near_step, far_step;
    uint32_t turn;
};

static uint32_t next_at(uint32_t after, uint32_t place)
{
    uint32_t t = after + 1;

    return t + (place + PERIOD - t % PERIOD) % PERIOD;
}

/* Places of a leg on device j: F0 and I0 move by the steps, F1 and I1 back by one. */
static uint32_t place_on(const struct recipe *recipe, unsigned leg, uint32_t j)
{
    uint32_t near = j < recipe->turn ? j : recipe->turn;

    if (leg % 2)
        return (recipe->place[leg] + (PERIOD - 1) * j) % PERIOD;
    return (recipe->place[leg] + recipe->near_step * near + recipe->far_step * (j - near)) % PERIOD;
}

/* The earliest starts with the recipe's places; false where two passes of a device meet. */
static bool cook(const struct recipe *recipe, uint32_t p, struct sp_block *blocks)
{
    uint32_t t = 0;

    for (unsigned leg = 0; leg < 4; leg++) {
        for (uint32_t k = 0; k < p; k++) {
            uint32_t j = leg % 2 ? p - 1 - k : k;
            uint32_t place = place_on(recipe, leg, j);
            t = leg == 0 && k == 0 ? 0 : next_at(t, place);
            blocks[j].start[leg] = t;
            for (unsigned other = 0; other < leg; other++)
                if (place_on(recipe, other, j) == place)
                    return false;
        }
    }
    return true;
}

struct choice {
    struct recipe recipe;
    struct sp_block_result result;
};

struct search {
    const struct sp_shape *shape;
    struct sp_shape trial; /* the shape with few enough microbatches to try many blocks */
    int32_t cap;
    bool seeking_peak;
    int32_t peak;
    struct sp_block *blocks;
    struct choice kept[KEPT]; /* the best so far, best first */
    unsigned kept_count;
};

static void keep(struct search *search, const struct choice *choice)
{
    unsigned k = search->kept_count;

    if (k == KEPT) {
        if (choice->result.makespan >= search->kept[KEPT - 1].result.makespan)
            return;
        k--;
    } else {
        search->kept_count++;
    }
    for (; k > 0 && choice->result.makespan < search->kept[k - 1].result.makespan; k--)
        search->kept[k] = search->kept[k - 1];
    search->kept[k] = *choice;
}

/* First the greatest peak within the cap is sought, then the blocks that have it are tried. */
static enum sp_status try_recipe(struct search *search, const struct recipe *recipe, struct sp_error *error)
{
    struct choice choice = {.recipe = *recipe};
    enum sp_status status;
    int32_t peak;

    if (!cook(recipe, search->shape->devices, search->blocks))
        return SP_OK;
    if ((status = sp_block_peak(search->shape, search->blocks, &peak, error)) || peak > search->cap)
        return status;
    if (search->seeking_peak && peak > search->peak)
        search->peak = peak;
    if (search->seeking_peak || peak + SPARE < search->peak)
        return SP_OK;
    status = sp_block_measure(&search->trial, search->blocks, &choice.result, error);
    if (!status && choice.result.peak <= search->cap)
        keep(search, &choice);
    return status;
}

static enum sp_status try_steps(struct search *search, struct recipe *recipe, struct sp_error *error)
{
    enum sp_status status = SP_OK;

    for (recipe->near_step = 1; recipe->near_step <= STEPS; recipe->near_step++) {
        for (recipe->far_step = 1; recipe->far_step <= recipe->near_step; recipe->far_step++) {
            bool even = recipe->far_step == recipe->near_step;
            for (recipe->turn = 1; recipe->turn < (even ? 2 : search->shape->devices); recipe->turn++)
                if ((status = try_recipe(search, recipe, error)))
                    return status;
        }
    }
    return SP_OK;
}

static enum sp_status try_all(struct search *search, struct sp_error *error)
{
    struct recipe recipe = {.place = {0}};
    enum sp_status status;

    for (recipe.place[1] = 1; recipe.place[1] < PERIOD; recipe.place[1]++)
        for (recipe.place[2] = 1; recipe.place[2] < PERIOD; recipe.place[2]++)
            for (recipe.place[3] = 1; recipe.place[3] < PERIOD; recipe.place[3]++)
                if ((status = try_steps(search, &recipe, error)))
                    return status;
    return SP_OK;
}

/* Pushes the block that ends first with all microbatches. */
static enum sp_status push_best(struct search *search, struct sp_order_builder *builder,
                                struct sp_error *error)
{
    uint32_t p = search->shape->devices;
    enum sp_status status = SP_OK;
    unsigned best = 0;

    for (unsigned k = 0; k < search->kept_count; k++) {
        cook(&search->kept[k].recipe, p, search->blocks);
        status = sp_block_measure(search->shape, search->blocks, &search->kept[k].result, error);
        if (status)
            return status;
        if (search->kept[k].result.peak <= search->cap &&
            search->kept[k].result.makespan < search->kept[best].result.makespan)
            best = k;
    }
    cook(&search->kept[best].recipe, p, search->blocks);
    return sp_block_push(search->shape, search->blocks, builder, error);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    uint32_t enough = 3 * shape->devices;
    int64_t units = shape->memory_units ? shape->memory_units : 1000 * (int64_t)shape->devices;
    struct search search = {
        .shape = shape,
        .trial = *shape,
        .cap = (int32_t)(2 * units / 1000 > INT32_MAX ? INT32_MAX : 2 * units / 1000),
        .blocks = sp_alloc(shape->devices, sizeof(struct sp_block)),
    };
    enum sp_status status;

    if (!search.blocks)
        return sp_error_set(error, SP_MEMORY, "no memory for the blocks of %u devices", shape->devices);
    if (search.trial.microbatches > enough)
        search.trial.microbatches = enough;
    search.seeking_peak = true;
    if (!(status = try_all(&search, error))) {
        search.seeking_peak = false;
        status = try_all(&search, error);
    }
    if (!status && search.kept_count == 0)
        status =
            sp_error_set(error, SP_INFEASIBLE,
                         "no building block of %u devices keeps to %lld.%03lld microbatches' activations",
                         shape->devices, (long long)units / 1000, (long long)units % 1000);
    if (!status)
        status = push_best(&search, builder, error);
    sp_free(search.blocks);
    return status;
}

const struct sp_schedule sp_schedule_v_auto = {
    .name = "v-auto",
    .description = "V of two chunks per device: the best building block for a memory cap",
    .source = "Pipeline Parallelism with Controllable Memory, arXiv 2405.15362",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_USES_COSTS | SP_SCHEDULE_USES_MEMORY,
    .default_chunks = 2,
    .check = check,
    .device = sp_schedule_device_v,
    .order = order,
};
