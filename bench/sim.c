/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: sp_sim_run over programs that are there, as a search calls it, and a plan of two million
 * passes from its file to its makespan.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "slimpipe/planner.h"
#include "slimpipe/sim.h"

struct job {
    struct sp_plan *plan;
    struct sp_program *program;
    struct sp_timeline timeline;
    enum sp_sim_rules rules;
    bool ledger;
};

static const int64_t forward_ns = 1000, input_ns = 1000, weight_ns = 1000;

static struct sp_request unit_request(const char *schedule, const struct sp_pass_costs *costs)
{
    return (struct sp_request){.schedule = schedule, .costs = costs, .cost_stages = 1};
}

static struct sp_pass_costs unit_costs(int64_t message_ns)
{
    return (struct sp_pass_costs){.forward_ns = &forward_ns,
                                  .input_ns = &input_ns,
                                  .weight_ns = &weight_ns,
                                  .message_ns = message_ns,
                                  .activation_bytes = 1};
}

static void job_init(struct job *job, const struct sp_request *request)
{
    struct sp_error error;

    *job = (struct job){.rules = SP_SIM_PLAIN};
    bench_check(sp_plan_compose(request, &job->plan, &error), &error);
    bench_check(sp_program_create(job->plan, &job->program, &error), &error);
    bench_check(sp_timeline_init(&job->timeline, job->program, "predicted", &error), &error);
}

static void job_finish(struct job *job)
{
    sp_timeline_finish(&job->timeline);
    sp_program_destroy(job->program);
    sp_plan_destroy(job->plan);
}

static void simulate(void *context)
{
    struct job *job = context;
    struct sp_device_memory memory;
    struct sp_error error;

    bench_check(sp_sim_run(job->program, job->rules, &job->timeline, &error), &error);
    for (uint32_t device = 0; job->ledger && device < job->program->device_count; device++)
        sp_program_memory(job->program, device, &memory);
}

static void bound(void *context)
{
    struct job *job = context;
    struct sp_error error;
    int64_t bound_ns;

    bench_check(sp_sim_bound(job->program, &bound_ns, &error), &error);
}

/* p 64, m 512: 65,536 passes; with messages that cost something and none. */
static void run_1f1b(struct bench *bench)
{
    struct sp_pass_costs costs = unit_costs(100);
    struct sp_request request = unit_request("1f1b", &costs);
    struct job job;

    request.parallel.pipeline = 64;
    request.microbatches = 512;
    job_init(&job, &request);
    double passes = (double)job.plan->order.begin[job.plan->order.device_count];
    double instructions = job.program->instruction_count;
    bench_run(bench, "1F1B p64 m512, plain", passes, "passes", simulate, &job);
    job.rules = SP_SIM_SENDER_BLOCKS;
    bench_run(bench, "1F1B p64 m512, sender-blocks", passes, "passes", simulate, &job);
    job.rules = SP_SIM_LINKS;
    job.ledger = true;
    bench_run(bench, "1F1B p64 m512, links and ledger", instructions, "instr", simulate, &job);
    job_finish(&job);
}

/* Llama 70B at 512K tokens on 128 GPUs, every past slice shared out layer by layer. */
static void run_slimpipe(struct bench *bench)
{
    struct sp_request request = {.schedule = "slimpipe",
                                 .parallel = {.pipeline = 16, .tensor = 4, .context = 2},
                                 .chunks = 5,
                                 .slices = 32,
                                 .microbatches = 8,
                                 .sequence_tokens = 512 << 10,
                                 .recompute = SP_RECOMPUTE_SELECTIVE,
                                 .exchange = "pairwise"};
    struct sp_cluster cluster;
    struct sp_profile profile;
    struct sp_model model;
    struct sp_error error;
    struct job job;

    bench_check(sp_model_read("llama-3.1-70b", &model, &error), &error);
    bench_check(sp_cluster_read("h100", &cluster, &error), &error);
    bench_check(sp_profile_read(cluster.profile, &profile, &error), &error);
    request.model = &model;
    request.cluster = &cluster;
    request.profile = &profile;
    job_init(&job, &request);
    double instructions = job.program->instruction_count;
    job.rules = SP_SIM_LINKS;
    job.ledger = true;
    bench_run(bench, "SlimPipe 70B p16 v5 n32 m8, links and ledger", instructions, "instr", simulate, &job);
    job.rules = SP_SIM_PLAIN;
    bench_run(bench, "SlimPipe 70B p16 v5 n32 m8, plain and ledger", instructions, "instr", simulate, &job);
    bench_run(bench, "SlimPipe 70B p16 v5 n32 m8, bound", instructions, "instr", bound, &job);
    job_finish(&job);
}

