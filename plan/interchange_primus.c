/* SPDX-License-Identifier: Apache-2.0 */
/* Timelines of AMD Primus' pipeline simulator, in: the order is that of the starts. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "imported_order.h"
#include "slimpipe/interchange.h"
#include "slimpipe/json.h"

enum direction { FORWARD, BACKWARD, WEIGHT, DIRECTIONS };
static const char *const direction_names[DIRECTIONS] = {"fwd", "bwd", "wgrad"};

#define MOST_MS 9e9 /* a hundred days; its nanoseconds are exact enough to be put in order */

struct event {
    double start_ms, end_ms;
    uint32_t microbatch, chunk;
    int direction;
    uint64_t place; /* in its file, keeps the sort stable */
};

struct timeline {
    uint32_t devices, chunks, microbatches;
    struct event *events; /* of all ranks, each rank's sorted by start */
    uint64_t *begin;      /* by rank */
    uint64_t capacity;
    uint8_t *has_weight; /* by unit of a stage: (stage, microbatch) */
    bool to_and_fro;     /* odd chunks lie on the devices in reverse */
};

static uint32_t stage_of(const struct timeline *timeline, uint32_t rank, uint32_t chunk)
{
    bool reversed = timeline->to_and_fro && chunk % 2;

    return chunk * timeline->devices + (reversed ? timeline->devices - 1 - rank : rank);
}

static enum sp_status out_of_memory(struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "no memory for a timeline");
}

/* The list `fwd_start` of an iteration. */
static enum sp_status find_list(const struct sp_json *json, const struct sp_json_value *iteration,
                                int direction, const char *name, const struct sp_json_value **ret_list,
                                struct sp_error *error)
{
    char key[32];
    enum sp_status status;

    snprintf(key, sizeof(key), "%s_%s", direction_names[direction], name);
    if ((status = sp_json_get(json, iteration, key, ret_list, error)))
        return status;
    if (!sp_json_is_array(*ret_list))
        return sp_json_error(json, *ret_list, error, "expected a list");
    return SP_OK;
}

static enum sp_status reserve(struct timeline *timeline, uint64_t count, struct sp_error *error)
{
    uint64_t capacity = timeline->capacity ? 2 * timeline->capacity : 1024;
    struct event *events;

    if (count < timeline->capacity)
        return SP_OK;
    if (count >= SP_MAX_PASSES || !(events = sp_realloc(timeline->events, capacity, sizeof(*events))))
        return out_of_memory(error);
    timeline->events = events;
    timeline->capacity = capacity;
    return SP_OK;
}

static enum sp_status read_event(const struct timeline *timeline, const struct sp_json *json,
                                 const struct sp_json_value *const values[4], struct event *event,
                                 struct sp_error *error)
{
    int64_t microbatch, chunk;
    enum sp_status status;

    if ((status = sp_json_real(json, values[0], 0, MOST_MS, &event->start_ms, error)) ||
        (status = sp_json_real(json, values[1], event->start_ms, MOST_MS, &event->end_ms, error)) ||
        (status = sp_json_whole(json, values[2], 0, timeline->microbatches - 1, &microbatch, error)) ||
        (status = sp_json_whole(json, values[3], 0, timeline->chunks - 1, &chunk, error)))
        return status;
    event->microbatch = (uint32_t)microbatch;
    event->chunk = (uint32_t)chunk;
    return SP_OK;
}

/* Appends one direction's events; its four lists are equally long. */
static enum sp_status read_direction(struct timeline *timeline, const struct sp_json *json,
                                     const struct sp_json_value *iteration, int direction, uint64_t *count,
                                     struct sp_error *error)
{
    static const char *const names[] = {"start", "end", "minibatch", "chunk"};
    const struct sp_json_value *lists[4], *values[4];
    enum sp_status status;

