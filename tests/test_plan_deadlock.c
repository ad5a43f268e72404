/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's checks against an obvious oracle: random plans, some valid and some not, as graphs of layers in
 * which every wait is an edge. A plan passes the checks where its graph has no cycle, and only there.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "slimpipe/plan.h"

enum { DEVICES = 4, PASSES = 512, PARTS = 8, LAYERS = 3, NODES = PASSES * 2 * LAYERS + PARTS * LAYERS };
enum { EDGES = 1 << 17, SLICE_TOKENS = 8 };

/* A random plan while it is made: passes in no order, then device by device in the order they ran. */
struct maker {
    struct random *random;
    struct sp_plan *plan;
    struct sp_pass passes[PASSES];
    uint32_t device[PASSES], round[PASSES]; /* round: those of one round run side by side */
    uint32_t count;
};

static bool is_backward(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
}

static bool is_output(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_S || pass->kind == SP_PASS_T;
}

static bool has_outputs(const struct sp_plan *plan)
{
    return plan->vocabulary == SP_VOCABULARY_SCATTER || plan->vocabulary == SP_VOCABULARY_SHARD1 ||
           plan->vocabulary == SP_VOCABULARY_SHARD2;
}

/* Rules of one stage: slices up in the forward, down in the backward, W last. */
static bool needs_on_stage(const struct sp_pass *a, const struct sp_pass *b)
{
    if (a->kind == SP_PASS_F)
        return b->kind == SP_PASS_F && b->slice < a->slice;
    if (a->kind == SP_PASS_W)
        return b->kind == SP_PASS_I && b->slice == a->slice;
    return (b->kind == SP_PASS_F && b->slice == a->slice) || (is_backward(b) && b->slice > a->slice);
}

/* a waits for b. */
static bool needs(const struct sp_plan *plan, const struct sp_pass *a, uint32_t a_device,
                  const struct sp_pass *b, uint32_t b_device)
{
    if (a->microbatch != b->microbatch)
        return false;
    if (!is_output(a) && !is_output(b) && a->stage == b->stage)
        return needs_on_stage(a, b);
    if (a->slice != b->slice)
        return false;
    bool a_last = a->stage == plan->stage_count - 1, b_last = b->stage == plan->stage_count - 1;
    if (a->kind == SP_PASS_S)
        return b->kind == SP_PASS_F && b_last;
    if (a->kind == SP_PASS_T)
        return b->kind == SP_PASS_S && (plan->vocabulary != SP_VOCABULARY_SCATTER || a_device == b_device);
    if (is_output(b))
        return is_backward(a) && a_last &&
               b->kind == (plan->vocabulary == SP_VOCABULARY_SHARD2 ? SP_PASS_S : SP_PASS_T);
    if (a->kind == SP_PASS_F)
        return b->kind == SP_PASS_F && b->stage + 1 == a->stage;
    return is_backward(a) && is_backward(b) && b->stage == a->stage + 1;
}

static void add_pass(struct maker *maker, uint32_t device, enum sp_pass_kind kind, uint32_t stage,
                     uint32_t microbatch, uint32_t slice)
{
    cr_assert_lt(maker->count, PASSES);
    maker->device[maker->count] = device;
    maker->passes[maker->count++] = (struct sp_pass){
        .kind = (uint8_t)kind, .stage = (uint16_t)stage, .microbatch = microbatch, .slice = (uint16_t)slice};
}

static void add_unit(struct maker *maker, uint32_t stage, uint32_t microbatch, uint32_t slice)
{
    const struct sp_plan *plan = maker->plan;
    uint32_t device = plan->stages[stage].device;
    add_pass(maker, device, SP_PASS_F, stage, microbatch, slice);
    if (stage % 2) {
        add_pass(maker, device, SP_PASS_I, stage, microbatch, slice);
        add_pass(maker, device, SP_PASS_W, stage, microbatch, slice);
    } else {
        add_pass(maker, device, SP_PASS_B, stage, microbatch, slice);
    }
    if (stage + 1 < plan->stage_count || !has_outputs(plan))
        return;
    for (device = 0; device < plan->order.device_count; device++) {
        add_pass(maker, device, SP_PASS_S, stage, microbatch, slice);
        add_pass(maker, device, SP_PASS_T, stage, microbatch, slice);
    }
}

