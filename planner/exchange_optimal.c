/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange of least length: every wave by itself, equal waves once (balance.h).
 *
 * A device without a pass in a wave helps too, where the timing shows that it has nothing to do: between the
 * pass before (SP_ANCHOR_AFTER) and the next one (SP_ANCHOR_BEFORE). Everything before that gap is timed
 * before the wave and everything behind it later, so no cycle arises. Parts at one place run one after the
 * other; hence each place serves one wave and one requester.
 */
#include "exchange.h"

const struct sp_exchange_settings sp_exchange_settings_default = {
    .partners = 8,
    .link_permille = 1000,
    .nodes = 50,
    .idle_helps = true,
};

/* The waves that use a gap between two passes of a device, by wave number. */
struct gap {
    uint32_t after, before; /* SP_NO_WAVE: free */
};

struct optimal {
    struct sp_plan *plan;
    const struct sp_exchange_settings *settings;
    struct sp_arena *arena;
    struct sp_cost *cost;
    struct sp_waves waves;
    struct sp_seating *seating;
    struct sp_exchange_parts *parts;
    struct sp_exchange_report report;

    uint64_t *next_pass; /* by device: its first pass that is timed after the wave at hand begins */
    struct gap *gaps;    /* by next pass plus device: the gap before that pass */
    struct sp_sitter *sitters;
    uint64_t *sitter_next; /* next_pass of each sitter */
    struct sp_wave_solver *solver;
};

static enum sp_status out_of_memory(struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "no memory for the optimal exchange");
}

/* --- Who may help ------------------------------------------------------------------------------------ */

static void restart(struct optimal *o)
{
    for (uint32_t d = 0; d < o->plan->order.device_count; d++)
        o->next_pass[d] = o->plan->order.begin[d];
}

/* Moves on to a wave; waves come in their order. */
static void reach_wave(struct optimal *o, uint32_t wave)
{
    const uint64_t *begin = o->plan->order.begin;
    for (uint32_t d = 0; d < o->plan->order.device_count; d++)
        while (o->next_pass[d] < begin[d + 1] && o->waves.next_wave[o->next_pass[d]] <= wave)
            o->next_pass[d]++;
}

static bool in_wave(const struct optimal *o, uint32_t device, uint32_t wave)
{
    uint64_t next = o->next_pass[device];
    return next < o->plan->order.begin[device + 1] && o->waves.wave_of[next] == wave;
}

/* Parts stand beside passes that run on one device and as themselves. */
static bool can_anchor(const struct optimal *o, uint32_t device, uint64_t index)
{
    const struct sp_order *order = &o->plan->order;
    if (index < order->begin[device] || index >= order->begin[device + 1])
        return false;
    const struct sp_pass *pass = &order->passes[index];
    bool joined = pass->joined || (index > order->begin[device] && order->passes[index - 1].joined);
    return !joined && (pass->kind == SP_PASS_F || pass->kind == SP_PASS_B || pass->kind == SP_PASS_I ||
                       pass->kind == SP_PASS_W || pass->kind == SP_PASS_R);
}

/* The device has nothing to do from the wave's beginning to its end. */
static bool is_idle(const struct optimal *o, uint32_t device, uint32_t wave)
{
    const struct sp_waves *waves = &o->waves;
    uint64_t next = o->next_pass[device], first = waves->members[waves->member_begin[wave]];
    int64_t end = waves->pass_end_ns[first];
    if (in_wave(o, device, wave))
        return false;
    if (next > o->plan->order.begin[device] && waves->pass_end_ns[next - 1] > waves->start_ns[wave])
        return false;
    return next == o->plan->order.begin[device + 1] || waves->pass_start_ns[next] >= end;
}

static struct gap *gap_of(const struct optimal *o, uint32_t device)
{
    return &o->gaps[o->next_pass[device] + device];
}

