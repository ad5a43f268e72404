/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: the SlimPipe authors' planner rows by closed forms over a unit's bytes, and every rule of memory. */
#include <math.h>
#include <stdio.h>

#include "modelled.h"

struct row {
    char sequence[16], model[24], recompute[16];
    int batch, micro, t, c, p, e, d, n, v, layers;
    double params, optimizer, activations, logits, buffer, kv_cache, kv_gradient;
};

static bool parse_row(const char *line, struct row *row)
{
    double peak;
    return sscanf(line,
                  "%*d,%15[^,],%23[^,],%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%15[^,],%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf",
                  row->sequence, row->model, &row->batch, &row->micro, &row->t, &row->c, &row->p, &row->e,
                  &row->d, &row->n, &row->v, &row->layers, row->recompute, &peak, &row->params,
                  &row->optimizer, &row->activations, &row->logits, &row->buffer, &row->kv_cache,
                  &row->kv_gradient) == 21;
}

/* One row is labelled n=32 and holds the values of n=64 (70B, t8 c1 p16). */
static void relabel(struct row *row)
{
    if (strstr(row->model, "70B") && row->c == 1 && row->p == 16 && row->n == 32)
        row->n = 64;
}

static double gib(double bytes)
{
    return bytes / (1 << 30);
}

static void expect_near(const struct row *row, const char *what, double bytes, double theirs)
{
    cr_expect_float_eq(gib(bytes), theirs, fmax(0.02, 0.01 * theirs),
                       "%s %s t%d c%d p%d n%d v%d %s, %s: %.3f GiB, the authors have %.2f", row->model,
                       row->sequence, row->t, row->c, row->p, row->n, row->v, row->recompute, what,
                       gib(bytes), theirs);
}

static void create(struct modelled *m, const struct row *row)
{
    const char *preset = strstr(row->model, "13B")   ? "paper-13b"
                         : strstr(row->model, "70B") ? "paper-70b"
                                                     : "paper-149b";
    const char *share = strchr(row->recompute, '@');
    modelled_init(m, preset, "h100");
    m->plan.parallel = (struct sp_parallel){row->p, row->t, row->c, row->d, row->e};
    m->plan.workload.sequence_tokens = atoll(row->sequence) * (strchr(row->sequence, 'k') ? 1024 : 1);
    m->plan.workload.microbatches = row->batch / (row->d * row->micro);
    m->plan.workload.microbatch_sequences = row->micro;
    m->plan.vocabulary = row->n > 1 ? SP_VOCABULARY_SCATTER : SP_VOCABULARY_LAST;
    m->plan.kv_gradient = SP_KV_GRADIENT_EXPANDED;
    modelled_create(m, row->v, row->n,
                    row->recompute[0] == 'n'   ? SP_RECOMPUTE_NONE
                    : row->recompute[0] == 'p' ? SP_RECOMPUTE_SELECTIVE
                                               : SP_RECOMPUTE_FULL,
                    share ? (uint32_t)lround(1000 * atof(share + 1)) : 0);
    cr_assert_eq(m->stages[0].layer_count, (uint32_t)row->layers);
}

/*
 * What the first rank holds at its peak. SlimPipe: U = nv + 2(p−1) units; offloaded ones all but four, their
 * keys and values all but two. Interleaved: pv + p − 1 units of pv.
 */
static void check_units(const struct modelled *m, const struct row *row)
{
    struct sp_unit_bytes unit, last;
    sp_cost_unit_bytes(m->cost, 0, 0, &unit);
    sp_cost_unit_bytes(m->cost, m->plan.stage_count - 1, 0, &last);
    bool slim = row->n > 1;
    double units = slim ? row->n * row->v + 2 * (row->p - 1) : row->p * row->v + row->p - 1;
    double tokens = (double)m->plan.workload.sequence_tokens / (row->t * row->c);
    double hidden = (double)m->plan.model.hidden;
    if (unit.offloaded) {
        expect_near(row, "activations",
                    units * (double)unit.activations - (units - 4) * (double)unit.offloaded,
                    row->activations);
        expect_near(row, "KV cache", (units - 2) * (double)unit.kv, row->kv_cache);
    } else {
        expect_near(row, "activations", units * (double)(unit.activations + unit.kv), row->activations);
    }
    expect_near(row, "logits", slim ? row->n * (double)last.logits : 0, row->logits);
    expect_near(row, "KV gradient",
                ((row->v - 1) * (row->n - row->p) + 2 * (row->n - 1)) * (double)unit.kv_gradient,
                row->kv_gradient);
    /* The older tables keep the layer's input in the buffer of full recompute. */
    double input = strcmp(row->recompute, "full") == 0 ? 2 * hidden * tokens : 0;
    expect_near(row, "recompute buffer", (double)unit.recompute + input, row->buffer);
}

