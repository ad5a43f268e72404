/* SPDX-License-Identifier: Apache-2.0 */
/* Durations and FLOPs of a model, most of them on the ideal cluster, where time is FLOPs. */
#include <math.h>

#include "modelled.h"

static double petaflop_ns(double flops)
{
    return flops / 1e15 * 1e9;
}

/* FLOPs of one forward of all layers: linear, and causal attention. */
static double linear_flops(const struct sp_model *model, double tokens)
{
    double attention =
        (double)model->hidden * (double)(2 * model->heads + 2 * model->kv_heads) * (double)model->head_dim;
    double mlp = 3 * (double)model->hidden * (double)model->ffn;
    double visited = model->experts ? (double)model->experts_per_token : 1;
    double router = (double)(model->hidden * model->experts);
    return 2 * tokens * (double)model->layers * (attention + visited * mlp + router);
}

static double attention_flops(const struct sp_model *model, double tokens)
{
    return 2 * tokens * tokens * (double)(model->layers * model->heads * model->head_dim);
}

static double output_flops(const struct sp_model *model, double tokens)
{
    return 2 * tokens * (double)(model->hidden * model->vocab);
}

Test(model_times, ideal_time_is_flops)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", "ideal");
    m.plan.parallel.pipeline = 4;
    m.plan.workload.sequence_tokens = 65536;
    modelled_create(&m, 2, 16, SP_RECOMPUTE_NONE, 0);
    double linear = linear_flops(&m.plan.model, 65536), attention = attention_flops(&m.plan.model, 65536);
    double output = output_flops(&m.plan.model, 65536);
    double passes = 8 * 16; /* each rounded to a nanosecond */
    cr_assert_float_eq(modelled_sum_ns(&m, SP_PASS_F), petaflop_ns(linear + attention + output), passes);
    cr_assert_float_eq(modelled_sum_ns(&m, SP_PASS_I), petaflop_ns(linear + 2.5 * attention + output),
                       passes);
    cr_assert_float_eq(modelled_sum_ns(&m, SP_PASS_W), petaflop_ns(linear + output), passes);
    for (uint32_t slice = 0; slice < 16; slice++)
        cr_assert_eq(modelled_ns(&m, SP_PASS_B, 3, slice),
                     modelled_ns(&m, SP_PASS_I, 3, slice) + modelled_ns(&m, SP_PASS_W, 3, slice));
    modelled_finish(&m);
}

/* Norms apart, three forwards without recompute are what the model needs. */
Test(model_times, ideal_time_is_model_flops)
{
    static const char *const names[] = {"llama-3.1-8b", "mixtral-8x7b", "paper-13b", "qwen3-30b-a3b"};
    for (int i = 0; i < 4; i++) {
        struct modelled m;
        modelled_init(&m, names[i], "ideal");
        m.plan.workload = (struct sp_workload){16384, 6, 2};
        m.plan.parallel.data = 3;
        modelled_create(&m, 2, 4, SP_RECOMPUTE_NONE, 0);
        double forward = modelled_sum_ns(&m, SP_PASS_F) * 6 * 3 * 1e6; /* 1 PFLOP/s for a nanosecond */
        cr_assert_float_eq(sp_cost_model_flops(m.cost) / (3 * forward), 1, 1e-4, "%s: %.6g and %.6g",
                           names[i], sp_cost_model_flops(m.cost), 3 * forward);
        cr_assert_eq(sp_cost_tokens(m.cost), 16384 * 6 * 2 * 3);
        cr_assert_float_eq(sp_cost_peak_flops(m.cost), 3e15, 1);
        modelled_finish(&m);
    }
}

/*
 * FLOP per token that the authors' team reports with (ATC'24 rows): 4.93e10 for a 7B model at 12288 tokens,
 * 1.105e12 for a 175B one at 8192. Its MLP has two matrices of 4h; three of 8h/3 are as many parameters.
 */
