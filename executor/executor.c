/* SPDX-License-Identifier: Apache-2.0 */
/* The executor: walkers as threads, one iteration at a time, watched over by the thread that calls. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "walker.h"

/* How often the watching thread looks for a stop request and for what hangs. */
enum { WATCH_NS = 20000000, SLOTS_LIMIT = 1 << 30 };

struct sp_letter *sp_letter_create(int64_t bytes)
{
    struct sp_letter *letter = NULL;
    size_t size = (sizeof *letter + (size_t)bytes + 63) / 64 * 64;
    char *raw = sp_alloc(1, size + 64 + sizeof(void *));
    if (!raw)
        return NULL;
    /* What sp_alloc gave is remembered just before the letter. */
    letter = (struct sp_letter *)(((uintptr_t)raw + sizeof(void *) + 63) & ~(uintptr_t)63);
    memcpy((char *)letter - sizeof(void *), &raw, sizeof raw);
    letter->bytes = bytes;
    return letter;
}

void sp_letter_destroy(struct sp_letter *letter)
{
    char *raw;
    if (!letter)
        return;
    memcpy(&raw, (char *)letter - sizeof(void *), sizeof raw);
    sp_free(raw);
}

void sp_executor_fail(struct sp_executor *executor, enum sp_status status, const char *format, ...)
{
    char message[sizeof executor->error.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&executor->lock);
    if (executor->status == SP_OK)
        executor->status = sp_error_set(&executor->error, status, "%s", message);
    pthread_mutex_unlock(&executor->lock);
    atomic_store(&executor->stop, true);
    executor->settings.transport->stop(executor->transport);
}

/* --- Creating ------------------------------------------------------------------------------------------ */

static enum sp_status count_readers(struct sp_executor *executor, struct sp_error *error)
{
    const struct sp_program *program = executor->program;
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        if (instruction->wait_count > executor->most_waits)
            executor->most_waits = instruction->wait_count;
        for (uint32_t k = 0; k < instruction->wait_count; k++) {
            uint32_t wait = program->waits[instruction->wait_begin + k];
            if (executor->readers[wait] == UINT16_MAX)
                return sp_error_set(error, SP_UNSUPPORTED, "more than %d instructions wait for one",
                                    UINT16_MAX - 1);
            executor->readers[wait]++;
        }
    }
    return SP_OK;
}

/* The last instruction of its own device that a message or copy waits for; the count where there is none. */
static uint32_t producer_of(const struct sp_program *program, uint32_t number)
{
    const struct sp_instruction *instruction = &program->instructions[number];
    uint32_t last = program->instruction_count;
    for (uint32_t k = 0; k < instruction->wait_count; k++) {
        uint32_t wait = program->waits[instruction->wait_begin + k];
        bool own = program->instructions[wait].stream == SP_STREAM_COMPUTE;
        if (own && (last == program->instruction_count || wait > last))
            last = wait;
    }
    return last;
}

static void list_followers(struct sp_executor *executor)
{
    const struct sp_program *program = executor->program;
    uint32_t *begin = executor->follower_begin, count = program->instruction_count;
    for (uint32_t i = 0; i < count; i++)
        if (program->instructions[i].stream != SP_STREAM_COMPUTE)
            begin[producer_of(program, i) + 2]++;
    for (uint32_t i = 0; i <= count; i++)
        begin[i + 2] += begin[i + 1];
    /* begin[i + 1] serves as cursor and ends up as the end of i's range. */
    for (uint32_t i = 0; i < count; i++)
        if (program->instructions[i].stream != SP_STREAM_COMPUTE)
            executor->followers[begin[producer_of(program, i) + 1]++] = i;
}

static bool allocate_tables(struct sp_executor *executor)
{
    size_t count = executor->program->instruction_count;
    executor->start_ns = sp_alloc(count, sizeof *executor->start_ns);
    executor->end_ns = sp_alloc(count, sizeof *executor->end_ns);
    executor->readers = sp_alloc(count, sizeof *executor->readers);
    executor->readers_left = sp_alloc(count, sizeof *executor->readers_left);
    executor->letters = sp_alloc(count, sizeof(struct sp_letter *));
    executor->follower_begin = sp_alloc(count + 4, sizeof *executor->follower_begin);
    executor->followers = sp_alloc(count + 1, sizeof *executor->followers);
    return executor->follower_begin && executor->followers && executor->start_ns && executor->end_ns &&
           executor->readers && executor->readers_left && executor->letters;
}