/* The older tables, and the baseline's, hold the whole embedding on every device. */
static void check_resident(const struct modelled *m, const struct row *row)
{
    double embedding = (double)(m->plan.model.vocab * m->plan.model.hidden) / row->t;
    bool older = strchr(row->sequence, 'k') != NULL;
    double missing = row->n > 1 && older ? embedding * (1 - 1.0 / row->p) : 0;
    double held = (double)(sp_cost_resident_bytes(m->cost, 0, SP_MEMORY_WEIGHTS) +
                           sp_cost_resident_bytes(m->cost, 0, SP_MEMORY_GRADIENTS));
    double optimizer = (double)sp_cost_resident_bytes(m->cost, 0, SP_MEMORY_OPTIMIZER);
    expect_near(row, "parameters", held + 6 * missing, row->params);
    expect_near(row, "optimizer", optimizer + 12 * missing / (row->d * row->c), row->optimizer);
}

Test(bytes, authors_planner_rows)
{
    FILE *stream = fopen("tests/data/slimpipe_planner_rows.csv", "r");
    char line[512];
    int rows = 0;
    cr_assert(stream);
    while (fgets(line, sizeof line, stream)) {
        struct row row;
        struct modelled m;
        if (!parse_row(line, &row))
            continue;
        relabel(&row);
        create(&m, &row);
        check_units(&m, &row);
        check_resident(&m, &row);
        modelled_finish(&m);
        rows++;
    }
    fclose(stream);
    cr_assert_eq(rows, 20);
}

/* 44.67h and 8.667h bytes per token and layer of the 8x22B model (top-2 experts, eight of 48 heads). */
Test(bytes, experts_count_as_often_as_they_are_visited)
{
    struct modelled m;
    struct sp_unit_bytes unit;
    modelled_init(&m, "mixtral-8x22b", "h100");
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    sp_cost_unit_bytes(m.cost, 0, 0, &unit);
    double scale = 56.0 * 4096 * 6144;
    cr_assert_float_eq((double)(unit.activations + unit.kv) / scale, 44.67, 0.01);
    modelled_create(&m, 1, 1, SP_RECOMPUTE_SELECTIVE, 0);
    sp_cost_unit_bytes(m.cost, 0, 0, &unit);
    cr_assert_float_eq((double)(unit.activations + unit.kv) / scale, 8.667, 0.01);
    modelled_finish(&m);
}

/* Ours has the width of the key/value heads: 8 times less for 64 query heads of 8 key/value heads. */
Test(bytes, compact_kv_gradient)
{
    struct modelled m;
    struct sp_unit_bytes compact, expanded;
    modelled_init(&m, "llama-3.1-70b", "h100");
    modelled_create(&m, 1, 4, SP_RECOMPUTE_NONE, 0);
    sp_cost_unit_bytes(m.cost, 0, 1, &compact);
    m.plan.kv_gradient = SP_KV_GRADIENT_EXPANDED;
    modelled_create(&m, 1, 4, SP_RECOMPUTE_NONE, 0);
    sp_cost_unit_bytes(m.cost, 0, 1, &expanded);
    cr_assert_eq(expanded.kv_gradient, 8 * compact.kv_gradient);
    cr_assert_eq(compact.kv_gradient, compact.kv);
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    sp_cost_unit_bytes(m.cost, 0, 0, &expanded);
    cr_assert_eq(expanded.kv_gradient, 0);
    modelled_finish(&m);
}

/* More tensor ranks than key/value heads: each rank holds one. */
Test(bytes, copied_kv_heads)
{
    struct modelled m;
    struct sp_unit_bytes eight, sixteen;
    modelled_init(&m, "llama-3.1-70b", "h100");
    m.plan.parallel.tensor = 8;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    sp_cost_unit_bytes(m.cost, 0, 0, &eight);
    m.plan.parallel.tensor = 16;
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    sp_cost_unit_bytes(m.cost, 0, 0, &sixteen);
    cr_assert_eq(sixteen.kv, eight.kv);
    cr_assert_eq(sixteen.hop * 2, eight.hop);
    modelled_finish(&m);
}

