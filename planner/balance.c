/* SPDX-License-Identifier: Apache-2.0 */
#include "balance.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "balance_lp.h"
#include "slimpipe/arena.h"

uint32_t sp_balance_move_room(uint32_t count)
{
    return count * count / 4 + 1;
}

/* Longest tile of the wave: what the step to whole tiles may cost. */
static int64_t longest_tile(uint32_t count, const struct sp_seat *seats)
{
    int64_t longest = 1;
    for (uint32_t i = 0; i < count; i++) {
        if (!seats[i].tiles)
            continue;
        if (seats[i].guest_ps > longest)
            longest = seats[i].guest_ps;
        if (seats[i].give_ps > longest)
            longest = seats[i].give_ps;
    }
    return longest;
}

static int64_t largest_load(uint32_t count, const struct sp_seat *seats)
{
    int64_t largest = 0;
    for (uint32_t i = 0; i < count; i++)
        if (seats[i].load_ps > largest)
            largest = seats[i].load_ps;
    return largest;
}

/* Whether all work above the level finds room below it. */
static bool level_holds(uint32_t count, const struct sp_seat *seats, double level)
{
    double above = 0, below = 0, longest = (double)longest_tile(count, seats);
    for (uint32_t i = 0; i < count; i++) {
        const struct sp_seat *seat = &seats[i];
        double over = (double)seat->load_ps - level;
        if (over > 0) {
            if (over > (double)seat->give_ps * seat->tiles)
                return false;
            above += over / (double)seat->give_ps * (double)seat->guest_ps;
        } else {
            double free = -over - (double)seat->help_ps;
            below += fmax(0, fmin(free, longest * seat->room));
        }
    }
    return above <= below;
}

