/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bound. With p devices and attention over past slices movable, a pass lasts at least its fixed part plus
 * 1/p of its movable part, so its earliest start and the least that must follow it come from longest paths
 * over data dependencies. Before the earliest start of any own pass (head), and after the least tail of any,
 * a device can only help others; what can be helped with by then is limited to passes that can have begun (or
 * may still run). So with work W in all:
 *
 *   p · T ≥ W + Σ_d head_d + Σ_d tail_d − guests in heads − guests in tails
 *   T ≥ head_d + fixed work of d + tail_d        T ≥ longest chain
 *
 * and the guests are what the linear programme may choose, window by window between the devices' heads.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lp.h"
#include "slimpipe/planner.h"
#include "slimpipe/sim.h"

/* What rounding to whole nanoseconds may take off a pass cut into layers, per layer. */
enum { ROUNDING_NS = 4 };

struct node {
    double fixed, movable; /* work */
    double start;          /* earliest */
    double tail;           /* least time from its end to the end of everything */
};

struct paths {
    const struct sp_program *program;
    const struct sp_pass_table *table;
    struct sp_arena *arena;
    struct node *nodes; /* by pass index */
    uint32_t *order;    /* pass indices so that dependencies point back */
    uint32_t *device;   /* by pass index */
    uint64_t count;
    double share; /* 1 / p */
};

static double length(const struct paths *paths, const struct node *node)
{
    return node->fixed + node->movable * paths->share;
}

static uint32_t layers_of(const struct sp_plan *plan, const struct sp_pass *pass)
{
    uint32_t layers = plan->stages[pass->stage].layer_count;
    return layers ? layers : 1;
}

static void measure_node(const struct paths *paths, uint64_t index)
{
    const struct sp_plan *plan = paths->program->plan;
    const struct sp_cost *cost = paths->program->cost;
    const struct sp_pass *pass = &plan->order.passes[index];
    struct node *node = &paths->nodes[index];
    double whole = (double)sp_cost_pass_ns(cost, pass), movable = 0;
    int64_t past = sp_plan_slice_begin(plan, pass->slice);
    bool attends = pass->kind == SP_PASS_F || pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
    uint32_t layers = layers_of(plan, pass);
    if (attends && past > 0) {
        struct sp_layer_cost all, none;
        sp_cost_layer(cost, pass, past, 0, &all);
        sp_cost_layer(cost, pass, 0, 0, &none);
        movable = (double)layers * (double)(all.attention_ns - none.attention_ns);
        movable = fmin(movable, whole);
    }
    node->fixed = fmax(0, whole - movable - ROUNDING_NS * (double)layers);
    if (movable > 0)
        node->movable = fmin(movable, (double)layers * (double)sp_cost_guest_ns(cost, pass, past));
}

/* Calls back for every pass that must end before this one starts, with the message's time between. */
enum { PREDECESSORS = 4 };
struct predecessor {
    uint64_t pass;
    double delay;
};

static void add_predecessor(struct predecessor *list, int *count, uint64_t pass, double delay)
{
    if (pass != SP_NO_PASS)
        list[(*count)++] = (struct predecessor){.pass = pass, .delay = delay};
}

static double hop_delay(const struct paths *paths, uint64_t from, uint64_t to)
{
    const struct sp_plan *plan = paths->program->plan;
    if (from == SP_NO_PASS || paths->device[from] == paths->device[to])
        return 0;
    struct sp_transfer transfer =
        sp_cost_transfer(paths->program->cost, paths->device[from], paths->device[to],
                         sp_cost_hop_bytes(paths->program->cost, plan->order.passes[to].slice));
    return (double)(transfer.latency_ns + transfer.busy_ns);
}

/* Output passes are left out: dropping dependencies keeps a lower bound a lower bound. */
static int find_predecessors(const struct paths *paths, uint64_t index, struct predecessor *list)
{
    const struct sp_plan *plan = paths->program->plan;
    const struct sp_pass *pass = &plan->order.passes[index];
    uint32_t mb = pass->microbatch, slice = pass->slice;
    int count = 0;
    if (pass->kind == SP_PASS_F) {
        int32_t stage = sp_plan_previous_stage(plan, mb, pass->stage);
        uint64_t hop =
            stage < 0 ? SP_NO_PASS : sp_pass_table_find(paths->table, SP_PASS_F, (uint32_t)stage, mb, slice);
        add_predecessor(list, &count, hop, hop_delay(paths, hop, index));
        if (slice > 0)
            add_predecessor(list, &count,
                            sp_pass_table_find(paths->table, SP_PASS_F, pass->stage, mb, slice - 1), 0);
    } else if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I) {
        int32_t stage = sp_plan_next_stage(plan, mb, pass->stage);
        uint64_t hop =
            stage < 0 ? SP_NO_PASS : sp_pass_table_find_backward(paths->table, (uint32_t)stage, mb, slice);
        add_predecessor(list, &count, hop, hop_delay(paths, hop, index));
        add_predecessor(list, &count, sp_pass_table_find(paths->table, SP_PASS_F, pass->stage, mb, slice), 0);
        if (slice + 1u < plan->slice_count)
            add_predecessor(list, &count,
                            sp_pass_table_find_backward(paths->table, pass->stage, mb, slice + 1u), 0);
    } else if (pass->kind == SP_PASS_W) {
        add_predecessor(list, &count, sp_pass_table_find(paths->table, SP_PASS_I, pass->stage, mb, slice), 0);
    }
    return count;
}

