/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With free messages and equal layers a wave is exactly what balance.h solves. Otherwise no sum of times says
 * how long it will last: a helper's guests wait for messages, and layers do not fall together. Then several
 * answers are rehearsed, which differ in how dear messages are taken to be, in the number of partners, and in
 * who may help whom, and the shortest is taken, none at all among them.
 */
#include <math.h>
#include <string.h>

#include "exchange.h"

/* What two waves have to share to be solved alike. Where messages are free, devices are all the same. */
struct key {
    int64_t fields[11];
};

/* A wave solved before, in the table. */
struct solved {
    uint64_t hash;
    uint32_t count;
    struct key *keys; /* by sitter */
    struct sp_wave_moves result;
};

struct sp_wave_solver {
    const struct sp_plan *plan;
    const struct sp_cost *cost;
    const struct sp_exchange_settings *settings;
    const struct sp_seating *seating;
    struct sp_arena *arena;
    struct sp_rehearsal *rehearsal;
    bool free_links; /* messages take no time */

    struct solved **table; /* open addressing */
    uint32_t table_size;   /* a power of two */
    uint32_t solved_count, rehearsed_count;

    /* Of the wave at hand, by sitter. */
    struct sp_sitter *sitters;
    uint32_t count;
    struct key *keys;
    struct sp_seat *seats;
    struct sp_move *moves; /* the best so far */
    struct sp_balance best;

    /* Of a group in it. */
    uint32_t *groups;  /* by sitter */
    uint32_t *members; /* sitters */
    struct sp_seat *member_seats;
    struct sp_move *trial, *group_moves;
};

static enum sp_status out_of_memory(struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "no memory to solve a wave");
}

/* Of a megabyte, to the neighbour and to the farthest. */
static bool links_are_free(const struct sp_wave_solver *solver)
{
    uint32_t last = solver->plan->order.device_count - 1;
    struct sp_transfer near = sp_cost_transfer(solver->cost, 0, last > 0 ? 1 : 0, 1 << 20);
    struct sp_transfer far = sp_cost_transfer(solver->cost, 0, last, 1 << 20);
    return solver->settings->link_permille == 0 ||
           near.busy_ns + near.latency_ns + far.busy_ns + far.latency_ns == 0;
}

enum sp_status sp_wave_solver_create(const struct sp_plan *plan, const struct sp_cost *cost,
                                     const struct sp_exchange_settings *settings,
                                     const struct sp_seating *seating, struct sp_arena *arena,
                                     struct sp_wave_solver **ret_solver, struct sp_error *error)
{
    uint32_t devices = plan->order.device_count;
    uint32_t room = sp_balance_move_room(devices);
    struct sp_wave_solver *s = sp_arena_alloc(arena, 1, sizeof(*s));
    if (!s)
        return out_of_memory(error);
    *s = (struct sp_wave_solver){
        .plan = plan, .cost = cost, .settings = settings, .seating = seating, .arena = arena};
    s->keys = sp_arena_alloc(arena, devices, sizeof(*s->keys));
    s->seats = sp_arena_alloc(arena, devices, sizeof(*s->seats));
    s->moves = sp_arena_alloc(arena, room, sizeof(*s->moves));
    s->groups = sp_arena_alloc(arena, devices, sizeof(*s->groups));
    s->members = sp_arena_alloc(arena, devices, sizeof(*s->members));
    s->member_seats = sp_arena_alloc(arena, devices, sizeof(*s->member_seats));
    s->trial = sp_arena_alloc(arena, room, sizeof(*s->trial));
    s->group_moves = sp_arena_alloc(arena, room, sizeof(*s->group_moves));
    if (!s->keys || !s->seats || !s->moves || !s->groups || !s->members || !s->member_seats || !s->trial ||
        !s->group_moves)
        return out_of_memory(error);
    s->rehearsal = sp_rehearsal_create(plan, cost, sp_seating_tile(seating));
    if (!s->rehearsal)
        return out_of_memory(error);
    s->free_links = links_are_free(s);
    *ret_solver = s;
    return SP_OK;
}

void sp_wave_solver_finish(struct sp_wave_solver *solver)
{
    if (solver)
        sp_rehearsal_destroy(solver->rehearsal);
}

void sp_wave_solver_count(const struct sp_wave_solver *solver, uint32_t *ret_solved, uint32_t *ret_rehearsed)
{
    *ret_solved = solver->solved_count;
    *ret_rehearsed = solver->rehearsed_count;
}

