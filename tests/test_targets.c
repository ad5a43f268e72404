/* SPDX-License-Identifier: Apache-2.0 */
/* Published and derived figures that the whole chain request → plan → program → simulator must give. */
#include <math.h>

#include "support.h"

static struct sp_request unit_request(const char *schedule, uint32_t p, uint32_t v, uint32_t m, uint32_t n,
                                      const struct sp_pass_costs *costs)
{
    return (struct sp_request){.schedule = schedule,
                               .costs = costs,
                               .cost_stages = 1,
                               .parallel = {.pipeline = p},
                               .chunks = v,
                               .microbatches = m,
                               .slices = n};
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/*
 * SlimPipe with equal costs: bubble (p−1)/(nvm+p−1) and min(nv+2(p−1−r), nvm) units in flight on rank r; the
 * authors' schedule re-evaluated in arXiv 2504.14519's artifact. m ≥ 2 where the window is not clipped to
 * GPipe.
 */
Test(targets, slimpipe_uniform)
{
    static const uint32_t shapes[][4] = {
        /* p v m n */
        {2, 1, 2, 2},   {2, 1, 4, 3},   {2, 2, 3, 5},   {2, 5, 4, 8},   {3, 1, 2, 3},   {3, 2, 4, 7},
        {3, 3, 2, 8},   {4, 1, 2, 4},   {4, 1, 4, 4},   {4, 1, 4, 8},   {4, 2, 4, 4},   {4, 1, 2, 12},
        {4, 1, 2, 6},   {4, 2, 3, 10},  {4, 3, 2, 5},   {4, 10, 4, 16}, {5, 1, 3, 5},   {5, 2, 4, 12},
        {5, 4, 2, 15},  {6, 1, 2, 6},   {6, 2, 5, 9},   {6, 3, 3, 18},  {7, 1, 4, 7},   {7, 2, 2, 11},
        {7, 5, 3, 21},  {8, 1, 4, 16},  {8, 5, 2, 8},   {8, 5, 4, 8},   {8, 5, 2, 16},  {8, 5, 4, 16},
        {8, 2, 3, 12},  {8, 3, 2, 10},  {9, 2, 3, 15},  {10, 1, 4, 20}, {12, 2, 3, 14}, {12, 4, 2, 24},
        {16, 1, 2, 16}, {16, 5, 8, 32}, {16, 2, 3, 20}, {24, 2, 2, 30}, {32, 1, 2, 32}, {32, 3, 2, 40},
        {32, 3, 4, 64}, {32, 2, 2, 36},
    };
    struct unit_costs unit;
    const struct sp_pass_costs *costs = unit_costs_init(&unit, 1000, 1000, 1000, 0);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t p = shapes[i][0], v = shapes[i][1], m = shapes[i][2], n = shapes[i][3];
        struct sp_request request =
            unit_request("slimpipe", shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], costs);
        struct simulated s = simulate_request(&request, SP_SIM_LINKS);
        double expected = (double)(p - 1) / (double)(n * v * m + p - 1);
        cr_expect_float_eq(s.metrics.bubble_mean_idle, expected, 1e-9,
                           "p%d v%d m%d n%d: %.12f, expected %.12f", (int)p, (int)v, (int)m, (int)n,
                           s.metrics.bubble_mean_idle, expected);
        for (int64_t r = 0; r < p; r++)
            cr_expect_eq(s.metrics.devices[r].memory.peak_in_flight,
                         at_most(n * v + 2 * (p - 1 - r), n * v * m), "p%d v%d m%d n%d rank %d holds %d",
                         (int)p, (int)v, (int)m, (int)n, (int)r,
                         (int)s.metrics.devices[r].memory.peak_in_flight);
        cr_expect_leq(s.metrics.bound_ns, s.metrics.makespan_ns);
        drop_simulated(&s);
    }
}

