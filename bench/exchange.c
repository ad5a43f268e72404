/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange: bubbles and volumes of none, the authors' pairwise rule and ours, with free messages, for the
 * configurations of the authors' table; how long ours takes to solve; and the three with real links.
 *
 * With --json only the times to solve, in the harness' form.
 */
#include <math.h>

#include "../planner/exchange.h"
#include "harness.h"
#include "slimpipe/planner.h"
#include "slimpipe/sim.h"

struct configuration {
    const char *model, *cluster;
    uint32_t devices, slices, chunks, microbatches;
    int64_t sequence, tensor;
    bool with_output; /* else the output layer takes no time */
};

static struct sp_plan *compose(const struct configuration *c)
{
    static struct sp_model model;
    static struct sp_cluster cluster;
    static struct sp_profile profile;
    struct sp_error error;
    struct sp_plan *plan;

    bench_check(sp_model_read(c->model, &model, &error), &error);
    bench_check(sp_cluster_read(c->cluster, &cluster, &error), &error);
    bench_check(sp_profile_read(cluster.profile, &profile, &error), &error);
    if (!c->with_output)
        model.vocab = 16;
    struct sp_request request = {.schedule = "slimpipe",
                                 .model = &model,
                                 .cluster = &cluster,
                                 .profile = &profile,
                                 .parallel = {c->devices, c->tensor, 1, 1, 1},
                                 .chunks = c->chunks,
                                 .slices = c->slices,
                                 .sequence_tokens = c->sequence,
                                 .microbatches = c->microbatches,
                                 .vocabulary = c->with_output ? SP_VOCABULARY_SCATTER : SP_VOCABULARY_LAST,
                                 .vocabulary_is_set = true,
                                 .exchange = c->with_output ? "optimal" : "none"};
    bench_check(sp_plan_compose(&request, &plan, &error), &error);
    return plan;
}

struct outcome {
    int64_t makespan_ns;
    double bubble;
    double tokens; /* times layers, moved */
};

static struct outcome simulate(const struct sp_plan *plan)
{
    struct sp_program *program;
    struct sp_timeline timeline;
    struct sp_metrics metrics;
    struct sp_error error;
    struct outcome outcome = {0};

    bench_check(sp_program_create(plan, &program, &error), &error);
    bench_check(sp_timeline_init(&timeline, program, "predicted", &error), &error);
    bench_check(sp_sim_run(program, SP_SIM_LINKS, &timeline, &error), &error);
    bench_check(sp_metrics_init(&metrics, &timeline, 0, &error), &error);
    outcome.makespan_ns = metrics.makespan_ns;
    outcome.bubble = metrics.bubble_mean_idle;
    for (uint64_t e = 0; e < plan->exchange_count; e++)
        outcome.tokens += (double)(plan->exchange[e].token_end - plan->exchange[e].token_begin) *
                          plan->stages[plan->exchange[e].pass.stage].layer_count;
    sp_metrics_finish(&metrics);
    sp_timeline_finish(&timeline);
    sp_program_destroy(program);
    return outcome;
}

static struct outcome apply(struct sp_plan *plan, const char *policy)
{
    struct sp_error error;

    bench_check(sp_exchange_policy_find(policy)->fill(plan, &error), &error);
    return simulate(plan);
}

static double balanced(const struct configuration *c)
{
    return (c->devices - 1.) / ((double)c->slices * c->chunks * c->microbatches + c->devices - 1.);
}

/* --- Free messages ----------------------------------------------------------------------------------- */

static void write_bubbles(bool with_output)
{
    static const struct {
        const char *model;
        uint32_t devices, slices, chunks;
    } rows[] = {{"paper-13b", 8, 8, 5},   {"paper-13b", 8, 16, 5},  {"paper-13b", 8, 32, 5},
                {"paper-13b", 8, 64, 5},  {"paper-13b", 4, 4, 10},  {"paper-13b", 4, 16, 10},
                {"paper-70b", 8, 8, 5},   {"paper-70b", 8, 16, 5},  {"paper-70b", 8, 32, 5},
                {"paper-70b", 8, 64, 5},  {"paper-70b", 16, 16, 5}, {"paper-70b", 16, 64, 5},
                {"paper-149b", 32, 32, 3}};

    printf("Bubble with free messages (mean idle), m 4, %s. busy: ours when idle devices do not help.\n"
           "Moved: past tokens times layers, busy's and ours over the pairwise rule's; ours over the least "
           "for its "
           "lengths.\n\n"
           "%-26s %5s %8s %9s %8s %8s %9s  %s\n",
           with_output ? "output layer scattered" : "without output layer", "configuration", "s", "none",
           "pairwise", "busy", "optimal", "balanced", "moved");
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        for (int64_t sequence = 64; sequence <= 512; sequence *= 2) {
            struct configuration c = {rows[row].model,  "ideal", rows[row].devices, rows[row].slices,
                                      rows[row].chunks, 4,       sequence * 1024,   8,
                                      with_output};
            struct sp_plan *plan = compose(&c);
            struct sp_exchange_settings settings = sp_exchange_settings_default;
            struct sp_exchange_report report;
            struct sp_error error;
            struct outcome none = apply(plan, "none"), pairwise = apply(plan, "pairwise");
            settings.idle_helps = false;
            bench_check(sp_exchange_optimal_fill(plan, &settings, &report, &error), &error);
            struct outcome busy = simulate(plan);
            settings.idle_helps = true;
            bench_check(sp_exchange_optimal_fill(plan, &settings, &report, &error), &error);
            struct outcome optimal = simulate(plan);
            printf("%-11s p%-2u n%-2u v%-2u %7ldK %8.4f %9.4f %8.4f %8.4f %9.4f  %.2f %.2f %.3f%s\n", c.model,
                   c.devices, c.slices, c.chunks, (long)sequence, none.bubble, pairwise.bubble, busy.bubble,
                   optimal.bubble, balanced(&c), busy.tokens / pairwise.tokens,
                   optimal.tokens / pairwise.tokens, (double)report.tokens / report.tokens_bound,
                   optimal.bubble > balanced(&c) + 0.001 ? "  MISSED" : "");
            sp_plan_destroy(plan);
        }
    }
    printf("\n");
}