static void choose_shape(struct maker *maker)
{
    struct sp_plan *plan = maker->plan;
    uint32_t devices = 1 + random_below(maker->random, DEVICES), chunks = 1 + random_below(maker->random, 2);
    struct sp_pass_costs *costs = sp_arena_alloc(plan->arena, 1, sizeof *costs);
    plan->costs = costs;
    plan->exchange_policy = "test";
    plan->vocabulary = (enum sp_vocabulary)random_below(maker->random, SP_VOCABULARY_TILED + 1);
    plan->parallel.pipeline = plan->order.device_count = devices;
    plan->workload.microbatches = 1 + random_below(maker->random, 3);
    plan->slice_count = 1 + random_below(maker->random, 3);
    int64_t *tokens = sp_arena_alloc(plan->arena, plan->slice_count, sizeof *tokens);
    for (uint32_t i = 0; i < plan->slice_count; i++)
        tokens[i] = SLICE_TOKENS;
    plan->slice_tokens = tokens;
    plan->stage_count = devices * chunks;
    plan->stages = sp_arena_alloc(plan->arena, plan->stage_count, sizeof *plan->stages);
    bool turns = random_one_in(maker->random, 2); /* the second chunks go back, as a V */
    for (uint32_t i = 0; i < plan->stage_count; i++)
        plan->stages[i].device = i >= devices && turns ? 2 * devices - 1 - i : i % devices;
}

/* The pass waits for nothing that runs in this round or later. */
static bool is_ready(const struct maker *maker, uint32_t i, uint32_t round)
{
    for (uint32_t j = 0; j < maker->count; j++) {
        if (needs(maker->plan, &maker->passes[i], maker->device[i], &maker->passes[j], maker->device[j]) &&
            maker->round[j] >= round)
            return false;
    }
    return true;
}

/* Each device runs at most one pass a round; which of the ready ones is a matter of chance. */
static void run_round(struct maker *maker, uint32_t round)
{
    for (uint32_t device = 0; device < maker->plan->order.device_count; device++) {
        uint32_t chosen = PASSES, ready = 0;
        for (uint32_t i = 0; i < maker->count; i++) {
            bool waits = maker->round[i] != UINT32_MAX || maker->device[i] != device;
            if (!waits && is_ready(maker, i, round) && random_one_in(maker->random, ++ready))
                chosen = i;
        }
        if (chosen < PASSES)
            maker->round[chosen] = round;
    }
}

static void place_passes(struct maker *maker)
{
    struct sp_order *order = &maker->plan->order;
    struct sp_pass passes[PASSES];
    uint32_t rounds[PASSES], devices[PASSES], at = 0;
    order->begin = sp_arena_alloc(maker->plan->arena, order->device_count + 1, sizeof *order->begin);
    order->passes = sp_arena_alloc(maker->plan->arena, maker->count, sizeof *order->passes);
    memset(maker->round, 0xff, sizeof maker->round);
    for (uint32_t round = 0; round < maker->count; round++)
        run_round(maker, round);
    for (uint32_t device = 0; device < order->device_count; device++) {
        order->begin[device] = at;
        for (uint32_t round = 0; round < maker->count; round++) {
            for (uint32_t i = 0; i < maker->count; i++) {
                if (maker->device[i] != device || maker->round[i] != round)
                    continue;
                passes[at] = maker->passes[i];
                rounds[at] = round;
                devices[at++] = device;
            }
        }
    }
    cr_assert_eq(at, maker->count);
    order->begin[order->device_count] = at;
    memcpy(order->passes, passes, at * sizeof *passes);
    memcpy(maker->round, rounds, at * sizeof *rounds);
    memcpy(maker->device, devices, at * sizeof *devices);
}

/* Swaps a few neighbours, which may or may not break the order. */
static void disturb(struct maker *maker)
{
    struct sp_order *order = &maker->plan->order;
    uint32_t swaps = random_below(maker->random, 4);
    while (swaps-- > 0) {
        uint32_t i = random_below(maker->random, maker->count - 1);
        if (maker->device[i] != maker->device[i + 1])
            continue;
        struct sp_pass pass = order->passes[i];
        order->passes[i] = order->passes[i + 1];
        order->passes[i + 1] = pass;
    }
}

static bool is_joined(const struct maker *maker, uint32_t i)
{
    const struct sp_pass *passes = maker->plan->order.passes;
    return passes[i].joined || (i > 0 && passes[i - 1].joined);
}

