/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe export`: writes a plan in another framework's format. */
#include "command.h"

#include <stdio.h>
#include <string.h>

#include "slimpipe/file.h"
#include "slimpipe/interchange.h"
#include "slimpipe/plan.h"

#include "prediction.h"
#include "values.h"

enum { KEY_LOSSY = FIRST_LONG_KEY };

struct arguments {
    struct usage usage;
    const char *plan, *output;
    bool has_format, lossy;
    enum sp_export format;
};

static const struct argp_option options[] = {
    {"format", 'f', "FORMAT", 0, "torch, torch-comms, megatron, primus or chrome; see below", 0},
    {"output", 'o', "FILE", 0, "write there; default '-', standard output; primus: a directory", 0},
    {"lossy", KEY_LOSSY, NULL, 0, "leave out what the format cannot say, and tell what that was", 0},
    {0},
};

static enum sp_status parse_format(struct arguments *arguments, const char *value, struct sp_error *error)
{
    int format = 0;
    enum sp_status status = value_choice("--format", value, sp_export_names, &format, error);

    arguments->format = (enum sp_export)format;
    arguments->has_format = true;
    return status;
}

static error_t parse_end(struct arguments *arguments)
{
    struct usage *usage = &arguments->usage;

    if (!arguments->plan)
        return usage_fail(usage, "expected a plan");
    if (!arguments->has_format)
        return usage_fail(usage,
                          "--format is missing: expected torch, torch-comms, megatron, primus or chrome");
    if (!arguments->output)
        arguments->output = "-";
    if (arguments->format == SP_EXPORT_PRIMUS && strcmp(arguments->output, "-") == 0)
        return usage_fail(usage, "--output is missing: a timeline of Primus is a directory of files");
    return 0;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'f':
        return usage_status(&arguments->usage, parse_format(arguments, value, &arguments->usage.error));
    case 'o':
        arguments->output = value;
        return 0;
    case KEY_LOSSY:
        arguments->lossy = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->plan)
            return usage_fail(&arguments->usage, "'%s': expected one plan, '%s' is given", value,
                              arguments->plan);
        arguments->plan = value;
        return 0;
    case ARGP_KEY_END:
        return parse_end(arguments);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] = "Writes a plan in another framework's format. What the format cannot say is "
                          "refused, unless --lossy. PLAN "
                          "may be '-' for standard input."
                          "\v"
                          "Examples:\n"
                          "  slimpipe export --format torch plan.json -o schedule.csv\n"
                          "  slimpipe export --format torch --lossy sliced.json -o schedule.csv\n"
                          "  slimpipe export --format megatron plan.json\n"
                          "  slimpipe export --format primus plan.json -o timeline/\n"
                          "\n"
                          "Formats:\n"
                          "  torch        CSV of PyTorch's pipelining schedules (_load_csv, compute_only)\n"
                          "  torch-comms  the same with communication (compute_comms)\n"
                          "  megatron     Megatron-LM's options with --pipeline-model-parallel-layout\n"
                          "  primus       predicted timeline as AMD Primus' pipeline simulator writes it\n"
                          "  chrome       predicted timeline for https://ui.perfetto.dev\n"
                          "\n"
                          "PyTorch's own runtime has each stage on one rank: it cannot run schedules that\n"
                          "hold weights twice, such as chimera, though their orders are written.";

static const struct argp argp = {.options = options, .parser = parse, .args_doc = "PLAN", .doc = doc};

/* Timelines are predicted first. */
static enum sp_status write_timeline(const struct arguments *arguments, const struct sp_plan *plan,
                                     struct sp_error *error)
{
    struct prediction prediction = {0};
    struct sp_file file;
    enum sp_status status = prediction_init(&prediction, plan, SP_SIM_LINKS, false, error);

    if (status)
        goto out;
    if (arguments->format == SP_EXPORT_PRIMUS) {
        status = sp_timeline_write_primus(&prediction.timeline, arguments->output, error);
    } else if (!(status = sp_file_create(arguments->output, &file, error))) {
        sp_timeline_write_trace(&prediction.timeline, file.stream);
        status = sp_file_commit(&file, error);
    }
out:
    prediction_finish(&prediction);
    return status;
}

static enum sp_status write_order(const struct arguments *arguments, const struct sp_plan *plan,
                                  struct sp_error *error)
{
    struct sp_file file;
    enum sp_status status = sp_file_create(arguments->output, &file, error);

    if (status)
        return status;
    if (arguments->format == SP_EXPORT_TORCH)
        status = sp_export_torch(plan, file.stream, error);
    else if (arguments->format == SP_EXPORT_TORCH_COMMS)
        status = sp_export_torch_comms(plan, file.stream, error);
    else
        sp_export_megatron(plan, file.stream);
    if (status)
        sp_file_discard(&file);
    else
        status = sp_file_commit(&file, error);
    return status;
}

static void print_losses(unsigned losses)
{
    for (int i = 0; i < SP_LOSSES; i++)
        if (losses & 1u << i)
            fprintf(stderr, "slimpipe export: left out %s: %s\n", sp_loss_names[i], sp_loss_texts[i]);
}

static enum sp_status export(const struct arguments *arguments, struct sp_error *error) {
    bool is_timeline = arguments->format == SP_EXPORT_PRIMUS || arguments->format == SP_EXPORT_CHROME;
    struct sp_plan *plan = NULL;
    unsigned losses = 0;
    enum sp_status status;

    if ((status = sp_plan_read(arguments->plan, &plan, error))) return status;
    status = sp_export_check(plan, arguments->format, arguments->lossy, &losses, error);
    if (!status) status = is_timeline ? write_timeline(arguments, plan, error)
                                      : write_order(arguments, plan, error);
    if (!status) print_losses(losses);
    sp_plan_destroy(plan);
    return status;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {.plan = NULL};
    struct sp_error error;

    if (!command_parse(&argp, argc, argv, &arguments.usage, &arguments))
        return EXIT_USAGE;
    return command_end("export", export(&arguments, &error), &error);
}

const struct command command_export = {
    .name = "export",
    .summary = "write a plan in another framework's format",
    .run = run,
};
