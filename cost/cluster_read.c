/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster's JSON file; docs/costs.md describes it. */
#include <string.h>

#include "internal.h"
#include "slimpipe/json.h"

/* Whole numbers in JSON are exact up to 2^53. */
#define WHOLE_LIMIT (INT64_C(1) << 53)

static enum sp_status read_link(const struct sp_json *json, const char *key, struct sp_link *link,
                                struct sp_error *error)
{
    static const char *const keys[] = {"latency_ns", "bytes_per_second", NULL};
    const struct sp_json_value *object;
    enum sp_status status = sp_json_get(json, sp_json_root(json), key, &object, error);
    if (status == SP_OK)
        status = sp_json_only(json, object, keys, error);
    if (status == SP_OK)
        status = sp_json_get_whole(json, object, "latency_ns", 0, 1000000000, &link->latency_ns, error);
    if (status == SP_OK)
        status = sp_json_get_whole(json, object, "bytes_per_second", 0, WHOLE_LIMIT, &link->bytes_per_second,
                                   error);
    return status;
}

static enum sp_status read_numbers(const struct sp_json *json, struct sp_cluster *cluster,
                                   struct sp_error *error)
{
    const struct {
        const char *key;
        int64_t least, most;
        int64_t *number;
    } fields[] = {
        {"gpus_per_node", 1, 1 << 20, &cluster->gpus_per_node},
        {"matrix_flops", 1, WHOLE_LIMIT, &cluster->matrix_flops},
        {"memory_bytes", 0, WHOLE_LIMIT, &cluster->memory_bytes},
        {"memory_bytes_per_second", 0, WHOLE_LIMIT, &cluster->memory_bytes_per_second},
        {"gpus_per_host_link", 1, 1 << 20, &cluster->gpus_per_host_link},
        {"host_memory_bytes", 0, WHOLE_LIMIT, &cluster->host_memory_bytes},
    };
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        enum sp_status status = sp_json_get_whole(json, sp_json_root(json), fields[i].key, fields[i].least,
                                                  fields[i].most, fields[i].number, error);
        if (status != SP_OK)
            return status;
    }
    return SP_OK;
}

static enum sp_status read_profile_name(const struct sp_json *json, struct sp_cluster *cluster,
                                        struct sp_error *error)
{
    const char *text;
    enum sp_status status = sp_json_get_string(json, sp_json_root(json), "profile", &text, error);
    if (status != SP_OK)
        return status;
    if (strlen(text) >= sizeof cluster->profile)
        return sp_json_error(json, sp_json_find(sp_json_root(json), "profile"), error,
                             "expected a name of at most %zu bytes", sizeof cluster->profile - 1);
    strcpy(cluster->profile, text);
    return SP_OK;
}

static enum sp_status read_precision(const struct sp_json *json, struct sp_cluster *cluster,
                                     struct sp_error *error)
{
    const struct sp_json_value *value = sp_json_find(sp_json_root(json), "precision");
    int choice = SP_PRECISION_BF16;
    enum sp_status status = value ? sp_json_choice(json, value, sp_precision_names, &choice, error) : SP_OK;
    if (status == SP_OK)
        cluster->precision = (enum sp_precision)choice;
    return status;
}

static enum sp_status read_fields(const struct sp_json *json, struct sp_cluster *cluster,
                                  struct sp_error *error)
{
    static const char *const keys[] = {"format",
                                       "version",
                                       "source",
                                       "precision",
                                       "gpus_per_node",
                                       "matrix_flops",
                                       "memory_bytes",
                                       "memory_bytes_per_second",
                                       "intra_node",
                                       "inter_node",
                                       "host_link",
                                       "gpus_per_host_link",
                                       "host_memory_bytes",
                                       "profile",
                                       NULL};
    enum sp_status status = sp_format_check(json, "slimpipe-cluster", error);
    if (status == SP_OK)
        status = sp_json_only(json, sp_json_root(json), keys, error);
    if (status == SP_OK)
        status = read_numbers(json, cluster, error);
    if (status == SP_OK)
        status = read_precision(json, cluster, error);
    if (status == SP_OK)
        status = read_link(json, "intra_node", &cluster->intra_node, error);
    if (status == SP_OK)
        status = read_link(json, "inter_node", &cluster->inter_node, error);
    if (status == SP_OK)
        status = read_link(json, "host_link", &cluster->host_link, error);
    return status == SP_OK ? read_profile_name(json, cluster, error) : status;
}

enum sp_status sp_cluster_read(const char *name_or_path, struct sp_cluster *ret_cluster,
                               struct sp_error *error)
{
    char path[1024];
    enum sp_status status = sp_preset_find("clusters", name_or_path, path, sizeof path, error);
    struct sp_json *json = NULL;
    if (status == SP_OK)
        status = sp_json_read(path, &json, error);
    if (status != SP_OK)
        return status;
    struct sp_cluster cluster = {0};
    status = read_fields(json, &cluster, error);
    sp_json_destroy(json);
    if (status != SP_OK)
        return status;
    sp_preset_name(path, cluster.name);
    *ret_cluster = cluster;
    return SP_OK;
}