Test(model_times, reported_flops_per_token)
{
    struct modelled m;
    modelled_init(&m, "llama-2-7b", "a100-80g");
    m.plan.workload.sequence_tokens = 12288;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert_float_eq(sp_cost_model_flops(m.cost) / 12288 / 4.93e10, 1, 0.002);
    m.plan.model.layers = 96;
    m.plan.model.hidden = 12288;
    m.plan.model.heads = m.plan.model.kv_heads = 96;
    m.plan.model.ffn = 32768;
    m.plan.model.vocab = 51200;
    m.plan.workload.sequence_tokens = 8192;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert_float_eq(sp_cost_model_flops(m.cost) / 8192 / 1.105e12, 1, 0.002);
    modelled_finish(&m);
}

Test(model_times, ranks_divide_the_work)
{
    struct modelled one, eight;
    modelled_init(&one, "llama-3.1-70b", "ideal");
    modelled_init(&eight, "llama-3.1-70b", "ideal");
    one.plan.workload.sequence_tokens = eight.plan.workload.sequence_tokens = 131072;
    eight.plan.parallel.tensor = 4;
    eight.plan.parallel.context = 2;
    modelled_create(&one, 4, 8, SP_RECOMPUTE_SELECTIVE, 0);
    modelled_create(&eight, 4, 8, SP_RECOMPUTE_SELECTIVE, 0);
    for (uint32_t stage = 0; stage < 4; stage++)
        for (uint32_t slice = 0; slice < 8; slice++) {
            cr_assert_float_eq((double)modelled_ns(&one, SP_PASS_F, stage, slice) / 8,
                               (double)modelled_ns(&eight, SP_PASS_F, stage, slice), 1);
            cr_assert_float_eq((double)modelled_ns(&one, SP_PASS_B, stage, slice) / 8,
                               (double)modelled_ns(&eight, SP_PASS_B, stage, slice), 2);
        }
    modelled_finish(&one);
    modelled_finish(&eight);
}

Test(model_times, experts_cost_what_a_token_visits)
{
    struct modelled m;
    modelled_init(&m, "mixtral-8x7b", "ideal");
    m.plan.parallel = (struct sp_parallel){1, 1, 1, 8, 8};
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert_float_eq(modelled_sum_ns(&m, SP_PASS_F),
                       petaflop_ns(linear_flops(&m.plan.model, 4096) + attention_flops(&m.plan.model, 4096) +
                                   output_flops(&m.plan.model, 4096)),
                       1);
    modelled_finish(&m);
}

Test(model_times, recompute_is_added_to_the_backward)
{
    struct modelled none, selective, full;
    struct modelled *all[] = {&none, &selective, &full};
    for (int i = 0; i < 3; i++) {
        modelled_init(all[i], "llama-3.1-8b", "h100");
        all[i]->plan.workload.sequence_tokens = 32768;
        modelled_create(all[i], 4, 8, (enum sp_recompute)i, 0);
        cr_assert_float_eq(
            (double)modelled_ns(all[i], SP_PASS_B, 1, 5),
            (double)(modelled_ns(&none, SP_PASS_B, 1, 5) + modelled_ns(all[i], SP_PASS_R, 1, 5)), 2);
    }
    cr_assert_eq(modelled_ns(&none, SP_PASS_R, 1, 5), 0);
    cr_assert_eq(modelled_ns(&full, SP_PASS_R, 1, 5), modelled_ns(&full, SP_PASS_F, 1, 5));
    cr_assert(modelled_ns(&selective, SP_PASS_R, 1, 5) < modelled_ns(&full, SP_PASS_R, 1, 5) / 2);
    cr_assert(modelled_ns(&selective, SP_PASS_R, 1, 5) > modelled_ns(&full, SP_PASS_R, 1, 5) / 5);
    for (int i = 0; i < 3; i++)
        modelled_finish(all[i]);
}

