/* SPDX-License-Identifier: Apache-2.0 */
#include "waves.h"

struct timing {
    const struct sp_plan *plan;
    const struct sp_order *order;
    const struct sp_pass_table *table;
    uint64_t pass_count;
    int64_t kind_ns[SP_PASS_KINDS];
    int64_t joined_ns;

    /* By pass: what it waits for on other devices and its own, needs[need_begin[i]] … */
    uint64_t *need_begin;
    uint32_t *needs;

    uint16_t *device_of;
    uint64_t *cursor;     /* by device: the next pass */
    int64_t *free_ns;     /* by device: when it has run everything so far */
    int64_t *ready;       /* by device: when the next pass may start; −1: not known */
    int64_t *start, *end; /* by pass; end < 0: not timed yet */
    int64_t *late;        /* by pass: latest start */
    uint32_t *sequence;   /* passes in the order of the first timing */
    uint32_t numbered;    /* passes of the second timing */
    struct sp_waves *waves;
};

static bool has_attention(uint8_t kind)
{
    return kind == SP_PASS_F || kind == SP_PASS_B || kind == SP_PASS_I;
}

/* --- What a pass waits for --------------------------------------------------------------------------- */

/* Collects needs, or only counts them while `needs` is NULL. */
struct need_list {
    uint32_t *needs;
    uint64_t count;
};

static void need(struct need_list *list, uint64_t index)
{
    if (index == SP_NO_PASS)
        return;
    if (list->needs)
        list->needs[list->count] = (uint32_t)index;
    list->count++;
}

static void need_outputs(const struct timing *t, struct need_list *list, enum sp_pass_kind kind,
                         const struct sp_pass *pass)
{
    for (uint32_t d = 0; d < t->order->device_count; d++)
        need(list, sp_pass_table_find_output(t->table, kind, d, pass->microbatch, pass->slice));
}

static void forward_needs(const struct timing *t, struct need_list *list, const struct sp_pass *pass)
{
    int32_t previous = sp_plan_previous_stage(t->plan, pass->microbatch, pass->stage);
    if (previous >= 0)
        need(list,
             sp_pass_table_find(t->table, SP_PASS_F, (uint32_t)previous, pass->microbatch, pass->slice));
    if (pass->slice > 0)
        need(list, sp_pass_table_find(t->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice - 1u));
}

static void backward_needs(const struct timing *t, struct need_list *list, const struct sp_pass *pass)
{
    int32_t next = sp_plan_next_stage(t->plan, pass->microbatch, pass->stage);
    need(list, sp_pass_table_find(t->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice));
    need(list, sp_pass_table_find(t->table, SP_PASS_R, pass->stage, pass->microbatch, pass->slice));
    if (next >= 0)
        need(list, sp_pass_table_find_backward(t->table, (uint32_t)next, pass->microbatch, pass->slice));
    else
        need_outputs(t, list, t->plan->vocabulary == SP_VOCABULARY_SHARD2 ? SP_PASS_S : SP_PASS_T, pass);
    if (pass->slice + 1u < t->plan->slice_count)
        need(list, sp_pass_table_find_backward(t->table, pass->stage, pass->microbatch, pass->slice + 1u));
}

static void pass_needs(const struct timing *t, struct need_list *list, const struct sp_pass *pass)
{
    switch (pass->kind) {
    case SP_PASS_F:
        forward_needs(t, list, pass);
        break;
    case SP_PASS_B:
    case SP_PASS_I:
        backward_needs(t, list, pass);
        break;
    case SP_PASS_W:
        need(list, sp_pass_table_find(t->table, SP_PASS_I, pass->stage, pass->microbatch, pass->slice));
        break;
    case SP_PASS_T:
        if (t->plan->vocabulary != SP_VOCABULARY_SCATTER)
            need_outputs(t, list, SP_PASS_S, pass);
        break;
    default: /* R, S, O, L */
        need(list, sp_pass_table_find(t->table, SP_PASS_F, pass->stage, pass->microbatch, pass->slice));
    }
}

