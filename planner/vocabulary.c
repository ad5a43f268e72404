/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the output layer's passes go in an order that has none. The order is simulated; every pass then has a
 * key, its start and its number in the program's topological order, and keys grow along every dependency. S
 * and T get keys between those of the unit's last F and of its B, and go where their keys put them. So F, S,
 * T, B of a unit follow each other in one common order of everything, and no placement can deadlock.
 *
 * Within these limits S stands where the hidden states arrive, T where its gradient is back just in time.
 * Both then fall at the same place of every device's rhythm, and no device waits for another one's share.
 */
#include <stdlib.h>
#include <string.h>

#include "slimpipe/cost.h"
#include "slimpipe/planner.h"
#include "slimpipe/program.h"
#include "slimpipe/sim.h"
#include "slimpipe/timeline.h"
#include "waves.h"

struct key {
    int64_t time;
    uint32_t number;
    int8_t side; /* before (−) or after (+) what has the same time and number */
};

struct event {
    struct key key;
    struct sp_pass pass;
};

struct placing {
    struct sp_plan *plan;
    const struct sp_cost *cost;
    const struct sp_pass_table *table;
    struct key *keys;     /* of each pass of the order */
    int64_t *ends;        /* when each pass ends */
    struct event *events; /* of the device at hand: up to two per unit of a stage */
};

static int compare_keys(const struct key *a, const struct key *b)
{
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->side - b->side;
}

static int compare_events(const void *a, const void *b)
{
    const struct event *first = a, *second = b;
    int order = compare_keys(&first->key, &second->key);

    if (order || first->pass.kind != second->pass.kind)
        return order ? order : first->pass.kind - second->pass.kind; /* S before T */
    if (first->pass.microbatch != second->pass.microbatch)
        return first->pass.microbatch < second->pass.microbatch ? -1 : 1;
    return first->pass.slice - second->pass.slice;
}

static enum sp_status out_of_memory(struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "no memory to place the output layer");
}

/* --- Keys --------------------------------------------------------------------------------------------- */

static void set_keys(struct placing *placing, const struct sp_program *program,
                     const struct sp_timeline *timeline)
{
    const struct sp_order *order = &placing->plan->order;
    uint64_t count = order->begin[order->device_count];

    for (uint64_t i = 0; i < count; i++)
        placing->keys[i].time = -1;
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        uint32_t passes = instruction->kind == SP_INSTRUCTION_PASS     ? 1
                          : instruction->kind == SP_INSTRUCTION_JOINED ? 2
                                                                       : 0;
        for (uint32_t k = 0; k < passes; k++) {
            placing->keys[instruction->pass + k] = (struct key){timeline->start_ns[i], i, 0};
            placing->ends[instruction->pass + k] = timeline->end_ns[i];
        }
    }
    /* Copies take no compute time: they stay behind the pass before them. */
    for (uint32_t d = 0; d < order->device_count; d++)
        for (uint64_t i = order->begin[d]; i < order->begin[d + 1]; i++)
            if (placing->keys[i].time < 0)
                placing->keys[i] = i > order->begin[d] ? placing->keys[i - 1] : (struct key){0, 0, 0};
}

static enum sp_status simulate(struct placing *placing, const struct sp_plan *plan, struct sp_error *error)
{
    struct sp_program *program = NULL;
    struct sp_timeline timeline = {0};
    enum sp_status status;

    if ((status = sp_program_create(plan, &program, error)) ||
        (status = sp_timeline_init(&timeline, program, "predicted", error)) ||
        (status = sp_sim_run(program, SP_SIM_PLAIN, &timeline, error)))
        goto out;
    set_keys(placing, program, &timeline);
out:
    sp_timeline_finish(&timeline);
    sp_program_destroy(program);
    return status;
}

/*
 * An exchange is filled in later, and makes all slices last equally long and the passes of a wave start
 * together (waves.h): then these are the times.
 */