static void fill_starts_and_tails(struct paths *paths)
{
    struct predecessor list[PREDECESSORS];
    for (uint64_t i = 0; i < paths->count; i++) {
        struct node *node = &paths->nodes[paths->order[i]];
        int found = find_predecessors(paths, paths->order[i], list);
        for (int k = 0; k < found; k++) {
            const struct node *before = &paths->nodes[list[k].pass];
            node->start = fmax(node->start, before->start + length(paths, before) + list[k].delay);
        }
    }
    for (uint64_t i = paths->count; i-- > 0;) {
        const struct node *node = &paths->nodes[paths->order[i]];
        int found = find_predecessors(paths, paths->order[i], list);
        for (int k = 0; k < found; k++) {
            struct node *before = &paths->nodes[list[k].pass];
            before->tail = fmax(before->tail, list[k].delay + length(paths, node) + node->tail);
        }
    }
}

static bool init_paths(struct paths *paths, const struct sp_program *program, struct sp_arena *arena)
{
    const struct sp_order *order = &program->plan->order;
    uint64_t passes = order->begin[order->device_count];
    *paths = (struct paths){.program = program, .arena = arena, .share = 1.0 / order->device_count};
    paths->table = sp_pass_table_create(program->plan, arena);
    paths->nodes = sp_arena_alloc(arena, passes + 1, sizeof *paths->nodes);
    paths->order = sp_arena_alloc(arena, passes + 1, sizeof *paths->order);
    paths->device = sp_arena_alloc(arena, passes + 1, sizeof *paths->device);
    if (!paths->table || !paths->nodes || !paths->order || !paths->device)
        return false;
    for (uint32_t d = 0; d < order->device_count; d++)
        for (uint64_t i = order->begin[d]; i < order->begin[d + 1]; i++)
            paths->device[i] = d;
    /* The program's numbers are a topological order; a pass stands where its first instruction does. */
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *at = &program->instructions[i];
        if (at->kind == SP_INSTRUCTION_PASS || (at->kind == SP_INSTRUCTION_BEFORE && at->layer == 0))
            paths->order[paths->count++] = at->pass;
    }
    for (uint64_t i = 0; i < paths->count; i++)
        measure_node(paths, paths->order[i]);
    fill_starts_and_tails(paths);
    return true;
}

