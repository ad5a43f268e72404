/* SPDX-License-Identifier: Apache-2.0 */
/* From text to tree: our scanner checks, cJSON builds, one walk gives each value its place. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "json_internal.h"
#include "slimpipe/arena.h"
#include "slimpipe/file.h"

static void *allocate(size_t size)
{
    return sp_alloc(1, size);
}

static void set_hooks(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = allocate, .free_fn = sp_free});
}

static enum sp_status fail_scan(const struct json_scan *scan, const char *source, struct sp_error *error)
{
    if (scan->out_of_memory)
        return sp_error_set(error, SP_MEMORY, "out of memory while reading JSON");
    sp_error_set(error, SP_INPUT, "%s", scan->message);
    sp_json_place(scan, source, scan->at, error);
    return SP_INPUT;
}

static int compare_keys(const void *left, const void *right)
{
    const cJSON *a = *(const cJSON *const *)left, *b = *(const cJSON *const *)right;
    int order = strcmp(a->string, b->string);
    return order ? order : (a->valueint > b->valueint) - (a->valueint < b->valueint);
}

/* The first member of object whose key stood before, or NULL. Sorting keeps large objects cheap. */
static enum sp_status check_keys(const struct sp_json *json, const cJSON *object, struct sp_error *error)
{
    size_t count = sp_json_size((const struct sp_json_value *)object), i = 0;
    if (count < 2)
        return SP_OK;
    const cJSON **members = sp_alloc(count, sizeof *members);
    if (!members)
        return sp_error_set(error, SP_MEMORY, "out of memory while reading JSON");
    for (const cJSON *member = object->child; member; member = member->next)
        members[i++] = member;
    qsort(members, count, sizeof *members, compare_keys);
    const cJSON *duplicate = NULL;
    for (i = 1; i < count; i++) {
        bool same = strcmp(members[i - 1]->string, members[i]->string) == 0;
        if (same && (!duplicate || members[i]->valueint < duplicate->valueint))
            duplicate = members[i];
    }
    sp_free(members);
    if (!duplicate)
        return SP_OK;
    return sp_json_error(json, (const struct sp_json_value *)duplicate, error, "key given twice");
}

/* Walks in the order of the text and notes places, then checks what only the tree shows. */
static void note_places(cJSON *item, const int **begin)
{
    item->valueint = *(*begin)++;
    for (cJSON *child = item->child; child; child = child->next)
        note_places(child, begin);
}

static enum sp_status check_tree(const struct sp_json *json, const cJSON *item, struct sp_error *error)
{
    if (cJSON_IsNumber(item) && !isfinite(item->valuedouble))
        return sp_json_error(json, (const struct sp_json_value *)item, error,
                             "number too large for a double");
    if (cJSON_IsObject(item)) {
        enum sp_status status = check_keys(json, item, error);
        if (status)
            return status;
    }
    for (const cJSON *child = item->child; child; child = child->next) {
        enum sp_status status = check_tree(json, child, error);
        if (status)
            return status;
    }
    return SP_OK;
}

static enum sp_status build_tree(struct sp_json *json, struct sp_error *error)
{
    struct json_scan scan = {.text = json->text, .size = json->size, .stop = SIZE_MAX, .keep_begins = true};
    enum sp_status status = SP_OK;
    if (!sp_json_scan(&scan)) {
        status = fail_scan(&scan, json->source, error);
        goto out;
    }
    static once_flag hooks_set = ONCE_FLAG_INIT;
    call_once(&hooks_set, set_hooks);
    json->root = cJSON_ParseWithLength(json->text, json->size);
    if (!json->root) {
        status = sp_error_set(error, SP_MEMORY, "out of memory while reading JSON");
        goto out;
    }
    const int *begin = scan.begins;
    note_places(json->root, &begin);
    status = check_tree(json, json->root, error);
out:
    sp_free(scan.begins);
    return status;
}

/* Takes text over, also on failure. */
static enum sp_status adopt(char *text, size_t size, const char *source, struct sp_json **ret_json,
                            struct sp_error *error)
{
    struct sp_json *json = sp_alloc(1, sizeof *json);
    if (!json) {
        sp_free(text);
        return sp_error_set(error, SP_MEMORY, "out of memory while reading JSON");
    }
    json->text = text;
    json->size = size;
    snprintf(json->source, sizeof json->source, "%s", source);
    enum sp_status status = build_tree(json, error);
    if (status) {
        sp_json_destroy(json);
        return status;
    }
    *ret_json = json;
    return SP_OK;
}

enum sp_status sp_json_parse(const char *text, size_t size, const char *source, struct sp_json **ret_json,
                             struct sp_error *error)
{
    if (size > INT_MAX - 1)
        return sp_error_set(error, SP_INPUT, "JSON text of %zu bytes, at most %d are read", size,
                            INT_MAX - 1);
    char *copy = sp_alloc(size + 1, 1);
    if (!copy)
        return sp_error_set(error, SP_MEMORY, "out of memory while reading JSON");
    memcpy(copy, text, size);
    return adopt(copy, size, source, ret_json, error);
}

enum sp_status sp_json_read(const char *path, struct sp_json **ret_json, struct sp_error *error)
{
    char *text = NULL;
    size_t size = 0;
    enum sp_status status = sp_file_read(path, INT_MAX - 1, &text, &size, error);
    if (status)
        return status;
    return adopt(text, size, strcmp(path, "-") == 0 ? "standard input" : path, ret_json, error);
}

void sp_json_destroy(struct sp_json *json)
{
    if (!json)
        return;
    cJSON_Delete(json->root);
    sp_free(json->text);
    sp_free(json);
}
