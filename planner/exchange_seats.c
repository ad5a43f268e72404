/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From costs to seats. All devices of a wave go through their layers side by side: in each, what comes before
 * the attention, the own attention, the guests, what comes after. A helper's guests wait for the keys and
 * values, which leave when the layer begins, and for the query, which leaves when the requester comes to its
 * attention; their result has to be back when the requester's own attention ends. What of this lasts longer
 * than the attention that hides it is charged to the helper.
 */
#include <math.h>

#include "exchange.h"

/* The messages of one layer of a part, in nanoseconds: fixed, and for each token. */
struct messages {
    double early, early_token, urgent, result, result_token;
    double latency;
};

struct sp_seating {
    const struct sp_plan *plan;
    const struct sp_cost *cost;
    const struct sp_exchange_settings *settings;
    int64_t tile_tokens;
    int64_t *slice_begin;
};

/* 128 tokens, halved until a slice has eight. */
static int64_t default_tile(const struct sp_plan *plan)
{
    int64_t least = INT64_MAX, tile = 128;
    for (uint32_t s = 0; s < plan->slice_count; s++)
        if (plan->slice_tokens[s] < least)
            least = plan->slice_tokens[s];
    while (tile > 1 && tile * 8 > least)
        tile /= 2;
    return tile;
}

enum sp_status sp_seating_create(const struct sp_plan *plan, const struct sp_cost *cost,
                                 const struct sp_exchange_settings *settings, struct sp_arena *arena,
                                 struct sp_seating **ret_seating, struct sp_error *error)
{
    struct sp_seating *seating = sp_arena_alloc(arena, 1, sizeof(*seating));
    int64_t *begin = sp_arena_alloc(arena, plan->slice_count + 1u, sizeof(*begin));
    if (!seating || !begin)
        return sp_error_set(error, SP_MEMORY, "no memory for the waves of %u devices",
                            plan->order.device_count);
    for (uint32_t s = 0; s < plan->slice_count; s++)
        begin[s + 1] = begin[s] + plan->slice_tokens[s];
    *seating = (struct sp_seating){
        .plan = plan,
        .cost = cost,
        .settings = settings,
        .tile_tokens = settings->tile_tokens > 0 ? settings->tile_tokens : default_tile(plan),
        .slice_begin = begin,
    };
    *ret_seating = seating;
    return SP_OK;
}

int64_t sp_seating_tile(const struct sp_seating *seating)
{
    return seating->tile_tokens;
}

static const struct sp_pass *pass_at(const struct sp_seating *seating, uint64_t index)
{
    return &seating->plan->order.passes[index];
}

/* Read off the public costs: with everything at home, with one partner, with nothing of the past left. */
static struct sp_layer_times measure(const struct sp_seating *seating, uint64_t index)
{
    const struct sp_pass *pass = pass_at(seating, index);
    int64_t past = seating->slice_begin[pass->slice];
    struct sp_layer_cost home, split, bare;
    sp_cost_layer(seating->cost, pass, past, 0, &home);
    sp_cost_layer(seating->cost, pass, past, 1, &split);
    sp_cost_layer(seating->cost, pass, 0, 1, &bare);
    struct sp_layer_times layer = {
        .before = (double)home.before_ns,
        .own = (double)bare.attention_ns,
        .after = (double)home.after_ns,
        .merge = (double)(split.after_ns - home.after_ns),
        .layers = seating->plan->has_model ? seating->plan->stages[pass->stage].layer_count : 1,
        .past = past,
    };
    if (past) {
        layer.token = (double)(home.attention_ns - bare.attention_ns) / (double)past;
        layer.guest = (double)sp_cost_guest_ns(seating->cost, pass, past) / (double)past;
        layer.merge_token = (double)(bare.after_ns - split.after_ns) / (double)past;
    }
    return layer;
}

static double busy_ns(const struct sp_seating *seating, uint32_t from, uint32_t to, int64_t bytes)
{
    return (double)sp_cost_transfer(seating->cost, from, to, bytes).busy_ns;
}

/*
 * What a part of the requester's pass costs in messages, if `device` helps. A quarter of the past is what
 * typically moves; links are slower for less.
 */
static struct messages measure_messages(const struct sp_seating *seating, const struct sp_sitter *requester,
                                        uint32_t device, int64_t link_permille)
{
    const struct sp_pass *pass = pass_at(seating, requester->pass);
    int64_t tokens = seating->slice_begin[pass->slice] / 4 + 1;
    uint32_t from = requester->device;
    double scale = (double)link_permille / 1000;
    struct sp_exchange_bytes none, some;
    sp_cost_exchange_bytes(seating->cost, pass, 0, &none);
    sp_cost_exchange_bytes(seating->cost, pass, tokens, &some);
    double early = busy_ns(seating, from, device, none.early),
           result = busy_ns(seating, device, from, none.result);
    double early_more = busy_ns(seating, from, device, some.early) - early;
    double result_more = busy_ns(seating, device, from, some.result) - result;
    return (struct messages){
        .early = scale * early,
        .early_token = scale * fmax(0, early_more) / (double)tokens,
        .urgent = scale * busy_ns(seating, from, device, none.urgent),
        .result = scale * result,
        .result_token = scale * fmax(0, result_more) / (double)tokens,
        .latency = scale * (double)sp_cost_transfer(seating->cost, from, device, none.urgent).latency_ns,
    };
}

static int64_t picoseconds(const struct sp_layer_times *layer, double ns)
{
    return llround(ns * (double)layer->layers * 1000);
}

