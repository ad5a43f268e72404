/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/interchange.h"

#include "values.h"

enum key {
    KEY_MODEL = FIRST_LONG_KEY,
    KEY_CLUSTER,
    KEY_PROFILE,
    KEY_UNIT_COST,
    KEY_GPUS,
    KEY_SEQ_LEN,
    KEY_BATCH_TOKENS,
    KEY_MICROBATCHES,
    KEY_MICROBATCH_SIZE,
    KEY_TP,
    KEY_CP,
    KEY_EP,
    KEY_DP,
    KEY_PP,
    KEY_VPP,
    KEY_SCHEDULE,
    KEY_SLICES,
    KEY_SLICE_TOKENS,
    KEY_WINDOW,
    KEY_GROUP_SIZE,
    KEY_SLICE_DIVISION,
    KEY_MAX_HELD,
    KEY_STAGES,
    KEY_PATH_STAGES,
    KEY_STAGE_LAYERS,
    KEY_STAGE_DIVISION,
    KEY_EXCHANGE,
    KEY_RECOMPUTE,
    KEY_OFFLOAD,
    KEY_KV_GRADIENT,
    KEY_VOCABULARY,
    KEY_MEMORY_CAP,
    KEY_SEARCH,
    KEY_TOP,
    KEY_THREADS,
    KEY_JSON,
    KEY_END,
    KEY_OUTPUT = 'o',
};

enum { HELP_WIDTH = 78, HELP_NAME_WIDTH = 20, MOST_TOKENS_LOG = 48 };
#define MOST_TOKENS (INT64_C(1) << MOST_TOKENS_LOG)

static const struct argp_option shared_options[] = {
    {NULL, 0, NULL, 0, "What is trained, and on what:", 1},
    {"model", KEY_MODEL, "MODEL", 0, "a preset's name, or a config.json as on Hugging Face", 1},
    {"cluster", KEY_CLUSTER, "CLUSTER", 0, "a preset's name, or a cluster file", 1},
    {"profile", KEY_PROFILE, "PROFILE", 0, "efficiencies; default: the cluster's", 1},
    {"unit-cost", KEY_UNIT_COST, "KEY=VALUE,...", 0, "explicit costs instead of a model; see below", 1},
    {"gpus", KEY_GPUS, "N", 0, "GPUs in all; gives the data degree", 1},
    {"seq-len", KEY_SEQ_LEN, "TOKENS", 0, "tokens of one sequence", 1},
    {"batch-tokens", KEY_BATCH_TOKENS, "TOKENS", 0, "tokens of one iteration; gives the microbatches", 1},
    {"microbatches", KEY_MICROBATCHES, "N", 0, "microbatches of one replica", 1},
    {"microbatch-size", KEY_MICROBATCH_SIZE, "N", 0, "sequences of one microbatch; default 1", 1},
    {NULL, 0, NULL, 0, "Degrees, 1 where not given:", 2},
    {"pp", KEY_PP, "N", 0, "pipeline devices; left out, all that is not given is searched for", 2},
    {"vpp", KEY_VPP, "N", 0, "stages per device; default: the schedule's", 2},
    {"tp", KEY_TP, "N", 0, "tensor parallel", 2},
    {"cp", KEY_CP, "N", 0, "context parallel", 2},
    {"ep", KEY_EP, "N", 0, "expert parallel", 2},
    {"dp", KEY_DP, "N", 0, "data parallel", 2},
    {NULL, 0, NULL, 0, "Schedule:", 3},
    {"schedule", KEY_SCHEDULE, "NAME", 0, "one of those below; default slimpipe", 3},
    {"slices", KEY_SLICES, "N", 0, "slices of a sequence; default 1", 3},
    {"slice-tokens", KEY_SLICE_TOKENS, "N,N,...", 0, "tokens of each slice, where they differ", 3},
    {"slice-division", KEY_SLICE_DIVISION, "HOW", 0, "equal (default), work (FLOPs) or terapipe", 3},
    {"window", KEY_WINDOW, "N", 0, "slimpipe: units held more per earlier rank, 1 or 2 (default)", 3},
    {"group-size", KEY_GROUP_SIZE, "N", 0, "interleaved: microbatches of a group", 3},
    {"max-held", KEY_MAX_HELD, "N", 0,
     "automatic schedules: microbatches that a device may hold, such as 2.5", 3},
    {"stages", KEY_STAGES, "N", 0, "skippipe: stages that the --pp nodes hold copies of; default --pp", 3},
    {"path-stages", KEY_PATH_STAGES, "N", 0, "skippipe: stages that a microbatch visits; default two thirds",
     3},
    {"stage-layers", KEY_STAGE_LAYERS, "N,N,...", 0,
     "layers of each stage, where they differ; or a Megatron-LM layout, as 'Ett|(t*3|)*6ttL'", 3},
    {"stage-division", KEY_STAGE_DIVISION, "HOW", 0, "equal (default) numbers of layers, or work", 3},
    {"exchange", KEY_EXCHANGE, "POLICY", 0, "who computes the attention of whom; default none", 3},
    {NULL, 0, NULL, 0, "Memory:", 4},
    {"recompute", KEY_RECOMPUTE, "WHAT", 0, "none (default), selective or full", 4},
    {"offload", KEY_OFFLOAD, "SHARE", 0, "share of the activations in host memory, 0 to 1", 4},
    {"kv-gradient", KEY_KV_GRADIENT, "FORM", 0, "compact (default) or expanded", 4},
    {"vocabulary", KEY_VOCABULARY, "WHERE", 0,
     "output layer: last, scatter, shard1, shard2 or tiled; default scatter for slimpipe with a model", 4},
    {"memory-cap", KEY_MEMORY_CAP, "BYTES", 0, "per GPU; default: the cluster's memory; 0: none", 4},
    {0},
};