/* With nothing exchanged, before, attention and after are the layer; what is given away, the helper does. */
Test(model_times, layers_add_up)
{
    static const enum sp_pass_kind kinds[] = {SP_PASS_F, SP_PASS_I, SP_PASS_B};
    for (int recompute = SP_RECOMPUTE_NONE; recompute <= SP_RECOMPUTE_FULL; recompute++) {
        struct modelled m;
        modelled_init(&m, "llama-3.1-8b", "h100");
        m.plan.parallel = (struct sp_parallel){4, 2, 2, 1, 1};
        m.plan.workload.sequence_tokens = 65536;
        modelled_create(&m, 2, 8, (enum sp_recompute)recompute, 0);
        for (int i = 0; i < 3; i++)
            for (uint16_t stage = 0; stage < 8; stage++) {
                struct sp_pass pass = {.kind = (uint8_t)kinds[i], .stage = stage, .slice = 6};
                struct sp_layer_cost whole, part;
                int64_t past = 6 * 65536 / 8;
                sp_cost_layer(m.cost, &pass, past, 0, &whole);
                int64_t layers = m.stages[stage].layer_count;
                cr_assert_float_eq((double)((whole.before_ns + whole.attention_ns + whole.after_ns) * layers),
                                   (double)sp_cost_pass_ns(m.cost, &pass), 2.0 * (double)layers);
                sp_cost_layer(m.cost, &pass, past - 10000, 2, &part);
                cr_assert_float_eq((double)(part.attention_ns + sp_cost_guest_ns(m.cost, &pass, 10000)),
                                   (double)whole.attention_ns, 2);
                cr_assert_eq(part.before_ns, whole.before_ns);
                cr_assert(part.after_ns > whole.after_ns);
            }
        modelled_finish(&m);
    }
}

/* Output work: in the last stage, or the same spread over the devices. */
Test(model_times, vocabulary_placement)
{
    struct modelled last, other;
    modelled_init(&last, "llama-3.1-8b", "ideal");
    last.plan.parallel.pipeline = 4;
    last.plan.workload.sequence_tokens = 32768;
    modelled_create(&last, 1, 4, SP_RECOMPUTE_NONE, 0);
    double output = petaflop_ns(output_flops(&last.plan.model, 8192));
    cr_assert_float_eq((double)(modelled_ns(&last, SP_PASS_F, 3, 1) - modelled_ns(&last, SP_PASS_F, 2, 1)),
                       output, 2);
    for (int v = SP_VOCABULARY_SCATTER; v <= SP_VOCABULARY_SHARD2; v++) {
        other = last;
        other.cost = NULL;
        other.stages = NULL;
        other.slices = NULL;
        other.plan.vocabulary = (enum sp_vocabulary)v;
        modelled_create(&other, 1, 4, SP_RECOMPUTE_NONE, 0);
        int forward = v == SP_VOCABULARY_SHARD2 ? 2 : 1;
        cr_assert_float_eq((double)modelled_ns(&other, SP_PASS_S, 3, 1), forward * output / 4, 2);
        cr_assert_float_eq((double)modelled_ns(&other, SP_PASS_T, 3, 1), (3 - forward) * output / 4, 2);
        cr_assert_eq(modelled_ns(&other, SP_PASS_F, 3, 1), modelled_ns(&other, SP_PASS_F, 2, 1));
        modelled_finish(&other);
    }
    other = last;
    other.cost = NULL;
    other.stages = NULL;
    other.slices = NULL;
    other.plan.vocabulary = SP_VOCABULARY_TILED;
    modelled_create(&other, 1, 4, SP_RECOMPUTE_NONE, 0);
    cr_assert_float_eq((double)(modelled_ns(&other, SP_PASS_B, 3, 1) - modelled_ns(&last, SP_PASS_B, 3, 1)),
                       output, 2);
    modelled_finish(&other);
    modelled_finish(&last);
}

/* Small slices and slow memory cost more: the roofline and its curves. */
Test(model_times, small_slices_are_less_efficient)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", "h100");
    m.plan.workload.sequence_tokens = 65536;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    double one = modelled_sum_ns(&m, SP_PASS_F);
    modelled_create(&m, 1, 16, SP_RECOMPUTE_NONE, 0);
    double sixteen = modelled_sum_ns(&m, SP_PASS_F);
    modelled_create(&m, 1, 512, SP_RECOMPUTE_NONE, 0);
    double many = modelled_sum_ns(&m, SP_PASS_F);
    cr_assert(one < sixteen && sixteen < 1.1 * one, "%g %g", one, sixteen);
    cr_assert(many > 1.5 * one, "%g %g", one, many);
    m.plan.cluster.memory_bytes_per_second /= 10;
    modelled_create(&m, 1, 16, SP_RECOMPUTE_NONE, 0);
    cr_assert(modelled_sum_ns(&m, SP_PASS_F) > 1.2 * sixteen);
    modelled_finish(&m);
}

