/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "random.h"
#include "slimpipe/arena.h"
#include "support.h"

static struct sp_model model;
static struct sp_cluster cluster;
static struct sp_profile profile;

/* 32 layers, 4 devices, one sequence of 64K tokens a microbatch. */
static struct sp_request small_model(void)
{
    struct sp_error error = {0};
    cr_assert_eq(sp_model_read("llama-3.1-8b", &model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read("ideal", &cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(cluster.profile, &profile, &error), SP_OK, "%s", error.message);
    return (struct sp_request){.model = &model,
                               .cluster = &cluster,
                               .profile = &profile,
                               .parallel = {.pipeline = 4},
                               .slices = 4,
                               .sequence_tokens = 65536,
                               .microbatches = 2};
}

static struct sp_plan *compose(const struct sp_request *request)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {0};
    cr_assert_eq(sp_plan_compose(request, &plan, &error), SP_OK, "%s", error.message);
    return plan;
}

static void assert_refused(const struct sp_request *request, const char *message)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {0};
    cr_assert_eq(sp_plan_compose(request, &plan, &error), SP_INPUT, "taken, though %s", message);
    cr_assert_null(plan);
    cr_assert_neq(strstr(error.message, message), NULL, "'%s', not '%s'", error.message, message);
}

/* --- Slices -------------------------------------------------------------------------------------------- */

struct cut {
    int64_t sequence, context;
    uint32_t slices;
    int64_t first, last;
};

ParameterizedTestParameters(compose, cuts_slices)
{
    static struct cut cuts[] = {
        {65536, 1, 4, 16384, 16384}, /* equal */
        {1000, 1, 8, 125, 125},      /* equal, though not of whole tiles */
        {65536, 1, 6, 11008, 10880}, /* 512 tiles of 128: the first two of six slices get one more */
        {65536, 2, 6, 11008, 10752}, /* 256 tiles of 2 · 128 */
        {1000, 1, 7, 143, 142},      /* no whole tiles: tokens; the first six get one more */
        {7, 1, 7, 1, 1},
    };
    return cr_make_param_array(struct cut, cuts, sizeof cuts / sizeof *cuts);
}

ParameterizedTest(struct cut *cut, compose, cuts_slices)
{
    struct sp_request request = small_model();
    request.sequence_tokens = cut->sequence;
    request.parallel.context = cut->context;
    request.slices = cut->slices;
    struct sp_plan *plan = compose(&request);
    int64_t sum = 0;
    for (uint32_t i = 0; i < plan->slice_count; i++) {
        sum += plan->slice_tokens[i];
        if (i > 0)
            cr_assert_leq(plan->slice_tokens[i], plan->slice_tokens[i - 1]);
    }
    cr_assert_eq(plan->slice_count, cut->slices);
    cr_assert_eq(sum, cut->sequence);
    cr_assert_eq(plan->workload.sequence_tokens, cut->sequence);
    cr_assert_eq(plan->slice_tokens[0], cut->first, "%ld", (long)plan->slice_tokens[0]);
    cr_assert_eq(plan->slice_tokens[cut->slices - 1], cut->last);
    sp_plan_destroy(plan);
}

Test(compose, takes_given_slices)
{
    static const int64_t tokens[] = {400, 300, 200, 124};
    struct sp_request request = small_model();
    request.slice_tokens = tokens;
    request.sequence_tokens = 0;
    struct sp_plan *plan = compose(&request);
    cr_assert_eq(plan->workload.sequence_tokens, 1024);
    cr_assert_eq(plan->slice_tokens[3], 124);
    sp_plan_destroy(plan);
    request.sequence_tokens = 1000;
    assert_refused(&request, "slice-tokens: their sum is 1024; expected seq-len 1000");
}

/* --- Degrees and microbatches ----------------------------------------------------------------------------
 */

