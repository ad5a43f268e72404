/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe simulate`: predicts a plan's time and memory. */
#include "command.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "slimpipe/file.h"
#include "slimpipe/json.h"
#include "slimpipe/plan.h"

#include "prediction.h"
#include "values.h"

enum {
    KEY_RULES = FIRST_LONG_KEY,
    KEY_JSON,
    KEY_TIMELINE,
    KEY_SVG,
    KEY_TEXT,
    KEY_COLUMNS,
    DEFAULT_COLUMNS = 80,
    LEAST_COLUMNS = 60,
    MOST_COLUMNS = 10000,
};

struct arguments {
    struct usage usage;
    const char *plan;
    const char *json, *timeline, *svg;
    bool text;
    int64_t columns; /* 0: as wide as the terminal */
    enum sp_sim_rules rules;
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Outputs:", 1},
    {"json", KEY_JSON, "FILE", 0, "write the summary as JSON", 1},
    {"timeline", KEY_TIMELINE, "FILE", 0, "write the timeline for https://ui.perfetto.dev", 1},
    {"svg", KEY_SVG, "FILE", 0, "write the timeline as a picture", 1},
    {"text", KEY_TEXT, NULL, 0, "draw the timeline on standard output, as is done on a terminal", 1},
    {"columns", KEY_COLUMNS, "N", 0, "width of table and drawing; default: the terminal's, or 80", 1},
    {NULL, 0, NULL, 0, "Rules:", 2},
    {"rules", KEY_RULES, "RULES", 0, "what messages cost; default links", 2},
    {0},
};

static enum sp_status parse_option(struct arguments *arguments, int key, const char *value,
                                   struct sp_error *error)
{
    enum sp_status status = SP_OK;
    int choice = SP_SIM_LINKS;

    switch (key) {
    case KEY_RULES:
        status = value_choice("--rules", value, sp_sim_rules_names, &choice, error);
        arguments->rules = (enum sp_sim_rules)choice;
        break;
    case KEY_JSON:
        arguments->json = value;
        break;
    case KEY_TIMELINE:
        arguments->timeline = value;
        break;
    case KEY_SVG:
        arguments->svg = value;
        break;
    case KEY_TEXT:
        arguments->text = true;
        break;
    default:
        return value_count("--columns", value, LEAST_COLUMNS, MOST_COLUMNS, &arguments->columns, error);
    }
    return status;
}

/* How many outputs go to standard output. */
static int streamed(const struct arguments *arguments)
{
    const char *const files[] = {arguments->json, arguments->timeline, arguments->svg};
    int count = 0;

    for (int i = 0; i < 3; i++)
        count += files[i] && strcmp(files[i], "-") == 0;
    return count;
}

static error_t parse_end(struct arguments *arguments)
{
    if (!arguments->plan)
        return usage_fail(&arguments->usage, "expected a plan");
    if (streamed(arguments) + arguments->text > 1)
        return usage_fail(&arguments->usage,
                          "--json, --timeline, --svg, --text: expected one at most on standard output");
    return 0;
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
        return parse_end(arguments);
    default:
        if (key < FIRST_LONG_KEY || key > KEY_COLUMNS)
            return ARGP_ERR_UNKNOWN;
        return usage_status(&arguments->usage, parse_option(arguments, key, value, &arguments->usage.error));
    }
}

static const char doc[] =
    "Predicts what a plan takes: time, bubbles, MFU, and the memory of each device. PLAN may be '-' for "
    "standard input, FILE '-' for standard output."
    "\v"
    "Examples:\n"
    "  slimpipe simulate plan.json\n"
    "  slimpipe simulate plan.json --svg timeline.svg --timeline timeline.json\n"
    "  slimpipe simulate plan.json --json - | jq .mfu\n"
    "\n"
    "Rules:\n"
    "  links          messages take their links, which serve one at a time\n"
    "  plain          a message is a delay and takes nothing\n"
    "  sender-blocks  as PP-Schedule-Visualization counts: a sender waits too\n"
    "\n"
    "Bubbles: mean idle is the share of all devices' time that is not busy; longest\n"
    "span is the same for the device that is longest between its first and last pass.";

static const struct argp argp = {.options = options, .parser = parse, .args_doc = "PLAN", .doc = doc};

/* --- Outputs -------------------------------------------------------------------------------------------- */

static void write_json(const struct prediction *prediction, FILE *stream)
{
    struct sp_json_writer writer;

    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_metrics_write_json(&prediction->metrics, &writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
}

static void write_timeline(const struct prediction *prediction, FILE *stream)
{
    sp_timeline_write_trace(&prediction->timeline, stream);
}

static void write_svg(const struct prediction *prediction, FILE *stream)
{
    const struct sp_plan *plan = prediction->plan;
    char title[160];

    snprintf(title, sizeof(title), "%s%s%s", plan->has_model ? plan->model.name : "",
             plan->has_model ? ", " : "", plan->schedule);
    sp_timeline_write_svg(&prediction->timeline, &prediction->metrics, title, stream);
}

static enum sp_status write_file(const char *path, const struct prediction *prediction,
                                 void (*write)(const struct prediction *, FILE *), struct sp_error *error)
{
    struct sp_file file;
    enum sp_status status;

    if (!path)
        return SP_OK;
    if ((status = sp_file_create(path, &file, error)))
        return status;
    write(prediction, file.stream);
    return sp_file_commit(&file, error);
}

static int terminal_columns(void)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    long number = columns ? strtol(columns, NULL, 10) : 0;

    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        number = size.ws_col;
    return number < LEAST_COLUMNS ? DEFAULT_COLUMNS : number > MOST_COLUMNS ? MOST_COLUMNS : (int)number;
}

static void print_for_people(const struct arguments *arguments, const struct prediction *prediction)
{
    int columns = arguments->columns ? (int)arguments->columns : terminal_columns();
    bool terminal = isatty(STDOUT_FILENO);
    unsigned style = SP_TEXT_PLAIN;

    sp_metrics_write_table(&prediction->metrics, stdout, columns);
    if (!arguments->text && !terminal)
        return;
    if (terminal && setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        style |= SP_TEXT_UNICODE;
    if (terminal && !getenv("NO_COLOR"))
        style |= SP_TEXT_COLOUR;
    putchar('\n');
    sp_timeline_write_text(&prediction->timeline, stdout, columns, style);
}

static enum sp_status simulate(const struct arguments *arguments, struct sp_error *error)
{
    struct prediction prediction = {0};
    struct sp_plan *plan = NULL;
    enum sp_status status;

    if ((status = sp_plan_read(arguments->plan, &plan, error)) ||
        (status = prediction_init(&prediction, plan, arguments->rules, false, error)) ||
        (status = write_file(arguments->json, &prediction, write_json, error)) ||
        (status = write_file(arguments->timeline, &prediction, write_timeline, error)) ||
        (status = write_file(arguments->svg, &prediction, write_svg, error)))
        goto out;
    if (streamed(arguments) == 0)
        print_for_people(arguments, &prediction);
out:
    prediction_finish(&prediction);
    sp_plan_destroy(plan);
    return status;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct sp_error error;

    if (!command_parse(&argp, argc, argv, &arguments.usage, &arguments))
        return EXIT_USAGE;
    return command_end("simulate", simulate(&arguments, &error), &error) == EXIT_DONE ? EXIT_DONE : EXIT_NO;
}

const struct command command_simulate = {
    .name = "simulate",
    .summary = "predict a plan's time, bubbles and memory",
    .run = run,
};