static enum sp_status create_walker(struct sp_executor *executor, uint32_t number, struct sp_error *error)
{
    struct walker *w = &executor->walkers[number - executor->first];
    const struct sp_backend *backend = executor->settings.backend;
    atomic_init(&w->at, SP_NO_INDEX);
    atomic_init(&w->missing, SP_NO_INDEX);
    w->executor = executor;
    w->number = number;
    w->arena = sp_device_arena_create();
    w->inputs = sp_alloc((size_t)executor->most_waits + 1, sizeof *w->inputs);
    if (!w->arena || !w->inputs)
        return sp_error_set(error, SP_MEMORY, "no memory for device %u", number);
    w->device = (struct sp_device){.program = executor->program,
                                   .number = number,
                                   .memory = w->arena,
                                   .training = &executor->settings.training,
                                   .walker = w,
                                   .send = sp_walker_send,
                                   .receive = sp_walker_receive};
    return backend->create(&w->device, &w->state, error);
}

static enum sp_status create_walkers(struct sp_executor *executor, struct sp_error *error)
{
    uint32_t count = executor->end - executor->first;
    enum sp_status status = SP_OK;
    executor->walkers = sp_alloc(count, sizeof *executor->walkers);
    if (!executor->walkers)
        return sp_error_set(error, SP_MEMORY, "no memory for %u devices", count);
    for (uint32_t d = executor->first; status == SP_OK && d < executor->end; d++)
        status = create_walker(executor, d, error);
    return status;
}

static enum sp_status check_settings(const struct sp_program *program,
                                     const struct sp_executor_settings *settings, struct sp_error *error)
{
    const char *reason = settings->backend->probe();
    uint64_t slots = program->instruction_count + (uint64_t)program->device_count * program->device_count;
    if (reason)
        return sp_error_set(error, SP_UNSUPPORTED, "backend %s: %s", settings->backend->name, reason);
    if ((reason = settings->transport->probe()))
        return sp_error_set(error, SP_UNSUPPORTED, "transport %s: %s", settings->transport->name, reason);
    if (slots > SLOTS_LIMIT)
        return sp_error_set(error, SP_UNSUPPORTED,
                            "%" PRIu64 " instructions and pairs of devices; at most %d", slots, SLOTS_LIMIT);
    return settings->backend->check ? settings->backend->check(program, error) : SP_OK;
}