Test(compose, divides_gpus_and_batch)
{
    struct sp_request request = small_model();
    request.gpus = 32;
    request.parallel.tensor = 2;
    request.microbatches = 0;
    request.microbatch_sequences = 3;
    request.batch_tokens = 65536 * 3 * 4 * 5;
    struct sp_plan *plan = compose(&request);
    cr_assert_eq(plan->parallel.data, 4);
    cr_assert_eq(plan->workload.microbatches, 5);
    cr_assert_eq(plan->workload.microbatch_sequences, 3);
    sp_plan_destroy(plan);
    request.microbatches = 5;
    sp_plan_destroy(compose(&request));
    request.microbatches = 4;
    assert_refused(&request, "microbatches 4: expected the 5 of batch-tokens");
    request.microbatches = 0;
    request.batch_tokens++;
    assert_refused(&request, "batch-tokens 3932161: expected a multiple of");
    request.gpus = 30;
    assert_refused(&request, "gpus 30: expected a multiple of pp x tp x cp = 8");
}

Test(compose, refuses_what_contradicts)
{
    struct sp_request request = small_model(), good = request;
    request.schedule = "slim";
    assert_refused(&request, "schedule 'slim': expected one of slimpipe, ");
    request = good, request.exchange = "some";
    assert_refused(&request, "exchange 'some': expected one of none, ");
    request = good, request.model = NULL;
    assert_refused(&request, "expected a model or unit costs, and neither is given");
    request = good, request.microbatches = 0;
    assert_refused(&request, "microbatches or batch-tokens is missing");
    request = good, request.sequence_tokens = 0;
    assert_refused(&request, "seq-len is missing");
    request = good, request.sequence_tokens = 3;
    assert_refused(&request, "slices 4: expected at most the 3 tokens");
    request = good, request.gpus = -8;
    assert_refused(&request, "gpus -8: expected 1 or more");
    request = good, request.parallel.tensor = 5;
    assert_refused(&request, "tp 5: expected a divisor of the 32 heads");
    request = good, request.parallel.expert = 2;
    assert_refused(&request, "ep 2: llama-3.1-8b has no experts");
    request = good, request.chunks = 9;
    assert_refused(&request, "pp x vpp = 4 x 9 stages: expected at most the 32 layers");
    request = good, request.slices = 3;
    assert_refused(&request, "3 slices on 4 devices");
    request = good, request.offload_permille = 1001;
    assert_refused(&request, "offload");
    request = good, request.parallel.pipeline = INT64_MAX, request.parallel.tensor = 2;
    assert_refused(&request, "expected at most 4096 pipeline devices");
    request = good, request.gpus = 4, request.parallel.data = 2;
    assert_refused(&request, "gpus 4: expected pp x tp x cp x dp = 4 x 2");
}

/* --- Stages ----------------------------------------------------------------------------------------------
 */

static void count_layers(const struct sp_plan *plan, int64_t layers)
{
    uint32_t least = UINT32_MAX, most = 0;
    uint32_t by_device[64] = {0}, device_least = UINT32_MAX, device_most = 0;
    int64_t next = 0;
    for (uint32_t s = 0; s < plan->stage_count; s++) {
        const struct sp_stage *stage = &plan->stages[s];
        cr_assert_eq(stage->layer_begin, next);
        next += stage->layer_count;
        least = stage->layer_count < least ? stage->layer_count : least;
        most = stage->layer_count > most ? stage->layer_count : most;
        by_device[stage->device] += stage->layer_count;
    }
    for (uint32_t d = 0; d < plan->order.device_count; d++) {
        device_least = by_device[d] < device_least ? by_device[d] : device_least;
        device_most = by_device[d] > device_most ? by_device[d] : device_most;
    }
    cr_assert_eq(next, layers);
    cr_assert_leq(most - least, 1);
    cr_assert_leq(device_most - device_least, 1, "%u stages", plan->stage_count);
    /* The output layer's stage is never one of those with more layers. */
    cr_assert_eq(plan->stages[plan->stage_count - 1].layer_count, least);
}

/* Stages and devices differ by one layer at most, whatever the number of layers. */
Test(compose, spreads_layers)
{
    struct sp_request request = small_model();
    request.slices = 8;
    for (uint32_t p = 1; p <= 8; p++)
        for (uint32_t v = 1; v <= 4; v++)
            for (int64_t layers = p * v; layers <= p * v + 23; layers++) {
                model.layers = layers;
                request.parallel.pipeline = p;
                request.chunks = v;
                struct sp_plan *plan = compose(&request);
                count_layers(plan, layers);
                sp_plan_destroy(plan);
            }
}

