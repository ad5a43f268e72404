/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe compare`: every schedule on one model. */
#include "command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/compare.h"
#include "slimpipe/file.h"
#include "slimpipe/format.h"
#include "slimpipe/json.h"

#include "plan_options.h"
#include "progress.h"
#include "values.h"

enum {
    KEY_SCHEDULES = FIRST_LONG_KEY,
    KEY_PARETO,
    KEY_SVG,
    KEY_JSON,
    KEY_THREADS,
    MOST_SCHEDULES = 64,
};

struct arguments {
    struct plan_options plan; /* first: its usage is the command's */
    const char *svg;
    bool pareto;
    const char *schedules[MOST_SCHEDULES + 1]; /* none: all */
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Comparison:", 5},
    {"schedules", KEY_SCHEDULES, "NAME,...", 0, "compare these; default: all", 5},
    {"pareto", KEY_PARETO, NULL, 0, "show the plans that none is both faster and smaller than", 5},
    {"svg", KEY_SVG, "FILE", 0, "write a picture of time against memory", 5},
    {"json", KEY_JSON, "FILE", 0, "write every plan's figures, '-' for standard output", 5},
    {"threads", KEY_THREADS, "N", 0, "default: one per processor; the answer is the same for any", 5},
    {0},
};

static enum sp_status add_schedule(struct arguments *arguments, const char *name, struct sp_error *error)
{
    const char *names[128] = {NULL};
    int index = 0, count = 0;
    enum sp_status status;

    for (int i = 0; sp_schedules[i] && i < 127; i++)
        names[i] = sp_schedules[i]->name;
    while (arguments->schedules[count])
        count++;
    if (count == MOST_SCHEDULES)
        return sp_error_set(error, SP_INPUT, "--schedules: expected at most %d", MOST_SCHEDULES);
    if ((status = value_choice("--schedules", name, names, &index, error)))
        return status;
    for (int i = 0; i < count; i++)
        if (arguments->schedules[i] == names[index])
            return sp_error_set(error, SP_INPUT, "--schedules: %s is there twice", name);
    arguments->schedules[count] = names[index];
    return SP_OK;
}

static enum sp_status parse_schedules(struct arguments *arguments, char *value, struct sp_error *error)
{
    enum sp_status status = SP_OK;

    for (char *name = value; name && !status;) {
        char *next = strchr(name, ',');
        if (next)
            *next++ = '\0';
        status = add_schedule(arguments, name, error);
        name = next;
    }
    return status;
}

static enum sp_status parse_option(struct arguments *arguments, int key, char *value, struct sp_error *error)
{
    switch (key) {
    case KEY_SCHEDULES:
        return parse_schedules(arguments, value, error);
    case KEY_PARETO:
        arguments->pareto = true;
        return SP_OK;
    case KEY_SVG:
        arguments->svg = value;
        return SP_OK;
    case KEY_JSON:
        arguments->plan.json = value;
        return SP_OK;
    default:
        return value_count("--threads", value, 1, 64, &arguments->plan.threads, error);
    }
}

static bool is_stream(const char *file)
{
    return file && strcmp(file, "-") == 0;
}

static enum sp_status check(struct arguments *arguments, struct sp_error *error)
{
    struct plan_options *plan = &arguments->plan;
    enum sp_status status = plan_options_check(plan, error);

    if (status)
        return status;
    if (!plan->pipeline)
        return sp_error_set(error, SP_INPUT, "--pp is missing: expected the number of pipeline devices");
    if (plan->schedule && arguments->schedules[0])
        return sp_error_set(error, SP_INPUT, "--schedule and --schedules: expected one of them");
    if (plan->schedule)
        arguments->schedules[0] = plan->schedule;
    if (is_stream(arguments->svg) && is_stream(plan->json))
        return sp_error_set(error, SP_INPUT, "--svg, --json: expected one at most on standard output");
    return SP_OK;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct usage *usage = &arguments->plan.usage;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->plan;
        return 0;
    case ARGP_KEY_ARG:
        return usage_fail(usage, "'%s': expected options only", value);
    case ARGP_KEY_END:
        return usage_status(usage, check(arguments, &usage->error));
    case KEY_SCHEDULES:
    case KEY_PARETO:
    case KEY_SVG:
    case KEY_JSON:
    case KEY_THREADS:
        return usage_status(usage, parse_option(arguments, key, value, &usage->error));
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Plans and simulates every schedule on one model, with the same degrees, batch and memory cap. Each gets "
    "a small set of its own knobs, as far as no option fixes them: stages per device, slices, window, "
    "groups, "
    "memory, recompute, divisions, exchange, and where the output layer runs."
    "\v"
    "Examples:\n"
    "  slimpipe compare --model llama-3.1-70b --cluster h100 --gpus 64 \\\n"
    "      --seq-len 256K --batch-tokens 4M --tp 8 --pp 8 --svg compare.svg\n"
    "  slimpipe compare --pp 4 --microbatches 8 \\\n"
    "      --unit-cost forward=10ms,backward=10ms,weight=10ms,activation=1000000\n"
    "\n"
    "Columns: v, stages per device; n, slices; idle and span, the bubble over the\n"
    "iteration and within the longest device's span; peak memory per GPU; bytes\n"
    "sent; gap to a proven bound.\n"
    "\n"
    "An option of the schedule or memory groups fixes that knob for all schedules\n"
    "that have it; its default stands for 'try several'. Unit costs are those of a\n"
    "device's whole part of one microbatch, divided among its stages and slices.\n"
    "\n" UNIT_COST_HELP;

static const struct argp_child children[] = {{.argp = &plan_options_argp}, {0}};
static const struct argp argp = {
    .options = options, .parser = parse, .doc = doc, .children = children, .help_filter = plan_options_help};

/* --- Outputs -------------------------------------------------------------------------------------------- */

/* "262144" as "256K". */
static void put_size(char *text, size_t size, int64_t number)
{
    static const char units[] = "KMGT";
    int unit = -1;

    for (; number >= 1024 && number % 1024 == 0 && unit < 3; unit++)
        number /= 1024;
    snprintf(text, size, unit < 0 ? "%" PRId64 : "%" PRId64 "%c", number, units[unit < 0 ? 0 : unit]);
}

static void write_title(const struct arguments *arguments, char *title, size_t size)
{
    const struct plan_options *plan = &arguments->plan;
    char tokens[32];

    if (!plan->model) {
        snprintf(title, size, "Unit costs: pp %" PRId64 ", %" PRId64 " microbatches", plan->pipeline,
                 plan->microbatches);
        return;
    }
    put_size(tokens, sizeof(tokens), plan->sequence_tokens);
    snprintf(title, size, "%s, %s tokens, tp %" PRId64 ", cp %" PRId64 ", pp %" PRId64 " on %s", plan->model,
             tokens, plan->tensor ? plan->tensor : 1, plan->context ? plan->context : 1, plan->pipeline,
             plan->cluster);
}

static enum sp_status write_svg(const struct arguments *arguments, const struct sp_compare_result *result,
                                struct sp_error *error)
{
    struct sp_file file;
    char title[512];
    enum sp_status status;

    if (!arguments->svg)
        return SP_OK;
    if ((status = sp_file_create(arguments->svg, &file, error)))
        return status;
    write_title(arguments, title, sizeof(title));
    sp_compare_write_svg(result, title, file.stream);
    return sp_file_commit(&file, error);
}

static enum sp_status write_json(const struct arguments *arguments, const struct sp_compare_result *result,
                                 struct sp_error *error)
{
    struct sp_json_writer writer;
    struct sp_file file;
    enum sp_status status;

    if (!arguments->plan.json)
        return SP_OK;
    if ((status = sp_file_create(arguments->plan.json, &file, error)))
        return status;
    sp_json_writer_init(&writer, file.stream);
    sp_json_begin_object(&writer, NULL);
    sp_compare_write_json(result, &writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
    return sp_file_commit(&file, error);
}

static enum sp_status run_comparison(const struct arguments *arguments, const struct plan_inputs *inputs,
                                     struct sp_compare_result *ret_result, struct sp_error *error)
{
    const struct plan_options *plan = &arguments->plan;
    struct sp_compare_request request = {
        .fixed = (plan->recompute_is_set ? SP_FIXED_RECOMPUTE : 0u) |
                 (plan->offload_is_set ? SP_FIXED_OFFLOAD : 0u) | (plan->exchange ? SP_FIXED_EXCHANGE : 0u),
        .schedules = arguments->schedules[0] ? arguments->schedules : NULL,
        .threads = (int)plan->threads,
        .progress = progress_report,
    };
    struct progress progress;
    enum sp_status status;

    plan_options_request(plan, inputs, &request.base);
    progress_init(&progress, "comparing");
    request.progress_context = &progress;
    status = sp_compare_run(&request, ret_result, error);
    progress_finish(&progress);
    return status;
}

/* SP_INFEASIBLE where none fits: the answer is no. */
static enum sp_status check_any_fits(const struct sp_compare_result *result, struct sp_error *error)
{
    const struct sp_compare_row *first = result->rows;

    if (first->outcome == SP_COMPARE_FITS)
        return SP_OK;
    if (first->outcome == SP_COMPARE_REFUSED)
        return sp_error_set(error, SP_INFEASIBLE, "every schedule is refused");
    return sp_error_set(error, SP_INFEASIBLE,
                        "no schedule fits %s per GPU; the nearest is %s, which needs %s more",
                        sp_format_bytes(first->request.memory_cap_bytes).text, first->schedule->name,
                        sp_format_bytes(first->over_bytes).text);
}

static enum sp_status compare(const struct arguments *arguments, struct sp_error *error)
{
    struct sp_compare_result result;
    struct plan_inputs inputs;
    enum sp_status status;

    if ((status = plan_options_read(&arguments->plan, &inputs, error)) ||
        (status = run_comparison(arguments, &inputs, &result, error)))
        return status;
    if (!is_stream(arguments->svg) && !is_stream(arguments->plan.json))
        sp_compare_write_table(&result, arguments->pareto, stdout);
    if (!(status = write_svg(arguments, &result, error)) && !(status = write_json(arguments, &result, error)))
        status = check_any_fits(&result, error);
    sp_compare_finish(&result);
    return status;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {.svg = NULL};
    struct sp_error error;
    int code = EXIT_USAGE;

    if (command_parse(&argp, argc, argv, &arguments.plan.usage, &arguments))
        code = command_end("compare", compare(&arguments, &error), &error);
    plan_options_finish(&arguments.plan);
    return code;
}

const struct command command_compare = {
    .name = "compare",
    .summary = "plan every schedule on one model and compare",
    .run = run,
};
