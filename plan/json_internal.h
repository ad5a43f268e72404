/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a JSON document: the text, cJSON's tree of it, and for each value its place in the text.
 */
#ifndef SLIMPIPE_JSON_INTERNAL_H
#define SLIMPIPE_JSON_INTERNAL_H

#include <cjson/cJSON.h>

#include "slimpipe/json.h"

enum { JSON_DEPTH = 64, JSON_NUMBER_SIZE = 63 /* cJSON's buffer */ };

/*
 * cJSON's `valueint`, which nothing here reads as a number, holds the byte at which the value begins. A
 * struct sp_json_value is a cJSON item.
 */
struct sp_json {
    char source[256];
    char *text;
    size_t size; /* at most INT_MAX */
    cJSON *root;
};

static inline const cJSON *json_item(const struct sp_json_value *value)
{
    return (const cJSON *)value;
}

static inline size_t json_begin(const struct sp_json_value *value)
{
    return (size_t)json_item(value)->valueint;
}

/* A level of nesting while the text is scanned. */
struct json_frame {
    bool is_array;
    size_t index;              /* of the array's element */
    size_t key_begin, key_end; /* the member's key as it stands between its quotes */
};

/* The strict scanner. It checks the whole text, or runs up to the value that begins at `stop`. */
struct json_scan {
    const char *text;
    size_t size, at;
    size_t stop; /* SIZE_MAX: none */
    int depth;   /* open levels, so frames[0 … depth - 1] lead to `at` */
    struct json_frame frames[JSON_DEPTH];
    /* Where values begin, in the order of the text; kept where keep_begins is set, freed by the caller. */
    bool keep_begins;
    int *begins;
    size_t begin_count, begin_capacity;
    char message[128]; /* what is wrong at `at`; empty when stopped */
    bool out_of_memory;
};

/* True when the whole text is one valid JSON value. */
bool sp_json_scan(struct json_scan *scan);

/* Bytes of the valid UTF-8 sequence at text, which begins with a byte above 0x7f; 0 where there is none. */
size_t sp_utf8_size(const unsigned char *text, size_t left);

/* Fills *error's source, path, line and column for the scanner's position. */
void sp_json_place(const struct json_scan *scan, const char *source, size_t at, struct sp_error *error);

#endif