Test(compose, takes_given_layers)
{
    static const uint32_t layers[] = {7, 9, 9, 7};
    struct sp_request request = small_model();
    request.stage_layers = layers;
    request.stage_layer_count = 4;
    struct sp_plan *plan = compose(&request);
    cr_assert_eq(plan->stages[3].layer_begin, 25);
    cr_assert_eq(plan->stages[3].layer_count, 7);
    sp_plan_destroy(plan);
    request.stage_layer_count = 3;
    assert_refused(&request, "stage-layers: 3 stages; expected pp x vpp = 4 x 1");
    model.layers = 33;
    request.stage_layer_count = 4;
    assert_refused(&request, "stage-layers: their sum is 32; expected the 33 layers");
}

Test(compose, spreads_costs)
{
    static const int64_t forward[] = {3, 4};
    struct sp_pass_costs costs = {.forward_ns = forward};
    struct sp_request request = {.costs = &costs,
                                 .cost_stages = 2,
                                 .schedule = "1f1b",
                                 .parallel = {.pipeline = 2},
                                 .microbatches = 1};
    struct sp_plan *plan = compose(&request);
    cr_assert_eq(plan->costs->forward_ns[1], 4);
    cr_assert_neq(plan->costs->forward_ns, forward); /* the plan outlives the request */
    sp_plan_destroy(plan);
    request.cost_stages = 1;
    plan = compose(&request);
    cr_assert_eq(plan->costs->forward_ns[1], 3);
    sp_plan_destroy(plan);
    request.parallel.pipeline = 3;
    request.cost_stages = 2;
    assert_refused(&request, "costs of 2 stages: expected 1, for all, or 3");
}

/* --- The output layer --------------------------------------------------------------------------------------
 */

Test(compose, chooses_where_the_output_layer_runs)
{
    struct sp_request request = small_model();
    struct sp_plan *plan = compose(&request);
    cr_assert_eq(plan->vocabulary, SP_VOCABULARY_SCATTER);
    sp_plan_destroy(plan);
    request.vocabulary_is_set = true;
    request.vocabulary = SP_VOCABULARY_TILED;
    plan = compose(&request);
    cr_assert_eq(plan->vocabulary, SP_VOCABULARY_TILED);
    sp_plan_destroy(plan);
    request.vocabulary_is_set = false;
    request.schedule = "1f1b";
    request.slices = 1;
    plan = compose(&request);
    cr_assert_eq(plan->vocabulary, SP_VOCABULARY_LAST);
    sp_plan_destroy(plan);
}

