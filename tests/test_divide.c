/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting layers into stages and sequences into slices, held against brute force and against peers'
 * programmes. */
#include <math.h>

#include "../planner/divide.h"
#include "support.h"

enum { ITEMS_MOST = 16384 };

struct row {
    int64_t sums[ITEMS_MOST + 1]; /* sums[i]: of items before i */
};

static int64_t row_cost(void *context, uint32_t begin, uint32_t end)
{
    const struct row *row = context;
    return row->sums[end] - row->sums[begin];
}

/* All ways to cut [begin, count) into `runs` runs; the least largest. */
static int64_t brute_largest(struct row *row, uint32_t begin, uint32_t count, uint32_t runs)
{
    if (runs == 1)
        return row_cost(row, begin, count);
    int64_t best = INT64_MAX;
    for (uint32_t end = begin + 1; end + runs - 1 <= count; end++) {
        int64_t first = row_cost(row, begin, end), rest = brute_largest(row, end, count, runs - 1);
        int64_t largest = first > rest ? first : rest;
        best = largest < best ? largest : best;
    }
    return best;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

Test(divide, least_largest_is_exact)
{
    uint64_t seed = 42;
    for (int round = 0; round < 400; round++) {
        struct row *row = calloc(1, sizeof *row);
        uint32_t count = 1 + (uint32_t)(next_random(&seed) % 12);
        uint32_t runs = 1 + (uint32_t)(next_random(&seed) % count), ends[16];
        int64_t largest = 0, seen = 0;
        struct sp_error error;
        for (uint32_t i = 0; i < count; i++)
            row->sums[i + 1] = row->sums[i] + (int64_t)(next_random(&seed) % 50);
        cr_assert_eq(sp_divide_least_largest(count, runs, row_cost, row, ends, &largest, &error), SP_OK);
        cr_expect_eq(largest, brute_largest(row, 0, count, runs), "round %d", round);
        cr_assert_eq(ends[runs - 1], count);
        for (uint32_t r = 0; r < runs; r++) {
            uint32_t begin = r ? ends[r - 1] : 0;
            cr_assert_lt(begin, ends[r]);
            int64_t cost = row_cost(row, begin, ends[r]);
            seen = cost > seen ? cost : seen;
        }
        cr_expect_eq(seen, largest);
        free(row);
    }
}

/* t = a + b·s + d·s·(past + s/2), in 1/1000 µs so that half a token pair stays whole. */
struct latency {
    int64_t constant, per_token, per_pair; /* per_pair: of 2 pairs */
    int64_t step;
};

static int64_t latency_cost(void *context, uint32_t begin, uint32_t end)
{
    const struct latency *latency = context;
    int64_t s = (int64_t)(end - begin) * latency->step, past = (int64_t)begin * latency->step;
    return latency->constant + latency->per_token * s + latency->per_pair * s * (2 * past + s) / 2;
}

static int64_t brute_pipeline(struct latency *latency, uint32_t begin, uint32_t count, int64_t sum,
                              int64_t largest, uint32_t devices)
{
    if (begin == count)
        return sum + (int64_t)(devices - 1) * largest;
    int64_t best = INT64_MAX;
    for (uint32_t end = begin + 1; end <= count; end++) {
        int64_t cost = latency_cost(latency, begin, end);
        int64_t total =
            brute_pipeline(latency, end, count, sum + cost, cost > largest ? cost : largest, devices);
        best = total < best ? total : best;
    }
    return best;
}

Test(divide, pipeline_is_exact)
{
    uint64_t seed = 7;
    for (int round = 0; round < 60; round++) {
        struct latency latency = {.constant = (int64_t)(next_random(&seed) % 5000),
                                  .per_token = (int64_t)(next_random(&seed) % 100),
                                  .per_pair = (int64_t)(next_random(&seed) % 20),
                                  .step = 1 + (int64_t)(next_random(&seed) % 8)};
        uint32_t count = 1 + (uint32_t)(next_random(&seed) % 12),
                 devices = 1 + (uint32_t)(next_random(&seed) % 9);
        uint32_t ends[16], runs = 0;
        int64_t total = 0;
        struct sp_error error;
        cr_assert_eq(
            sp_divide_pipeline(count, devices, 1, latency_cost, &latency, ends, &runs, &total, &error),
            SP_OK);
        cr_expect_eq(total, brute_pipeline(&latency, 0, count, 0, 0, devices), "round %d", round);
        cr_assert_eq(ends[runs - 1], count);
    }
}

/* Stage division: the objective equals Alpa's training_dp on its 21 instances. */
Test(divide, equals_alpa)
{
    FILE *file = fopen("tests/data/alpa_stage_dp.csv", "r");
    char line[1024], *f[5];
    int rows = 0;
    cr_assert(file);
    cr_assert_eq(read_csv_row(file, line, sizeof line, f, 5), 5);
    for (; read_csv_row(file, line, sizeof line, f, 5) == 5; rows++) {
        struct row *row = calloc(1, sizeof *row);
        uint32_t count = 0, ends[64];
        int64_t largest = 0;
        struct sp_error error;
        for (char *at = f[3]; *at; count++)
            row->sums[count + 1] = row->sums[count] + llround(strtod(at, &at) * 100);
        uint32_t devices = (uint32_t)atoi(f[1]);
        cr_assert_eq(sp_divide_least_largest(count, devices, row_cost, row, ends, &largest, &error), SP_OK);
        int64_t ours = row->sums[count] + (atoll(f[2]) - 1) * largest;
        cr_expect_eq(ours, llround(atof(f[4]) * 100), "%s: %lld", f[0], (long long)ours);
        free(row);
    }
    fclose(file);
    cr_expect_eq(rows, 21);
}

/* Slice division: never worse than TeraPipe's programme on its own latency model, grid and objective. */
Test(divide, never_worse_than_terapipe)
{
    FILE *file = fopen("tests/data/terapipe_dp.csv", "r");
    char line[512], *f[10];
    int rows = 0;
    cr_assert(file);
    cr_assert_eq(read_csv_row(file, line, sizeof line, f, 10), 10);
    for (; read_csv_row(file, line, sizeof line, f, 10) == 10; rows++) {
        int64_t step = atoll(f[7]), total = 0;
        struct latency latency = {.constant = llround(atof(f[4]) * 10000),
                                  .per_token = llround(atof(f[5]) * 10000),
                                  .per_pair = llround(atof(f[6]) * 10000),
                                  .step = step};
        uint32_t ends[512], runs = 0;
        struct sp_error error;
        cr_assert_eq(sp_divide_pipeline((uint32_t)(atoll(f[1]) / step), (uint32_t)atoi(f[2]), atoll(f[3]),
                                        latency_cost, &latency, ends, &runs, &total, &error),
                     SP_OK);
        cr_expect_leq(total, llround(atof(f[8]) * 10000), "%s: %.3f", f[0], (double)total / 10000);
        cr_expect_lt(total, llround(atof(f[9]) * 10000), "%s", f[0]);
    }
    fclose(file);
    cr_expect_eq(rows, 8);
}

/* Seq1F1B's count of FLOPs: (4 d + 3) a per causal pair, 8 h a d + 4 h f per token; here per tile of 8
 * tokens. */
struct work {
    int64_t per_pair, per_token;
};

static int64_t work_cost(void *context, uint32_t begin, uint32_t end)
{
    const struct work *work = context;
    int64_t length = 8 * (int64_t)(end - begin), past = 8 * (int64_t)begin;
    return work->per_pair * (length * past + length * length / 2) + work->per_token * length;
}

/* Slice division: the largest slice is never above that of Seq1F1B's solver, on the same grid. */
Test(divide, never_worse_than_seq1f1b)
{
    FILE *file = fopen("tests/data/seq1f1b_splits.csv", "r");
    char line[512], *f[8];
    int rows = 0;
    cr_assert(file);
    cr_assert_eq(read_csv_row(file, line, sizeof line, f, 8), 8);
    for (; read_csv_row(file, line, sizeof line, f, 8) == 8; rows++) {
        int64_t h = atoll(f[1]), ffn = atoll(f[2]), a = atoll(f[3]), d = atoll(f[4]), largest = 0, theirs = 0;
        struct work work = {.per_pair = (4 * d + 3) * a, .per_token = 8 * h * a * d + 4 * h * ffn};
        uint32_t count = (uint32_t)(atoll(f[5]) / 8), slices = (uint32_t)atoi(f[6]), ends[64], begin = 0;
        struct sp_error error;
        cr_assert_eq(sp_divide_least_largest(count, slices, work_cost, &work, ends, &largest, &error), SP_OK);
        for (char *at = f[7]; *at;) {
            uint32_t end = begin + (uint32_t)(strtol(at, &at, 10) / 8);
            int64_t cost = work_cost(&work, begin, end);
            theirs = cost > theirs ? cost : theirs;
            begin = end;
        }
        cr_expect_eq(begin, count, "%s", f[0]);
        cr_expect_leq(largest, theirs, "%s: %lld against %lld", f[0], (long long)largest, (long long)theirs);
    }
    fclose(file);
    cr_expect_eq(rows, 60);
}

static struct sp_plan *compose(struct sp_request *request, const char *cluster)
{
    static struct sp_model model;
    static struct sp_cluster machines;
    static struct sp_profile profile;
    struct sp_plan *plan = NULL;
    struct sp_error error;
    cr_assert_eq(sp_model_read("llama-3.1-8b", &model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read(cluster, &machines, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(machines.profile, &profile, &error), SP_OK, "%s", error.message);
    request->model = &model;
    request->cluster = &machines;
    request->profile = &profile;
    cr_assert_eq(sp_plan_compose(request, &plan, &error), SP_OK, "%s", error.message);
    return plan;
}

/* Slices of equal work get shorter, and shorten a Seq1F1B pipeline. */
Test(divide, slices_of_equal_work)
{
    struct sp_request request = {.schedule = "seq1f1b",
                                 .parallel = {.pipeline = 4, .tensor = 8},
                                 .slices = 4,
                                 .microbatches = 8,
                                 .sequence_tokens = 131072};
    struct simulated equal = simulate_plan(compose(&request, "h100"), SP_SIM_LINKS);
    request.slice_division = SP_SLICES_WORK;
    struct simulated work = simulate_plan(compose(&request, "h100"), SP_SIM_LINKS);
    int64_t sum = 0;
    for (uint32_t i = 0; i < 4; i++) {
        sum += work.plan->slice_tokens[i];
        cr_expect(i == 0 || work.plan->slice_tokens[i] < work.plan->slice_tokens[i - 1]);
    }
    cr_expect_eq(sum, 131072);
    cr_expect_lt(work.metrics.makespan_ns, equal.metrics.makespan_ns);
    drop_simulated(&equal);
    drop_simulated(&work);
}

/* TeraPipe's division is never slower than equal slices, whatever their number. */
Test(divide, terapipe_chooses_its_slices)
{
    struct sp_request request = {.schedule = "terapipe",
                                 .parallel = {.pipeline = 8, .tensor = 8},
                                 .microbatches = 1,
                                 .sequence_tokens = 65536,
                                 .slice_division = SP_SLICES_TERAPIPE};
    struct simulated best = simulate_plan(compose(&request, "ideal"), SP_SIM_PLAIN);
    cr_expect_gt(best.plan->slice_count, 1);
    request.slice_division = SP_SLICES_EQUAL;
    for (request.slices = 1; request.slices <= 32; request.slices *= 2) {
        struct simulated equal = simulate_plan(compose(&request, "ideal"), SP_SIM_PLAIN);
        cr_expect_leq(best.metrics.makespan_ns, equal.metrics.makespan_ns, "%u slices", request.slices);
        drop_simulated(&equal);
    }
    drop_simulated(&best);
}

/* The last stage, which has the output layer, gets fewer layers; the iteration gets shorter. */
Test(divide, stages_of_equal_work)
{
    struct sp_request request = {.schedule = "1f1b",
                                 .parallel = {.pipeline = 8, .tensor = 4},
                                 .microbatches = 32,
                                 .sequence_tokens = 4096};
    struct simulated equal = simulate_plan(compose(&request, "h100"), SP_SIM_LINKS);
    request.stage_division = SP_STAGES_WORK;
    struct simulated work = simulate_plan(compose(&request, "h100"), SP_SIM_LINKS);
    cr_expect_lt(work.plan->stages[7].layer_count, equal.plan->stages[7].layer_count);
    cr_expect_lt(work.metrics.makespan_ns, equal.metrics.makespan_ns);
    drop_simulated(&equal);
    drop_simulated(&work);
}
