/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that the sources of the schedules state, or that follow from their definitions. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "schedule_clock.h"
#include "support.h"

/* F = I = W = 1000 on a device, so 1000 / v on a chunk. */
static struct clock_result run_unit(const char *name, uint32_t p, uint32_t v, uint32_t m)
{
    int64_t unit = 1000 / v;
    struct clock_rules rules = {.forward = unit, .input = unit, .weight = unit};
    struct sp_shape shape = {.devices = p,
                             .chunks = v,
                             .microbatches = m,
                             .forward_ns = unit,
                             .input_ns = unit,
                             .weight_ns = unit};
    return clock_schedule(name, &shape, &rules);
}

/* AMD Primus' published simulator output: p 8, m 32, F = I = W = 1000, free messages. Ends by rank. */
static const struct {
    char schedule[16];
    uint32_t chunks;
    int64_t ends[8];
    double held[8]; /* microbatches, a chunk counting 1/v */
} primus[] = {
    {"1f1b", 1, {117000, 115000, 113000, 111000, 109000, 107000, 105000, 103000}, {8, 7, 6, 5, 4, 3, 2, 1}},
    {"zb-1p", 1, {103000, 103000, 103000, 103000, 103000, 103000, 103000, 103000}, {8, 8, 8, 8, 8, 8, 8, 8}},
    {"interleaved",
     2,
     {106500, 105500, 104500, 103500, 102500, 101500, 100500, 99500},
     {11.5, 10.5, 9.5, 8.5, 7.5, 6.5, 5.5, 4.5}},
    {"zb-v-hand", 2, {96000, 96500, 97000, 97500, 98000, 98500, 99000, 99500}, {8, 8, 8, 8, 8, 8, 8, 8}},
    {"v-half", 2, {104500, 104000, 103500, 103000, 102500, 102000, 102000, 102500}, {5, 5, 5, 5, 5, 5, 5, 5}},
    {"v-min", 2, {109000, 108500, 108000, 107500, 107000, 106500, 106000, 106000}, {4, 4, 4, 4, 4, 4, 4, 4}},
};

Test(schedule_targets, primus_published)
{
    for (size_t i = 0; i < sizeof(primus) / sizeof(*primus); i++) {
        struct clock_result result = run_unit(primus[i].schedule, 8, primus[i].chunks, 32);
        for (uint32_t r = 0; r < 8; r++) {
            cr_expect_eq(result.end[r], primus[i].ends[r], "%s rank %u ends at %lld", primus[i].schedule, r,
                         (long long)result.end[r]);
            cr_expect_eq((double)result.held[r] / primus[i].chunks, primus[i].held[r],
                         "%s rank %u holds %lld", primus[i].schedule, r, (long long)result.held[r]);
        }
    }
}

/* The same code at further points: end and memory for 1F1B, ZB-1P, interleaved v 2, ZB-V, V-Half, V-Min. */
static const struct {
    uint32_t p, m;
    double end[6], held[6];
} primus_points[] = {
    {4, 8, {33, 27, 28.5, 25.5, 26.5, 29.5}, {4, 4, 5.5, 4, 3, 2}},
    {4, 16, {57, 51, 52.5, 49.5, 50.5, 53.5}, {4, 4, 5.5, 4, 3, 2}},
    {6, 24, {87, 77, 79.5, 74.5, 77.5, 80.5}, {6, 6, 8.5, 6, 4, 3}},
    {8, 16, {69, 55, 58.5, 51.5, 56.5, 61}, {8, 8, 11.5, 8, 5, 4}},
    {8, 32, {117, 103, 106.5, 99.5, 104.5, 109}, {8, 8, 11.5, 8, 5, 4}},
    {12, 48, {177, 155, 160.5, 149.5, 158.5, 164.5}, {12, 12, 17.5, 12, 7, 5}},
    {16, 64, {237, 207, 214.5, 199.5, 212.5, 221.5}, {16, 16, 23.5, 16, 9, 6}},
};

Test(schedule_targets, primus_points)
{
    static const char *const names[6] = {"1f1b", "zb-1p", "interleaved", "zb-v-hand", "v-half", "v-min"};

    for (size_t i = 0; i < sizeof(primus_points) / sizeof(*primus_points); i++) {
        uint32_t p = primus_points[i].p, m = primus_points[i].m;
        for (int s = 0; s < 6; s++) {
            uint32_t v = s < 2 ? 1 : 2;
            struct clock_result result = run_unit(names[s], p, v, m);
            cr_expect_eq((double)result.makespan / 1000, primus_points[i].end[s], "%s p %u m %u: %lld",
                         names[s], p, m, (long long)result.makespan);
            cr_expect_eq((double)clock_most(result.held, p) / v, primus_points[i].held[s], "%s p %u m %u",
                         names[s], p, m);
        }
    }
}

