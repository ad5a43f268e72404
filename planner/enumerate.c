/* SPDX-License-Identifier: Apache-2.0 */
/* Every configuration that the numbers allow: degrees that divide what they must, chunks, slices,
 * microbatches. */
#include "candidate.h"

struct list {
    struct candidate *items;
    size_t count, capacity;
    bool short_of_memory;
};

static void append(struct list *list, const struct candidate *candidate)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 1024;
        struct candidate *items = sp_realloc(list->items, capacity, sizeof *items);
        if (!items) {
            list->short_of_memory = true;
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *candidate;
}

static const char *const default_schedules[] = {"slimpipe", "interleaved", "1f1b", NULL};

/* A fixed degree is the only one tried. */
static bool allowed(int64_t fixed, int64_t value)
{
    return fixed == 0 || fixed == value;
}

/* Slices tried: multiples of p up to this many, kept at least this long per context rank. */
enum { SLICE_MULTIPLES = 16, LEAST_SLICE_TOKENS = 1024 };

static void add_slices(const struct sp_search_request *search, struct candidate *candidate, struct list *list)
{
    const struct sp_request *base = &search->base;
    uint32_t p = (uint32_t)candidate->parallel.pipeline;
    if (base->slices || !(candidate->schedule->traits & SP_SCHEDULE_SLICES)) {
        candidate->slices = base->slices ? base->slices : 1;
        if (candidate->slices == 1 || (candidate->schedule->traits & SP_SCHEDULE_SLICES))
            append(list, candidate);
        return;
    }
    for (uint32_t k = 1; k <= SLICE_MULTIPLES; k++) {
        int64_t slices = (int64_t)k * p;
        bool longest = base->sequence_tokens / slices < LEAST_SLICE_TOKENS * candidate->parallel.context;
        if (k > 1 && longest)
            return;
        if (base->sequence_tokens % slices != 0 || slices > SP_MAX_SLICES)
            continue;
        candidate->slices = (uint32_t)slices;
        append(list, candidate);
    }
}

/* Chunks are for pipelines: on one device they change nothing. */
static void add_chunks(const struct sp_search_request *search, struct candidate *candidate, struct list *list)
{
    int64_t layers = search->base.model->layers, p = candidate->parallel.pipeline;
    bool chunks = candidate->schedule->traits & SP_SCHEDULE_CHUNKS;
    for (int64_t v = 1; v * p <= layers && (v == 1 || p > 1); v++) {
        /* Stages of unequal length only where no v gives equal ones. */
        bool equal = layers % (p * v) == 0 || (v == layers / p && layers % p != 0) || search->base.chunks;
        uint32_t only = search->base.chunks ? search->base.chunks
                        : !chunks
                            ? (candidate->schedule->default_chunks ? candidate->schedule->default_chunks : 1)
                            : 0;
        if (!equal || !allowed(only, v))
            continue;
        candidate->chunks = (uint32_t)v;
        add_slices(search, candidate, list);
    }
}

static void add_microbatches(const struct sp_search_request *search, struct candidate *candidate,
                             struct list *list)
{
    const struct sp_request *base = &search->base;
    int64_t d = candidate->parallel.data;
    for (int64_t b = 1; b <= 16; b *= 2) {
        if (!allowed(base->microbatch_sequences, b))
            continue;
        int64_t m = base->microbatches;
        if (base->batch_tokens) {
            int64_t sequences = base->batch_tokens / base->sequence_tokens;
            if (sequences % (d * b) != 0)
                continue;
            if (m && m != sequences / (d * b))
                continue;
            m = sequences / (d * b);
        }
        if (m < 1)
            continue;
        candidate->microbatch_sequences = b;
        candidate->microbatches = m;
        add_chunks(search, candidate, list);
    }
}

static void add_expert(const struct sp_search_request *search, struct candidate *candidate, struct list *list)
{
    const struct sp_request *base = &search->base;
    int64_t experts = base->model->experts ? base->model->experts : 1;
    int64_t ranks = candidate->parallel.data * candidate->parallel.context;
    for (int64_t e = 1; e <= experts; e *= 2) {
        if (!allowed(base->parallel.expert, e) || experts % e != 0 || ranks % e != 0)
            continue;
        candidate->parallel.expert = e;
        add_microbatches(search, candidate, list);
    }
}

static void add_pipeline(const struct sp_search_request *search, struct candidate *candidate,
                         struct list *list)
{
    const struct sp_request *base = &search->base;
    int64_t ranks = base->gpus / (candidate->parallel.tensor * candidate->parallel.context);
    for (int64_t p = 1; p <= ranks && p <= base->model->layers && p <= SP_MAX_DEVICES; p++) {
        if (ranks % p != 0 || !allowed(base->parallel.pipeline, p) ||
            !allowed(base->parallel.data, ranks / p))
            continue;
        candidate->parallel.pipeline = p;
        candidate->parallel.data = ranks / p;
        add_expert(search, candidate, list);
    }
}

static void add_degrees(const struct sp_search_request *search, struct candidate *candidate,
                        struct list *list)
{
    const struct sp_request *base = &search->base;
    int64_t tensor_most = base->cluster->gpus_per_node;
    for (int64_t t = 1; t <= base->gpus; t *= 2) {
        bool fits = t <= tensor_most && base->model->heads % t == 0;
        if (base->parallel.tensor ? base->parallel.tensor != t : !fits)
            continue;
        for (int64_t c = 1; t * c <= base->gpus; c *= 2) {
            if (!allowed(base->parallel.context, c) || base->gpus % (t * c) != 0)
                continue;
            candidate->parallel.tensor = t;
            candidate->parallel.context = c;
            add_pipeline(search, candidate, list);
        }
    }
}

enum sp_status sp_enumerate_candidates(const struct sp_search_request *search, struct candidate **ret_list,
                                       size_t *ret_count, struct sp_error *error)
{
    const char *const *names = search->schedules ? search->schedules : default_schedules;
    const char *const one[] = {search->base.schedule, NULL};
    struct list list = {.items = NULL};
    if (search->base.schedule)
        names = one;
    for (int i = 0; names[i]; i++) {
        struct candidate candidate = {.schedule = sp_schedule_find(names[i])};
        if (!candidate.schedule) {
            sp_free(list.items);
            return sp_error_set(error, SP_INPUT, "there is no schedule '%s'", names[i]);
        }
        add_degrees(search, &candidate, &list);
    }
    if (list.short_of_memory) {
        sp_free(list.items);
        return sp_error_set(error, SP_MEMORY, "out of memory while listing configurations");
    }
    *ret_list = list.items;
    *ret_count = list.count;
    return SP_OK;
}