/* A shape that the schedule takes, the first of a few. */
static bool find_shape(const struct sp_schedule *schedule, struct sp_request *request)
{
    static const struct {
        uint32_t devices, chunks, microbatches, slices;
    } shapes[] = {{4, 1, 8, 1}, {4, 2, 8, 1}, {4, 1, 6, 6}, {4, 2, 6, 6}, {4, 4, 8, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct sp_error error;
        struct sp_shape shape = {.devices = shapes[i].devices,
                                 .chunks = shapes[i].chunks,
                                 .microbatches = shapes[i].microbatches,
                                 .slices = shapes[i].slices};
        if (sp_schedule_check(schedule, &shape, &error))
            continue;
        request->schedule = schedule->name;
        request->parallel.pipeline = shape.devices;
        request->chunks = shape.chunks;
        request->microbatches = shape.microbatches;
        request->slices = shape.slices;
        return true;
    }
    return false;
}

/* S and T of every unit on every device; T where the last stage has a backward. */
static void check_output_passes(const struct sp_plan *plan)
{
    int64_t units = plan->workload.microbatches * plan->slice_count;
    bool trains = plan->stages[plan->stage_count - 1].train != SP_TRAIN_NONE;
    for (uint32_t d = 0; d < plan->order.device_count; d++) {
        int64_t forwards = 0, backwards = 0;
        for (uint64_t i = plan->order.begin[d]; i < plan->order.begin[d + 1]; i++) {
            forwards += plan->order.passes[i].kind == SP_PASS_S;
            backwards += plan->order.passes[i].kind == SP_PASS_T;
        }
        cr_assert_eq(forwards, units);
        cr_assert_eq(backwards, trains ? units : 0);
    }
}

/*
 * Whatever the schedule and the costs, zeros among them, no place of S and T makes a deadlock: compose checks
 * its own plan, and would return SP_INFEASIBLE.
 */
Test(compose, places_the_output_layer_in_every_schedule)
{
    static const enum sp_vocabulary policies[] = {SP_VOCABULARY_SCATTER, SP_VOCABULARY_SHARD1,
                                                  SP_VOCABULARY_SHARD2};
    static const uint32_t scales[] = {1, 2, 10, 1000};
    struct random random = {20};
    int planned = 0;
    for (int i = 0; sp_schedules[i]; i++) {
        struct sp_request request = {.vocabulary_is_set = true};
        if (!find_shape(sp_schedules[i], &request))
            continue;
        for (int round = 0; round < 12; round++) {
            struct unit_costs costs;
            uint32_t scale = scales[round % 4];
            request.costs =
                unit_costs_init(&costs, random_below(&random, scale), random_below(&random, scale),
                                random_below(&random, scale), random_below(&random, scale));
            costs.costs.output_forward_ns = random_below(&random, scale);
            costs.costs.output_backward_ns = random_below(&random, scale);
            request.cost_stages = 1;
            request.vocabulary = policies[round % 3];
            struct sp_plan *plan = compose(&request);
            check_output_passes(plan);
            sp_plan_destroy(plan);
            planned++;
        }
    }
    cr_assert_geq(planned, 12 * 20);
}

/*
 * In SlimPipe's steady state all devices run their shares of the output layer at one beat, so it adds no
 * bubble there. What it adds is at the turn of each microbatch, where the last slice's backward follows its
 * forward and waits for every device's share: at most the longest pass, the two shares and their messages.
 */
Test(compose, output_layer_leaves_slimpipe_s_bubble)
{
    for (uint32_t p = 4; p <= 16; p *= 2)
        for (int64_t hop = 0; hop <= 100; hop += 50) {
            struct unit_costs costs;
            struct sp_request request = {.costs = unit_costs_init(&costs, 1000, 1000, 1000, hop),
                                         .cost_stages = 1,
                                         .parallel = {.pipeline = p},
                                         .slices = 2 * p,
                                         .chunks = 5,
                                         .microbatches = 4};
            struct simulated without = simulate_request(&request, SP_SIM_PLAIN);
            costs.costs.output_forward_ns = 100;
            costs.costs.output_backward_ns = 200;
            request.vocabulary_is_set = true;
            request.vocabulary = SP_VOCABULARY_SCATTER;
            struct simulated with = simulate_request(&request, SP_SIM_PLAIN);
            int64_t shares = request.microbatches * request.slices * 300;
            int64_t added = with.metrics.makespan_ns - without.metrics.makespan_ns - shares;
            int64_t turn = 2000 + 300 + 2 * hop;
            cr_assert_leq(added, request.microbatches * turn, "p %u, hop %ld: %ld ns more", p, (long)hop,
                          (long)added);
            drop_simulated(&without);
            drop_simulated(&with);
        }
}

/* --- Memory
 * ------------------------------------------------------------------------------------------------- */

Test(compose, survives_short_memory)
{
    struct unit_costs costs;
    struct sp_request request = {.costs = unit_costs_init(&costs, 3, 3, 3, 1),
                                 .cost_stages = 1,
                                 .parallel = {.pipeline = 2},
                                 .slices = 2,
                                 .microbatches = 2,
                                 .vocabulary_is_set = true,
                                 .vocabulary = SP_VOCABULARY_SCATTER};
    for (int64_t n = 0;; n++) {
        struct sp_plan *plan = NULL;
        struct sp_error error = {0};
        sp_alloc_fail_after(n);
        enum sp_status status = sp_plan_compose(&request, &plan, &error);
        sp_alloc_fail_after(-1);
        if (status == SP_OK) {
            cr_assert_gt(n, 20);
            sp_plan_destroy(plan);
            break;
        }
        cr_assert_eq(status, SP_MEMORY, "%ld: %s", (long)n, error.message);
        cr_assert_null(plan);
    }
}