/* Extra time over m·(F + I + W) and memory of the same schedules, as closed forms of p. */
Test(schedule_targets, closed_forms_of_equal_times)
{
    for (uint32_t p = 2; p <= 12; p += 2) {
        uint32_t m = 4 * p;
        int64_t busy = 3000 * (int64_t)m, step = 1000 * (int64_t)(p - 1);
        cr_expect_eq(run_unit("1f1b", p, 1, m).makespan - busy, 3 * step);
        cr_expect_eq(run_unit("gpipe", p, 1, m).makespan - busy, 3 * step);
        cr_expect_eq(run_unit("zb-h1", p, 1, m).makespan - busy, step);
        cr_expect_eq(run_unit("zb-1p", p, 1, m).makespan - busy, step);
        cr_expect_eq(run_unit("interleaved", p, 2, m).makespan - busy, 3 * step / 2);
        cr_expect_eq(run_unit("looped-bfs", p, 2, m).makespan - busy, 3 * step / 2);
        cr_expect_eq(run_unit("zb-v-hand", p, 2, m).makespan - busy, step / 2);
        cr_expect_eq(run_unit("zb-v", p, 2, m).longest_span, busy);
        cr_expect_eq(run_unit("zb-h2", p, 1, m).longest_span, busy);
        cr_expect_eq(clock_most(run_unit("zb-h1", p, 1, m).held, p), p);
        cr_expect_eq(clock_most(run_unit("zb-h2", p, 1, m).held, p), 2 * p - 1);
        cr_expect_eq(clock_most(run_unit("gpipe", p, 1, m).held, p), m);
        cr_expect_eq(clock_most(run_unit("v-half", p, 2, m).held, p), 2 * ((p + 2) / 2));
        if (p >= 4)
            cr_expect_eq(clock_most(run_unit("v-min", p, 2, m).held, p), 2 * ((p + 4) / 3), "p %u", p);
    }
}

/*
 * Zero Bubble, arXiv 2401.10241: profiled times (table 9, µs here) and bubble rates (table 5, 1/10000). Rate
 * = (cost − m(F + I + W)) / cost, cost the longest span of a stage.
 */
static const struct {
    uint32_t p, m;
    int64_t f, i, w, hop;
    int rate[5]; /* 1F1B, ZB-H1, ZB-H2, ZB-1p, ZB-2p */
} zero_bubble[] = {
    {8, 24, 18522, 18086, 9337, 601, {2431, 1585, 1083, 1585, 433}},
    {8, 32, 18513, 18086, 9331, 626, {1985, 1242, 837, 1242, 39}},
    {8, 64, 18546, 18097, 9321, 762, {1240, 674, 444, 674, 26}},
    {8, 24, 29718, 29444, 19927, 527, {2347, 1323, 698, 1323, 29}},
    {8, 32, 29802, 29428, 19530, 577, {1898, 1045, 559, 1045, 22}},
    {8, 64, 29935, 29621, 19388, 535, {1091, 554, 294, 554, 10}},
    {16, 48, 11347, 11248, 8132, 377, {2552, 1397, 672, 1397, 66}},
    {16, 64, 11307, 11254, 8101, 379, {2082, 1088, 516, 1088, 54}},
    {16, 128, 11325, 11308, 8109, 378, {1251, 576, 266, 576, 28}},
    {32, 96, 10419, 10207, 7715, 408, {2646, 1421, 641, 1421, 38}},
    {32, 128, 10408, 10204, 7703, 408, {2168, 1106, 490, 1106, 29}},
    {32, 256, 10402, 10248, 7698, 460, {1352, 594, 257, 594, 18}},
};

Test(schedule_targets, zero_bubble_table_5)
{
    static const char *const names[5] = {"1f1b", "zb-h1", "zb-h2", "zb-1p", "zb-2p"};

    for (size_t k = 0; k < sizeof(zero_bubble) / sizeof(*zero_bubble); k++) {
        int64_t f = zero_bubble[k].f, i = zero_bubble[k].i, w = zero_bubble[k].w, hop = zero_bubble[k].hop;
        struct clock_rules rules = {.forward = f, .input = i, .weight = w, .hop = hop};
        struct sp_shape shape = {.devices = zero_bubble[k].p,
                                 .microbatches = zero_bubble[k].m,
                                 .forward_ns = f,
                                 .input_ns = i,
                                 .weight_ns = w,
                                 .message_ns = hop};
        double work = (double)(shape.microbatches * (f + i + w));
        for (int s = 0; s < 5; s++) {
            double cost = (double)clock_schedule(names[s], &shape, &rules).longest_span;
            cr_expect_eq((int)round(10000 * (cost - work) / cost), zero_bubble[k].rate[s], "%s row %zu: %f",
                         names[s], k, (cost - work) / cost);
        }
    }
}

