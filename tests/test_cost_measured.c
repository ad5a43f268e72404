/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guessed profiles against published measurements. The bounds are those of docs/costs.md: a change of costs
 * or profiles that moves predictions away from reality fails here, and the table says by how much.
 */
#include <math.h>
#include <stdio.h>

#include "modelled.h"

struct measured {
    char source[32], name[64], cluster[32], recompute[16];
    int64_t layers, hidden, ffn, heads, kv_heads, vocab, tokens;
    int t, c, p, d, v, sequences, microbatches;
    double ms;
};

static bool parse(const char *line, struct measured *row)
{
    long long n[7];
    if (sscanf(line,
               "%31[^,],%63[^,],%lld,%lld,%lld,%lld,%lld,%lld,%31[^,],%lld,%d,%d,%d,%d,%d,%d,%d,%15[^,],%lf",
               row->source, row->name, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], row->cluster, &n[6], &row->t,
               &row->c, &row->p, &row->d, &row->v, &row->sequences, &row->microbatches, row->recompute,
               &row->ms) != 19)
        return false;
    row->layers = n[0];
    row->hidden = n[1];
    row->ffn = n[2];
    row->heads = n[3];
    row->kv_heads = n[4];
    row->vocab = n[5];
    row->tokens = n[6];
    return true;
}

/* The slowest device without a pause, the pipeline's filling with chunks of one stage, and the step. */
static double predict_ms(const struct measured *row, double *ret_flops_ratio)
{
    struct modelled m;
    modelled_init(&m, "llama-3.1-8b", row->cluster);
    struct sp_model *model = &m.plan.model;
    model->layers = row->layers;
    model->hidden = row->hidden;
    model->ffn = row->ffn;
    model->heads = row->heads;
    model->kv_heads = row->kv_heads;
    model->vocab = row->vocab;
    model->head_dim = row->hidden / row->heads;
    m.plan.parallel = (struct sp_parallel){row->p, row->t, row->c, row->d, 1};
    m.plan.workload = (struct sp_workload){row->tokens, row->microbatches, row->sequences};
    modelled_create(&m, row->v, 1, row->recompute[0] == 's' ? SP_RECOMPUTE_SELECTIVE : SP_RECOMPUTE_NONE, 0);
    double slowest = 0, step = 0;
    for (int device = 0; device < row->p; device++) {
        double busy = 0;
        for (int chunk = 0; chunk < row->v; chunk++) {
            uint32_t stage = (uint32_t)(chunk * row->p + device);
            busy += (double)(modelled_ns(&m, SP_PASS_F, stage, 0) + modelled_ns(&m, SP_PASS_B, stage, 0));
        }
        slowest = fmax(slowest, busy);
        step = fmax(step, (double)sp_cost_step_ns(m.cost, (uint32_t)device));
    }
    uint32_t middle = row->p > 1 ? 1 : 0;
    double fill = (double)(modelled_ns(&m, SP_PASS_F, middle, 0) + modelled_ns(&m, SP_PASS_B, middle, 0)) *
                  (row->p - 1);
    *ret_flops_ratio = sp_cost_model_flops(m.cost) / sp_cost_peak_flops(m.cost);
    modelled_finish(&m);
    return (row->microbatches * slowest + fill + step) / 1e6;
}

Test(measured, iterations)
{
    FILE *stream = fopen("tests/data/measured_iterations.csv", "r");
    char line[512];
    double sum = 0;
    int rows = 0;
    cr_assert(stream);
    while (fgets(line, sizeof line, stream)) {
        struct measured row;
        double ratio;
        if (*line == '#' || !parse(line, &row))
            continue;
        double ours = predict_ms(&row, &ratio), error = ours / row.ms - 1;
        if (getenv("SHOW"))
            printf("| %s | %s | %.0f | %.0f | %+.0f %% | %.1f | %.1f |\n", row.source, row.name, row.ms, ours,
                   100 * error, 1e5 * ratio / row.ms, 1e5 * ratio / ours);
        cr_expect(fabs(error) < 0.40, "%s: measured %.0f ms, predicted %.0f", row.name, row.ms, ours);
        sum += fabs(error);
        rows++;
    }
    fclose(stream);
    if (getenv("SHOW"))
        printf("mean of %d: %.1f %%\n", rows, 100 * sum / rows);
    cr_assert_eq(rows, 34);
    cr_assert(sum / rows < 0.15, "mean error %.3f", sum / rows);
}
