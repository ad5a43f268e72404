/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_fields.h"

#include <float.h>
#include <stddef.h>
#include <string.h>

#define WHOLE(type, field)                                                                                   \
    {                                                                                                        \
#field, PLAN_WHOLE, offsetof(struct type, field), 0, NULL, false                                     \
    }
#define OPTIONAL(type, field)                                                                                \
    {                                                                                                        \
#field, PLAN_WHOLE, offsetof(struct type, field), 0, NULL, true                                      \
    }
#define REAL(type, field)                                                                                    \
    {                                                                                                        \
#field, PLAN_REAL, offsetof(struct type, field), 0, NULL, false                                      \
    }
#define FLAG(type, field)                                                                                    \
    {                                                                                                        \
#field, PLAN_FLAG, offsetof(struct type, field), 0, NULL, false                                      \
    }
#define CHOICE(type, field, names)                                                                           \
    {                                                                                                        \
#field, PLAN_CHOICE, offsetof(struct type, field), 0, names, true                                    \
    }
#define UNLESS(type, field, names)                                                                           \
    {                                                                                                        \
#field, PLAN_UNLESS, offsetof(struct type, field), 0, names, true                                    \
    }
#define LINK(type, field)                                                                                    \
    {                                                                                                        \
#field, PLAN_LINK, offsetof(struct type, field), 0, NULL, false                                      \
    }
#define ARRAY(type, field)                                                                                   \
    {                                                                                                        \
#field, PLAN_ARRAY, offsetof(struct type, field), 0, NULL, true                                      \
    }
#define TEXT(type, field)                                                                                    \
    {                                                                                                        \
#field, PLAN_TEXT, offsetof(struct type, field), sizeof(((struct type *)0)->field), NULL, false      \
    }
#define CURVE(type, field)                                                                                   \
    {                                                                                                        \
#field, PLAN_CURVE, offsetof(struct type, field), offsetof(struct type, field##_points), NULL, false \
    }
#define END                                                                                                  \
    {                                                                                                        \
        NULL, PLAN_WHOLE, 0, 0, NULL, false                                                                  \
    }

enum { LONGEST_TABLE = 16 };
#define LARGEST (INT64_C(1) << 53)

const struct plan_field sp_plan_parallel_fields[] = {
    WHOLE(sp_parallel, pipeline), OPTIONAL(sp_parallel, tensor), OPTIONAL(sp_parallel, context),
    OPTIONAL(sp_parallel, data),  OPTIONAL(sp_parallel, expert), END,
};

const struct plan_field sp_plan_workload_fields[] = {
    OPTIONAL(sp_workload, sequence_tokens),
    WHOLE(sp_workload, microbatches),
    OPTIONAL(sp_workload, microbatch_sequences),
    END,
};

const struct plan_field sp_plan_option_fields[] = {
    CHOICE(sp_plan, vocabulary, sp_vocabulary_names),
    CHOICE(sp_plan, kv_gradient, sp_kv_gradient_names),
    OPTIONAL(sp_plan, memory_cap_bytes),
    END,
};

const struct plan_field sp_plan_model_fields[] = {
    TEXT(sp_model, name),
    TEXT(sp_model, architecture),
    WHOLE(sp_model, layers),
    WHOLE(sp_model, hidden),
    WHOLE(sp_model, ffn),
    WHOLE(sp_model, heads),
    WHOLE(sp_model, kv_heads),
    WHOLE(sp_model, head_dim),
    WHOLE(sp_model, vocab),
    WHOLE(sp_model, experts),
    WHOLE(sp_model, experts_per_token),
    FLAG(sp_model, tied_embeddings),
    FLAG(sp_model, qkv_bias),
    FLAG(sp_model, qk_norm),
    REAL(sp_model, rope_theta),
    REAL(sp_model, norm_epsilon),
    END,
};

const struct plan_field sp_plan_cluster_fields[] = {
    TEXT(sp_cluster, name),
    UNLESS(sp_cluster, precision, sp_precision_names),
    WHOLE(sp_cluster, gpus_per_node),
    WHOLE(sp_cluster, matrix_flops),
    WHOLE(sp_cluster, memory_bytes),
    WHOLE(sp_cluster, memory_bytes_per_second),
    LINK(sp_cluster, intra_node),
    LINK(sp_cluster, inter_node),
    LINK(sp_cluster, host_link),
    WHOLE(sp_cluster, gpus_per_host_link),
    WHOLE(sp_cluster, host_memory_bytes),
    TEXT(sp_cluster, profile),
    END,
};

const struct plan_field sp_plan_profile_fields[] = {
    TEXT(sp_profile, name),
    TEXT(sp_profile, provenance),
    CURVE(sp_profile, matrix),
    CURVE(sp_profile, attention),
    CURVE(sp_profile, link),
    WHOLE(sp_profile, launch_ns),
    WHOLE(sp_profile, memory_permille),
    WHOLE(sp_profile, tensor_overlap_permille),
    WHOLE(sp_profile, context_overlap_permille),
    WHOLE(sp_profile, expert_overlap_permille),
    WHOLE(sp_profile, data_overlap_permille),
    END,
};

