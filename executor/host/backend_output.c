/* SPDX-License-Identifier: Apache-2.0 */
/* The output layer inside the last stage: final norm, logits, loss. */
#include <math.h>
#include <string.h>

#include "backend.h"

/* Columns of logits at a time when tiled; cost/ counts as many. */
enum { TILE_COLUMNS = 1024 };

/* The final norm's input and, tiled, the log-sum-exp: behind the layers' activations. */
static float *final_input(const struct host_state *s, const struct host_pass *p)
{
    enum sp_recompute recompute = s->plan->stages[p->pass->stage].recompute;
    return p->unit->saved + p->layers * sp_host_saved_floats(s->model, p->rows, recompute);
}

static struct sp_host_output output_of(const struct host_state *s, const struct host_pass *p)
{
    return (struct sp_host_output){.math = &s->math,
                                   .rows = p->rows,
                                   .hidden = s->model->hidden,
                                   .vocab_count = s->model->vocab,
                                   .x = s->normed,
                                   .weight = s->head->weight,
                                   .targets = s->targets};
}

static void normalise(struct host_state *s, const struct host_pass *p)
{
    s->math.kernels->rmsnorm(p->rows, s->model->hidden, final_input(s, p), s->norm->weight,
                             (float)s->model->norm_epsilon, s->normed);
}

static int64_t tile_columns(const struct host_state *s)
{
    return s->model->vocab < TILE_COLUMNS ? s->model->vocab : TILE_COLUMNS;
}

enum sp_status sp_host_output_forward(struct host_state *s, struct host_pass *p, struct sp_error *error)
{
    bool tiled = s->plan->vocabulary == SP_VOCABULARY_TILED;
    int64_t hidden = p->rows * s->model->hidden;
    float *lse = tiled ? final_input(s, p) + hidden : s->lse;
    struct sp_host_output output = output_of(s, p);
    memcpy(final_input(s, p), p->flow, (size_t)hidden * sizeof(float));
    normalise(s, p);
    if (sp_vocabulary_is_spread(s->plan->vocabulary))
        return SP_OK;
    if (tiled) {
        sp_host_output_tiled_forward(&output, tile_columns(s), p->unit->logits, s->lse, lse, s->target);
    } else {
        sp_host_output_logits(&output, p->unit->logits, s->target);
        sp_host_output_lse(&output, p->unit->logits, lse);
        sp_host_output_gradient(&output, lse, s->scale, p->unit->logits);
    }
    double loss = sp_host_output_loss(p->rows, s->targets, lse, s->target);
    s->loss += loss * (double)s->scale;
    return isfinite(loss) ? SP_OK : sp_error_set(error, SP_DEVICE, "the loss is not a number");
}

void sp_host_output_backward(struct host_state *s, struct host_pass *p, const struct sp_parcel *inputs,
                             int count)
{
    struct sp_host_output output = output_of(s, p);
    const float *lse = final_input(s, p) + p->rows * s->model->hidden;
    normalise(s, p);
    if (sp_vocabulary_is_spread(s->plan->vocabulary)) {
        sp_host_spread_sum(s, p, inputs, count);
    } else if (s->plan->vocabulary == SP_VOCABULARY_TILED) {
        sp_host_output_tiled_backward(&output, tile_columns(s), lse, s->scale, p->unit->logits, p->flow,
                                      s->head->gradient);
    } else {
        sp_host_output_input(&output, p->unit->logits, 0, p->flow);
        sp_host_output_weight(&output, p->unit->logits, s->head->gradient);
    }
    s->math.kernels->rmsnorm_backward(p->rows, s->model->hidden, final_input(s, p), s->norm->weight,
                                      (float)s->model->norm_epsilon, p->flow, NULL, p->flow,
                                      s->norm->gradient);
}
