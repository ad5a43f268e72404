/* SPDX-License-Identifier: Apache-2.0 */
/* Stages, their costs where there is no model, and the microbatches' paths through them. */
#include <assert.h>
#include <inttypes.h>

#include "plan_check.h"

#define LARGEST_COST  INT64_C(1000000000000000) /* ns or bytes of one pass */
#define LARGEST_TOTAL (INT64_C(1) << 62)

static enum sp_status check_devices(struct plan_checker *checker, uint32_t number, uint32_t *holder)
{
    const struct sp_stage *stage = &checker->plan->stages[number];
    uint32_t devices = checker->plan->order.device_count;
    for (uint32_t i = 0; i <= stage->replica_count; i++) {
        uint32_t device = i ? stage->replicas[i - 1] : stage->device;
        struct sp_plan_place place = i ? sp_plan_place_at("$.stages[%u].replicas[%u]", number, i - 1)
                                       : sp_plan_place_at("$.stages[%u].device", number);
        if (device >= devices)
            return sp_plan_refuse(checker, place, "expected a device from 0 to %u, found %u", devices - 1,
                                  device);
        if (holder[device] == number + 1)
            return sp_plan_refuse(checker, place, "device %u holds the stage already", device);
        holder[device] = number + 1;
    }
    return SP_OK;
}

static enum sp_status check_layers(struct plan_checker *checker, uint32_t number, uint64_t *layer)
{
    const struct sp_plan *plan = checker->plan;
    const struct sp_stage *stage = &plan->stages[number];
    struct sp_plan_place place = sp_plan_place_at("$.stages[%u].layers", number);
    if (!plan->has_model) {
        if (stage->layer_begin || stage->layer_count)
            return sp_plan_refuse(checker, place, "layers without a model");
        return SP_OK;
    }
    if (stage->layer_begin != *layer)
        return sp_plan_refuse(checker, place, "expected to begin at layer %" PRIu64 ", found %u", *layer,
                              stage->layer_begin);
    *layer += stage->layer_count;
    if (*layer > (uint64_t)plan->model.layers)
        return sp_plan_refuse(checker, place, "ends at layer %" PRIu64 " of a model of %" PRId64, *layer,
                              plan->model.layers);
    return SP_OK;
}

static enum sp_status check_stage(struct plan_checker *checker, uint32_t number)
{
    const struct sp_stage *stage = &checker->plan->stages[number];
    if (stage->recompute > SP_RECOMPUTE_FULL)
        return sp_plan_refuse(checker, sp_plan_place_at("$.stages[%u].recompute", number),
                              "unknown recompute policy %d", (int)stage->recompute);
    if (stage->train > SP_TRAIN_NONE)
        return sp_plan_refuse(checker, sp_plan_place_at("$.stages[%u].train", number),
                              "unknown train policy %d", (int)stage->train);
    if (stage->offload_permille > 1000)
        return sp_plan_refuse(checker, sp_plan_place_at("$.stages[%u].offload_permille", number),
                              "expected a whole number from 0 to 1000, found %u", stage->offload_permille);
    return SP_OK;
}

static enum sp_status check_each_stage(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    uint32_t *holder = sp_arena_alloc(checker->scratch, plan->order.device_count, sizeof *holder);
    if (!holder)
        return sp_plan_out_of_memory(checker);
    uint64_t layer = 0;
    for (uint32_t i = 0; i < plan->stage_count; i++) {
        enum sp_status status = check_devices(checker, i, holder);
        if (!status)
            status = check_layers(checker, i, &layer);
        if (!status)
            status = check_stage(checker, i);
        if (status)
            return status;
    }
    if (plan->has_model && layer != (uint64_t)plan->model.layers)
        return sp_plan_refuse(checker, sp_plan_place_at("$.stages"),
                              "the stages hold %" PRIu64 " layers, the model %" PRId64, layer,
                              plan->model.layers);
    return SP_OK;
}