    for (int i = 0; i < 4; i++) {
        if ((status = find_list(json, iteration, direction, names[i], &lists[i], error)))
            return status;
        if (sp_json_size(lists[i]) != sp_json_size(lists[0]))
            return sp_json_error(json, lists[i], error, "expected as many entries as %s_start has: %zu",
                                 direction_names[direction], sp_json_size(lists[0]));
        values[i] = sp_json_first(lists[i]);
    }
    while (values[0]) {
        struct event event = {.direction = direction, .place = *count};
        if ((status = read_event(timeline, json, values, &event, error)) ||
            (status = reserve(timeline, *count, error)))
            return status;
        timeline->events[(*count)++] = event;
        for (int i = 0; i < 4; i++)
            values[i] = sp_json_next(values[i]);
    }
    return SP_OK;
}

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    if (x->start_ms != y->start_ms)
        return x->start_ms < y->start_ms ? -1 : 1;
    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static enum sp_status read_rank(struct timeline *timeline, const char *directory, uint32_t rank,
                                struct sp_error *error)
{
    char path[PATH_MAX];
    struct sp_json *json = NULL;
    const struct sp_json_value *iteration;
    uint64_t begin = timeline->begin[rank], count = begin;
    enum sp_status status;

    snprintf(path, sizeof(path), "%s/pp_rank_%u.json", directory, rank);
    if ((status = sp_json_read(path, &json, error)))
        return status;
    iteration = sp_json_first(sp_json_root(json));
    if (!iteration)
        status = sp_json_error(json, sp_json_root(json), error, "expected an iteration, such as \"0\"");
    for (int direction = 0; direction < DIRECTIONS && !status; direction++)
        status = read_direction(timeline, json, iteration, direction, &count, error);
    if (!status && count == begin)
        status = sp_json_error(json, iteration, error, "rank %u runs no pass", rank);
    sp_json_destroy(json);
    timeline->begin[rank + 1] = count;
    if (!status)
        qsort(timeline->events + begin, count - begin, sizeof(*timeline->events), compare_events);
    return status;
}

static enum sp_status get_count(const struct sp_json *json, const char *key, int64_t most,
                                uint32_t *ret_count, struct sp_error *error)
{
    int64_t count;
    enum sp_status status = sp_json_get_whole(json, sp_json_root(json), key, 1, most, &count, error);

    if (!status)
        *ret_count = (uint32_t)count;
    return status;
}

static enum sp_status read_config(struct timeline *timeline, const char *directory, struct sp_error *error)
{
    char path[PATH_MAX];
    struct sp_json *json = NULL;
    enum sp_status status;

    snprintf(path, sizeof(path), "%s/config.json", directory);
    if ((status = sp_json_read(path, &json, error)))
        return status;
    if (!(status = get_count(json, "pp_size", SP_MAX_DEVICES, &timeline->devices, error)) &&
        !(status = get_count(json, "vpp_size", SP_MAX_STAGES / timeline->devices, &timeline->chunks, error)))
        status = get_count(json, "micro_batches", SP_MAX_MICROBATCHES, &timeline->microbatches, error);
    sp_json_destroy(json);
    return status;
}

/* When a rank begins its first forward of a chunk. */
static double chunk_start(const struct timeline *timeline, uint32_t rank, uint32_t chunk)
{
    for (uint64_t i = timeline->begin[rank]; i < timeline->begin[rank + 1]; i++)
        if (timeline->events[i].direction == FORWARD && timeline->events[i].chunk == chunk)
            return timeline->events[i].start_ms;
    return INFINITY;
}

static enum sp_status read_timeline(struct timeline *timeline, const char *directory, struct sp_error *error)
{
    enum sp_status status = read_config(timeline, directory, error);

    if (status)
        return status;
    if (!(timeline->begin = sp_alloc(timeline->devices + 1, sizeof(*timeline->begin))))
        return out_of_memory(error);
    for (uint32_t rank = 0; rank < timeline->devices && !status; rank++)
        status = read_rank(timeline, directory, rank, error);
    if (!status && timeline->chunks > 1)
        timeline->to_and_fro = chunk_start(timeline, timeline->devices - 1, 1) < chunk_start(timeline, 0, 1);
    return status;
}

