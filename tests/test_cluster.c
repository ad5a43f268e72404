/* SPDX-License-Identifier: Apache-2.0 */
/* Cluster and profile files, and how presets are found. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "slimpipe/cluster.h"

struct row {
    char name[16];
    char profile[16];
    double tera_flops, giga_bytes; /* published */
};

ParameterizedTestParameters(cluster, presets_read)
{
    static struct row rows[] = {
        {"a100-80g", "a100", 312, 80}, {"a800", "a100", 312, 80},    {"h100", "h100", 989.4, 80},
        {"h800", "h100", 989.4, 80},   {"h200", "h100", 989.4, 141}, {"b200", "b200", 2250, 180},
    };
    return cr_make_param_array(struct row, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct row *row, cluster, presets_read)
{
    struct sp_cluster cluster;
    struct sp_profile profile;
    struct sp_error error;
    cr_assert_eq(sp_cluster_read(row->name, &cluster, &error), SP_OK, "%s", error.message);
    cr_assert_str_eq(cluster.name, row->name);
    cr_assert_str_eq(cluster.profile, row->profile);
    cr_assert_eq(cluster.gpus_per_node, 8);
    cr_assert_float_eq((double)cluster.matrix_flops, row->tera_flops * 1e12, 1);
    cr_assert(cluster.memory_bytes >= (int64_t)(row->giga_bytes * 1e9));
    cr_assert(cluster.memory_bytes < (int64_t)(row->giga_bytes * 1.08e9));
    cr_assert(cluster.intra_node.bytes_per_second > cluster.inter_node.bytes_per_second);
    cr_assert_eq(sp_profile_read(cluster.profile, &profile, &error), SP_OK, "%s", error.message);
    cr_assert(strstr(profile.provenance, "guessed"));
}

Test(cluster, ideal_is_free)
{
    struct sp_cluster cluster;
    struct sp_profile profile;
    cr_assert_eq(sp_cluster_read("ideal", &cluster, NULL), SP_OK);
    cr_assert_eq(cluster.memory_bytes, 0);
    cr_assert_eq(cluster.memory_bytes_per_second, 0);
    cr_assert_eq(cluster.inter_node.latency_ns, 0);
    cr_assert_eq(cluster.inter_node.bytes_per_second, 0);
    cr_assert_eq(sp_profile_read(cluster.profile, &profile, NULL), SP_OK);
    cr_assert_eq(profile.matrix[0].permille, 1000);
    cr_assert_eq(profile.tensor_overlap_permille, 1000);
}

static void write_file(const char *path, const char *text)
{
    FILE *stream = fopen(path, "w");
    cr_assert(stream);
    fputs(text, stream);
    fclose(stream);
}

static const char tiny[] =
    "{\"format\": \"slimpipe-cluster\", \"version\": 1, \"gpus_per_node\": 2, \"matrix_flops\": 5,"
    "\"memory_bytes\": 1, \"memory_bytes_per_second\": 1,"
    "\"intra_node\": {\"latency_ns\": 1, \"bytes_per_second\": 2},"
    "\"inter_node\": {\"latency_ns\": 3, \"bytes_per_second\": 4},"
    "\"host_link\": {\"latency_ns\": 5, \"bytes_per_second\": 6},"
    "\"gpus_per_host_link\": 2, \"host_memory_bytes\": 7, \"profile\": \"ideal\"}";

Test(cluster, environment_comes_first)
{
    char folder[] = "/tmp/slimpipe-presets-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/clusters", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/clusters/h100.json", folder);
    write_file(path, tiny);
    setenv("SLIMPIPE_PRESETS", folder, 1);
    struct sp_cluster own, other;
    struct sp_error error;
    cr_assert_eq(sp_cluster_read("h100", &own, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read("a800", &other, &error), SP_OK, "%s", error.message);
    cr_assert_eq(own.matrix_flops, 5);
    cr_assert_eq(own.host_link.bytes_per_second, 6);
    cr_assert_eq(other.gpus_per_node, 8);
    remove(path);
    snprintf(path, sizeof path, "%s/clusters", folder);
    remove(path);
    remove(folder);
}

struct change {
    char from[40], to[64];
    char expected[48];
};

/* Reads `text` with its first `from` replaced. */
static enum sp_status read_changed(const char *text, const struct change *change, bool profile,
                                   struct sp_error *error)
{
    char path[] = "/tmp/slimpipe-cluster-XXXXXX.json", changed[2048];
    const char *at = strstr(text, change->from);
    cr_assert(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, change->to,
             at + strlen(change->from));
    int handle = mkstemps(path, 5);
    cr_assert(handle >= 0);
    write_file(path, changed);
    struct sp_cluster cluster;
    struct sp_profile curves;
    enum sp_status status =
        profile ? sp_profile_read(path, &curves, error) : sp_cluster_read(path, &cluster, error);
    remove(path);
    return status;
}

ParameterizedTestParameters(cluster, refused)
{
    static struct change rows[] = {
        {"slimpipe-cluster", "slimpipe-plan", "slimpipe-cluster"},
        {"\"version\": 1", "\"version\": 2", "version"},
        {"\"gpus_per_node\": 2,", "", "gpus_per_node"},
        {"\"gpus_per_node\": 2", "\"gpus_per_node\": 0", "gpus_per_node"},
        {"\"matrix_flops\": 5", "\"matrix_flops\": 5.5", "matrix_flops"},
        {"\"latency_ns\": 3", "\"latency\": 3", "latency"},
        {"\"profile\"", "\"colour\": 1, \"profile\"", "colour"},
        {"\"latency_ns\": 5", "\"latency_ns\": -5", "latency_ns"},
    };
    return cr_make_param_array(struct change, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct change *row, cluster, refused)
{
    struct sp_error error;
    char line[1600];
    cr_assert_eq(read_changed(tiny, row, false, &error), SP_INPUT);
    cr_assert(strstr(sp_error_text(&error, line, sizeof line), row->expected), "%s", line);
}

static const char curves[] =
    "{\"format\": \"slimpipe-profile\", \"version\": 1, \"provenance\": \"made up\","
    "\"matrix\": [[1, 500], [64, 900]], \"attention\": [[1, 400]], \"link\": [[1, 1000]],"
    "\"launch_ns\": 0, \"memory_permille\": 800, \"tensor_overlap_permille\": 0,"
    "\"context_overlap_permille\": 0, \"expert_overlap_permille\": 0, \"data_overlap_permille\": 0}";

ParameterizedTestParameters(profile, refused)
{
    static struct change rows[] = {
        {"[64, 900]", "[1, 900]", "matrix"},
        {"[64, 900]", "[64, 1001]", "matrix[1]"},
        {"[64, 900]", "[64]", "[size, permille]"},
        {"[[1, 400]]", "[]", "attention"},
        {"\"launch_ns\": 0,", "", "launch_ns"},
        {"\"memory_permille\": 800", "\"memory_permille\": 0", "memory_permille"},
    };
    return cr_make_param_array(struct change, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct change *row, profile, refused)
{
    struct sp_error error;
    char line[1600];
    cr_assert_eq(read_changed(curves, row, true, &error), SP_INPUT);
    cr_assert(strstr(sp_error_text(&error, line, sizeof line), row->expected), "%s", line);
}

Test(profile, long_provenance_is_refused)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"format\": \"slimpipe-profile\", \"version\": 1, \"provenance\": \"%0200d\"%s", 0,
             strstr(curves, ",\"matrix\""));
    struct sp_error error;
    struct change nothing = {"{", "{", ""};
    cr_assert_eq(read_changed(text, &nothing, true, &error), SP_INPUT);
    cr_assert(strstr(error.message, "159"), "%s", error.message);
}
