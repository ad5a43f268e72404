/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/json.h"

static struct sp_json *parse(const char *text)
{
    struct sp_json *json = NULL;
    struct sp_error error;
    cr_assert_eq(sp_json_parse(text, strlen(text), "text", &json, &error), SP_OK, "%s: %s", text,
                 error.message);
    return json;
}

static void expect_refused(const char *text, size_t size, const char *expected)
{
    struct sp_json *json = NULL;
    struct sp_error error = {.status = SP_OK};
    char line[1400];
    cr_expect_eq(sp_json_parse(text, size, "text", &json, &error), SP_INPUT, "%s is accepted", text);
    cr_expect_null(json);
    cr_expect_str_eq(sp_error_text(&error, line, sizeof line), expected);
}

/* RFC 8259: what is in and what is out. Places are `line:column: path`. */
Test(json, accepts_what_the_standard_allows)
{
    static const char *const texts[] = {
        "null",
        " true ",
        "false\n",
        "0",
        "-0",
        "-0.0e+0",
        "1E5",
        "0.5",
        "1e-400",
        "\"\"",
        "[]",
        "{}",
        "\t[ 1 ,\r\n2 ]",
        "{\"\":{}}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
        "\"\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
        "123456789012345678901234567890123456789012345678901234567890123",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
        "]]]]"
        "]]]]]]]]]]]]]]]]]]]]]]]]",
        "{\"a\":1,\"A\":2,\"\\u0061b\":3}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sp_json_destroy(parse(texts[i]));
}

Test(json, refuses_the_rest_with_its_place)
{
    static const char *const pairs[][2] = {
        {"", "text:1:1: $: expected a value, found the end of the text"},
        {" \n ", "text:2:2: $: expected a value, found the end of the text"},
        {"{", "text:1:2: $: expected a key in quotes, found the end of the text"},
        {"{1:2}", "text:1:2: $: expected a key in quotes, found `1`"},
        {"{\"a\" 1}", "text:1:6: $.a: expected `:`, found `1`"},
        {"{\"a\":1,}", "text:1:8: $: expected a key in quotes, found `}`"},
        {"{\"a\":1 \"b\":2}", "text:1:8: $.a: expected `,` or `}`, found `\"`"},
        {"[1,]", "text:1:4: $[1]: expected a value, found `]`"},
        {"[1 2]", "text:1:4: $[0]: expected `,` or `]`, found `2`"},
        {"[1] []", "text:1:5: $: expected nothing behind the value, found `[`"},
        {"nul", "text:1:1: $: expected a value, found `n`"},
        {"True", "text:1:1: $: expected a value, found `T`"},
        {"'a'", "text:1:1: $: expected a value, found `'`"},
        {"NaN", "text:1:1: $: expected a value, found `N`"},
        {"01", "text:1:1: $: a number must not begin with needless zeros"},
        {"-01", "text:1:1: $: a number must not begin with needless zeros"},
        {"-", "text:1:2: $: expected a digit, found the end of the text"},
        {"+1", "text:1:1: $: expected a value, found `+`"},
        {".5", "text:1:1: $: expected a value, found `.`"},
        {"[1.]", "text:1:4: $[0]: expected a digit, found `]`"},
        {"1e", "text:1:3: $: expected a digit, found the end of the text"},
        {"0x10", "text:1:2: $: expected nothing behind the value, found `x`"},
        {"[0, -1e400]", "text:1:5: $[1]: number too large for a double"},
        {"\"a", "text:1:3: $: expected the string's closing quote, found the end of the text"},
        {"[\"a\nb\"]", "text:1:4: $[0]: expected an escape for a control character, found byte 0x0a"},
        {"\"\\x41\"", "text:1:3: $: expected an escape (one of \" \\ / b f n r t u), found `x`"},
        {"\"\\u12g4\"", "text:1:6: $: expected four hexadecimal digits, found `g`"},
        {"\"\\u12", "text:1:6: $: expected four hexadecimal digits, found the end of the text"},
        {"\"\\u0000\"", "text:1:2: $: a string must not hold U+0000"},
        {"\"\\ud800\"", "text:1:2: $: half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "text:1:2: $: half of a surrogate pair"},
        {"\"\\udc00\"", "text:1:2: $: half of a surrogate pair"},
        {"\"\xc3\"", "text:1:2: $: expected valid UTF-8, found byte 0xc3"},
        {"\"\x80\"", "text:1:2: $: expected valid UTF-8, found byte 0x80"},
        {"\"\xc0\xaf\"", "text:1:2: $: expected valid UTF-8, found byte 0xc0"},
        {"\"\xe0\x80\xaf\"", "text:1:2: $: expected valid UTF-8, found byte 0xe0"},
        {"\"\xed\xa0\x80\"", "text:1:2: $: expected valid UTF-8, found byte 0xed"},
        {"\"\xf4\x90\x80\x80\"", "text:1:2: $: expected valid UTF-8, found byte 0xf4"},
        {"\xef\xbb\xbf{}", "text:1:1: $: expected a value, found byte 0xef"},
        {"{\"a\":1,\n \"b\":{\"c\":[],\"\\u0063\":2}}", "text:2:23: $.b[\"\\u0063\"]: key given twice"},
        {"{\"é\":[1,{\"x y\":!}]}", "text:1:16: $[\"é\"][1][\"x y\"]: expected a value, found `!`"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        expect_refused(pairs[i][0], strlen(pairs[i][0]), pairs[i][1]);
    expect_refused("[1\0]", 4, "text:1:3: $[0]: expected `,` or `]`, found byte 0x00");
}

Test(json, depth_and_length_are_limited)
{
    char deep[200], number[100];
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    struct sp_json *json = NULL;
    struct sp_error error;
    cr_expect_eq(sp_json_parse(deep, 130, "text", &json, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "nested deeper than 64 levels");
    memset(number, '1', 64);
    cr_expect_eq(sp_json_parse(number, 64, "text", &json, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "a number must not be longer than 63 characters");
}

/* Strings are scanned eight bytes at a time: none may hide a byte from the rules. */
Test(json, every_byte_of_a_string_is_seen)
{
    enum { SIZE = 20 };
    for (size_t at = 1; at < SIZE - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[SIZE];
            struct sp_json *json = NULL;
            memset(text, 'x', sizeof text);
            text[at] = (char)byte;
            text[0] = text[SIZE - 1] = '"';
            bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            enum sp_status status = sp_json_parse(text, sizeof text, "text", &json, NULL);
            cr_assert_eq(status == SP_OK, plain, "byte 0x%02x at %zu", (unsigned)byte, at);
            sp_json_destroy(json);
        }
    }
}

/* Quadratic work would take minutes. */
Test(json, many_keys_are_compared_fast, .timeout = 20)
{
    enum { COUNT = 300000 };
    char *text = malloc(COUNT * 16 + 16), *at = text;
    struct sp_json *json = NULL;
    struct sp_error error;
    cr_assert_not_null(text);
    *at++ = '{';
    for (int i = 0; i < COUNT; i++)
        at += sprintf(at, "\"k%d\":%d,", i, i % 10);
    at += sprintf(at, "\"k77\":0}");
    cr_assert_eq(sp_json_parse(text, (size_t)(at - text), "text", &json, &error), SP_INPUT);
    cr_expect_str_eq(error.path, "$.k77");
    cr_expect_str_eq(error.message, "key given twice");
    free(text);
}

static const char *failed_whole(const struct sp_json *json, const char *key, int64_t least, int64_t most)
{
    static char line[1400];
    struct sp_error error;
    int64_t number = 42;
    cr_expect_eq(sp_json_get_whole(json, sp_json_root(json), key, least, most, &number, &error), SP_INPUT);
    cr_expect_eq(number, 42);
    return sp_error_text(&error, line, sizeof line);
}

Test(json, whole_numbers_are_exact)
{
    struct sp_json *json =
        parse("{\"a\": 9007199254740992, \"b\": -9007199254740992, \"c\": 9007199254740993,"
              " \"d\": 1.0, \"e\": 1e2, \"f\": \"1\", \"g\": 5,\n \"h\": -3}");
    const struct sp_json_value *root = sp_json_root(json);
    int64_t number;
    cr_expect_eq(sp_json_get_whole(json, root, "a", INT64_MIN, INT64_MAX, &number, NULL), SP_OK);
    cr_expect_eq(number, INT64_C(9007199254740992));
    cr_expect_eq(sp_json_get_whole(json, root, "b", INT64_MIN, INT64_MAX, &number, NULL), SP_OK);
    cr_expect_eq(number, -INT64_C(9007199254740992));
    cr_expect_str_eq(failed_whole(json, "c", 0, INT64_MAX),
                     "text:1:54: $.c: expected a whole number from 0 to 2^53, found 9007199254740993");
    cr_expect_str_eq(failed_whole(json, "d", 0, 9),
                     "text:1:77: $.d: expected a whole number from 0 to 9, found 1.0");
    cr_expect_str_eq(failed_whole(json, "e", 0, 999),
                     "text:1:87: $.e: expected a whole number from 0 to 999, found 1e2");
    cr_expect_str_eq(failed_whole(json, "f", 0, 9),
                     "text:1:97: $.f: expected a whole number from 0 to 9, found a string");
    cr_expect_str_eq(failed_whole(json, "g", 6, 9),
                     "text:1:107: $.g: expected a whole number from 6 to 9, found 5");
    cr_expect_str_eq(failed_whole(json, "h", 0, 9),
                     "text:2:7: $.h: expected a whole number from 0 to 9, found -3");
    cr_expect_str_eq(failed_whole(json, "i", 0, 9), "text:1:1: $: missing field \"i\"");
    sp_json_destroy(json);
}

Test(json, other_values_are_typed)
{
    struct sp_json *json =
        parse("{\"real\": 1e-5, \"flag\": true, \"text\": \"\\u00e9\", \"choice\": \"two\","
              " \"none\": null, \"list\": [1, [2]]}");
    const struct sp_json_value *root = sp_json_root(json), *list = sp_json_find(root, "list");
    static const char *const names[] = {"one", "two", NULL};
    struct sp_error error;
    double real = 0;
    bool flag = false;
    const char *text = NULL;
    int choice = 0;
    cr_expect_eq(sp_json_real(json, sp_json_find(root, "real"), 0, 1, &real, NULL), SP_OK);
    cr_expect_eq(real, 1e-5);
    cr_expect_eq(sp_json_real(json, sp_json_find(root, "real"), 1, 2, &real, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "expected a number from 1 to 2, found 1e-5");
    cr_expect_eq(sp_json_bool(json, sp_json_find(root, "flag"), &flag, NULL), SP_OK);
    cr_expect(flag);
    cr_expect_eq(sp_json_bool(json, root, &flag, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "expected true or false, found an object");
    cr_expect_eq(sp_json_get_string(json, root, "text", &text, NULL), SP_OK);
    cr_expect_str_eq(text, "é");
    cr_expect_eq(sp_json_get_choice(json, root, "choice", names, &choice, NULL), SP_OK);
    cr_expect_eq(choice, 1);
    cr_expect_eq(sp_json_get_choice(json, root, "text", names, &choice, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "expected one of \"one\", \"two\", found \"é\"");
    cr_expect_eq(sp_json_get_choice(json, root, "none", names, &choice, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "expected one of \"one\", \"two\", found null");
    cr_expect(sp_json_is_null(sp_json_find(root, "none")) && sp_json_is_array(list));
    cr_expect(!sp_json_is_object(list) && !sp_json_is_string(list) && !sp_json_is_number(list));
    cr_expect_eq(sp_json_size(list), 2);
    cr_expect_null(sp_json_key(sp_json_first(list)));
    cr_expect_str_eq(sp_json_key(list), "list");
    cr_expect_null(sp_json_next(list));
    cr_expect_null(sp_json_find(root, "List"));
    cr_expect_null(sp_json_find(list, "list"));
    cr_expect_eq(sp_json_size(root), 6);
    sp_json_destroy(json);
}

Test(json, unknown_fields_are_named)
{
    struct sp_json *json = parse("{\"a\": 1, \"c\": {\"x\": 1}}");
    static const char *const good[] = {"c", "a", NULL}, *const bad[] = {"a", "b", NULL};
    struct sp_error error;
    char line[1400];
    cr_expect_eq(sp_json_only(json, sp_json_root(json), good, &error), SP_OK);
    cr_expect_eq(sp_json_only(json, sp_json_root(json), bad, &error), SP_INPUT);
    cr_expect_str_eq(sp_error_text(&error, line, sizeof line),
                     "text:1:15: $.c: unknown field \"c\", expected one of \"a\", \"b\"");
    cr_expect_eq(sp_json_only(json, sp_json_find(sp_json_root(json), "a"), bad, &error), SP_INPUT);
    cr_expect_str_eq(error.message, "expected an object, found a number");
    sp_json_destroy(json);
}

/* Escapes take more text than they stand for. */
Test(json, places_inside_strings)
{
    struct sp_json *json = parse("[\"a\\n\\u00e9\\ud83d\\ude00é.b\"]");
    const struct sp_json_value *string = sp_json_first(sp_json_root(json));
    const char *text;
    struct sp_error error;
    cr_assert_eq(sp_json_string(json, string, &text, &error), SP_OK);
    sp_json_error_at(json, string, (size_t)(strchr(text, 'b') - text), &error, "here");
    cr_expect_eq(error.line, 1);
    cr_expect_eq(error.column, 26);
    cr_expect_str_eq(error.path, "$[0]");
    sp_json_error_at(json, string, 1000, &error, "behind the end");
    cr_expect_eq(error.column, 27);
    sp_json_destroy(json);
}

Test(json, long_paths_are_cut_at_a_step)
{
    char text[1000], *at = text;
    for (int i = 0; i < 20; i++)
        at += sprintf(at, "{\"a_rather_long_key_%02d\":", i);
    at += sprintf(at, "?");
    struct sp_json *json = NULL;
    struct sp_error error;
    cr_assert_eq(sp_json_parse(text, (size_t)(at - text), "text", &json, &error), SP_INPUT);
    cr_expect_lt(strlen(error.path), sizeof error.path);
    cr_expect_str_eq(error.path + strlen(error.path) - 9, "key_10...");
}

Test(json, failing_allocations_are_reported)
{
    static const char text[] = "{\"a\": [1, 2, {\"b\": \"c\"}], \"d\": {\"e\": null, \"f\": \"g\"}}";
    enum sp_status status = SP_MEMORY;
    for (int64_t n = 0; status != SP_OK; n++) {
        struct sp_json *json = NULL;
        struct sp_error error;
        sp_alloc_fail_after(n);
        status = sp_json_parse(text, strlen(text), "text", &json, &error);
        sp_alloc_fail_after(-1);
        cr_assert(status == SP_OK || (status == SP_MEMORY && !json));
        sp_json_destroy(json);
    }
}

static char *written(void (*write)(struct sp_json_writer *writer))
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct sp_json_writer writer;
    sp_json_writer_init(&writer, stream);
    write(&writer);
    sp_json_writer_finish(&writer);
    fclose(stream);
    return text;
}

static void write_all_shapes(struct sp_json_writer *writer)
{
    sp_json_begin_object(writer, NULL);
    sp_json_put_whole(writer, "whole", INT64_MIN);
    sp_json_put_bool(writer, "flag", false);
    sp_json_put_null(writer, "null");
    sp_json_put_string(writer, "te\"xt", "\"\\\b\f\n\r\t\x01é\xff\xc3");
    sp_json_begin_array(writer, "line", true);
    sp_json_put_whole(writer, NULL, 1);
    sp_json_begin_object(writer, NULL);
    sp_json_put_whole(writer, "a", 2);
    sp_json_put_whole(writer, "b", 3);
    sp_json_end_object(writer);
    sp_json_end_array(writer);
    sp_json_begin_array(writer, "lines", false);
    sp_json_begin_string(writer, NULL);
    sp_json_put_piece(writer, "0F0", 3);
    sp_json_put_piece(writer, "\n", 1);
    sp_json_end_string(writer);
    sp_json_begin_line_object(writer, NULL);
    sp_json_put_bool(writer, "x", true);
    sp_json_end_object(writer);
    sp_json_begin_array(writer, NULL, false);
    sp_json_end_array(writer);
    sp_json_end_array(writer);
    sp_json_begin_object(writer, "empty");
    sp_json_end_object(writer);
    sp_json_end_object(writer);
}

Test(json, the_writer_has_one_form)
{
    char *text = written(write_all_shapes);
    cr_expect_str_eq(text, "{\n"
                           "  \"whole\": -9223372036854775808,\n"
                           "  \"flag\": false,\n"
                           "  \"null\": null,\n"
                           "  \"te\\\"xt\": \"\\\"\\\\\\b\\f\\n\\r\\t\\u0001é\\ufffd\\ufffd\",\n"
                           "  \"line\": [1, {\"a\": 2, \"b\": 3}],\n"
                           "  \"lines\": [\n"
                           "    \"0F0\\n\",\n"
                           "    {\"x\": true},\n"
                           "    []\n"
                           "  ],\n"
                           "  \"empty\": {}\n"
                           "}\n");
    sp_json_destroy(parse(text));
    free(text);
}

static double current_real;

static void write_real(struct sp_json_writer *writer)
{
    sp_json_put_real(writer, NULL, current_real);
}

static void expect_real(double number, const char *expected)
{
    current_real = number;
    char *text = written(write_real);
    size_t size = strlen(expected);
    cr_expect(strncmp(text, expected, size) == 0 && text[size] == '\n', "%.17g is written %s", number, text);
    free(text);
}

Test(json, reals_are_written_as_short_as_can_be)
{
    expect_real(0, "0");
    expect_real(-0.0, "-0");
    expect_real(500000, "500000");
    expect_real(0.1, "0.1");
    expect_real(-1.5, "-1.5");
    expect_real(1e-5, "0.00001");
    expect_real(1e-6, "0.000001");
    expect_real(1e-7, "1e-7");
    expect_real(123456.789, "123456.789");
    expect_real(1.0 / 3, "0.3333333333333333");
    expect_real(0.1 + 0.2, "0.30000000000000004");
    expect_real(1e21, "1e21");
    expect_real(1e20, "100000000000000000000");
    expect_real(6.02214076e23, "6.02214076e23");
    expect_real(5e-324, "5e-324");
    expect_real(DBL_MAX, "1.7976931348623157e308");
    expect_real(DBL_MAX * 2, "null");
}

Test(json, reals_read_back_as_they_were)
{
    uint64_t state = 88172645463325252; /* xorshift64, Marsaglia 2003 */
    for (int i = 0; i < 20000; i++) {
        double number, read = 0;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(&number, &state, sizeof number);
        if (!(number >= -DBL_MAX && number <= DBL_MAX))
            continue;
        current_real = number;
        char *text = written(write_real);
        struct sp_json *json = parse(text);
        cr_assert_eq(sp_json_real(json, sp_json_root(json), -DBL_MAX, DBL_MAX, &read, NULL), SP_OK);
        cr_assert_eq(memcmp(&read, &number, sizeof read), 0, "%s", text);
        sp_json_destroy(json);
        free(text);
    }
}
