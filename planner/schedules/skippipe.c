/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SkipPipe: each microbatch visits only some of the stages, always the first and the last, perhaps two of the
 * others in turned order. Stages are held by several nodes; nodes and links differ. Microbatches are placed
 * one after the other, each on the path that ends its forwards first around those placed before: no two at
 * once on a node, no node above its memory, and the stages visited equally often. (The paper searches for
 * such paths by conflict-based search.)
 */
#include <string.h>

#include "../timetable.h"
#include "schedules.h"
#include "slimpipe/arena.h"

static uint32_t stage_count(const struct sp_shape *shape)
{
    return shape->stages ? shape->stages : shape->devices;
}

static uint32_t path_length(const struct sp_shape *shape)
{
    uint32_t stages = stage_count(shape), most = (2 * stages + 2) / 3;

    if (shape->path_stages)
        return shape->path_stages;
    return most < 2 && stages >= 2 ? 2 : most;
}

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t stages = stage_count(shape), length = path_length(shape), least = stages < 2 ? stages : 2;

    if (stages > shape->devices)
        return sp_error_set(error, SP_INPUT,
                            "skippipe: %u stages on %u nodes; expected at least a node per stage", stages,
                            shape->devices);
    if (length < least || length > stages)
        return sp_error_set(error, SP_INPUT, "skippipe: paths of %u of %u stages; expected %u to %u", length,
                            stages, least, stages);
    if (shape->memory_units && shape->memory_units < 1000)
        return sp_error_set(
            error, SP_INPUT,
            "skippipe: memory_units %lld; expected at least 1000, one microbatch's activations",
            (long long)shape->memory_units);
    return SP_OK;
}

static uint32_t device(const struct sp_shape *shape, uint32_t stage)
{
    (void)shape;
    return stage;
}

/* The best way found to a node as the k-th of a path. */
struct label {
    int64_t finish; /* of its forward; −1: none */
    uint32_t from;  /* the node before */
};

struct planner {
    const struct sp_shape *shape;
    uint32_t stages, length;
    struct sp_timetable *tables; /* per node */
    uint32_t *visits;            /* per stage */
    uint32_t least, most;        /* visits that each stage but the ends shall have */
    uint32_t left;               /* microbatches not yet placed */
    struct label *labels;        /* [k · p + node] */
    uint32_t *nodes, *trial;     /* a path's nodes */
    uint16_t *paths;             /* of all microbatches, length each */
};

static int64_t duration(const struct planner *planner, uint32_t node, bool is_forward)
{
    const struct sp_shape *shape = planner->shape;
    bool timed = shape->forward_ns || shape->input_ns || shape->weight_ns;
    int64_t time = !timed       ? (is_forward ? 1000 : 2000)
                   : is_forward ? shape->forward_ns
                                : shape->input_ns + shape->weight_ns;

    if (shape->device_permille)
        time = time * shape->device_permille[node] / 1000;
    return time > 0 ? time : 1;
}

static int64_t hop(const struct planner *planner, uint32_t from, uint32_t to)
{
    const struct sp_shape *shape = planner->shape;

    if (from == to)
        return 0;
    return shape->link_ns ? shape->link_ns[(size_t)from * shape->devices + to] : shape->message_ns;
}

/* When a forward that is ready at a node would end. */
static int64_t forward_end(const struct planner *planner, uint32_t node, int64_t ready)
{
    const struct sp_timetable *table = &planner->tables[node];
    int64_t time = duration(planner, node, true), room = sp_timetable_room(table);

    return sp_timetable_fit(table, ready > room ? ready : room, time) + time;
}

/* Takes the step from one label to a node, where it gets there earlier. */
static void relax(struct planner *planner, uint32_t k, uint32_t from, uint32_t node)
{
    uint32_t p = planner->shape->devices;
    const struct label *before = &planner->labels[(size_t)(k - 1) * p + from];
    struct label *label = &planner->labels[(size_t)k * p + node];
    int64_t finish;

    if (before->finish < 0)
        return;
    finish = forward_end(planner, node, before->finish + hop(planner, from, node));
    if (label->finish < 0 || finish < label->finish)
        *label = (struct label){finish, from};
}

