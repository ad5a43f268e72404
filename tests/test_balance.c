/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include "../planner/balance.h"
#include "../planner/balance_lp.h"
#include "slimpipe/arena.h"

enum { MOST_SEATS = 80 };

static const int64_t thorough = 100000;

static struct sp_balance balance(uint32_t count, const struct sp_seat *seats, int64_t nodes,
                                 struct sp_move *moves)
{
    struct sp_balance result;
    struct sp_error error = {0};
    cr_assert_eq(sp_balance_solve(count, seats, nodes, moves, &result, &error), SP_OK, "%s", error.message);
    return result;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static int64_t between(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(next_random(state) % (uint64_t)(high - low + 1));
}

/* What `taken[from][to]` makes of the wave. */
struct outcome {
    int64_t peak;
    uint32_t tiles, pairs;
};

static struct outcome measure(uint32_t count, const struct sp_seat *seats, uint32_t taken[4][4])
{
    struct outcome outcome = {0};
    for (uint32_t i = 0; i < count; i++) {
        int64_t load = seats[i].load_ps;
        uint32_t in = 0;
        for (uint32_t j = 0; j < count; j++) {
            load -= taken[i][j] * seats[i].give_ps;
            load += taken[j][i] * seats[j].guest_ps;
            in += taken[j][i];
            outcome.tiles += taken[i][j];
            outcome.pairs += taken[i][j] > 0;
        }
        if (in)
            load += seats[i].help_ps;
        uint32_t partners = 0;
        for (uint32_t j = 0; j < count; j++)
            partners += taken[i][j] > 0 || taken[j][i] > 0;
        if (in > seats[i].room || (seats[i].partners && partners > seats[i].partners))
            load = INT64_MAX;
        if (load > outcome.peak)
            outcome.peak = load;
    }
    return outcome;
}

static bool better(struct outcome a, struct outcome b)
{
    if (a.peak != b.peak)
        return a.peak < b.peak;
    if (a.tiles != b.tiles)
        return a.tiles < b.tiles;
    return a.pairs < b.pairs;
}

/* Tries every way to hand out every seat's tiles. */
static void try_all(uint32_t count, const struct sp_seat *seats, uint32_t taken[4][4], uint32_t pair,
                    uint32_t left, struct outcome *best)
{
    uint32_t i = pair / count, j = pair % count;
    if (pair == count * count) {
        struct outcome outcome = measure(count, seats, taken);
        if (better(outcome, *best))
            *best = outcome;
        return;
    }
    if (j == 0)
        left = seats[i].tiles;
    for (uint32_t tiles = 0; tiles <= (i == j ? 0 : left); tiles++) {
        taken[i][j] = tiles;
        try_all(count, seats, taken, pair + 1, left - tiles, best);
    }
    taken[i][j] = 0;
}

static struct outcome brute_force(uint32_t count, const struct sp_seat *seats)
{
    struct outcome best = {INT64_MAX, 0, 0};
    uint32_t taken[4][4] = {{0}};
    try_all(count, seats, taken, 0, 0, &best);
    return best;
}

static void random_wave(uint64_t *state, uint32_t count, bool uniform, bool helping, struct sp_seat *seats)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tiles = (uint32_t)between(state, 0, 3);
        int64_t give = uniform ? 1000 : between(state, 400, 1000);
        seats[i] = (struct sp_seat){
            .load_ps = between(state, 500, 900) + tiles * give,
            .give_ps = give,
            .guest_ps = uniform ? 1000 : give + between(state, 0, 200),
            .help_ps = helping ? between(state, 0, 700) : 0,
            .tiles = tiles,
            .room = helping ? (uint32_t)between(state, 0, 6) : UINT32_MAX,
        };
    }
}

