/* SPDX-License-Identifier: Apache-2.0 */
#include "zb_heuristic.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "slimpipe/arena.h"

/* Memory in thousandths of a microbatch's activations. */
enum { FORWARD_HOLDS = 1000 };

/* The choices, each taken with yes first. */
enum {
    WAIT_FOR_FIRST = 1 << 2, /* no forward runs past the arrival of the first gradient */
    NO_HASTE = 1 << 1,       /* a forward is never left out for the sake of a backward */
    NO_GREED = 1 << 0,       /* a weight gradient that ends late is not run in a wait that harms nobody */
    VARIANTS = 8
};

struct stage {
    int64_t end, bubble;
    int64_t held;
    uint32_t done[3];      /* by kind: SP_PASS_F, I, W */
    uint32_t wanted;       /* forwards this wave, or before the first backward */
    int64_t *forward_ends; /* per microbatch */
    int64_t *input_ends;
    uint8_t *kinds; /* the order */
    uint8_t *best_kinds;
};

struct search {
    uint32_t stage_count, microbatches;
    int64_t cost[3], hop;
    int64_t cap, weight_frees;
    int64_t worst_bubble;
    unsigned variant, consulted; /* choices that made a difference */
    struct stage *stages;
};

static void place(struct search *search, uint32_t j, enum sp_pass_kind kind)
{
    struct stage *stage = &search->stages[j];
    uint32_t i = stage->done[kind];
    int64_t start = stage->end;

    if (kind == SP_PASS_F && j > 0 && start < stage[-1].forward_ends[i] + search->hop)
        start = stage[-1].forward_ends[i] + search->hop;
    if (kind == SP_PASS_I && j + 1 < search->stage_count && start < stage[1].input_ends[i] + search->hop)
        start = stage[1].input_ends[i] + search->hop;
    if (stage->done[SP_PASS_F] > 0)
        stage->bubble += start - stage->end;
    if (stage->bubble > search->worst_bubble)
        search->worst_bubble = stage->bubble;
    stage->kinds[stage->done[0] + stage->done[1] + stage->done[2]] = (uint8_t)kind;
    stage->end = start + search->cost[kind];
    stage->done[kind]++;
    if (kind == SP_PASS_F) {
        stage->forward_ends[i] = stage->end;
        stage->held += FORWARD_HOLDS;
    } else if (kind == SP_PASS_I) {
        stage->input_ends[i] = stage->end;
        stage->held -= FORWARD_HOLDS - search->weight_frees;
    } else {
        stage->held -= search->weight_frees;
    }
}

/* How many forwards stage j runs before its first backward, whose gradient arrives at `arrival`. */
static int64_t count_first_forwards(struct search *search, struct stage *stage, int64_t arrival)
{
    int64_t end = stage->end, held = stage->held;

    while (stage->done[SP_PASS_F] + stage->wanted < search->microbatches &&
           held + FORWARD_HOLDS <= search->cap) {
        bool fits = end + search->cost[SP_PASS_F] <= arrival, starts = end < arrival;
        if (fits != starts)
            search->consulted |= WAIT_FOR_FIRST;
        if (!(search->variant & WAIT_FOR_FIRST ? starts : fits))
            break;
        held += FORWARD_HOLDS;
        end += search->cost[SP_PASS_F];
        stage->wanted++;
    }
    return end > arrival ? end : arrival;
}

static void fill_pipeline(struct search *search)
{
    uint32_t p = search->stage_count;
    struct stage *stages = search->stages;
    int64_t gradient;

    for (uint32_t j = 0; j < p; j++)
        place(search, j, SP_PASS_F);
    gradient = stages[p - 1].end + search->cost[SP_PASS_I];
    for (uint32_t j = p - 1; j-- > 0;)
        gradient = count_first_forwards(search, &stages[j], gradient + search->hop) + search->cost[SP_PASS_I];
    /* A stage is never as far ahead as the one before it, unless that one has run everything. */
    for (uint32_t j = 1; j < p; j++)
        while (stages[j].wanted > 0 && stages[j].wanted >= stages[j - 1].wanted &&
               stages[j].done[SP_PASS_F] + stages[j].wanted < search->microbatches)
            stages[j].wanted--;
    for (uint32_t j = 0; j < p; j++)
        for (; stages[j].wanted > 0; stages[j].wanted--)
            place(search, j, SP_PASS_F);
    for (uint32_t j = p; j-- > 0;)
        place(search, j, SP_PASS_I);
}