double sp_balance_level(uint32_t count, const struct sp_seat *seats)
{
    double high = (double)largest_load(count, seats), low = 0;
    for (int step = 0; step < 100 && low < high; step++) {
        double middle = low + (high - low) / 2;
        if (level_holds(count, seats, middle))
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* Tiles that the seat must give so that its load is at most the level; UINT32_MAX: more than it has. */
static uint32_t tiles_above(const struct sp_seat *seat, int64_t level)
{
    if (seat->load_ps <= level)
        return 0;
    if (!seat->tiles)
        return UINT32_MAX;
    int64_t tiles = (seat->load_ps + seat->split_ps - level + seat->give_ps - 1) / seat->give_ps;
    return tiles > seat->tiles ? UINT32_MAX : (uint32_t)tiles;
}

/* One wave's workspace. givers and helpers as at the level last tried. */
struct wave {
    uint32_t count;
    const struct sp_seat *seats;
    bool proven; /* GLPK is asked */
    uint32_t giver_count, helper_count, move_count;
    struct sp_partner_seat *givers, *helpers;
    struct sp_move *moves;
    uint32_t *partners; /* by helper */
    bool *helps;        /* by seat */
};

/* Larger first, so that the small ones fill what is left. */
static int compare_seats(const void *a, const void *b)
{
    const struct sp_partner_seat *s = a, *t = b;
    if (s->tiles != t->tiles)
        return s->tiles > t->tiles ? -1 : 1;
    return (s->seat > t->seat) - (s->seat < t->seat);
}

/* Who has to give and who can help at this level; false where somebody stays above it. */
static bool sort_seats(struct wave *wave, int64_t level)
{
    wave->giver_count = wave->helper_count = 0;
    for (uint32_t i = 0; i < wave->count; i++) {
        const struct sp_seat *seat = &wave->seats[i];
        uint32_t tiles = tiles_above(seat, level);
        if (tiles == UINT32_MAX)
            return false;
        if (tiles)
            wave->givers[wave->giver_count++] = (struct sp_partner_seat){i, tiles, 0, seat->guest_ps};
        else if (seat->room && seat->load_ps + seat->help_ps < level)
            wave->helpers[wave->helper_count++] =
                (struct sp_partner_seat){i, seat->room, 0, level - seat->load_ps - seat->help_ps};
    }
    qsort(wave->givers, wave->giver_count, sizeof(*wave->givers), compare_seats);
    return true;
}

/* The helper with the least room that takes all; where none does, the one that takes most. */
static uint32_t best_helper(const struct wave *wave, uint32_t tiles, int64_t guest_ps, uint32_t *ret_takes)
{
    uint32_t best = 0, best_takes = 0;
    for (uint32_t j = 0; j < wave->helper_count; j++) {
        const struct sp_partner_seat *helper = &wave->helpers[j];
        uint32_t most = wave->seats[helper->seat].partners;
        if (most && wave->partners[j] >= most)
            continue;
        int64_t fit = helper->time_ps / guest_ps;
        uint32_t takes = fit < helper->tiles ? (uint32_t)fit : helper->tiles;
        if (best_takes >= tiles ? takes >= tiles && takes < best_takes : takes > best_takes) {
            best = j;
            best_takes = takes;
        }
    }
    *ret_takes = best_takes < tiles ? best_takes : tiles;
    return best;
}

/* Each further partner costs the giver a merge, which it has to give away too. */
static bool place_giver(struct wave *wave, const struct sp_partner_seat *giver)
{
    const struct sp_seat *seat = &wave->seats[giver->seat];
    uint32_t left = giver->tiles, given = 0, partners = 0;
    uint32_t merge = (uint32_t)((seat->split_ps + seat->give_ps - 1) / seat->give_ps);
    while (left) {
        uint32_t takes, j = best_helper(wave, left, giver->time_ps, &takes);
        if (!takes || (seat->partners && partners == seat->partners))
            return false;
        struct sp_partner_seat *helper = &wave->helpers[j];
        helper->time_ps -= takes * giver->time_ps;
        helper->tiles -= takes;
        wave->partners[j]++;
        partners++;
        given += takes;
        left -= takes;
        if (left)
            left += merge;
        if (given + left > seat->tiles)
            return false;
        wave->moves[wave->move_count++] = (struct sp_move){giver->seat, helper->seat, takes};
    }
    return true;
}

/* Places all that is above the level, largest first; false where it finds no place. */
static bool place(struct wave *wave, int64_t level)
{
    wave->move_count = 0;
    if (!sort_seats(wave, level))
        return false;
    for (uint32_t j = 0; j < wave->helper_count; j++)
        wave->partners[j] = 0;
    for (uint32_t i = 0; i < wave->giver_count; i++)
        if (!place_giver(wave, &wave->givers[i]))
            return false;
    return true;
}

/* The least level at which everything finds a place; without limits at most one tile above the bound. */
static int64_t whole_level(struct wave *wave, double bound)
{
    int64_t high = largest_load(wave->count, wave->seats);
    int64_t low = (int64_t)floor(bound * (1 - 1e-12)) - 1;
    int64_t near = (int64_t)ceil(bound) + longest_tile(wave->count, wave->seats);
    if (near < high && place(wave, near))
        high = near;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (place(wave, middle))
            high = middle;
        else
            low = middle;
    }
    return high;
}

static int compare_times(const void *a, const void *b)
{
    const struct sp_partner_seat *s = a, *t = b;
    return (s->time_ps < t->time_ps) - (s->time_ps > t->time_ps);
}

/* Fewest pairs by counting: each giver has one, and the helpers with most room have to hold all. */
static uint32_t count_partners(struct wave *wave, int64_t level)
{
    int64_t work = 0;
    uint32_t helpers = 0;
    sort_seats(wave, level);
    for (uint32_t i = 0; i < wave->giver_count; i++)
        work += wave->givers[i].tiles * wave->givers[i].time_ps;
    qsort(wave->helpers, wave->helper_count, sizeof(*wave->helpers), compare_times);
    while (helpers < wave->helper_count && work > 0)
        work -= wave->helpers[helpers++].time_ps;
    return helpers > wave->giver_count ? helpers : wave->giver_count;
}

/* Pairs above which GLPK's search takes longer than it is worth. */
enum { MOST_PAIRS = 64 };

/* Looks for fewer partners with the same level and volume. */
static enum sp_status drop_partners(struct wave *wave, int64_t level, int64_t nodes, uint32_t *ret_bound,
                                    struct sp_error *error)
{
    struct sp_move moves[MOST_PAIRS];
    uint32_t count = 0, bound = 0;
    enum sp_lp_outcome outcome;
    *ret_bound = count_partners(wave, level);
    if (wave->move_count <= *ret_bound || !nodes || wave->giver_count * wave->helper_count > MOST_PAIRS)
        return SP_OK;
    for (uint32_t i = 0; i < wave->giver_count; i++) {
        const struct sp_seat *seat = &wave->seats[wave->givers[i].seat];
        if (seat->split_ps > 0) /* the tiles to give depend on the partners */
            return SP_OK;
        wave->givers[i].partners = seat->partners;
    }
    for (uint32_t j = 0; j < wave->helper_count; j++)
        wave->helpers[j].partners = wave->seats[wave->helpers[j].seat].partners;
    struct sp_partner_model model = {wave->giver_count, wave->helper_count, wave->givers, wave->helpers,
                                     nodes};
    struct sp_error unused;
    enum sp_status status = sp_balance_lp_partners(&model, moves, &count, &bound, &outcome, &unused);
    if (status == SP_MEMORY)
        return sp_error_set(error, status, "%s", unused.message);
    if (status)
        return SP_OK;
    if (bound > *ret_bound)
        *ret_bound = bound;
    if ((outcome == SP_LP_OPTIMAL || outcome == SP_LP_FEASIBLE) && count < wave->move_count) {
        for (uint32_t i = 0; i < count; i++)
            wave->moves[i] = moves[i];
        wave->move_count = count;
    }
    return SP_OK;
}

static int compare_moves(const void *a, const void *b)
{
    const struct sp_move *s = a, *t = b;
    if (s->from != t->from)
        return s->from < t->from ? -1 : 1;
    return (s->to > t->to) - (s->to < t->to);
}

/* GLPK's answer, or ours where it has none. */
static enum sp_status linear_level(const struct wave *wave, double *ret_level, struct sp_error *error)
{
    double level = sp_balance_level(wave->count, wave->seats), proven = level;
    enum sp_lp_outcome outcome = SP_LP_UNKNOWN;
    enum sp_status status = SP_OK;
    struct sp_error unused;
    for (uint32_t i = 0; i < wave->count; i++) {
        const struct sp_seat *seat = &wave->seats[i];
        wave->helps[i] = seat->room && (double)(seat->load_ps + seat->help_ps) < level;
    }
    if (wave->proven)
        status = sp_balance_lp_level(wave->count, wave->seats, wave->helps, &proven, &outcome, &unused);
    if (status == SP_MEMORY)
        return sp_error_set(error, status, "%s", unused.message);
    *ret_level = !status && outcome == SP_LP_OPTIMAL ? proven : level;
    return SP_OK;
}

/* The same for the volume. */
static enum sp_status linear_tiles(const struct wave *wave, int64_t level, double *ret_tiles,
                                   struct sp_error *error)
{
    double tiles = 0, proven = 0;
    enum sp_lp_outcome outcome = SP_LP_UNKNOWN;
    enum sp_status status = SP_OK;
    struct sp_error unused;
    for (uint32_t i = 0; i < wave->count; i++) {
        const struct sp_seat *seat = &wave->seats[i];
        wave->helps[i] = seat->room && seat->load_ps + seat->help_ps < level;
        if (seat->load_ps > level)
            tiles += (double)(seat->load_ps - level) / (double)seat->give_ps;
    }
    if (wave->proven)
        status =
            sp_balance_lp_tiles(wave->count, wave->seats, wave->helps, level, &proven, &outcome, &unused);
    if (status == SP_MEMORY)
        return sp_error_set(error, status, "%s", unused.message);
    *ret_tiles = !status && outcome == SP_LP_OPTIMAL ? proven : tiles;
    return SP_OK;
}

/* The largest load after the moves. */
static int64_t moved_peak(const struct wave *wave)
{
    int64_t peak = 0;
    for (uint32_t i = 0; i < wave->count; i++) {
        int64_t load = wave->seats[i].load_ps, help = 0;
        for (uint32_t k = 0; k < wave->move_count; k++) {
            const struct sp_move *move = &wave->moves[k];
            if (move->from == i)
                load += wave->seats[i].split_ps - move->tiles * wave->seats[i].give_ps;
            if (move->to == i) {
                load += move->tiles * wave->seats[move->from].guest_ps;
                help = wave->seats[i].help_ps;
            }
        }
        if (load + help > peak)
            peak = load + help;
    }
    return peak;
}

static enum sp_status solve(struct wave *wave, int64_t nodes, struct sp_balance *balance,
                            struct sp_error *error)
{
    enum sp_status status = linear_level(wave, &balance->bound_ps, error);
    if (status)
        return status;
    int64_t level = whole_level(wave, balance->bound_ps);
    bool placed = place(wave, level);
    assert(placed);
    (void)placed;
    status = linear_tiles(wave, level, &balance->tiles_bound, error);
    if (!status)
        status = drop_partners(wave, level, nodes, &balance->partners_bound, error);
    if (status)
        return status;
    qsort(wave->moves, wave->move_count, sizeof(*wave->moves), compare_moves);
    balance->peak_ps = moved_peak(wave);
    balance->move_count = balance->partners = wave->move_count;
    for (uint32_t k = 0; k < wave->move_count; k++)
        balance->tiles += wave->moves[k].tiles;
    return SP_OK;
}

static enum sp_status solve_wave(struct wave *wave, int64_t nodes, struct sp_balance *ret_balance,
                                 struct sp_error *error)
{
    struct sp_balance balance = {0};
    enum sp_status status;
    wave->givers = sp_alloc(wave->count, sizeof(*wave->givers));
    wave->helpers = sp_alloc(wave->count, sizeof(*wave->helpers));
    wave->partners = sp_alloc(wave->count, sizeof(*wave->partners));
    wave->helps = sp_alloc(wave->count, sizeof(*wave->helps));
    if (wave->givers && wave->helpers && wave->partners && wave->helps)
        status = solve(wave, nodes, &balance, error);
    else
        status = sp_error_set(error, SP_MEMORY, "no memory to balance a wave of %u devices", wave->count);
    sp_free(wave->givers);
    sp_free(wave->helpers);
    sp_free(wave->partners);
    sp_free(wave->helps);
    if (!status)
        *ret_balance = balance;
    return status;
}

enum sp_status sp_balance_solve(uint32_t count, const struct sp_seat *seats, int64_t nodes,
                                struct sp_move *ret_moves, struct sp_balance *ret_balance,
                                struct sp_error *error)
{
    struct wave wave = {.count = count, .seats = seats, .proven = true, .moves = ret_moves};
    return solve_wave(&wave, nodes, ret_balance, error);
}

enum sp_status sp_balance_estimate(uint32_t count, const struct sp_seat *seats, struct sp_move *ret_moves,
                                   struct sp_balance *ret_balance, struct sp_error *error)
{
    struct wave wave = {.count = count, .seats = seats, .proven = false, .moves = ret_moves};
    return solve_wave(&wave, 0, ret_balance, error);
}
