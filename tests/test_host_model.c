/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's pieces, put together slice by slice, against the unsliced model in double; and that against
 * finite differences. compare_torch.py holds both against PyTorch.
 */
#include "../executor/host/layer.h"
#include "host_problem.h"
#include "host_support.h"
#include "sliced_model.h"

static double loss_at(struct problem *problem)
{
    return reference_loss(&problem->model, SEQUENCES, TOKENS, problem->ids, problem->targets, problem->exact,
                          NULL);
}

/*
 * Central differences along random directions: with step e their error is e² times third derivatives, plus
 * 1e-16/e of rounding; e = 1e-5 leaves about 1e-9 of either.
 */
static void check_differences(int shape_index)
{
    struct problem problem;
    struct random random = {5};
    problem_init(&problem, shape_index, 6);
    const double step = 1e-5;
    for (int trial = 0; trial < 4; trial++) {
        float *direction = random_floats(&random, problem.count);
        double slope = 0, size = 0;
        for (int64_t i = 0; i < problem.count; i++) {
            slope += problem.reference[i] * (double)direction[i];
            size += fabs(problem.reference[i] * (double)direction[i]);
            problem.exact[i] += step * (double)direction[i];
        }
        double above = loss_at(&problem);
        for (int64_t i = 0; i < problem.count; i++)
            problem.exact[i] -= 2 * step * (double)direction[i];
        double below = loss_at(&problem);
        for (int64_t i = 0; i < problem.count; i++)
            problem.exact[i] = (double)problem.parameters[i];
        cr_assert_float_eq((above - below) / (2 * step), slope, 1e-7 * size, "shape %d: %.10g, not %.10g",
                           shape_index, (above - below) / (2 * step), slope);
        free(direction);
    }
    problem_finish(&problem);
}

Test(host_model, reference_gradient_is_the_difference_quotient)
{
    for (int i = 0; i < SHAPES; i++)
        check_differences(i);
}

/* Some single parameters too: one in each stretch of the vector. */
Test(host_model, reference_gradient_by_single_parameters)
{
    struct problem problem;
    problem_init(&problem, EVERYTHING, 7);
    const double step = 1e-5;
    for (int64_t i = 3; i < problem.count; i += problem.count / 61) {
        problem.exact[i] += step;
        double above = loss_at(&problem);
        problem.exact[i] -= 2 * step;
        double below = loss_at(&problem);
        problem.exact[i] = (double)problem.parameters[i];
        cr_assert_float_eq((above - below) / (2 * step), problem.reference[i], 1e-8, "parameter %ld",
                           (long)i);
    }
    problem_finish(&problem);
}

Test(host_model, parameters_are_laid_out_alike)
{
    for (int i = 0; i < SHAPES; i++) {
        struct sp_model model = shape(i);
        int64_t ends = (model.tied_embeddings ? 1 : 2) * model.vocab * model.hidden + model.hidden;
        cr_assert_eq(sp_host_weight_floats(&model), sp_model_layer_parameters(&model));
        cr_assert_eq(reference_parameters(&model), model.layers * sp_host_weight_floats(&model) + ends);
    }
}

/* |a - b| / |b| over one stretch of the gradient. */
static double stretch_distance(const float *a, const double *b, int64_t count)
{
    double apart = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += b[i] * b[i];
    }
    return apart == 0 ? 0 : sqrt(apart / size);
}

#define TOLERANCE 1e-4 /* relative, norm-wise; what the issue asks */

