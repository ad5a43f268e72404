/* SPDX-License-Identifier: Apache-2.0 */
#include "reference_model.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One layer's parameters, or their gradients. */
struct layer {
    double *norm1, *q, *k, *v, *q_bias, *k_bias, *v_bias, *q_norm, *k_norm, *o, *norm2, *router, *gate, *up,
        *down;
};

/* One token's intermediate results in one layer; keys, values and probabilities are per token too. */
struct token {
    double *x, *norm1, *q_raw, *k_raw, *q, *k, *v, *o, *middle, *norm2;
    double *p;                     /* [heads][tokens] probabilities over the sequence's keys */
    double *weight;                /* of each chosen expert */
    int64_t *expert;               /* which */
    double *gate, *up, *act, *out; /* [chosen][ffn], out: [chosen][hidden] */
    /* Gradients, 0 before the backward. */
    double *d_output, *d_middle, *dq, *dk, *dv, *d_o, *d_norm;
};

struct run {
    const struct sp_model *model;
    int64_t sequences, tokens, hidden, query, key, dim, chosen;
    struct token *state; /* [layers][sequences * tokens] */
    double *end;         /* [sequences * tokens][hidden]: the last layer's output */
};

static double *new_vector(int64_t count)
{
    return calloc((size_t)(count > 0 ? count : 1), sizeof(double));
}

static double *take(double **place, int64_t count)
{
    double *taken = *place;
    *place += count;
    return taken;
}

static struct layer take_layer(const struct sp_model *model, double **place)
{
    int64_t h = model->hidden, q = model->heads * model->head_dim, kv = model->kv_heads * model->head_dim;
    int64_t experts = model->experts > 0 ? model->experts : 1, matrix = experts * model->ffn * h;
    int64_t bias = model->qkv_bias, norm = model->qk_norm ? model->head_dim : 0;
    struct layer layer;
    layer.norm1 = take(place, h);
    layer.q = take(place, q * h);
    layer.k = take(place, kv * h);
    layer.v = take(place, kv * h);
    layer.q_bias = take(place, bias * q);
    layer.k_bias = take(place, bias * kv);
    layer.v_bias = take(place, bias * kv);
    layer.q_norm = take(place, norm);
    layer.k_norm = take(place, norm);
    layer.o = take(place, h * q);
    layer.norm2 = take(place, h);
    layer.router = take(place, model->experts * h);
    layer.gate = take(place, matrix);
    layer.up = take(place, matrix);
    layer.down = take(place, matrix);
    return layer;
}

int64_t reference_parameters(const struct sp_model *model)
{
    int64_t h = model->hidden, q = model->heads * model->head_dim, kv = model->kv_heads * model->head_dim;
    int64_t experts = model->experts > 0 ? model->experts : 1;
    int64_t attention = 2 * (q + kv) * h + (model->qkv_bias ? q + 2 * kv : 0);
    int64_t norms = 2 * h + (model->qk_norm ? 2 * model->head_dim : 0);
    int64_t mlp = model->experts * h + 3 * experts * model->ffn * h;
    int64_t ends = (model->tied_embeddings ? 1 : 2) * model->vocab * h + h;
    return model->layers * (attention + norms + mlp) + ends;
}

/* y += W · x */
static void multiply(int64_t outputs, int64_t inputs, const double *w, const double *x, double *y)
{
    for (int64_t i = 0; i < outputs; i++)
        for (int64_t j = 0; j < inputs; j++)
            y[i] += w[i * inputs + j] * x[j];
}

/* dx += Wᵀ · dy, dW += dy · xᵀ */
static void multiply_backward(int64_t outputs, int64_t inputs, const double *w, const double *x,
                              const double *dy, double *dw, double *dx)
{
    for (int64_t i = 0; i < outputs; i++)
        for (int64_t j = 0; j < inputs; j++) {
            dx[j] += w[i * inputs + j] * dy[i];
            dw[i * inputs + j] += dy[i] * x[j];
        }
}

static double rms(int64_t width, const double *x, double epsilon)
{
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += x[i] * x[i];
    return sqrt(sum / (double)width + epsilon);
}

static void normalise(int64_t width, const double *x, const double *weight, double epsilon, double *y)
{
    double root = rms(width, x, epsilon);
    for (int64_t i = 0; i < width; i++)
        y[i] = weight[i] * x[i] / root;
}

