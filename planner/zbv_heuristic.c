/* SPDX-License-Identifier: Apache-2.0 */
#include "zbv_heuristic.h"

#include <stdbool.h>
#include <string.h>

#include "slimpipe/arena.h"

/* Memory in thousandths of a chunk's activations of a microbatch. */
enum { FORWARD_HOLDS = 1000 };

/*
 * A microbatch crosses the devices four times: forward down (F0) and up (F1), backward down (I0, on the
 * second chunk) and up (I1). W0 and W1 belong to I0 and I1.
 */
enum leg { F0, F1, I0, I1, W0, W1, LEGS };
enum { MESSAGE_LEGS = W0 };

/* Choices, taken with yes first: whether a weight gradient may delay a pass of a device that waited little.
 */
enum { NOT_BEFORE_I0 = 1 << 1, NOT_BEFORE_F = 1 << 0, VARIANTS = 4 };

struct device {
    int64_t end, held;
    int64_t bubble, told; /* waits so far; waits in the last try */
    uint32_t done[LEGS];
    uint32_t placed, weights;
    bool takes_i1;
    int64_t *ends[MESSAGE_LEGS]; /* per microbatch */
    uint8_t *legs;               /* the order of this try */
    uint8_t *inputs;             /* I0 and I1 of this try, in order */
};

struct search {
    uint32_t device_count, microbatches;
    int64_t cost[LEGS], hop;
    int64_t cap, weight_frees;
    int64_t worst_bubble, worst_told; /* worst_told: −1 in a first try */
    unsigned variant, consulted;      /* choices that made a difference */
    bool failed;                      /* memory, or a pass before what it needs */
    struct device *devices;
    uint8_t *legs, *best_legs; /* of all devices, 6·m each */
};

/* Where a leg comes from: the device itself where it starts or turns. */
static const struct device *source(const struct search *search, uint32_t j, enum leg leg)
{
    const struct device *device = &search->devices[j];

    if (leg == F0 || leg == I0)
        return j > 0 ? device - 1 : device;
    return j + 1 < search->device_count ? device + 1 : device;
}

/* Whether the next pass of a leg has what it needs. */
static bool has_arrived(const struct search *search, uint32_t j, enum leg leg)
{
    const struct device *device = &search->devices[j], *from = source(search, j, leg);

    if (from != device)
        return from->done[leg] > device->done[leg];
    return leg == F0 || device->done[leg - 1] > device->done[leg];
}

/* When it arrives from another device; 0 where it comes from this one. */
static int64_t arrival(const struct search *search, uint32_t j, enum leg leg)
{
    const struct device *device = &search->devices[j], *from = source(search, j, leg);

    return from == device ? 0 : from->ends[leg][device->done[leg]] + search->hop;
}

static void append(struct search *search, struct device *device, enum leg leg, int64_t start)
{
    if (device->done[F0] > 0)
        device->bubble += start - device->end;
    if (device->bubble > search->worst_bubble)
        search->worst_bubble = device->bubble;
    device->end = start + search->cost[leg];
    device->legs[device->placed++] = (uint8_t)leg;
    device->done[leg]++;
}

static void place_weight(struct search *search, uint32_t j)
{
    struct device *device = &search->devices[j];

    append(search, device, device->inputs[device->weights++] == I0 ? W0 : W1, device->end);
    device->held -= search->weight_frees;
}

static bool has_weight(const struct device *device)
{
    return device->weights < device->done[I0] + device->done[I1];
}

static void place(struct search *search, uint32_t j, enum leg leg)
{
    struct device *device = &search->devices[j];
    uint32_t i = device->done[leg];
    bool is_forward = leg == F0 || leg == F1;
    int64_t start;

    if (search->failed || i >= search->microbatches || !has_arrived(search, j, leg) ||
        (is_forward && device->held + FORWARD_HOLDS > search->cap)) {
        search->failed = true;
        return;
    }
    start = arrival(search, j, leg);
    append(search, device, leg, start > device->end ? start : device->end);
    device->ends[leg][i] = device->end;
    if (is_forward) {
        device->held += FORWARD_HOLDS;
    } else {
        device->held -= FORWARD_HOLDS - search->weight_frees;
        device->inputs[device->done[I0] + device->done[I1] - 1] = (uint8_t)leg;
    }
}

