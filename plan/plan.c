/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/plan.h"

#include <assert.h>

const char *const sp_train_names[] = {"full", "input", "none", NULL};
const char *const sp_recompute_names[] = {"none", "selective", "full", NULL};
const char *const sp_vocabulary_names[] = {"last", "scatter", "shard1", "shard2", "tiled", NULL};
const char *const sp_precision_names[] = {"bf16", "float32", NULL};
const char *const sp_kv_gradient_names[] = {"compact", "expanded", NULL};

bool sp_vocabulary_is_spread(enum sp_vocabulary vocabulary)
{
    return vocabulary == SP_VOCABULARY_SCATTER || vocabulary == SP_VOCABULARY_SHARD1 ||
           vocabulary == SP_VOCABULARY_SHARD2;
}

struct sp_plan *sp_plan_create(void)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_plan *plan = arena ? sp_alloc(1, sizeof *plan) : NULL;
    int64_t *slice_tokens = plan ? sp_arena_alloc(arena, 1, sizeof *slice_tokens) : NULL;
    if (!slice_tokens) {
        sp_arena_destroy(arena);
        sp_free(plan);
        return NULL;
    }
    slice_tokens[0] = 1;
    *plan = (struct sp_plan){
        .arena = arena,
        .schedule = "imported",
        .exchange_policy = "none",
        .parallel = {.pipeline = 1, .tensor = 1, .context = 1, .data = 1, .expert = 1},
        .workload = {.sequence_tokens = 1, .microbatches = 1, .microbatch_sequences = 1},
        .slice_count = 1,
        .slice_tokens = slice_tokens,
    };
    return plan;
}

void sp_plan_destroy(struct sp_plan *plan)
{
    if (!plan)
        return;
    sp_arena_destroy(plan->arena);
    sp_free(plan);
}

/* The stage `step` places from `stage` on the microbatch's path. */
static int32_t neighbour(const struct sp_plan *plan, uint32_t microbatch, uint32_t stage, int step)
{
    if (!plan->path_begin) {
        int64_t found = (int64_t)stage + step;
        return found >= 0 && found < plan->stage_count ? (int32_t)found : -1;
    }
    int64_t begin = plan->path_begin[microbatch], end = plan->path_begin[microbatch + 1];
    for (int64_t i = begin; i < end; i++) {
        if (plan->path_stages[i] == stage)
            return i + step >= begin && i + step < end ? plan->path_stages[i + step] : -1;
    }
    return -1;
}

int32_t sp_plan_previous_stage(const struct sp_plan *plan, uint32_t microbatch, uint32_t stage)
{
    return neighbour(plan, microbatch, stage, -1);
}

int32_t sp_plan_next_stage(const struct sp_plan *plan, uint32_t microbatch, uint32_t stage)
{
    return neighbour(plan, microbatch, stage, 1);
}

int64_t sp_plan_slice_begin(const struct sp_plan *plan, uint32_t slice)
{
    assert(slice < plan->slice_count);
    int64_t begin = 0;
    for (uint32_t i = 0; i < slice; i++)
        begin += plan->slice_tokens[i];
    return begin;
}
