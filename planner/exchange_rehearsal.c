/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of a wave's devices and the messages between them, as program/ lowers them and sim/ runs them:
 * streams run as far as what they wait for is known, messages take ports in the order in which they become
 * ready.
 */
#include <math.h>

#include "exchange.h"
#include "slimpipe/arena.h"

enum step_kind { BEFORE, ATTENTION, GUEST, AFTER };

struct step {
    uint8_t kind;
    uint16_t layer; /* of the sitter's pass; a guest's: the requester's */
    uint32_t move;  /* of a guest */
    double ns;
};

struct stream {
    uint32_t begin, end; /* steps */
    uint32_t at;
    double free; /* when it has run everything before `at` */
};

/* Of each move and layer: when its messages are ready, then there; NAN: not known. */
enum message_kind { EARLY, URGENT, RESULT, MESSAGES };

struct transfer {
    double busy, latency;
    uint8_t near;
};

struct waiting {
    double ready;
    uint32_t move;
    uint16_t layer;
    uint8_t kind;
};

struct sp_rehearsal {
    const struct sp_plan *plan;
    const struct sp_cost *cost;
    int64_t tile_tokens;

    const struct sp_sitter *sitters;
    const struct sp_move *moves;
    uint32_t count, move_count, most_layers;

    uint32_t step_count;
    struct step *steps;
    struct stream *streams;
    struct transfer *transfers; /* by move and kind */
    double *there;              /* by move, layer and kind */
    double *ports[2][2];        /* by near and direction, by sitter: when free */
    uint32_t heap_count;
    struct waiting *heap;
    size_t step_room, stream_room, message_room;
};

struct sp_rehearsal *sp_rehearsal_create(const struct sp_plan *plan, const struct sp_cost *cost,
                                         int64_t tile_tokens)
{
    struct sp_rehearsal *rehearsal = sp_alloc(1, sizeof(*rehearsal));
    if (rehearsal)
        *rehearsal = (struct sp_rehearsal){.plan = plan, .cost = cost, .tile_tokens = tile_tokens};
    return rehearsal;
}

static void drop_storage(struct sp_rehearsal *r)
{
    sp_free(r->steps);
    sp_free(r->streams);
    sp_free(r->transfers);
    sp_free(r->there);
    sp_free(r->heap);
    for (int k = 0; k < 4; k++)
        sp_free(r->ports[k / 2][k % 2]);
}

void sp_rehearsal_destroy(struct sp_rehearsal *rehearsal)
{
    if (!rehearsal)
        return;
    drop_storage(rehearsal);
    sp_free(rehearsal);
}

static bool make_room(struct sp_rehearsal *r)
{
    size_t steps = 0, messages = (size_t)r->move_count * r->most_layers * MESSAGES;
    for (uint32_t i = 0; i < r->count; i++)
        steps += 3 * (size_t)r->sitters[i].layer.layers;
    steps += (size_t)r->move_count * r->most_layers;
    if (steps <= r->step_room && r->count <= r->stream_room && messages <= r->message_room)
        return true;
    drop_storage(r);
    r->step_room = 2 * steps;
    r->stream_room = r->count;
    r->message_room = 2 * messages;
    r->steps = sp_alloc(r->step_room + 1, sizeof(*r->steps));
    r->streams = sp_alloc(r->stream_room, sizeof(*r->streams));
    r->transfers = sp_alloc(r->message_room + MESSAGES, sizeof(*r->transfers));
    r->there = sp_alloc(r->message_room + 1, sizeof(*r->there));
    r->heap = sp_alloc(r->message_room + 1, sizeof(*r->heap));
    bool done = r->steps && r->streams && r->transfers && r->there && r->heap;
    for (int k = 0; k < 4; k++)
        done &= (r->ports[k / 2][k % 2] = sp_alloc(r->stream_room, sizeof(double))) != NULL;
    if (!done)
        r->step_room = r->stream_room = r->message_room = 0;
    return done;
}

/* --- What each device runs --------------------------------------------------------------------------- */

static void push(struct sp_rehearsal *r, enum step_kind kind, uint32_t layer, uint32_t move, double ns)
{
    r->steps[r->step_count++] = (struct step){(uint8_t)kind, (uint16_t)layer, move, ns};
}

static double move_tokens(const struct sp_rehearsal *r, uint32_t move)
{
    return (double)(r->moves[move].tiles * r->tile_tokens);
}

