/* SPDX-License-Identifier: Apache-2.0 */
/* Everything about a plan that stands outside its stages and passes. */
#include <inttypes.h>
#include <string.h>

#include "plan_check.h"

enum { LARGEST_DEGREE = 4096, LARGEST_REPLICAS = 1 << 20 };
#define LARGEST_TOKENS  (INT64_C(1) << 40)
#define LARGEST_BYTES   (INT64_C(1) << 53)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static enum sp_status check_name(struct plan_checker *checker, const char *path, const char *name)
{
    size_t size = name ? strlen(name) : 0;
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+";
    if (size == 0 || size > 63 || strspn(name, allowed) != size)
        return sp_plan_refuse(checker, sp_plan_place_at("%s", path),
                              "expected a name of 1 to 63 letters, digits or -_.+");
    return SP_OK;
}

static enum sp_status check_degrees(struct plan_checker *checker)
{
    const struct sp_parallel *parallel = &checker->plan->parallel;
    const struct sp_workload *workload = &checker->plan->workload;
    const struct plan_limit limits[] = {
        {"$.parallel.pipeline", parallel->pipeline, 1, SP_MAX_DEVICES},
        {"$.parallel.tensor", parallel->tensor, 1, LARGEST_DEGREE},
        {"$.parallel.context", parallel->context, 1, LARGEST_DEGREE},
        {"$.parallel.data", parallel->data, 1, LARGEST_REPLICAS},
        {"$.parallel.expert", parallel->expert, 1, LARGEST_DEGREE},
        {"$.workload.sequence_tokens", workload->sequence_tokens, checker->plan->has_model, LARGEST_TOKENS},
        {"$.workload.microbatches", workload->microbatches, 1, SP_MAX_MICROBATCHES},
        {"$.workload.microbatch_sequences", workload->microbatch_sequences, 1, SP_MAX_MICROBATCHES},
        {"$.options.memory_cap_bytes", checker->plan->memory_cap_bytes, 0, LARGEST_BYTES},
    };
    enum sp_status status = sp_plan_check_limits(checker, limits, COUNT_OF(limits));
    if (status)
        return status;
    int64_t tokens = workload->sequence_tokens;
    bool too_many = __builtin_mul_overflow(tokens, workload->microbatches, &tokens);
    too_many |= __builtin_mul_overflow(tokens, workload->microbatch_sequences, &tokens);
    too_many |= __builtin_mul_overflow(tokens, parallel->data, &tokens);
    if (too_many || tokens > LARGEST_BYTES)
        return sp_plan_refuse(checker, sp_plan_place_at("$.workload"), "more than 2^53 tokens an iteration");
    return SP_OK;
}

static enum sp_status check_slices(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    if (plan->slice_count < 1 || plan->slice_count > SP_MAX_SLICES)
        return sp_plan_refuse(checker, sp_plan_place_at("$.slices"), "expected 1 to %d slices, found %u",
                              SP_MAX_SLICES, plan->slice_count);
    int64_t sum = 0;
    for (uint32_t i = 0; i < plan->slice_count; i++) {
        if (plan->slice_tokens[i] < 1 || plan->slice_tokens[i] > LARGEST_TOKENS)
            return sp_plan_refuse(checker, sp_plan_place_at("$.slices[%u]", i),
                                  "expected a whole number from 1 to %" PRId64 ", found %" PRId64,
                                  LARGEST_TOKENS, plan->slice_tokens[i]);
        sum += plan->slice_tokens[i];
    }
    if (plan->has_model && sum != plan->workload.sequence_tokens)
        return sp_plan_refuse(checker, sp_plan_place_at("$.slices"),
                              "the slices hold %" PRId64 " tokens, the sequence %" PRId64, sum,
                              plan->workload.sequence_tokens);
    return SP_OK;
}

enum sp_status sp_plan_check_settings(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    const struct plan_limit choices[] = {
        {"$.options.vocabulary", plan->vocabulary, SP_VOCABULARY_LAST, SP_VOCABULARY_TILED},
        {"$.options.kv_gradient", plan->kv_gradient, SP_KV_GRADIENT_COMPACT, SP_KV_GRADIENT_EXPANDED},
    };
    enum sp_status status = check_name(checker, "$.schedule", plan->schedule);
    if (!status)
        status = check_name(checker, "$.exchange.policy", plan->exchange_policy);
    if (!status)
        status = check_degrees(checker);
    if (!status)
        status = sp_plan_check_limits(checker, choices, COUNT_OF(choices));
    if (!status)
        status = check_slices(checker);
    if (!status)
        status = plan->has_model ? sp_plan_check_model(checker) : SP_OK;
    return status;
}