const struct plan_field sp_plan_cost_fields[] = {
    ARRAY(sp_pass_costs, forward_ns),
    ARRAY(sp_pass_costs, input_ns),
    ARRAY(sp_pass_costs, weight_ns),
    ARRAY(sp_pass_costs, recompute_ns),
    ARRAY(sp_pass_costs, overlap_ns),
    OPTIONAL(sp_pass_costs, output_forward_ns),
    OPTIONAL(sp_pass_costs, output_backward_ns),
    OPTIONAL(sp_pass_costs, message_ns),
    OPTIONAL(sp_pass_costs, attention_permille),
    OPTIONAL(sp_pass_costs, activation_bytes),
    OPTIONAL(sp_pass_costs, weight_held_bytes),
    END,
};

/* What a reader of one object needs. */
struct reading {
    const struct sp_json *json;
    struct sp_plan *plan;
    struct sp_error *error;
};

static enum sp_status read_text(const struct reading *reading, const struct sp_json_value *value,
                                char *target, size_t size)
{
    const char *text;
    enum sp_status status = sp_json_string(reading->json, value, &text, reading->error);
    if (status)
        return status;
    if (strlen(text) >= size)
        return sp_json_error(reading->json, value, reading->error, "expected at most %zu bytes, found %zu",
                             size - 1, strlen(text));
    memcpy(target, text, strlen(text) + 1);
    return SP_OK;
}

static const char *const link_keys[] = {"latency_ns", "bytes_per_second", NULL};

static enum sp_status read_link(const struct reading *reading, const struct sp_json_value *value,
                                struct sp_link *link)
{
    enum sp_status status = sp_json_only(reading->json, value, link_keys, reading->error);
    if (!status)
        status = sp_json_get_whole(reading->json, value, link_keys[0], 0, LARGEST, &link->latency_ns,
                                   reading->error);
    if (!status)
        status = sp_json_get_whole(reading->json, value, link_keys[1], 0, LARGEST, &link->bytes_per_second,
                                   reading->error);
    return status;
}

static enum sp_status read_point(const struct reading *reading, const struct sp_json_value *value,
                                 struct sp_efficiency *point)
{
    if (!sp_json_is_array(value) || sp_json_size(value) != 2)
        return sp_json_error(reading->json, value, reading->error, "expected a pair [size, permille]");
    const struct sp_json_value *size = sp_json_first(value);
    enum sp_status status = sp_json_whole(reading->json, size, 0, LARGEST, &point->size, reading->error);
    if (!status)
        status =
            sp_json_whole(reading->json, sp_json_next(size), 0, LARGEST, &point->permille, reading->error);
    return status;
}

static enum sp_status read_curve(const struct reading *reading, const struct sp_json_value *value,
                                 struct sp_efficiency *curve, int *points)
{
    if (!sp_json_is_array(value) || sp_json_size(value) > SP_PROFILE_POINTS)
        return sp_json_error(reading->json, value, reading->error,
                             "expected an array of at most %d pairs [size, permille]", SP_PROFILE_POINTS);
    *points = 0;
    for (const struct sp_json_value *at = sp_json_first(value); at; at = sp_json_next(at)) {
        enum sp_status status = read_point(reading, at, &curve[(*points)++]);
        if (status)
            return status;
    }
    return SP_OK;
}

static enum sp_status read_choice(const struct reading *reading, const struct sp_json_value *value,
                                  const char *const names[], void *target)
{
    int index = 0;
    enum sp_status status = sp_json_choice(reading->json, value, names, &index, reading->error);
    if (!status)
        memcpy(target, &index, sizeof index);
    return status;
}

static enum sp_status read_array(const struct reading *reading, const struct sp_json_value *value,
                                 const int64_t **target)
{
    size_t count;
    const int64_t *numbers;
    enum sp_status status = sp_plan_read_numbers(reading->json, value, LARGEST, reading->plan->arena,
                                                 &numbers, &count, reading->error);
    if (status)
        return status;
    if (count != reading->plan->stage_count)
        return sp_json_error(reading->json, value, reading->error,
                             "expected one number for each of %u stages, found %zu",
                             reading->plan->stage_count, count);
    *target = numbers;
    return SP_OK;
}

static enum sp_status read_field(const struct reading *reading, const struct sp_json_value *value,
                                 const struct plan_field *field, char *base)
{
    char *target = base + field->offset;
    switch (field->type) {
    case PLAN_WHOLE:
        return sp_json_whole(reading->json, value, 0, LARGEST, (int64_t *)(void *)target, reading->error);
    case PLAN_REAL:
        return sp_json_real(reading->json, value, -DBL_MAX, DBL_MAX, (double *)(void *)target,
                            reading->error);
    case PLAN_FLAG:
        return sp_json_bool(reading->json, value, (bool *)target, reading->error);
    case PLAN_TEXT:
        return read_text(reading, value, target, field->more);
    case PLAN_CHOICE:
    case PLAN_UNLESS:
        return read_choice(reading, value, field->names, target);
    case PLAN_LINK:
        return read_link(reading, value, (struct sp_link *)(void *)target);
    case PLAN_CURVE:
        return read_curve(reading, value, (struct sp_efficiency *)(void *)target,
                          (int *)(void *)(base + field->more));
    case PLAN_ARRAY:
        return read_array(reading, value, (const int64_t **)(void *)target);
    }
    return SP_OK;
}

