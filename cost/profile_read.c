/* SPDX-License-Identifier: Apache-2.0 */
/* A profile's JSON file; docs/costs.md describes it. */
#include <string.h>

#include "internal.h"
#include "slimpipe/json.h"

enum sp_status sp_format_check(const struct sp_json *json, const char *format, struct sp_error *error)
{
    const struct sp_json_value *root = sp_json_root(json);
    const char *text;
    int64_t version;
    enum sp_status status = sp_json_get_string(json, root, "format", &text, error);
    if (status == SP_OK && strcmp(text, format) != 0)
        return sp_json_error(json, sp_json_find(root, "format"), error,
                             "unknown format \"%.40s\": expected \"%s\"", text, format);
    return status == SP_OK ? sp_json_get_whole(json, root, "version", 1, 1, &version, error) : status;
}

/* One [size, permille] of a curve. */
static enum sp_status read_point(const struct sp_json *json, const struct sp_json_value *pair,
                                 const struct sp_efficiency *before, struct sp_efficiency *point,
                                 struct sp_error *error)
{
    if (!sp_json_is_array(pair) || sp_json_size(pair) != 2)
        return sp_json_error(json, pair, error, "expected [size, permille]");
    const struct sp_json_value *size = sp_json_first(pair);
    int64_t least = before ? before->size + 1 : 1;
    enum sp_status status = sp_json_whole(json, size, least, INT64_C(1) << 53, &point->size, error);
    return status == SP_OK ? sp_json_whole(json, sp_json_next(size), 1, 1000, &point->permille, error)
                           : status;
}

static enum sp_status read_curve(const struct sp_json *json, const char *key, struct sp_efficiency *curve,
                                 int *ret_points, struct sp_error *error)
{
    const struct sp_json_value *list;
    enum sp_status status = sp_json_get(json, sp_json_root(json), key, &list, error);
    if (status != SP_OK)
        return status;
    if (!sp_json_is_array(list) || sp_json_size(list) < 1 || sp_json_size(list) > SP_PROFILE_POINTS)
        return sp_json_error(json, list, error, "expected a list of 1 to %d pairs [size, permille]",
                             SP_PROFILE_POINTS);
    int points = 0;
    for (const struct sp_json_value *pair = sp_json_first(list); pair; pair = sp_json_next(pair)) {
        status = read_point(json, pair, points ? &curve[points - 1] : NULL, &curve[points], error);
        if (status != SP_OK)
            return status;
        points++;
    }
    *ret_points = points;
    return SP_OK;
}

static enum sp_status read_curves(const struct sp_json *json, struct sp_profile *profile,
                                  struct sp_error *error)
{
    enum sp_status status = read_curve(json, "matrix", profile->matrix, &profile->matrix_points, error);
    if (status == SP_OK)
        status = read_curve(json, "attention", profile->attention, &profile->attention_points, error);
    return status == SP_OK ? read_curve(json, "link", profile->link, &profile->link_points, error) : status;
}

static enum sp_status read_numbers(const struct sp_json *json, struct sp_profile *profile,
                                   struct sp_error *error)
{
    const struct {
        const char *key;
        int64_t least, most;
        int64_t *number;
    } fields[] = {
        {"launch_ns", 0, 1000000000, &profile->launch_ns},
        {"memory_permille", 1, 1000, &profile->memory_permille},
        {"tensor_overlap_permille", 0, 1000, &profile->tensor_overlap_permille},
        {"context_overlap_permille", 0, 1000, &profile->context_overlap_permille},
        {"expert_overlap_permille", 0, 1000, &profile->expert_overlap_permille},
        {"data_overlap_permille", 0, 1000, &profile->data_overlap_permille},
    };
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        enum sp_status status = sp_json_get_whole(json, sp_json_root(json), fields[i].key, fields[i].least,
                                                  fields[i].most, fields[i].number, error);
        if (status != SP_OK)
            return status;
    }
    return SP_OK;
}

static enum sp_status read_provenance(const struct sp_json *json, struct sp_profile *profile,
                                      struct sp_error *error)
{
    const char *text;
    enum sp_status status = sp_json_get_string(json, sp_json_root(json), "provenance", &text, error);
    if (status != SP_OK)
        return status;
    if (strlen(text) >= sizeof profile->provenance)
        return sp_json_error(json, sp_json_find(sp_json_root(json), "provenance"), error,
                             "expected at most %zu bytes (more fits in notes)",
                             sizeof profile->provenance - 1);
    strcpy(profile->provenance, text);
    return SP_OK;
}

static enum sp_status read_fields(const struct sp_json *json, struct sp_profile *profile,
                                  struct sp_error *error)
{
    static const char *const keys[] = {"format",
                                       "version",
                                       "provenance",
                                       "notes",
                                       "matrix",
                                       "attention",
                                       "link",
                                       "launch_ns",
                                       "memory_permille",
                                       "tensor_overlap_permille",
                                       "context_overlap_permille",
                                       "expert_overlap_permille",
                                       "data_overlap_permille",
                                       NULL};
    enum sp_status status = sp_format_check(json, "slimpipe-profile", error);
    if (status == SP_OK)
        status = sp_json_only(json, sp_json_root(json), keys, error);
    if (status == SP_OK)
        status = read_provenance(json, profile, error);
    if (status == SP_OK)
        status = read_curves(json, profile, error);
    return status == SP_OK ? read_numbers(json, profile, error) : status;
}

enum sp_status sp_profile_read(const char *name_or_path, struct sp_profile *ret_profile,
                               struct sp_error *error)
{
    char path[1024];
    enum sp_status status = sp_preset_find("profiles", name_or_path, path, sizeof path, error);
    struct sp_json *json = NULL;
    if (status == SP_OK)
        status = sp_json_read(path, &json, error);
    if (status != SP_OK)
        return status;
    struct sp_profile profile = {0};
    status = read_fields(json, &profile, error);
    sp_json_destroy(json);
    if (status != SP_OK)
        return status;
    sp_preset_name(path, profile.name);
    *ret_profile = profile;
    return SP_OK;
}
