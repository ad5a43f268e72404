/* SPDX-License-Identifier: Apache-2.0 */
/* The host backend: loss and gradients of plans against the unsliced model in double, and memory to the byte.
 */
#include <math.h>
#include <unistd.h>

#include "reference_model.h"
#include "slimpipe/executor.h"
#include "support.h"

enum { TOKENS = 24, SEQUENCES = 2, MICROBATCHES = 4, TEXT = 331 };

/* float32 sums of a few hundred products; the bound that the executor promises. */
#define TOLERANCE 1e-4

static const struct sp_model small_model = {
    .name = "small",
    .architecture = "LlamaForCausalLM",
    .layers = 8,
    .hidden = 16,
    .ffn = 20,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 4,
    .vocab = 31,
    .rope_theta = 10000,
    .norm_epsilon = 1e-5,
};

static void describe_machine(struct sp_cluster *cluster, struct sp_profile *profile)
{
    struct sp_error error;
    cr_assert_eq(sp_cluster_read("ideal", cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read("ideal", profile, &error), SP_OK, "%s", error.message);
    cluster->precision = SP_PRECISION_FLOAT32;
    /* So slow that passes of this size take time. */
    cluster->matrix_flops = 1000000000;
    cluster->memory_bytes_per_second = 1000000000;
}

static void make_text(int32_t *text)
{
    uint64_t x = 7;
    for (int i = 0; i < TEXT; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        text[i] = (int32_t)((x >> 33) % (uint64_t)small_model.vocab);
    }
}

/* Weights, or gradients, of all devices in the reference's one vector. */
static void collect(const struct sp_executor *executor, const struct sp_program *program,
                    const struct sp_model *model, bool gradients, double *vector)
{
    int64_t table = model->vocab * model->hidden;
    int64_t layer = (reference_parameters(model) - model->hidden - (model->tied_embeddings ? 1 : 2) * table) /
                    model->layers;
    for (uint32_t d = 0; d < program->device_count; d++) {
        struct sp_tensor tensor;
        for (int i = 0; sp_executor_tensor(executor, d, i, &tensor); i++) {
            int64_t at = 0;
            long number;
            if (sscanf(tensor.name, "model.layers.%ld", &number) == 1)
                at = table + number * layer;
            else if (strcmp(tensor.name, "model.norm") == 0)
                at = table + model->layers * layer;
            else if (strcmp(tensor.name, "lm_head") == 0)
                at = table + model->layers * layer + model->hidden;
            const float *from = gradients ? tensor.gradient : tensor.weight;
            for (int64_t k = 0; k < tensor.count; k++)
                vector[at + tensor.offset + k] = (double)from[k];
        }
    }
}

static double apart(const double *x, const double *y, int64_t count)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (x[i] - y[i]) * (x[i] - y[i]);
        size += y[i] * y[i];
    }
    return sqrt(difference / size);
}

static void check_gradients(const struct sp_executor *executor, const struct sp_program *program,
                            const int32_t *text, double loss, const char *name)
{
    const struct sp_model *model = &program->plan->model;
    const struct sp_workload *workload = &program->plan->workload;
    int64_t count = reference_parameters(model), tokens = workload->sequence_tokens;
    int64_t sequences = workload->microbatches * workload->microbatch_sequences, whole = (TEXT - 1) / tokens;
    double *weights = calloc((size_t)count, sizeof *weights),
           *gradient = calloc((size_t)count, sizeof *gradient);
    double *expected = calloc((size_t)count, sizeof *expected);
    int32_t *ids = calloc((size_t)(sequences * tokens), sizeof *ids);
    int32_t *targets = calloc((size_t)(sequences * tokens), sizeof *targets);
    for (int64_t i = 0; i < sequences; i++) {
        memcpy(ids + i * tokens, text + i % whole * tokens, (size_t)tokens * sizeof *ids);
        memcpy(targets + i * tokens, text + i % whole * tokens + 1, (size_t)tokens * sizeof *ids);
    }
    collect(executor, program, model, false, weights);
    collect(executor, program, model, true, gradient);
    double expected_loss = reference_loss(model, sequences, tokens, ids, targets, weights, expected);
    cr_assert_leq(fabs(loss - expected_loss), 1e-5 * expected_loss, "%s: loss %.8f, reference %.8f", name,
                  loss, expected_loss);
    double distance = apart(gradient, expected, count);
    cr_assert(distance <= TOLERANCE, "%s: gradients are %g apart", name, distance);
    free(weights), free(gradient), free(expected), free(ids), free(targets);
}

