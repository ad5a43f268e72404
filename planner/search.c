/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search's course: enumerate; bound every candidate from below; assign recompute and offload in the order
 * of the bounds until they pass the estimates of those kept; plan and simulate the best; polish the winners.
 * Work is handed to threads in batches of fixed size, and decisions fall between batches, so that the answer
 * does not depend on the number of threads.
 */
#include "slimpipe/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "candidate.h"
#include "parallel.h"
#include "trial.h"

enum {
    ASSIGN_BATCH = 64, /* candidates assigned between two looks at the bound */
    SIMULATED = 12,    /* candidates planned in full, at least */
    POLISH_ROUNDS = 2,
};

/* Shares of the work, for the progress bar: measured on Llama 70B at 512K. */
static const double share_bounded = 0.3, share_assigned = 0.4, share_simulated = 0.8;

const char *const sp_search_drop_names[SP_DROPS] = {"out of memory", "bound above a better plan",
                                                    "estimated worse than those simulated", "invalid"};

/* A candidate with its place in the fixed order, and what became of it. */
struct entry {
    struct candidate candidate;
    struct sp_arena *arena; /* estimate and assignment; NULL: invalid */
    struct estimate estimate;
    struct assignment assignment;
    enum sp_status status;
    bool assigned;
    size_t place;
};

struct search {
    const struct sp_search_request *request;
    struct sp_search_request mode; /* the request as the running mode has it */
    struct sp_search_result *result;
    struct entry *entries;
    size_t count, assigned_count;
    size_t wanted; /* candidates to simulate */
    double *best;  /* the wanted least estimates so far, ascending */
    size_t best_count;
    struct trial *trials; /* ascending by time once sorted */
    size_t trial_count;
    struct sp_error failure; /* of a trial that failed for another reason than memory */
    /* The running batch. */
    size_t batch_begin, batch_size;
    double share_begin, share_end;
};

static void report(void *context, size_t begun)
{
    const struct search *search = context;
    double part = search->batch_size ? (double)begun / (double)search->batch_size : 1;
    if (search->request->progress)
        search->request->progress(search->request->progress_context,
                                  search->share_begin + (search->share_end - search->share_begin) * part);
}

static void run_batch(struct search *search, size_t begin, size_t size, void (*work)(void *, size_t),
                      double share_end)
{
    search->batch_begin = begin;
    search->batch_size = size;
    search->share_end = share_end;
    sp_parallel_for(search->request->threads, size, work, search, report, search);
    search->share_begin = share_end;
}

static struct sp_shape shape_of(const struct search *search, const struct candidate *candidate)
{
    const struct sp_request *base = &search->request->base;
    return (struct sp_shape){.devices = (uint32_t)candidate->parallel.pipeline,
                             .chunks = candidate->chunks,
                             .microbatches = (uint32_t)candidate->microbatches,
                             .slices = candidate->slices,
                             .window = base->window,
                             .group = base->group,
                             .memory_units = base->memory_units};
}

static void bound_entry(void *context, size_t i)
{
    struct search *search = context;
    struct entry *entry = &search->entries[i];
    struct sp_shape shape = shape_of(search, &entry->candidate);
    bool expanded = search->request->base.kv_gradient == SP_KV_GRADIENT_EXPANDED;
    struct order_profile profile;
    struct sp_error error;
    entry->place = i;
    entry->arena = sp_arena_create();
    entry->status = entry->arena ? sp_order_profile_get(entry->candidate.schedule, &shape, expanded,
                                                        entry->arena, &profile, &error)
                                 : SP_MEMORY;
    if (entry->status == SP_OK)
        entry->status = sp_estimate_create(search->request, &entry->candidate, &profile, entry->arena,
                                           &entry->estimate, &error);
    if (entry->status != SP_OK) {
        sp_arena_destroy(entry->arena);
        entry->arena = NULL;
    }
}