enum sp_status sp_plan_read_fields(const struct sp_json *json, const struct sp_json_value *object,
                                   const struct plan_field *fields, struct sp_plan *plan, void *target,
                                   struct sp_error *error)
{
    const struct reading reading = {json, plan, error};
    const char *keys[LONGEST_TABLE + 1] = {NULL};
    for (size_t i = 0; fields[i].key; i++)
        keys[i] = fields[i].key;
    enum sp_status status = sp_json_only(json, object, keys, error);
    for (size_t i = 0; fields[i].key && !status; i++) {
        const struct sp_json_value *value = sp_json_find(object, fields[i].key);
        if (value)
            status = read_field(&reading, value, &fields[i], target);
        else if (!fields[i].optional)
            status = sp_json_get(json, object, fields[i].key, &value, error);
    }
    return status;
}

enum sp_status sp_plan_read_numbers(const struct sp_json *json, const struct sp_json_value *array,
                                    int64_t most, struct sp_arena *arena, const int64_t **ret_numbers,
                                    size_t *ret_count, struct sp_error *error)
{
    if (!sp_json_is_array(array))
        return sp_json_error(json, array, error, "expected an array of whole numbers");
    size_t count = sp_json_size(array), i = 0;
    int64_t *numbers = sp_arena_alloc(arena, count, sizeof *numbers);
    if (!numbers)
        return sp_error_set(error, SP_MEMORY, "out of memory while reading a plan");
    for (const struct sp_json_value *at = sp_json_first(array); at; at = sp_json_next(at)) {
        enum sp_status status = sp_json_whole(json, at, 0, most, &numbers[i++], error);
        if (status)
            return status;
    }
    *ret_numbers = numbers;
    *ret_count = count;
    return SP_OK;
}

static void write_link(struct sp_json_writer *writer, const char *key, const struct sp_link *link)
{
    sp_json_begin_line_object(writer, key);
    sp_json_put_whole(writer, link_keys[0], link->latency_ns);
    sp_json_put_whole(writer, link_keys[1], link->bytes_per_second);
    sp_json_end_object(writer);
}

static void write_curve(struct sp_json_writer *writer, const char *key, const struct sp_efficiency *curve,
                        int points)
{
    sp_json_begin_array(writer, key, true);
    for (int i = 0; i < points; i++) {
        sp_json_begin_array(writer, NULL, true);
        sp_json_put_whole(writer, NULL, curve[i].size);
        sp_json_put_whole(writer, NULL, curve[i].permille);
        sp_json_end_array(writer);
    }
    sp_json_end_array(writer);
}

static void write_array(struct sp_json_writer *writer, const char *key, const int64_t *numbers,
                        uint32_t count)
{
    if (!numbers)
        return;
    sp_json_begin_array(writer, key, true);
    for (uint32_t i = 0; i < count; i++)
        sp_json_put_whole(writer, NULL, numbers[i]);
    sp_json_end_array(writer);
}

static void write_field(struct sp_json_writer *writer, const struct plan_field *field,
                        const struct sp_plan *plan, const char *base)
{
    const void *source = base + field->offset;
    int number;
    switch (field->type) {
    case PLAN_WHOLE:
        sp_json_put_whole(writer, field->key, *(const int64_t *)source);
        break;
    case PLAN_REAL:
        sp_json_put_real(writer, field->key, *(const double *)source);
        break;
    case PLAN_FLAG:
        sp_json_put_bool(writer, field->key, *(const bool *)source);
        break;
    case PLAN_TEXT:
        sp_json_put_string(writer, field->key, source);
        break;
    case PLAN_CHOICE:
        memcpy(&number, source, sizeof number);
        sp_json_put_string(writer, field->key, field->names[number]);
        break;
    case PLAN_UNLESS:
        memcpy(&number, source, sizeof number);
        if (number)
            sp_json_put_string(writer, field->key, field->names[number]);
        break;
    case PLAN_LINK:
        write_link(writer, field->key, source);
        break;
    case PLAN_CURVE:
        memcpy(&number, base + field->more, sizeof number);
        write_curve(writer, field->key, source, number);
        break;
    case PLAN_ARRAY:
        write_array(writer, field->key, *(const int64_t *const *)source, plan->stage_count);
        break;
    }
}

void sp_plan_write_fields(struct sp_json_writer *writer, const char *key, const struct plan_field *fields,
                          const struct sp_plan *plan, const void *source)
{
    sp_json_begin_object(writer, key);
    for (size_t i = 0; fields[i].key; i++)
        write_field(writer, &fields[i], plan, source);
    sp_json_end_object(writer);
}
