/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One device's way through the program: its compute instructions in order, and after each the messages and
 * copies that follow from it. Only compute instructions wait; a message that waits for other messages (the
 * barrier of a split vocabulary) is put aside and leaves when these have come, whatever the device does then.
 */
#include "walker.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

int64_t sp_real_time_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t thread_time_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static const struct sp_instruction *instruction_at(const struct walker *w, uint32_t number)
{
    return &w->executor->program->instructions[number];
}

static const uint32_t *waits_of(const struct walker *w, uint32_t number)
{
    return w->executor->program->waits + instruction_at(w, number)->wait_begin;
}

/* --- Letters ------------------------------------------------------------------------------------------- */

/* What `number` says has come here: always so for what this device does itself, in order. */
static bool has_come(struct walker *w, uint32_t number)
{
    struct sp_executor *executor = w->executor;
    if (instruction_at(w, number)->stream != SP_STREAM_SEND || executor->letters[number])
        return true;
    struct sp_letter *letter = executor->settings.transport->take(executor->transport, w->number, number);
    if (!letter)
        return false;
    executor->letters[number] = letter;
    return true;
}

/* SP_NO_INDEX: nothing is missing. */
static uint32_t missing_wait(struct walker *w, uint32_t number)
{
    const uint32_t *waits = waits_of(w, number);
    for (uint32_t k = 0; k < instruction_at(w, number)->wait_count; k++)
        if (!has_come(w, waits[k]))
            return waits[k];
    return SP_NO_INDEX;
}

/* Fills w->inputs with what has come of the waits; returns how many, and when the last wait ended. */
static int gather_inputs(struct walker *w, uint32_t number, int64_t *ret_ready_ns)
{
    const uint32_t *waits = waits_of(w, number);
    int64_t ready = 0;
    int count = 0;
    for (uint32_t k = 0; k < instruction_at(w, number)->wait_count; k++) {
        const struct sp_letter *letter = w->executor->letters[waits[k]];
        if (instruction_at(w, waits[k])->stream != SP_STREAM_SEND) {
            ready = later(ready, w->executor->end_ns[waits[k]]);
            continue;
        }
        ready = later(ready, letter->end_ns);
        w->inputs[count++] =
            (struct sp_parcel){.message = waits[k], .data = letter->data, .bytes = letter->bytes};
    }
    *ret_ready_ns = ready;
    return count;
}

static void drop_inputs(struct walker *w, int count)
{
    for (int i = 0; i < count; i++) {
        uint32_t message = w->inputs[i].message;
        if (--w->executor->readers_left[message] > 0)
            continue;
        sp_letter_destroy(w->executor->letters[message]);
        w->executor->letters[message] = NULL;
    }
}

/* --- Messages and copies ------------------------------------------------------------------------------- */

/* Not of an instruction on the device's core: its own stream or none, and no time but the program's. */
static void set_transfer_times(struct walker *w, uint32_t number, int64_t ready)
{
    const struct sp_instruction *instruction = instruction_at(w, number);
    struct sp_executor *executor = w->executor;
    bool message = instruction->stream == SP_STREAM_SEND;
    int64_t *clock = &w->clock_ns[instruction->stream];
    int64_t latency = message ? executor->program->latency_ns[instruction->same_node] : 0;
    int64_t start = message ? ready : later(ready, *clock);
    if (executor->settings.clock == SP_CLOCK_WALL)
        start = sp_real_time_ns() - executor->epoch_ns;
    executor->start_ns[number] = start;
    executor->end_ns[number] =
        executor->settings.clock == SP_CLOCK_WALL ? start : start + instruction->duration_ns + latency;
    *clock = executor->end_ns[number];
}

static enum sp_status send_letter(struct walker *w, struct sp_letter *letter, struct sp_error *error)
{
    return w->executor->settings.transport->send(w->executor->transport, letter, error);
}

static enum sp_status transfer(struct walker *w, uint32_t number, struct sp_error *error)
{
    const struct sp_instruction *instruction = instruction_at(w, number);
    const struct sp_backend *backend = w->executor->settings.backend;
    struct sp_executor *executor = w->executor;
    int64_t ready;
    int count = gather_inputs(w, number, &ready);
    if (instruction->stream != SP_STREAM_SEND) {
        enum sp_status status = backend->copy ? backend->copy(w->state, number, error) : SP_OK;
        set_transfer_times(w, number, ready);
        drop_inputs(w, count);
        return status;
    }
    struct sp_letter *letter = sp_letter_create(instruction->bytes);
    if (!letter)
        return sp_error_set(error, SP_MEMORY, "no memory for a message of %" PRId64 " bytes",
                            instruction->bytes);
    letter->from = w->number;
    letter->to = instruction->peer;
    letter->slot = number;
    enum sp_status status = backend->pack(w->state, number, w->inputs, count, letter->data, error);
    set_transfer_times(w, number, ready);
    letter->start_ns = executor->start_ns[number];
    letter->end_ns = executor->end_ns[number];
    drop_inputs(w, count);
    if (status != SP_OK) {
        sp_letter_destroy(letter);
        return status;
    }
    return send_letter(w, letter, error);
}