static void join_some(struct maker *maker)
{
    struct sp_pass *passes = maker->plan->order.passes;
    for (uint32_t i = 0; i + 1 < maker->count; i++) {
        bool other =
            passes[i].stage != passes[i + 1].stage || passes[i].microbatch != passes[i + 1].microbatch;
        if (maker->device[i] == maker->device[i + 1] && passes[i].kind == SP_PASS_F &&
            is_backward(&passes[i + 1]) && other && !is_joined(maker, i) && random_one_in(maker->random, 4))
            passes[i].joined = 1;
    }
}

static bool has_attention(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_F || is_backward(pass);
}

/* Parts for passes that ran at about the same time as their anchors, each of its own token of the past. */
static void exchange_some(struct maker *maker)
{
    struct sp_plan *plan = maker->plan;
    plan->exchange = sp_arena_alloc(plan->arena, PARTS, sizeof *plan->exchange);
    for (int tries = 0; tries < 40 && plan->exchange_count < PARTS; tries++) {
        uint32_t i = random_below(maker->random, maker->count), j = random_below(maker->random, maker->count);
        const struct sp_pass *pass = &plan->order.passes[i], *anchor = &plan->order.passes[j];
        uint32_t where = random_below(maker->random, 3), begin = (uint32_t)plan->exchange_count;
        bool near = abs((int)maker->round[i] - (int)maker->round[j]) <= 1;
        if (!near || maker->device[i] == maker->device[j] || pass->slice == 0 || !has_attention(pass) ||
            is_output(anchor) || (where == SP_ANCHOR_DURING && !has_attention(anchor)) ||
            is_joined(maker, i) || is_joined(maker, j))
            continue;
        plan->exchange[plan->exchange_count++] = (struct sp_exchange_part){
            .pass = *pass, .anchor = *anchor, .where = where, .token_begin = begin, .token_end = begin + 1};
    }
}

static struct sp_plan *make_plan(struct maker *maker)
{
    maker->plan = sp_plan_create();
    maker->count = 0;
    cr_assert_not_null(maker->plan);
    choose_shape(maker);
    for (uint32_t stage = 0; stage < maker->plan->stage_count; stage++) {
        for (uint32_t i = 0; i < maker->plan->workload.microbatches; i++) {
            for (uint32_t slice = 0; slice < maker->plan->slice_count; slice++)
                add_unit(maker, stage, i, slice);
        }
    }
    place_passes(maker);
    disturb(maker);
    if (random_one_in(maker->random, 3))
        join_some(maker);
    if (random_one_in(maker->random, 2))
        exchange_some(maker);
    return maker->plan;
}

/* The graph. Each pass is LAYERS times (before, after); each part LAYERS guests. */
struct graph {
    const struct maker *maker;
    int (*edges)[2]; /* to, from */
    int edge_count;
    int last_in_stream;
};

static int before(const struct graph *graph, uint32_t pass, int layer)
{
    bool second = pass > 0 && graph->maker->plan->order.passes[pass - 1].joined;
    return (int)(second ? pass - 1 : pass) * 2 * LAYERS + 2 * layer; /* a joined pair is one */
}

static int after(const struct graph *graph, uint32_t pass, int layer)
{
    return before(graph, pass, layer) + 1;
}

static int guest(uint32_t part, int layer)
{
    return PASSES * 2 * LAYERS + (int)part * LAYERS + layer;
}

static void add_edge(struct graph *graph, int to, int from)
{
    cr_assert_lt(graph->edge_count, EDGES);
    graph->edges[graph->edge_count][0] = to;
    graph->edges[graph->edge_count++][1] = from;
}

static void append(struct graph *graph, int node)
{
    if (graph->last_in_stream >= 0)
        add_edge(graph, node, graph->last_in_stream);
    graph->last_in_stream = node;
}

static bool same_pass(const struct sp_pass *a, const struct sp_pass *b)
{
    return a->kind == b->kind && a->stage == b->stage && a->microbatch == b->microbatch &&
           a->slice == b->slice;
}

static void append_guests(struct graph *graph, uint32_t pass, enum sp_anchor where, int first, int end)
{
    const struct sp_plan *plan = graph->maker->plan;
    for (uint32_t part = 0; part < plan->exchange_count; part++) {
        const struct sp_exchange_part *at = &plan->exchange[part];
        if (at->where != (uint32_t)where || !same_pass(&at->anchor, &plan->order.passes[pass]))
            continue;
        for (int layer = first; layer < end; layer++)
            append(graph, guest(part, layer));
    }
}