/* Forwards until each device has run its first F1: more of F0 while F1 is on its way up. */
static void fill_first(struct search *search)
{
    uint32_t p = search->device_count;

    for (uint32_t j = 0; j < p; j++)
        place(search, j, F0);
    place(search, p - 1, F1);
    for (uint32_t j = p - 1; j-- > 0 && !search->failed;) {
        struct device *device = &search->devices[j];
        int64_t back = arrival(search, j, F1);
        while (!search->failed && device->held + FORWARD_HOLDS * (2 + 2 * (int64_t)j) <= search->cap &&
               device->end + search->cost[F0] <= back && device->done[F0] < search->microbatches)
            for (uint32_t k = 0; k <= j; k++)
                place(search, k, F0);
        place(search, j, F1);
    }
}

/* Forwards in turn until no device is behind the one before it. */
static void fill_up(struct search *search)
{
    uint32_t p = search->device_count, m = search->microbatches;
    enum leg leg = F0;

    for (uint32_t j = 1; j < p; j++) {
        const uint32_t *done = search->devices[j].done, *before = search->devices[j - 1].done;
        while (!search->failed && (done[F0] + done[F1] < before[F0] + before[F1] ||
                                   (done[F1] <= before[F1] && before[F1] < m))) {
            for (uint32_t k = p; k-- > j;)
                if (search->devices[k].done[leg] < m)
                    place(search, k, leg);
            leg = leg == F0 ? F1 : F0;
        }
    }
}

/*
 * Weight gradients that fit into the wait for the next pass of a leg. One more, that delays it, where the
 * device has waited so little that this costs nothing; `unless` is the choice that forbids it, or 0.
 */
static void fill_wait(struct search *search, uint32_t j, enum leg leg, unsigned unless)
{
    struct device *device = &search->devices[j];
    int64_t at = arrival(search, j, leg), spare = search->worst_bubble;

    while (has_weight(device) && at >= device->end + search->cost[W0])
        place_weight(search, j);
    if (search->worst_told - device->told > spare)
        spare = search->worst_told - device->told;
    if (!has_weight(device) || at - device->end <= spare - device->bubble)
        return;
    search->consulted |= unless;
    if (!(search->variant & unless))
        place_weight(search, j);
}

/* One backward on each device: first those that take I1, from the turn up, then the others, down. */
static void run_backwards(struct search *search)
{
    uint32_t p = search->device_count, m = search->microbatches;

    for (uint32_t j = 0; j < p; j++) {
        struct device *device = &search->devices[j];
        device->takes_i1 =
            device->done[I1] < device->done[I0] && (has_arrived(search, j, I1) || device->done[I0] >= m);
    }
    for (uint32_t j = p; j-- > 0 && !search->failed;) {
        if (!search->devices[j].takes_i1)
            continue;
        if (has_arrived(search, j, I1))
            fill_wait(search, j, I1, 0);
        place(search, j, I1);
    }
    for (uint32_t j = 0; j < p && !search->failed; j++) {
        if (search->devices[j].takes_i1)
            continue;
        if (has_arrived(search, j, I0))
            fill_wait(search, j, I0, NOT_BEFORE_I0);
        place(search, j, I0);
    }
}

static void run_forwards(struct search *search)
{
    for (uint32_t j = 0; j < search->device_count && !search->failed; j++) {
        struct device *device = &search->devices[j];
        enum leg leg = F0;
        if (device->done[F1] >= search->microbatches)
            continue;
        if (device->done[F1] < device->done[F0]) {
            if (has_arrived(search, j, F1))
                leg = F1;
            else if (device->done[F0] >= search->microbatches || !has_arrived(search, j, F0))
                continue;
        }
        while (device->held + FORWARD_HOLDS > search->cap && has_weight(device))
            place_weight(search, j);
        if (has_arrived(search, j, leg))
            fill_wait(search, j, leg, NOT_BEFORE_F);
        place(search, j, leg);
    }
}

static void reset(struct search *search)
{
    for (uint32_t j = 0; j < search->device_count; j++) {
        struct device *device = &search->devices[j];
        device->end = device->held = device->bubble = 0;
        device->placed = device->weights = 0;
        memset(device->done, 0, sizeof(device->done));
        device->legs = search->legs + (size_t)j * LEGS * search->microbatches;
    }
    search->worst_bubble = 0;
    search->failed = false;
}

static void run_try(struct search *search)
{
    reset(search);
    fill_first(search);
    fill_up(search);
    for (uint32_t i = 0; i < 2 * search->microbatches && !search->failed; i++) {
        run_backwards(search);
        run_forwards(search);
    }
    for (uint32_t j = 0; j < search->device_count && !search->failed; j++)
        while (has_weight(&search->devices[j]))
            place_weight(search, j);
}

