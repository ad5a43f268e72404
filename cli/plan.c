/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe plan`: makes a plan. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/planner.h"

#include "plan_options.h"
#include "prediction.h"
#include "search.h"

static enum sp_status write_plan(const struct plan_options *options, const struct prediction *prediction,
                                 struct sp_error *error)
{
    bool streamed = (options->output && strcmp(options->output, "-") == 0) ||
                    (options->json && strcmp(options->json, "-") == 0);
    enum sp_status status = SP_OK;

    if (options->output)
        status = sp_plan_write(prediction->plan, options->output, error);
    if (!status)
        print_prediction(prediction, streamed ? stderr : stdout);
    if (!status && options->output && !streamed)
        printf("  plan     %s\n", options->output);
    return status;
}

/* Finds the best configurations and says what was found. */
static enum sp_status search(const struct plan_options *options, const struct plan_inputs *inputs,
                             struct sp_search_result *ret_found, struct sp_error *error)
{
    bool streamed = (options->output && strcmp(options->output, "-") == 0) ||
                    (options->json && strcmp(options->json, "-") == 0);
    enum sp_status status = search_run(options, inputs, ret_found, error);

    if (status)
        return status;
    search_print(ret_found, streamed ? stderr : stdout);
    if (options->json && (status = search_write_json(ret_found, options->json, error)))
        sp_search_finish(ret_found);
    return status;
}

static enum sp_status plan_once(const struct plan_options *options, struct sp_error *error)
{
    struct prediction prediction = {0};
    struct plan_inputs inputs;
    struct sp_request request;
    struct sp_plan *plan = NULL;
    struct sp_search_result found = {.arena = NULL};
    enum sp_status status;

    if ((status = plan_options_read(options, &inputs, error)))
        return status;
    if (options->search && (status = search(options, &inputs, &found, error)))
        return status;
    if (options->search)
        request = found.found[0].request;
    else
        plan_options_request(options, &inputs, &request);
    if ((status = sp_plan_compose(&request, &plan, error)) ||
        (status = prediction_init(&prediction, plan, SP_SIM_LINKS, true, error)))
        goto out;
    status = write_plan(options, &prediction, error);
out:
    prediction_finish(&prediction);
    sp_plan_destroy(plan);
    sp_search_finish(&found);
    return status;
}

static int run(int argc, char **argv)
{
    struct plan_options options = {0};
    struct sp_error error;
    int code = EXIT_USAGE;

    if (plan_options_parse(&options, argc, argv))
        code = command_end("plan", plan_once(&options, &error), &error);
    plan_options_finish(&options);
    return code;
}

const struct command command_plan = {
    .name = "plan",
    .summary = "make a plan, for a model on a cluster or for explicit costs",
    .run = run,
};
