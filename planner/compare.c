/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First every schedule with all its knobs, but with its own output layer and no exchange; then these two for
 * the plans of each schedule that no other of it beats. Work is handed to threads in two batches, with all
 * decisions between them, so that the answer does not depend on the number of threads.
 */
#include "slimpipe/compare.h"

#include <stdlib.h>
#include <string.h>

#include "compare_knobs.h"
#include "parallel.h"
#include "predict.h"

/* Plans of a schedule that are refined: so many that fit; where none does, so many of the nearest. */
enum { REFINED = 4, REFINED_OVER = 2 };

/* Explicit costs are divided among chunks and slices; with so much the rounding does not show. */
enum { LEAST_NS = 100000 };

/* Share of the work that the first batch is, for the progress bar: measured on Llama 70B at 256K. */
static const double share_first = 0.7;

struct trial {
    const struct sp_schedule *schedule;
    struct sp_request request;
    struct sp_predicted figures;
    enum sp_status status;
    char *reason; /* of a failure; NULL where memory is short */
    size_t place; /* breaks ties */
    bool best, front;
};

struct comparison {
    const struct sp_compare_request *request;
    struct sp_arena *arena;
    struct sp_knobs knobs;
    struct trial *trials;
    size_t count;
    size_t batch_begin;
    double share_begin, share_end;
};

static enum sp_status out_of_memory(struct sp_error *error)
{
    return sp_error_set(error, SP_MEMORY, "out of memory while comparing schedules");
}

static void report(void *context, size_t begun)
{
    const struct comparison *comparison = context;
    double part = (double)begun / (double)(comparison->count - comparison->batch_begin);

    comparison->request->progress(comparison->request->progress_context,
                                  comparison->share_begin +
                                      (comparison->share_end - comparison->share_begin) * part);
}

static void run_trial(void *context, size_t i)
{
    const struct comparison *comparison = context;
    struct trial *trial = &comparison->trials[comparison->batch_begin + i];
    struct sp_error error;

    trial->status = sp_predict(&trial->request, &trial->figures, &error);
    if (trial->status == SP_OK || trial->status == SP_MEMORY)
        return;
    trial->reason = sp_alloc(strlen(error.message) + 1, 1);
    if (trial->reason)
        strcpy(trial->reason, error.message);
    else
        trial->status = SP_MEMORY;
}

/* Runs the requests that were added to the knobs since the last batch. */
static enum sp_status run_batch(struct comparison *comparison, double share_end, struct sp_error *error)
{
    size_t count = comparison->knobs.count, begin = comparison->count;
    struct trial *trials = sp_realloc(comparison->trials, count + 1, sizeof(*trials));

    if (!trials || comparison->knobs.short_of_memory) {
        comparison->trials = trials ? trials : comparison->trials;
        return out_of_memory(error);
    }
    comparison->trials = trials;
    for (size_t i = begin; i < count; i++)
        trials[i] = (struct trial){.request = comparison->knobs.items[i],
                                   .schedule = sp_schedule_find(comparison->knobs.items[i].schedule),
                                   .place = i};
    comparison->count = count;
    comparison->batch_begin = begin;
    comparison->share_end = share_end;
    sp_parallel_for(comparison->request->threads, count - begin, run_trial, comparison,
                    comparison->request->progress ? report : NULL, comparison);
    comparison->share_begin = share_end;
    for (size_t i = begin; i < count; i++)
        if (trials[i].status == SP_MEMORY)
            return out_of_memory(error);
    return SP_OK;
}

static int64_t over_cap(const struct trial *trial)
{
    int64_t cap = trial->request.memory_cap_bytes, peak = trial->figures.peak_bytes;

    return trial->status == SP_OK && cap && peak > cap ? peak - cap : 0;
}