static void check_memory(const struct sp_executor *executor, const struct sp_program *program,
                         const char *name)
{
    for (uint32_t d = 0; d < program->device_count; d++) {
        struct sp_device_memory predicted, measured;
        sp_program_memory(program, d, &predicted);
        sp_executor_memory(executor, d, &measured);
        for (int c = 0; c < SP_MEMORY_CATEGORIES; c++) {
            cr_assert_eq(measured.peak_by_category[c], predicted.peak_by_category[c],
                         "%s: device %d, %s: %ld bytes, predicted %ld", name, (int)d, sp_memory_names[c],
                         (long)measured.peak_by_category[c], (long)predicted.peak_by_category[c]);
            cr_assert_eq(measured.at_end[c], predicted.at_end[c], "%s: device %d, %s at the end", name,
                         (int)d, sp_memory_names[c]);
        }
        cr_assert_eq(measured.peak_in_flight, predicted.peak_in_flight, "%s", name);
        cr_assert_eq(measured.peak_bytes, predicted.peak_bytes, "%s: device %d: %ld bytes, predicted %ld",
                     name, (int)d, (long)measured.peak_bytes, (long)predicted.peak_bytes);
    }
}

/* Runs one iteration of a plan; SP_INPUT where its schedule has no such shape. */
static enum sp_status check_request(const struct sp_request *request, const char *name)
{
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_executor *executor = NULL;
    struct sp_program *program = NULL;
    struct sp_plan *plan = NULL;
    struct sp_error error = {.message = ""};
    struct sp_step step;
    int32_t text[TEXT];
    enum sp_status status = sp_plan_compose(request, &plan, &error);
    if (status != SP_OK)
        return status;
    make_text(text);
    settings.backend = sp_backend_find("host");
    settings.training.tokens = text;
    settings.training.token_count = TEXT;
    settings.training.keep_gradients = true;
    cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "%s: %s", name, error.message);
    status = sp_executor_create(program, &settings, &executor, &error);
    if (status == SP_OK) {
        status = sp_executor_step(executor, 0, NULL, &step, &error);
        cr_assert_eq(status, SP_OK, "%s: %s", name, error.message);
        check_gradients(executor, program, text, step.loss, name);
        check_memory(executor, program, name);
    }
    cr_assert(status == SP_OK || status == SP_UNSUPPORTED, "%s: %s", name, error.message);
    sp_executor_destroy(executor);
    sp_program_destroy(program);
    sp_plan_destroy(plan);
    return status;
}

struct setting {
    struct sp_cluster cluster;
    struct sp_profile profile;
    struct sp_request request;
};

static void setting_init(struct setting *s, const char *schedule, uint32_t devices, uint32_t chunks,
                         uint32_t slices)
{
    memset(s, 0, sizeof *s);
    describe_machine(&s->cluster, &s->profile);
    s->request = (struct sp_request){
        .schedule = schedule,
        .model = &small_model,
        .cluster = &s->cluster,
        .profile = &s->profile,
        .parallel = {.pipeline = devices},
        .chunks = chunks,
        .slices = slices,
        .sequence_tokens = TOKENS,
        .microbatches = MICROBATCHES,
        .microbatch_sequences = SEQUENCES,
        .vocabulary = SP_VOCABULARY_LAST,
        .vocabulary_is_set = true,
    };
}