/* Past of all members, for which help is wanted. */
static int64_t past_work(const struct optimal *o, uint32_t wave)
{
    const struct sp_waves *waves = &o->waves;
    int64_t slices = 0;
    for (uint64_t k = waves->member_begin[wave]; k < waves->member_begin[wave + 1]; k++)
        slices += o->plan->order.passes[waves->members[k]].slice;
    int64_t count = (int64_t)(waves->member_begin[wave + 1] - waves->member_begin[wave]);
    return slices / count;
}

/*
 * Takes places in the gap for the two waves of most past: behind the pass before it for the earlier one,
 * before the next pass for the later one.
 */
static void offer_gap(struct optimal *o, uint32_t device, uint32_t wave)
{
    struct gap *gap = gap_of(o, device);
    bool has_after = o->next_pass[device] > 0 && can_anchor(o, device, o->next_pass[device] - 1);
    bool has_before = can_anchor(o, device, o->next_pass[device]);
    int64_t past = past_work(o, wave);
    if (has_after && gap->after == SP_NO_WAVE) {
        gap->after = wave;
    } else if (has_before && gap->before == SP_NO_WAVE) {
        gap->before = wave;
    } else if (has_before && has_after && past_work(o, gap->after) < past_work(o, gap->before)) {
        gap->after = gap->before;
        gap->before = wave;
    } else if (has_before && past_work(o, gap->before) < past) {
        gap->before = wave;
    } else if (!has_before && has_after && past_work(o, gap->after) < past) {
        gap->after = wave;
    }
}

static void fill_gaps(struct optimal *o)
{
    uint32_t devices = o->plan->order.device_count;
    restart(o);
    for (uint32_t w = 0; w < o->waves.wave_count; w++) {
        reach_wave(o, w);
        for (uint32_t d = 0; d < devices; d++)
            if (is_idle(o, d, w))
                offer_gap(o, d, w);
    }
}

/* --- One wave ---------------------------------------------------------------------------------------- */

static uint32_t seat_wave(struct optimal *o, uint32_t wave)
{
    uint32_t count = 0;
    for (uint32_t d = 0; d < o->plan->order.device_count; d++) {
        bool member = in_wave(o, d, wave);
        const struct gap *gap = gap_of(o, d);
        if (!member && (!o->settings->idle_helps || (gap->after != wave && gap->before != wave)))
            continue;
        o->sitter_next[count] = o->next_pass[d];
        o->sitters[count++] = (struct sp_sitter){.pass = member ? o->next_pass[d] : SP_NO_PASS, .device = d};
    }
    return count;
}

/* --- Its parts --------------------------------------------------------------------------------------- */

static void add_part(struct optimal *o, uint32_t wave, const struct sp_sitter *requester, uint32_t helper,
                     int64_t begin, int64_t end)
{
    const struct sp_sitter *sitter = &o->sitters[helper];
    uint64_t anchor = sitter->pass;
    enum sp_anchor where = SP_ANCHOR_DURING;
    if (anchor == SP_NO_PASS) {
        bool after = gap_of(o, sitter->device)->after == wave;
        anchor = o->sitter_next[helper] - (after ? 1 : 0);
        where = after ? SP_ANCHOR_AFTER : SP_ANCHOR_BEFORE;
    }
    sp_exchange_parts_add(o->parts, requester->pass, anchor, sitter->device, where, begin, end);
}

static void count_part(struct optimal *o, const struct sp_sitter *requester, int64_t tokens)
{
    const struct sp_pass *pass = &o->plan->order.passes[requester->pass];
    int64_t layers = o->plan->has_model ? o->plan->stages[pass->stage].layer_count : 1;
    struct sp_exchange_bytes bytes;
    sp_cost_exchange_bytes(o->cost, pass, tokens, &bytes);
    o->report.tokens += tokens * layers;
    o->report.early_bytes += bytes.early * layers;
}