/* Steps over a microbatch's path and notes each stage's neighbours. */
static enum sp_status check_path(struct plan_checker *checker, uint32_t microbatch)
{
    const struct sp_plan *plan = checker->plan;
    const uint32_t begin = plan->path_begin[microbatch], end = plan->path_begin[microbatch + 1];
    uint16_t *previous = &checker->previous[(size_t)microbatch * plan->stage_count];
    uint16_t *next = &checker->next[(size_t)microbatch * plan->stage_count];
    assert(begin <= end);
    for (uint32_t i = 0; i < plan->stage_count; i++)
        previous[i] = next[i] = PLAN_OFF_PATH;
    for (uint32_t i = begin; i < end; i++) {
        uint32_t stage = plan->path_stages[i];
        struct sp_plan_place place = sp_plan_place_at("$.paths[%u][%u]", microbatch, i - begin);
        if (stage >= plan->stage_count)
            return sp_plan_refuse(checker, place, "expected a stage from 0 to %u, found %u",
                                  plan->stage_count - 1, stage);
        if (previous[stage] != PLAN_OFF_PATH)
            return sp_plan_refuse(checker, place, "stage %u is on the path already", stage);
        previous[stage] = i > begin ? plan->path_stages[i - 1] : PLAN_PATH_END;
        next[stage] = PLAN_PATH_END;
        if (i > begin)
            next[plan->path_stages[i - 1]] = (uint16_t)stage;
    }
    return SP_OK;
}

/* The embedding and the output layer are in the first and the last stage, so a path leads through both. */
static enum sp_status check_path_ends(struct plan_checker *checker, uint32_t microbatch)
{
    const struct sp_plan *plan = checker->plan;
    uint32_t begin = plan->path_begin[microbatch], end = plan->path_begin[microbatch + 1];
    struct sp_plan_place place = sp_plan_place_at("$.paths[%u]", microbatch);
    if (begin == end)
        return sp_plan_refuse(checker, place, "a path needs at least one stage");
    if (plan->has_model && plan->path_stages[begin] != 0)
        return sp_plan_refuse(checker, place, "expected a path from stage 0, found one from stage %u",
                              plan->path_stages[begin]);
    bool ends = plan->has_model || sp_plan_has_output_passes(plan);
    if (ends && plan->path_stages[end - 1] != plan->stage_count - 1)
        return sp_plan_refuse(checker, place, "expected a path to stage %u, found one to stage %u",
                              plan->stage_count - 1, plan->path_stages[end - 1]);
    return SP_OK;
}

static enum sp_status check_paths(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    if (!plan->path_begin)
        return SP_OK;
    size_t microbatches = (size_t)plan->workload.microbatches;
    checker->previous =
        sp_arena_alloc(checker->scratch, microbatches * plan->stage_count, sizeof *checker->previous);
    checker->next = sp_arena_alloc(checker->scratch, microbatches * plan->stage_count, sizeof *checker->next);
    if (!checker->previous || !checker->next)
        return sp_plan_out_of_memory(checker);
    for (uint32_t i = 0; i < microbatches; i++) {
        enum sp_status status = check_path(checker, i);
        if (!status)
            status = check_path_ends(checker, i);
        if (status)
            return status;
    }
    return SP_OK;
}

/* A stage without a backward cuts the gradient off, so what comes before it has none either. */
static enum sp_status check_training(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    size_t microbatches = plan->path_begin ? (size_t)plan->workload.microbatches : 1;
    for (uint32_t i = 0; i < microbatches; i++) {
        for (uint32_t stage = 0; stage < plan->stage_count; stage++) {
            uint32_t before = sp_plan_path_previous(checker, i, stage);
            if (before >= PLAN_PATH_END || plan->stages[stage].train != SP_TRAIN_NONE ||
                plan->stages[before].train == SP_TRAIN_NONE)
                continue;
            return sp_plan_refuse(checker, sp_plan_place_at("$.stages[%u].train", stage),
                                  "no backward, but stage %u before it needs its input gradient", before);
        }
    }
    return SP_OK;
}