static int rank(const struct trial *trial)
{
    return trial->status != SP_OK ? SP_COMPARE_REFUSED
           : over_cap(trial) > 0  ? SP_COMPARE_OVER_CAP
                                  : SP_COMPARE_FITS;
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Fastest first, nearest to the cap first, in the order of trial. */
static int compare_trials(const void *a, const void *b)
{
    const struct trial *x = a, *y = b;
    int order = compare_numbers(rank(x), rank(y));

    if (order == 0 && rank(x) == SP_COMPARE_OVER_CAP)
        order = compare_numbers(over_cap(x), over_cap(y));
    if (order == 0 && rank(x) != SP_COMPARE_REFUSED)
        order = compare_numbers(x->figures.time_ns, y->figures.time_ns);
    if (order == 0 && rank(x) != SP_COMPARE_REFUSED)
        order = compare_numbers(x->figures.peak_bytes, y->figures.peak_bytes);
    return order ? order : compare_numbers((int64_t)x->place, (int64_t)y->place);
}

/*
 * Marks, in sorted trials, those that fit and hold less than every faster one. schedule: among its own only;
 * NULL: among all.
 */
static void mark_front(struct comparison *comparison, const struct sp_schedule *schedule)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < comparison->count; i++) {
        struct trial *trial = &comparison->trials[i];
        if (schedule && trial->schedule != schedule)
            continue;
        trial->front = rank(trial) == SP_COMPARE_FITS && trial->figures.peak_bytes < least;
        if (trial->front)
            least = trial->figures.peak_bytes;
    }
}

static void mark_best(struct comparison *comparison)
{
    for (size_t i = 0; i < comparison->count; i++) {
        struct trial *trial = &comparison->trials[i];
        trial->best = true;
        for (size_t j = 0; j < i && trial->best; j++)
            trial->best = comparison->trials[j].schedule != trial->schedule;
    }
}

/* Adds the other output layers and exchanges of the schedule's front. Trials are sorted. */
static void refine_schedule(struct comparison *comparison, const struct sp_schedule *schedule)
{
    int fits = 0, over = 0;

    mark_front(comparison, schedule);
    for (size_t i = 0; i < comparison->count; i++) {
        const struct trial *trial = &comparison->trials[i];
        if (trial->schedule != schedule)
            continue;
        if (trial->front && fits < REFINED)
            fits++;
        else if (rank(trial) == SP_COMPARE_OVER_CAP && fits == 0 && over < REFINED_OVER)
            over++;
        else
            continue;
        sp_knobs_refine(&comparison->knobs, schedule, &trial->request);
    }
}

/* The i-th schedule to compare; NULL at the end. */
static const struct sp_schedule *schedule_at(const struct comparison *comparison, size_t i)
{
    const char *const *names = comparison->request->schedules;

    return !names ? sp_schedules[i] : names[i] ? sp_schedule_find(names[i]) : NULL;
}

static bool is_compared(const struct comparison *comparison, const struct sp_schedule *schedule)
{
    return comparison->request->schedules ||
           !(schedule->traits & (SP_SCHEDULE_FORWARD_ONLY | SP_SCHEDULE_SKIPS));
}

static void for_each(struct comparison *comparison,
                     void (*act)(struct comparison *, const struct sp_schedule *))
{
    const struct sp_schedule *schedule;

    for (size_t i = 0; (schedule = schedule_at(comparison, i)); i++)
        if (is_compared(comparison, schedule))
            act(comparison, schedule);
}

static void add_schedule(struct comparison *comparison, const struct sp_schedule *schedule)
{
    sp_knobs_add(&comparison->knobs, schedule);
}

/* Of a schedule that failed throughout, only the first row stays: the one with its own defaults. */
static bool is_kept(const struct comparison *comparison, size_t i)
{
    const struct trial *trial = &comparison->trials[i];

    return trial->status == SP_OK || trial->best;
}

static enum sp_status keep_row(const struct comparison *comparison, const struct trial *trial,
                               struct sp_compare_row *row)
{
    const struct sp_predicted *figures = &trial->figures;

    *row = (struct sp_compare_row){
        .schedule = trial->schedule,
        .request = trial->request,
        .outcome = (enum sp_compare_outcome)rank(trial),
        .time_ns = figures->time_ns,
        .bound_ns = figures->bound_ns,
        .peak_bytes = figures->peak_bytes,
        .over_bytes = over_cap(trial),
        .message_bytes = figures->message_bytes,
        .bubble_mean_idle = figures->bubble_mean_idle,
        .bubble_longest_span = figures->bubble_longest_span,
        .gap = figures->gap,
        .mfu = figures->mfu,
        .best = trial->best,
        .front = trial->front,
    };
    if (trial->reason)
        row->reason = sp_arena_strdup(comparison->arena, trial->reason);
    return trial->reason && !row->reason ? SP_MEMORY : SP_OK;
}