/* A pass's oldest tokens go first; moves are by requester. */
static void add_parts(struct optimal *o, uint32_t wave, const struct sp_wave_moves *solved)
{
    int64_t tile = sp_seating_tile(o->seating), begin = 0;
    for (uint32_t k = 0; k < solved->balance.move_count; k++) {
        const struct sp_move *move = &solved->moves[k];
        if (k == 0 || move->from != solved->moves[k - 1].from)
            begin = 0;
        int64_t end = begin + move->tiles * tile;
        add_part(o, wave, &o->sitters[move->from], move->to, begin, end);
        count_part(o, &o->sitters[move->from], end - begin);
        begin = end;
    }
}

static void report_wave(struct optimal *o, uint32_t wave, const struct sp_wave_moves *solved)
{
    const struct sp_pass *pass = &o->plan->order.passes[o->waves.members[o->waves.member_begin[wave]]];
    double layers = o->plan->has_model ? o->plan->stages[pass->stage].layer_count : 1;
    o->report.length_ps += solved->balance.peak_ps;
    o->report.length_bound_ps += solved->balance.bound_ps;
    o->report.tokens_bound += solved->balance.tiles_bound * (double)sp_seating_tile(o->seating) * layers;
    o->report.partners += solved->balance.partners;
    o->report.partners_bound += solved->balance.partners_bound;
}

static enum sp_status balance_waves(struct optimal *o, struct sp_error *error)
{
    restart(o);
    for (uint32_t w = 0; w < o->waves.wave_count; w++) {
        const struct sp_wave_moves *solved;
        reach_wave(o, w);
        uint32_t count = seat_wave(o, w);
        enum sp_status status = sp_wave_solver_run(o->solver, o->sitters, count, &solved, error);
        if (status)
            return status;
        add_parts(o, w, solved);
        report_wave(o, w, solved);
    }
    o->report.waves = o->waves.wave_count;
    sp_wave_solver_count(o->solver, &o->report.solved, &o->report.rehearsed);
    return SP_OK;
}

static bool create_workspace(struct optimal *o)
{
    uint32_t devices = o->plan->order.device_count;
    uint64_t gaps = o->plan->order.begin[devices] + devices;
    o->next_pass = sp_arena_alloc(o->arena, devices, sizeof(*o->next_pass));
    o->gaps = sp_arena_alloc(o->arena, gaps, sizeof(*o->gaps));
    o->sitters = sp_arena_alloc(o->arena, devices, sizeof(*o->sitters));
    o->sitter_next = sp_arena_alloc(o->arena, devices, sizeof(*o->sitter_next));
    o->parts = sp_exchange_parts_create();
    for (uint64_t i = 0; o->gaps && i < gaps; i++)
        o->gaps[i] = (struct gap){SP_NO_WAVE, SP_NO_WAVE};
    return o->next_pass && o->gaps && o->sitters && o->sitter_next && o->parts;
}

enum sp_status sp_exchange_optimal_fill(struct sp_plan *plan, const struct sp_exchange_settings *settings,
                                        struct sp_exchange_report *report, struct sp_error *error)
{
    struct optimal o = {.plan = plan, .settings = settings, .arena = sp_arena_create()};
    enum sp_status status;
    if (!o.arena || !create_workspace(&o)) {
        status = out_of_memory(error);
        goto out;
    }
    if ((status = sp_cost_create(plan, &o.cost, error)) ||
        (status = sp_waves_find(plan, o.cost, o.arena, &o.waves, error)) ||
        (status = sp_seating_create(plan, o.cost, settings, o.arena, &o.seating, error)) ||
        (status = sp_wave_solver_create(plan, o.cost, settings, o.seating, o.arena, &o.solver, error)))
        goto out;
    if (settings->idle_helps)
        fill_gaps(&o);
    if ((status = balance_waves(&o, error)) ||
        (status = sp_exchange_parts_take(o.parts, "optimal", plan, error)))
        goto out;
    if (report)
        *report = o.report;
out:
    sp_wave_solver_finish(o.solver);
    sp_exchange_parts_destroy(o.parts);
    sp_cost_destroy(o.cost);
    sp_arena_destroy(o.arena);
    return status;
}
