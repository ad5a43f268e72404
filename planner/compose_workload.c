/* SPDX-License-Identifier: Apache-2.0 */
#include "compose.h"

enum { TILE_TOKENS = 128 }; /* slices that cannot be equal are whole tiles of each context rank */

static enum sp_status out_of_memory(const struct composing *composing)
{
    return sp_error_set(composing->error, SP_MEMORY, "no memory for the plan");
}

static int64_t or_one(int64_t number)
{
    return number ? number : 1;
}

static enum sp_status check_signs(const struct composing *composing)
{
    const struct sp_request *request = composing->request;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"pp", request->parallel.pipeline},        {"tp", request->parallel.tensor},
        {"cp", request->parallel.context},         {"dp", request->parallel.data},
        {"ep", request->parallel.expert},          {"gpus", request->gpus},
        {"seq-len", request->sequence_tokens},     {"batch-tokens", request->batch_tokens},
        {"microbatches", request->microbatches},   {"microbatch-size", request->microbatch_sequences},
        {"memory-cap", request->memory_cap_bytes},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (numbers[i].value < 0)
            return COMPOSE_FAIL(composing, "%s %lld: expected 1 or more", numbers[i].name,
                                (long long)numbers[i].value);
    if (request->offload_permille > 1000)
        return COMPOSE_FAIL(composing, "offload of %u/1000: expected at most 1000/1000",
                            request->offload_permille);
    return SP_OK;
}

/* c · d · t hold each layer's experts between them. */
static enum sp_status check_experts(const struct composing *composing)
{
    const struct sp_parallel *parallel = &composing->plan->parallel;
    const struct sp_model *model = composing->request->model;
    long long ranks = parallel->tensor * parallel->context * parallel->data;

    if (parallel->expert == 1)
        return SP_OK;
    if (!model || model->experts == 0)
        return COMPOSE_FAIL(composing, "ep %lld: %s has no experts", (long long)parallel->expert,
                            model ? model->name : "a plan of explicit costs");
    if (model->experts % parallel->expert != 0)
        return COMPOSE_FAIL(composing, "ep %lld: expected a divisor of the %lld experts of %s",
                            (long long)parallel->expert, (long long)model->experts, model->name);
    if (ranks % parallel->expert != 0)
        return COMPOSE_FAIL(composing, "ep %lld: expected a divisor of tp x cp x dp = %lld",
                            (long long)parallel->expert, ranks);
    return SP_OK;
}

static enum sp_status check_tensor(const struct composing *composing)
{
    const struct sp_model *model = composing->request->model;
    int64_t tensor = composing->plan->parallel.tensor;

    if (model && (model->heads % tensor != 0 || model->ffn % tensor != 0))
        return COMPOSE_FAIL(composing,
                            "tp %lld: expected a divisor of the %lld heads and the MLP width %lld of %s",
                            (long long)tensor, (long long)model->heads, (long long)model->ffn, model->name);
    return SP_OK;
}

static enum sp_status fill_degrees(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    struct sp_parallel *parallel = &composing->plan->parallel;
    int64_t ranks;
    enum sp_status status;

    *parallel = (struct sp_parallel){
        .pipeline = or_one(request->parallel.pipeline),
        .tensor = or_one(request->parallel.tensor),
        .context = or_one(request->parallel.context),
        .data = or_one(request->parallel.data),
        .expert = or_one(request->parallel.expert),
    };
    if (__builtin_mul_overflow(parallel->pipeline, parallel->tensor, &ranks) ||
        __builtin_mul_overflow(ranks, parallel->context, &ranks) || parallel->pipeline > SP_MAX_DEVICES)
        return COMPOSE_FAIL(composing, "pp %lld, tp %lld, cp %lld: expected at most %d pipeline devices",
                            (long long)parallel->pipeline, (long long)parallel->tensor,
                            (long long)parallel->context, SP_MAX_DEVICES);
    if (request->gpus && request->gpus % ranks != 0)
        return COMPOSE_FAIL(composing, "gpus %lld: expected a multiple of pp x tp x cp = %lld",
                            (long long)request->gpus, (long long)ranks);
    if (request->gpus && request->parallel.data && request->gpus / ranks != request->parallel.data)
        return COMPOSE_FAIL(composing, "gpus %lld: expected pp x tp x cp x dp = %lld x %lld",
                            (long long)request->gpus, (long long)ranks, (long long)request->parallel.data);
    if (request->gpus)
        parallel->data = request->gpus / ranks;
    if ((status = check_tensor(composing)))
        return status;
    return check_experts(composing);
}

static enum sp_status copy_slices(struct composing *composing, int64_t *tokens)
{
    const struct sp_request *request = composing->request;
    int64_t sum = 0;