/* --- The table --------------------------------------------------------------------------------------- */

static struct key key_of(const struct sp_wave_solver *s, uint32_t i)
{
    const struct sp_seat *seat = &s->seats[i];
    const struct sp_sitter *sitter = &s->sitters[i];
    return (struct key){{seat->load_ps, seat->give_ps, seat->guest_ps, seat->help_ps, seat->split_ps,
                         seat->tiles, seat->room, seat->partners, sitter->layer.layers, sitter->layer.past,
                         s->free_links ? 0 : sitter->device}};
}

static uint64_t hash_keys(const struct key *keys, uint32_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < count; i++)
        for (unsigned k = 0; k < sizeof(keys->fields) / sizeof(*keys->fields); k++)
            hash = ((hash ^ (uint64_t)keys[i].fields[k]) * UINT64_C(0x9e3779b97f4a7c15)) ^ hash >> 29;
    return hash;
}

static bool grow_table(struct sp_wave_solver *s)
{
    uint32_t size = s->table_size ? s->table_size * 2 : 256;
    struct solved **table = sp_arena_alloc(s->arena, size, sizeof(struct solved *));
    if (!table)
        return false;
    for (uint32_t i = 0; i < s->table_size; i++) {
        if (!s->table[i])
            continue;
        uint32_t at = (uint32_t)(s->table[i]->hash & (size - 1));
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = s->table[i];
    }
    s->table = table;
    s->table_size = size;
    return true;
}

/* The place of the wave in the table: what was solved before, or free. */
static struct solved **look_up(struct sp_wave_solver *s, uint64_t hash)
{
    uint32_t at = (uint32_t)(hash & (s->table_size - 1));
    while (s->table[at] && (s->table[at]->hash != hash || s->table[at]->count != s->count ||
                            memcmp(s->table[at]->keys, s->keys, s->count * sizeof(*s->keys)) != 0))
        at = (at + 1) & (s->table_size - 1);
    return &s->table[at];
}

static enum sp_status keep(struct sp_wave_solver *s, uint64_t hash, struct solved **place,
                           struct sp_error *error)
{
    struct solved *solved = sp_arena_alloc(s->arena, 1, sizeof(*solved));
    struct key *keys = sp_arena_alloc(s->arena, s->count, sizeof(*keys));
    struct sp_move *moves = sp_arena_alloc(s->arena, s->best.move_count + 1u, sizeof(*moves));
    if (!solved || !keys || !moves)
        return out_of_memory(error);
    memcpy(keys, s->keys, s->count * sizeof(*keys));
    memcpy(moves, s->moves, s->best.move_count * sizeof(*moves));
    *solved = (struct solved){hash, s->count, keys, {moves, s->best}};
    *place = solved;
    s->solved_count++;
    return SP_OK;
}

/* --- Rehearsed answers ------------------------------------------------------------------------------- */

/* Takes the moves in s->trial if they last less than the best so far. */
static enum sp_status rehearse(struct sp_wave_solver *s, const struct sp_balance *trial,
                               struct sp_error *error)
{
    double length;
    enum sp_status status =
        sp_rehearsal_run(s->rehearsal, s->sitters, s->count, s->trial, trial->move_count, &length, error);
    if (status)
        return status;
    int64_t length_ps = length < 9e15 ? llround(length * 1000) : INT64_MAX;
    if (length_ps > s->best.peak_ps || (length_ps == s->best.peak_ps && trial->tiles >= s->best.tiles))
        return SP_OK;
    s->best.peak_ps = length_ps;
    s->best.tiles = trial->tiles;
    s->best.partners = s->best.move_count = trial->move_count;
    memcpy(s->moves, s->trial, trial->move_count * sizeof(*s->moves));
    return SP_OK;
}

/* One group by itself; its moves are appended to the trial. */
static enum sp_status solve_group(struct sp_wave_solver *s, uint32_t group, struct sp_balance *trial,
                                  struct sp_error *error)
{
    struct sp_balance balance;
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->groups[i] != group)
            continue;
        s->member_seats[count] = s->seats[i];
        s->members[count++] = i;
    }
    enum sp_status status = sp_balance_estimate(count, s->member_seats, s->group_moves, &balance, error);
    if (status)
        return status;
    for (uint32_t k = 0; k < balance.move_count; k++) {
        const struct sp_move *move = &s->group_moves[k];
        s->trial[trial->move_count++] =
            (struct sp_move){s->members[move->from], s->members[move->to], move->tiles};
    }
    trial->tiles += balance.tiles;
    return SP_OK;
}