/* Equal tiles: length, volume and partners are exactly those of trying everything. */
Test(balance, equal_tiles_equal_brute_force)
{
    uint64_t state = 1;
    for (int round = 0; round < 300; round++) {
        struct sp_seat seats[4];
        struct sp_move moves[16 * 8];
        uint32_t count = round % 3 ? 3 : 4;
        random_wave(&state, count, true, round % 2, seats);
        struct outcome best = brute_force(count, seats);
        struct sp_balance result = balance(count, seats, thorough, moves);
        cr_assert_eq(result.peak_ps, best.peak, "round %d: %ld, brute force %ld", round, (long)result.peak_ps,
                     (long)best.peak);
        cr_assert_eq(result.tiles, best.tiles, "round %d: %lu tiles, brute force %u", round,
                     (unsigned long)result.tiles, best.tiles);
        cr_assert_eq(result.partners, best.pairs, "round %d: %u pairs, brute force %u", round,
                     result.partners, best.pairs);
        cr_assert_leq(result.partners_bound, best.pairs);
    }
}

/* Unequal tiles: at most one tile longer. */
Test(balance, unequal_tiles_within_one_tile_of_brute_force)
{
    uint64_t state = 2;
    for (int round = 0; round < 300; round++) {
        struct sp_seat seats[4];
        struct sp_move moves[16 * 8];
        uint32_t count = round % 3 ? 3 : 4;
        int64_t tile = 0;
        random_wave(&state, count, false, round % 2, seats);
        for (uint32_t i = 0; i < count; i++)
            if (seats[i].tiles && seats[i].guest_ps > tile)
                tile = seats[i].guest_ps;
        struct outcome best = brute_force(count, seats);
        struct sp_balance result = balance(count, seats, thorough, moves);
        cr_assert_leq(result.peak_ps, best.peak + tile, "round %d: %ld, brute force %ld, tile %ld", round,
                      (long)result.peak_ps, (long)best.peak, (long)tile);
        cr_assert_leq(result.bound_ps, (double)best.peak + 1e-6);
        cr_assert_leq(result.tiles_bound, (double)result.tiles + 1e-6);
        cr_assert_leq(result.partners_bound, result.partners);
    }
}

/* Idle devices serve one pass only: where they have more time than it needs, that one helps on. */
Test(balance, single_partners_equal_brute_force)
{
    uint64_t state = 5;
    int in_turn = 0;
    for (int round = 0; round < 300; round++) {
        struct sp_seat seats[4];
        struct sp_move moves[16 * 8];
        uint32_t count = round % 3 ? 3 : 4, idle = 1 + (uint32_t)between(&state, 0, 1);
        random_wave(&state, count, true, false, seats);
        for (uint32_t i = 0; i < idle; i++)
            seats[i] =
                (struct sp_seat){.load_ps = between(&state, 300, 900), .room = UINT32_MAX, .partners = 1};
        struct outcome best = brute_force(count, seats);
        struct sp_balance result = balance(count, seats, thorough, moves);
        cr_assert_eq(result.peak_ps, best.peak, "round %d: %ld, brute force %ld", round, (long)result.peak_ps,
                     (long)best.peak);
        cr_assert_geq(result.tiles, best.tiles);
        for (uint32_t k = 0; k < result.move_count; k++)
            for (uint32_t l = 0; l < result.move_count; l++)
                in_turn += moves[k].from == moves[l].to;
    }
    cr_assert_gt(in_turn, 0, "no giver has helped on");
}

/* The moves give what the result says, and no device gives more than it has. */
static bool serves_one(uint32_t count, const struct sp_seat *seats)
{
    for (uint32_t i = 0; i < count; i++)
        if (seats[i].partners == 1)
            return true;
    return false;
}

