/* SPDX-License-Identifier: Apache-2.0 */
/* From JSON to a plan. Rules between values are left to the checks, which then get their places here. */
#include <inttypes.h>
#include <string.h>

#include "plan_check.h"
#include "plan_fields.h"
#include "plan_place.h"
#include "plan_reader.h"

#define LARGEST (INT64_C(1) << 53)

static const char *const plan_keys[] = {"format", "version", "schedule", "parallel",   "workload", "slices",
                                        "model",  "cluster", "profile",  "pass_costs", "options",  "stages",
                                        "paths",  "order",   "exchange", NULL};

enum sp_status sp_plan_reader_out_of_memory(const struct plan_reader *reader)
{
    return sp_error_set(reader->error, SP_MEMORY, "out of memory while reading a plan");
}

enum sp_status sp_plan_reader_array(const struct plan_reader *reader, const struct sp_json_value *object,
                                    const char *key, const struct sp_json_value **ret_array)
{
    const struct sp_json_value *value = NULL;
    enum sp_status status = sp_json_get(reader->json, object, key, &value, reader->error);
    if (status)
        return status;
    if (!sp_json_is_array(value))
        return sp_json_error(reader->json, value, reader->error, "expected an array");
    *ret_array = value;
    return SP_OK;
}

/* Before anything else: a document of another kind is named, not picked apart. */
static enum sp_status read_header(const struct plan_reader *reader)
{
    const char *format;
    int64_t version;
    const struct sp_json_value *value = NULL;
    enum sp_status status = sp_json_get_string(reader->json, reader->root, "format", &format, reader->error);
    if (status)
        return status;
    value = sp_json_find(reader->root, "format");
    if (strcmp(format, "slimpipe-plan") != 0)
        return sp_json_error(reader->json, value, reader->error,
                             "expected the format \"slimpipe-plan\", found \"%.80s\"", format);
    status = sp_json_get_whole(reader->json, reader->root, "version", 0, LARGEST, &version, reader->error);
    if (status)
        return status;
    value = sp_json_find(reader->root, "version");
    if (version != SP_PLAN_VERSION)
        return sp_json_error(reader->json, value, reader->error,
                             "version %" PRId64 " of the format is not known, only %d is", version,
                             SP_PLAN_VERSION);
    return sp_json_only(reader->json, reader->root, plan_keys, reader->error);
}

static enum sp_status read_object(const struct plan_reader *reader, const char *key,
                                  const struct plan_field *fields, void *target)
{
    const struct sp_json_value *object;
    enum sp_status status = sp_json_get(reader->json, reader->root, key, &object, reader->error);
    if (status)
        return status;
    return sp_plan_read_fields(reader->json, object, fields, reader->plan, target, reader->error);
}

enum sp_status sp_plan_reader_name(const struct plan_reader *reader, const struct sp_json_value *object,
                                   const char *key, const char **ret_name)
{
    const char *name;
    enum sp_status status = sp_json_get_string(reader->json, object, key, &name, reader->error);
    if (status)
        return status;
    *ret_name = sp_arena_strdup(reader->plan->arena, name);
    return *ret_name ? SP_OK : sp_plan_reader_out_of_memory(reader);
}

static enum sp_status read_slices(const struct plan_reader *reader)
{
    const struct sp_json_value *value = NULL;
    size_t count;
    enum sp_status status = sp_plan_reader_array(reader, reader->root, "slices", &value);
    if (!status && sp_json_size(value) > SP_MAX_SLICES)
        status = sp_json_error(reader->json, value, reader->error, "expected 1 to %d slices, found %zu",
                               SP_MAX_SLICES, sp_json_size(value));
    if (!status)
        status = sp_plan_read_numbers(reader->json, value, LARGEST, reader->plan->arena,
                                      &reader->plan->slice_tokens, &count, reader->error);
    if (!status)
        reader->plan->slice_count = (uint32_t)count;
    return status;
}