static enum sp_status try_groups(struct sp_wave_solver *s, int64_t link_permille, uint32_t partners,
                                 struct sp_error *error)
{
    struct sp_balance trial = {0};
    uint32_t limit =
        s->settings->partners && s->settings->partners < partners ? s->settings->partners : partners;
    sp_seating_fill(s->seating, s->sitters, s->count, link_permille, s->seats);
    for (uint32_t i = 0; i < s->count; i++)
        if (!s->seats[i].partners || s->seats[i].partners > limit)
            s->seats[i].partners = limit;
    for (uint32_t i = 0; i < s->count; i++) {
        /* Groups are numbered by their first member. */
        if (s->groups[i] != i)
            continue;
        enum sp_status status = solve_group(s, i, &trial, error);
        if (status)
            return status;
    }
    return rehearse(s, &trial, error);
}

/* Idle devices have the layers of whom they help. */
static bool same_layers(const struct sp_sitter *a, const struct sp_sitter *b)
{
    return a->layer.layers == b->layer.layers || a->pass == SP_NO_PASS || b->pass == SP_NO_PASS;
}

static bool same_node(const struct sp_wave_solver *s, const struct sp_sitter *a, const struct sp_sitter *b)
{
    return sp_cost_transfer(s->cost, a->device, b->device, 1).same_node != 0;
}

/* Who may help whom: those of one node, of one number of layers. Returns how many groups there are. */
static uint32_t form_groups(struct sp_wave_solver *s, bool by_node, bool by_layers)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t j = 0;
        while (j < i && (s->groups[j] != j || (by_node && !same_node(s, &s->sitters[i], &s->sitters[j])) ||
                         (by_layers && !same_layers(&s->sitters[i], &s->sitters[j]))))
            j++;
        s->groups[i] = j;
        count += i == j;
    }
    return count;
}

static enum sp_status try_all(struct sp_wave_solver *s, struct sp_error *error)
{
    static const int64_t dearness[] = {1000, 2000, 4000};
    static const uint32_t partners[] = {UINT32_MAX, 2, 1};
    struct sp_balance nothing = {0};
    enum sp_status status;
    s->best.peak_ps = INT64_MAX;
    s->rehearsed_count++;
    if ((status = rehearse(s, &nothing, error)))
        return status;
    int64_t alone_ps = s->best.peak_ps;
    for (int grouping = 0; grouping < 4; grouping++) {
        uint32_t groups = form_groups(s, grouping & 1, grouping >> 1 & 1);
        if (groups == s->count || (groups == 1 && grouping > 0))
            continue;
        for (int d = 0; d < (s->free_links ? 1 : 3); d++)
            for (int k = 0; k < 3; k++)
                if ((status =
                         try_groups(s, dearness[d] * s->settings->link_permille / 1000, partners[k], error)))
                    return status;
    }
    if (alone_ps - s->best.peak_ps < alone_ps / 1000 * s->settings->gain_permille) {
        s->best.peak_ps = alone_ps;
        s->best.tiles = 0;
        s->best.partners = s->best.move_count = 0;
    }
    return SP_OK;
}

static bool all_same_layers(const struct sp_wave_solver *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (!same_layers(&s->sitters[i], &s->sitters[j]))
                return false;
    return true;
}

enum sp_status sp_wave_solver_run(struct sp_wave_solver *solver, struct sp_sitter *sitters, uint32_t count,
                                  const struct sp_wave_moves **ret_moves, struct sp_error *error)
{
    struct sp_wave_solver *s = solver;
    s->sitters = sitters;
    s->count = count;
    sp_seating_measure(s->seating, sitters, count);
    sp_seating_fill(s->seating, sitters, count, 0, s->seats);
    for (uint32_t i = 0; i < count; i++)
        s->keys[i] = key_of(s, i);
    if (s->solved_count * 2 >= s->table_size && !grow_table(s))
        return out_of_memory(error);
    uint64_t hash = hash_keys(s->keys, count);
    struct solved **place = look_up(s, hash);
    if (!*place) {
        enum sp_status status =
            sp_balance_solve(count, s->seats, s->settings->nodes, s->moves, &s->best, error);
        if (!status && (!s->free_links || !all_same_layers(s)))
            status = try_all(s, error);
        if (!status)
            status = keep(s, hash, place, error);
        if (status)
            return status;
    }
    *ret_moves = &(*place)->result;
    return SP_OK;
}