/* The requesters' layers that fall on the own layer in proportion; a layer of all before the next of any. */
static void push_guests(struct sp_rehearsal *r, uint32_t sitter, uint32_t layer, uint32_t of_layers)
{
    for (uint32_t k = 0; k < r->most_layers; k++) {
        for (uint32_t m = 0; m < r->move_count; m++) {
            const struct sp_layer_times *times = &r->sitters[r->moves[m].from].layer;
            uint32_t layers = (uint32_t)times->layers;
            if (r->moves[m].to == sitter && k < layers && (uint64_t)k * of_layers / layers == layer)
                push(r, GUEST, k, m, times->guest * move_tokens(r, m));
        }
    }
}

static void push_sitter(struct sp_rehearsal *r, uint32_t i)
{
    const struct sp_layer_times *times = &r->sitters[i].layer;
    double kept = (double)times->past, moved = 0, partners = 0;
    for (uint32_t m = 0; m < r->move_count; m++) {
        if (r->moves[m].from == i) {
            moved += move_tokens(r, m);
            partners++;
        }
    }
    kept -= moved;
    for (uint32_t k = 0; k < times->layers; k++) {
        push(r, BEFORE, k, 0, times->before);
        push(r, ATTENTION, k, 0, times->own + times->token * kept);
        push_guests(r, i, k, (uint32_t)times->layers);
        push(r, AFTER, k, 0, times->after + times->merge * partners + times->merge_token * moved);
    }
    if (r->sitters[i].pass == SP_NO_PASS)
        push_guests(r, i, 0, 1);
}

static struct transfer measure_transfer(const struct sp_rehearsal *r, uint32_t from, uint32_t to,
                                        int64_t bytes)
{
    struct sp_transfer transfer =
        sp_cost_transfer(r->cost, r->sitters[from].device, r->sitters[to].device, bytes);
    return (struct transfer){(double)transfer.busy_ns, (double)transfer.latency_ns, transfer.same_node != 0};
}

static void prepare(struct sp_rehearsal *r)
{
    r->step_count = r->heap_count = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        r->streams[i] = (struct stream){.begin = r->step_count, .at = r->step_count};
        push_sitter(r, i);
        r->streams[i].end = r->step_count;
        for (int k = 0; k < 4; k++)
            r->ports[k / 2][k % 2][i] = 0;
    }
    for (uint32_t m = 0; m < r->move_count; m++) {
        const struct sp_move *move = &r->moves[m];
        struct sp_exchange_bytes bytes;
        sp_cost_exchange_bytes(r->cost, &r->plan->order.passes[r->sitters[move->from].pass],
                               move->tiles * r->tile_tokens, &bytes);
        r->transfers[m * MESSAGES + EARLY] = measure_transfer(r, move->from, move->to, bytes.early);
        r->transfers[m * MESSAGES + URGENT] = measure_transfer(r, move->from, move->to, bytes.urgent);
        r->transfers[m * MESSAGES + RESULT] = measure_transfer(r, move->to, move->from, bytes.result);
    }
    for (size_t k = 0; k < (size_t)r->move_count * r->most_layers * MESSAGES; k++)
        r->there[k] = NAN;
}

/* --- Messages ---------------------------------------------------------------------------------------- */

static double *arrival(const struct sp_rehearsal *r, uint32_t move, uint32_t layer, enum message_kind kind)
{
    return &r->there[((size_t)move * r->most_layers + layer) * MESSAGES + kind];
}

static bool goes_first(const struct waiting *a, const struct waiting *b)
{
    if (a->ready != b->ready)
        return a->ready < b->ready;
    if (a->kind != b->kind)
        return a->kind < b->kind;
    return a->move < b->move;
}

static void swap(struct waiting *a, struct waiting *b)
{
    struct waiting c = *a;
    *a = *b;
    *b = c;
}

static void post(struct sp_rehearsal *r, double ready, uint32_t move, uint32_t layer, enum message_kind kind)
{
    uint32_t at = r->heap_count++;
    r->heap[at] = (struct waiting){ready, move, (uint16_t)layer, (uint8_t)kind};
    for (; at && goes_first(&r->heap[at], &r->heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&r->heap[at], &r->heap[(at - 1) / 2]);
}

static struct waiting take_first(struct sp_rehearsal *r)
{
    struct waiting first = r->heap[0];
    r->heap[0] = r->heap[--r->heap_count];
    for (uint32_t at = 0;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < r->heap_count && goes_first(&r->heap[child], &r->heap[least]))
                least = child;
        if (least == at)
            return first;
        swap(&r->heap[at], &r->heap[least]);
        at = least;
    }
}