static enum sp_status find_keys(struct placing *placing, struct sp_arena *arena, struct sp_error *error)
{
    const struct sp_plan *plan = placing->plan;
    uint64_t count = plan->order.begin[plan->order.device_count];
    struct sp_plan copy = *plan;
    struct sp_waves waves;
    enum sp_status status;

    copy.exchange_count = 0;
    if (strcmp(plan->exchange_policy, "none") == 0)
        return simulate(placing, &copy, error);
    if ((status = sp_waves_find(plan, placing->cost, arena, &waves, error)))
        return status;
    for (uint64_t i = 0; i < count; i++) {
        placing->keys[i] = (struct key){waves.pass_start_ns[i], waves.number[i], 0};
        placing->ends[i] = waves.pass_end_ns[i];
    }
    return SP_OK;
}

/* --- Events ------------------------------------------------------------------------------------------- */

/* The slowest way between the device of the last stage and another one. */
static int64_t output_ns(const struct placing *placing, uint32_t hub, uint32_t slice)
{
    int64_t bytes = sp_cost_output_bytes(placing->cost, slice), slowest = 0;

    for (uint32_t d = 0; d < placing->plan->order.device_count; d++) {
        struct sp_transfer transfer = sp_cost_transfer(placing->cost, hub, d, bytes);
        if (d != hub && transfer.latency_ns + transfer.busy_ns > slowest)
            slowest = transfer.latency_ns + transfer.busy_ns;
    }
    return slowest;
}

static struct key later(struct key a, struct key b)
{
    return compare_keys(&a, &b) < 0 ? b : a;
}

static struct key earlier(struct key a, struct key b)
{
    return compare_keys(&a, &b) < 0 ? a : b;
}

/* Before every pass that starts at `time`, on any device. */
static struct key at_time(int64_t time)
{
    return (struct key){time, 0, -1};
}

/* When the device's last pass that starts at `time` or earlier starts; −1 where none does. */
static int64_t start_at(const struct placing *placing, uint32_t device, int64_t time)
{
    const struct sp_order *order = &placing->plan->order;
    uint64_t low = order->begin[device], high = order->begin[device + 1];

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (placing->keys[middle].time <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low == order->begin[device] ? -1 : placing->keys[low - 1].time;
}

static uint32_t device_of(const struct sp_plan *plan, const struct sp_stage *stage, uint64_t index)
{
    const uint64_t *begin = plan->order.begin;

    for (uint32_t i = 0; i < stage->replica_count; i++)
        if (begin[stage->replicas[i]] <= index && index < begin[stage->replicas[i] + 1])
            return stage->replicas[i];
    return stage->device;
}

static uint32_t last_stage(const struct sp_plan *plan, uint32_t microbatch)
{
    return plan->path_begin ? plan->path_stages[plan->path_begin[microbatch + 1] - 1] : plan->stage_count - 1;
}

/* The latest place for S and T: before the last stage's backward, and behind its forward. */
static struct key last_place(const struct placing *placing, uint64_t forward, uint64_t backward)
{
    struct key before = placing->keys[backward];

    if (placing->keys[forward].time < before.time)
        return at_time(before.time);
    before.side = -1;
    return before;
}

/*
 * S and T of one unit on one device; how many there are. The device of the last stage keeps time with the
 * others, though it has no message to wait for: else it would run its share at another beat than they do.
 */
static size_t make_events(const struct placing *placing, uint32_t device, uint32_t microbatch, uint32_t slice,
                          struct event *events)
{
    const struct sp_plan *plan = placing->plan;
    uint32_t stage = last_stage(plan, microbatch);
    uint64_t forward = sp_pass_table_find(placing->table, SP_PASS_F, stage, microbatch, slice);
    uint64_t backward = sp_pass_table_find_backward(placing->table, stage, microbatch, slice);
    int64_t message = output_ns(placing, device_of(plan, &plan->stages[stage], forward), slice);
    struct key behind_forward = placing->keys[forward], last, back;

    behind_forward.side = 1;
    events[0].pass = events[1].pass = (struct sp_pass){
        .stage = (uint16_t)stage, .microbatch = microbatch, .slice = (uint16_t)slice, .kind = SP_PASS_S};
    events[1].pass.kind = SP_PASS_T;
    events[0].key = later(behind_forward, at_time(placing->ends[forward] + message));
    if (backward == SP_NO_PASS)
        return 1;
    last = last_place(placing, forward, backward);
    events[0].key = earlier(events[0].key, last);
    back = at_time(start_at(placing, device, placing->keys[backward].time - message));
    events[1].key = earlier(later(back, events[0].key), last);
    return 2;
}

static size_t collect_events(struct placing *placing, uint32_t device)
{
    const struct sp_plan *plan = placing->plan;
    size_t count = 0;

    for (uint32_t m = 0; m < plan->workload.microbatches; m++)
        for (uint32_t s = 0; s < plan->slice_count; s++)
            count += make_events(placing, device, m, s, placing->events + count);
    qsort(placing->events, count, sizeof(*placing->events), compare_events);
    return count;
}

/* --- The new order ------------------------------------------------------------------------------------ */

/* Appends the device's passes and events in the order of their keys; returns the new end. */
static uint64_t merge_device(struct placing *placing, uint32_t device, struct sp_pass *passes, uint64_t end)
{
    const struct sp_order *order = &placing->plan->order;
    size_t count = collect_events(placing, device), next = 0;

    for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
        bool joined_before = i > order->begin[device] && order->passes[i - 1].joined;
        while (!joined_before && next < count &&
               compare_keys(&placing->events[next].key, &placing->keys[i]) < 0)
            passes[end++] = placing->events[next++].pass;
        passes[end++] = order->passes[i];
    }
    while (next < count)
        passes[end++] = placing->events[next++].pass;
    return end;
}

