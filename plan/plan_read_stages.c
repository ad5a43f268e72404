/* SPDX-License-Identifier: Apache-2.0 */
/* Stages, and the microbatches' paths through them. */
#include <inttypes.h>

#include "plan_fields.h"
#include "plan_reader.h"

static enum sp_status read_small(const struct plan_reader *reader, const struct sp_json_value *object,
                                 const char *key, uint32_t *target)
{
    int64_t number;
    enum sp_status status =
        sp_json_get_whole(reader->json, object, key, 0, UINT32_MAX, &number, reader->error);
    if (!status)
        *target = (uint32_t)number;
    return status;
}

static enum sp_status read_layers(const struct plan_reader *reader, const struct sp_json_value *object,
                                  struct sp_stage *stage)
{
    const struct sp_json_value *value = sp_json_find(object, "layers");
    const int64_t *numbers;
    size_t count;
    if (!value && !reader->plan->has_model)
        return SP_OK;
    enum sp_status status = sp_plan_reader_array(reader, object, "layers", &value);
    if (!status && sp_json_size(value) != 2)
        status = sp_json_error(reader->json, value, reader->error, "expected a pair [first layer, count]");
    if (!status)
        status = sp_plan_read_numbers(reader->json, value, 1 << 30, reader->plan->arena, &numbers, &count,
                                      reader->error);
    if (status)
        return status;
    stage->layer_begin = (uint32_t)numbers[0];
    stage->layer_count = (uint32_t)numbers[1];
    return SP_OK;
}

static enum sp_status read_replicas(const struct plan_reader *reader, const struct sp_json_value *object,
                                    struct sp_stage *stage)
{
    const struct sp_json_value *value = sp_json_find(object, "replicas");
    const int64_t *numbers;
    size_t count;
    if (!value)
        return SP_OK;
    enum sp_status status = sp_plan_read_numbers(reader->json, value, SP_MAX_DEVICES - 1, reader->plan->arena,
                                                 &numbers, &count, reader->error);
    if (status)
        return status;
    uint32_t *replicas = sp_arena_alloc(reader->plan->arena, count, sizeof *replicas);
    if (!replicas)
        return sp_plan_reader_out_of_memory(reader);
    for (size_t i = 0; i < count; i++)
        replicas[i] = (uint32_t)numbers[i];
    stage->replicas = replicas;
    stage->replica_count = (uint32_t)count;
    return SP_OK;
}

/* An optional member of an enumeration; it keeps what it is where the document has none. */
static enum sp_status read_policy(const struct plan_reader *reader, const struct sp_json_value *object,
                                  const char *key, const char *const names[], int *index)
{
    const struct sp_json_value *value = sp_json_find(object, key);
    return value ? sp_json_choice(reader->json, value, names, index, reader->error) : SP_OK;
}

static enum sp_status read_stage(const struct plan_reader *reader, const struct sp_json_value *object,
                                 struct sp_stage *stage)
{
    static const char *const keys[] = {"device", "layers",   "recompute", "offload_permille",
                                       "train",  "replicas", NULL};
    int recompute = SP_RECOMPUTE_NONE, train = SP_TRAIN_FULL;
    enum sp_status status = sp_json_only(reader->json, object, keys, reader->error);
    if (!status)
        status = read_small(reader, object, "device", &stage->device);
    if (!status)
        status = read_layers(reader, object, stage);
    if (!status)
        status = read_policy(reader, object, "recompute", sp_recompute_names, &recompute);
    if (!status && sp_json_find(object, "offload_permille"))
        status = read_small(reader, object, "offload_permille", &stage->offload_permille);
    if (!status)
        status = read_policy(reader, object, "train", sp_train_names, &train);
    if (!status)
        status = read_replicas(reader, object, stage);
    stage->recompute = (enum sp_recompute)recompute;
    stage->train = (enum sp_train)train;
    return status;
}

enum sp_status sp_plan_read_stages(struct plan_reader *reader)
{
    struct sp_plan *plan = reader->plan;
    const struct sp_json_value *array = NULL;
    enum sp_status status = sp_plan_reader_array(reader, reader->root, "stages", &array);
    if (status)
        return status;
    size_t count = sp_json_size(array);
    if (count < 1 || count > SP_MAX_STAGES)
        return sp_json_error(reader->json, array, reader->error, "expected 1 to %d stages, found %zu",
                             SP_MAX_STAGES, count);
    plan->stages = sp_arena_alloc(plan->arena, count, sizeof *plan->stages);
    if (!plan->stages)
        return sp_plan_reader_out_of_memory(reader);
    plan->stage_count = (uint32_t)count;
    struct sp_stage *stage = plan->stages;
    for (const struct sp_json_value *at = sp_json_first(array); at && !status; at = sp_json_next(at))
        status = read_stage(reader, at, stage++);
    return status;
}

static enum sp_status read_path(const struct plan_reader *reader, const struct sp_json_value *array,
                                uint16_t *stages)
{
    for (const struct sp_json_value *at = sp_json_first(array); at; at = sp_json_next(at)) {
        int64_t stage;
        enum sp_status status =
            sp_json_whole(reader->json, at, 0, (int64_t)reader->plan->stage_count - 1, &stage, reader->error);
        if (status)
            return status;
        *stages++ = (uint16_t)stage;
    }
    return SP_OK;
}

/* Makes the offsets of paths; the error is the first thing that is no array. */
static enum sp_status measure_paths(const struct plan_reader *reader, const struct sp_json_value *array,
                                    uint32_t *begin)
{
    uint64_t total = 0;
    for (const struct sp_json_value *at = sp_json_first(array); at; at = sp_json_next(at)) {
        if (!sp_json_is_array(at))
            return sp_json_error(reader->json, at, reader->error, "expected an array of stages");
        *begin++ = (uint32_t)total;
        total += sp_json_size(at);
        if (total > SP_MAX_PASSES)
            return sp_json_error(reader->json, at, reader->error, "paths of more than %d stages together",
                                 SP_MAX_PASSES);
    }
    *begin = (uint32_t)total;
    return SP_OK;
}

enum sp_status sp_plan_read_paths(struct plan_reader *reader)
{
    struct sp_plan *plan = reader->plan;
    const struct sp_json_value *array = NULL;
    if (!sp_json_find(reader->root, "paths"))
        return SP_OK;
    enum sp_status status = sp_plan_reader_array(reader, reader->root, "paths", &array);
    if (status)
        return status;
    size_t count = sp_json_size(array);
    if ((int64_t)count != plan->workload.microbatches)
        return sp_json_error(reader->json, array, reader->error,
                             "expected one path for each of %" PRId64 " microbatches, found %zu",
                             plan->workload.microbatches, count);
    uint32_t *begin = sp_arena_alloc(plan->arena, count + 1, sizeof *begin);
    if (!begin)
        return sp_plan_reader_out_of_memory(reader);
    status = measure_paths(reader, array, begin);
    if (status)
        return status;
    uint16_t *stages = sp_arena_alloc(plan->arena, begin[count], sizeof *stages);
    if (!stages)
        return sp_plan_reader_out_of_memory(reader);
    plan->path_begin = begin;
    plan->path_stages = stages;
    for (const struct sp_json_value *at = sp_json_first(array); at && !status; at = sp_json_next(at)) {
        status = read_path(reader, at, stages);
        stages += sp_json_size(at);
    }
    return status;
}