/* ZB-V, V-Half and V-Min of the published code on the same rows (derived): ours are no worse. */
static const int v_rates[12][3] = {
    {703, 1702, 3353}, {543, 1339, 3103}, {298, 737, 2758},  {403, 1447, 2721},
    {326, 1145, 2496}, {166, 607, 2013},  {498, 1682, 2927}, {381, 1318, 2615},
    {195, 706, 2085},  {531, 1780, 3027}, {404, 1398, 2712}, {220, 765, 2242},
};

Test(schedule_targets, v_schedules_on_table_9)
{
    static const char *const names[3] = {"zb-v", "v-half", "v-min"};

    for (size_t k = 0; k < sizeof(zero_bubble) / sizeof(*zero_bubble); k++) {
        /* A chunk takes half of a stage; twice the times keep them whole. */
        int64_t f = zero_bubble[k].f, i = zero_bubble[k].i, w = zero_bubble[k].w,
                hop = 2 * zero_bubble[k].hop;
        struct clock_rules rules = {.forward = f, .input = i, .weight = w, .hop = hop};
        struct sp_shape shape = {.devices = zero_bubble[k].p,
                                 .microbatches = zero_bubble[k].m,
                                 .forward_ns = f,
                                 .input_ns = i,
                                 .weight_ns = w,
                                 .message_ns = hop};
        double work = (double)(2 * shape.microbatches * (f + i + w));
        for (int s = 0; s < 3; s++) {
            double cost = (double)clock_schedule(names[s], &shape, &rules).longest_span;
            cr_expect_leq((int)round(10000 * (cost - work) / cost), v_rates[k][s], "%s row %zu: %f", names[s],
                          k, (cost - work) / cost);
        }
    }
}

/* SlimPipe, arXiv 2504.14519: p, n, v, m with n a multiple of p or not, m 1 among them. */
static const uint32_t slimpipe[][4] = {
    {2, 2, 1, 2},   {2, 3, 1, 2},   {2, 4, 2, 3},   {3, 3, 1, 4},   {3, 4, 1, 2},   {3, 7, 2, 2},
    {3, 6, 3, 4},   {4, 4, 1, 2},   {4, 4, 1, 4},   {4, 8, 1, 4},   {4, 4, 2, 4},   {4, 8, 2, 4},
    {4, 12, 1, 2},  {4, 6, 1, 2},   {4, 10, 2, 3},  {4, 9, 1, 3},   {4, 5, 4, 2},   {5, 5, 1, 4},
    {5, 6, 2, 2},   {5, 11, 1, 2},  {6, 6, 1, 4},   {6, 8, 2, 2},   {6, 9, 1, 3},   {6, 12, 3, 4},
    {7, 7, 2, 4},   {7, 10, 1, 2},  {8, 8, 1, 2},   {8, 8, 5, 2},   {8, 16, 5, 2},  {8, 8, 5, 4},
    {8, 16, 5, 4},  {8, 16, 1, 4},  {8, 12, 2, 2},  {8, 9, 1, 2},   {8, 32, 2, 4},  {12, 12, 2, 2},
    {12, 18, 1, 2}, {16, 16, 2, 2}, {16, 20, 1, 2}, {16, 32, 5, 2}, {16, 24, 3, 2}, {32, 32, 1, 2},
    {32, 48, 2, 2}, {32, 64, 1, 4},
};