/* Bubble with message delay x of a forward, both windows (papers.md 1.1, m = 4, F = 1, B = 2). */
Test(targets, slimpipe_windows)
{
    static const struct {
        uint32_t p, n, v, window;
        double bubble[4]; /* x = 0, .1, .3, .5 */
        int64_t peak;
    } rows[] = {
        {4, 8, 1, 2, {.0857, .0909, .1011, .1111}, 14},  {4, 8, 1, 1, {.0857, .1209, .1837, .2381}, 11},
        {8, 16, 1, 2, {.0986, .1045, .1160, .1273}, 30}, {8, 16, 1, 1, {.0986, .1382, .2079, .2672}, 23},
        {8, 8, 5, 2, {.0419, .0566, .0847, .1111}, 54},  {8, 8, 5, 1, {.0419, .0940, .1828, .2558}, 47},
    };
    static const int64_t delays[] = {0, 100, 300, 500};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int d = 0; d < 4; d++) {
            struct unit_costs unit;
            struct sp_request request = unit_request("slimpipe", rows[i].p, rows[i].v, 4, rows[i].n,
                                                     unit_costs_init(&unit, 1000, 1000, 1000, delays[d]));
            request.window = rows[i].window;
            struct simulated s = simulate_request(&request, SP_SIM_PLAIN);
            cr_expect_float_eq(s.metrics.bubble_mean_idle, rows[i].bubble[d], 5.1e-5,
                               "p%u n%u v%u window %u delay %d: %.5f, expected %.4f", rows[i].p, rows[i].n,
                               rows[i].v, rows[i].window, (int)delays[d], s.metrics.bubble_mean_idle,
                               rows[i].bubble[d]);
            cr_expect_eq(s.metrics.devices[0].memory.peak_in_flight, rows[i].peak);
            drop_simulated(&s);
        }
    }
}