/* d y_i / d x_j = weight_i (δ_ij / r - x_i x_j / (width r³)); dx += */
static void normalise_backward(int64_t width, const double *x, const double *weight, double epsilon,
                               const double *dy, double *dweight, double *dx)
{
    double root = rms(width, x, epsilon), sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += dy[i] * weight[i] * x[i];
    for (int64_t i = 0; i < width; i++) {
        dweight[i] += dy[i] * x[i] / root;
        dx[i] += dy[i] * weight[i] / root - x[i] * sum / ((double)width * root * root * root);
    }
}

/* sign -1 turns back. */
static void turn(const struct sp_model *model, int64_t heads, int64_t position, double sign, double *x)
{
    int64_t dim = model->head_dim, half = dim / 2;
    for (int64_t head = 0; head < heads; head++)
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)position / pow(model->rope_theta, 2.0 * (double)i / (double)dim);
            double *a = x + head * dim + i, *b = a + half;
            double first = *a, second = *b;
            *a = first * cos(angle) - sign * second * sin(angle);
            *b = second * cos(angle) + sign * first * sin(angle);
        }
}

static void make_token(const struct run *run, struct token *t)
{
    int64_t h = run->hidden, f = run->model->ffn, c = run->chosen;
    *t = (struct token){
        new_vector(h),
        new_vector(h),
        new_vector(run->query),
        new_vector(run->key),
        new_vector(run->query),
        new_vector(run->key),
        new_vector(run->key),
        new_vector(run->query),
        new_vector(h),
        new_vector(h),
        new_vector(run->model->heads * run->tokens),
        new_vector(c),
        calloc((size_t)c, sizeof(int64_t)),
        new_vector(c * f),
        new_vector(c * f),
        new_vector(c * f),
        new_vector(c * h),
        new_vector(h),
        new_vector(h),
        new_vector(run->query),
        new_vector(run->key),
        new_vector(run->key),
        new_vector(run->query),
        new_vector(h),
    };
}

static void free_token(struct token *t)
{
    double *all[] = {t->x,        t->norm1,    t->q_raw, t->k_raw,  t->q,    t->k,   t->v,     t->o,
                     t->middle,   t->norm2,    t->p,     t->weight, t->gate, t->up,  t->act,   t->out,
                     t->d_output, t->d_middle, t->dq,    t->dk,     t->dv,   t->d_o, t->d_norm};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(t->expert);
}

/* Norm of each head, or a copy where the model has none; then the rotation. */
static void finish_heads(const struct sp_model *model, int64_t heads, int64_t position, const double *weight,
                         const double *raw, double *x)
{
    int64_t dim = model->head_dim;
    memcpy(x, raw, (size_t)(heads * dim) * sizeof *x);
    for (int64_t head = 0; model->qk_norm && head < heads; head++)
        normalise(dim, raw + head * dim, weight, model->norm_epsilon, x + head * dim);
    turn(model, heads, position, 1, x);
}

static void project(const struct run *run, const struct layer *w, int64_t position, struct token *t)
{
    const struct sp_model *model = run->model;
    normalise(run->hidden, t->x, w->norm1, model->norm_epsilon, t->norm1);
    if (model->qkv_bias) {
        memcpy(t->q_raw, w->q_bias, (size_t)run->query * sizeof *t->q_raw);
        memcpy(t->k_raw, w->k_bias, (size_t)run->key * sizeof *t->k_raw);
        memcpy(t->v, w->v_bias, (size_t)run->key * sizeof *t->v);
    }
    multiply(run->query, run->hidden, w->q, t->norm1, t->q_raw);
    multiply(run->key, run->hidden, w->k, t->norm1, t->k_raw);
    multiply(run->key, run->hidden, w->v, t->norm1, t->v);
    finish_heads(model, model->heads, position, w->q_norm, t->q_raw, t->q);
    finish_heads(model, model->kv_heads, position, w->k_norm, t->k_raw, t->k);
}

/* sequence: the tokens of one sequence in this layer. */
static void attend(const struct run *run, struct token *sequence, int64_t position, int64_t head)
{
    int64_t dim = run->dim, at = head * dim, key_at = head / (run->model->heads / run->model->kv_heads) * dim;
    struct token *t = &sequence[position];
    double *p = t->p + head * run->tokens, sum = 0, most = -INFINITY;
    for (int64_t j = 0; j <= position; j++) {
        p[j] = 0;
        multiply(1, dim, t->q + at, sequence[j].k + key_at, &p[j]);
        p[j] /= sqrt((double)dim);
        most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j <= position; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j <= position; j++) {
        p[j] /= sum;
        for (int64_t i = 0; i < dim; i++)
            t->o[at + i] += p[j] * sequence[j].v[key_at + i];
    }
}

