/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V-Auto: the best building block for a cap on memory. A block is given by where the four passes of the first
 * device lie in the period, and by how far they move from device to device: by the same steps for the first
 * devices and by smaller ones for the rest (arXiv 2405.15362, appendix A).
 */
#include "../block.h"
#include "schedules.h"
#include "slimpipe/arena.h"

enum { STEPS = 5, KEPT = 6, MOST_DEVICES = 64 };
/* Microbatches per device that show what a block is worth. */
enum { TRIAL = 2 };
/* Recipes tried, times devices. */
enum { TRIED_PASSES = 4096 };

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks != 2)
        return sp_error_set(error, SP_INPUT, "v-auto: %u chunks per device; expected 2", shape->chunks);
    if (shape->devices > MOST_DEVICES)
        return sp_error_set(error, SP_INPUT, "v-auto: %u devices; its search goes up to %d", shape->devices,
                            MOST_DEVICES);
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

    return t + (place + SP_BLOCK_PERIOD - t % SP_BLOCK_PERIOD) % SP_BLOCK_PERIOD;
}

/* Places of a leg on device j: F0 and I0 move by the steps, F1 and I1 back by one. */
static uint32_t place_on(const struct recipe *recipe, unsigned leg, uint32_t j)
{
    uint32_t near = j < recipe->turn ? j : recipe->turn;

    if (leg % 2)
        return (recipe->place[leg] + (SP_BLOCK_PERIOD - 1) * j) % SP_BLOCK_PERIOD;
    return (recipe->place[leg] + recipe->near_step * near + recipe->far_step * (j - near)) % SP_BLOCK_PERIOD;
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
    int64_t makespan;
};

struct search {
    const struct sp_shape *shape;
    struct sp_shape trial; /* the shape with few enough microbatches to try many blocks */
    int32_t cap, peak;     /* the greatest peak of a block within the cap */
    struct sp_block *blocks;
    struct recipe *recipes; /* those whose block has that peak */
    size_t recipe_count;
    struct choice kept[KEPT]; /* the best so far, best first */
    unsigned kept_count;
};

/* Memory that is there is used: blocks that could hold more are left out. */
static void note_recipe(struct search *search, const struct recipe *recipe)
{
    int32_t peak;

    if (!cook(recipe, search->shape->devices, search->blocks))
        return;
    peak = sp_block_peak(search->blocks, search->shape->devices);
    if (peak > search->cap || peak < search->peak)
        return;
    if (peak > search->peak)
        search->recipe_count = 0;
    search->peak = peak;
    search->recipes[search->recipe_count++] = *recipe;
}

/* How many recipes there are with four given places on device 0. */
static size_t count_steps(uint32_t p)
{
    return STEPS + STEPS * (STEPS - 1) / 2 * (size_t)(p > 1 ? p - 1 : 0);
}

static void note_steps(struct search *search, struct recipe *recipe)
{
    uint32_t stride =
        1 + search->shape->devices / 32; /* in a long pipe one device more or less is the same */

    for (recipe->near_step = 1; recipe->near_step <= STEPS; recipe->near_step++) {
        for (recipe->far_step = 1; recipe->far_step <= recipe->near_step; recipe->far_step++) {
            bool even = recipe->far_step == recipe->near_step;
            for (recipe->turn = 1; recipe->turn < (even ? 2 : search->shape->devices); recipe->turn += stride)
                note_recipe(search, recipe);
        }
    }
}

static void note_all(struct search *search)
{
    struct recipe recipe = {.place = {0}};

    for (recipe.place[1] = 1; recipe.place[1] < SP_BLOCK_PERIOD; recipe.place[1]++)
        for (recipe.place[2] = 1; recipe.place[2] < SP_BLOCK_PERIOD; recipe.place[2]++)
            for (recipe.place[3] = 1; recipe.place[3] < SP_BLOCK_PERIOD; recipe.place[3]++)
                note_steps(search, &recipe);
}

static void keep(struct search *search, const struct choice *choice)
{
    unsigned k = search->kept_count;

    if (k == KEPT) {
        if (choice->makespan >= search->kept[KEPT - 1].makespan)
            return;
        k--;
    } else {
        search->kept_count++;
    }
    for (; k > 0 && choice->makespan < search->kept[k - 1].makespan; k--)
        search->kept[k] = search->kept[k - 1];
    search->kept[k] = *choice;
}

static enum sp_status try_recipes(struct search *search, struct sp_error *error)
{
    /* A long pipe takes longer to try; then some of its many recipes stand for all. */
    size_t stride = 1 + search->recipe_count * search->shape->devices / TRIED_PASSES;

    for (size_t k = 0; k < search->recipe_count; k += stride) {
        struct choice choice = {.recipe = search->recipes[k]};
        struct sp_block_result result;
        enum sp_status status;
        cook(&choice.recipe, search->shape->devices, search->blocks);
        if ((status = sp_block_measure(&search->trial, search->blocks, &result, error)))
            return status;
        choice.makespan = result.makespan;
        if (result.peak <= search->cap)
            keep(search, &choice);
    }
    return SP_OK;
}

/* Pushes the block that ends first with all microbatches. */
static enum sp_status push_best(struct search *search, struct sp_order_builder *builder,
                                struct sp_error *error)
{
    uint32_t p = search->shape->devices;
    int64_t best_makespan = INT64_MAX;
    unsigned best = 0;

    for (unsigned k = 0; k < search->kept_count; k++) {
        struct sp_block_result result;
        enum sp_status status;
        cook(&search->kept[k].recipe, p, search->blocks);
        if ((status = sp_block_measure(search->shape, search->blocks, &result, error)))
            return status;
        if (result.peak <= search->cap && result.makespan < best_makespan) {
            best_makespan = result.makespan;
            best = k;
        }
    }
    cook(&search->kept[best].recipe, p, search->blocks);
    return sp_block_push(search->shape, search->blocks, builder, error);
}

static enum sp_status run(struct search *search, struct sp_order_builder *builder, struct sp_error *error)
{
    enum sp_status status;

    note_all(search);
    if ((status = try_recipes(search, error)))
        return status;
    if (search->kept_count == 0)
        return sp_error_set(error, SP_INFEASIBLE,
                            "no building block of %u devices keeps to %d chunks' activations of a microbatch",
                            search->shape->devices, search->cap);
    return push_best(search, builder, error);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    uint32_t enough = TRIAL * shape->devices;
    int64_t chunks = shape->memory_units ? 2 * shape->memory_units / 1000 : 2 * (int64_t)shape->devices;
    size_t places = (SP_BLOCK_PERIOD - 1) * (SP_BLOCK_PERIOD - 1) * (SP_BLOCK_PERIOD - 1);
    struct search search = {
        .shape = shape,
        .trial = *shape,
        .cap = chunks < INT32_MAX ? (int32_t)chunks : INT32_MAX,
        .blocks = sp_alloc(shape->devices, sizeof(struct sp_block)),
        .recipes = sp_alloc(places * count_steps(shape->devices), sizeof(struct recipe)),
    };
    enum sp_status status;

    if (search.trial.microbatches > enough)
        search.trial.microbatches = enough;
    if (search.blocks && search.recipes)
        status = run(&search, builder, error);
    else
        status = sp_error_set(error, SP_MEMORY, "no memory for the blocks of %u devices", shape->devices);
    sp_free(search.blocks);
    sp_free(search.recipes);
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