/* Serves the first message in line. */
static void serve(struct sp_rehearsal *r)
{
    struct waiting first = take_first(r);
    const struct sp_move *move = &r->moves[first.move];
    const struct transfer *transfer = &r->transfers[first.move * MESSAGES + first.kind];
    uint32_t from = first.kind == RESULT ? move->to : move->from;
    uint32_t to = first.kind == RESULT ? move->from : move->to;
    double *send = &r->ports[transfer->near][0][from], *receive = &r->ports[transfer->near][1][to];
    double end = fmax(first.ready, fmax(*send, *receive)) + transfer->busy;
    *send = *receive = end;
    *arrival(r, first.move, first.layer, (enum message_kind)first.kind) = end + transfer->latency;
}

/* --- Streams ----------------------------------------------------------------------------------------- */

/* All messages of one kind for the sitter's own moves become ready. */
static void post_all(struct sp_rehearsal *r, uint32_t sitter, uint32_t layer, enum message_kind kind,
                     double ready)
{
    for (uint32_t m = 0; m < r->move_count; m++)
        if (r->moves[m].from == sitter)
            post(r, ready, m, layer, kind);
}

/* When the step may start as far as messages go; NAN: not known yet. */
static double step_ready(const struct sp_rehearsal *r, uint32_t sitter, const struct step *step)
{
    double ready = 0;
    if (step->kind == GUEST) {
        double early = *arrival(r, step->move, step->layer, EARLY);
        double urgent = *arrival(r, step->move, step->layer, URGENT);
        return isnan(early) || isnan(urgent) ? NAN : fmax(early, urgent);
    }
    for (uint32_t m = 0; step->kind == AFTER && m < r->move_count; m++) {
        if (r->moves[m].from != sitter)
            continue;
        double result = *arrival(r, m, step->layer, RESULT);
        if (isnan(result))
            return NAN;
        ready = fmax(ready, result);
    }
    return ready;
}

/* Runs a stream as far as it is known; true where it came on. */
static bool advance(struct sp_rehearsal *r, uint32_t sitter)
{
    struct stream *stream = &r->streams[sitter];
    uint32_t begun_at = stream->at;
    for (; stream->at < stream->end; stream->at++) {
        const struct step *step = &r->steps[stream->at];
        double ready = step_ready(r, sitter, step);
        if (isnan(ready))
            break;
        if (step->kind == BEFORE)
            post_all(r, sitter, step->layer, EARLY, stream->free);
        stream->free = fmax(stream->free, ready) + step->ns;
        if (step->kind == BEFORE)
            post_all(r, sitter, step->layer, URGENT, stream->free);
        if (step->kind == GUEST)
            post(r, stream->free, step->move, step->layer, RESULT);
    }
    return stream->at > begun_at;
}

static double run(struct sp_rehearsal *r)
{
    double end = 0;
    for (;;) {
        bool came_on = false;
        for (uint32_t i = 0; i < r->count; i++)
            came_on |= advance(r, i);
        if (came_on)
            continue;
        if (!r->heap_count)
            break;
        serve(r);
    }
    for (uint32_t i = 0; i < r->count; i++) {
        /* The lowering would refuse moves that wait for each other. */
        if (r->streams[i].at < r->streams[i].end)
            return INFINITY;
        end = fmax(end, r->streams[i].free);
    }
    return end;
}

enum sp_status sp_rehearsal_run(struct sp_rehearsal *rehearsal, const struct sp_sitter *sitters,
                                uint32_t count, const struct sp_move *moves, uint32_t move_count,
                                double *ret_ns, struct sp_error *error)
{
    rehearsal->sitters = sitters;
    rehearsal->count = count;
    rehearsal->moves = moves;
    rehearsal->move_count = move_count;
    rehearsal->most_layers = 1;
    for (uint32_t i = 0; i < count; i++)
        if (sitters[i].layer.layers > rehearsal->most_layers)
            rehearsal->most_layers = (uint32_t)sitters[i].layer.layers;
    if (!make_room(rehearsal))
        return sp_error_set(error, SP_MEMORY, "no memory to rehearse a wave of %u devices", count);
    prepare(rehearsal);
    *ret_ns = run(rehearsal);
    return SP_OK;
}