/* Softmax over all experts, the best of them, scaled to sum 1. */
static void choose(const struct run *run, const struct layer *w, struct token *t)
{
    const struct sp_model *model = run->model;
    if (model->experts == 0) {
        t->weight[0] = 1;
        return;
    }
    double *score = new_vector(model->experts), sum = 0;
    multiply(model->experts, run->hidden, w->router, t->norm2, score);
    for (int64_t e = 0; e < model->experts; e++)
        score[e] = exp(score[e]);
    for (int64_t c = 0; c < run->chosen; c++) {
        int64_t best = 0;
        for (int64_t e = 1; e < model->experts; e++)
            if (score[e] > score[best])
                best = e;
        t->expert[c] = best;
        sum += t->weight[c] = score[best];
        score[best] = -1;
    }
    for (int64_t c = 0; c < run->chosen; c++)
        t->weight[c] /= sum;
    free(score);
}

static void finish(const struct run *run, const struct layer *w, struct token *t, double *output)
{
    int64_t h = run->hidden, f = run->model->ffn;
    memcpy(t->middle, t->x, (size_t)h * sizeof *t->x);
    multiply(h, run->query, w->o, t->o, t->middle);
    normalise(h, t->middle, w->norm2, run->model->norm_epsilon, t->norm2);
    choose(run, w, t);
    memcpy(output, t->middle, (size_t)h * sizeof *output);
    for (int64_t c = 0; c < run->chosen; c++) {
        double *gate = t->gate + c * f, *up = t->up + c * f, *act = t->act + c * f, *out = t->out + c * h;
        int64_t matrix = t->expert[c] * f * h;
        multiply(f, h, w->gate + matrix, t->norm2, gate);
        multiply(f, h, w->up + matrix, t->norm2, up);
        for (int64_t i = 0; i < f; i++)
            act[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
        multiply(h, f, w->down + matrix, act, out);
        for (int64_t i = 0; i < h; i++)
            output[i] += t->weight[c] * out[i];
    }
}

static void layer_forward(const struct run *run, const struct layer *w, struct token *state,
                          struct token *next)
{
    int64_t rows = run->sequences * run->tokens;
    for (int64_t r = 0; r < rows; r++)
        project(run, w, r % run->tokens, &state[r]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t head = 0; head < run->model->heads; head++)
            attend(run, state + r / run->tokens * run->tokens, r % run->tokens, head);
    for (int64_t r = 0; r < rows; r++)
        finish(run, w, &state[r], next ? next[r].x : run->end + r * run->hidden);
}

static void choose_backward(const struct run *run, const struct layer *w, const struct layer *d,
                            const struct token *t, const double *dweight, double *dnorm2)
{
    double *dscore = new_vector(run->model->experts), mean = 0;
    for (int64_t c = 0; c < run->chosen; c++)
        mean += t->weight[c] * dweight[c];
    for (int64_t c = 0; c < run->chosen; c++)
        dscore[t->expert[c]] = t->weight[c] * (dweight[c] - mean);
    multiply_backward(run->model->experts, run->hidden, w->router, t->norm2, dscore, d->router, dnorm2);
    free(dscore);
}

/* One chosen expert; dout: gradient of the token's output. */
static double expert_backward(const struct run *run, const struct layer *w, const struct layer *d,
                              const struct token *t, int64_t c, double *dnorm2)
{
    int64_t h = run->hidden, f = run->model->ffn, matrix = t->expert[c] * f * h;
    const double *gate = t->gate + c * f, *up = t->up + c * f;
    double *dact = new_vector(f), *dgate = new_vector(f), *dup = new_vector(f), *dout = new_vector(h);
    double dweight = 0;
    for (int64_t i = 0; i < h; i++) {
        dweight += t->d_output[i] * t->out[c * h + i];
        dout[i] = t->weight[c] * t->d_output[i];
    }
    multiply_backward(h, f, w->down + matrix, t->act + c * f, dout, d->down + matrix, dact);
    for (int64_t i = 0; i < f; i++) {
        double s = 1 / (1 + exp(-gate[i]));
        dgate[i] = dact[i] * up[i] * (s + gate[i] * s * (1 - s));
        dup[i] = dact[i] * gate[i] * s;
    }
    multiply_backward(f, h, w->gate + matrix, t->norm2, dgate, d->gate + matrix, dnorm2);
    multiply_backward(f, h, w->up + matrix, t->norm2, dup, d->up + matrix, dnorm2);
    free(dact), free(dgate), free(dup), free(dout);
    return dweight;
}

static void finish_backward(const struct run *run, const struct layer *w, const struct layer *d,
                            struct token *t)
{
    double *dnorm2 = new_vector(run->hidden), *dweight = new_vector(run->chosen);
    for (int64_t c = 0; c < run->chosen; c++)
        dweight[c] = expert_backward(run, w, d, t, c, dnorm2);
    if (run->model->experts > 0)
        choose_backward(run, w, d, t, dweight, dnorm2);
    memcpy(t->d_middle, t->d_output, (size_t)run->hidden * sizeof *t->d_middle);
    normalise_backward(run->hidden, t->middle, w->norm2, run->model->norm_epsilon, dnorm2, d->norm2,
                       t->d_middle);
    multiply_backward(run->hidden, run->query, w->o, t->o, t->d_middle, d->o, t->d_o);
    free(dnorm2), free(dweight);
}

static void attend_backward(const struct run *run, struct token *sequence, int64_t position, int64_t head)
{
    int64_t dim = run->dim, at = head * dim, key_at = head / (run->model->heads / run->model->kv_heads) * dim;
    struct token *t = &sequence[position];
    const double *p = t->p + head * run->tokens;
    double *dp = new_vector(position + 1), mean = 0;
    for (int64_t j = 0; j <= position; j++) {
        multiply(1, dim, t->d_o + at, sequence[j].v + key_at, &dp[j]);
        mean += p[j] * dp[j];
        for (int64_t i = 0; i < dim; i++)
            sequence[j].dv[key_at + i] += p[j] * t->d_o[at + i];
    }
    for (int64_t j = 0; j <= position; j++) {
        double ds = p[j] * (dp[j] - mean) / sqrt((double)dim);
        for (int64_t i = 0; i < dim; i++) {
            t->dq[at + i] += ds * sequence[j].k[key_at + i];
            sequence[j].dk[key_at + i] += ds * t->q[at + i];
        }
    }
    free(dp);
}

/* In place on the gradient: back through rotation and norm. */
static void heads_backward(const struct sp_model *model, int64_t heads, int64_t position,
                           const double *weight, const double *raw, double *dweight, double *dx)
{
    int64_t dim = model->head_dim;
    turn(model, heads, position, -1, dx);
    for (int64_t head = 0; model->qk_norm && head < heads; head++) {
        double *draw = new_vector(dim);
        normalise_backward(dim, raw + head * dim, weight, model->norm_epsilon, dx + head * dim, dweight,
                           draw);
        memcpy(dx + head * dim, draw, (size_t)dim * sizeof *dx);
        free(draw);
    }
}

static void add(int64_t count, const double *x, double *y)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

static void project_backward(const struct run *run, const struct layer *w, const struct layer *d,
                             int64_t position, struct token *t, double *dx)
{
    const struct sp_model *model = run->model;
    heads_backward(model, model->heads, position, w->q_norm, t->q_raw, d->q_norm, t->dq);
    heads_backward(model, model->kv_heads, position, w->k_norm, t->k_raw, d->k_norm, t->dk);
    if (model->qkv_bias) {
        add(run->query, t->dq, d->q_bias);
        add(run->key, t->dk, d->k_bias);
        add(run->key, t->dv, d->v_bias);
    }
    multiply_backward(run->query, run->hidden, w->q, t->norm1, t->dq, d->q, t->d_norm);
    multiply_backward(run->key, run->hidden, w->k, t->norm1, t->dk, d->k, t->d_norm);
    multiply_backward(run->key, run->hidden, w->v, t->norm1, t->dv, d->v, t->d_norm);
    add(run->hidden, t->d_middle, dx);
    normalise_backward(run->hidden, t->x, w->norm1, model->norm_epsilon, t->d_norm, d->norm1, dx);
}

/* d_inputs: gradients of the layer's input, row by row. */
static void layer_backward(const struct run *run, const struct layer *w, const struct layer *d,
                           struct token *state, double *const *d_inputs)
{
    int64_t rows = run->sequences * run->tokens;
    for (int64_t r = 0; r < rows; r++)
        finish_backward(run, w, d, &state[r]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t head = 0; head < run->model->heads; head++)
            attend_backward(run, state + r / run->tokens * run->tokens, r % run->tokens, head);
    for (int64_t r = 0; r < rows; r++)
        project_backward(run, w, d, r % run->tokens, &state[r], d_inputs[r]);
}

/*
 * Loss of one token, and where d_norm (the final norm's gradient) is not NULL, the gradients of head, final
 * norm and the last layer's output.
 */
static double token_loss(const struct run *run, const double *norm, const double *head, const double *x,
                         int32_t target, double scale, double *d_norm, double *d_head, double *dx)
{
    int64_t h = run->hidden, vocab = run->model->vocab;
    double *normed = new_vector(h), *logit = new_vector(vocab), *d_normed = new_vector(h);
    double sum = 0;
    normalise(h, x, norm, run->model->norm_epsilon, normed);
    multiply(vocab, h, head, normed, logit);
    for (int64_t i = 0; i < vocab; i++)
        sum += exp(logit[i]);
    double loss = log(sum) - logit[target];
    if (d_norm) {
        for (int64_t i = 0; i < vocab; i++)
            logit[i] = scale * (exp(logit[i]) / sum - (i == target));
        multiply_backward(vocab, h, head, normed, logit, d_head, d_normed);
        normalise_backward(h, x, norm, run->model->norm_epsilon, d_normed, d_norm, dx);
    }
    free(normed), free(logit), free(d_normed);
    return loss;
}

static int64_t count_targets(int64_t rows, const int32_t *targets)
{
    int64_t count = 0;
    for (int64_t r = 0; r < rows; r++)
        count += targets[r] >= 0;
    return count;
}

/* The places of everything in a parameter vector. */
struct places {
    double *embedding, *norm, *head;
    struct layer *layers;
};

static struct places places_of(const struct sp_model *model, double *vector)
{
    struct places places = {.layers = calloc((size_t)model->layers, sizeof *places.layers)};
    places.embedding = take(&vector, model->vocab * model->hidden);
    for (int64_t l = 0; l < model->layers; l++)
        places.layers[l] = take_layer(model, &vector);
    places.norm = take(&vector, model->hidden);
    places.head = model->tied_embeddings ? places.embedding : vector;
    return places;
}

static void run_forward(struct run *run, const struct places *w, const int32_t *ids)
{
    int64_t rows = run->sequences * run->tokens, layers = run->model->layers;
    for (int64_t i = 0; i < layers * rows; i++)
        make_token(run, &run->state[i]);
    for (int64_t r = 0; r < rows; r++)
        memcpy(run->state[r].x, w->embedding + ids[r] * run->hidden, (size_t)run->hidden * sizeof(double));
    for (int64_t l = 0; l < layers; l++)
        layer_forward(run, &w->layers[l], run->state + l * rows,
                      l + 1 < layers ? run->state + (l + 1) * rows : NULL);
}

static void run_backward(struct run *run, const struct places *w, const struct places *d, const int32_t *ids)
{
    int64_t rows = run->sequences * run->tokens;
    double **d_inputs = calloc((size_t)rows, sizeof *d_inputs);
    for (int64_t l = run->model->layers - 1; l >= 0; l--) {
        for (int64_t r = 0; r < rows; r++)
            d_inputs[r] =
                l > 0 ? run->state[(l - 1) * rows + r].d_output : d->embedding + ids[r] * run->hidden;
        layer_backward(run, &w->layers[l], &d->layers[l], run->state + l * rows, d_inputs);
    }
    free(d_inputs);
}

double reference_loss(const struct sp_model *model, int64_t sequences, int64_t tokens, const int32_t *ids,
                      const int32_t *targets, const double *parameters, double *gradient)
{
    int64_t rows = sequences * tokens, chosen = model->experts > 0 ? model->experts_per_token : 1;
    int64_t query = model->heads * model->head_dim, key = model->kv_heads * model->head_dim;
    struct run run = {model, sequences,       tokens, model->hidden, query,
                      key,   model->head_dim, chosen, NULL,          NULL};
    run.state = calloc((size_t)(model->layers * rows), sizeof *run.state);
    run.end = new_vector(rows * model->hidden);
    struct places w = places_of(model, (double *)parameters), d = {0};
    if (gradient) {
        memset(gradient, 0, (size_t)reference_parameters(model) * sizeof *gradient);
        d = places_of(model, gradient);
    }
    run_forward(&run, &w, ids);
    double loss = 0, scale = 1 / (double)count_targets(rows, targets);
    for (int64_t r = 0; r < rows; r++)
        if (targets[r] >= 0)
            loss += scale * token_loss(&run, w.norm, w.head, run.end + r * model->hidden, targets[r], scale,
                                       gradient ? d.norm : NULL, d.head,
                                       run.state[(model->layers - 1) * rows + r].d_output);
    if (gradient)
        run_backward(&run, &w, &d, ids);
    for (int64_t i = 0; i < model->layers * rows; i++)
        free_token(&run.state[i]);
    free(run.state), free(run.end), free(w.layers), free(d.layers);
    return loss;
}