static void clear_labels(struct planner *planner)
{
    uint32_t p = planner->shape->devices;

    for (size_t i = 0; i < (size_t)planner->length * p; i++)
        planner->labels[i].finish = -1;
    for (uint32_t node = 0; node < p; node += planner->stages)
        planner->labels[node].finish = forward_end(planner, node, 0);
}

/* The end of the best path to the last stage, and its nodes; −1: none. */
static int64_t read_labels(const struct planner *planner, uint32_t *nodes)
{
    uint32_t p = planner->shape->devices, last = planner->length - 1, best = UINT32_MAX;
    const struct label *labels = planner->labels + (size_t)last * p;

    for (uint32_t node = 0; node < p; node++)
        if (labels[node].finish >= 0 && (best == UINT32_MAX || labels[node].finish < labels[best].finish))
            best = node;
    if (best == UINT32_MAX)
        return -1;
    nodes[last] = best;
    for (uint32_t k = last; k > 0; k--)
        nodes[k - 1] = planner->labels[(size_t)k * p + nodes[k]].from;
    return labels[best].finish;
}

static bool may_visit(const struct planner *planner, uint32_t k, uint32_t stage, bool evenly)
{
    if (k + 1 == planner->length)
        return stage + 1 == planner->stages;
    return stage + 1 < planner->stages && (!evenly || planner->visits[stage] < planner->most);
}

/* A stage that needs a visit of every microbatch still to come. */
static bool must_visit(const struct planner *planner, uint32_t stage)
{
    return planner->visits[stage] + planner->left <= planner->least;
}

/* The first stage that the one before `stage` on a path may be. */
static uint32_t first_before(const struct planner *planner, uint32_t stage, bool evenly)
{
    uint32_t before = stage;

    while (before > 0 && !(evenly && before < stage && must_visit(planner, before)))
        before--;
    return before;
}

/* The node of the stages first … stage − 1 whose k-th forward ends first; p: none. */
static uint32_t earliest_from(const struct planner *planner, uint32_t k, uint32_t first, uint32_t stage)
{
    uint32_t p = planner->shape->devices, best = p;
    const struct label *labels = planner->labels + (size_t)k * p;

    for (uint32_t from = 0; from < p; from++) {
        uint32_t at = from % planner->stages;
        if (at >= first && at < stage && labels[from].finish >= 0 &&
            (best == p || labels[from].finish < labels[best].finish))
            best = from;
    }
    return best;
}

/* The steps to all nodes of a stage as the k-th. Where all hops are equal, the earliest node before is best.
 */
static void reach_stage(struct planner *planner, uint32_t k, uint32_t stage, bool evenly)
{
    uint32_t p = planner->shape->devices, first = first_before(planner, stage, evenly);
    uint32_t earliest = planner->shape->link_ns ? p : earliest_from(planner, k - 1, first, stage);

    for (uint32_t node = stage; node < p; node += planner->stages) {
        if (earliest < p)
            relax(planner, k, earliest, node);
        for (uint32_t from = 0; planner->shape->link_ns && from < p; from++)
            if (from % planner->stages >= first && from % planner->stages < stage)
                relax(planner, k, from, node);
    }
}

/* The best path with its stages in order; evenly: such that all stages can still be visited equally often. */
static int64_t find_path(struct planner *planner, bool evenly)
{
    clear_labels(planner);
    for (uint32_t k = 1; k < planner->length; k++)
        for (uint32_t stage = k; stage < planner->stages; stage++)
            if (may_visit(planner, k, stage, evenly))
                reach_stage(planner, k, stage, evenly);
    return read_labels(planner, planner->nodes);
}