Test(bytes, what_is_not_trained_is_not_saved)
{
    struct modelled m;
    struct sp_unit_bytes full, input, none;
    modelled_init(&m, "llama-3.1-8b", "h100");
    modelled_create(&m, 4, 2, SP_RECOMPUTE_NONE, 0);
    m.stages[1].train = SP_TRAIN_INPUT;
    m.stages[2].train = SP_TRAIN_NONE;
    sp_cost_destroy(m.cost);
    cr_assert_eq(sp_cost_create(&m.plan, &m.cost, NULL), SP_OK);
    sp_cost_unit_bytes(m.cost, 3, 0, &full);
    sp_cost_unit_bytes(m.cost, 1, 0, &input);
    sp_cost_unit_bytes(m.cost, 2, 0, &none);
    cr_assert(full.activations > input.activations && input.activations > 0);
    cr_assert(full.weight_held > 0 && input.weight_held == 0);
    cr_assert(none.activations == 0 && none.kv == full.kv && none.kv_gradient == 0);
    modelled_finish(&m);
}

/* Resident bytes of all devices: every parameter once per tensor and data rank, where the matrices are apart.
 */
Test(bytes, resident_is_the_model)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", "h100");
    m.plan.parallel = (struct sp_parallel){4, 1, 2, 3, 1};
    modelled_create(&m, 2, 4, SP_RECOMPUTE_NONE, 0);
    int64_t weights = 0, gradients = 0, optimizer = 0;
    for (uint32_t device = 0; device < 4; device++) {
        weights += sp_cost_resident_bytes(m.cost, device, SP_MEMORY_WEIGHTS);
        gradients += sp_cost_resident_bytes(m.cost, device, SP_MEMORY_GRADIENTS);
        optimizer += sp_cost_resident_bytes(m.cost, device, SP_MEMORY_OPTIMIZER);
        cr_assert_eq(sp_cost_resident_bytes(m.cost, device, SP_MEMORY_LOGITS), 0);
    }
    cr_assert_eq(weights, 2 * sp_model_parameters(&m.plan.model));
    cr_assert_eq(gradients, 4 * sp_model_parameters(&m.plan.model));
    cr_assert_eq(optimizer, 2 * sp_model_parameters(&m.plan.model));
    modelled_finish(&m);
}

Test(bytes, experts_are_divided_over_their_ranks)
{
    struct modelled m;
    modelled_init(&m, "mixtral-8x7b", "h100");
    m.plan.parallel = (struct sp_parallel){1, 1, 1, 8, 8};
    modelled_create(&m, 1, 1, SP_RECOMPUTE_NONE, 0);
    int64_t experts = 32ll * 8 * 3 * 4096 * 14336, all = sp_model_parameters(&m.plan.model);
    cr_assert_eq(sp_cost_resident_bytes(m.cost, 0, SP_MEMORY_WEIGHTS), 2 * (all - experts + experts / 8));
    /* The optimizer's state of an expert lies on the one rank that has the expert. */
    cr_assert_float_eq((double)sp_cost_resident_bytes(m.cost, 0, SP_MEMORY_OPTIMIZER), 12.0 / 8 * (double)all,
                       16);
    modelled_finish(&m);
}

Test(bytes, messages)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-70b", "h100");
    m.plan.parallel = (struct sp_parallel){4, 4, 2, 1, 1};
    m.plan.vocabulary = SP_VOCABULARY_SCATTER;
    m.plan.workload.sequence_tokens = 32768;
    modelled_create(&m, 1, 8, SP_RECOMPUTE_NONE, 0);
    int64_t tokens = 4096 / (4 * 2);
    cr_assert_eq(sp_cost_hop_bytes(m.cost, 3), 2 * 8192 * tokens);
    cr_assert_eq(sp_cost_output_bytes(m.cost, 3), 2 * 8192 * tokens / 4);
    struct sp_pass pass = {.kind = SP_PASS_F, .stage = 1, .slice = 3};
    struct sp_exchange_bytes bytes;
    sp_cost_exchange_bytes(m.cost, &pass, 8192, &bytes);
    cr_assert_eq(bytes.early, 4 * 1024 * 8192 / 8);
    cr_assert_eq(bytes.urgent, 2 * 8192 * tokens);
    cr_assert_eq(bytes.result, (2 * 8192 + 4 * 64) * tokens);
    pass.kind = SP_PASS_B;
    struct sp_exchange_bytes back;
    sp_cost_exchange_bytes(m.cost, &pass, 8192, &back);
    cr_assert_eq(back.early, bytes.early + bytes.result + bytes.urgent);
    cr_assert_eq(back.urgent, bytes.urgent);
    cr_assert_eq(back.result, bytes.early + bytes.urgent);
    /* Under full recompute the helper's forward output comes back as well. */
    modelled_create(&m, 1, 8, SP_RECOMPUTE_FULL, 0);
    sp_cost_exchange_bytes(m.cost, &pass, 8192, &back);
    cr_assert_eq(back.result, bytes.early + bytes.urgent + bytes.result);
    modelled_finish(&m);
}
