/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe check`: says whether a plan is valid, and where it is not. */
#include "command.h"

#include <stdio.h>

#include "slimpipe/plan.h"
#include "slimpipe/program.h"

#include "prediction.h"

struct arguments {
    struct usage usage;
    const char *plan;
};

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
    case ARGP_KEY_NO_ARGS:
        return usage_fail(&arguments->usage, "expected a plan");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Says whether a plan is valid: its fields, its order (a cycle is shown as the chain of passes), its "
    "exchange, and the memory of each device where a cap is set. PLAN may be '-' for standard input."
    "\v"
    "Examples:\n"
    "  slimpipe check plan.json\n"
    "  slimpipe plan ... -o - | slimpipe check -\n"
    "\n"
    "Exit: 0 the plan is valid, 1 it is not or cannot be read, 2 usage.";

static const struct argp argp = {.parser = parse, .args_doc = "PLAN", .doc = doc};

static enum sp_status check(const char *path, struct sp_error *error)
{
    struct sp_program *program = NULL;
    struct sp_plan *plan = NULL;
    enum sp_status status;

    if ((status = sp_plan_read(path, &plan, error)) || (status = sp_program_create(plan, &program, error)) ||
        (status = sp_program_check_memory(program, error)))
        goto out;
    printf("%s: valid: ", path);
    print_plan_line(plan, stdout);
out:
    sp_program_destroy(program);
    sp_plan_destroy(plan);
    return status;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct sp_error error;

    if (!command_parse(&argp, argc, argv, &arguments.usage, &arguments))
        return EXIT_USAGE;
    return command_end("check", check(arguments.plan, &error), &error) == EXIT_DONE ? EXIT_DONE : EXIT_NO;
}

const struct command command_check = {
    .name = "check",
    .summary = "say whether a plan is valid, and what is wrong with it",
    .run = run,
};
