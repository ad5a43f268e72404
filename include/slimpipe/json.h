/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON in, canonical JSON out.
 *
 * The reader accepts RFC 8259 and nothing else (cJSON alone is laxer): no duplicate keys, no leading zeros,
 * no raw control characters, valid UTF-8, one value, at most 64 levels; a string holds neither U+0000 nor
 * half a surrogate pair, a number is at most 63 characters long. Keys are case-sensitive. Errors of syntax
 * and of meaning carry file, line, column and the JSON path. Getters check type and range and write the
 * message themselves.
 */
#ifndef SLIMPIPE_JSON_H
#define SLIMPIPE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "slimpipe/status.h"

struct sp_json;       /* a document: text, tree and places */
struct sp_json_value; /* a value inside it; owned by the document */

/* Parses text (copied). source names it in messages. */
enum sp_status sp_json_parse(const char *text, size_t size, const char *source, struct sp_json **ret_json,
                             struct sp_error *error) SP_MUST_CHECK;
/* Reads and parses a file, `-` for standard input. */
enum sp_status sp_json_read(const char *path, struct sp_json **ret_json,
                            struct sp_error *error) SP_MUST_CHECK;
void sp_json_destroy(struct sp_json *json);

const struct sp_json_value *sp_json_root(const struct sp_json *json);

/*
 * Sets *error to a message about value, with its place. For checks of meaning that no getter makes.
 */
enum sp_status sp_json_error(const struct sp_json *json, const struct sp_json_value *value,
                             struct sp_error *error, const char *format, ...) SP_PRINTF(4, 5);
/* The same, with the place of byte `byte` of a string's text. */
enum sp_status sp_json_error_at(const struct sp_json *json, const struct sp_json_value *value, size_t byte,
                                struct sp_error *error, const char *format, ...) SP_PRINTF(5, 6);

/* True for the JSON type asked. */
bool sp_json_is_object(const struct sp_json_value *value);
bool sp_json_is_array(const struct sp_json_value *value);
bool sp_json_is_string(const struct sp_json_value *value);
bool sp_json_is_number(const struct sp_json_value *value);
bool sp_json_is_null(const struct sp_json_value *value);

/* Member `key` of an object, or NULL when object is no object or has no such key. */
const struct sp_json_value *sp_json_find(const struct sp_json_value *object, const char *key);
/* Member `key`; SP_INPUT naming the field when object is no object or has no such member. */
enum sp_status sp_json_get(const struct sp_json *json, const struct sp_json_value *object, const char *key,
                           const struct sp_json_value **ret_value, struct sp_error *error) SP_MUST_CHECK;
/* SP_INPUT naming the first key of object that is not in the NULL-terminated list. */
enum sp_status sp_json_only(const struct sp_json *json, const struct sp_json_value *object,
                            const char *const keys[], struct sp_error *error) SP_MUST_CHECK;

/* First child of an array or object and the next sibling; NULL at the end. */
const struct sp_json_value *sp_json_first(const struct sp_json_value *container);
const struct sp_json_value *sp_json_next(const struct sp_json_value *value);
/* Key of an object's member; NULL for an array's element. */
const char *sp_json_key(const struct sp_json_value *value);
size_t sp_json_size(const struct sp_json_value *container);

/* Typed values. Whole numbers are exact: |x| ≤ 2^53, written without fraction or exponent. */
enum sp_status sp_json_whole(const struct sp_json *json, const struct sp_json_value *value, int64_t least,
                             int64_t most, int64_t *ret_number, struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_json_real(const struct sp_json *json, const struct sp_json_value *value, double least,
                            double most, double *ret_number, struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_json_bool(const struct sp_json *json, const struct sp_json_value *value, bool *ret_flag,
                            struct sp_error *error) SP_MUST_CHECK;
/* The text lives as long as the document. */
enum sp_status sp_json_string(const struct sp_json *json, const struct sp_json_value *value,
                              const char **ret_text, struct sp_error *error) SP_MUST_CHECK;
/* Index of the string in the NULL-terminated names; SP_INPUT lists them when it is none of them. */
enum sp_status sp_json_choice(const struct sp_json *json, const struct sp_json_value *value,
                              const char *const names[], int *ret_index,
                              struct sp_error *error) SP_MUST_CHECK;

/* get + typed value in one call, for a required member. */
enum sp_status sp_json_get_whole(const struct sp_json *json, const struct sp_json_value *object,
                                 const char *key, int64_t least, int64_t most, int64_t *ret_number,
                                 struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_json_get_string(const struct sp_json *json, const struct sp_json_value *object,
                                  const char *key, const char **ret_text,
                                  struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_json_get_choice(const struct sp_json *json, const struct sp_json_value *object,
                                  const char *key, const char *const names[], int *ret_index,
                                  struct sp_error *error) SP_MUST_CHECK;

/*
 * The canonical writer: two-space indent, keys in the order written, arrays of numbers on one line, numbers
 * without locale. Errors of the stream are found by sp_file_commit. A key is NULL inside an array.
 */
struct sp_json_writer {
    FILE *stream;
    int depth;
    bool first[64];
    bool inline_array[64];
};

void sp_json_writer_init(struct sp_json_writer *writer, FILE *stream);
void sp_json_begin_object(struct sp_json_writer *writer, const char *key);
/* An object on one line. */
void sp_json_begin_line_object(struct sp_json_writer *writer, const char *key);
void sp_json_end_object(struct sp_json_writer *writer);
/*
 * An array on one line (for numbers and short values) or with one element a line. What stands inside a
 * container on one line is on that line too.
 */
void sp_json_begin_array(struct sp_json_writer *writer, const char *key, bool one_line);
void sp_json_end_array(struct sp_json_writer *writer);
void sp_json_put_whole(struct sp_json_writer *writer, const char *key, int64_t number);
/* Shortest text that reads back as the same double; null for NaN and infinities. */
void sp_json_put_real(struct sp_json_writer *writer, const char *key, double number);
void sp_json_put_bool(struct sp_json_writer *writer, const char *key, bool flag);
void sp_json_put_string(struct sp_json_writer *writer, const char *key, const char *text);
void sp_json_put_null(struct sp_json_writer *writer, const char *key);
/*
 * A string written in pieces of whole characters, each escaped as needed: begin, any number of pieces, end.
 * What is no UTF-8 becomes U+FFFD.
 */
void sp_json_begin_string(struct sp_json_writer *writer, const char *key);
void sp_json_put_piece(struct sp_json_writer *writer, const char *text, size_t size);
void sp_json_end_string(struct sp_json_writer *writer);
/* A newline after the last value. */
void sp_json_writer_finish(struct sp_json_writer *writer);

#endif