/* The best nodes for a path's stages as they stand. */
static int64_t find_nodes(struct planner *planner, const uint16_t *path, uint32_t *nodes)
{
    uint32_t p = planner->shape->devices;

    clear_labels(planner);
    for (uint32_t k = 1; k < planner->length; k++)
        for (uint32_t node = path[k]; node < p; node += planner->stages)
            for (uint32_t from = path[k - 1]; from < p; from += planner->stages)
                relax(planner, k, from, node);
    return read_labels(planner, nodes);
}

static void swap(uint16_t *path, uint32_t k)
{
    uint16_t stage = path[k];

    path[k] = path[k + 1];
    path[k + 1] = stage;
}

/* Turns two neighbours of the path, its ends apart, where that ends earlier. */
static void try_swaps(struct planner *planner, uint16_t *path, int64_t finish)
{
    uint32_t best = 0;

    for (uint32_t k = 1; k + 2 < planner->length; k++) {
        int64_t swapped;
        swap(path, k);
        swapped = find_nodes(planner, path, planner->trial);
        swap(path, k);
        if (swapped < finish) {
            finish = swapped;
            best = k;
            memcpy(planner->nodes, planner->trial, planner->length * sizeof(*planner->nodes));
        }
    }
    if (best)
        swap(path, best);
}

static bool enter(struct planner *planner, uint32_t k, uint32_t microbatch, enum sp_pass_kind kind,
                  int64_t ready, int64_t *ret_end)
{
    uint32_t node = planner->nodes[k];
    struct sp_timetable *table = &planner->tables[node];
    int64_t time = duration(planner, node, kind == SP_PASS_F), room = sp_timetable_room(table);
    struct sp_pass pass = {
        .microbatch = microbatch, .stage = (uint16_t)(node % planner->stages), .kind = (uint8_t)kind};
    int64_t start = sp_timetable_fit(table, kind == SP_PASS_F && room > ready ? room : ready, time);

    *ret_end = start + time;
    return sp_timetable_enter(table, start, time, pass);
}

/* Forwards along the path's nodes, backwards the same way back. */
static bool enter_path(struct planner *planner, uint32_t microbatch)
{
    int64_t end = 0;

    for (uint32_t k = 0; k < planner->length; k++) {
        int64_t ready = k > 0 ? end + hop(planner, planner->nodes[k - 1], planner->nodes[k]) : 0;
        if (!enter(planner, k, microbatch, SP_PASS_F, ready, &end))
            return false;
    }
    for (uint32_t k = planner->length; k-- > 0;) {
        bool turns = k + 1 == planner->length;
        int64_t ready = turns ? end : end + hop(planner, planner->nodes[k + 1], planner->nodes[k]);
        if (!enter(planner, k, microbatch, SP_PASS_B, ready, &end))
            return false;
        sp_timetable_hold(&planner->tables[planner->nodes[k]], end);
    }
    return true;
}

static bool plan_microbatch(struct planner *planner, uint32_t microbatch)
{
    uint16_t *path = planner->paths + (size_t)microbatch * planner->length;
    int64_t finish = find_path(planner, true);

    planner->left--;
    if (finish < 0)
        finish = find_path(planner, false);
    for (uint32_t k = 0; k < planner->length; k++)
        path[k] = (uint16_t)(planner->nodes[k] % planner->stages);
    try_swaps(planner, path, finish);
    for (uint32_t k = 0; k < planner->length; k++)
        planner->visits[path[k]]++;
    return enter_path(planner, microbatch);
}

static void planner_finish(struct planner *planner)
{
    for (uint32_t node = 0; planner->tables && node < planner->shape->devices; node++)
        sp_timetable_finish(&planner->tables[node]);
    sp_free(planner->tables);
    sp_free(planner->visits);
    sp_free(planner->labels);
    sp_free(planner->nodes);
    sp_free(planner->trial);
    sp_free(planner->paths);
}