static void seat_pass(const struct sp_seating *seating, const struct sp_layer_times *layer, uint64_t index,
                      struct sp_seat *seat)
{
    double tile = (double)seating->tile_tokens;
    *seat = (struct sp_seat){
        .load_ps = sp_cost_pass_ns(seating->cost, pass_at(seating, index)) * 1000,
        .give_ps = picoseconds(layer, tile * (layer->token - layer->merge_token)),
        .guest_ps = picoseconds(layer, tile * layer->guest),
        .split_ps = picoseconds(layer, layer->merge),
        .tiles = (uint32_t)(layer->past / seating->tile_tokens),
        .room = UINT32_MAX,
        .partners = seating->settings->partners,
    };
    if (seat->give_ps <= 0 || layer->layers == 0)
        seat->tiles = 0;
    if (seat->guest_ps < seat->give_ps)
        seat->guest_ps = seat->give_ps;
}

/* The seat with the largest load, which gives. */
static uint32_t heaviest(const struct sp_sitter *sitters, uint32_t count, const struct sp_seat *seats)
{
    uint32_t heavy = count;
    for (uint32_t i = 0; i < count; i++)
        if (sitters[i].pass != SP_NO_PASS && (heavy == count || seats[i].load_ps > seats[heavy].load_ps))
            heavy = i;
    return heavy;
}

/* Guests run while the others are in their attention: what comes before and after is no time of an
 * idle device. */
static void seat_idle(const struct sp_layer_times *heavy, struct sp_seat *seat)
{
    *seat = (struct sp_seat){
        .load_ps = picoseconds(heavy, heavy->before + heavy->after),
        .room = UINT32_MAX,
        .partners = 1, /* parts at one place run one after the other */
    };
}

static uint32_t tiles_within(double tokens, int64_t tile)
{
    return tokens < (double)tile         ? 0
           : tokens / (double)tile > 1e9 ? UINT32_MAX
                                         : (uint32_t)(tokens / (double)tile);
}

static void lower_to(uint32_t *value, uint32_t limit)
{
    if (limit < *value)
        *value = limit;
}

/*
 * Charges messages to a seat in a wave that would last `length` nanoseconds a layer if they were free.
 * Besides its compute time there is what its port can carry.
 */
static void charge(const struct sp_seating *seating, const struct messages *messages,
                   const struct sp_layer_times *heavy, const struct sp_layer_times *own, double length,
                   struct sp_seat *seat)
{
    double hidden = own ? own->before + own->own + own->token * (double)own->past : heavy->before;
    double back = messages->latency + messages->result;
    double there = fmax(heavy->before, messages->early) + messages->latency + messages->urgent;
    double window = length - heavy->after - back - messages->latency - messages->early;
    double taken = messages->early_token + messages->result_token;
    seat->help_ps = picoseconds(heavy, fmax(0, there - hidden) + back);
    if (taken <= 0)
        return;
    lower_to(&seat->room, tiles_within(window / (taken + heavy->guest), seating->tile_tokens));
    lower_to(&seat->tiles, tiles_within(window / taken, seating->tile_tokens));
}

static void limit_buffers(const struct sp_seating *seating, const struct sp_sitter *requester,
                          struct sp_seat *seat)
{
    struct sp_exchange_bytes none, some;
    sp_cost_exchange_bytes(seating->cost, pass_at(seating, requester->pass), 0, &none);
    sp_cost_exchange_bytes(seating->cost, pass_at(seating, requester->pass), seating->tile_tokens, &some);
    int64_t fixed = none.early + none.urgent + none.result;
    int64_t tile = some.early + some.urgent + some.result - fixed;
    int64_t left = seating->settings->guest_bytes - fixed;
    if (seating->settings->guest_bytes <= 0)
        return;
    if (left < 0)
        seat->room = 0;
    else if (tile > 0 && left / tile < UINT32_MAX)
        lower_to(&seat->room, (uint32_t)(left / tile));
}

void sp_seating_measure(const struct sp_seating *seating, struct sp_sitter *sitters, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        sitters[i].layer =
            sitters[i].pass == SP_NO_PASS ? (struct sp_layer_times){0} : measure(seating, sitters[i].pass);
}

void sp_seating_fill(const struct sp_seating *seating, const struct sp_sitter *sitters, uint32_t count,
                     int64_t link_permille, struct sp_seat *seats)
{
    for (uint32_t i = 0; i < count; i++)
        if (sitters[i].pass != SP_NO_PASS)
            seat_pass(seating, &sitters[i].layer, sitters[i].pass, &seats[i]);
    const struct sp_sitter *heavy = &sitters[heaviest(sitters, count, seats)];
    for (uint32_t i = 0; i < count; i++) {
        if (sitters[i].pass == SP_NO_PASS)
            seat_idle(&heavy->layer, &seats[i]);
        limit_buffers(seating, heavy, &seats[i]);
    }
    if (link_permille <= 0)
        return;
    double length = sp_balance_level(count, seats) / 1000 / (double)heavy->layer.layers;
    for (uint32_t i = 0; i < count; i++) {
        struct messages messages = measure_messages(seating, heavy, sitters[i].device, link_permille);
        double back = (double)seating->tile_tokens * messages.result_token;
        bool idle = sitters[i].pass == SP_NO_PASS;
        if (&sitters[i] != heavy)
            charge(seating, &messages, &heavy->layer, idle ? NULL : &sitters[i].layer, length, &seats[i]);
        seats[i].guest_ps += seats[i].tiles ? picoseconds(&sitters[i].layer, back) : 0;
    }
}