Test(schedule_targets, slimpipe_bubble_and_memory)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};
    int odd = 0;

    for (size_t k = 0; k < sizeof(slimpipe) / sizeof(*slimpipe); k++) {
        uint32_t p = slimpipe[k][0], n = slimpipe[k][1], v = slimpipe[k][2], m = slimpipe[k][3];
        for (uint32_t window = 0; window <= 2; window++) {
            struct sp_shape shape = {
                .devices = p, .chunks = v, .microbatches = m, .slices = n, .window = window};
            struct clock_result result = clock_schedule("slimpipe", &shape, &rules);
            double units = (double)n * v * m, bubble = 1 - 3000 * units / (double)result.makespan;
            int64_t ahead = window == 1 ? 1 : 2; /* 0: the authors' window */
            cr_expect_float_eq(bubble, (p - 1) / (units + p - 1), 1e-9, "p %u n %u v %u m %u w %u: %.12f", p,
                               n, v, m, window, bubble);
            for (uint32_t r = 0; r < p; r++) {
                int64_t held = (int64_t)n * v + ahead * (p - 1 - r);
                held = held < (int64_t)units ? held : (int64_t)units;
                cr_expect_eq(result.held[r], held, "p %u n %u v %u m %u w %u rank %u holds %lld", p, n, v, m,
                             window, r, (long long)result.held[r]);
            }
        }
        odd += n % p != 0;
    }
    cr_assert_geq(sizeof(slimpipe) / sizeof(*slimpipe), 40);
    cr_assert_geq(odd, 15);
}

/* One microbatch: everything is ahead, as in GPipe over slices. */
Test(schedule_targets, slimpipe_one_microbatch)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};

    for (uint32_t n = 4; n <= 12; n += 2) {
        struct sp_shape shape = {.devices = 4, .chunks = 1, .microbatches = 1, .slices = n};
        struct clock_result result = clock_schedule("slimpipe", &shape, &rules);
        cr_expect_eq(result.makespan, 3000 * (int64_t)(n + 3));
        for (uint32_t r = 0; r < 4; r++)
            cr_expect_eq(result.held[r], n);
    }
}

/*
 * The two windows when a hop takes a share of a slice's forward (derived from the authors' order, B = 2F, m
 * 4): bubble in 1/10000 at shares 0, .1, .3, .5.
 */
static const struct {
    uint32_t p, n, v;
    int authors[4], small[4];
    int64_t authors_held, small_held;
} windows[] = {
    {4, 8, 1, {857, 909, 1011, 1111}, {857, 1209, 1837, 2381}, 14, 11},
    {8, 16, 1, {986, 1045, 1160, 1273}, {986, 1382, 2079, 2672}, 30, 23},
    {8, 8, 5, {419, 566, 847, 1111}, {419, 940, 1828, 2558}, 54, 47},
};

Test(schedule_targets, slimpipe_windows)
{
    static const int64_t hops[4] = {0, 100, 300, 500};

    for (size_t k = 0; k < sizeof(windows) / sizeof(*windows); k++) {
        for (int h = 0; h < 4; h++) {
            for (uint32_t window = 1; window <= 2; window++) {
                struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000, .hop = hops[h]};
                struct sp_shape shape = {.devices = windows[k].p,
                                         .chunks = windows[k].v,
                                         .microbatches = 4,
                                         .slices = windows[k].n,
                                         .window = window};
                struct clock_result result = clock_schedule("slimpipe", &shape, &rules);
                double bubble = 1 - 12000.0 * shape.slices * shape.chunks / (double)result.makespan;
                cr_expect_eq(
                    (int)round(10000 * bubble), window == 2 ? windows[k].authors[h] : windows[k].small[h],
                    "p %u window %u hop %lld: %f", shape.devices, window, (long long)hops[h], bubble);
                cr_expect_eq(result.held[0], window == 2 ? windows[k].authors_held : windows[k].small_held);
            }
        }
    }
}

/* Seq1F1B, arXiv 2406.03488: n + p − 1 slices on rank 0; bubble (p − 1)/(nm + p − 1). TeraPipe: all slices.
 */
Test(schedule_targets, slices_without_chunks)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};

    for (uint32_t p = 2; p <= 8; p += 3) {
        for (uint32_t n = 1; n <= 9; n += 4) {
            struct sp_shape shape = {.devices = p, .microbatches = 2 * p, .slices = n};
            int64_t units = (int64_t)shape.microbatches * n;
            struct clock_result seq1f1b = clock_schedule("seq1f1b", &shape, &rules);
            struct clock_result terapipe = clock_schedule("terapipe", &shape, &rules);
            cr_expect_eq(seq1f1b.makespan, 3000 * (units + p - 1));
            cr_expect_eq(terapipe.makespan, 3000 * (units + p - 1));
            for (uint32_t r = 0; r < p; r++) {
                cr_expect_eq(seq1f1b.held[r], n + p - 1 - r);
                cr_expect_eq(terapipe.held[r], units);
            }
        }
    }
}