static void check_moves(uint32_t count, const struct sp_seat *seats, const struct sp_move *moves,
                        const struct sp_balance *result)
{
    int64_t loads[MOST_SEATS];
    uint64_t given[MOST_SEATS] = {0}, taken[MOST_SEATS] = {0}, tiles = 0;
    int64_t peak = 0;
    for (uint32_t i = 0; i < count; i++)
        loads[i] = seats[i].load_ps;
    for (uint32_t k = 0; k < result->move_count; k++) {
        const struct sp_move *move = &moves[k];
        cr_assert(move->from < count && move->to < count && move->from != move->to && move->tiles > 0);
        loads[move->from] += seats[move->from].split_ps - move->tiles * seats[move->from].give_ps;
        loads[move->to] +=
            move->tiles * seats[move->from].guest_ps + (taken[move->to] ? 0 : seats[move->to].help_ps);
        given[move->from] += move->tiles;
        taken[move->to] += move->tiles;
        tiles += move->tiles;
    }
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_leq(given[i], seats[i].tiles);
        cr_assert_leq(taken[i], seats[i].room);
        cr_assert(!given[i] || !taken[i] || serves_one(count, seats), "seat %u gives and takes", i);
        if (loads[i] > peak)
            peak = loads[i];
    }
    cr_assert_eq(peak, result->peak_ps);
    cr_assert_eq(tiles, result->tiles);
    cr_assert_eq(result->partners, result->move_count);
}

/* SlimPipe's steady wave: p devices with 0 … p − 1 slices of past. */
static void steady_wave(uint32_t p, uint32_t tiles_per_slice, struct sp_seat *seats)
{
    for (uint32_t i = 0; i < p; i++)
        seats[i] = (struct sp_seat){.load_ps = 1000000 + (int64_t)(i * tiles_per_slice) * 500,
                                    .give_ps = 500,
                                    .guest_ps = 500,
                                    .tiles = i * tiles_per_slice,
                                    .room = UINT32_MAX};
}

Test(balance, steady_waves_are_level)
{
    for (uint32_t p = 2; p <= 64; p++) {
        struct sp_seat seats[MOST_SEATS];
        struct sp_move moves[16 * 64];
        steady_wave(p, 32, seats);
        struct sp_balance result = balance(p, seats, thorough, moves);
        check_moves(p, seats, moves, &result);
        cr_assert_eq(result.peak_ps, 1000000 + (int64_t)(p - 1) * 32 * 500 / 2, "p %u", p);
        cr_assert_float_eq(result.bound_ps, (double)result.peak_ps, 1e-3);
        cr_assert_float_eq(result.tiles_bound, (double)result.tiles, 1e-6);
        cr_assert_eq(result.partners, p / 2, "p %u: %u pairs", p, result.partners);
    }
}

/* GLPK's level and the one by water filling are the same number. */
Test(balance, glpk_agrees_with_water_filling)
{
    uint64_t state = 3;
    for (int round = 0; round < 200; round++) {
        struct sp_seat seats[32];
        bool helps[32];
        uint32_t count = (uint32_t)between(&state, 1, 32);
        random_wave(&state, count, round % 2, round % 3 == 0, seats);
        double level = sp_balance_level(count, seats), proven = 0;
        enum sp_lp_outcome outcome;
        struct sp_error error = {0};
        for (uint32_t i = 0; i < count; i++)
            helps[i] = seats[i].room && (double)(seats[i].load_ps + seats[i].help_ps) < level;
        cr_assert_eq(sp_balance_lp_level(count, seats, helps, &proven, &outcome, &error), SP_OK);
        cr_assert_eq(outcome, SP_LP_OPTIMAL);
        cr_assert_float_eq(proven, level, 1e-6 * level, "round %d: %.9g, water filling %.9g", round, proven,
                           level);
    }
}