/* p, v, n of SlimPipe, with each policy of recompute, exchange and output layer. */
Test(executor_host, slimpipe)
{
    static const uint32_t shapes[][3] = {{1, 1, 1}, {1, 2, 3}, {2, 1, 2}, {2, 2, 4},
                                         {4, 1, 4}, {4, 2, 8}, {8, 1, 12}};
    static const char *const exchanges[] = {"none", "pairwise", "optimal"};
    int ran = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int recompute = SP_RECOMPUTE_NONE; recompute <= SP_RECOMPUTE_FULL; recompute++)
            for (int exchange = 0; exchange < 3; exchange++) {
                struct setting s;
                char name[96];
                setting_init(&s, "slimpipe", shapes[i][0], shapes[i][1], shapes[i][2]);
                s.request.recompute = (enum sp_recompute)recompute;
                s.request.exchange = exchanges[exchange];
                s.request.vocabulary = exchange == 1 ? SP_VOCABULARY_TILED : SP_VOCABULARY_LAST;
                snprintf(name, sizeof name, "p%u v%u n%u, recompute %s, exchange %s", shapes[i][0],
                         shapes[i][1], shapes[i][2], sp_recompute_names[recompute], exchanges[exchange]);
                ran += check_request(&s.request, name) == SP_OK;
            }
    cr_assert_geq(ran, 50, "%d", ran);
}

/* The output layer on all devices: some rows, or some columns, of it on each. */
Test(executor_host, spread_vocabulary)
{
    static const char *const schedules[] = {"1f1b", "slimpipe", "interleaved", "zb-h1", "zb-v", "dualpipe"};
    int ran = 0;
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++)
        for (int vocabulary = SP_VOCABULARY_SCATTER; vocabulary <= SP_VOCABULARY_SHARD1; vocabulary++)
            for (uint32_t devices = 1; devices <= 4; devices++) {
                const struct sp_schedule *schedule = sp_schedule_find(schedules[i]);
                struct setting s;
                char name[96];
                setting_init(&s, schedules[i], devices, schedule->default_chunks,
                             schedule->traits & SP_SCHEDULE_SLICES ? 4 : 1);
                s.request.vocabulary = (enum sp_vocabulary)vocabulary;
                s.request.microbatches = 2 * devices;
                snprintf(name, sizeof name, "%s, p%u, vocabulary %s", schedules[i], devices,
                         sp_vocabulary_names[vocabulary]);
                ran += check_request(&s.request, name) == SP_OK;
            }
    cr_assert_geq(ran, 40, "%d", ran);
}

Test(executor_host, every_schedule)
{
    int ran = 0;
    for (int i = 0; sp_schedules[i]; i++)
        for (uint32_t devices = 2; devices <= 4; devices += 2)
            for (int recompute = SP_RECOMPUTE_NONE; recompute <= SP_RECOMPUTE_FULL; recompute++) {
                bool slices = sp_schedules[i]->traits & SP_SCHEDULE_SLICES;
                struct setting s;
                char name[96];
                setting_init(&s, sp_schedules[i]->name, devices, sp_schedules[i]->default_chunks,
                             slices ? 4 : 1);
                s.request.recompute = (enum sp_recompute)recompute;
                s.request.microbatches = 2 * devices;
                snprintf(name, sizeof name, "%s, p%u, recompute %s", sp_schedules[i]->name, devices,
                         sp_recompute_names[recompute]);
                ran += check_request(&s.request, name) == SP_OK;
            }
    cr_assert_geq(ran, 60, "%d", ran);
}

/* --- Training ------------------------------------------------------------------------------------------ */

struct run {
    struct setting setting;
    struct sp_plan *plan;
    struct sp_program *program;
    struct sp_executor *executor;
    int32_t text[TEXT];
};

