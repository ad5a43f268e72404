/* SPDX-License-Identifier: Apache-2.0 */
#include "compare_knobs.h"

#include <string.h>

enum { CHOICES = 8 }; /* values of one knob, at most */

/* Values of one knob, in the order in which they are tried. */
struct choices {
    int count;
    int64_t values[CHOICES];
};

static void add_choice(struct choices *choices, int64_t value)
{
    for (int i = 0; i < choices->count; i++)
        if (choices->values[i] == value)
            return;
    if (choices->count < CHOICES)
        choices->values[choices->count++] = value;
}

static struct choices only(int64_t value)
{
    return (struct choices){.count = 1, .values = {value}};
}

static uint32_t devices(const struct sp_knobs *knobs)
{
    int64_t pipeline = knobs->comparison->base.parallel.pipeline;

    return pipeline > 0 && pipeline <= SP_MAX_DEVICES ? (uint32_t)pipeline : 1;
}

/* v where each stage has as many layers as any other; else the first few. */
static struct choices chunk_choices(const struct sp_knobs *knobs, const struct sp_schedule *schedule)
{
    const struct sp_request *base = &knobs->comparison->base;
    uint32_t first = schedule->default_chunks ? schedule->default_chunks : 1;
    struct choices choices = only(base->chunks ? base->chunks : first);
    int64_t layers = base->model ? base->model->layers : 0, p = devices(knobs);

    if (!(schedule->traits & SP_SCHEDULE_CHUNKS))
        return only(1);
    if (base->chunks)
        return choices;
    if (!base->model && base->cost_stages > 1) /* one for each stage */
        return only(base->cost_stages / p);
    for (int64_t v = 1; v <= (layers % p == 0 && layers ? layers / p : 4); v++)
        if (layers % (p * v) == 0 && choices.count < CHOICES - 1)
            add_choice(&choices, v);
    if (layers % p == 0 && layers)
        add_choice(&choices, layers / p);
    return choices;
}

static struct choices slice_choices(const struct sp_knobs *knobs, const struct sp_schedule *schedule)
{
    const struct sp_request *base = &knobs->comparison->base;
    struct choices choices = {0};
    int64_t p = devices(knobs);

    if (!(schedule->traits & SP_SCHEDULE_SLICES))
        return only(1);
    if (base->slices)
        return only(base->slices);
    add_choice(&choices, p);
    add_choice(&choices, 2 * p);
    add_choice(&choices, 4 * p);
    add_choice(&choices, (p + 1) / 2);
    return choices;
}

static struct choices group_choices(const struct sp_knobs *knobs, const struct sp_schedule *schedule)
{
    int64_t p = devices(knobs);

    if (knobs->comparison->base.group || !(schedule->traits & SP_SCHEDULE_USES_GROUP))
        return only(knobs->comparison->base.group);
    return (struct choices){.count = 3, .values = {0, (p + 1) / 2, 2 * p}};
}

/* In 1/1000 of a stage's activations: the schedule's own, and around those of 1F1B. */
static struct choices memory_choices(const struct sp_knobs *knobs, const struct sp_schedule *schedule)
{
    int64_t p = devices(knobs);

    if (knobs->comparison->base.memory_units || !(schedule->traits & SP_SCHEDULE_USES_MEMORY))
        return only(knobs->comparison->base.memory_units);
    return (struct choices){.count = 3, .values = {0, 750 * p, 1500 * p}};
}

static struct choices recompute_choices(const struct sp_knobs *knobs)
{
    const struct sp_request *base = &knobs->comparison->base;

    if (knobs->comparison->fixed & SP_FIXED_RECOMPUTE || base->stage_recompute)
        return only((int64_t)base->recompute);
    if (base->model)
        return (struct choices){.count = 3,
                                .values = {SP_RECOMPUTE_NONE, SP_RECOMPUTE_SELECTIVE, SP_RECOMPUTE_FULL}};
    if (base->costs && base->costs->recompute_ns)
        return (struct choices){.count = 2, .values = {SP_RECOMPUTE_NONE, SP_RECOMPUTE_FULL}};
    return only(SP_RECOMPUTE_NONE);
}

static int64_t divide(int64_t number, int64_t parts)
{
    return (number + parts / 2) / parts;
}

static const int64_t *divide_times(const struct sp_knobs *knobs, const int64_t *times, uint32_t count,
                                   int64_t parts)
{
    int64_t *divided = times ? sp_arena_alloc(knobs->arena, count, sizeof(*divided)) : NULL;

    for (uint32_t i = 0; divided && i < count; i++)
        divided[i] = divide(times[i], parts);
    return divided;
}

/* A device's part of a microbatch divided into the passes of v chunks and n slices. NULL: no memory. */
static const struct sp_pass_costs *divide_costs(const struct sp_knobs *knobs, uint32_t chunks,
                                                uint32_t slices)
{
    const struct sp_request *base = &knobs->comparison->base;
    const struct sp_pass_costs *costs = base->costs;
    struct sp_pass_costs *divided = sp_arena_alloc(knobs->arena, 1, sizeof(*divided));
    uint32_t count = base->cost_stages;
    int64_t parts = (int64_t)slices * (count > 1 ? 1 : chunks);

    if (!divided || parts == 1)
        return divided ? costs : NULL;
    *divided = *costs;
    divided->forward_ns = divide_times(knobs, costs->forward_ns, count, parts);
    divided->input_ns = divide_times(knobs, costs->input_ns, count, parts);
    divided->weight_ns = divide_times(knobs, costs->weight_ns, count, parts);
    divided->recompute_ns = divide_times(knobs, costs->recompute_ns, count, parts);
    divided->overlap_ns = divide_times(knobs, costs->overlap_ns, count, parts);
    divided->output_forward_ns = divide(costs->output_forward_ns, slices);
    divided->output_backward_ns = divide(costs->output_backward_ns, slices);
    divided->activation_bytes = divide(costs->activation_bytes, parts);
    divided->weight_held_bytes = divide(costs->weight_held_bytes, parts);
    return divided;
}

