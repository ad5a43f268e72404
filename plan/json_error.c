/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places in messages. They are found by scanning the text again, and only when something is wrong.
 */
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "json_internal.h"

/* A path is cut at whole steps. */
static void add_step(char *path, size_t size, const char *step)
{
    size_t used = strlen(path);
    static const char cut[] = "...";
    if (used >= sizeof cut && strcmp(path + used - strlen(cut), cut) == 0)
        return;
    if (used + strlen(step) + sizeof cut > size)
        step = cut;
    memcpy(path + used, step, strlen(step) + 1);
}

static bool is_plain_key(const char *key, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = key[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return size > 0;
}

static void write_path(const struct json_scan *scan, char *path, size_t size)
{
    snprintf(path, size, "$");
    for (int i = 0; i < scan->depth; i++) {
        const struct json_frame *frame = &scan->frames[i];
        const char *key = scan->text + frame->key_begin;
        size_t key_size = frame->key_end - frame->key_begin;
        char step[96];
        int shown = key_size > 80 ? 80 : (int)key_size;
        if (frame->is_array)
            snprintf(step, sizeof step, "[%zu]", frame->index);
        else if (key_size == 0)
            continue;
        else if (is_plain_key(key, key_size))
            snprintf(step, sizeof step, ".%.*s", shown, key);
        else
            snprintf(step, sizeof step, "[\"%.*s\"]", shown, key);
        add_step(path, size, step);
    }
}

void sp_json_place(const struct json_scan *scan, const char *source, size_t at, struct sp_error *error)
{
    if (!error)
        return;
    snprintf(error->source, sizeof error->source, "%s", source);
    write_path(scan, error->path, sizeof error->path);
    error->line = error->column = 1;
    for (size_t i = 0; i < at; i++) {
        if (scan->text[i] == '\n') {
            error->line++;
            error->column = 1;
        } else if (((unsigned char)scan->text[i] & 0xc0) != 0x80) {
            error->column++; /* characters, not bytes */
        }
    }
}

static enum sp_status fail_at(const struct sp_json *json, const struct sp_json_value *value, size_t at,
                              struct sp_error *error, const char *message)
{
    sp_error_set(error, SP_INPUT, "%s", message);
    struct json_scan scan = {.text = json->text, .size = json->size, .stop = json_begin(value)};
    sp_json_scan(&scan);
    sp_json_place(&scan, json->source, at, error);
    return SP_INPUT;
}

enum sp_status sp_json_error(const struct sp_json *json, const struct sp_json_value *value,
                             struct sp_error *error, const char *format, ...)
{
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return fail_at(json, value, json_begin(value), error, message);
}

/* Bytes of text behind the escape at text, and of UTF-8 that it stands for. */
static size_t escape_size(const char *text, size_t *ret_decoded)
{
    *ret_decoded = 1;
    if (text[1] != 'u')
        return 2;
    unsigned unit = 0;
    sscanf(text + 2, "%4x", &unit);
    bool pair = unit >= 0xd800 && unit < 0xe000;
    *ret_decoded = pair ? 4 : unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
    return pair ? 12 : 6;
}

enum sp_status sp_json_error_at(const struct sp_json *json, const struct sp_json_value *value, size_t byte,
                                struct sp_error *error, const char *format, ...)
{
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t at = json_begin(value);
    if (sp_json_is_string(value)) {
        at++;
        for (size_t decoded = 0; decoded < byte && json->text[at] != '"';) {
            size_t step = 1, raw = 1;
            if (json->text[at] == '\\')
                raw = escape_size(json->text + at, &step);
            decoded += step;
            at += raw;
        }
    }
    return fail_at(json, value, at, error, message);
}