static int compare_lower(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (!x->arena != !y->arena)
        return x->arena ? -1 : 1;
    if (x->arena && x->candidate.lower_ns != y->candidate.lower_ns)
        return x->candidate.lower_ns < y->candidate.lower_ns ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static int compare_estimate(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->assigned != y->assigned)
        return x->assigned ? -1 : 1;
    if (x->assigned && x->candidate.estimate_ns != y->candidate.estimate_ns)
        return x->candidate.estimate_ns < y->candidate.estimate_ns ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static void assign_entry(void *context, size_t i)
{
    struct search *search = context;
    struct entry *entry = &search->entries[search->batch_begin + i];
    struct sp_error error;
    entry->status =
        sp_assign_solve(&search->mode, &entry->candidate, &entry->estimate,
                        search->request->base.memory_cap_bytes, entry->arena, &entry->assignment, &error);
    entry->assigned = entry->status == SP_OK;
}

static void keep_best(struct search *search, double estimate)
{
    size_t at = search->best_count;
    if (at < search->wanted)
        search->best_count++;
    else if (estimate >= search->best[--at])
        return;
    for (; at > 0 && search->best[at - 1] > estimate; at--)
        search->best[at] = search->best[at - 1];
    search->best[at] = estimate;
}

static void note_nearest(struct search *search, const struct entry *entry)
{
    struct sp_search_result *result = search->result;
    if (entry->candidate.overshoot <= 0 ||
        (result->has_nearest && result->nearest_overshoot <= entry->candidate.overshoot))
        return;
    result->has_nearest = true;
    result->nearest_overshoot = entry->candidate.overshoot;
    result->nearest = sp_candidate_request(search->request, &entry->candidate);
}

/* What is dropped is counted in the last mode, which allows all that the request does. */
static void note_batch(struct search *search, size_t begin, size_t size, bool last_mode)
{
    for (size_t i = begin; i < begin + size; i++) {
        const struct entry *entry = &search->entries[i];
        if (entry->assigned) {
            keep_best(search, entry->candidate.estimate_ns);
        } else if (!last_mode) {
            continue;
        } else if (entry->status == SP_INFEASIBLE) {
            search->result->dropped[SP_DROP_MEMORY]++;
            note_nearest(search, entry);
        } else {
            search->result->dropped[SP_DROP_INVALID]++;
        }
    }
}

/* Assigns in the order of the lower bounds until no bound is below the estimates of those wanted. */
static void assign_all(struct search *search, bool last_mode)
{
    size_t valid = 0, at = 0;
    search->best_count = 0;
    for (size_t i = 0; i < search->count; i++)
        search->entries[i].assigned = false;
    qsort(search->entries, search->count, sizeof *search->entries, compare_lower);
    while (valid < search->count && search->entries[valid].arena)
        valid++;
    while (at < valid) {
        bool full = search->best_count == search->wanted;
        if (full && search->entries[at].candidate.lower_ns >= search->best[search->wanted - 1])
            break;
        size_t size = valid - at < ASSIGN_BATCH ? valid - at : ASSIGN_BATCH;
        double part = (double)(at + size) / (double)valid;
        run_batch(search, at, size, assign_entry, share_bounded + (share_assigned - share_bounded) * part);
        note_batch(search, at, size, last_mode);
        at += size;
    }
    search->assigned_count = at;
    if (!last_mode)
        return;
    search->result->dropped[SP_DROP_INVALID] += (int64_t)(search->count - valid);
    search->result->dropped[SP_DROP_BOUND] += (int64_t)(valid - at);
}

static void simulate_entry(void *context, size_t i)
{
    struct search *search = context;
    const struct entry *entry = &search->entries[i];
    sp_trial_run(&search->mode, &entry->candidate, &entry->estimate, &entry->assignment,
                 &search->trials[search->batch_begin + i]);
}

static int compare_trials(const void *a, const void *b)
{
    const struct trial *x = a, *y = b;
    bool x_ok = x->status == SP_OK, y_ok = y->status == SP_OK;
    if (x_ok != y_ok)
        return x_ok ? -1 : 1;
    if (x_ok && x->found.time_ns != y->found.time_ns)
        return x->found.time_ns < y->found.time_ns ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static void drop_failed(struct search *search, bool count)
{
    qsort(search->trials, search->trial_count, sizeof *search->trials, compare_trials);
    while (search->trial_count > 0 && search->trials[search->trial_count - 1].status != SP_OK) {
        struct trial *trial = &search->trials[--search->trial_count];
        enum sp_search_drop why = trial->status == SP_INFEASIBLE ? SP_DROP_MEMORY : SP_DROP_INVALID;
        search->result->dropped[why] += count;
        if (why == SP_DROP_INVALID)
            search->failure = trial->error;
        sp_trial_drop(trial);
    }
}

/* Adds the best of the mode to the trials. */
static void simulate_best(struct search *search, bool last_mode)
{
    size_t assigned = 0, first = search->trial_count;
    qsort(search->entries, search->assigned_count, sizeof *search->entries, compare_estimate);
    while (assigned < search->assigned_count && search->entries[assigned].assigned)
        assigned++;
    size_t count = assigned < search->wanted ? assigned : search->wanted;
    if (last_mode)
        search->result->dropped[SP_DROP_RANK] += (int64_t)(assigned - count);
    run_batch(search, first, count, simulate_entry, last_mode ? share_simulated : search->share_begin);
    search->trial_count = first + count;
    search->result->simulated += (int64_t)count;
    for (size_t i = first; i < search->trial_count; i++)
        search->trials[i].place = i;
    drop_failed(search, last_mode);
}

/*
 * Without offload first: the estimate does not see all that copies cost, and plans that need none must not be
 * ranked out by those that do.
 */
static void run_modes(struct search *search)
{
    bool open = !(search->request->fixed & SP_FIXED_OFFLOAD);
    for (int mode = open ? 0 : 1; mode < 2; mode++) {
        search->mode = *search->request;
        if (mode == 0) {
            search->mode.fixed |= SP_FIXED_OFFLOAD;
            search->mode.base.offload_permille = 0;
        }
        assign_all(search, mode == 1);
        simulate_best(search, mode == 1);
    }
}

static void polish_one(void *context, size_t i)
{
    struct search *search = context;
    sp_trial_polish(search->request, &search->trials[search->batch_begin + i], POLISH_ROUNDS);
}

/* Local search around the plans that will be shown; a plan's own variations are tried one after the other. */
static void polish(struct search *search)
{
    size_t shown = (size_t)(search->request->top > 0 ? search->request->top : 1) + 1;
    size_t count = search->trial_count < shown ? search->trial_count : shown;
    run_batch(search, 0, count, polish_one, 1);
    for (size_t i = 0; i < count; i++)
        search->result->simulated += search->trials[i].variations;
    drop_failed(search, true);
}

/* Both modes may come to the same plan. */
static bool is_found(const struct sp_search_result *result, const struct sp_found *found)
{
    for (int i = 0; i < result->found_count; i++) {
        const struct sp_found *other = &result->found[i];
        if (other->time_ns == found->time_ns && other->peak_bytes == found->peak_bytes &&
            other->request.chunks == found->request.chunks &&
            other->request.slices == found->request.slices &&
            memcmp(&other->request.parallel, &found->request.parallel, sizeof found->request.parallel) == 0)
            return true;
    }
    return false;
}

static enum sp_status keep_found(struct search *search, struct sp_error *error)
{
    struct sp_search_result *result = search->result;
    int top = search->request->top > 0 ? search->request->top : 1;
    result->found = sp_arena_alloc(result->arena, (size_t)top, sizeof *result->found);
    for (size_t i = 0; i < search->trial_count && result->found_count < top && result->found; i++) {
        if (is_found(result, &search->trials[i].found))
            continue;
        if (!sp_trial_copy(&search->trials[i], result->arena, &result->found[result->found_count]))
            result->found = NULL;
        else
            result->found_count++;
    }
    return result->found ? SP_OK
                         : sp_error_set(error, SP_MEMORY, "out of memory while keeping the plans found");
}

/* What would make it fit, told from the configuration that missed by least. */
static enum sp_status report_nothing(const struct search *search, struct sp_error *error)
{
    const struct sp_search_result *result = search->result;
    const struct sp_request *near = &result->nearest;
    if (!result->has_nearest)
        return sp_error_set(
            error, SP_INFEASIBLE,
            "none of %lld configurations is valid: no degrees divide the GPUs, heads, layers and "
            "sequences of the batch",
            (long long)result->considered);
    double over = (double)result->nearest_overshoot / (1 << 30);
    const char *knob =
        search->request->fixed & SP_FIXED_RECOMPUTE && search->request->base.recompute != SP_RECOMPUTE_FULL
            ? "leave --recompute open"
        : search->request->fixed & SP_FIXED_OFFLOAD && search->request->base.offload_permille < 1000
            ? "leave --offload open"
        : search->request->base.slices ? "leave --slices open"
                                       : "more GPUs or a shorter sequence";
    return sp_error_set(
        error, SP_INFEASIBLE,
        "nothing fits %.1f GiB per GPU: the nearest of %lld configurations (%s, tp %lld cp %lld pp "
        "%lld vpp %u, %u slices) needs %.2f GiB more; what would help: %s",
        (double)search->request->base.memory_cap_bytes / (1 << 30), (long long)result->considered,
        near->schedule, (long long)near->parallel.tensor, (long long)near->parallel.context,
        (long long)near->parallel.pipeline, near->chunks, near->slices, over, knob);
}

static enum sp_status check_request(const struct sp_request *base, struct sp_error *error)
{
    if (!base->model || !base->cluster || !base->profile)
        return sp_error_set(error, SP_INPUT, "a search needs a model and a cluster");
    if (base->gpus < 1)
        return sp_error_set(error, SP_INPUT, "gpus: %lld; expected 1 or more", (long long)base->gpus);
    if (base->sequence_tokens < 1)
        return sp_error_set(error, SP_INPUT, "seq-len: expected the tokens of a sequence");
    if (!base->batch_tokens && !base->microbatches)
        return sp_error_set(error, SP_INPUT, "expected batch-tokens or microbatches");
    if (base->batch_tokens % base->sequence_tokens != 0)
        return sp_error_set(error, SP_INPUT,
                            "batch-tokens: %lld; expected a multiple of the %lld tokens of a sequence",
                            (long long)base->batch_tokens, (long long)base->sequence_tokens);
    return SP_OK;
}

static enum sp_status enumerate(struct search *search, struct sp_error *error)
{
    struct candidate *list = NULL;
    enum sp_status status = sp_enumerate_candidates(search->request, &list, &search->count, error);
    if (status != SP_OK)
        return status;
    size_t top = (size_t)(search->request->top > 0 ? search->request->top : 1);
    search->wanted = top + 2 > SIMULATED ? top + 2 : SIMULATED;
    search->entries = sp_alloc(search->count + 1, sizeof *search->entries);
    search->best = sp_alloc(search->wanted, sizeof *search->best);
    search->trials = sp_alloc(2 * search->wanted, sizeof *search->trials);
    for (size_t i = 0; i < search->count && search->entries; i++)
        search->entries[i].candidate = list[i];
    sp_free(list);
    search->result->considered = (int64_t)search->count;
    if (!search->entries || !search->best || !search->trials)
        return sp_error_set(error, SP_MEMORY, "out of memory for %zu configurations", search->count);
    return SP_OK;
}

static enum sp_status pass_on(const struct sp_error *failure, struct sp_error *error)
{
    *error = *failure;
    return failure->status;
}

static enum sp_status run(struct search *search, struct sp_error *error)
{
    enum sp_status status = check_request(&search->request->base, error);
    if (status == SP_OK)
        status = enumerate(search, error);
    if (status != SP_OK)
        return status;
    run_batch(search, 0, search->count, bound_entry, share_bounded);
    run_modes(search);
    if (search->trial_count == 0)
        return search->failure.status ? pass_on(&search->failure, error) : report_nothing(search, error);
    polish(search);
    return keep_found(search, error);
}

enum sp_status sp_search_run(const struct sp_search_request *request, struct sp_search_result *ret_result,
                             struct sp_error *error)
{
    struct sp_search_result result = {.arena = sp_arena_create()};
    struct search search = {.request = request, .result = &result};
    enum sp_status status =
        result.arena ? run(&search, error) : sp_error_set(error, SP_MEMORY, "out of memory for a search");
    for (size_t i = 0; i < search.count && search.entries; i++)
        sp_arena_destroy(search.entries[i].arena);
    for (size_t i = 0; i < search.trial_count; i++)
        sp_trial_drop(&search.trials[i]);
    sp_free(search.entries);
    sp_free(search.best);
    sp_free(search.trials);
    if (status == SP_OK || status == SP_INFEASIBLE)
        *ret_result = result;
    else
        sp_arena_destroy(result.arena);
    return status;
}

void sp_search_finish(struct sp_search_result *result)
{
    if (!result)
        return;
    sp_arena_destroy(result->arena);
    *result = (struct sp_search_result){.arena = NULL};
}