static enum sp_status merge(struct placing *placing, struct sp_error *error)
{
    struct sp_plan *plan = placing->plan;
    uint32_t devices = plan->order.device_count;
    uint64_t units = (uint64_t)plan->workload.microbatches * plan->slice_count;
    uint64_t most = plan->order.begin[devices] + 2 * units * devices;
    struct sp_pass *passes;
    uint64_t *begin;

    if (most > SP_MAX_PASSES)
        return sp_error_set(error, SP_INPUT, "%llu passes with the output layer's: expected at most %d",
                            (unsigned long long)most, SP_MAX_PASSES);
    passes = sp_arena_alloc(plan->arena, most, sizeof(*passes));
    begin = sp_arena_alloc(plan->arena, devices + 1, sizeof(*begin));
    if (!passes || !begin)
        return out_of_memory(error);
    for (uint32_t d = 0; d < devices; d++)
        begin[d + 1] = merge_device(placing, d, passes, begin[d]);
    plan->order.begin = begin;
    plan->order.passes = passes;
    return SP_OK;
}

enum sp_status sp_vocabulary_place(struct sp_plan *plan, struct sp_error *error)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_cost *cost = NULL;
    uint64_t count = plan->order.begin[plan->order.device_count];
    uint64_t units = (uint64_t)plan->workload.microbatches * plan->slice_count;
    struct placing placing = {.plan = plan};
    enum sp_status status;

    if (!arena)
        return out_of_memory(error);
    placing.table = sp_pass_table_create(plan, arena);
    placing.keys = sp_arena_alloc(arena, count, sizeof(*placing.keys));
    placing.ends = sp_arena_alloc(arena, count, sizeof(*placing.ends));
    placing.events = sp_arena_alloc(arena, 2 * units, sizeof(*placing.events));
    if (!placing.table || !placing.keys || !placing.ends || !placing.events) {
        status = out_of_memory(error);
        goto out;
    }
    if ((status = sp_cost_create(plan, &cost, error)))
        goto out;
    placing.cost = cost;
    if ((status = find_keys(&placing, arena, error)))
        goto out;
    status = merge(&placing, error);
out:
    sp_cost_destroy(cost);
    sp_arena_destroy(arena);
    return status;
}