static bool planner_init(struct planner *planner, const struct sp_shape *shape)
{
    uint32_t stages = stage_count(shape), length = path_length(shape), p = shape->devices;
    uint64_t visits = (uint64_t)shape->microbatches * (length > 2 ? length - 2 : 0);
    uint32_t inner = stages > 2 ? stages - 2 : 1;
    uint32_t most_held = (uint32_t)(shape->memory_units / 1000);

    *planner = (struct planner){
        .shape = shape,
        .stages = stages,
        .length = length,
        .tables = sp_alloc(p, sizeof(*planner->tables)),
        .visits = sp_alloc(stages, sizeof(*planner->visits)),
        .least = (uint32_t)(visits / inner),
        .most = (uint32_t)((visits + inner - 1) / inner),
        .left = shape->microbatches,
        .labels = sp_alloc((size_t)length * p, sizeof(*planner->labels)),
        .nodes = sp_alloc(length, sizeof(*planner->nodes)),
        .trial = sp_alloc(length, sizeof(*planner->trial)),
        .paths = sp_alloc((size_t)shape->microbatches * length, sizeof(*planner->paths)),
    };
    if (!planner->tables || !planner->visits || !planner->labels || !planner->nodes || !planner->trial ||
        !planner->paths)
        return false;
    for (uint32_t node = 0; node < p; node++)
        if (!sp_timetable_init(&planner->tables[node], most_held))
            return false;
    return true;
}

/* All microbatches placed; finish in any case. */
static enum sp_status plan_all(struct planner *planner, const struct sp_shape *shape, struct sp_error *error)
{
    bool done = planner_init(planner, shape);

    for (uint32_t i = 0; done && i < shape->microbatches; i++)
        done = plan_microbatch(planner, i);
    return done ? SP_OK
                : sp_error_set(error, SP_MEMORY, "no memory to place %u microbatches on %u nodes",
                               shape->microbatches, shape->devices);
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    struct planner planner;
    enum sp_status status = plan_all(&planner, shape, error);

    for (uint32_t node = 0; !status && node < shape->devices; node++) {
        const struct sp_timetable *table = &planner.tables[node];
        for (uint32_t i = 0; i < table->count; i++)
            sp_order_push(builder, node, table->entries[i].pass.kind, table->entries[i].pass.stage,
                          table->entries[i].pass.microbatch, 0);
    }
    planner_finish(&planner);
    return status;
}

static enum sp_status paths(const struct sp_shape *shape, struct sp_arena *arena, const uint32_t **ret_begin,
                            const uint16_t **ret_stages, struct sp_error *error)
{
    struct planner planner;
    enum sp_status status = plan_all(&planner, shape, error);
    uint32_t m = shape->microbatches, length = path_length(shape);
    uint32_t *begin = sp_arena_alloc(arena, m + 1, sizeof(*begin));
    uint16_t *stages = sp_arena_alloc(arena, (size_t)m * length, sizeof(*stages));

    if (!status && (!begin || !stages))
        status = sp_error_set(error, SP_MEMORY, "no memory for the paths of %u microbatches", m);
    if (!status) {
        for (uint32_t i = 0; i <= m; i++)
            begin[i] = i * length;
        memcpy(stages, planner.paths, (size_t)m * length * sizeof(*stages));
        *ret_begin = begin;
        *ret_stages = stages;
    }
    planner_finish(&planner);
    return status;
}

const struct sp_schedule sp_schedule_skippipe = {
    .name = "skippipe",
    .description = "microbatches visit some of the stages, on nodes and links that differ",
    .source = "SkipPipe, arXiv 2502.19913",
    .traits = SP_SCHEDULE_SKIPS | SP_SCHEDULE_TWIN_WEIGHTS | SP_SCHEDULE_USES_COSTS | SP_SCHEDULE_USES_MEMORY,
    .check = check,
    .device = device,
    .stage_count = stage_count,
    .paths = paths,
    .order = order,
};