static const struct argp_option own_options[] = {
    {NULL, 0, NULL, 0, "Search, which leaving out --pp starts too:", 5},
    {"search", KEY_SEARCH, NULL, 0, "search for all that is not given; what is given is kept", 5},
    {"top", KEY_TOP, "N", 0, "plans to show; default 5", 5},
    {"threads", KEY_THREADS, "N", 0, "default: one per processor; the answer is the same for any", 5},
    {"json", KEY_JSON, "FILE", 0, "write the plans found there, '-' for standard output", 5},
    {NULL, 0, NULL, 0, "Output:", 6},
    {"output", KEY_OUTPUT, "FILE", 0, "write the plan there, '-' for standard output", 6},
    {0},
};

/* Options that are one whole number. */
static const struct number {
    int key;
    const char *name;
    bool is_size; /* takes K, M, G */
    int64_t least, most;
    size_t offset;
} numbers[] = {
    {KEY_GPUS, "--gpus", false, 1, INT64_C(1) << 32, offsetof(struct plan_options, gpus)},
    {KEY_SEQ_LEN, "--seq-len", true, 1, MOST_TOKENS, offsetof(struct plan_options, sequence_tokens)},
    {KEY_BATCH_TOKENS, "--batch-tokens", true, 1, MOST_TOKENS, offsetof(struct plan_options, batch_tokens)},
    {KEY_MICROBATCHES, "--microbatches", false, 1, SP_MAX_MICROBATCHES,
     offsetof(struct plan_options, microbatches)},
    {KEY_MICROBATCH_SIZE, "--microbatch-size", false, 1, 1 << 20,
     offsetof(struct plan_options, microbatch_sequences)},
    {KEY_TP, "--tp", false, 1, 1 << 20, offsetof(struct plan_options, tensor)},
    {KEY_CP, "--cp", false, 1, 1 << 20, offsetof(struct plan_options, context)},
    {KEY_EP, "--ep", false, 1, 1 << 20, offsetof(struct plan_options, expert)},
    {KEY_DP, "--dp", false, 1, 1 << 20, offsetof(struct plan_options, data)},
    {KEY_PP, "--pp", false, 1, SP_MAX_DEVICES, offsetof(struct plan_options, pipeline)},
    {KEY_VPP, "--vpp", false, 1, SP_MAX_STAGES, offsetof(struct plan_options, chunks)},
    {KEY_SLICES, "--slices", false, 1, SP_MAX_SLICES, offsetof(struct plan_options, slices)},
    {KEY_WINDOW, "--window", false, 1, 2, offsetof(struct plan_options, window)},
    {KEY_GROUP_SIZE, "--group-size", false, 1, SP_MAX_MICROBATCHES, offsetof(struct plan_options, group)},
    {KEY_STAGES, "--stages", false, 1, SP_MAX_DEVICES, offsetof(struct plan_options, stages)},
    {KEY_PATH_STAGES, "--path-stages", false, 1, SP_MAX_DEVICES, offsetof(struct plan_options, path_stages)},
    {KEY_TOP, "--top", false, 1, 100, offsetof(struct plan_options, top)},
    {KEY_THREADS, "--threads", false, 1, 64, offsetof(struct plan_options, threads)},
    {KEY_MEMORY_CAP, "--memory-cap", true, 0, MOST_TOKENS, offsetof(struct plan_options, memory_cap_bytes)},
};