static void init_handles(struct sp_executor *executor)
{
    pthread_condattr_t attributes;
    int cores = executor->settings.cores;
    if (cores <= 0)
        cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    sp_cores_init(&executor->cores, cores > 0 ? cores : 1);
    pthread_mutex_init(&executor->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&executor->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum sp_status sp_executor_create(const struct sp_program *program,
                                  const struct sp_executor_settings *settings,
                                  struct sp_executor **ret_executor, struct sp_error *error)
{
    enum sp_status status = check_settings(program, settings, error);
    if (status != SP_OK)
        return status;
    struct sp_executor *executor = sp_alloc(1, sizeof *executor);
    if (!executor)
        return sp_error_set(error, SP_MEMORY, "no memory for an executor");
    executor->program = program;
    executor->settings = *settings;
    init_handles(executor);
    uint32_t devices = program->device_count;
    if (!allocate_tables(executor))
        status = sp_error_set(error, SP_MEMORY, "no memory for %u instructions", program->instruction_count);
    else
        list_followers(executor);
    if (status == SP_OK)
        status = count_readers(executor, error);
    if (status == SP_OK)
        status = settings->transport->open(devices, program->instruction_count + devices * devices,
                                           &executor->transport, error);
    if (status == SP_OK) {
        settings->transport->local(executor->transport, &executor->first, &executor->end);
        status = create_walkers(executor, error);
    }
    if (status != SP_OK) {
        sp_executor_destroy(executor);
        return status;
    }
    *ret_executor = executor;
    return SP_OK;
}

/* --- Destroying ---------------------------------------------------------------------------------------- */

static void destroy_walker(struct walker *w)
{
    if (w->state)
        w->executor->settings.backend->destroy(w->state);
    sp_device_arena_destroy(w->arena);
    sp_free(w->inputs);
    sp_free(w->waiting);
}

/* False where a thread does not end. */
static bool join_walkers(struct sp_executor *executor)
{
    struct timespec until;
    bool all = true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += executor->settings.limit_ms / 1000 + 1;
    for (uint32_t i = 0; executor->walkers && i < executor->end - executor->first; i++) {
        struct walker *w = &executor->walkers[i];
        if (w->running && pthread_timedjoin_np(w->thread, NULL, &until) != 0)
            all = false;
        else
            w->running = false;
    }
    return all;
}

void sp_executor_destroy(struct sp_executor *executor)
{
    if (!executor || !join_walkers(executor))
        return;
    for (uint32_t i = 0; executor->walkers && i < executor->end - executor->first; i++)
        destroy_walker(&executor->walkers[i]);
    for (uint32_t i = 0; executor->letters && i < executor->program->instruction_count; i++)
        sp_letter_destroy(executor->letters[i]);
    if (executor->transport)
        executor->settings.transport->close(executor->transport);
    sp_free(executor->walkers);
    sp_free(executor->start_ns);
    sp_free(executor->end_ns);
    sp_free(executor->readers);
    sp_free(executor->readers_left);
    sp_free(executor->letters);
    sp_free(executor->follower_begin);
    sp_free(executor->followers);
    sp_cores_finish(&executor->cores);
    pthread_cond_destroy(&executor->ended);
    pthread_mutex_destroy(&executor->lock);
    sp_free(executor);
}

/* --- One iteration ------------------------------------------------------------------------------------- */

static void start_walkers(struct sp_executor *executor)
{
    uint32_t count = executor->end - executor->first;
    executor->running = count;
    executor->epoch_ns = sp_real_time_ns();
    for (uint32_t i = 0; i < count; i++) {
        struct walker *w = &executor->walkers[i];
        memset(w->clock_ns, 0, sizeof w->clock_ns);
        w->waiting_count = 0;
        w->loss = 0;
        atomic_store(&w->busy_since_ns, 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct walker *w = &executor->walkers[i];
        int failed = pthread_create(&w->thread, NULL, sp_walker_run, w);
        w->running = failed == 0;
        if (failed == 0)
            continue;
        sp_executor_fail(executor, SP_DEVICE, "no thread for device %u: %s", w->number, strerror(failed));
        pthread_mutex_lock(&executor->lock);
        executor->running--;
        pthread_mutex_unlock(&executor->lock);
    }
}

/* The device whose instruction has run for too long; NULL: none. */
static struct walker *find_hung(struct sp_executor *executor)
{
    int64_t limit = executor->settings.limit_ms * 1000000, now = sp_real_time_ns();
    for (uint32_t i = 0; i < executor->end - executor->first; i++) {
        int64_t since = atomic_load(&executor->walkers[i].busy_since_ns);
        if (since && now - since > limit)
            return &executor->walkers[i];
    }
    return NULL;
}

static void watch_once(struct sp_executor *executor)
{
    if (atomic_load(&executor->stop))
        sp_executor_fail(executor, SP_STOPPED, "stopped in step %" PRId64, executor->step);
    struct walker *hung = find_hung(executor);
    if (!hung)
        return;
    char text[DESCRIPTION];
    uint32_t at = atomic_load(&hung->at);
    if (at == SP_NO_INDEX)
        return;
    sp_executor_fail(executor, SP_DEVICE, "device %u has been in the %s for more than %.1f s", hung->number,
                     sp_describe_instruction(executor->program, at, text, sizeof text),
                     (double)executor->settings.limit_ms / 1000);
    pthread_mutex_lock(&executor->lock);
    executor->hung = true;
    pthread_mutex_unlock(&executor->lock);
}

/* Returns when all walkers have ended, or one hangs. */
static void watch(struct sp_executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    while (executor->running > 0 && !executor->hung) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WATCH_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&executor->ended, &executor->lock, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&executor->lock);
        watch_once(executor);
        pthread_mutex_lock(&executor->lock);
    }
    bool hung = executor->hung;
    pthread_mutex_unlock(&executor->lock);
    if (!hung)
        join_walkers(executor);
}

/* Where devices are spread over processes: everybody's times and losses to everybody. */
static enum sp_status share_results(struct sp_executor *executor, double *losses, struct sp_error *error)
{
    const struct sp_program *program = executor->program;
    const struct sp_transport *transport = executor->settings.transport;
    enum sp_status status;
    if (!transport->share)
        return SP_OK;
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (!sp_executor_is_local(executor, program->instructions[i].device))
            executor->start_ns[i] = executor->end_ns[i] = 0;
    int64_t bits[SP_MAX_DEVICES];
    memcpy(bits, losses, program->device_count * sizeof *bits);
    if ((status =
             transport->share(executor->transport, executor->start_ns, program->instruction_count, error)) ||
        (status =
             transport->share(executor->transport, executor->end_ns, program->instruction_count, error)) ||
        (status = transport->share(executor->transport, bits, program->device_count, error)))
        return status;
    memcpy(losses, bits, program->device_count * sizeof *bits);
    return SP_OK;
}

static enum sp_status collect(struct sp_executor *executor, struct sp_timeline *timeline,
                              struct sp_step *ret_step, struct sp_error *error)
{
    const struct sp_program *program = executor->program;
    double losses[SP_MAX_DEVICES] = {0};
    for (uint32_t d = executor->first; d < executor->end; d++)
        losses[d] = executor->walkers[d - executor->first].loss;
    enum sp_status status = share_results(executor, losses, error);
    if (status != SP_OK)
        return status;
    struct sp_step step = {0};
    for (uint32_t d = 0; d < program->device_count; d++)
        step.loss += losses[d];
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instructions[i].stream == SP_STREAM_COMPUTE && executor->end_ns[i] > step.makespan_ns)
            step.makespan_ns = executor->end_ns[i];
    if (timeline) {
        size_t size = program->instruction_count * sizeof *timeline->start_ns;
        memcpy(timeline->start_ns, executor->start_ns, size);
        memcpy(timeline->end_ns, executor->end_ns, size);
    }
    *ret_step = step;
    return SP_OK;
}