Test(model_times, communication_is_exposed_by_what_does_not_overlap)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-70b", "h100");
    m.plan.parallel.tensor = 8;
    int64_t *overlap = &m.plan.profile.tensor_overlap_permille;
    double times[3];
    for (int i = 0; i < 3; i++) {
        *overlap = 500 * i;
        modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
        times[i] = modelled_sum_ns(&m, SP_PASS_F);
    }
    cr_assert_float_eq(times[0] - times[1], times[1] - times[2], 2);
    /* 80 layers, four collectives each, of 2·8192·4096 bytes over 450 GB/s at the curve's 82 %, 7 steps of 3
     * µs. */
    double bytes = 2.0 * 8192 * 4096 * 7 / 8;
    double share = 0.8 + 0.05 * log(bytes / 16777216) / log(134217728.0 / 16777216);
    double one = 7 * 3000 + bytes / (450e9 * share) * 1e9;
    /* The output layer gathers once more. */
    cr_assert_float_eq(times[0] - times[2], (80 * 4 + 1) * one, 2);
    modelled_finish(&m);
}

/* 8 GPUs a node; devices of 4 GPUs: two share one. */
Test(model_times, nodes_and_host_links)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", "a100-80g");
    m.plan.parallel = (struct sp_parallel){4, 2, 1, 2, 1};
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert(sp_cost_transfer(m.cost, 0, 1, 1).same_node);
    cr_assert(!sp_cost_transfer(m.cost, 1, 2, 1).same_node);
    cr_assert(sp_cost_transfer(m.cost, 3, 2, 1).same_node);
    cr_assert_eq(sp_cost_transfer(m.cost, 0, 1, 1).latency_ns, m.plan.cluster.intra_node.latency_ns);
    int64_t bytes = 134217728;
    cr_assert_float_eq((double)sp_cost_transfer(m.cost, 0, 2, bytes).busy_ns,
                       (double)bytes / (25e9 * 0.85) * 1e9, 1);
    /* Two GPUs a link, four GPUs a device: both of a pair copy at once, and devices have links of their own.
     */
    cr_assert_float_eq((double)sp_cost_host_copy(m.cost, 0, bytes).busy_ns,
                       2 * (double)bytes / (32e9 * 0.85) * 1e9, 1);
    cr_assert_neq(sp_cost_host_port(m.cost, 0), sp_cost_host_port(m.cost, 1));
    m.plan.parallel = (struct sp_parallel){4, 1, 1, 1, 1};
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert_eq(sp_cost_host_port(m.cost, 0), sp_cost_host_port(m.cost, 1));
    cr_assert_neq(sp_cost_host_port(m.cost, 1), sp_cost_host_port(m.cost, 2));
    cr_assert(sp_cost_transfer(m.cost, 0, 3, 1).same_node);
    modelled_finish(&m);
}

/* Compute of a joined pair is not shortened; what was exposed is hidden as far as the other computes. */
Test(model_times, joined_passes_hide_communication)
{
    struct modelled m;
    modelled_init(&m, "mixtral-8x7b", "h100");
    m.plan.parallel = (struct sp_parallel){2, 1, 1, 8, 8};
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    struct sp_pass forward = {.kind = SP_PASS_F, .stage = 0}, backward = {.kind = SP_PASS_B, .stage = 1};
    int64_t apart = sp_cost_pass_ns(m.cost, &forward) + sp_cost_pass_ns(m.cost, &backward);
    int64_t joined = sp_cost_joined_ns(m.cost, &forward, &backward);
    m.plan.profile.expert_overlap_permille = 1000;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    int64_t hidden = sp_cost_pass_ns(m.cost, &forward) + sp_cost_pass_ns(m.cost, &backward);
    cr_assert(joined < apart);
    cr_assert_float_eq((double)joined, (double)hidden, 2);
    modelled_finish(&m);
}