/* The largest of a cost array; the place of one outside the limits is reported. */
static enum sp_status check_array(struct plan_checker *checker, const char *name, const int64_t *costs,
                                  int64_t *total)
{
    int64_t largest = 0;
    for (uint32_t i = 0; costs && i < checker->plan->stage_count; i++) {
        if (costs[i] < 0 || costs[i] > LARGEST_COST)
            return sp_plan_refuse(checker, sp_plan_place_at("$.pass_costs.%s[%u]", name, i),
                                  "expected a whole number from 0 to %" PRId64 ", found %" PRId64,
                                  LARGEST_COST, costs[i]);
        largest = costs[i] > largest ? costs[i] : largest;
    }
    *total += largest;
    return SP_OK;
}

enum sp_status sp_plan_check_costs(struct plan_checker *checker)
{
    const struct sp_pass_costs *costs = checker->plan->costs;
    const struct plan_limit limits[] = {
        {"$.pass_costs.output_forward_ns", costs->output_forward_ns, 0, LARGEST_COST},
        {"$.pass_costs.output_backward_ns", costs->output_backward_ns, 0, LARGEST_COST},
        {"$.pass_costs.message_ns", costs->message_ns, 0, LARGEST_COST},
        {"$.pass_costs.attention_permille", costs->attention_permille, 0, 1000},
        {"$.pass_costs.activation_bytes", costs->activation_bytes, 0, LARGEST_COST},
        {"$.pass_costs.weight_held_bytes", costs->weight_held_bytes, 0, costs->activation_bytes},
    };
    const struct {
        const char *name;
        const int64_t *values;
    } arrays[] = {
        {"forward_ns", costs->forward_ns}, {"input_ns", costs->input_ns},
        {"weight_ns", costs->weight_ns},   {"recompute_ns", costs->recompute_ns},
        {"overlap_ns", costs->overlap_ns},
    };
    enum sp_status status = sp_plan_check_limits(checker, limits, sizeof limits / sizeof *limits);
    int64_t total = costs->output_forward_ns + costs->output_backward_ns + costs->message_ns;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays && !status; i++)
        status = check_array(checker, arrays[i].name, arrays[i].values, &total);
    if (status)
        return status;
    if (total < costs->activation_bytes)
        total = costs->activation_bytes;
    uint64_t passes = checker->plan->order.begin[checker->plan->order.device_count];
    if (passes > 0 && total > LARGEST_TOTAL / (int64_t)passes)
        return sp_plan_refuse(checker, sp_plan_place_at("$.pass_costs"),
                              "costs of all passes together do not fit 62 bits");
    return SP_OK;
}

enum sp_status sp_plan_check_stages(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    if (plan->stage_count < 1 || plan->stage_count > SP_MAX_STAGES)
        return sp_plan_refuse(checker, sp_plan_place_at("$.stages"), "expected 1 to %d stages, found %u",
                              SP_MAX_STAGES, plan->stage_count);
    if (plan->order.device_count != plan->parallel.pipeline)
        return sp_plan_refuse(checker, sp_plan_place_at("$.order"),
                              "expected one string for each of %" PRId64 " devices, found %u",
                              plan->parallel.pipeline, plan->order.device_count);
    if (plan->order.begin[plan->order.device_count] > SP_MAX_PASSES)
        return sp_plan_refuse(checker, sp_plan_place_at("$.order"), "more than %d passes", SP_MAX_PASSES);
    uint64_t units = (uint64_t)plan->workload.microbatches * plan->slice_count;
    units *= plan->stage_count > plan->order.device_count ? plan->stage_count : plan->order.device_count;
    if (units > SP_MAX_PASSES)
        return sp_plan_refuse(checker, sp_plan_place_at("$.workload"),
                              "more than %d units (stages or devices, times microbatches, times slices)",
                              SP_MAX_PASSES);
    enum sp_status status = check_each_stage(checker);
    if (!status)
        status = check_paths(checker);
    if (!status)
        status = check_training(checker);
    if (!status && !plan->has_model && !plan->costs)
        status = sp_plan_refuse(checker, sp_plan_place_at("$"), "neither a model nor pass costs");
    if (!status && !plan->has_model)
        status = sp_plan_check_costs(checker);
    return status;
}