/* One end of the pipeline: how long each device must do without own passes, and what could be moved there. */
struct end {
    double *idle;    /* by device */
    double *sorted;  /* windows' ends, ascending */
    double *movable; /* attention of passes that can run within the window from the end */
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct work_at {
    double time, work;
};

static int compare_work(const void *a, const void *b)
{
    const struct work_at *x = a, *y = b;
    return (x->time > y->time) - (x->time < y->time);
}

static bool init_end(struct end *end, const struct paths *paths, bool head, const double *step)
{
    uint32_t p = paths->program->device_count;
    struct work_at *works = sp_arena_alloc(paths->arena, paths->count + 1, sizeof *works);
    end->idle = sp_arena_alloc(paths->arena, p, sizeof(double));
    end->sorted = sp_arena_alloc(paths->arena, p, sizeof(double));
    end->movable = sp_arena_alloc(paths->arena, p, sizeof(double));
    if (!works || !end->idle || !end->sorted || !end->movable)
        return false;
    for (uint32_t d = 0; d < p; d++)
        end->idle[d] = INFINITY;
    for (uint64_t i = 0; i < paths->count; i++) {
        const struct node *node = &paths->nodes[paths->order[i]];
        double distance = head ? node->start : node->tail;
        uint32_t d = paths->device[paths->order[i]];
        end->idle[d] = fmin(end->idle[d], distance);
        works[i] = (struct work_at){.time = distance, .work = node->movable};
    }
    for (uint32_t d = 0; d < p; d++) {
        end->idle[d] = isinf(end->idle[d]) ? 0 : fmax(0, end->idle[d] - (head ? 0 : step[d]));
        end->sorted[d] = end->idle[d] + (head ? 0 : step[d]);
    }
    qsort(end->sorted, p, sizeof(double), compare_doubles);
    qsort(works, paths->count, sizeof *works, compare_work);
    double sum = 0;
    uint64_t at = 0;
    for (uint32_t k = 0; k < p; k++) {
        while (at < paths->count && works[at].time < end->sorted[k])
            sum += works[at++].work;
        end->movable[k] = sum;
    }
    return true;
}

/* Guests of one end as columns; each adds to the capacity row what it takes off the idle time. */
static void add_guests(struct sp_lp *lp, int32_t capacity, const struct end *end, uint32_t p)
{
    int32_t *columns = sp_alloc(p, sizeof *columns);
    for (uint32_t k = 0; k < p && columns; k++) {
        double window = end->sorted[k] - (k ? end->sorted[k - 1] : 0);
        columns[k] = sp_lp_column(lp, SP_LP_REAL, 0, window * (p - k), 0);
        sp_lp_term(lp, capacity, columns[k], 1);
        int32_t limit = sp_lp_row(lp, -INFINITY, end->movable[k]);
        for (uint32_t j = 0; j <= k; j++)
            sp_lp_term(lp, limit, columns[j], 1);
    }
    sp_free(columns);
}

static enum sp_status solve(const struct paths *paths, const struct end *head, const struct end *tail,
                            const double *fixed, const double *step, double work, double chain,
                            double *ret_bound, struct sp_error *error)
{
    uint32_t p = paths->program->device_count;
    double idle = 0, least = chain;
    struct sp_lp_result result;
    for (uint32_t d = 0; d < p; d++) {
        idle += head->idle[d] + tail->idle[d];
        least = fmax(least, head->idle[d] + fixed[d] + step[d] + tail->idle[d]);
    }
    struct sp_lp *lp = sp_lp_create();
    double *values = sp_alloc(2 * (size_t)p + 1, sizeof *values);
    enum sp_status status = SP_OK;
    if (!lp || !values) {
        status = sp_error_set(error, SP_MEMORY, "out of memory while bounding the makespan");
    } else {
        int32_t time = sp_lp_column(lp, SP_LP_REAL, least, INFINITY, 1);
        int32_t capacity = sp_lp_row(lp, work + idle, INFINITY);
        sp_lp_term(lp, capacity, time, p);
        add_guests(lp, capacity, head, p);
        add_guests(lp, capacity, tail, p);
        status = sp_lp_solve(lp, NULL, values, &result, error);
    }
    if (status == SP_OK)
        *ret_bound = result.outcome == SP_LP_OPTIMAL ? result.cost : least;
    sp_lp_destroy(lp);
    sp_free(values);
    return status;
}

static bool anything_joined(const struct sp_program *program)
{
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instructions[i].kind == SP_INSTRUCTION_JOINED)
            return true;
    return false;
}

static enum sp_status bound_with_moves(const struct paths *paths, double *ret_bound, struct sp_error *error)
{
    uint32_t p = paths->program->device_count;
    double *fixed = sp_arena_alloc(paths->arena, p, sizeof *fixed);
    double *step = sp_arena_alloc(paths->arena, p, sizeof *step);
    struct end head, tail;
    double work = 0, chain = 0;
    if (!fixed || !step)
        return sp_error_set(error, SP_MEMORY, "out of memory while bounding the makespan");
    for (uint32_t d = 0; d < p; d++) {
        step[d] = (double)sp_cost_step_ns(paths->program->cost, d);
        work += step[d];
    }
    for (uint64_t i = 0; i < paths->count; i++) {
        const struct node *node = &paths->nodes[paths->order[i]];
        fixed[paths->device[paths->order[i]]] += node->fixed;
        work += node->fixed + node->movable;
        chain = fmax(chain, node->start + length(paths, node) + node->tail);
    }
    if (!init_end(&head, paths, true, step) || !init_end(&tail, paths, false, step))
        return sp_error_set(error, SP_MEMORY, "out of memory while bounding the makespan");
    return solve(paths, &head, &tail, fixed, step, work, chain, ret_bound, error);
}

enum sp_status sp_plan_bound(const struct sp_program *program, int64_t *ret_bound_ns, struct sp_error *error)
{
    struct paths paths;
    double bound = 0;
    bool movable = false;
    if (program->plan->slice_count == 1 || anything_joined(program))
        return sp_sim_bound(program, ret_bound_ns, error);
    struct sp_arena *arena = sp_arena_create();
    enum sp_status status = SP_OK;
    if (!arena || !init_paths(&paths, program, arena))
        status = sp_error_set(error, SP_MEMORY, "out of memory while bounding the makespan");
    for (uint64_t i = 0; status == SP_OK && i < paths.count && !movable; i++)
        movable = paths.nodes[paths.order[i]].movable > 0;
    if (status == SP_OK && !movable)
        status = sp_sim_bound(program, ret_bound_ns, error);
    else if (status == SP_OK && (status = bound_with_moves(&paths, &bound, error)) == SP_OK)
        *ret_bound_ns = (int64_t)floor(bound);
    sp_arena_destroy(arena);
    return status;
}