    for (uint32_t i = 0; i < request->slices; i++) {
        tokens[i] = request->slice_tokens[i];
        if (tokens[i] < 1)
            return COMPOSE_FAIL(composing, "slice-tokens: slice %u has %lld tokens; expected 1 or more", i,
                                (long long)tokens[i]);
        if (__builtin_add_overflow(sum, tokens[i], &sum))
            return COMPOSE_FAIL(composing, "slice-tokens: their sum is beyond 2^63");
    }
    if (request->sequence_tokens && sum != request->sequence_tokens)
        return COMPOSE_FAIL(composing, "slice-tokens: their sum is %lld; expected seq-len %lld",
                            (long long)sum, (long long)request->sequence_tokens);
    composing->plan->workload.sequence_tokens = sum;
    return SP_OK;
}

/* The remainder goes to the first slices, whose attention is shortest. */
static void spread(int64_t sum, int64_t unit, uint32_t count, int64_t *parts)
{
    int64_t units = sum / unit;

    for (uint32_t i = 0; i < count; i++)
        parts[i] = unit * (units / count + (i < units % count));
}

static enum sp_status cut_slices(struct composing *composing, uint32_t count, int64_t *tokens)
{
    const struct sp_request *request = composing->request;
    int64_t tile = TILE_TOKENS * composing->plan->parallel.context;
    /* Explicit costs are those of equal slices, whatever the tokens. */
    int64_t sum = request->sequence_tokens ? request->sequence_tokens : request->model ? 0 : count;

    if (sum == 0)
        return COMPOSE_FAIL(composing, "seq-len is missing: expected the tokens of a sequence");
    if (sum < count)
        return COMPOSE_FAIL(composing, "slices %u: expected at most the %lld tokens of a sequence", count,
                            (long long)sum);
    composing->plan->workload.sequence_tokens = sum;
    spread(sum, sum % count != 0 && sum % tile == 0 && sum / tile >= count ? tile : 1, count, tokens);
    return SP_OK;
}

static enum sp_status fill_slices(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    bool divides = request->slice_division != SP_SLICES_EQUAL && !request->slice_tokens;
    uint32_t count = (uint32_t)or_one(request->slices);
    enum sp_status status;
    int64_t *tokens = NULL;

    if (count > SP_MAX_SLICES)
        return COMPOSE_FAIL(composing, "slices %u: expected at most %d", count, SP_MAX_SLICES);
    if (divides && request->sequence_tokens) {
        count = request->slice_division == SP_SLICES_TERAPIPE ? request->slices : count;
        status = sp_compose_divide_slices(composing, TILE_TOKENS * composing->plan->parallel.context, &count,
                                          &tokens);
        composing->plan->workload.sequence_tokens = request->sequence_tokens;
    } else {
        if (!(tokens = sp_arena_alloc(composing->plan->arena, count, sizeof(*tokens))))
            return out_of_memory(composing);
        status =
            request->slice_tokens ? copy_slices(composing, tokens) : cut_slices(composing, count, tokens);
    }
    composing->plan->slice_count = count;
    composing->plan->slice_tokens = tokens;
    return status;
}

/* m from the tokens of a batch: batch = s · b · m · d. */
static enum sp_status divide_batch(const struct composing *composing, int64_t *ret_microbatches)
{
    const struct sp_plan *plan = composing->plan;
    int64_t batch = composing->request->batch_tokens, step;

    if (__builtin_mul_overflow(plan->workload.sequence_tokens, plan->workload.microbatch_sequences, &step) ||
        __builtin_mul_overflow(step, plan->parallel.data, &step) || batch % step != 0)
        return COMPOSE_FAIL(
            composing,
            "batch-tokens %lld: expected a multiple of seq-len x microbatch-size x dp = %lld x %lld x "
            "%lld",
            (long long)batch, (long long)plan->workload.sequence_tokens,
            (long long)plan->workload.microbatch_sequences, (long long)plan->parallel.data);
    *ret_microbatches = batch / step;
    return SP_OK;
}

static enum sp_status fill_microbatches(struct composing *composing)
{
    const struct sp_request *request = composing->request;
    struct sp_workload *workload = &composing->plan->workload;
    int64_t from_batch = 0;
    enum sp_status status;

    workload->microbatch_sequences = or_one(request->microbatch_sequences);
    if (!request->batch_tokens && !request->microbatches)
        return COMPOSE_FAIL(composing, "microbatches or batch-tokens is missing");
    if (request->batch_tokens && (status = divide_batch(composing, &from_batch)))
        return status;
    if (request->batch_tokens && request->microbatches && from_batch != request->microbatches)
        return COMPOSE_FAIL(composing, "microbatches %lld: expected the %lld of batch-tokens %lld",
                            (long long)request->microbatches, (long long)from_batch,
                            (long long)request->batch_tokens);
    workload->microbatches = request->microbatches ? request->microbatches : from_batch;
    if (workload->microbatches > SP_MAX_MICROBATCHES)
        return COMPOSE_FAIL(composing, "microbatches %lld: expected at most %d",
                            (long long)workload->microbatches, SP_MAX_MICROBATCHES);
    return SP_OK;
}

enum sp_status sp_compose_workload(struct composing *composing)
{
    enum sp_status status;

    if ((status = check_signs(composing)) || (status = fill_degrees(composing)) ||
        (status = fill_slices(composing)))
        return status;
    return fill_microbatches(composing);
}