static bool list_needs(struct timing *t, struct sp_arena *arena)
{
    struct need_list list = {0};
    t->need_begin = sp_arena_alloc(arena, t->pass_count + 1, sizeof(*t->need_begin));
    if (!t->need_begin)
        return false;
    for (uint64_t i = 0; i < t->pass_count; i++) {
        pass_needs(t, &list, &t->order->passes[i]);
        t->need_begin[i + 1] = list.count;
    }
    list = (struct need_list){sp_arena_alloc(arena, list.count + 1, sizeof(*list.needs)), 0};
    t->needs = list.needs;
    for (uint64_t i = 0; list.needs && i < t->pass_count; i++)
        pass_needs(t, &list, &t->order->passes[i]);
    return t->needs != NULL;
}

/* --- Times ------------------------------------------------------------------------------------------- */

/* Passes that run as one from here: 2 for a joined pair. */
static uint32_t run_length(const struct timing *t, uint64_t index)
{
    return t->order->passes[index].joined ? 2 : 1;
}

static int64_t run_ns(const struct timing *t, uint64_t index)
{
    return t->order->passes[index].joined ? t->joined_ns : t->kind_ns[t->order->passes[index].kind];
}

static void mean_times(struct timing *t, const struct sp_cost *cost)
{
    int64_t sum[SP_PASS_KINDS + 1] = {0}, count[SP_PASS_KINDS + 1] = {0};
    for (uint64_t i = 0; i < t->pass_count; i++) {
        const struct sp_pass *pass = &t->order->passes[i];
        sum[pass->kind] += sp_cost_pass_ns(cost, pass);
        count[pass->kind]++;
        if (!pass->joined)
            continue;
        sum[SP_PASS_KINDS] += sp_cost_joined_ns(cost, pass, pass + 1);
        count[SP_PASS_KINDS]++;
    }
    for (int kind = 0; kind < SP_PASS_KINDS; kind++)
        t->kind_ns[kind] = count[kind] ? sum[kind] / count[kind] : 0;
    t->joined_ns = count[SP_PASS_KINDS] ? sum[SP_PASS_KINDS] / count[SP_PASS_KINDS] : 0;
}

/* When everything that the run at index waits for has ended; −1 where some of it is not timed yet. */
static int64_t ready_ns(const struct timing *t, uint64_t index, uint32_t device)
{
    int64_t ready = t->free_ns[device];
    uint64_t last = t->need_begin[index + run_length(t, index)];
    for (uint64_t k = t->need_begin[index]; k < last; k++) {
        uint64_t needed = t->needs[k];
        if (needed == index)
            continue; /* the first of a joined pair that the second waits for */
        if (t->end[needed] < 0)
            return -1;
        if (t->end[needed] > ready)
            ready = t->end[needed];
    }
    return ready;
}

static void set_times(struct timing *t, uint32_t device, int64_t start)
{
    uint64_t index = t->cursor[device];
    int64_t end = start + run_ns(t, index);
    for (uint32_t k = 0; k < run_length(t, index); k++) {
        t->start[index + k] = start;
        t->end[index + k] = end;
    }
    t->free_ns[device] = end;
    t->cursor[device] += run_length(t, index);
}

static void rewind_all(struct timing *t)
{
    for (uint32_t d = 0; d < t->order->device_count; d++) {
        t->cursor[d] = t->order->begin[d];
        t->free_ns[d] = 0;
    }
    for (uint64_t i = 0; i < t->pass_count; i++)
        t->end[i] = -1;
}

/* Runs every pass as early as can be; false where the order deadlocks. */
static bool time_early(struct timing *t)
{
    uint64_t done = 0, before;
    rewind_all(t);
    do {
        before = done;
        for (uint32_t d = 0; d < t->order->device_count; d++) {
            while (t->cursor[d] < t->order->begin[d + 1]) {
                uint64_t index = t->cursor[d];
                int64_t ready = ready_ns(t, index, d);
                if (ready < 0)
                    break;
                for (uint32_t k = 0; k < run_length(t, index); k++)
                    t->sequence[done++] = (uint32_t)(index + k);
                set_times(t, d, ready);
            }
        }
    } while (done > before);
    for (uint32_t d = 0; d < t->order->device_count; d++)
        if (t->free_ns[d] > t->waves->makespan_ns)
            t->waves->makespan_ns = t->free_ns[d];
    return done == t->pass_count;
}