/* --- The order ------------------------------------------------------------------------------------------ */

static uint64_t unit_of(const struct timeline *timeline, uint32_t rank, const struct event *event)
{
    return (uint64_t)event->microbatch * timeline->devices * timeline->chunks +
           stage_of(timeline, rank, event->chunk);
}

static bool same_times(const struct event *a, const struct event *b)
{
    return a->start_ms == b->start_ms && a->end_ms == b->end_ms && a->end_ms > a->start_ms;
}

static struct sp_pass pass_of(const struct timeline *timeline, uint32_t rank, uint64_t index)
{
    const struct event *event = &timeline->events[index];
    bool split = timeline->has_weight[unit_of(timeline, rank, event)];
    bool last = index + 1 == timeline->begin[rank + 1];

    return (struct sp_pass){
        .kind = event->direction == FORWARD  ? SP_PASS_F
                : event->direction == WEIGHT ? SP_PASS_W
                : split                      ? SP_PASS_I
                                             : SP_PASS_B,
        .stage = (uint16_t)stage_of(timeline, rank, event->chunk),
        .microbatch = event->microbatch,
        .joined = event->direction == FORWARD && !last && event[1].direction == BACKWARD &&
                  same_times(event, event + 1),
    };
}

static enum sp_status mark_weights(struct timeline *timeline, struct sp_error *error)
{
    uint64_t units = (uint64_t)timeline->devices * timeline->chunks * timeline->microbatches;

    if (units > timeline->begin[timeline->devices])
        return sp_error_set(error, SP_INPUT, "%llu passes are too few for %u stages and %u microbatches",
                            (unsigned long long)timeline->begin[timeline->devices],
                            timeline->devices * timeline->chunks, timeline->microbatches);
    if (!(timeline->has_weight = sp_alloc(units, 1)))
        return out_of_memory(error);
    for (uint32_t rank = 0; rank < timeline->devices; rank++)
        for (uint64_t i = timeline->begin[rank]; i < timeline->begin[rank + 1]; i++)
            if (timeline->events[i].direction == WEIGHT)
                timeline->has_weight[unit_of(timeline, rank, &timeline->events[i])] = 1;
    return SP_OK;
}

static enum sp_status fill_order(struct timeline *timeline, const char *directory,
                                 struct imported_order *order, struct sp_error *error)
{
    uint64_t count = timeline->begin[timeline->devices];
    enum sp_status status = mark_weights(timeline, error);

    if (status)
        return status;
    order->source = directory;
    order->device_count = timeline->devices;
    order->pass_count = count;
    order->passes = sp_alloc(count, sizeof(*order->passes));
    order->places = sp_alloc(count, sizeof(*order->places));
    order->begin = sp_alloc(timeline->devices + 1, sizeof(*order->begin));
    if (!order->passes || !order->places || !order->begin)
        return out_of_memory(error);
    for (uint32_t rank = 0; rank < timeline->devices; rank++) {
        for (uint64_t i = timeline->begin[rank]; i < timeline->begin[rank + 1]; i++)
            order->passes[i] = pass_of(timeline, rank, i);
        order->begin[rank + 1] = timeline->begin[rank + 1];
    }
    return sp_imported_order_index(order, error);
}

/* --- Costs ---------------------------------------------------------------------------------------------- */

/* Sums of durations by stage; a joined pair counts as its own kind. */
enum sum { SUM_F, SUM_B, SUM_I, SUM_W, SUM_JOINED, SUMS };
struct stage_times {
    double ms[SUMS];
    uint64_t count[SUMS];
};

static void add_times(const struct timeline *timeline, const struct imported_order *order,
                      struct stage_times *stages)
{
    static const int kinds[SP_PASS_KINDS] = {
        [SP_PASS_F] = SUM_F, [SP_PASS_B] = SUM_B, [SP_PASS_I] = SUM_I, [SP_PASS_W] = SUM_W};