static enum sp_status put_aside(struct walker *w, uint32_t number, struct sp_error *error)
{
    if (w->waiting_count == w->waiting_capacity) {
        uint32_t capacity = w->waiting_capacity ? 2 * w->waiting_capacity : 64;
        uint32_t *grown = sp_realloc(w->waiting, capacity, sizeof *grown);
        if (!grown)
            return sp_error_set(error, SP_MEMORY, "no memory for %u waiting messages", capacity);
        w->waiting = grown;
        w->waiting_capacity = capacity;
    }
    w->waiting[w->waiting_count++] = number;
    return SP_OK;
}

/* Sends what was put aside and now can leave. */
static enum sp_status send_waiting(struct walker *w, struct sp_error *error)
{
    enum sp_status status = SP_OK;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->waiting_count; i++) {
        if (status != SP_OK || missing_wait(w, w->waiting[i]) != SP_NO_INDEX)
            w->waiting[kept++] = w->waiting[i];
        else
            status = transfer(w, w->waiting[i], error);
    }
    w->waiting_count = kept;
    return status;
}

/* --- Waiting ------------------------------------------------------------------------------------------- */

/*
 * The device at the end of the chain of those that wait for each other: it is in trouble, not the one whose
 * patience ended first.
 */
static struct walker *find_last_waiting(struct walker *w, uint32_t *missing)
{
    struct sp_executor *executor = w->executor;
    for (uint32_t i = executor->first; i < executor->end; i++) {
        uint32_t from = instruction_at(w, *missing)->device;
        if (from < executor->first || from >= executor->end)
            break;
        struct walker *next = &executor->walkers[from - executor->first];
        uint32_t next_missing = atomic_load(&next->missing);
        if (next_missing == SP_NO_INDEX || atomic_load(&next->at) == SP_NO_INDEX)
            break;
        *missing = next_missing;
        w = next;
    }
    return w;
}

static void report_late(struct walker *w, uint32_t missing)
{
    struct sp_executor *executor = w->executor;
    const struct sp_program *program = executor->program;
    char here[DESCRIPTION], what[DESCRIPTION], there[DESCRIPTION], state[DESCRIPTION + 32] = "";
    w = find_last_waiting(w, &missing);
    uint32_t number = atomic_load(&w->at);
    number = number == SP_NO_INDEX ? missing : number; /* it has ended meanwhile */
    uint32_t from = instruction_at(w, missing)->device;
    if (from >= executor->first && from < executor->end) {
        uint32_t at = atomic_load(&executor->walkers[from - executor->first].at);
        if (at == SP_NO_INDEX)
            snprintf(state, sizeof state, ", which has ended");
        else
            snprintf(state, sizeof state, ", which is at the %s",
                     sp_describe_instruction(program, at, there, sizeof there));
    }
    sp_executor_fail(executor, SP_DEVICE, "device %u waited %.1f s at the %s for the %s from device %u%s",
                     w->number, (double)executor->settings.limit_ms / 1000,
                     sp_describe_instruction(program, number, here, sizeof here),
                     sp_describe_instruction(program, missing, what, sizeof what), from, state);
}

/* Waits for news while a message is missing, at most one limit from *since. SP_STOPPED is reported. */
static enum sp_status await_news(struct walker *w, uint32_t missing, int64_t *since)
{
    struct sp_executor *executor = w->executor;
    int64_t limit_ns = executor->settings.limit_ms * 1000000, now = sp_real_time_ns();
    *since = *since ? *since : now;
    atomic_store_explicit(&w->missing, missing, memory_order_relaxed);
    if (now - *since >= limit_ns) {
        report_late(w, missing);
        return SP_STOPPED;
    }
    bool goes_on = executor->settings.transport->wait(executor->transport, w->number, &w->seen,
                                                      limit_ns - (now - *since));
    atomic_store_explicit(&w->missing, SP_NO_INDEX, memory_order_relaxed);
    return goes_on ? SP_OK : SP_STOPPED;
}

/* Until all that `number` waits for has come. */
static enum sp_status await(struct walker *w, uint32_t number, struct sp_error *error)
{
    int64_t since = 0;
    for (;;) {
        enum sp_status status = w->waiting_count ? send_waiting(w, error) : SP_OK;
        uint32_t missing = status == SP_OK ? missing_wait(w, number) : SP_NO_INDEX;
        if (missing == SP_NO_INDEX)
            return status;
        if ((status = await_news(w, missing, &since)))
            return status;
    }
}