Test(model_times, step_shrinks_with_replicas)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", "h100");
    m.plan.profile.data_overlap_permille = 1000;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    /* 30 bytes a parameter: gradient 4, state 12 twice, weight 2. */
    double alone = 30 * (double)sp_model_parameters(&m.plan.model) / (3350e9 * 0.85) * 1e9;
    cr_assert_float_eq((double)sp_cost_step_ns(m.cost, 0), alone, 1);
    m.plan.parallel.data = 8;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert_float_eq((double)sp_cost_step_ns(m.cost, 0), alone / 8, 1);
    m.plan.profile.data_overlap_permille = 0;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    cr_assert((double)sp_cost_step_ns(m.cost, 0) > alone / 8 + 7.0 / 8 * 6 * 8.03e9 / 450e9 * 1e9);
    modelled_finish(&m);
}

struct misfit {
    char model[16];
    struct sp_parallel parallel;
    char expected[32];
};

Test(model_times, degrees_that_do_not_divide)
{
    static const struct misfit misfits[] = {
        {"llama-3.1-8b", {1, 3, 1, 1, 1}, "tensor degree 3"},
        {"llama-3.1-8b", {1, 1, 1, 1, 2}, "no experts"},
        {"mixtral-8x7b", {1, 1, 1, 4, 8}, "context times data degree, 4"},
        {"mixtral-8x7b", {1, 1, 1, 3, 3}, "expert degree 3"},
        {"qwen2.5-7b", {1, 7, 1, 1, 1}, "key/value heads"},
    };
    for (unsigned i = 0; i < sizeof misfits / sizeof *misfits; i++) {
        struct modelled m;
        struct sp_cost *cost = NULL;
        struct sp_error error;
        modelled_init(&m, misfits[i].model, "h100");
        modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
        m.plan.parallel = misfits[i].parallel;
        cr_assert_eq(sp_cost_create(&m.plan, &cost, &error), SP_INPUT);
        cr_assert(strstr(error.message, misfits[i].expected), "%s", error.message);
        cr_assert_null(cost);
        modelled_finish(&m);
    }
}

Test(model_times, more_bytes_than_can_be_counted)
{
    struct modelled m;
    struct sp_cost *cost = NULL;
    struct sp_error error;
    modelled_init(&m, "llama-3.1-405b", "h100");
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    m.plan.workload.sequence_tokens = m.slices[0] = INT64_C(1) << 40;
    cr_assert_eq(sp_cost_create(&m.plan, &cost, &error), SP_INPUT);
    cr_assert(strstr(error.message, "too many bytes"), "%s", error.message);
    modelled_finish(&m);
}

Test(model_times, more_time_than_can_be_counted)
{
    struct modelled m;
    struct sp_cost *cost = NULL;
    struct sp_error error;
    modelled_init(&m, "llama-3.1-8b", "h100");
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    m.plan.cluster.matrix_flops = 1;
    cr_assert_eq(sp_cost_create(&m.plan, &cost, &error), SP_INPUT);
    cr_assert(strstr(error.message, "too long to count"), "%s", error.message);
    m.plan.cluster.matrix_flops = INT64_C(1000000000000000);
    m.plan.cluster.host_link.bytes_per_second = 1;
    m.plan.workload.microbatches = 1000;
    cr_assert_eq(sp_cost_create(&m.plan, &cost, &error), SP_INPUT);
    cr_assert_null(cost);
    modelled_finish(&m);
}

Test(model_times, every_allocation_may_fail)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", "h100");
    modelled_create(&m, 2, 4, SP_RECOMPUTE_NONE, 0);
    enum sp_status status = SP_MEMORY;
    struct sp_cost *cost = NULL;
    for (int64_t i = 0; status == SP_MEMORY && i < 1000; i++) {
        sp_alloc_fail_after(i);
        status = sp_cost_create(&m.plan, &cost, NULL);
        sp_alloc_fail_after(-1);
    }
    cr_assert_eq(status, SP_OK);
    sp_cost_destroy(cost);
    modelled_finish(&m);
}