static void lower_to(int64_t *value, int64_t limit)
{
    if (limit < *value)
        *value = limit;
}

static bool second_of_pair(const struct timing *t, uint64_t index)
{
    return index > t->order->begin[t->device_of[index]] && t->order->passes[index - 1].joined;
}

/* Against the first timing's order: each run bounds what it waits for and what stands before it. */
static void time_late(struct timing *t)
{
    /* `late` holds latest ends until a run is reached. */
    for (uint64_t i = 0; i < t->pass_count; i++)
        t->late[i] = t->waves->makespan_ns;
    for (uint64_t n = t->pass_count; n-- > 0;) {
        uint64_t index = t->sequence[n];
        if (second_of_pair(t, index))
            continue;
        uint64_t behind = index + run_length(t, index);
        lower_to(&t->late[index], t->late[behind - 1]);
        t->late[index] -= run_ns(t, index);
        t->late[behind - 1] = t->late[index];
        for (uint64_t k = t->need_begin[index]; k < t->need_begin[behind]; k++)
            if (t->needs[k] != index)
                lower_to(&t->late[t->needs[k]], t->late[index]);
        if (index > t->order->begin[t->device_of[index]])
            lower_to(&t->late[index - 1], t->late[index]);
    }
}

/* --- Waves ------------------------------------------------------------------------------------------- */

/* Joined pairs cannot be cut into layers, and a stage may have none. */
static bool may_join(const struct timing *t, uint64_t index)
{
    const struct sp_pass *pass = &t->order->passes[index];
    return has_attention(pass->kind) && !pass->joined &&
           (!t->plan->has_model || t->plan->stages[pass->stage].layer_count > 0);
}

static void set_alone(struct timing *t, uint32_t device)
{
    uint64_t index = t->cursor[device];
    for (uint32_t k = 0; k < run_length(t, index); k++) {
        t->waves->wave_of[index + k] = SP_NO_WAVE;
        t->waves->next_wave[index + k] = t->waves->wave_count;
        t->waves->number[index + k] = t->numbered++;
    }
    set_times(t, device, t->ready[device]);
    t->ready[device] = -1;
}

/* Whatever cannot be in a wave runs as soon as it can: nothing of its device may go before it. */
static void set_all_alone(struct timing *t)
{
    bool came_on;
    do {
        came_on = false;
        for (uint32_t d = 0; d < t->order->device_count; d++) {
            while (t->cursor[d] < t->order->begin[d + 1]) {
                if (t->ready[d] < 0)
                    t->ready[d] = ready_ns(t, t->cursor[d], d);
                if (t->ready[d] < 0 || may_join(t, t->cursor[d]))
                    break;
                set_alone(t, d);
                came_on = true;
            }
        }
    } while (came_on);
}

/* The device whose next pass can wait least; device_count where none is ready. */
static uint32_t most_urgent(const struct timing *t)
{
    uint32_t devices = t->order->device_count, urgent = devices;
    for (uint32_t d = 0; d < devices; d++) {
        uint64_t index = t->cursor[d];
        if (index < t->order->begin[d + 1] && t->ready[d] >= 0 &&
            (urgent == devices || t->late[index] < t->late[t->cursor[urgent]]))
            urgent = d;
    }
    return urgent;
}

/* Everybody whose next pass is of the kind and can start before the urgent one has to. */
static void set_wave(struct timing *t, uint32_t urgent)
{
    struct sp_waves *waves = t->waves;
    uint64_t first = t->cursor[urgent], count = waves->member_begin[waves->wave_count];
    int64_t start = 0;
    for (uint32_t d = 0; d < t->order->device_count; d++) {
        uint64_t index = t->cursor[d];
        if (index == t->order->begin[d + 1] || t->ready[d] < 0 || t->ready[d] > t->late[first] ||
            !may_join(t, index) || t->order->passes[index].kind != t->order->passes[first].kind)
            continue;
        waves->members[count++] = index;
        if (t->ready[d] > start)
            start = t->ready[d];
    }
    for (uint64_t k = waves->member_begin[waves->wave_count]; k < count; k++) {
        uint64_t index = waves->members[k];
        uint32_t device = t->device_of[index];
        waves->wave_of[index] = waves->wave_count;
        waves->next_wave[index] = waves->wave_count + 1;
        waves->number[index] = t->numbered++;
        set_times(t, device, start);
        t->ready[device] = -1;
    }
    waves->start_ns[waves->wave_count++] = start;
    waves->member_begin[waves->wave_count] = count;
}