enum sp_status sp_executor_step(struct sp_executor *executor, int64_t step, struct sp_timeline *timeline,
                                struct sp_step *ret_step, struct sp_error *error)
{
    assert(!timeline || timeline->program == executor->program);
    if (executor->status == SP_OK && atomic_load(&executor->stop))
        sp_executor_fail(executor, SP_STOPPED, "stopped before step %" PRId64, step);
    if (executor->status == SP_OK) {
        memcpy(executor->readers_left, executor->readers,
               executor->program->instruction_count * sizeof *executor->readers);
        executor->step = step;
        start_walkers(executor);
        watch(executor);
    }
    pthread_mutex_lock(&executor->lock);
    enum sp_status status = executor->status;
    struct sp_error first = executor->error;
    pthread_mutex_unlock(&executor->lock);
    if (status == SP_OK && atomic_load(&executor->stop))
        status = sp_error_set(&first, SP_STOPPED, "stopped in step %" PRId64, step);
    if (status == SP_OK)
        return collect(executor, timeline, ret_step, error);
    if (error)
        *error = first;
    return status;
}

void sp_executor_stop(struct sp_executor *executor)
{
    atomic_store(&executor->stop, true);
}

/* --- Looking in ---------------------------------------------------------------------------------------- */

bool sp_executor_is_local(const struct sp_executor *executor, uint32_t device)
{
    return device >= executor->first && device < executor->end;
}

void sp_executor_memory(const struct sp_executor *executor, uint32_t device,
                        struct sp_device_memory *ret_memory)
{
    assert(sp_executor_is_local(executor, device));
    sp_device_arena_read(executor->walkers[device - executor->first].arena, ret_memory);
}

bool sp_executor_tensor(const struct sp_executor *executor, uint32_t device, int index,
                        struct sp_tensor *ret_tensor)
{
    const struct sp_backend *backend = executor->settings.backend;
    assert(sp_executor_is_local(executor, device));
    return backend->tensor &&
           backend->tensor(executor->walkers[device - executor->first].state, index, ret_tensor);
}