    for (uint64_t i = 0; i < order->pass_count; i++) {
        const struct sp_pass *pass = &order->passes[i];
        int sum = pass->joined ? SUM_JOINED : kinds[pass->kind];
        stages[pass->stage].ms[sum] += timeline->events[i].end_ms - timeline->events[i].start_ms;
        stages[pass->stage].count[sum]++;
        i += pass->joined;
    }
}

static int64_t mean_ns(const struct stage_times *stage, int sum)
{
    return stage->count[sum] ? llround(stage->ms[sum] * 1e6 / (double)stage->count[sum]) : 0;
}

/* A stage whose passes never run alone shares its pairs' time evenly. */
static void fill_stage_costs(const struct stage_times *stage, int64_t *forward, int64_t *input,
                             int64_t *weight, int64_t *overlap)
{
    *forward = stage->count[SUM_F] ? mean_ns(stage, SUM_F) : mean_ns(stage, SUM_JOINED) / 2;
    *weight = mean_ns(stage, SUM_W);
    if (stage->count[SUM_I])
        *input = mean_ns(stage, SUM_I);
    else if (stage->count[SUM_B])
        *input = mean_ns(stage, SUM_B) > *weight ? mean_ns(stage, SUM_B) - *weight : 0;
    else
        *input = mean_ns(stage, SUM_JOINED) - mean_ns(stage, SUM_JOINED) / 2;
    *overlap = stage->count[SUM_JOINED] ? mean_ns(stage, SUM_JOINED) : *forward + *input + *weight;
}

/* In arena. */
static enum sp_status measure_costs(const struct timeline *timeline, const struct imported_order *order,
                                    struct sp_arena *arena, struct sp_pass_costs *ret_costs,
                                    struct sp_error *error)
{
    uint32_t count = order->stage_count;
    struct stage_times *stages = sp_arena_alloc(arena, count, sizeof(*stages));
    int64_t *forward = sp_arena_alloc(arena, count, sizeof(*forward));
    int64_t *input = sp_arena_alloc(arena, count, sizeof(*input));
    int64_t *weight = sp_arena_alloc(arena, count, sizeof(*weight));
    int64_t *overlap = sp_arena_alloc(arena, count, sizeof(*overlap));

    if (!stages || !forward || !input || !weight || !overlap)
        return out_of_memory(error);
    add_times(timeline, order, stages);
    for (uint32_t s = 0; s < count; s++)
        fill_stage_costs(&stages[s], &forward[s], &input[s], &weight[s], &overlap[s]);
    *ret_costs = (struct sp_pass_costs){
        .forward_ns = forward, .input_ns = input, .weight_ns = weight, .overlap_ns = overlap};
    return SP_OK;
}

static enum sp_status make_plan(const struct timeline *timeline, const struct imported_order *order,
                                struct sp_plan **ret_plan, struct sp_error *error)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_pass_costs costs;
    enum sp_status status =
        arena ? measure_costs(timeline, order, arena, &costs, error) : out_of_memory(error);

    if (!status)
        status = sp_imported_order_plan(order, &costs, order->stage_count, ret_plan, error);
    sp_arena_destroy(arena);
    return status;
}

enum sp_status sp_import_primus(const char *directory, const struct sp_pass_costs *costs,
                                uint32_t cost_stages, struct sp_plan **ret_plan, struct sp_error *error)
{
    struct timeline timeline = {0};
    struct imported_order order = {0};
    enum sp_status status;

    if ((status = read_timeline(&timeline, directory, error)) ||
        (status = fill_order(&timeline, directory, &order, error)))
        goto out;
    status = costs ? sp_imported_order_plan(&order, costs, cost_stages, ret_plan, error)
                   : make_plan(&timeline, &order, ret_plan, error);
out:
    sp_imported_order_finish(&order);
    sp_free(timeline.events);
    sp_free(timeline.begin);
    sp_free(timeline.has_weight);
    return status;
}