static void add_streams(struct graph *graph)
{
    const struct sp_order *order = &graph->maker->plan->order;
    for (uint32_t device = 0; device < order->device_count; device++) {
        graph->last_in_stream = -1;
        for (uint32_t i = (uint32_t)order->begin[device]; i < order->begin[device + 1]; i++) {
            append_guests(graph, i, SP_ANCHOR_BEFORE, 0, LAYERS);
            for (int layer = 0; layer < LAYERS; layer++) {
                append(graph, before(graph, i, layer));
                append_guests(graph, i, SP_ANCHOR_DURING, layer, layer + 1);
                append(graph, after(graph, i, layer));
            }
            append_guests(graph, i, SP_ANCHOR_AFTER, 0, LAYERS);
            i += order->passes[i].joined;
        }
    }
}

static void add_waits(struct graph *graph)
{
    const struct maker *maker = graph->maker;
    const struct sp_pass *passes = maker->plan->order.passes;
    for (uint32_t i = 0; i < maker->count; i++) {
        for (uint32_t j = 0; j < maker->count; j++) {
            if (needs(maker->plan, &passes[i], maker->device[i], &passes[j], maker->device[j]))
                add_edge(graph, before(graph, i, 0), after(graph, j, LAYERS - 1));
        }
        for (uint32_t part = 0; part < maker->plan->exchange_count; part++) {
            if (!same_pass(&maker->plan->exchange[part].pass, &passes[i]))
                continue;
            for (int layer = 0; layer < LAYERS; layer++) {
                add_edge(graph, guest(part, layer), before(graph, i, layer));
                add_edge(graph, after(graph, i, layer), guest(part, layer));
            }
        }
    }
}

/* Lets whatever waits for nothing run, again and again. */
static bool has_no_cycle(const struct graph *graph)
{
    static int missing[NODES];
    int left = graph->edge_count, before_round;
    memset(missing, 0, sizeof missing);
    for (int i = 0; i < graph->edge_count; i++)
        missing[graph->edges[i][0]]++;
    do {
        before_round = left;
        for (int i = 0; i < left;) {
            int *edge = graph->edges[i];
            if (missing[edge[1]] > 0) {
                i++;
                continue;
            }
            missing[edge[0]]--;
            left--;
            edge[0] = graph->edges[left][0];
            edge[1] = graph->edges[left][1];
        }
    } while (left < before_round);
    return left == 0;
}

static bool can_run(const struct maker *maker, int (*edges)[2])
{
    struct graph graph = {.maker = maker, .edges = edges};
    add_streams(&graph);
    add_waits(&graph);
    return has_no_cycle(&graph);
}

/* The checks sort the parts, so the oracle comes after them. */
Test(plan_deadlock, checks_agree_with_the_graph)
{
    enum { TRIALS = 3000, LEAST = TRIALS / 8 };
    const uint64_t seed = 7;
    struct random random = {seed};
    static struct maker maker;
    int(*edges)[2] = malloc(EDGES * sizeof *edges), good = 0, bad = 0, bad_exchange = 0, good_exchange = 0;
    maker.random = &random;
    cr_assert_not_null(edges);
    for (int i = 0; i < TRIALS; i++) {
        struct sp_error error = {.status = SP_OK};
        struct sp_plan *plan = make_plan(&maker);
        enum sp_status status = sp_plan_check(plan, &error);
        bool runs = can_run(&maker, edges);
        cr_assert(status == SP_OK || status == SP_INPUT || status == SP_INFEASIBLE);
        cr_assert_eq(status == SP_OK, runs, "seed %lu, trial %d: the plan %s, the check says %s %s",
                     (unsigned long)seed, i, runs ? "can run" : "cannot run", sp_status_text(status),
                     error.message);
        *(runs ? &good : &bad) += 1;
        if (plan->exchange_count > 0 && (runs || status == SP_INFEASIBLE))
            *(runs ? &good_exchange : &bad_exchange) += 1;
        sp_plan_destroy(plan);
    }
    /* A test of both answers, with and without an exchange. */
    cr_expect(good > LEAST && bad > LEAST && good_exchange > LEAST / 4 && bad_exchange > LEAST / 4,
              "%d good, %d bad, of these with exchange %d and %d", good, bad, good_exchange, bad_exchange);
    free(edges);
}