/* Whether stage j had better leave its forward out, to be ready for the backward that the next stage sends.
 */
static bool is_backward_urgent(const struct search *search, uint32_t j)
{
    const struct stage *stage = &search->stages[j], *next = stage + 1;
    int64_t backward = next->end + search->cost[SP_PASS_F] + search->cost[SP_PASS_I] + search->hop;
    int64_t end = stage->end + search->cost[SP_PASS_F];
    int64_t held = stage->held + FORWARD_HOLDS;

    if (stage->end >= backward)
        return true;
    for (uint32_t w = stage->done[SP_PASS_W]; held > search->cap && w < stage->done[SP_PASS_I]; w++) {
        end += search->cost[SP_PASS_W];
        held -= search->weight_frees;
    }
    return end > backward && backward - stage->end <= search->worst_bubble - stage->bubble;
}

static void want_forwards(struct search *search)
{
    uint32_t p = search->stage_count;
    struct stage *stages = search->stages;

    for (uint32_t j = 0; j < p; j++) {
        stages[j].wanted = stages[j].done[SP_PASS_F] < search->microbatches;
        if (stages[j].wanted && !(search->variant & NO_HASTE) && j + 1 < p &&
            stages[j].done[SP_PASS_F] >= stages[j + 1].done[SP_PASS_F] + 2 && is_backward_urgent(search, j)) {
            search->consulted |= NO_HASTE;
            stages[j].wanted = 0;
        }
    }
    for (uint32_t j = p - 1; j-- > 0;)
        if (stages[j].wanted > stages[j + 1].wanted)
            stages[j].wanted = stages[j + 1].wanted;
}

/* Runs weight gradients until `needed` fits; false where that is not enough. */
static bool free_memory(struct search *search, uint32_t j, int64_t needed)
{
    struct stage *stage = &search->stages[j];

    while (stage->held + needed > search->cap) {
        if (stage->done[SP_PASS_W] >= stage->done[SP_PASS_I])
            return false;
        place(search, j, SP_PASS_W);
    }
    return true;
}

/* Runs weight gradients while stage j waits for `arrival`. */
static void fill_wait(struct search *search, uint32_t j, int64_t arrival)
{
    struct stage *stage = &search->stages[j];

    while (stage->done[SP_PASS_W] < stage->done[SP_PASS_I] && stage->end + search->cost[SP_PASS_W] <= arrival)
        place(search, j, SP_PASS_W);
    if (stage->done[SP_PASS_W] >= stage->done[SP_PASS_I] || stage->end >= arrival)
        return;
    if (arrival - stage->end <= search->worst_bubble - stage->bubble) {
        search->consulted |= NO_GREED;
        if (search->variant & NO_GREED)
            return;
    }
    place(search, j, SP_PASS_W);
}

static bool run_wave(struct search *search, uint32_t i)
{
    uint32_t p = search->stage_count, m = search->microbatches;
    struct stage *stages = search->stages;

    want_forwards(search);
    for (uint32_t j = 0; j < p; j++) {
        if (!stages[j].wanted)
            continue;
        if (!free_memory(search, j, FORWARD_HOLDS))
            return false;
        if (j > 0)
            fill_wait(search, j, stages[j - 1].forward_ends[stages[j].done[SP_PASS_F]] + search->hop);
        place(search, j, SP_PASS_F);
    }
    for (uint32_t j = p; j-- > 0;) {
        if (j + 1 < p)
            fill_wait(search, j, stages[j + 1].input_ends[i] + search->hop);
        while (j == 0 && stages[0].done[SP_PASS_F] == m &&
               stages[0].done[SP_PASS_W] < stages[0].done[SP_PASS_I])
            place(search, 0, SP_PASS_W);
        place(search, j, SP_PASS_I);
    }
    return true;
}

