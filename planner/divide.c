/* SPDX-License-Identifier: Apache-2.0 */
#include "divide.h"

#include <string.h>

#include "slimpipe/arena.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/*
 * Last cut before `end` for one more run: best[j] (the largest of the runs up to j) grows with j, the last
 * run's cost shrinks, so the least of their larger is where they cross.
 */
static uint32_t find_cut(const int64_t *best, uint32_t least, uint32_t end, divide_cost *cost, void *context)
{
    uint32_t low = least, high = end - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (best[middle] >= cost(context, middle, end))
            high = middle;
        else
            low = middle + 1;
    }
    if (low > least &&
        larger(best[low - 1], cost(context, low - 1, end)) <= larger(best[low], cost(context, low, end)))
        low--;
    return low;
}

enum sp_status sp_divide_least_largest(uint32_t count, uint32_t runs, divide_cost *cost, void *context,
                                       uint32_t *ret_ends, int64_t *ret_largest, struct sp_error *error)
{
    size_t width = (size_t)count + 1;
    int64_t *best = sp_alloc(2 * width, sizeof *best);
    uint32_t *cuts = sp_alloc(runs * width, sizeof *cuts);
    if (!best || !cuts) {
        sp_free(best);
        sp_free(cuts);
        return sp_error_set(error, SP_MEMORY, "no memory to divide %u items", count);
    }
    int64_t *now = best + width;
    for (uint32_t end = 1; end <= count; end++)
        now[end] = cost(context, 0, end);
    for (uint32_t run = 1; run < runs; run++) {
        memcpy(best, now, width * sizeof *best);
        for (uint32_t end = run + 1; end <= count; end++) {
            uint32_t cut = find_cut(best, run, end, cost, context);
            cuts[run * width + end] = cut;
            now[end] = larger(best[cut], cost(context, cut, end));
        }
    }
    *ret_largest = now[count];
    uint32_t end = count;
    for (uint32_t run = runs; run-- > 0;) {
        ret_ends[run] = end;
        end = cuts[run * width + end];
    }
    sp_free(best);
    sp_free(cuts);
    return SP_OK;
}

/* The best way to cut [0, end) with no run at the limit or above. */
struct prefix {
    int64_t sum, largest;
    uint32_t cut;
    uint32_t runs; /* 0: there is none (or end is 0) */
};

static void best_prefix(struct prefix *prefixes, uint32_t end, int64_t limit, divide_cost *cost,
                        void *context)
{
    struct prefix best = {.runs = 0};
    for (uint32_t begin = end; begin-- > 0;) {
        int64_t last = cost(context, begin, end);
        if (last >= limit)
            break; /* longer runs cost no less */
        if (begin > 0 && !prefixes[begin].runs)
            continue;
        int64_t sum = prefixes[begin].sum + last, largest = larger(prefixes[begin].largest, last);
        if (best.runs && (sum > best.sum || (sum == best.sum && largest >= best.largest)))
            continue;
        best = (struct prefix){sum, largest, begin, prefixes[begin].runs + 1};
    }
    prefixes[end] = best;
}

enum sp_status sp_divide_pipeline(uint32_t count, uint32_t devices, int64_t repeats, divide_cost *cost,
                                  void *context, uint32_t *ret_ends, uint32_t *ret_runs, int64_t *ret_total,
                                  struct sp_error *error)
{
    struct prefix *prefixes = sp_alloc((size_t)count + 1, sizeof *prefixes);
    int64_t limit = INT64_MAX;
    if (!prefixes)
        return sp_error_set(error, SP_MEMORY, "no memory to divide %u items", count);
    *ret_total = INT64_MAX;
    for (;;) {
        for (uint32_t end = 1; end <= count; end++)
            best_prefix(prefixes, end, limit, cost, context);
        const struct prefix *all = &prefixes[count];
        if (!all->runs)
            break;
        int64_t total = repeats * all->sum + (int64_t)(devices - 1) * all->largest;
        if (total < *ret_total) {
            *ret_total = total;
            *ret_runs = all->runs;
            uint32_t end = count;
            for (uint32_t run = all->runs; run-- > 0; end = prefixes[end].cut)
                ret_ends[run] = end;
        }
        limit = all->largest;
    }
    sp_free(prefixes);
    return SP_OK;
}
