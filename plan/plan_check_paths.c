/* SPDX-License-Identifier: Apache-2.0 */
/* The microbatches' paths, where they skip or reorder stages. Makes the tables of neighbours. */
#include <assert.h>

#include "plan_check.h"

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
    bool ends = plan->has_model || sp_vocabulary_is_spread(plan->vocabulary);
    if (ends && plan->path_stages[end - 1] != plan->stage_count - 1)
        return sp_plan_refuse(checker, place, "expected a path to stage %u, found one to stage %u",
                              plan->stage_count - 1, plan->path_stages[end - 1]);
    return SP_OK;
}

enum sp_status sp_plan_check_paths(struct plan_checker *checker)
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