/* Options that are kept as text. */
static const struct text {
    int key;
    size_t offset;
} texts[] = {
    {KEY_MODEL, offsetof(struct plan_options, model)},
    {KEY_CLUSTER, offsetof(struct plan_options, cluster)},
    {KEY_PROFILE, offsetof(struct plan_options, profile)},
    {KEY_OUTPUT, offsetof(struct plan_options, output)},
    {KEY_JSON, offsetof(struct plan_options, json)},
};

static enum sp_status parse_number(struct plan_options *options, const struct number *number,
                                   const char *value, struct sp_error *error)
{
    int64_t *place = (int64_t *)((char *)options + number->offset);

    return (number->is_size ? value_size : value_count)(number->name, value, number->least, number->most,
                                                        place, error);
}

static enum sp_status parse_schedule(struct plan_options *options, const char *value, struct sp_error *error)
{
    const char *names[128] = {NULL};
    int index = 0;

    for (int i = 0; sp_schedules[i] && i < 127; i++)
        names[i] = sp_schedules[i]->name;
    if (value_choice("--schedule", value, names, &index, error))
        return SP_INPUT;
    options->schedule = names[index];
    return SP_OK;
}

static enum sp_status parse_exchange(struct plan_options *options, const char *value, struct sp_error *error)
{
    const char *names[16] = {NULL};
    int index = 0;

    for (int i = 0; sp_exchange_policies[i] && i < 15; i++)
        names[i] = sp_exchange_policies[i]->name;
    if (value_choice("--exchange", value, names, &index, error))
        return SP_INPUT;
    options->exchange = names[index];
    return SP_OK;
}

/* Numbers, or the layout that Megatron-LM's --pipeline-model-parallel-layout takes. */
static enum sp_status parse_stage_layers(struct plan_options *options, const char *value,
                                         struct sp_error *error)
{
    int64_t *list;
    enum sp_status status;

    if (*value == 'E') {
        sp_free(options->stage_layers);
        options->stage_layers = NULL;
        return sp_megatron_layout_parse(value, &options->stage_layer_count, &options->stage_layers, error);
    }
    status = value_list("--stage-layers", value, 0, UINT16_MAX, &options->stage_layer_count, &list, error);

    if (status)
        return status;
    sp_free(options->stage_layers);
    options->stage_layers = sp_alloc(options->stage_layer_count, sizeof(*options->stage_layers));
    for (uint32_t i = 0; options->stage_layers && i < options->stage_layer_count; i++)
        options->stage_layers[i] = (uint32_t)list[i];
    sp_free(list);
    return options->stage_layers ? SP_OK : sp_error_set(error, SP_MEMORY, "--stage-layers: no memory");
}

static enum sp_status parse_special(struct plan_options *options, int key, const char *value,
                                    struct sp_error *error)
{
    switch (key) {
    case KEY_UNIT_COST:
        unit_costs_finish(&options->costs);
        return unit_costs_parse(&options->costs, value, error);
    case KEY_SCHEDULE:
        return parse_schedule(options, value, error);
    case KEY_EXCHANGE:
        return parse_exchange(options, value, error);
    case KEY_SLICE_TOKENS:
        sp_free(options->slice_tokens);
        options->slice_tokens = NULL;
        return value_list("--slice-tokens", value, 1, MOST_TOKENS, &options->slice_token_count,
                          &options->slice_tokens, error);
    case KEY_STAGE_LAYERS:
        return parse_stage_layers(options, value, error);
    case KEY_SLICE_DIVISION:
        return value_choice("--slice-division", value, sp_slice_division_names, &options->slice_division,
                            error);
    case KEY_STAGE_DIVISION:
        return value_choice("--stage-division", value, sp_stage_division_names, &options->stage_division,
                            error);
    case KEY_MAX_HELD:
        return value_thousandths("--max-held", value, &options->memory_units, error);
    case KEY_RECOMPUTE:
        return value_choice("--recompute", value, sp_recompute_names, &options->recompute, error);
    case KEY_OFFLOAD:
        return value_share("--offload", value, &options->offload_permille, error);
    case KEY_KV_GRADIENT:
        return value_choice("--kv-gradient", value, sp_kv_gradient_names, &options->kv_gradient, error);
    default: /* KEY_VOCABULARY */
        options->vocabulary_is_set = true;
        return value_choice("--vocabulary", value, sp_vocabulary_names, &options->vocabulary, error);
    }
}