/* Each weight of each layer by itself, so that a small one's error does not hide behind a large one. */
static void check_gradients(const struct problem *problem, const float *gradient, const char *what)
{
    const struct sp_model *model = &problem->model;
    int64_t table = model->vocab * model->hidden, at = table;
    cr_assert_leq(stretch_distance(gradient, problem->reference, table), TOLERANCE, "%s: embedding", what);
    for (int64_t layer = 0; layer < model->layers; layer++) {
        struct sp_host_weights w;
        sp_host_weights_bind(model, (float *)gradient + at, &w);
        const float *begins[] = {w.norm1,  w.q,      w.k,      w.v,
                                 w.q_bias, w.k_bias, w.v_bias, w.q_norm,
                                 w.k_norm, w.o,      w.norm2,  w.router,
                                 w.gate,   w.up,     w.down,   gradient + at + sp_host_weight_floats(model)};
        for (size_t i = 0, next; i + 1 < sizeof begins / sizeof *begins; i = next) {
            for (next = i + 1; !begins[next]; next++)
                ;
            int64_t offset = begins[i] - gradient;
            double apart = stretch_distance(begins[i], problem->reference + offset, begins[next] - begins[i]);
            cr_assert_leq(apart, TOLERANCE, "%s: layer %ld, weight %zu apart by %g", what, (long)layer, i,
                          apart);
        }
        at += sp_host_weight_floats(model);
    }
    double apart = stretch_distance(gradient + at, problem->reference + at, problem->count - at);
    cr_assert_leq(apart, TOLERANCE, "%s: final norm and head apart by %g", what, apart);
}

static void check_sliced(struct problem *problem, const struct sliced_settings *settings)
{
    char what[160];
    float *gradient = calloc((size_t)problem->count, sizeof *gradient);
    double loss = sliced_loss(settings, &problem->model, SEQUENCES, TOKENS, problem->ids, problem->targets,
                              problem->parameters, gradient);
    snprintf(what, sizeof what,
             "%s, slices %ld, recompute %d, vocabulary %d by %ld, later %d, cuts %d, seed %u",
             settings->math->kernels->name, (long)settings->slice_count, (int)settings->recompute,
             (int)settings->vocabulary, (long)settings->vocabulary_parts, settings->weights_later,
             settings->exchange_cuts, settings->seed);
    cr_assert_float_eq(loss, problem->loss, TOLERANCE * problem->loss, "%s: loss %.9g, not %.9g", what, loss,
                       problem->loss);
    check_gradients(problem, gradient, what);
    free(gradient);
}

/* Uneven slices, each of at least a token. */
static void cut_slices(struct random *random, int64_t count, int64_t *ret_tokens)
{
    for (int64_t i = 0; i < count; i++)
        ret_tokens[i] = 1;
    for (int64_t i = count; i < TOKENS; i++)
        ret_tokens[random_below(random, (uint32_t)count)]++;
}

/* Random settings; over all trials every policy meets every shape. */
static void check_shape(int shape_index)
{
    struct random random = {(uint64_t)shape_index + 100};
    struct problem problem;
    struct sp_host_math math;
    struct sp_error error;
    problem_init(&problem, shape_index, 8);
    cr_assert_eq(sp_host_model_check(&problem.model, &error), SP_OK);
    cr_assert_eq(sp_host_math_open(NULL, NULL, &math, &error), SP_OK);
    for (int trial = 0; trial < 30; trial++) {
        int64_t tokens[16], slices = trial < 3 ? 1 : 1 + random_below(&random, 16);
        struct sliced_settings settings = {
            .math = &math,
            .slice_count = slices,
            .slice_tokens = tokens,
            .recompute = (enum sp_recompute)(trial % 3),
            .vocabulary = (enum sp_vocabulary)(trial % 5),
            .vocabulary_parts = 1 + random_below(&random, 4),
            .weights_later = trial % 2,
            .exchange_cuts = trial % 4 == 0 ? 0 : (int)random_below(&random, 6),
            .seed = random_below(&random, 1000),
        };
        cut_slices(&random, slices, tokens);
        check_sliced(&problem, &settings);
    }
    problem_finish(&problem);
}

#define SHAPE_TEST(name, index)                                                                              \
    Test(host_model, name)                                                                                   \
    {                                                                                                        \
        check_shape(index);                                                                                  \
    }
SHAPE_TEST(dense_equals_reference, DENSE)
SHAPE_TEST(grouped_queries_equal_reference, GROUPED)
SHAPE_TEST(biases_equal_reference, BIASED)
SHAPE_TEST(normed_heads_equal_reference, NORMED)
SHAPE_TEST(tied_embeddings_equal_reference, TIED)
SHAPE_TEST(experts_equal_reference, EXPERTS)
SHAPE_TEST(everything_equals_reference, EVERYTHING)