/* 64 devices, 5 chunks, 64 slices, 50 microbatches: 2,048,000 passes. */
static void write_large_plan(const char *path)
{
    struct sp_pass_costs costs = unit_costs(100);
    struct sp_request request = unit_request("slimpipe", &costs);
    struct sp_plan *plan = NULL;
    struct sp_error error;

    request.parallel.pipeline = 64;
    request.chunks = 5;
    request.slices = 64;
    request.microbatches = 50;
    bench_check(sp_plan_compose(&request, &plan, &error), &error);
    bench_check(sp_plan_write(plan, path, &error), &error);
    sp_plan_destroy(plan);
}

/* What the steps of one plan take, and how many passes it has. */
enum step { READ, LOWER, SIMULATE, LEDGER, BOUND, ALL, STEPS };
struct steps {
    struct bench_time times[STEPS];
    double passes;
};

/* The time since *begin, which becomes now. */
static struct bench_time lap(struct bench_time *begin)
{
    struct bench_time time = bench_since(*begin);

    *begin = bench_now();
    return time;
}

static void time_steps(const char *path, struct steps *steps)
{
    struct job job = {.rules = SP_SIM_LINKS};
    struct sp_device_memory memory;
    struct sp_error error;
    int64_t bound_ns;
    struct bench_time first = bench_now(), begin = first;

    bench_check(sp_plan_read(path, &job.plan, &error), &error);
    steps->times[READ] = lap(&begin);
    bench_check(sp_program_create(job.plan, &job.program, &error), &error);
    steps->times[LOWER] = lap(&begin);
    bench_check(sp_timeline_init(&job.timeline, job.program, "predicted", &error), &error);
    bench_check(sp_sim_run(job.program, job.rules, &job.timeline, &error), &error);
    steps->times[SIMULATE] = lap(&begin);
    for (uint32_t device = 0; device < job.program->device_count; device++)
        sp_program_memory(job.program, device, &memory);
    steps->times[LEDGER] = lap(&begin);
    bench_check(sp_sim_bound(job.program, &bound_ns, &error), &error);
    steps->times[BOUND] = lap(&begin);
    steps->times[ALL] = bench_since(first);
    steps->passes = (double)job.plan->order.begin[job.plan->order.device_count];
    job_finish(&job);
}

/* In a process of its own, so that its peak is not that of what ran before. */
static bool run_apart(void (*work)(const char *path, struct steps *steps), const char *path,
                      struct steps *steps, int64_t *ret_peak_bytes)
{
    struct rusage usage;
    int ends[2], status;
    pid_t child;

    if (pipe(ends) != 0 || (child = fork()) < 0)
        return false;
    if (child == 0) {
        work(path, steps);
        _exit(write(ends[1], steps, sizeof *steps) != sizeof *steps);
    }
    close(ends[1]);
    bool good = read(ends[0], steps, sizeof *steps) == sizeof *steps;
    close(ends[0]);
    good = wait4(child, &status, 0, &usage) == child && status == 0 && good;
    *ret_peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    return good;
}

static void write_apart(const char *path, struct steps *steps)
{
    *steps = (struct steps){.passes = 0};
    write_large_plan(path);
}

static bool run_large(struct bench *bench)
{
    enum { RUNS = 7 };
    static const char *const names[STEPS] = {[READ] = "2M passes: read and check",
                                             [LOWER] = "2M passes: lower",
                                             [SIMULATE] = "2M passes: simulate, links",
                                             [LEDGER] = "2M passes: ledger",
                                             [BOUND] = "2M passes: bound",
                                             [ALL] = "2M passes: all of it"};
    char path[] = "/tmp/slimpipe-bench-XXXXXX";
    struct bench_time samples[STEPS][RUNS];
    struct steps steps = {.passes = 0};
    int64_t peak_bytes = 0, peak;
    int file = mkstemp(path);

    if (file < 0)
        return false;
    close(file);
    bool good = run_apart(write_apart, path, &steps, &peak);
    for (int k = 0; good && k < RUNS; k++) {
        good = run_apart(time_steps, path, &steps, &peak);
        for (int step = 0; step < STEPS; step++)
            samples[step][k] = steps.times[step];
        peak_bytes = peak > peak_bytes ? peak : peak_bytes;
    }
    unlink(path);
    for (int step = 0; good && step < STEPS; step++)
        bench_enter(bench, names[step], steps.passes, "passes", samples[step], RUNS)->peak_bytes =
            step == ALL ? peak_bytes : 0;
    return good;
}

int main(int argc, char **argv)
{
    struct bench bench;

    bench_init(&bench, argc, argv);
    if (!run_large(&bench)) {
        fprintf(stderr, "benchmark: the large plan failed\n");
        return 1;
    }
    run_1f1b(&bench);
    run_slimpipe(&bench);
    bench_finish(&bench);
    return 0;
}
