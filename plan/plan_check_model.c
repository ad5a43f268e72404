/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model, cluster and profile inside a plan: numbers in limits that keep later arithmetic from overflowing,
 * and the few rules between them.
 */
#include <inttypes.h>
#include <math.h>

#include "plan_check.h"

#define LARGEST_RATE    (INT64_C(1) << 53)
#define LARGEST_LATENCY INT64_C(1000000000000)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static enum sp_status check_shape(struct plan_checker *checker, const struct sp_model *model)
{
    const struct plan_limit limits[] = {
        {"$.model.layers", model->layers, 1, 1 << 16},
        {"$.model.hidden", model->hidden, 1, 1 << 20},
        {"$.model.ffn", model->ffn, 1, 1 << 22},
        {"$.model.heads", model->heads, 1, 1 << 16},
        {"$.model.kv_heads", model->kv_heads, 1, model->heads},
        {"$.model.head_dim", model->head_dim, 1, 1 << 16},
        {"$.model.vocab", model->vocab, 1, 1 << 28},
        {"$.model.experts", model->experts, 0, 1 << 16},
        {"$.model.experts_per_token", model->experts_per_token, model->experts > 0, model->experts},
    };
    enum sp_status status = sp_plan_check_limits(checker, limits, COUNT_OF(limits));
    if (status)
        return status;
    if (!(isfinite(model->rope_theta) && model->rope_theta > 0))
        return sp_plan_refuse(checker, sp_plan_place_at("$.model.rope_theta"), "expected a number above 0");
    if (!(isfinite(model->norm_epsilon) && model->norm_epsilon > 0))
        return sp_plan_refuse(checker, sp_plan_place_at("$.model.norm_epsilon"), "expected a number above 0");
    if (model->heads % model->kv_heads != 0)
        return sp_plan_refuse(checker, sp_plan_place_at("$.model.kv_heads"),
                              "%" PRId64 " query heads do not divide among %" PRId64 " key and value heads",
                              model->heads, model->kv_heads);
    return SP_OK;
}

static enum sp_status check_split(struct plan_checker *checker, const struct sp_model *model)
{
    const struct sp_parallel *parallel = &checker->plan->parallel;
    if (model->heads % parallel->tensor != 0)
        return sp_plan_refuse(checker, sp_plan_place_at("$.parallel.tensor"),
                              "%" PRId64 " attention heads do not divide among %" PRId64 " tensor ranks",
                              model->heads, parallel->tensor);
    if (model->experts == 0 && parallel->expert > 1)
        return sp_plan_refuse(checker, sp_plan_place_at("$.parallel.expert"),
                              "expected 1 for a model without experts, found %" PRId64, parallel->expert);
    if (model->experts % parallel->expert != 0)
        return sp_plan_refuse(checker, sp_plan_place_at("$.parallel.expert"),
                              "%" PRId64 " experts do not divide among %" PRId64 " expert ranks",
                              model->experts, parallel->expert);
    return SP_OK;
}

static enum sp_status check_cluster(struct plan_checker *checker, const struct sp_cluster *cluster)
{
    const struct plan_limit limits[] = {
        {"$.cluster.gpus_per_node", cluster->gpus_per_node, 1, 1 << 20},
        {"$.cluster.matrix_flops", cluster->matrix_flops, 1, LARGEST_RATE},
        {"$.cluster.memory_bytes", cluster->memory_bytes, 0, LARGEST_RATE},
        {"$.cluster.memory_bytes_per_second", cluster->memory_bytes_per_second, 0, LARGEST_RATE},
        {"$.cluster.intra_node.latency_ns", cluster->intra_node.latency_ns, 0, LARGEST_LATENCY},
        {"$.cluster.intra_node.bytes_per_second", cluster->intra_node.bytes_per_second, 0, LARGEST_RATE},
        {"$.cluster.inter_node.latency_ns", cluster->inter_node.latency_ns, 0, LARGEST_LATENCY},
        {"$.cluster.inter_node.bytes_per_second", cluster->inter_node.bytes_per_second, 0, LARGEST_RATE},
        {"$.cluster.host_link.latency_ns", cluster->host_link.latency_ns, 0, LARGEST_LATENCY},
        {"$.cluster.host_link.bytes_per_second", cluster->host_link.bytes_per_second, 0, LARGEST_RATE},
        {"$.cluster.gpus_per_host_link", cluster->gpus_per_host_link, 1, 1 << 20},
        {"$.cluster.host_memory_bytes", cluster->host_memory_bytes, 0, LARGEST_RATE},
    };
    return sp_plan_check_limits(checker, limits, COUNT_OF(limits));
}

static enum sp_status check_curve(struct plan_checker *checker, const char *name,
                                  const struct sp_efficiency *curve, int points)
{
    if (points < 0 || points > SP_PROFILE_POINTS)
        return sp_plan_refuse(checker, sp_plan_place_at("$.profile.%s", name),
                              "expected at most %d points, found %d", SP_PROFILE_POINTS, points);
    for (int i = 0; i < points; i++) {
        struct sp_plan_place place = sp_plan_place_at("$.profile.%s[%d]", name, i);
        if (curve[i].permille < 1 || curve[i].permille > 1000)
            return sp_plan_refuse(checker, place, "expected an efficiency from 1 to 1000, found %" PRId64,
                                  curve[i].permille);
        if (curve[i].size < 1 || curve[i].size > LARGEST_RATE ||
            (i > 0 && curve[i].size <= curve[i - 1].size))
            return sp_plan_refuse(checker, place, "sizes must be positive and ascend");
    }
    return SP_OK;
}

static enum sp_status check_profile(struct plan_checker *checker, const struct sp_profile *profile)
{
    const struct plan_limit limits[] = {
        {"$.profile.launch_ns", profile->launch_ns, 0, LARGEST_LATENCY},
        {"$.profile.memory_permille", profile->memory_permille, 1, 1000},
        {"$.profile.tensor_overlap_permille", profile->tensor_overlap_permille, 0, 1000},
        {"$.profile.context_overlap_permille", profile->context_overlap_permille, 0, 1000},
        {"$.profile.expert_overlap_permille", profile->expert_overlap_permille, 0, 1000},
        {"$.profile.data_overlap_permille", profile->data_overlap_permille, 0, 1000},
    };
    enum sp_status status = sp_plan_check_limits(checker, limits, COUNT_OF(limits));
    if (!status)
        status = check_curve(checker, "matrix", profile->matrix, profile->matrix_points);
    if (!status)
        status = check_curve(checker, "attention", profile->attention, profile->attention_points);
    if (!status)
        status = check_curve(checker, "link", profile->link, profile->link_points);
    return status;
}

enum sp_status sp_plan_check_model(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    enum sp_status status = check_shape(checker, &plan->model);
    if (!status)
        status = check_split(checker, &plan->model);
    if (!status)
        status = check_cluster(checker, &plan->cluster);
    if (!status)
        status = check_profile(checker, &plan->profile);
    return status;
}
