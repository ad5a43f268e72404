/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `slimpipe plan`, and the request that they make. */
#ifndef SLIMPIPE_CLI_PLAN_OPTIONS_H
#define SLIMPIPE_CLI_PLAN_OPTIONS_H

#include "slimpipe/cluster.h"
#include "slimpipe/model.h"
#include "slimpipe/planner.h"

#include "command.h"
#include "unit_costs.h"

/* NULL, 0 and false: not given. */
struct plan_options {
    struct usage usage;
    const char *model, *cluster, *profile, *output, *json;
    const char *schedule, *exchange;
    struct unit_costs costs;
    bool search;
    int64_t top, threads;
    int64_t gpus, sequence_tokens, batch_tokens, microbatches, microbatch_sequences;
    int64_t tensor, context, expert, data, pipeline, chunks;
    int64_t slices, window, group, memory_units, stages, path_stages;
    int64_t *slice_tokens;
    uint32_t slice_token_count;
    uint32_t *stage_layers;
    uint32_t stage_layer_count;
    int slice_division, stage_division;
    int recompute, kv_gradient, vocabulary;
    bool recompute_is_set, offload_is_set, vocabulary_is_set;
    int64_t offload_permille;
    bool memory_cap_is_set;
    int64_t memory_cap_bytes; /* 0: none */
};

/* What the request points to. */
struct plan_inputs {
    struct sp_model model;
    struct sp_cluster cluster;
    struct sp_profile profile;
};

/* Fills zeroed options; false after a message. Whatever it returns, plan_options_finish frees. */
bool plan_options_parse(struct plan_options *options, int argc, char **argv);
void plan_options_finish(struct plan_options *options);

/*
 * For other commands with these options: all but those of the search and the output, as a child parser whose
 * input is a struct plan_options; what to check at ARGP_KEY_END; and the help_filter that lists the
 * registries.
 */
extern const struct argp plan_options_argp;
enum sp_status plan_options_check(struct plan_options *options, struct sp_error *error) SP_MUST_CHECK;
char *plan_options_help(int key, const char *text, void *input);

/* Reads the model, its cluster and profile, if a model is given. */
enum sp_status plan_options_read(const struct plan_options *options, struct plan_inputs *ret_inputs,
                                 struct sp_error *error) SP_MUST_CHECK;

/* The request borrows from both; inputs are filled where a model is given. */
void plan_options_request(const struct plan_options *options, const struct plan_inputs *inputs,
                          struct sp_request *ret_request);

#endif
