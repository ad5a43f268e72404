/* SPDX-License-Identifier: Apache-2.0 */
/* Stages, and the microbatches' paths through them. */
#include <inttypes.h>

#include "plan_check.h"

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
        status = sp_plan_check_paths(checker);
    if (!status)
        status = check_training(checker);
    if (!status && !plan->has_model && !plan->costs)
        status = sp_plan_refuse(checker, sp_plan_place_at("$"), "neither a model nor pass costs");
    if (!status && !plan->has_model)
        status = sp_plan_check_costs(checker);
    return status;
}
