/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a preset's file by name, and listing what there is. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "slimpipe/cluster.h"

enum { NAMES_LISTED = 64, NAME_SIZE = 64, PATH_SIZE = 1024, DIRECTORIES = 3 };

struct names {
    int count;
    char name[NAMES_LISTED][NAME_SIZE];
};

/* $SLIMPIPE_PRESETS, the installed directory, the source tree; NULL or empty where there is none. */
static void find_directories(const char *directories[DIRECTORIES])
{
    directories[0] = getenv("SLIMPIPE_PRESETS");
    directories[1] = SP_PRESETS_INSTALLED;
    directories[2] = SP_PRESETS_SOURCE;
}

static bool is_path(const char *name)
{
    const char *end = strrchr(name, '.');
    return strchr(name, '/') || (end && strcmp(end, ".json") == 0);
}

static void add_name(struct names *names, const char *file)
{
    size_t length = strlen(file);
    if (length <= 5 || strcmp(file + length - 5, ".json") != 0 || length - 5 >= NAME_SIZE ||
        names->count == NAMES_LISTED)
        return;
    char name[NAME_SIZE] = {0};
    memcpy(name, file, length - 5);
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->name[i], name) == 0)
            return;
    memcpy(names->name[names->count++], name, NAME_SIZE);
}

static void add_directory(struct names *names, const char *directory, const char *kind)
{
    char path[PATH_SIZE];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, kind) >= sizeof path)
        return;
    DIR *stream = opendir(path);
    if (!stream)
        return;
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream))
        add_name(names, entry->d_name);
    closedir(stream);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static enum sp_status unknown(const char *kind, const char *name, struct sp_error *error)
{
    const char *directories[DIRECTORIES];
    struct names names = {0};
    find_directories(directories);
    for (int i = 0; i < DIRECTORIES; i++)
        if (directories[i] && *directories[i])
            add_directory(&names, directories[i], kind);
    qsort(names.name, (size_t)names.count, NAME_SIZE, compare_names);
    char list[640] = "";
    size_t used = 0;
    for (int i = 0; i < names.count && used + NAME_SIZE + 2 < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names.name[i]);
    return sp_error_set(error, SP_INPUT, "no preset \"%.40s\" in %s: expected a file's path or one of %s",
                        name, kind, names.count ? list : "(no presets found; set SLIMPIPE_PRESETS)");
}

static enum sp_status copy_path(const char *path, char *ret_path, unsigned long size, struct sp_error *error)
{
    size_t length = strlen(path);
    if (length >= size)
        return sp_error_set(error, SP_INPUT, "the path \"%.60s…\" is longer than %lu bytes", path, size - 1);
    memcpy(ret_path, path, length + 1);
    return SP_OK;
}

enum sp_status sp_preset_find(const char *kind, const char *name_or_path, char *ret_path, unsigned long size,
                              struct sp_error *error)
{
    if (is_path(name_or_path))
        return copy_path(name_or_path, ret_path, size, error);
    const char *directories[DIRECTORIES];
    find_directories(directories);
    for (int i = 0; i < DIRECTORIES && *name_or_path; i++) {
        char path[PATH_SIZE];
        if (!directories[i] || !*directories[i])
            continue;
        int length = snprintf(path, sizeof path, "%s/%s/%s.json", directories[i], kind, name_or_path);
        if ((size_t)length < sizeof path && access(path, R_OK) == 0)
            return copy_path(path, ret_path, size, error);
    }
    return unknown(kind, name_or_path, error);
}

/* Published models are all called config.json: their folder has the name. */
void sp_preset_name(const char *path, char name[64])
{
    const char *end = path + strlen(path);
    if (end - path > 5 && strcmp(end - 5, ".json") == 0)
        end -= 5;
    const char *begin = end;
    while (begin > path && begin[-1] != '/')
        begin--;
    if (end - begin == 6 && strncmp(begin, "config", 6) == 0 && begin - path > 1) {
        end = begin - 1;
        for (begin = end; begin > path && begin[-1] != '/'; begin--)
            ;
    }
    size_t length = (size_t)(end - begin) < 63 ? (size_t)(end - begin) : 63;
    memcpy(name, begin, length);
    name[length] = 0;
}