static void append(struct sp_knobs *knobs, const struct sp_request *request)
{
    if (knobs->count == knobs->capacity) {
        size_t capacity = knobs->capacity ? 2 * knobs->capacity : 256;
        struct sp_request *items = sp_realloc(knobs->items, capacity, sizeof(*items));
        if (!items) {
            knobs->short_of_memory = true;
            return;
        }
        knobs->items = items;
        knobs->capacity = capacity;
    }
    knobs->items[knobs->count++] = *request;
}

/* All combinations of what does not change the number of passes. */
static void add_shape(struct sp_knobs *knobs, const struct sp_schedule *schedule, struct sp_request request)
{
    struct choices groups = group_choices(knobs, schedule);
    struct choices memories = memory_choices(knobs, schedule), recomputes = recompute_choices(knobs);

    for (int g = 0; g < groups.count; g++)
        for (int u = 0; u < memories.count; u++)
            for (int r = 0; r < recomputes.count; r++) {
                request.group = (uint32_t)groups.values[g];
                request.memory_units = memories.values[u];
                request.recompute = (enum sp_recompute)recomputes.values[r];
                append(knobs, &request);
            }
}

void sp_knobs_add(struct sp_knobs *knobs, const struct sp_schedule *schedule)
{
    const struct sp_compare_request *comparison = knobs->comparison;
    struct choices chunks = chunk_choices(knobs, schedule), slices = slice_choices(knobs, schedule);
    struct sp_request request = comparison->base;

    request.schedule = schedule->name;
    if (schedule->traits & SP_SCHEDULE_OFFLOADS && !(comparison->fixed & SP_FIXED_OFFLOAD))
        request.offload_permille = 1000;
    for (int n = 0; n < slices.count; n++)
        for (int v = 0; v < chunks.count; v++) {
            request.slices = (uint32_t)slices.values[n];
            request.slice_tokens = request.slices > 1 ? comparison->base.slice_tokens : NULL;
            request.chunks = (uint32_t)chunks.values[v];
            if (request.costs &&
                !(request.costs = divide_costs(knobs, request.chunks ? request.chunks : 1, request.slices))) {
                knobs->short_of_memory = true;
                return;
            }
            add_shape(knobs, schedule, request);
            request.costs = comparison->base.costs;
        }
}

/* Where the output layer runs unless the request says so. */
static struct choices vocabulary_choices(const struct sp_knobs *knobs)
{
    const struct sp_request *base = &knobs->comparison->base;

    if (base->vocabulary_is_set || !base->model || devices(knobs) == 1)
        return (struct choices){0};
    return (struct choices){.count = 3,
                            .values = {SP_VOCABULARY_LAST, SP_VOCABULARY_SCATTER, SP_VOCABULARY_TILED}};
}

static bool is_default_vocabulary(const struct sp_schedule *schedule, int64_t vocabulary)
{
    return vocabulary ==
           (strcmp(schedule->name, "slimpipe") == 0 ? SP_VOCABULARY_SCATTER : SP_VOCABULARY_LAST);
}

/* Where the output layer runs, the request's own choice first. */
static void refine_vocabulary(struct sp_knobs *knobs, const struct sp_schedule *schedule,
                              struct sp_request request, bool with_own)
{
    struct choices vocabularies = vocabulary_choices(knobs);

    if (with_own)
        append(knobs, &request);
    for (int v = 0; v < vocabularies.count; v++) {
        if (is_default_vocabulary(schedule, vocabularies.values[v]))
            continue;
        request.vocabulary = (enum sp_vocabulary)vocabularies.values[v];
        request.vocabulary_is_set = true;
        append(knobs, &request);
    }
}

static void refine_divisions(struct sp_knobs *knobs, const struct sp_schedule *schedule,
                             struct sp_request request)
{
    const struct sp_request *base = &knobs->comparison->base;

    if (request.slices > 1 && !base->slice_tokens && base->slice_division == SP_SLICES_EQUAL) {
        request.slice_division = SP_SLICES_WORK;
        refine_vocabulary(knobs, schedule, request, true);
    } else if (request.slices == 1 && !base->stage_layers && base->stage_division == SP_STAGES_EQUAL) {
        request.stage_division = SP_STAGES_WORK;
        refine_vocabulary(knobs, schedule, request, true);
    }
}

void sp_knobs_refine(struct sp_knobs *knobs, const struct sp_schedule *schedule,
                     const struct sp_request *request)
{
    bool attends = request->model || request->costs->attention_permille > 0;
    struct sp_request refined = *request;

    if (!knobs->comparison->base.window && schedule->traits & SP_SCHEDULE_USES_WINDOW) {
        refined.window = 1;
        append(knobs, &refined);
        refined.window = request->window;
    }
    refine_vocabulary(knobs, schedule, refined, false);
    if (attends)
        refine_divisions(knobs, schedule, refined);
    if (!attends || request->slices == 1 || devices(knobs) == 1 ||
        knobs->comparison->fixed & SP_FIXED_EXCHANGE)
        return;
    for (int x = 0; sp_exchange_policies[x]; x++) {
        refined.exchange = sp_exchange_policies[x]->name;
        if (strcmp(refined.exchange, "pairwise") == 0)
            append(knobs, &refined);
        else if (strcmp(refined.exchange, "none") != 0)
            refine_vocabulary(knobs, schedule, refined, true);
    }
}