static void run_init(struct run *r, float rate)
{
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_error error = {.message = ""};
    setting_init(&r->setting, "slimpipe", 2, 2, 4);
    make_text(r->text);
    settings.backend = sp_backend_find("host");
    settings.training.tokens = r->text;
    settings.training.token_count = TEXT;
    settings.training.rate = rate;
    cr_assert_eq(sp_plan_compose(&r->setting.request, &r->plan, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_program_create(r->plan, &r->program, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_executor_create(r->program, &settings, &r->executor, &error), SP_OK, "%s", error.message);
}

static void run_finish(struct run *r)
{
    sp_executor_destroy(r->executor);
    sp_program_destroy(r->program);
    sp_plan_destroy(r->plan);
}

static double take_step(struct run *r, int64_t number)
{
    struct sp_error error = {.message = ""};
    struct sp_step step;
    cr_assert_eq(sp_executor_step(r->executor, number, NULL, &step, &error), SP_OK, "%s", error.message);
    return step.loss;
}

Test(executor_host, two_runs_give_the_same_bits_and_learn)
{
    enum { STEPS = 30 };
    struct run *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    double first = 0, loss = 0;
    run_init(a, 0.01f);
    run_init(b, 0.01f);
    for (int i = 0; i < STEPS; i++) {
        loss = take_step(a, 0); /* the same tokens each time */
        cr_assert_eq(loss, take_step(b, 0), "step %d", i);
        first = i == 0 ? loss : first;
    }
    cr_assert_leq(loss, 0.8 * first, "%f to %f", first, loss);
    run_finish(a);
    run_finish(b);
    free(a), free(b);
}

Test(executor_host, a_checkpoint_goes_on_with_the_same_bits)
{
    static const char path[] = "build-test-checkpoint.bin";
    struct run *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    struct sp_error error = {.message = ""};
    int64_t next = 0;
    run_init(a, 0.01f);
    run_init(b, 0.01f);
    for (int i = 0; i < 3; i++)
        take_step(a, i);
    cr_assert_eq(sp_executor_save(a->executor, 2, 3, path, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_executor_load(b->executor, 2, path, &next, &error), SP_OK, "%s", error.message);
    cr_assert_eq(next, 3);
    for (int i = 3; i < 5; i++)
        cr_assert_eq(take_step(a, i), take_step(b, i), "step %d", i);
    cr_assert_eq(truncate(path, 1000), 0);
    cr_assert_eq(sp_executor_load(b->executor, 2, path, &next, &error), SP_INPUT);
    cr_assert_str_eq(error.message, "the file ends too early");
    cr_assert_str_eq(error.source, path);
    cr_assert_eq(remove(path), 0);
    cr_assert_eq(sp_executor_save(a->executor, 2, 3, "/nowhere/checkpoint", &error), SP_IO);
    run_finish(a);
    run_finish(b);
    free(a), free(b);
}

Test(executor_host, a_loss_that_is_no_number_ends_all)
{
    struct run *r = calloc(1, sizeof *r);
    struct sp_error error = {.message = ""};
    struct sp_step step;
    enum sp_status status = SP_OK;
    run_init(r, INFINITY);
    for (int i = 0; i < 3 && status == SP_OK; i++)
        status = sp_executor_step(r->executor, i, NULL, &step, &error);
    cr_assert_eq(status, SP_DEVICE);
    cr_assert_str_eq(error.message, "device 1 failed at the pass 3F0.0: the loss is not a number");
    run_finish(r);
    free(r);
}

Test(executor_host, what_it_does_not_run_is_named)
{
    struct run *r = calloc(1, sizeof *r);
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_executor *executor = NULL;
    struct sp_error error = {.message = ""};
    run_init(r, 0);
    settings.backend = sp_backend_find("host");
    cr_assert_eq(sp_executor_create(r->program, &settings, &executor, &error), SP_INPUT);
    cr_assert_str_eq(error.message, "the text has 0 tokens: expected at least 25");
    r->plan->cluster.precision = SP_PRECISION_BF16;
    cr_assert_eq(sp_executor_create(r->program, &settings, &executor, &error), SP_UNSUPPORTED);
    cr_assert(strstr(error.message, "cluster ideal counts bf16"), "%s", error.message);
    r->plan->cluster.precision = SP_PRECISION_FLOAT32;
    r->plan->parallel.tensor = 2;
    cr_assert_eq(sp_executor_create(r->program, &settings, &executor, &error), SP_UNSUPPORTED);
    cr_assert_str_eq(error.message, "backend host: the plan's tensor degree is 2; it runs 1 for now");
    r->plan->parallel.tensor = 1;
    run_finish(r);
    free(r);
}