static enum sp_status keep_rows(const struct comparison *comparison, struct sp_compare_result *result,
                                struct sp_error *error)
{
    result->rows = sp_arena_alloc(comparison->arena, comparison->count + 1, sizeof(*result->rows));
    if (!result->rows)
        return out_of_memory(error);
    for (size_t i = 0; i < comparison->count; i++)
        if (is_kept(comparison, i) &&
            keep_row(comparison, &comparison->trials[i], &result->rows[result->row_count++]))
            return out_of_memory(error);
    return SP_OK;
}

static enum sp_status check_names(const struct sp_compare_request *request, struct sp_error *error)
{
    for (size_t i = 0; request->schedules && request->schedules[i]; i++)
        if (!sp_schedule_find(request->schedules[i]))
            return sp_error_set(error, SP_INPUT, "schedule '%s': there is none of this name",
                                request->schedules[i]);
    return SP_OK;
}

static bool is_divided(const struct sp_request *base)
{
    return base->costs && !(base->chunks == 1 && base->slices == 1);
}

static enum sp_status check_costs(const struct sp_request *base, struct sp_error *error)
{
    const struct sp_pass_costs *costs = base->costs;

    if (!is_divided(base))
        return SP_OK;
    const int64_t *const times[] = {costs->forward_ns, costs->input_ns, costs->weight_ns};
    for (size_t k = 0; k < sizeof(times) / sizeof(*times); k++)
        for (uint32_t i = 0; times[k] && i < base->cost_stages; i++)
            if (times[k][i] > 0 && times[k][i] < LEAST_NS)
                return sp_error_set(error, SP_INPUT,
                                    "a unit cost of %lld ns: it is divided among chunks and slices; "
                                    "expected %d us or more, such as forward=1ms",
                                    (long long)times[k][i], LEAST_NS / 1000);
    return SP_OK;
}

/* Where all were refused for the same reason, the base is wrong. */
static enum sp_status check_refusals(const struct comparison *comparison, struct sp_error *error)
{
    const struct trial *trials = comparison->trials;

    for (size_t i = 0; i < comparison->count; i++)
        if (trials[i].status == SP_OK || strcmp(trials[i].reason, trials[0].reason) != 0)
            return SP_OK;
    if (comparison->count == 0)
        return sp_error_set(error, SP_INPUT, "no schedule to compare");
    return sp_error_set(error, SP_INPUT, "%s", trials[0].reason);
}

static void sort(struct comparison *comparison)
{
    qsort(comparison->trials, comparison->count, sizeof(*comparison->trials), compare_trials);
}

static enum sp_status run(struct comparison *comparison, struct sp_error *error)
{
    enum sp_status status;

    if ((status = check_names(comparison->request, error)) ||
        (status = check_costs(&comparison->request->base, error)))
        return status;
    for_each(comparison, add_schedule);
    if ((status = run_batch(comparison, share_first, error)) || (status = check_refusals(comparison, error)))
        return status;
    sort(comparison);
    for_each(comparison, refine_schedule);
    if ((status = run_batch(comparison, 1, error)))
        return status;
    sort(comparison);
    mark_best(comparison);
    mark_front(comparison, NULL);
    return SP_OK;
}

enum sp_status sp_compare_run(const struct sp_compare_request *request, struct sp_compare_result *ret_result,
                              struct sp_error *error)
{
    struct sp_compare_result result = {.arena = sp_arena_create()};
    struct comparison comparison = {
        .request = request, .arena = result.arena, .knobs = {.comparison = request, .arena = result.arena}};
    enum sp_status status = result.arena ? run(&comparison, error) : out_of_memory(error);

    if (!status)
        status = keep_rows(&comparison, &result, error);
    for (size_t i = 0; i < comparison.count; i++)
        sp_free(comparison.trials[i].reason);
    sp_free(comparison.trials);
    sp_free(comparison.knobs.items);
    if (status)
        sp_arena_destroy(result.arena);
    else
        *ret_result = result;
    return status;
}

void sp_compare_finish(struct sp_compare_result *result)
{
    if (!result)
        return;
    sp_arena_destroy(result->arena);
    *result = (struct sp_compare_result){.arena = NULL};
}
