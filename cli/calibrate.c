/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe calibrate`: measures what this machine reaches, as a profile. */
#include "command.h"

#include <inttypes.h>
#include <string.h>

#include "slimpipe/executor.h"
#include "slimpipe/file.h"
#include "slimpipe/json.h"

#include "values.h"

enum { KEY_MODEL = FIRST_LONG_KEY, KEY_BACKEND, KEY_SIZES };
enum { MOST_TOKENS = 1 << 20 };

struct arguments {
    struct usage usage;
    const char *model, *backend, *output;
    int64_t *sizes;
    uint32_t size_count;
};

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "MODEL", 0, "whose layers are measured: a preset's name or a config.json", 1},
    {"backend", KEY_BACKEND, "NAME", 0, "what is measured; default host", 1},
    {"sizes", KEY_SIZES, "N,N", 0, "slice sizes in tokens; default 16,32,64,128,256,512", 1},
    {"output", 'o', "FILE", 0, "write the profile here; default standard output", 1},
    {0},
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct usage *usage = &arguments->usage;

    switch (key) {
    case KEY_MODEL:
        arguments->model = value;
        return 0;
    case KEY_BACKEND:
        arguments->backend = value;
        return sp_backend_find(value) ? 0 : usage_fail(usage, "--backend: there is none called '%s'", value);
    case KEY_SIZES:
        sp_free(arguments->sizes);
        arguments->sizes = NULL;
        return usage_status(usage, value_list("--sizes", value, 1, MOST_TOKENS, &arguments->size_count,
                                              &arguments->sizes, &usage->error));
    case 'o':
        arguments->output = value;
        return 0;
    case ARGP_KEY_END:
        return arguments->model ? 0 : usage_fail(usage, "expected --model");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Measures this machine at the shapes of a model's layers, and writes a profile as in presets/profiles. "
    "Takes seconds. 'slimpipe validate' does the same for a plan by itself."
    "\v"
    "Examples:\n"
    "  slimpipe calibrate --model examples/tiny-llama.json -o profile.json\n"
    "  slimpipe plan --model examples/tiny-llama.json --cluster host --profile ./profile.json ...\n"
    "\n"
    "The peak rates that the efficiencies are shares of are in the notes of the profile;\n"
    "they belong into the cluster's file.";

static const struct argp argp = {.options = options, .parser = parse, .doc = doc};

static void write_curve(struct sp_json_writer *writer, const char *key, const struct sp_efficiency *curve,
                        int points)
{
    sp_json_begin_array(writer, key, true);
    for (int i = 0; i < points; i++) {
        sp_json_begin_array(writer, NULL, true);
        sp_json_put_whole(writer, NULL, curve[i].size);
        sp_json_put_whole(writer, NULL, curve[i].permille);
        sp_json_end_array(writer);
    }
    sp_json_end_array(writer);
}

static void write_profile(const struct sp_cluster *cluster, const struct sp_profile *profile, FILE *stream)
{
    struct sp_json_writer writer;
    char notes[160];

    snprintf(notes, sizeof(notes), "Of matrix_flops %" PRId64 " and memory_bytes_per_second %" PRId64 ".",
             cluster->matrix_flops, cluster->memory_bytes_per_second);
    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_json_put_string(&writer, "format", "slimpipe-profile");
    sp_json_put_whole(&writer, "version", 1);
    sp_json_put_string(&writer, "provenance", profile->provenance);
    sp_json_put_string(&writer, "notes", notes);
    write_curve(&writer, "matrix", profile->matrix, profile->matrix_points);
    write_curve(&writer, "attention", profile->attention, profile->attention_points);
    write_curve(&writer, "link", profile->link, profile->link_points);
    sp_json_put_whole(&writer, "launch_ns", profile->launch_ns);
    sp_json_put_whole(&writer, "memory_permille", profile->memory_permille);
    sp_json_put_whole(&writer, "tensor_overlap_permille", profile->tensor_overlap_permille);
    sp_json_put_whole(&writer, "context_overlap_permille", profile->context_overlap_permille);
    sp_json_put_whole(&writer, "expert_overlap_permille", profile->expert_overlap_permille);
    sp_json_put_whole(&writer, "data_overlap_permille", profile->data_overlap_permille);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
}

static enum sp_status calibrate(const struct arguments *arguments, struct sp_plan *plan,
                                struct sp_error *error)
{
    static const int64_t usual[] = {16, 32, 64, 128, 256, 512};
    struct sp_cluster cluster;
    struct sp_profile profile;
    struct sp_file file;
    enum sp_status status;

    plan->has_model = true;
    plan->slice_tokens = arguments->sizes ? arguments->sizes : usual;
    plan->slice_count = arguments->sizes ? arguments->size_count : sizeof(usual) / sizeof(*usual);
    plan->workload = (struct sp_workload){.microbatches = 1, .microbatch_sequences = 1};
    for (uint32_t i = 0; i < plan->slice_count; i++)
        plan->workload.sequence_tokens += plan->slice_tokens[i];
    if ((status = sp_model_read(arguments->model, &plan->model, error)) ||
        (status = sp_cluster_read("host", &plan->cluster, error)) ||
        (status = sp_profile_read(plan->cluster.profile, &plan->profile, error)) ||
        (status = sp_calibrate(sp_backend_find(arguments->backend), plan, &cluster, &profile, error)) ||
        (status = sp_file_create(arguments->output, &file, error)))
        return status;
    write_profile(&cluster, &profile, file.stream);
    return sp_file_commit(&file, error);
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {.backend = "host", .output = "-"};
    struct sp_error error;
    struct sp_plan *plan;
    int code = EXIT_USAGE;

    if (command_parse(&argp, argc, argv, &arguments.usage, &arguments)) {
        plan = sp_plan_create();
        code = command_end("calibrate",
                           plan ? calibrate(&arguments, plan, &error)
                                : sp_error_set(&error, SP_MEMORY, "no memory for a plan"),
                           &error);
        sp_plan_destroy(plan);
    }
    sp_free(arguments.sizes);
    return code;
}

const struct command command_calibrate = {
    .name = "calibrate",
    .summary = "measure what this machine reaches, as a profile",
    .run = run,
};
