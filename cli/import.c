/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe import`: turns another framework's order into a plan. */
#include "command.h"

#include <stdio.h>
#include <string.h>

#include "slimpipe/interchange.h"
#include "slimpipe/plan.h"

#include "prediction.h"
#include "unit_costs.h"
#include "values.h"

enum { KEY_UNIT_COST = FIRST_LONG_KEY };

enum format { FORMAT_TORCH, FORMAT_PRIMUS };
static const char *const formats[] = {"torch", "primus", NULL};

struct arguments {
    struct usage usage;
    const char *file, *output;
    bool has_format;
    enum format format;
    struct unit_costs costs;
};

static const struct argp_option options[] = {
    {"format", 'f', "FORMAT", 0, "what FILE is: torch or primus; see below", 0},
    {"unit-cost", KEY_UNIT_COST, "KEY=VALUE,...", 0, "what the passes cost; see below", 0},
    {"output", 'o', "FILE", 0, "write the plan there; default '-', standard output", 0},
    {0},
};

static enum sp_status parse_option(struct arguments *arguments, int key, char *value, struct sp_error *error)
{
    int format = 0;
    enum sp_status status;

    switch (key) {
    case 'f':
        arguments->has_format = true;
        status = value_choice("--format", value, formats, &format, error);
        arguments->format = (enum format)format;
        return status;
    case 'o':
        arguments->output = value;
        return SP_OK;
    default:
        unit_costs_finish(&arguments->costs);
        return unit_costs_parse(&arguments->costs, value, error);
    }
}

static error_t parse_end(struct arguments *arguments)
{
    if (!arguments->file)
        return usage_fail(&arguments->usage, "expected a file");
    if (!arguments->has_format)
        return usage_fail(&arguments->usage, "--format is missing: expected torch or primus");
    if (arguments->costs.stage_count == 0 && arguments->format == FORMAT_TORCH)
        return usage_fail(&arguments->usage, "--unit-cost is missing: an order says nothing of costs");
    return 0;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'f':
    case 'o':
    case KEY_UNIT_COST:
        return usage_status(&arguments->usage, parse_option(arguments, key, value, &arguments->usage.error));
    case ARGP_KEY_ARG:
        if (arguments->file)
            return usage_fail(&arguments->usage, "'%s': expected one file, '%s' is given", value,
                              arguments->file);
        arguments->file = value;
        return 0;
    case ARGP_KEY_END:
        return parse_end(arguments);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Turns another framework's order of passes into a plan with explicit costs. FILE may be '-' for standard "
    "input."
    "\v"
    "Examples:\n"
    "  slimpipe import --format torch orders.csv \\\n"
    "      --unit-cost forward=5,backward=6,weight=4,p2p=1 -o plan.json\n"
    "  slimpipe import --format torch --unit-cost forward=1ms,backward=2ms \\\n"
    "      orders.csv | slimpipe simulate -\n"
    "  slimpipe import --format primus timeline/ -o plan.json\n"
    "\n" UNIT_COST_HELP "\n"
    "Formats:\n"
    "  torch   CSV of PyTorch's pipelining schedules: one line per device, of cells\n"
    "          such as 0F3, 2I0, 2W0, 1B4 and (2F5;5B1)OVERLAP_F_B. Communication\n"
    "          (SEND_F, RECV_F, ...) is checked and left out, since a plan's messages\n"
    "          follow from its passes.\n"
    "  primus  a directory with a timeline of AMD Primus' pipeline simulator; its\n"
    "          times are the costs, unless --unit-cost gives others.";

static const struct argp argp = {.options = options, .parser = parse, .args_doc = "FILE", .doc = doc};

static enum sp_status read_order(const struct arguments *arguments, struct sp_plan **ret_plan,
                                 struct sp_error *error)
{
    const struct unit_costs *costs = &arguments->costs;

    if (arguments->format == FORMAT_TORCH)
        return sp_import_torch(arguments->file, &costs->costs, costs->stage_count, ret_plan, error);
    return sp_import_primus(arguments->file, costs->stage_count ? &costs->costs : NULL, costs->stage_count,
                            ret_plan, error);
}

static enum sp_status import(const struct arguments *arguments, struct sp_error *error)
{
    const char *output = arguments->output ? arguments->output : "-";
    struct sp_plan *plan;
    enum sp_status status = read_order(arguments, &plan, error);

    if (status) {
        /* What the plan's own check found is wrong in the file as well. */
        if (error->path[0] && !error->source[0])
            snprintf(error->source, sizeof(error->source), "%s",
                     strcmp(arguments->file, "-") == 0 ? "standard input" : arguments->file);
        return status;
    }
    status = sp_plan_write(plan, output, error);
    if (!status) {
        bool streamed = strcmp(output, "-") == 0;
        fprintf(streamed ? stderr : stdout, "%s%s", streamed ? "" : output, streamed ? "" : ": ");
        print_plan_line(plan, streamed ? stderr : stdout);
    }
    sp_plan_destroy(plan);
    return status;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct sp_error error;
    int code = EXIT_USAGE;

    if (command_parse(&argp, argc, argv, &arguments.usage, &arguments))
        code = command_end("import", import(&arguments, &error), &error);
    unit_costs_finish(&arguments.costs);
    return code;
}

const struct command command_import = {
    .name = "import",
    .summary = "turn another framework's order into a plan",
    .run = run,
};