/* The longest span of a device, or −1 where memory does not allow the variant. */
static int64_t run_variant(struct search *search, unsigned variant)
{
    int64_t span = 0;

    search->variant = variant;
    search->consulted = 0;
    search->worst_bubble = 0;
    for (uint32_t j = 0; j < search->stage_count; j++) {
        struct stage *stage = &search->stages[j];
        stage->end = stage->bubble = stage->held = 0;
        memset(stage->done, 0, sizeof(stage->done));
        stage->wanted = 0;
    }
    fill_pipeline(search);
    for (uint32_t i = 1; i < search->microbatches; i++)
        if (!run_wave(search, i))
            return -1;
    for (uint32_t j = 0; j < search->stage_count; j++) {
        struct stage *stage = &search->stages[j];
        int64_t first = stage->forward_ends[0] - search->cost[SP_PASS_F];
        while (stage->done[SP_PASS_W] < search->microbatches)
            place(search, j, SP_PASS_W);
        if (stage->end - first > span)
            span = stage->end - first;
    }
    return span;
}

static void keep(struct search *search)
{
    for (uint32_t j = 0; j < search->stage_count; j++) {
        uint8_t *kinds = search->stages[j].kinds;
        search->stages[j].kinds = search->stages[j].best_kinds;
        search->stages[j].best_kinds = kinds;
    }
}

/* Variants that differ only in choices that made no difference are the same, and are left out. */
static int64_t find_best(struct search *search)
{
    bool same[VARIANTS] = {false};
    int64_t best = -1;

    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        int64_t span;
        if (same[variant])
            continue;
        span = run_variant(search, variant);
        if (span >= 0 && (best < 0 || span < best)) {
            best = span;
            keep(search);
        }
        for (unsigned other = variant + 1; other < VARIANTS; other++)
            same[other] |= ((other ^ variant) & search->consulted) == 0;
    }
    return best;
}

static void push_best(const struct search *search, struct sp_order_builder *builder)
{
    for (uint32_t j = 0; j < search->stage_count; j++) {
        uint32_t done[3] = {0};
        for (uint32_t k = 0; k < 3 * search->microbatches; k++) {
            uint8_t kind = search->stages[j].best_kinds[k];
            sp_order_push(builder, j, (enum sp_pass_kind)kind, j, done[kind]++, 0);
        }
    }
}

static void cut_up(struct search *search, int64_t *times, uint8_t *kinds)
{
    size_t m = search->microbatches;

    for (uint32_t j = 0; j < search->stage_count; j++) {
        search->stages[j].forward_ends = times + 2 * m * j;
        search->stages[j].input_ends = times + 2 * m * j + m;
        search->stages[j].kinds = kinds + 6 * m * j;
        search->stages[j].best_kinds = kinds + 6 * m * j + 3 * m;
    }
}

enum sp_status sp_zb_heuristic_push(const struct sp_shape *shape, int64_t memory_units,
                                    struct sp_order_builder *builder, struct sp_error *error)
{
    bool timed = shape->forward_ns || shape->input_ns || shape->weight_ns;
    size_t units = (size_t)shape->devices * shape->microbatches;
    struct search search = {
        .stage_count = shape->devices,
        .microbatches = shape->microbatches,
        .cost = {timed ? shape->forward_ns : 1, timed ? shape->input_ns : 1, timed ? shape->weight_ns : 1},
        .hop = shape->message_ns,
        .cap = memory_units,
        .weight_frees = shape->weight_held_permille ? shape->weight_held_permille : 500,
        .stages = sp_alloc(shape->devices, sizeof(struct stage)),
    };
    int64_t *times = sp_alloc(units, 2 * sizeof(*times));
    uint8_t *kinds = sp_alloc(units, 6 * sizeof(*kinds));
    enum sp_status status = SP_OK;

    assert(memory_units >= 1000);
    if (!search.stages || !times || !kinds) {
        status = sp_error_set(error, SP_MEMORY, "no memory to schedule %zu units", units);
        goto out;
    }
    cut_up(&search, times, kinds);
    if (find_best(&search) < 0)
        status = sp_error_set(error, SP_INFEASIBLE,
                              "no zero-bubble schedule of %u microbatches on %u devices "
                              "keeps to %lld.%03lld microbatches' activations",
                              shape->microbatches, shape->devices, (long long)memory_units / 1000,
                              (long long)memory_units % 1000);
    else
        push_best(&search, builder);
out:
    sp_free(search.stages);
    sp_free(times);
    sp_free(kinds);
    return status;
}
