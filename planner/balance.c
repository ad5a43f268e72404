/* SPDX-License-Identifier: Apache-2.0 */
#include "balance.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "balance_lp.h"
#include "slimpipe/arena.h"

/* Every move but a giver's last fills a helper up, for tiles of one length; there are few lengths. */
uint32_t sp_balance_move_room(uint32_t count)
{
    return 16 * count;
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
    bool proven;     /* GLPK is asked */
    bool has_single; /* somebody helps one partner only */
    uint32_t giver_count, helper_count, move_count;
    struct sp_partner_seat *givers, *helpers;
    struct sp_move *moves;
    uint32_t *partners; /* by seat: so far */
    bool *helps;        /* by seat */
    uint32_t *given;    /* by giver, see struct relief */
    int64_t *needed;
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

static bool may_pair(const struct wave *wave, uint32_t seat)
{
    uint32_t most = wave->seats[seat].partners;
    return !most || wave->partners[seat] < most;
}

static uint32_t fitting_tiles(const struct sp_partner_seat *helper, int64_t guest_ps)
{
    int64_t fit = helper->time_ps / guest_ps;
    return fit < helper->tiles ? (uint32_t)fit : helper->tiles;
}

static bool add_move(struct wave *wave, const struct sp_partner_seat *giver, struct sp_partner_seat *helper,
                     uint32_t tiles)
{
    if (wave->move_count == sp_balance_move_room(wave->count))
        return false;
    wave->moves[wave->move_count++] = (struct sp_move){giver->seat, helper->seat, tiles};
    wave->partners[giver->seat]++;
    wave->partners[helper->seat]++;
    helper->time_ps -= tiles * giver->time_ps;
    helper->tiles -= tiles;
    return true;
}

/* Tiles that pay for merging one more result. */
static uint32_t merge_tiles(const struct sp_seat *seat)
{
    return (uint32_t)((seat->split_ps + seat->give_ps - 1) / seat->give_ps);
}

/* The helper with the least room that takes all; where none does, the one that takes most. */
static uint32_t best_helper(const struct wave *wave, uint32_t tiles, int64_t guest_ps, uint32_t *ret_takes)
{
    uint32_t best = 0, best_takes = 0;
    for (uint32_t j = 0; j < wave->helper_count; j++) {
        if (!may_pair(wave, wave->helpers[j].seat))
            continue;
        uint32_t takes = fitting_tiles(&wave->helpers[j], guest_ps);
        if (best_takes >= tiles ? takes >= tiles && takes < best_takes : takes > best_takes) {
            best = j;
            best_takes = takes;
        }
    }
    *ret_takes = best_takes < tiles ? best_takes : tiles;
    return best;
}

/* Places `left` tiles more. Each further partner costs the giver a merge, which it has to give away too. */
static bool place_giver(struct wave *wave, const struct sp_partner_seat *giver, uint32_t given, uint32_t left)
{
    const struct sp_seat *seat = &wave->seats[giver->seat];
    while (left) {
        uint32_t takes, j = best_helper(wave, left, giver->time_ps, &takes);
        if (!takes || !may_pair(wave, giver->seat) || !add_move(wave, giver, &wave->helpers[j], takes))
            return false;
        given += takes;
        left -= takes;
        if (left)
            left += merge_tiles(seat);
        if (given + left > seat->tiles)
            return false;
    }
    return true;
}

static bool begin_placing(struct wave *wave, int64_t level)
{
    wave->move_count = 0;
    for (uint32_t i = 0; i < wave->count; i++)
        wave->partners[i] = 0;
    return sort_seats(wave, level);
}

/* Places all that is above the level, largest first; false where it finds no place. */
static bool place_directly(struct wave *wave, int64_t level)
{
    if (!begin_placing(wave, level))
        return false;
    for (uint32_t i = 0; i < wave->giver_count; i++)
        if (!place_giver(wave, &wave->givers[i], 0, wave->givers[i].tiles))
            return false;
    return true;
}

/* --- Helpers with one partner ------------------------------------------------------------------------ */

/*
 * A helper that serves one giver only may have more time than that one needs: then it takes more, and the
 * giver helps others in turn. `given` and `needed` are by giver.
 */
struct relief {
    uint32_t *given;
    int64_t *needed; /* tiles still to give; negative: tiles' worth of time to spare */
    int64_t work_ps; /* of all that is still needed */
};

static bool serves_one(const struct wave *wave, const struct sp_partner_seat *helper)
{
    return wave->seats[helper->seat].partners == 1;
}

static uint32_t neediest(const struct wave *wave, const struct relief *relief)
{
    uint32_t best = wave->giver_count;
    for (uint32_t i = 0; i < wave->giver_count; i++) {
        uint32_t seat = wave->givers[i].seat;
        if (!may_pair(wave, seat) || relief->given[i] == wave->seats[seat].tiles)
            continue;
        if (best == wave->giver_count || relief->needed[i] > relief->needed[best])
            best = i;
    }
    return best;
}

static bool relieve(struct wave *wave, struct relief *relief, struct sp_partner_seat *helper)
{
    uint32_t i = neediest(wave, relief);
    if (i == wave->giver_count)
        return true;
    const struct sp_partner_seat *giver = &wave->givers[i];
    const struct sp_seat *seat = &wave->seats[giver->seat];
    int64_t wanted = (relief->work_ps + giver->time_ps - 1) / giver->time_ps;
    uint32_t tiles = fitting_tiles(helper, giver->time_ps);
    if (relief->given[i] > 0)
        relief->needed[i] += merge_tiles(seat);
    if (tiles > wanted)
        tiles = (uint32_t)wanted;
    if (tiles > seat->tiles - relief->given[i])
        tiles = seat->tiles - relief->given[i];
    if (!tiles)
        return true;
    relief->given[i] += tiles;
    relief->needed[i] -= tiles;
    relief->work_ps -= tiles * giver->time_ps;
    return add_move(wave, giver, helper, tiles);
}

/* Givers with time to spare become helpers. */
static void turn_givers(struct wave *wave, const struct relief *relief, int64_t level)
{
    for (uint32_t i = 0; i < wave->giver_count; i++) {
        const struct sp_seat *seat = &wave->seats[wave->givers[i].seat];
        int64_t load = seat->load_ps - relief->given[i] * seat->give_ps +
                       wave->partners[wave->givers[i].seat] * seat->split_ps + seat->help_ps;
        if (relief->needed[i] < 0 && load < level)
            wave->helpers[wave->helper_count++] =
                (struct sp_partner_seat){wave->givers[i].seat, seat->room, 0, level - load};
    }
}

static bool place_in_turn(struct wave *wave, int64_t level)
{
    struct relief relief = {wave->given, wave->needed, 0};
    if (!begin_placing(wave, level))
        return false;
    for (uint32_t i = 0; i < wave->giver_count; i++) {
        relief.given[i] = 0;
        relief.needed[i] = wave->givers[i].tiles;
        relief.work_ps += wave->givers[i].tiles * wave->givers[i].time_ps;
    }
    for (uint32_t j = 0; j < wave->helper_count && relief.work_ps > 0; j++)
        if (serves_one(wave, &wave->helpers[j]) && !relieve(wave, &relief, &wave->helpers[j]))
            return false;
    turn_givers(wave, &relief, level);
    for (uint32_t i = 0; i < wave->giver_count; i++)
        if (relief.needed[i] > 0 &&
            !place_giver(wave, &wave->givers[i], relief.given[i], (uint32_t)relief.needed[i]))
            return false;
    return true;
}

/* In turn moves more, so only where there is no other way. */
static bool place(struct wave *wave, int64_t level)
{
    return place_directly(wave, level) || (wave->has_single && place_in_turn(wave, level));
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
    wave->given = sp_alloc(wave->count, sizeof(*wave->given));
    wave->needed = sp_alloc(wave->count, sizeof(*wave->needed));
    for (uint32_t i = 0; i < wave->count; i++)
        wave->has_single |= wave->seats[i].partners == 1;
    if (wave->givers && wave->helpers && wave->partners && wave->helps && wave->given && wave->needed)
        status = solve(wave, nodes, &balance, error);
    else
        status = sp_error_set(error, SP_MEMORY, "no memory to balance a wave of %u devices", wave->count);
    sp_free(wave->givers);
    sp_free(wave->helpers);
    sp_free(wave->partners);
    sp_free(wave->helps);
    sp_free(wave->given);
    sp_free(wave->needed);
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