static enum sp_status parse_option(struct plan_options *options, int key, const char *value,
                                   struct sp_error *error)
{
    if (key == KEY_SEARCH) {
        options->search = true;
        return SP_OK;
    }
    options->memory_cap_is_set |= key == KEY_MEMORY_CAP;
    options->recompute_is_set |= key == KEY_RECOMPUTE;
    options->offload_is_set |= key == KEY_OFFLOAD;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (numbers[i].key == key)
            return parse_number(options, &numbers[i], value, error);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (texts[i].key == key) {
            *(const char **)((char *)options + texts[i].offset) = value;
            return SP_OK;
        }
    return parse_special(options, key, value, error);
}

static enum sp_status check_inputs(const struct plan_options *options, struct sp_error *error)
{
    bool has_costs = options->costs.stage_count > 0;

    if (options->model && has_costs)
        return sp_error_set(error, SP_INPUT, "--model and --unit-cost: expected one of them");
    if (!options->model && !has_costs)
        return sp_error_set(error, SP_INPUT, "expected --model and --cluster, or --unit-cost");
    if (options->model && !options->cluster)
        return sp_error_set(error, SP_INPUT, "--model needs --cluster");
    if (has_costs && (options->cluster || options->profile))
        return sp_error_set(error, SP_INPUT, "--cluster and --profile need --model");
    if (!options->pipeline && has_costs)
        return sp_error_set(error, SP_INPUT, "--pp is missing: expected the number of pipeline devices");
    return SP_OK;
}

static enum sp_status check_lists(struct plan_options *options, struct sp_error *error)
{
    uint32_t count = options->slice_token_count;

    if (options->slice_tokens && options->slices && options->slices != count)
        return sp_error_set(error, SP_INPUT, "--slice-tokens: %u slices; expected the %lld of --slices",
                            count, (long long)options->slices);
    if (options->slice_tokens)
        options->slices = count;
    return SP_OK;
}

enum sp_status plan_options_check(struct plan_options *options, struct sp_error *error)
{
    enum sp_status status = check_inputs(options, error);

    return status ? status : check_lists(options, error);
}

static error_t parse_shared(int key, char *value, struct argp_state *state)
{
    struct plan_options *options = state->input;

    if (key < FIRST_LONG_KEY || key >= KEY_END)
        return ARGP_ERR_UNKNOWN;
    return usage_status(&options->usage, parse_option(options, key, value, &options->usage.error));
}

const struct argp plan_options_argp = {.options = shared_options, .parser = parse_shared};

static enum sp_status check_search(struct plan_options *options, struct sp_error *error)
{
    if (!options->pipeline && !options->gpus)
        return sp_error_set(error, SP_INPUT, "expected --pp, or --gpus to search for the best configuration");
    options->search |= !options->pipeline;
    if (options->search && !options->model)
        return sp_error_set(error, SP_INPUT, "--search needs --model");
    if (options->search && !options->gpus)
        return sp_error_set(error, SP_INPUT, "--search needs --gpus");
    if (!options->search && (options->top || options->json || options->threads))
        return sp_error_set(error, SP_INPUT, "--top, --threads and --json belong to --search");
    if (!options->top)
        options->top = 5;
    return SP_OK;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct plan_options *options = state->input;
    struct sp_error *error = &options->usage.error;
    enum sp_status status;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case ARGP_KEY_ARG:
        return usage_fail(&options->usage, "'%s': expected options only; -o names the plan's file", value);
    case ARGP_KEY_END:
        (void)((status = plan_options_check(options, error)) || (status = check_search(options, error)));
        return usage_status(&options->usage, status);
    case KEY_OUTPUT:
    case KEY_SEARCH:
    case KEY_TOP:
    case KEY_THREADS:
    case KEY_JSON:
        return usage_status(&options->usage, parse_option(options, key, value, error));
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* An indented name, and its text beside it, in lines of HELP_WIDTH. */
static void print_entry(FILE *stream, const char *name, const char *text)
{
    int column = fprintf(stream, "  %-*s", HELP_NAME_WIDTH, name);

    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column + 1 + length > HELP_WIDTH)
            column = fprintf(stream, "\n%*s", HELP_NAME_WIDTH + 2, "") - 1;
        column += fprintf(stream, " %.*s", length, text);
        text += length + (text[length] == ' ');
    }
    fputc('\n', stream);
}