/* Until all that was put aside has left. */
static enum sp_status drain(struct walker *w, struct sp_error *error)
{
    int64_t since = 0;
    for (;;) {
        enum sp_status status = send_waiting(w, error);
        if (status != SP_OK || !w->waiting_count)
            return status;
        uint32_t missing = missing_wait(w, w->waiting[0]);
        if (missing != SP_NO_INDEX && (status = await_news(w, missing, &since)))
            return status;
    }
}

/* --- Computing ----------------------------------------------------------------------------------------- */

/* Time on the clock of the instruction that runs. */
static int64_t instruction_time(const struct walker *w)
{
    switch (w->executor->settings.clock) {
    case SP_CLOCK_WALL:
        return sp_real_time_ns() - w->executor->epoch_ns;
    case SP_CLOCK_VIRTUAL:
        return w->began_ns + w->lag_ns + thread_time_ns() - w->cpu_began_ns;
    default:
        return w->began_ns;
    }
}

static bool takes_core(const struct walker *w)
{
    return w->executor->settings.clock == SP_CLOCK_VIRTUAL;
}

static void begin_instruction(struct walker *w, uint32_t number, int64_t ready)
{
    struct sp_executor *executor = w->executor;
    atomic_store_explicit(&w->at, number, memory_order_relaxed);
    if (takes_core(w))
        sp_cores_enter(&executor->cores);
    atomic_store_explicit(&w->busy_since_ns, sp_real_time_ns(), memory_order_relaxed);
    w->began_ns = later(w->clock_ns[SP_STREAM_COMPUTE], ready);
    w->lag_ns = 0;
    if (executor->settings.clock == SP_CLOCK_WALL)
        w->began_ns = sp_real_time_ns() - executor->epoch_ns;
    else if (executor->settings.clock == SP_CLOCK_VIRTUAL)
        w->cpu_began_ns = thread_time_ns();
    executor->start_ns[number] = w->began_ns;
}

static void end_instruction(struct walker *w, uint32_t number)
{
    struct sp_executor *executor = w->executor;
    int64_t end = instruction_time(w);
    if (executor->settings.clock == SP_CLOCK_PLAN)
        end = w->began_ns + instruction_at(w, number)->duration_ns;
    if (takes_core(w))
        sp_cores_leave(&executor->cores);
    atomic_store_explicit(&w->busy_since_ns, 0, memory_order_relaxed);
    executor->end_ns[number] = w->clock_ns[SP_STREAM_COMPUTE] = end;
}

static void count_units(struct walker *w, uint32_t number, bool at_end)
{
    const struct sp_program *program = w->executor->program;
    const struct sp_memory_effect *effect = &program->effects[instruction_at(w, number)->memory];
    sp_device_arena_count_unit(w->arena, at_end ? effect->in_flight_end : effect->in_flight_start);
}

static enum sp_status compute(struct walker *w, uint32_t number, struct sp_error *error)
{
    const struct sp_backend *backend = w->executor->settings.backend;
    int64_t ready;
    enum sp_status status = await(w, number, error);
    if (status != SP_OK)
        return status;
    int count = gather_inputs(w, number, &ready);
    count_units(w, number, false);
    begin_instruction(w, number, ready);
    status = backend->run(w->state, number, w->inputs, count, error);
    end_instruction(w, number);
    count_units(w, number, true);
    drop_inputs(w, count);
    return status;
}

/* --- What the program has no message for --------------------------------------------------------------- */

static uint32_t pair_slot(const struct walker *w, uint32_t from, uint32_t to)
{
    const struct sp_program *program = w->executor->program;
    return program->instruction_count + from * program->device_count + to;
}

enum sp_status sp_walker_send(const struct sp_device *device, uint32_t to, const void *data, int64_t bytes,
                              struct sp_error *error)
{
    struct walker *w = device->walker;
    struct sp_letter *letter = sp_letter_create(bytes);
    if (!letter)
        return sp_error_set(error, SP_MEMORY, "no memory for a message of %" PRId64 " bytes", bytes);
    struct sp_transfer cost = sp_cost_transfer(device->program->cost, w->number, to, bytes);
    letter->from = w->number;
    letter->to = to;
    letter->slot = pair_slot(w, w->number, to);
    letter->start_ns = instruction_time(w);
    letter->end_ns = letter->start_ns;
    if (w->executor->settings.clock == SP_CLOCK_VIRTUAL)
        letter->end_ns += cost.latency_ns + cost.busy_ns;
    memcpy(letter->data, data, (size_t)bytes);
    return send_letter(w, letter, error);
}