/* --- Time to solve ----------------------------------------------------------------------------------- */

struct job {
    struct sp_plan *plan;
    struct sp_exchange_report report;
};

static void solve(void *context)
{
    struct job *job = context;
    struct sp_error error;

    bench_check(sp_exchange_optimal_fill(job->plan, &sp_exchange_settings_default, &job->report, &error),
                &error);
}

static void time_solver(struct bench *bench, const char *name, const struct configuration *c, int runs)
{
    struct job job = {.plan = compose(c)};
    struct bench_time samples[BENCH_RUNS];

    for (int k = 0; k < runs; k++) {
        struct bench_time begin = bench_now();
        solve(&job);
        samples[k] = bench_since(begin);
    }
    bench_enter(bench, name, job.report.waves, "waves", samples, runs);
    sp_plan_destroy(job.plan);
}

static void time_solvers(struct bench *bench)
{
    static const struct configuration free_16 = {"paper-70b", "ideal", 16, 64, 5, 4, 1048576, 8, false};
    static const struct configuration h100_16 = {"paper-70b", "h100", 16, 64, 5, 4, 1048576, 8, false};
    static const struct configuration free_64 = {"paper-149b", "ideal", 64, 256, 1, 4, 4194304, 8, false};
    static const struct configuration h100_64 = {"paper-149b", "h100", 64, 256, 1, 4, 4194304, 8, false};

    time_solver(bench, "70B p16 n64 v5 m4, free messages", &free_16, 5);
    time_solver(bench, "70B p16 n64 v5 m4, H100", &h100_16, 5);
    time_solver(bench, "149B p64 n256 v1 m4, free messages", &free_64, 1);
    time_solver(bench, "149B p64 n256 v1 m4, H100", &h100_64, 1);
}

/* --- Real links -------------------------------------------------------------------------------------- */

struct gains {
    int count, not_slower;
    double least[2], most[2], log_sum[2]; /* time of none, of pairwise over ours */
};

static void compare(const struct configuration *c, struct gains *gains)
{
    static const char *const others[] = {"none", "pairwise"};
    struct sp_plan *plan = compose(c);
    int64_t ours = apply(plan, "optimal").makespan_ns;
    bool not_slower = true;

    for (int k = 0; k < 2; k++) {
        double gain = (double)apply(plan, others[k]).makespan_ns / (double)ours;
        gains->least[k] = gains->count ? fmin(gains->least[k], gain) : gain;
        gains->most[k] = fmax(gains->most[k], gain);
        gains->log_sum[k] += log(gain);
        not_slower &= gain >= 1;
    }
    gains->count++;
    gains->not_slower += not_slower;
    sp_plan_destroy(plan);
}

static void write_gains(const char *cluster)
{
    static const struct {
        const char *model;
        uint32_t devices, chunks;
    } rows[] = {{"paper-13b", 4, 5}, {"paper-13b", 8, 5},  {"paper-70b", 4, 5},
                {"paper-70b", 8, 5}, {"paper-70b", 8, 10}, {"paper-70b", 16, 5}};
    struct gains gains = {0};

    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        for (uint32_t more = 1; more <= 2; more++)
            for (int64_t sequence = 64; sequence <= 512; sequence *= 2)
                for (int64_t tensor = 2; tensor <= 8; tensor *= 2)
                    compare(&(struct configuration){rows[row].model, cluster, rows[row].devices,
                                                    more * rows[row].devices, rows[row].chunks, 4,
                                                    sequence * 1024, tensor, false},
                            &gains);
    printf("%-8s %4d configurations, %d not slower than both. Time over ours, least, geometric mean, most:\n"
           "         none %.3f %.3f %.3f   pairwise %.3f %.3f %.3f\n",
           cluster, gains.count, gains.not_slower, gains.least[0], exp(gains.log_sum[0] / gains.count),
           gains.most[0], gains.least[1], exp(gains.log_sum[1] / gains.count), gains.most[1]);
}

int main(int argc, char **argv)
{
    struct bench bench;

    bench_init(&bench, argc, argv);
    if (!bench.json) {
        write_bubbles(false);
        write_bubbles(true);
        write_gains("h100");
        write_gains("a800");
        printf("\nAll waves solved, on one core:\n\n");
    }
    time_solvers(&bench);
    bench_finish(&bench);
    return 0;
}