static void time_waves(struct timing *t)
{
    uint32_t devices = t->order->device_count, urgent;
    rewind_all(t);
    for (uint32_t d = 0; d < devices; d++)
        t->ready[d] = -1;
    for (;;) {
        set_all_alone(t);
        urgent = most_urgent(t);
        if (urgent == devices)
            return;
        set_wave(t, urgent);
    }
}

/* --- Storage ----------------------------------------------------------------------------------------- */

static bool create_workspace(struct timing *t, struct sp_arena *arena)
{
    uint32_t devices = t->order->device_count;
    t->table = sp_pass_table_create(t->plan, arena);
    t->device_of = sp_arena_alloc(arena, t->pass_count, sizeof(*t->device_of));
    t->cursor = sp_arena_alloc(arena, devices, sizeof(*t->cursor));
    t->free_ns = sp_arena_alloc(arena, devices, sizeof(*t->free_ns));
    t->ready = sp_arena_alloc(arena, devices, sizeof(*t->ready));
    t->late = sp_arena_alloc(arena, t->pass_count, sizeof(*t->late));
    t->sequence = sp_arena_alloc(arena, t->pass_count, sizeof(*t->sequence));
    if (!t->table || !t->device_of || !t->cursor || !t->free_ns || !t->ready || !t->late || !t->sequence)
        return false;
    for (uint32_t d = 0; d < devices; d++)
        for (uint64_t i = t->order->begin[d]; i < t->order->begin[d + 1]; i++)
            t->device_of[i] = (uint16_t)d;
    return list_needs(t, arena);
}

static bool create_waves(struct timing *t, struct sp_arena *arena)
{
    struct sp_waves *waves = t->waves;
    waves->member_begin = sp_arena_alloc(arena, t->pass_count + 1, sizeof(*waves->member_begin));
    waves->members = sp_arena_alloc(arena, t->pass_count, sizeof(*waves->members));
    waves->start_ns = sp_arena_alloc(arena, t->pass_count, sizeof(*waves->start_ns));
    waves->wave_of = sp_arena_alloc(arena, t->pass_count, sizeof(*waves->wave_of));
    waves->next_wave = sp_arena_alloc(arena, t->pass_count, sizeof(*waves->next_wave));
    waves->number = sp_arena_alloc(arena, t->pass_count, sizeof(*waves->number));
    waves->pass_start_ns = t->start = sp_arena_alloc(arena, t->pass_count, sizeof(*t->start));
    waves->pass_end_ns = t->end = sp_arena_alloc(arena, t->pass_count, sizeof(*t->end));
    return waves->member_begin && waves->members && waves->start_ns && waves->wave_of && waves->next_wave &&
           waves->number && t->start && t->end;
}

enum sp_status sp_waves_find(const struct sp_plan *plan, const struct sp_cost *cost, struct sp_arena *arena,
                             struct sp_waves *ret_waves, struct sp_error *error)
{
    struct sp_waves waves = {0};
    struct sp_arena *scratch = sp_arena_create();
    struct timing t = {.plan = plan,
                       .order = &plan->order,
                       .pass_count = plan->order.begin[plan->order.device_count],
                       .waves = &waves};
    enum sp_status status = SP_OK;
    if (!scratch || !create_workspace(&t, scratch) || !create_waves(&t, arena)) {
        status = sp_error_set(error, SP_MEMORY, "no memory for the waves of %llu passes",
                              (unsigned long long)t.pass_count);
        goto out;
    }
    mean_times(&t, cost);
    if (!time_early(&t)) {
        status = sp_error_set(error, SP_INFEASIBLE, "the order of passes waits for itself");
        goto out;
    }
    time_late(&t);
    time_waves(&t);
    *ret_waves = waves;
out:
    sp_arena_destroy(scratch);
    return status;
}