/* Interleaved Seq1F1B holds (v − 1)p + 2(p − 1 − r) + n slices of chunks on rank r. */
Test(schedule_targets, seq1f1b_interleaved)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};

    for (uint32_t n = 1; n <= 8; n *= 2) {
        struct sp_shape shape = {.devices = 8, .chunks = 2, .microbatches = 16, .slices = n};
        struct clock_result result = clock_schedule("seq1f1b-interleaved", &shape, &rules);
        for (uint32_t r = 0; r < 8; r++)
            cr_expect_eq(result.held[r], 8 + 2 * (7 - (int64_t)r) + n);
    }
}

/* DualPipe's README: idle (PP/2 − 1)(F&B + B − 3W) for PP stages; B is the whole backward. */
Test(schedule_targets, dualpipe_idle)
{
    for (uint32_t p = 2; p <= 16; p += 2) {
        for (int64_t joined = 2500; joined <= 3000; joined += 500) {
            struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000, .joined = joined};
            struct sp_shape shape = {.devices = p, .microbatches = 2 * p + 4};
            struct clock_result result = clock_schedule("dualpipe", &shape, &rules);
            int64_t most = 0;
            for (uint32_t r = 0; r < p; r++)
                most = result.makespan - result.busy[r] > most ? result.makespan - result.busy[r] : most;
            cr_expect_eq(most, (p / 2 - 1) * (joined + 2000 - 3000), "p %u: %lld", p, (long long)most);
            cr_expect_eq(clock_most(result.held, p), p + 1);
        }
    }
}

/* DualPipeV (derived from the published step list): R ranks, M microbatches, F 1, B 2, W 1, F&B as given. */
static const struct {
    uint32_t p, m;
    int64_t joined, makespan;
} dualpipev[] = {
    {2, 8, 3000, 50000},  {4, 10, 3000, 66000}, {4, 16, 3000, 102000}, {8, 20, 3000, 134000},
    {4, 10, 2500, 59000}, {4, 16, 2500, 89000}, {8, 32, 2500, 179000},
};

Test(schedule_targets, dualpipev_times)
{
    for (size_t k = 0; k < sizeof(dualpipev) / sizeof(*dualpipev); k++) {
        uint32_t p = dualpipev[k].p;
        struct clock_rules rules = {
            .forward = 1000, .input = 1000, .weight = 1000, .joined = dualpipev[k].joined};
        struct sp_shape shape = {.devices = p, .microbatches = dualpipev[k].m};
        struct clock_result result = clock_schedule("dualpipev", &shape, &rules);
        int64_t most = 0;
        cr_expect_eq(result.makespan, dualpipev[k].makespan, "p %u m %u: %lld", p, shape.microbatches,
                     (long long)result.makespan);
        for (uint32_t r = 0; r < p; r++)
            most = result.makespan - result.busy[r] > most ? result.makespan - result.busy[r] : most;
        cr_expect_eq(most, (p - 1) * (dualpipev[k].joined + 2000 - 3000));
    }
}

/* One line of PyTorch's CSV from one device's passes. */
static void print_torch(const struct sp_order *order, uint32_t d, char *line, size_t size)
{
    size_t at = 0;

    for (uint64_t k = order->begin[d]; k < order->begin[d + 1]; k++) {
        char first[32], second[32];
        const struct sp_pass *pass = &order->passes[k];
        sp_pass_text(pass, 1, first, sizeof(first));
        if (pass->joined) {
            sp_pass_text(pass + 1, 1, second, sizeof(second));
            k++;
        }
        at += (size_t)snprintf(line + at, size - at, pass->joined ? "%s(%s;%s)OVERLAP_F_B" : "%s%s",
                               pass == &order->passes[order->begin[d]] ? "" : ",", first, second);
        cr_assert_lt(at, size);
    }
}

/* pytorch test/distributed/pipelining/artifacts/dualpipev_4rank_10mb.csv, token by token. */
Test(schedule_targets, dualpipev_is_pytorchs)
{
    struct sp_shape shape = {.devices = 4, .chunks = 2, .microbatches = 10, .slices = 1};
    struct sp_arena *arena = sp_arena_create();
    FILE *file = fopen("tests/data/peers/torch_dualpipev_4rank_10mb.csv", "r");
    struct sp_order order;
    struct sp_error error;
    char line[4096], ours[4096];

    cr_assert_not_null(file);
    cr_assert_eq(sp_schedule_order(sp_schedule_find("dualpipev"), &shape, arena, &order, &error), SP_OK);
    for (uint32_t d = 0; d < 4; d++) {
        cr_assert_not_null(fgets(line, sizeof(line), file));
        line[strcspn(line, "\r\n")] = 0;
        print_torch(&order, d, ours, sizeof(ours));
        cr_expect_str_eq(ours, line);
    }
    cr_assert_null(fgets(line, sizeof(line), file));
    fclose(file);
    sp_arena_destroy(arena);
}

