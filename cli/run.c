/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe run`: trains with a plan. */
#include "command.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slimpipe/executor.h"
#include "slimpipe/file.h"
#include "slimpipe/format.h"

#include "prediction.h"
#include "text.h"
#include "values.h"

enum {
    KEY_DATA = FIRST_LONG_KEY,
    KEY_STEPS,
    KEY_BACKEND,
    KEY_CLOCK,
    KEY_RATE,
    KEY_SGD,
    KEY_SEED,
    KEY_CHECKPOINT,
    KEY_RESUME,
    KEY_LOSS,
    KEY_TIMELINE,
    KEY_LIMIT
};
enum { MOST_STEPS = 1000000000, BAR = 30 };

struct arguments {
    struct usage usage;
    const char *plan, *data, *backend, *checkpoint, *resume, *loss, *timeline;
    int64_t steps, seed, limit_ms;
    int clock;
    float rate;
    bool sgd;
};

static const struct argp_option options[] = {
    {"data", KEY_DATA, "FILE", 0, "the text to train on; a token is a byte", 1},
    {"steps", KEY_STEPS, "N", 0, "iterations; default 10", 1},
    {"rate", KEY_RATE, "RATE", 0, "learning rate; default 0.001", 1},
    {"sgd", KEY_SGD, NULL, 0, "plain gradient descent in place of AdamW", 1},
    {"seed", KEY_SEED, "N", 0, "of the first weights; default 1", 1},
    {"checkpoint", KEY_CHECKPOINT, "FILE", 0, "write weights and optimizer state at the end", 1},
    {"resume", KEY_RESUME, "FILE", 0, "go on from a checkpoint of the same plan", 1},
    {NULL, 0, NULL, 0, "How:", 2},
    {"backend", KEY_BACKEND, "NAME", 0, "what runs it: host, or null, which does nothing; default host", 2},
    {"clock", KEY_CLOCK, "CLOCK", 0, "wall, virtual or plan; default wall", 2},
    {"limit", KEY_LIMIT, "TIME", 0, "the longest wait for a message or instruction; default 60s", 2},
    {NULL, 0, NULL, 0, "Outputs:", 3},
    {"loss", KEY_LOSS, "FILE", 0, "write step, loss and nanoseconds of each iteration as CSV", 3},
    {"timeline", KEY_TIMELINE, "FILE", 0, "write the last iteration for https://ui.perfetto.dev", 3},
    {0},
};

static enum sp_status parse_rate(struct arguments *arguments, const char *value, struct sp_error *error)
{
    char *end;
    float rate = strtof(value, &end);

    if (end == value || *end || !(rate >= 0 && rate < 1000))
        return sp_error_set(error, SP_INPUT, "--rate: '%s': expected a number from 0 to 1000", value);
    arguments->rate = rate;
    return SP_OK;
}

static enum sp_status parse_limit(struct arguments *arguments, const char *value, struct sp_error *error)
{
    int64_t limit_ns = 0;
    enum sp_status status = value_time("--limit", value, &limit_ns, error);

    if (!status && limit_ns < 1000000)
        return sp_error_set(error, SP_INPUT, "--limit: '%s': expected at least 1ms", value);
    arguments->limit_ms = limit_ns / 1000000;
    return status;
}

static enum sp_status parse_backend(struct arguments *arguments, const char *value, struct sp_error *error)
{
    arguments->backend = value;
    return sp_backend_find(value)
               ? SP_OK
               : sp_error_set(error, SP_INPUT, "--backend: there is none called '%s'", value);
}

static enum sp_status parse_option(struct arguments *arguments, int key, const char *value,
                                   struct sp_error *error)
{
    const char **const files[] = {[KEY_DATA - KEY_DATA] = &arguments->data,
                                  [KEY_CHECKPOINT - KEY_DATA] = &arguments->checkpoint,
                                  [KEY_RESUME - KEY_DATA] = &arguments->resume,
                                  [KEY_LOSS - KEY_DATA] = &arguments->loss,
                                  [KEY_TIMELINE - KEY_DATA] = &arguments->timeline,
                                  [KEY_LIMIT - KEY_DATA] = NULL};

    switch (key) {
    case KEY_STEPS:
        return value_count("--steps", value, 1, MOST_STEPS, &arguments->steps, error);
    case KEY_SEED:
        return value_count("--seed", value, 0, MOST_STEPS, &arguments->seed, error);
    case KEY_BACKEND:
        return parse_backend(arguments, value, error);
    case KEY_CLOCK:
        return value_choice("--clock", value, sp_clock_names, &arguments->clock, error);
    case KEY_RATE:
        return parse_rate(arguments, value, error);
    case KEY_LIMIT:
        return parse_limit(arguments, value, error);
    case KEY_SGD:
        arguments->sgd = true;
        return SP_OK;
    default:
        *files[key - KEY_DATA] = value;
        return SP_OK;
    }
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        if (arguments->plan)
            return usage_fail(&arguments->usage, "'%s': expected one plan, '%s' is given", value,
                              arguments->plan);
        arguments->plan = value;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->plan)
            return usage_fail(&arguments->usage, "expected a plan");
        if (!arguments->data && strcmp(arguments->backend, "null") != 0)
            return usage_fail(&arguments->usage, "expected --data, the text to train on");
        return 0;
    default:
        if (key < FIRST_LONG_KEY || key > KEY_LIMIT)
            return ARGP_ERR_UNKNOWN;
        return usage_status(&arguments->usage, parse_option(arguments, key, value, &arguments->usage.error));
    }
}

static const char doc[] =
    "Trains the plan's model, from random weights, with the plan's stages, slices, order and exchange; "
    "devices are "
    "threads of this process. Prints the loss of each iteration. PLAN may be '-' for standard input."
    "\v"
    "Examples:\n"
    "  slimpipe run plan.json --data text.txt --steps 100 --checkpoint trained.bin\n"
    "  slimpipe run plan.json --data text.txt --resume trained.bin --loss loss.csv\n"
    "\n"
    "Clocks:\n"
    "  wall     real time\n"
    "  virtual  an instruction takes its own CPU time, a message what the plan says\n"
    "  plan     everything takes what the plan says";

static const struct argp argp = {.options = options, .parser = parse, .args_doc = "PLAN", .doc = doc};

/* --- Training ------------------------------------------------------------------------------------------- */

struct training {
    struct sp_plan *plan;
    struct sp_program *program;
    struct sp_executor *executor;
    struct sp_timeline timeline;
    int32_t *tokens;
    struct sp_file loss;
};

/* For the signal handler. */
static struct sp_executor *running;

static void stop(int number)
{
    (void)number;
    sp_executor_stop(running);
}

static void show_progress(int64_t done, int64_t steps, const struct sp_step *step)
{
    char bar[BAR + 1];

    if (!isatty(STDERR_FILENO))
        return;
    for (int i = 0; i < BAR; i++)
        bar[i] = i * steps < done * BAR ? '#' : '.';
    bar[BAR] = '\0';
    fprintf(stderr, "\r[%s] %" PRId64 "/%" PRId64 "  loss %.4f ", bar, done, steps, step->loss);
    if (done == steps)
        fprintf(stderr, "\r\033[K");
}

static enum sp_status train(const struct arguments *arguments, struct training *t, int64_t first,
                            struct sp_error *error)
{
    enum sp_status status = SP_OK;
    struct sp_step step;

    for (int64_t i = first; !status && i < first + arguments->steps; i++) {
        if ((status = sp_executor_step(t->executor, i, &t->timeline, &step, error)))
            return status;
        if (t->loss.stream)
            fprintf(t->loss.stream, "%" PRId64 ",%.9g,%" PRId64 "\n", i, step.loss, step.makespan_ns);
        if (!isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO) || i + 1 == first + arguments->steps)
            printf("step %" PRId64 "  loss %.6f  %s\n", i, step.loss, sp_format_time(step.makespan_ns).text);
        show_progress(i - first + 1, arguments->steps, &step);
    }
    return status;
}

static enum sp_status make_executor(const struct arguments *arguments, struct training *t,
                                    struct sp_error *error)
{
    struct sp_executor_settings settings = sp_executor_settings_default();
    enum sp_status status = SP_OK;

    settings.backend = sp_backend_find(arguments->backend);
    settings.clock = (enum sp_clock)arguments->clock;
    settings.limit_ms = arguments->limit_ms;
    settings.training.seed = (uint64_t)arguments->seed;
    settings.training.rate = arguments->rate;
    settings.training.sgd = arguments->sgd;
    if (arguments->data)
        status = text_read(arguments->data, &t->tokens, &settings.training.token_count, error);
    settings.training.tokens = t->tokens;
    if (status || (status = sp_program_create(t->plan, &t->program, error)))
        return status;
    return sp_executor_create(t->program, &settings, &t->executor, error);
}

static void write_timeline(const struct training *t, FILE *stream)
{
    sp_timeline_write_trace(&t->timeline, stream);
}

static enum sp_status write_outputs(const struct arguments *arguments, struct training *t, int64_t next,
                                    struct sp_error *error)
{
    struct sp_file file;
    enum sp_status status = SP_OK;

    if (t->loss.stream)
        status = sp_file_commit(&t->loss, error);
    if (!status && arguments->checkpoint)
        status = sp_executor_save(t->executor, t->program->device_count, next, arguments->checkpoint, error);
    if (status || !arguments->timeline)
        return status;
    if ((status = sp_file_create(arguments->timeline, &file, error)))
        return status;
    write_timeline(t, file.stream);
    return sp_file_commit(&file, error);
}

static enum sp_status run_plan(const struct arguments *arguments, struct training *t, struct sp_error *error)
{
    int64_t first = 0;
    enum sp_status status;

    if ((status = sp_plan_read(arguments->plan, &t->plan, error)) ||
        (status = make_executor(arguments, t, error)) ||
        (status = sp_timeline_init(&t->timeline, t->program, "measured", error)) ||
        (arguments->resume && (status = sp_executor_load(t->executor, t->program->device_count,
                                                         arguments->resume, &first, error))) ||
        (arguments->loss && (status = sp_file_create(arguments->loss, &t->loss, error))))
        return status;
    if (t->loss.stream)
        fprintf(t->loss.stream, "step,loss,nanoseconds\n");
    running = t->executor;
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    if ((status = train(arguments, t, first, error)))
        return status;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    return write_outputs(arguments, t, first + arguments->steps, error);
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {.backend = "host",
                                  .clock = SP_CLOCK_WALL,
                                  .steps = 10,
                                  .seed = 1,
                                  .limit_ms = 60000,
                                  .rate = sp_training_default().rate};
    struct training t = {0};
    struct sp_error error;
    int code;

    if (!command_parse(&argp, argc, argv, &arguments.usage, &arguments))
        return EXIT_USAGE;
    code = command_end("run", run_plan(&arguments, &t, &error), &error);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sp_file_discard(&t.loss);
    sp_executor_destroy(t.executor);
    sp_timeline_finish(&t.timeline);
    sp_program_destroy(t.program);
    sp_plan_destroy(t.plan);
    sp_free(t.tokens);
    return code;
}

const struct command command_run = {
    .name = "run",
    .summary = "train a model with a plan, on this machine",
    .run = run,
};