char *plan_options_help(int key, const char *text, void *input)
{
    char *help = NULL;
    size_t size;
    FILE *stream;

    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC || !(stream = open_memstream(&help, &size)))
        return (char *)text;
    fprintf(stream, "%s\nSchedules:\n", text);
    for (int i = 0; sp_schedules[i]; i++)
        print_entry(stream, sp_schedules[i]->name, sp_schedules[i]->description);
    fprintf(stream, "\nExchange policies:\n");
    for (int i = 0; sp_exchange_policies[i]; i++)
        print_entry(stream, sp_exchange_policies[i]->name, sp_exchange_policies[i]->description);
    if (fclose(stream) != 0) {
        free(help);
        return (char *)text;
    }
    return help;
}

static const char doc[] =
    "Makes a plan, checks its memory against the cap, and says what it is predicted to take."
    "\v"
    "Examples:\n"
    "  slimpipe plan --model llama-3.1-70b --cluster h100 --gpus 128 \\\n"
    "      --seq-len 512K --batch-tokens 4M -o plan.json\n"
    "  slimpipe plan --model llama-3.1-70b --cluster h100 --gpus 128 \\\n"
    "      --seq-len 512K --batch-tokens 4M --tp 4 --cp 2 --pp 16 --vpp 5 \\\n"
    "      --slices 32 --recompute selective --exchange pairwise -o plan.json\n"
    "  slimpipe plan --schedule 1f1b --unit-cost forward=1,backward=1,weight=1 \\\n"
    "      --pp 4 --microbatches 8 -o - | slimpipe simulate - --text\n"
    "\n"
    "Sizes take K, M and G: 512K tokens are 524288.\n"
    "\n" UNIT_COST_HELP;

static const struct argp_child children[] = {{.argp = &plan_options_argp}, {0}};
static const struct argp argp = {.options = own_options,
                                 .parser = parse,
                                 .doc = doc,
                                 .children = children,
                                 .help_filter = plan_options_help};

bool plan_options_parse(struct plan_options *options, int argc, char **argv)
{
    return command_parse(&argp, argc, argv, &options->usage, options);
}

void plan_options_finish(struct plan_options *options)
{
    unit_costs_finish(&options->costs);
    sp_free(options->slice_tokens);
    sp_free(options->stage_layers);
}

enum sp_status plan_options_read(const struct plan_options *options, struct plan_inputs *ret_inputs,
                                 struct sp_error *error)
{
    enum sp_status status;

    if (!options->model)
        return SP_OK;
    if ((status = sp_model_read(options->model, &ret_inputs->model, error)) ||
        (status = sp_cluster_read(options->cluster, &ret_inputs->cluster, error)))
        return status;
    return sp_profile_read(options->profile ? options->profile : ret_inputs->cluster.profile,
                           &ret_inputs->profile, error);
}

void plan_options_request(const struct plan_options *options, const struct plan_inputs *inputs,
                          struct sp_request *ret_request)
{
    bool has_model = options->model;

    *ret_request = (struct sp_request){
        .schedule = options->schedule,
        .model = has_model ? &inputs->model : NULL,
        .cluster = has_model ? &inputs->cluster : NULL,
        .profile = has_model ? &inputs->profile : NULL,
        .costs = has_model ? NULL : &options->costs.costs,
        .cost_stages = options->costs.stage_count,
        .parallel = {.pipeline = options->pipeline,
                     .tensor = options->tensor,
                     .context = options->context,
                     .data = options->data,
                     .expert = options->expert},
        .gpus = options->gpus,
        .chunks = (uint32_t)options->chunks,
        .slices = (uint32_t)options->slices,
        .slice_tokens = options->slice_tokens,
        .window = (uint32_t)options->window,
        .group = (uint32_t)options->group,
        .slice_division = (enum sp_slice_division)options->slice_division,
        .stage_division = (enum sp_stage_division)options->stage_division,
        .memory_units = options->memory_units,
        .stages = (uint32_t)options->stages,
        .path_stages = (uint32_t)options->path_stages,
        .sequence_tokens = options->sequence_tokens,
        .batch_tokens = options->batch_tokens,
        .microbatches = options->microbatches,
        .microbatch_sequences = options->microbatch_sequences,
        .recompute = (enum sp_recompute)options->recompute,
        .offload_permille = (uint32_t)options->offload_permille,
        .kv_gradient = (enum sp_kv_gradient)options->kv_gradient,
        .vocabulary = (enum sp_vocabulary)options->vocabulary,
        .vocabulary_is_set = options->vocabulary_is_set,
        .exchange = options->exchange,
        .memory_cap_bytes = options->memory_cap_is_set ? options->memory_cap_bytes
                            : has_model                ? inputs->cluster.memory_bytes
                                                       : 0,
        .stage_layers = options->stage_layers,
        .stage_layer_count = options->stage_layer_count,
    };
}