/*
 * BitPipe, arXiv 2410.19367, and its code: with F = B idle p − 2 chunk forwards; with B = 2F (m/p + 1)(p −
 * 2), for m = p the paper's (p − 2)/(3m + p − 2). Chunks held by its middle ranks: 4p.
 */
Test(schedule_targets, bitpipe)
{
    for (uint32_t p = 4; p <= 16; p *= 2) {
        for (uint32_t units = 1; units <= 4; units *= 2) {
            struct sp_shape shape = {.devices = p, .microbatches = units * p};
            struct clock_rules equal = {.forward = 1000, .input = 1000},
                               twice = {.forward = 1000, .input = 2000};
            struct clock_result result = clock_schedule("bitpipe", &shape, &equal);
            cr_expect_eq(result.makespan - result.busy[0], 1000 * (int64_t)(p - 2));
            cr_expect_eq(clock_most(result.held, p), 2 * p);
            result = clock_schedule("bitpipe", &shape, &twice);
            cr_expect_eq(result.makespan - result.busy[0], 1000 * (int64_t)((units + 1) * (p - 2)));
        }
    }
}

/*
 * Chimera, arXiv 2107.06925: bubble (p − 2)/(2m + p − 2) with B = F; (p − 2)/(3m/2 + p − 2) with B = 2F and
 * m = p. Memory between p/2 + 1 and p microbatches of a stage.
 */
Test(schedule_targets, chimera)
{
    for (uint32_t p = 4; p <= 16; p *= 2) {
        for (uint32_t units = 1; units <= 4; units++) {
            struct sp_shape shape = {.devices = p, .microbatches = units * p};
            struct clock_rules equal = {.forward = 1000, .input = 1000},
                               twice = {.forward = 1000, .input = 2000};
            struct clock_result result = clock_schedule("chimera", &shape, &equal);
            double m = shape.microbatches, bubble = 1 - (double)result.busy[0] / (double)result.makespan;
            cr_expect_float_eq(bubble, (p - 2) / (2 * m + p - 2), 1e-9, "p %u m %u: %f", p,
                               shape.microbatches, bubble);
            cr_expect_eq(clock_most(result.held, p), p);
            for (uint32_t r = 0; r < p; r++)
                cr_expect_geq(result.held[r], p / 2 + 1);
            result = clock_schedule("chimera", &shape, &twice);
            bubble = 1 - (double)result.busy[0] / (double)result.makespan;
            if (units == 1)
                cr_expect_float_eq(bubble, (p - 2) / (1.5 * m + p - 2), 1e-9, "p %u: %f", p, bubble);
        }
    }
}

/* Hanayo, SC 2023: bubble (2p − 2)/(3pw + p − 1) with w waves, m = p and B = 2F; ours is never above it. */
Test(schedule_targets, hanayo)
{
    struct clock_rules rules = {.forward = 1000, .input = 2000};

    for (uint32_t p = 2; p <= 16; p *= 2) {
        for (uint32_t waves = 1; waves <= 4; waves *= 2) {
            struct sp_shape shape = {.devices = p, .chunks = 2 * waves, .microbatches = p};
            struct clock_result result = clock_schedule("hanayo", &shape, &rules);
            double bubble = 1 - (double)result.busy[0] / (double)result.makespan;
            cr_expect_leq(bubble, (2.0 * p - 2) / (3.0 * p * waves + p - 1) + 1e-9, "p %u w %u: %f", p, waves,
                          bubble);
        }
    }
}

/*
 * PipeOffload, arXiv 2503.01328: GIS with groups of g that divide m: peak g(v − 1) + p, idle 2(p − 1) +
 * (p − g)(v − 1) chunk units at F = I = W.
 */
