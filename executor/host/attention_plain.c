/* SPDX-License-Identifier: Apache-2.0 */
/* Attention query by query and key by key, in double. */
#include <math.h>

#include "plain.h"

/* One query of one head, and where its parts lie. */
struct query {
    const struct sp_host_attention *call;
    int64_t sequence, head, token; /* token within the slice */
};

static int64_t offset(const struct query *query)
{
    const struct sp_host_attention *call = query->call;
    return ((query->sequence * call->query_count + query->token) * call->heads + query->head) *
           call->head_dim;
}

static int64_t lse_offset(const struct query *query)
{
    const struct sp_host_attention *call = query->call;
    return (query->sequence * call->heads + query->head) * call->query_count + query->token;
}

static int64_t key_offset(const struct query *query, const struct sp_host_keys *run, int64_t key)
{
    const struct sp_host_attention *call = query->call;
    int64_t head = query->head / (call->heads / call->kv_heads);
    return ((query->sequence * run->pitch + key) * call->kv_heads + head) * call->head_dim;
}

static double dot(int64_t count, const float *x, const float *y)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static double score(const struct query *query, const struct sp_host_keys *run, int64_t key)
{
    if (run->begin + key > query->call->query_begin + query->token)
        return -(double)INFINITY;
    int64_t dim = query->call->head_dim;
    return dot(dim, query->call->q + offset(query), run->k + key_offset(query, run, key)) / sqrt((double)dim);
}

static double log_sum_exp(const struct query *query)
{
    double maximum = -(double)INFINITY, sum = 0;
    for (int64_t r = 0; r < query->call->run_count; r++)
        for (int64_t key = 0; key < query->call->runs[r].count; key++)
            maximum = fmax(maximum, score(query, &query->call->runs[r], key));
    if (isinf(maximum))
        return maximum;
    for (int64_t r = 0; r < query->call->run_count; r++)
        for (int64_t key = 0; key < query->call->runs[r].count; key++)
            sum += exp(score(query, &query->call->runs[r], key) - maximum);
    return maximum + log(sum);
}

static void forward(const struct query *query)
{
    const struct sp_host_attention *call = query->call;
    double lse = log_sum_exp(query), o[SP_HOST_MAX_HEAD_DIM] = {0};
    for (int64_t r = 0; r < call->run_count; r++)
        for (int64_t key = 0; key < call->runs[r].count && !isinf(lse); key++) {
            double p = exp(score(query, &call->runs[r], key) - lse);
            const float *v = call->runs[r].v + key_offset(query, &call->runs[r], key);
            for (int64_t i = 0; i < call->head_dim; i++)
                o[i] += p * (double)v[i];
        }
    call->lse[lse_offset(query)] = (float)lse;
    for (int64_t i = 0; i < call->head_dim; i++)
        call->o[offset(query) + i] = (float)o[i];
}

static void backward(const struct query *query)
{
    const struct sp_host_attention *call = query->call;
    const float *q = call->q + offset(query), *d_o = call->d_o + offset(query);
    double lse = (double)call->lse[lse_offset(query)], root = sqrt((double)call->head_dim);
    double along = dot(call->head_dim, d_o, call->o + offset(query)), dq[SP_HOST_MAX_HEAD_DIM] = {0};
    for (int64_t r = 0; r < call->run_count; r++)
        for (int64_t key = 0; key < call->runs[r].count; key++) {
            const struct sp_host_keys *run = &call->runs[r];
            int64_t at = key_offset(query, run, key);
            double p = exp(score(query, run, key) - lse);
            double ds = p * (dot(call->head_dim, d_o, run->v + at) - along) / root;
            for (int64_t i = 0; i < call->head_dim; i++) {
                dq[i] += ds * (double)run->k[at + i];
                run->dk[at + i] += (float)(ds * (double)q[i]);
                run->dv[at + i] += (float)(p * (double)d_o[i]);
            }
        }
    for (int64_t i = 0; i < call->head_dim; i++)
        call->dq[offset(query) + i] = (float)dq[i];
}

static void each_query(const struct sp_host_attention *call, void (*visit)(const struct query *query))
{
    for (int64_t sequence = 0; sequence < call->sequences; sequence++)
        for (int64_t head = 0; head < call->heads; head++)
            for (int64_t token = 0; token < call->query_count; token++)
                visit(&(struct query){call, sequence, head, token});
}

void sp_host_plain_attention(const struct sp_host_attention *call)
{
    each_query(call, forward);
}

void sp_host_plain_attention_backward(const struct sp_host_attention *call)
{
    each_query(call, backward);
}

void sp_host_plain_attention_merge(int64_t sequences, int64_t tokens, int64_t heads, int64_t head_dim,
                                   const float *part, const float *part_lse, float *o, float *lse)
{
    for (int64_t sequence = 0; sequence < sequences; sequence++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t token = 0; token < tokens; token++) {
                int64_t at = (sequence * heads + head) * tokens + token;
                int64_t row = ((sequence * tokens + token) * heads + head) * head_dim;
                double mine = (double)lse[at], other = (double)part_lse[at], most = fmax(mine, other);
                if (isinf(most))
                    continue;
                double merged = most + log(exp(mine - most) + exp(other - most));
                for (int64_t i = 0; i < head_dim; i++)
                    o[row + i] = (float)((double)o[row + i] * exp(mine - merged) +
                                         (double)part[row + i] * exp(other - merged));
                lse[at] = (float)merged;
            }
}