/* AMD Primus' published simulator output and further points of its code (papers.md 2.0): F = I = W = 1000. */
Test(targets, primus_1f1b_and_interleaved)
{
    static const struct {
        uint32_t p, m;
        double plain, interleaved; /* T in units of 1000 */
        double plain_memory, interleaved_memory;
    } rows[] = {
        {4, 8, 33, 28.5, 4, 5.5},       {4, 16, 57, 52.5, 4, 5.5},    {6, 24, 87, 79.5, 6, 8.5},
        {8, 16, 69, 58.5, 8, 11.5},     {8, 32, 117, 106.5, 8, 11.5}, {12, 48, 177, 160.5, 12, 17.5},
        {16, 64, 237, 214.5, 16, 23.5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct unit_costs unit;
        struct sp_request request =
            unit_request("1f1b", rows[i].p, 1, rows[i].m, 1, unit_costs_init(&unit, 1000, 1000, 1000, 0));
        struct simulated s = simulate_request(&request, SP_SIM_PLAIN);
        cr_expect_eq(s.metrics.makespan_ns, (int64_t)(rows[i].plain * 1000));
        cr_expect_eq(s.metrics.devices[0].memory.peak_in_flight, (int64_t)rows[i].plain_memory);
        for (uint32_t r = 0; r < rows[i].p; r++) {
            cr_expect_eq(s.metrics.devices[r].last_ns, (int64_t)(rows[i].plain * 1000) - 2000 * r);
            cr_expect_eq(s.metrics.devices[r].memory.peak_in_flight, rows[i].p - r);
        }
        drop_simulated(&s);

        request =
            unit_request("interleaved", rows[i].p, 2, rows[i].m, 1, unit_costs_init(&unit, 500, 500, 500, 0));
        s = simulate_request(&request, SP_SIM_PLAIN);
        cr_expect_eq(s.metrics.makespan_ns, (int64_t)(rows[i].interleaved * 1000));
        for (uint32_t r = 0; r < rows[i].p; r++) {
            cr_expect_eq(s.metrics.devices[r].last_ns, (int64_t)(rows[i].interleaved * 1000) - 1000 * r);
            cr_expect_eq(s.metrics.devices[r].memory.peak_in_flight,
                         (int64_t)(2 * rows[i].interleaved_memory) - 2 * r);
        }
        drop_simulated(&s);
    }
}

/* Zero Bubble Table 5, 1F1B column, from the profiled times of its Table 9 (arXiv 2401.10241). Longest span.
 */
Test(targets, zero_bubble_table5_1f1b)
{
    static const struct {
        uint32_t p, m;
        int64_t f, b, w, comm; /* µs */
        double bubble;
    } rows[] = {
        {8, 24, 18522, 18086, 9337, 601, .2431},   {8, 32, 18513, 18086, 9331, 626, .1985},
        {8, 64, 18546, 18097, 9321, 762, .1240},   {8, 24, 29718, 29444, 19927, 527, .2347},
        {8, 32, 29802, 29428, 19530, 577, .1898},  {8, 64, 29935, 29621, 19388, 535, .1091},
        {16, 48, 11347, 11248, 8132, 377, .2552},  {16, 64, 11307, 11254, 8101, 379, .2082},
        {16, 128, 11325, 11308, 8109, 378, .1251}, {32, 96, 10419, 10207, 7715, 408, .2646},
        {32, 128, 10408, 10204, 7703, 408, .2168}, {32, 256, 10402, 10248, 7698, 460, .1352},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct unit_costs unit;
        struct sp_request request = unit_request("1f1b", rows[i].p, 1, rows[i].m, 1,
                                                 unit_costs_init(&unit, 1000 * rows[i].f, 1000 * rows[i].b,
                                                                 1000 * rows[i].w, 1000 * rows[i].comm));
        struct simulated s = simulate_request(&request, SP_SIM_PLAIN);
        cr_expect_float_eq(s.metrics.bubble_longest_span, rows[i].bubble, 5.1e-5,
                           "row %d: %.5f, expected %.4f", (int)i, s.metrics.bubble_longest_span,
                           rows[i].bubble);
        drop_simulated(&s);
    }
}

static void parse_times(const char *text, int64_t *times, int count)
{
    for (int i = 0; i < count; i++)
        times[i] = 1000 * strtoll(text, (char **)&text, 10);
}

/*
 * What a hop costs between two GPUs of an 8 x A100 server, per byte of bf16 hidden states: the profiled
 * communication times of arXiv 2401.10241, Table 9, models of Table 3 (1.5B: b 6, s 1024, h 2304; 6.2B: b 3,
 * s 1024, h 4096).
 */
static double hop_ns_per_byte(void)
{
    double first = 0.601e6 / (2.0 * 6 * 1024 * 2304), second = 0.527e6 / (2.0 * 3 * 1024 * 4096);
    return (first + second) / 2;
}

/*
 * Measured stage times of Megatron-LM's 1F1B on 8 A100 (sail-sg/VocabularyParallelism,
 * artifact/exp_one_host.csv): the simulated iteration is within 1.0 % of the measured one on average. Its
 * receives block: a hop takes the receiving device's time before the pass, so it is added to the pass.
 */
Test(targets, measured_stage_times)
{
    FILE *file = fopen("tests/data/vocab_stage_times.csv", "r");
    char line[512], *fields[8];
    double error_sum = 0;
    int rows = 0;
    cr_assert(file);
    cr_assert_eq(read_csv_row(file, line, sizeof line, fields, 8), 7);
    while (read_csv_row(file, line, sizeof line, fields, 8) == 7) {
        enum { STAGES = 8 };
        int64_t forward[STAGES], backward[STAGES];
        static const int64_t zero[STAGES];
        int64_t hop_ns = (int64_t)(2.0 * atof(fields[1]) * atof(fields[2]) * hop_ns_per_byte());
        parse_times(fields[5], forward, STAGES);
        parse_times(fields[6], backward, STAGES);
        for (int i = 0; i + 1 < STAGES; i++) {
            forward[i + 1] += hop_ns;
            backward[i] += hop_ns;
        }
        struct sp_pass_costs costs = {.forward_ns = forward, .input_ns = backward, .weight_ns = zero};
        struct sp_request request = unit_request("1f1b", STAGES, 1, 128, 1, &costs);
        request.cost_stages = STAGES;
        struct simulated s = simulate_request(&request, SP_SIM_PLAIN);
        double measured = atof(fields[3]) * 1e6;
        double relative = fabs((double)s.metrics.makespan_ns - measured) / measured;
        cr_expect_lt(relative, 0.015, "%s: %.4f", fields[0], relative);
        error_sum += relative;
        rows++;
        drop_simulated(&s);
    }
    fclose(file);
    cr_assert_eq(rows, 8);
    cr_expect_lt(error_sum / rows, 0.01, "mean error %.4f", error_sum / rows);
}