Test(schedule_targets, gis)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};

    for (uint32_t p = 4; p <= 8; p += 4) {
        for (uint32_t v = 2; v <= 4; v++) {
            for (uint32_t g = p / 2; g <= p; g++) {
                struct sp_shape shape = {.devices = p, .chunks = v, .microbatches = 4 * g, .group = g};
                struct clock_result result = clock_schedule("gis", &shape, &rules);
                cr_expect_eq(clock_most(result.held, p), g * (v - 1) + p);
                cr_expect_eq(result.makespan - result.busy[0],
                             1000 * (int64_t)(2 * (p - 1) + (p - g) * (v - 1)));
            }
        }
    }
    /* Published points. */
    struct sp_shape point = {.devices = 8, .chunks = 4, .microbatches = 32, .group = 4};
    struct clock_result result = clock_schedule("gis", &point, &rules);
    cr_expect_eq(clock_most(result.held, 8), 20);
    cr_expect_eq(result.makespan - result.busy[0], 26000);
    cr_expect_eq(clock_schedule("gis-h", &point, &rules).makespan, result.makespan);
}

/*
 * Units on the device when copies are there in time: a unit leaves behind the forward after its own and is
 * back from its L on.
 */
static int64_t resident(const char *name, const struct sp_shape *asked)
{
    const struct sp_schedule *schedule = sp_schedule_find(name);
    struct sp_shape shape = *asked;
    struct sp_arena *arena = sp_arena_create();
    struct sp_order order;
    struct sp_error error;
    int64_t most = 0;

    shape.slices = 1;
    cr_assert_eq(sp_schedule_order(schedule, &shape, arena, &order, &error), SP_OK, "%s", error.message);
    for (uint32_t d = 0; d < order.device_count; d++) {
        int64_t held = 0, leaving = 0;
        for (uint64_t k = order.begin[d]; k < order.begin[d + 1]; k++) {
            uint8_t kind = order.passes[k].kind;
            held += (kind == SP_PASS_F) + (kind == SP_PASS_L) - (kind == SP_PASS_W);
            most = held > most ? held : most;
            if (kind == SP_PASS_F) {
                held -= leaving;
                leaving = 0;
            }
            leaving += kind == SP_PASS_O;
        }
        cr_expect_eq(held, leaving);
    }
    sp_arena_destroy(arena);
    return most;
}

/*
 * sail-sg's offload pass on the same orders (groups of p, its first v/2 chunks offloaded, copies a tenth of
 * F + I + W, any m from p to 4p): chunks on the fullest device.
 */
static const struct {
    uint32_t p, v;
    int64_t peak;
} offload_peers[] = {{4, 2, 4}, {4, 3, 8}, {4, 4, 8}, {8, 2, 8}, {8, 3, 16}, {8, 4, 16}};

Test(schedule_targets, pipeoffload_peers)
{
    for (size_t k = 0; k < sizeof(offload_peers) / sizeof(*offload_peers); k++) {
        uint32_t p = offload_peers[k].p;
        for (uint32_t m = p; m <= 4 * p; m *= 2) {
            struct sp_shape shape = {
                .devices = p, .chunks = offload_peers[k].v, .microbatches = m, .group = p};
            cr_expect_leq(resident("po-h", &shape), offload_peers[k].peak, "p %u v %u m %u: %lld", p,
                          offload_peers[k].v, m, (long long)resident("po-h", &shape));
        }
    }
}

/* Full offload holds about four units whatever the shape; half offload far less than GIS-H. */
Test(schedule_targets, pipeoffload_memory)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};

    for (uint32_t p = 4; p <= 16; p *= 2) {
        for (uint32_t v = 2; v <= 8; v *= 2) {
            struct sp_shape shape = {.devices = p, .chunks = v, .microbatches = 4 * p};
            int64_t gis_h = clock_most(clock_schedule("gis-h", &shape, &rules).held, p);
            cr_expect_leq(resident("po-f", &shape), 5, "p %u v %u: %lld", p, v,
                          (long long)resident("po-f", &shape));
            cr_expect_leq(2 * resident("po-h", &shape), gis_h + p, "p %u v %u: %lld of %lld", p, v,
                          (long long)resident("po-h", &shape), (long long)gis_h);
        }
    }
}

/* Forward passes alone: bubble (p − 1)/(vm + p − 1). */
Test(schedule_targets, forward_only)
{
    struct clock_rules rules = {.forward = 1000};

    for (uint32_t v = 1; v <= 4; v++) {
        struct sp_shape shape = {.devices = 4, .chunks = v, .microbatches = 16};
        cr_expect_eq(clock_schedule("forward-only", &shape, &rules).makespan, 1000 * (int64_t)(16 * v + 3));
    }
}

