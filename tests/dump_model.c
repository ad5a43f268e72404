/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For compare_torch.py: `dump_model SHAPE` writes one small model and what we compute of it to standard
 * output: a line with the model in JSON, then ids and targets (int32), parameters (float32), the reference's
 * loss and gradient (float64), the sliced model's loss (float64) and gradient (float32), and the parameters
 * after STEPS steps of AdamW along that gradient (float32).
 */
#include <stdio.h>

#include "host_problem.h"
#include "sliced_model.h"

enum { STEPS = 3 };

static void write_model(const struct sp_model *m)
{
    printf("{\"layers\": %ld, \"hidden\": %ld, \"ffn\": %ld, \"heads\": %ld, \"kv_heads\": %ld, "
           "\"head_dim\": %ld, \"vocab\": %ld, \"experts\": %ld, \"experts_per_token\": %ld, ",
           (long)m->layers, (long)m->hidden, (long)m->ffn, (long)m->heads, (long)m->kv_heads,
           (long)m->head_dim, (long)m->vocab, (long)m->experts, (long)m->experts_per_token);
    printf("\"tied\": %d, \"qkv_bias\": %d, \"qk_norm\": %d, \"rope_theta\": %.17g, \"norm_epsilon\": %.17g, "
           "\"sequences\": %d, \"tokens\": %d, \"steps\": %d}\n",
           m->tied_embeddings, m->qkv_bias, m->qk_norm, m->rope_theta, m->norm_epsilon, SEQUENCES, TOKENS,
           STEPS);
}

static void write_array(const void *data, size_t size, int64_t count)
{
    fwrite(data, size, (size_t)count, stdout);
}

static void step(const struct sp_host_math *math, struct problem *problem, const float *gradient)
{
    struct sp_host_adamw settings = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 1};
    float *first = new_floats(problem->count), *second = new_floats(problem->count);
    for (; settings.step <= STEPS; settings.step++)
        math->kernels->adamw(&settings, problem->count, gradient, problem->parameters, first, second);
    free(first), free(second);
}

int main(int argc, char **argv)
{
    const int64_t tokens[] = {5, 1, 9, 8};
    int index = argc == 2 ? atoi(argv[1]) : SHAPES;
    struct problem problem;
    struct sp_host_math math;
    struct sp_error error;
    if (index < 0 || index >= SHAPES) {
        fprintf(stderr, "usage: %s SHAPE, below %d\n", argv[0], SHAPES);
        return 2;
    }
    if (sp_host_math_open(NULL, NULL, &math, &error) != SP_OK)
        return 1;
    problem_init(&problem, index, 11);
    struct sliced_settings settings = {
        .math = &math, .slice_count = 4, .slice_tokens = tokens, .vocabulary_parts = 1, .exchange_cuts = 2};
    float *gradient = new_floats(problem.count);
    double loss = sliced_loss(&settings, &problem.model, SEQUENCES, TOKENS, problem.ids, problem.targets,
                              problem.parameters, gradient);
    write_model(&problem.model);
    write_array(problem.ids, sizeof *problem.ids, ROWS);
    write_array(problem.targets, sizeof *problem.targets, ROWS);
    write_array(problem.parameters, sizeof *problem.parameters, problem.count);
    write_array(&problem.loss, sizeof problem.loss, 1);
    write_array(problem.reference, sizeof *problem.reference, problem.count);
    write_array(&loss, sizeof loss, 1);
    write_array(gradient, sizeof *gradient, problem.count);
    step(&math, &problem, gradient);
    write_array(problem.parameters, sizeof *problem.parameters, problem.count);
    free(gradient);
    problem_finish(&problem);
    return 0;
}