/* Either model, cluster and profile, or pass_costs. */
static enum sp_status read_costs(const struct plan_reader *reader)
{
    struct sp_plan *plan = reader->plan;
    const struct sp_json_value *costs = sp_json_find(reader->root, "pass_costs");
    plan->has_model = !costs;
    if (costs) {
        static const char *const others[] = {"model", "cluster", "profile"};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            const struct sp_json_value *other = sp_json_find(reader->root, others[i]);
            if (other)
                return sp_json_error(reader->json, other, reader->error,
                                     "expected either pass_costs or model, cluster and profile");
        }
        struct sp_pass_costs *target = sp_arena_alloc(plan->arena, 1, sizeof *target);
        if (!target)
            return sp_plan_reader_out_of_memory(reader);
        plan->costs = target;
        return sp_plan_read_fields(reader->json, costs, sp_plan_cost_fields, plan, target, reader->error);
    }
    if (!sp_json_find(reader->root, "model"))
        return sp_json_error(reader->json, reader->root, reader->error,
                             "expected model, cluster and profile, or pass_costs");
    enum sp_status status = read_object(reader, "model", sp_plan_model_fields, &plan->model);
    if (!status)
        status = read_object(reader, "cluster", sp_plan_cluster_fields, &plan->cluster);
    if (!status)
        status = read_object(reader, "profile", sp_plan_profile_fields, &plan->profile);
    return status;
}

static enum sp_status read_document(struct plan_reader *reader)
{
    struct sp_plan *plan = reader->plan;
    plan->workload.sequence_tokens = 0; /* may be left out with pass costs */
    enum sp_status status = read_header(reader);
    if (!status)
        status = sp_plan_reader_name(reader, reader->root, "schedule", &plan->schedule);
    if (!status)
        status = read_object(reader, "parallel", sp_plan_parallel_fields, &plan->parallel);
    if (!status)
        status = read_object(reader, "workload", sp_plan_workload_fields, &plan->workload);
    if (!status)
        status = read_slices(reader);
    if (!status && sp_json_find(reader->root, "options"))
        status = read_object(reader, "options", sp_plan_option_fields, plan);
    if (!status)
        status = sp_plan_read_stages(reader);
    if (!status)
        status = read_costs(reader);
    if (!status)
        status = sp_plan_read_paths(reader);
    if (!status)
        status = sp_plan_read_order(reader);
    if (!status)
        status = sp_plan_read_exchange(reader);
    return status;
}

/* Destroys json. */
static enum sp_status read_plan(struct sp_json *json, struct sp_plan **ret_plan, struct sp_error *error)
{
    struct sp_error own; /* a check's message gets its place here, so there must be one */
    struct sp_plan_place place;
    struct sp_plan *plan = sp_plan_create();
    struct plan_reader reader = {.json = json, .root = sp_json_root(json), .plan = plan, .error = &own};
    enum sp_status status = plan ? read_document(&reader) : sp_plan_reader_out_of_memory(&reader);
    if (status)
        goto out;
    status = sp_plan_check_document(plan, reader.part_begin, &place, &own);
    if (status)
        sp_plan_locate(json, &place, &own);
out:
    sp_json_destroy(json);
    if (status) {
        sp_plan_destroy(plan);
        if (error)
            *error = own;
        return status;
    }
    *ret_plan = plan;
    return SP_OK;
}

enum sp_status sp_plan_read(const char *path, struct sp_plan **ret_plan, struct sp_error *error)
{
    struct sp_json *json;
    enum sp_status status = sp_json_read(path, &json, error);
    return status ? status : read_plan(json, ret_plan, error);
}

enum sp_status sp_plan_parse(const char *text, size_t size, const char *source, struct sp_plan **ret_plan,
                             struct sp_error *error)
{
    struct sp_json *json;
    enum sp_status status = sp_json_parse(text, size, source, &json, error);
    return status ? status : read_plan(json, ret_plan, error);
}