/* The slice-level V at equal times: no bubble but the fill, n + p − 1 more slices of chunks than ZB-V's p. */
Test(schedule_targets, slice_v)
{
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 1000};

    for (uint32_t p = 2; p <= 8; p *= 2) {
        for (uint32_t n = 1; n <= 8; n *= 2) {
            struct sp_shape shape = {.devices = p, .microbatches = 2 * p, .slices = n};
            struct clock_result result = clock_schedule("slice-v", &shape, &rules);
            cr_expect_eq(result.longest_span, 6000 * (int64_t)(shape.microbatches * n));
            cr_expect_eq(result.makespan - result.longest_span, 1000 * (int64_t)(p - 1));
            for (uint32_t r = 0; r < p; r++)
                cr_expect_eq(result.held[r], 2 * (int64_t)(p + n - 1), "p %u n %u rank %u: %lld", p, n, r,
                             (long long)result.held[r]);
        }
    }
}

/* SkipPipe's setting, arXiv 2502.19913: 20 nodes, 6 stages, paths of 4, 3 microbatches held by a node. */
static struct clock_result run_skippipe(struct sp_shape *shape, int64_t *visits)
{
    const struct sp_schedule *schedule = sp_schedule_find("skippipe");
    struct clock_rules rules = {.forward = 1000, .input = 1000, .weight = 500, .hop = 300};
    struct clock_result result = clock_schedule("skippipe", shape, &rules);
    struct sp_arena *arena = sp_arena_create();
    const uint32_t *begin = NULL;
    const uint16_t *stages = NULL;
    struct sp_error error;

    cr_assert_eq(schedule->paths(shape, arena, &begin, &stages, &error), SP_OK);
    for (uint32_t i = 0; i < shape->microbatches; i++) {
        cr_expect_eq(begin[i + 1] - begin[i], shape->path_stages);
        cr_expect_eq(stages[begin[i]], 0);
        cr_expect_eq(stages[begin[i + 1] - 1], shape->stages - 1);
    }
    for (uint32_t k = 0; k < begin[shape->microbatches]; k++)
        visits[stages[k]]++;
    sp_arena_destroy(arena);
    return result;
}

Test(schedule_targets, skippipe)
{
    struct sp_shape shape = {.devices = 20,
                             .microbatches = 36,
                             .slices = 1,
                             .chunks = 1,
                             .stages = 6,
                             .path_stages = 4,
                             .memory_units = 3000,
                             .forward_ns = 1000,
                             .input_ns = 1000,
                             .weight_ns = 500,
                             .message_ns = 300};
    int64_t visits[6] = {0}, all_visits[6] = {0};
    struct clock_result some = run_skippipe(&shape, visits), all;

    for (uint32_t s = 1; s + 1 < shape.stages; s++)
        cr_expect_eq(visits[s], 36 * 2 / 4, "stage %u is visited %lld times", s, (long long)visits[s]);
    cr_expect_leq(clock_most(some.held, shape.devices), 3);
    shape.path_stages = 6;
    all = run_skippipe(&shape, all_visits);
    cr_expect_eq(all_visits[3], 36);
    cr_expect_leq(clock_most(all.held, shape.devices), 3);
    /* A third of the work is left out. */
    cr_expect_lt(some.makespan, all.makespan * 4 / 5, "%lld of %lld", (long long)some.makespan,
                 (long long)all.makespan);
}

/* A slow node and a slow link are gone around where there is another way. */
Test(schedule_targets, skippipe_goes_around)
{
    enum { NODES = 6 };
    int64_t links[NODES * NODES];
    uint32_t permille[NODES] = {1000, 4000, 1000, 1000, 1000, 1000};
    struct sp_shape shape = {.devices = NODES,
                             .microbatches = 1,
                             .slices = 1,
                             .chunks = 1,
                             .stages = 3,
                             .path_stages = 3,
                             .forward_ns = 1000,
                             .input_ns = 1000,
                             .weight_ns = 1000,
                             .link_ns = links,
                             .device_permille = permille};
    struct sp_arena *arena = sp_arena_create();
    struct sp_order order;
    struct sp_error error;

    for (int i = 0; i < NODES * NODES; i++)
        links[i] = 100;
    links[4 * NODES + 2] = links[2 * NODES + 4] = 9000;
    cr_assert_eq(sp_schedule_order(sp_schedule_find("skippipe"), &shape, arena, &order, &error), SP_OK);
    cr_expect_eq(order.begin[2], order.begin[1], "the slow node 1 runs something");
    cr_expect_eq(order.begin[5] - order.begin[4], 2, "node 4 holds stage 1");
    cr_expect_eq(order.begin[3], order.begin[2], "node 2, behind the slow link, runs something");
    cr_expect_eq(order.begin[6] - order.begin[5], 2, "node 5 holds stage 2");
    sp_arena_destroy(arena);
}