Test(balance, large_random_waves_hold)
{
    uint64_t state = 4;
    for (int round = 0; round < 60; round++) {
        struct sp_seat seats[MOST_SEATS];
        static struct sp_move moves[16 * MOST_SEATS];
        uint32_t count = (uint32_t)between(&state, 1, MOST_SEATS);
        int64_t tile = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t tiles = (uint32_t)between(&state, 0, 4000);
            int64_t give = round % 2 ? 77777 : between(&state, 50000, 60000);
            seats[i] = (struct sp_seat){.load_ps = between(&state, 1000000, 3000000) + tiles * give,
                                        .give_ps = give,
                                        .guest_ps = give,
                                        .split_ps = round % 4 ? 0 : 3 * give / 2,
                                        .tiles = tiles,
                                        .room = UINT32_MAX,
                                        .partners = round % 3 ? 0 : 3};
            if (give > tile)
                tile = give;
        }
        struct sp_balance result = balance(count, seats, 50, moves);
        check_moves(count, seats, moves, &result);
        if (round % 3 && round % 4)
            cr_assert_leq((double)result.peak_ps, result.bound_ps + (double)tile + 1);
        for (uint32_t i = 0; round % 3 == 0 && i < count; i++) {
            uint32_t partners = 0;
            for (uint32_t k = 0; k < result.move_count; k++)
                partners += moves[k].from == i || moves[k].to == i;
            cr_assert_leq(partners, 3);
        }
    }
}

/* A lone pass that every idle device helps. */
Test(balance, idle_devices_help)
{
    struct sp_seat seats[8];
    struct sp_move moves[16 * 8];
    for (uint32_t i = 0; i < 8; i++)
        seats[i] = (struct sp_seat){.load_ps = 1000, .room = UINT32_MAX};
    seats[7] = (struct sp_seat){
        .load_ps = 1000 + 80 * 100, .give_ps = 100, .guest_ps = 100, .tiles = 80, .room = UINT32_MAX};
    struct sp_balance result = balance(8, seats, thorough, moves);
    check_moves(8, seats, moves, &result);
    cr_assert_eq(result.peak_ps, 1000 + 10 * 100);
    cr_assert_eq(result.partners, 7);
    seats[7].partners = 3;
    result = balance(8, seats, thorough, moves);
    check_moves(8, seats, moves, &result);
    cr_assert_eq(result.peak_ps, 1000 + 20 * 100);
    cr_assert_eq(result.partners, 3);
}

/* The slower the messages, the less is moved; nothing where helping costs more than it gains. */
Test(balance, slow_messages_move_less)
{
    uint64_t last = UINT64_MAX;
    for (int64_t help = 0; help <= 40000; help += 5000) {
        struct sp_seat seats[4];
        struct sp_move moves[16 * 8];
        steady_wave(4, 20, seats);
        for (uint32_t i = 0; i < 4; i++)
            seats[i].help_ps = help;
        struct sp_balance result = balance(4, seats, thorough, moves);
        check_moves(4, seats, moves, &result);
        cr_assert_leq(result.tiles, last);
        cr_assert_leq(result.peak_ps, 1000000 + 3 * 20 * 500);
        last = result.tiles;
    }
    cr_assert_eq(last, 0);
}

Test(balance, nothing_to_do)
{
    struct sp_seat seats[2] = {{.load_ps = 5, .room = 1}, {.load_ps = 5, .room = 1}};
    struct sp_move moves[16 * 8];
    struct sp_balance result = balance(2, seats, thorough, moves);
    cr_assert_eq(result.move_count, 0);
    cr_assert_eq(result.peak_ps, 5);
    result = balance(0, seats, thorough, moves);
    cr_assert_eq(result.peak_ps, 0);
}

Test(balance, every_failed_allocation_is_reported)
{
    struct sp_seat seats[8];
    struct sp_move moves[16 * 8];
    steady_wave(8, 32, seats);
    for (int n = 0;; n++) {
        struct sp_balance result;
        struct sp_error error = {0};
        sp_alloc_fail_after(n);
        enum sp_status status = sp_balance_solve(8, seats, thorough, moves, &result, &error);
        sp_alloc_fail_after(-1);
        if (!status)
            break;
        cr_assert_eq(status, SP_MEMORY);
        cr_assert_lt(n, 200);
    }
}