static void keep(struct search *search, int64_t *best)
{
    uint8_t *legs = search->legs;

    search->legs = search->best_legs;
    search->best_legs = legs;
    *best = search->worst_bubble;
}

/* Tries a variant again, each time told the waits of the try before, while that makes the worst one shorter.
 */
static void run_variant(struct search *search, int64_t *best)
{
    search->consulted = 0;
    search->worst_told = -1;
    for (uint32_t j = 0; j < search->device_count; j++)
        search->devices[j].told = -1;
    for (;;) {
        run_try(search);
        if (search->failed || (search->worst_told >= 0 && search->worst_bubble >= search->worst_told))
            return;
        for (uint32_t j = 0; j < search->device_count; j++)
            search->devices[j].told = search->devices[j].bubble;
        search->worst_told = search->worst_bubble;
        if (*best < 0 || search->worst_bubble < *best)
            keep(search, best);
    }
}

/*
 * The worst wait of the best order, −1 where there is none. Variants that differ only in choices that made no
 * difference are the same, and are left out.
 */
static int64_t find_best(struct search *search)
{
    bool same[VARIANTS] = {false};
    int64_t best = -1;

    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        if (same[variant])
            continue;
        search->variant = variant;
        run_variant(search, &best);
        for (unsigned other = variant + 1; other < VARIANTS; other++)
            same[other] |= ((other ^ variant) & search->consulted) == 0;
    }
    return best;
}

static void push_best(const struct search *search, struct sp_order_builder *builder)
{
    static const enum sp_pass_kind kinds[LEGS] = {SP_PASS_F, SP_PASS_F, SP_PASS_I,
                                                  SP_PASS_I, SP_PASS_W, SP_PASS_W};
    uint32_t p = search->device_count;
    const uint8_t *leg = search->best_legs;

    for (uint32_t j = 0; j < p; j++) {
        uint32_t done[LEGS] = {0};
        for (uint32_t k = 0; k < LEGS * search->microbatches; k++, leg++) {
            bool is_lower = *leg == F0 || *leg == I1 || *leg == W1;
            sp_order_push(builder, j, kinds[*leg], is_lower ? j : 2 * p - 1 - j, done[*leg]++, 0);
        }
    }
}

static enum sp_status refuse(const struct sp_shape *shape, int64_t memory_units, struct sp_error *error)
{
    return sp_error_set(error, SP_INFEASIBLE,
                        "no zero-bubble V schedule of %u microbatches on %u devices keeps to %lld.%03lld "
                        "microbatches' activations",
                        shape->microbatches, shape->devices, (long long)memory_units / 1000,
                        (long long)memory_units % 1000);
}

enum sp_status sp_zbv_heuristic_push(const struct sp_shape *shape, int64_t memory_units,
                                     struct sp_order_builder *builder, struct sp_error *error)
{
    bool timed = shape->forward_ns || shape->input_ns || shape->weight_ns;
    int64_t f = timed ? shape->forward_ns : 1, i = timed ? shape->input_ns : 1;
    int64_t w = timed ? shape->weight_ns : 1;
    size_t m = shape->microbatches, units = shape->devices * m;
    struct search search = {
        .device_count = shape->devices,
        .microbatches = shape->microbatches,
        .cost = {f, f, i, i, w, w},
        .hop = shape->message_ns,
        .cap = 2 * memory_units,
        .weight_frees = shape->weight_held_permille ? shape->weight_held_permille : 500,
        .devices = sp_alloc(shape->devices, sizeof(struct device)),
        .legs = sp_alloc(units, LEGS),
        .best_legs = sp_alloc(units, LEGS),
    };
    int64_t *ends = sp_alloc(units, MESSAGE_LEGS * sizeof(*ends));
    uint8_t *inputs = sp_alloc(units, 2);
    enum sp_status status = SP_OK;

    if (!search.devices || !search.legs || !search.best_legs || !ends || !inputs) {
        status = sp_error_set(error, SP_MEMORY, "no memory to schedule %zu units", units);
        goto out;
    }
    for (uint32_t j = 0; j < shape->devices; j++) {
        for (unsigned leg = 0; leg < MESSAGE_LEGS; leg++)
            search.devices[j].ends[leg] = ends + (j * MESSAGE_LEGS + leg) * m;
        search.devices[j].inputs = inputs + 2 * m * j;
    }
    if (find_best(&search) < 0)
        status = refuse(shape, memory_units, error);
    else
        push_best(&search, builder);
out:
    sp_free(search.devices);
    sp_free(search.legs);
    sp_free(search.best_legs);
    sp_free(ends);
    sp_free(inputs);
    return status;
}
