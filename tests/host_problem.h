/* SPDX-License-Identifier: Apache-2.0 */
/* Small models with random weights, a random text, and what the reference says of them. */
#ifndef TESTS_HOST_PROBLEM_H
#define TESTS_HOST_PROBLEM_H

#include "host_random.h"
#include "reference_model.h"

/* Model shapes, small but with every feature. */
enum { DENSE, GROUPED, BIASED, NORMED, TIED, EXPERTS, EVERYTHING, SHAPES };

static inline struct sp_model shape(int index)
{
    struct sp_model model = {
        .layers = 2,
        .hidden = 16,
        .ffn = 24,
        .heads = 4,
        .kv_heads = 4,
        .head_dim = 4,
        .vocab = 29,
        .rope_theta = 10000,
        .norm_epsilon = 1e-5,
    };
    if (index != DENSE)
        model.kv_heads = 2;
    model.qkv_bias = index == BIASED || index == EVERYTHING;
    model.qk_norm = index == NORMED || index == EVERYTHING;
    model.tied_embeddings = index == TIED || index == EVERYTHING;
    if (index == EXPERTS || index == EVERYTHING) {
        model.experts = 5;
        model.experts_per_token = 2;
        model.head_dim = 6; /* heads · head_dim ≠ hidden */
    }
    return model;
}

enum { SEQUENCES = 2, TOKENS = 23, ROWS = SEQUENCES * TOKENS };

struct problem {
    struct sp_model model;
    int64_t count;
    int32_t ids[ROWS], targets[ROWS];
    float *parameters; /* what the host computes with */
    double *exact;     /* the same numbers */
    double *reference; /* the reference's gradient */
    double loss;
};

static inline void problem_init(struct problem *problem, int shape_index, uint64_t seed)
{
    struct random random = {seed};
    problem->model = shape(shape_index);
    problem->count = reference_parameters(&problem->model);
    problem->parameters = random_floats(&random, problem->count);
    problem->exact = new_doubles(problem->count);
    problem->reference = new_doubles(problem->count);
    for (int64_t i = 0; i < problem->count; i++) {
        problem->parameters[i] *= 0.6f;
        problem->exact[i] = (double)problem->parameters[i];
    }
    for (int i = 0; i < ROWS; i++) {
        problem->ids[i] = (int32_t)random_below(&random, (uint32_t)problem->model.vocab);
        problem->targets[i] =
            random_one_in(&random, 7) ? -1 : (int32_t)random_below(&random, (uint32_t)problem->model.vocab);
    }
    problem->loss = reference_loss(&problem->model, SEQUENCES, TOKENS, problem->ids, problem->targets,
                                   problem->exact, problem->reference);
}

static inline void problem_finish(struct problem *problem)
{
    free(problem->parameters), free(problem->exact), free(problem->reference);
}

#endif