/* Every set of kernels, with our own matrix product. */
Test(host_model, all_kernels_equal_reference)
{
    const int64_t tokens[3] = {4, 12, 7};
    struct problem problem;
    problem_init(&problem, EVERYTHING, 9);
    for (int i = 0; sp_host_kernel_sets[i]; i++) {
        struct sp_host_math math;
        struct sp_error error;
        if (!sp_host_kernel_sets[i]->probe())
            continue;
        cr_assert_eq(sp_host_math_open(sp_host_kernel_sets[i]->name, "none", &math, &error), SP_OK);
        struct sliced_settings settings = {.math = &math,
                                           .slice_count = 3,
                                           .slice_tokens = tokens,
                                           .recompute = SP_RECOMPUTE_SELECTIVE,
                                           .vocabulary = SP_VOCABULARY_SHARD1,
                                           .vocabulary_parts = 3,
                                           .exchange_cuts = 2,
                                           .seed = 1};
        check_sliced(&problem, &settings);
    }
    problem_finish(&problem);
}

/* The same settings twice give the same bits; so does recomputing, when nothing is exchanged. */
Test(host_model, same_bits_again_and_under_recompute)
{
    const int64_t tokens[3] = {8, 8, 7};
    struct problem problem;
    struct sp_host_math math;
    struct sp_error error;
    problem_init(&problem, EVERYTHING, 10);
    cr_assert_eq(sp_host_math_open(NULL, NULL, &math, &error), SP_OK);
    struct sliced_settings settings = {
        .math = &math, .slice_count = 3, .slice_tokens = tokens, .vocabulary_parts = 1};
    float *first = calloc((size_t)problem.count, sizeof *first);
    float *again = calloc((size_t)problem.count, sizeof *again);
    double loss = sliced_loss(&settings, &problem.model, SEQUENCES, TOKENS, problem.ids, problem.targets,
                              problem.parameters, first);
    for (int recompute = SP_RECOMPUTE_NONE; recompute <= SP_RECOMPUTE_FULL; recompute++) {
        settings.recompute = (enum sp_recompute)recompute;
        double other = sliced_loss(&settings, &problem.model, SEQUENCES, TOKENS, problem.ids, problem.targets,
                                   problem.parameters, again);
        cr_assert_eq(loss, other);
        cr_assert_arr_eq(first, again, (size_t)problem.count * sizeof *first, "recompute %d", recompute);
    }
    free(first), free(again);
    problem_finish(&problem);
}

/* papers.md 1.2 in floats: 12h + 6f, 8h and 2h bytes of 2-byte numbers, keys and values not counted. */
Test(host_model, saved_floats_follow_the_formulas)
{
    struct sp_model model = shape(DENSE);
    int64_t h = model.hidden, f = model.ffn, rows = 7, lse = rows * model.heads;
    cr_assert_eq(sp_host_saved_floats(&model, rows, SP_RECOMPUTE_NONE), rows * (6 * h + 3 * f) + lse);
    cr_assert_eq(sp_host_saved_floats(&model, rows, SP_RECOMPUTE_SELECTIVE), rows * 4 * h + lse);
    cr_assert_eq(sp_host_saved_floats(&model, rows, SP_RECOMPUTE_FULL), rows * h);
}

Test(host_model, what_the_host_cannot_run_is_refused)
{
    struct sp_error error;
    struct sp_model model = shape(DENSE);
    model.head_dim = 7;
    cr_assert_eq(sp_host_model_check(&model, &error), SP_UNSUPPORTED);
    cr_assert_str_eq(error.message, "head_dim is 7; the host runs even ones up to 256");
    model.head_dim = 512;
    cr_assert_eq(sp_host_model_check(&model, &error), SP_UNSUPPORTED);
    model = shape(EXPERTS);
    model.experts = 5000;
    cr_assert_eq(sp_host_model_check(&model, &error), SP_UNSUPPORTED);
    cr_assert_str_eq(error.message, "the model has 5000 experts; the host runs up to 1024");
}