static struct sp_letter *await_letter(struct walker *w, uint32_t from)
{
    struct sp_executor *executor = w->executor;
    const struct sp_transport *transport = executor->settings.transport;
    uint32_t slot = pair_slot(w, from, w->number);
    int64_t limit_ns = executor->settings.limit_ms * 1000000, since = sp_real_time_ns();
    for (;;) {
        struct sp_letter *letter = transport->take(executor->transport, w->number, slot);
        int64_t gone = sp_real_time_ns() - since;
        char here[DESCRIPTION];
        if (letter)
            return letter;
        if (gone >= limit_ns) {
            sp_describe_instruction(executor->program, atomic_load(&w->at), here, sizeof here);
            sp_executor_fail(executor, SP_DEVICE, "device %u waited %.1f s in the %s for device %u",
                             w->number, (double)executor->settings.limit_ms / 1000, here, from);
            return NULL;
        }
        if (!transport->wait(executor->transport, w->number, &w->seen, limit_ns - gone))
            return NULL;
    }
}

enum sp_status sp_walker_receive(const struct sp_device *device, uint32_t from, void *data, int64_t bytes,
                                 struct sp_error *error)
{
    struct walker *w = device->walker;
    atomic_store(&w->busy_since_ns, 0);
    if (takes_core(w))
        sp_cores_leave(&w->executor->cores);
    struct sp_letter *letter = await_letter(w, from);
    if (takes_core(w))
        sp_cores_enter(&w->executor->cores);
    atomic_store(&w->busy_since_ns, sp_real_time_ns());
    if (!letter)
        return SP_STOPPED;
    int64_t now = instruction_time(w), sent = letter->bytes;
    w->lag_ns += later(letter->end_ns - now, 0);
    if (sent == bytes)
        memcpy(data, letter->data, (size_t)bytes);
    sp_letter_destroy(letter);
    return sent == bytes ? SP_OK
                         : sp_error_set(error, SP_DEVICE,
                                        "device %u sent %" PRId64 " bytes where %" PRId64 " were expected",
                                        from, sent, bytes);
}

/* --- The whole iteration ------------------------------------------------------------------------------- */

/* Sends and copies what waits for an instruction of this device, or (the count) for none. */
static enum sp_status follow(struct walker *w, uint32_t number, struct sp_error *error)
{
    const struct sp_executor *executor = w->executor;
    enum sp_status status = SP_OK;
    for (uint32_t k = executor->follower_begin[number]; k < executor->follower_begin[number + 1]; k++) {
        uint32_t follower = executor->followers[k];
        if (status != SP_OK || instruction_at(w, follower)->device != w->number)
            continue; /* those that follow nothing are of all devices */
        status = missing_wait(w, follower) == SP_NO_INDEX ? transfer(w, follower, error)
                                                          : put_aside(w, follower, error);
    }
    return status;
}

static enum sp_status walk(struct walker *w, struct sp_error *error)
{
    const struct sp_program *program = w->executor->program;
    const struct sp_backend *backend = w->executor->settings.backend;
    const uint32_t *begin = &program->stream_begin[w->number * SP_STREAMS + SP_STREAM_COMPUTE];
    enum sp_status status = follow(w, program->instruction_count, error);
    for (uint32_t k = begin[0]; status == SP_OK && k < begin[1]; k++) {
        uint32_t number = program->stream_items[k];
        atomic_store_explicit(&w->at, number, memory_order_relaxed);
        if (atomic_load_explicit(&w->executor->stop, memory_order_relaxed))
            return SP_STOPPED;
        if ((status = compute(w, number, error)) || (status = follow(w, number, error)))
            return status;
        status = backend->end ? backend->end(w->state, number, error) : SP_OK;
    }
    return status == SP_OK ? drain(w, error) : status;
}

static void report(struct walker *w, enum sp_status status, const struct sp_error *error)
{
    char here[DESCRIPTION], text[sizeof *error];
    sp_describe_instruction(w->executor->program, atomic_load(&w->at), here, sizeof here);
    sp_executor_fail(w->executor, status, "device %u failed at the %s: %.500s", w->number, here,
                     sp_error_text(error, text, sizeof text));
}

void *sp_walker_run(void *walker)
{
    struct walker *w = walker;
    struct sp_executor *executor = w->executor;
    const struct sp_backend *backend = executor->settings.backend;
    struct sp_error error = {.status = SP_OK};
    enum sp_status status = backend->begin ? backend->begin(w->state, executor->step, &error) : SP_OK;
    if (status == SP_OK)
        status = walk(w, &error);
    if (status == SP_OK && backend->finish)
        status = backend->finish(w->state, &w->loss, &error);
    if (status != SP_OK && status != SP_STOPPED)
        report(w, status, &error);
    pthread_mutex_lock(&executor->lock);
    atomic_store(&w->at, SP_NO_INDEX);
    executor->running--;
    pthread_cond_broadcast(&executor->ended);
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}
