/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe validate`: predicts a plan, replays it for real, and compares. */
#include "command.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slimpipe/executor.h"
#include "slimpipe/file.h"
#include "slimpipe/format.h"
#include "slimpipe/json.h"

#include "prediction.h"
#include "text.h"
#include "values.h"

enum {
    KEY_BACKEND = FIRST_LONG_KEY,
    KEY_CLOCK,
    KEY_STEPS,
    KEY_AS_PLANNED,
    KEY_JSON,
    KEY_SVG,
    KEY_TIMELINE,
    KEY_LIMIT
};
enum { TABLE_COLUMNS = 80, MOST_STEPS = 1000 };

struct arguments {
    struct usage usage;
    const char *plan, *backend, *json, *svg, *timeline;
    int clock;
    int64_t steps, limit_ms;
    bool as_planned;
};

static const struct argp_option options[] = {
    {"backend", KEY_BACKEND, "NAME", 0, "what runs it; default host", 1},
    {"clock", KEY_CLOCK, "CLOCK", 0, "wall, virtual or plan; default virtual", 1},
    {"steps", KEY_STEPS, "N", 0, "iterations, of which the fastest counts; default 3", 1},
    {"as-planned", KEY_AS_PLANNED, NULL, 0, "predict with the plan's profile: measure nothing first", 1},
    {"limit", KEY_LIMIT, "TIME", 0, "the longest wait for a message or instruction; default 60s", 1},
    {NULL, 0, NULL, 0, "Outputs:", 2},
    {"json", KEY_JSON, "FILE", 0, "write both summaries and the comparison as JSON", 2},
    {"svg", KEY_SVG, "FILE", 0, "draw both timelines, one above the other", 2},
    {"timeline", KEY_TIMELINE, "FILE", 0, "write the measured timeline for https://ui.perfetto.dev", 2},
    {0},
};

static enum sp_status parse_option(struct arguments *arguments, int key, const char *value,
                                   struct sp_error *error)
{
    int64_t limit_ns = 0;
    enum sp_status status = SP_OK;

    switch (key) {
    case KEY_BACKEND:
        arguments->backend = value;
        if (!sp_backend_find(value))
            status = sp_error_set(error, SP_INPUT, "--backend: there is none called '%s'", value);
        break;
    case KEY_CLOCK:
        return value_choice("--clock", value, sp_clock_names, &arguments->clock, error);
    case KEY_STEPS:
        return value_count("--steps", value, 1, MOST_STEPS, &arguments->steps, error);
    case KEY_AS_PLANNED:
        arguments->as_planned = true;
        break;
    case KEY_LIMIT:
        status = value_time("--limit", value, &limit_ns, error);
        arguments->limit_ms = limit_ns / 1000000;
        break;
    case KEY_JSON:
        arguments->json = value;
        break;
    case KEY_SVG:
        arguments->svg = value;
        break;
    default:
        arguments->timeline = value;
    }
    return status;
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
        return arguments->plan ? 0 : usage_fail(&arguments->usage, "expected a plan");
    default:
        if (key < FIRST_LONG_KEY || key > KEY_LIMIT)
            return ARGP_ERR_UNKNOWN;
        return usage_status(&arguments->usage, parse_option(arguments, key, value, &arguments->usage.error));
    }
}

static const char doc[] =
    "Measures this machine at the plan's shapes, predicts the plan, replays it for real and compares: times, "
    "bubbles, and the memory of each device by category. PLAN may be '-' for standard input."
    "\v"
    "Examples:\n"
    "  slimpipe validate plan.json --svg compared.svg\n"
    "  slimpipe validate plan.json --json - | jq .makespan.error\n"
    "\n"
    "Exit 1 where the memory measured is not what was predicted.";

static const struct argp argp = {.options = options, .parser = parse, .args_doc = "PLAN", .doc = doc};

/* --- Measuring ------------------------------------------------------------------------------------------ */

struct validation {
    struct sp_plan *plan;
    struct prediction predicted;
    struct sp_timeline timeline; /* measured: the fastest step */
    struct sp_metrics measured;
    struct sp_comparison comparison;
    int32_t *tokens;
    bool same_memory;
};

static enum sp_status measure_machine(const struct arguments *arguments, struct validation *v,
                                      struct sp_error *error)
{
    if (arguments->as_planned)
        return SP_OK;
    return sp_calibrate(sp_backend_find(arguments->backend), v->plan, &v->plan->cluster, &v->plan->profile,
                        error);
}

static bool read_memory(struct validation *v, const struct sp_executor *executor)
{
    bool same = true;

    for (uint32_t d = 0; d < v->measured.device_count; d++) {
        struct sp_device_memory *memory = &v->measured.devices[d].memory, predicted = *memory;
        sp_executor_memory(executor, d, memory);
        same &= memcmp(memory->peak_by_category, predicted.peak_by_category,
                       sizeof(predicted.peak_by_category)) == 0;
    }
    return same;
}

static enum sp_status keep_fastest(struct validation *v, struct sp_executor *executor, int64_t steps,
                                   struct sp_error *error)
{
    struct sp_timeline timeline;
    struct sp_step step;
    int64_t fastest = INT64_MAX;
    enum sp_status status = sp_timeline_init(&timeline, v->predicted.program, "measured", error);

    if (status)
        return status;
    for (int64_t i = 0; !status && i < steps; i++) {
        status = sp_executor_step(executor, i, &timeline, &step, error);
        if (status || step.makespan_ns >= fastest)
            continue;
        struct sp_timeline swapped = v->timeline;
        v->timeline = timeline;
        timeline = swapped;
        fastest = step.makespan_ns;
    }
    sp_timeline_finish(&timeline);
    return status;
}

static enum sp_status replay(const struct arguments *arguments, struct validation *v, struct sp_error *error)
{
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_executor *executor = NULL;
    int64_t count = 2 * v->plan->workload.sequence_tokens + 1;
    enum sp_status status = SP_OK;

    settings.backend = sp_backend_find(arguments->backend);
    settings.clock = (enum sp_clock)arguments->clock;
    settings.limit_ms = arguments->limit_ms;
    if (v->plan->has_model)
        status = text_make(v->plan->model.vocab, count, &v->tokens, error);
    settings.training.tokens = v->tokens;
    settings.training.token_count = count;
    if (status || (status = sp_executor_create(v->predicted.program, &settings, &executor, error)))
        return status;
    if (!(status = sp_timeline_init(&v->timeline, v->predicted.program, "measured", error)) &&
        !(status = keep_fastest(v, executor, arguments->steps, error)) &&
        !(status = sp_metrics_init(&v->measured, &v->timeline, v->predicted.metrics.bound_ns, error)))
        v->same_memory = read_memory(v, executor);
    sp_executor_destroy(executor);
    return status;
}

/* --- Outputs -------------------------------------------------------------------------------------------- */

static void write_metrics(struct sp_json_writer *writer, const char *key, const struct sp_metrics *metrics)
{
    sp_json_begin_object(writer, key);
    sp_metrics_write_json(metrics, writer);
    sp_json_end_object(writer);
}

static void write_json(const struct validation *v, FILE *stream)
{
    struct sp_json_writer writer;

    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_comparison_write_json(&v->comparison, &writer);
    sp_json_put_bool(&writer, "same_memory", v->same_memory);
    write_metrics(&writer, "predicted", &v->predicted.metrics);
    write_metrics(&writer, "measured", &v->measured);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
}

static void write_svg(const struct validation *v, FILE *stream)
{
    sp_comparison_write_svg(&v->comparison, &v->predicted.metrics, &v->measured, NULL, stream);
}

static void write_timeline(const struct validation *v, FILE *stream)
{
    sp_timeline_write_trace(&v->timeline, stream);
}

static enum sp_status write_file(const char *path, const struct validation *v,
                                 void (*write)(const struct validation *, FILE *), struct sp_error *error)
{
    struct sp_file file;
    enum sp_status status;

    if (!path)
        return SP_OK;
    if ((status = sp_file_create(path, &file, error)))
        return status;
    write(v, file.stream);
    return sp_file_commit(&file, error);
}

/* The device that needs most, category by category. */
static void print_memory(const struct validation *v)
{
    uint32_t most = 0;

    for (uint32_t d = 1; d < v->measured.device_count; d++)
        if (v->measured.devices[d].memory.peak_bytes > v->measured.devices[most].memory.peak_bytes)
            most = d;
    const struct sp_device_memory *measured = &v->measured.devices[most].memory;
    const struct sp_device_memory *predicted = &v->predicted.metrics.devices[most].memory;
    printf("\nMemory, peak of each category on device %u%*s%14s%14s\n", most, most < 10 ? 2 : 1, "",
           "predicted", "measured");
    for (int c = 0; c < SP_MEMORY_CATEGORIES; c++)
        if (measured->peak_by_category[c] || predicted->peak_by_category[c])
            printf("  %-42s%14" PRId64 "%14" PRId64 "%s\n", sp_memory_names[c],
                   predicted->peak_by_category[c], measured->peak_by_category[c],
                   predicted->peak_by_category[c] == measured->peak_by_category[c] ? "" : "  differs");
    printf("  All devices: %s.\n", v->same_memory ? "the same to the byte" : "NOT the same, see --json");
}

static void print_for_people(const struct validation *v)
{
    print_plan_line(v->plan, stdout);
    printf("Bubble, mean idle: predicted %s, measured %s\n\n",
           sp_format_percent(v->predicted.metrics.bubble_mean_idle).text,
           sp_format_percent(v->measured.bubble_mean_idle).text);
    sp_comparison_write_table(&v->comparison, stdout, TABLE_COLUMNS);
    print_memory(v);
}

static bool streams(const struct arguments *arguments)
{
    const char *const files[] = {arguments->json, arguments->svg, arguments->timeline};
    bool any = false;

    for (int i = 0; i < 3; i++)
        any |= files[i] && strcmp(files[i], "-") == 0;
    return any;
}

static enum sp_status validate(const struct arguments *arguments, struct validation *v,
                               struct sp_error *error)
{
    enum sp_status status;

    if ((status = sp_plan_read(arguments->plan, &v->plan, error)) ||
        (status = measure_machine(arguments, v, error)) ||
        (status = prediction_init(&v->predicted, v->plan, SP_SIM_PLAIN, false, error)) ||
        (status = replay(arguments, v, error)))
        return status;
    sp_comparison_make(&v->predicted.timeline, &v->timeline, &v->comparison);
    if ((status = write_file(arguments->json, v, write_json, error)) ||
        (status = write_file(arguments->svg, v, write_svg, error)) ||
        (status = write_file(arguments->timeline, v, write_timeline, error)))
        return status;
    if (!streams(arguments))
        print_for_people(v);
    return SP_OK;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {
        .backend = "host", .clock = SP_CLOCK_VIRTUAL, .steps = 3, .limit_ms = 60000};
    struct validation v = {0};
    struct sp_error error;
    int code;

    if (!command_parse(&argp, argc, argv, &arguments.usage, &arguments))
        return EXIT_USAGE;
    code = command_end("validate", validate(&arguments, &v, &error), &error) == EXIT_DONE && v.same_memory
               ? EXIT_DONE
               : EXIT_NO;
    sp_metrics_finish(&v.measured);
    sp_timeline_finish(&v.timeline);
    prediction_finish(&v.predicted);
    sp_free(v.tokens);
    sp_plan_destroy(v.plan);
    return code;
}

const struct command command_validate = {
    .name = "validate",
    .summary = "replay a plan for real and compare with its prediction",
    .run = run,
};
