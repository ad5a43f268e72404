/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_internal.h"

enum { LEVELS = 64, DIGITS = 17 /* tell any two doubles apart */ };

void sp_json_writer_init(struct sp_json_writer *writer, FILE *stream)
{
    *writer = (struct sp_json_writer){.stream = stream};
    writer->first[0] = writer->inline_array[0] = true;
}

static void new_line(struct sp_json_writer *writer)
{
    fprintf(writer->stream, "\n%*s", 2 * writer->depth, "");
}

static void put_quoted(struct sp_json_writer *writer, const char *text)
{
    fputc('"', writer->stream);
    sp_json_put_piece(writer, text, strlen(text));
    fputc('"', writer->stream);
}

/* What stands before a value: comma, line or blank, key. */
static void begin_value(struct sp_json_writer *writer, const char *key)
{
    int depth = writer->depth;
    if (!writer->first[depth])
        fputc(',', writer->stream);
    if (!writer->inline_array[depth])
        new_line(writer);
    else if (!writer->first[depth])
        fputc(' ', writer->stream);
    writer->first[depth] = false;
    if (key) {
        put_quoted(writer, key);
        fputs(": ", writer->stream);
    }
}

static void begin_container(struct sp_json_writer *writer, const char *key, char open, bool one_line)
{
    begin_value(writer, key);
    fputc(open, writer->stream);
    bool outer = writer->depth > 0 && writer->inline_array[writer->depth];
    writer->depth++;
    assert(writer->depth < LEVELS);
    writer->first[writer->depth] = true;
    writer->inline_array[writer->depth] = one_line || outer;
}

static void end_container(struct sp_json_writer *writer, char close)
{
    assert(writer->depth > 0);
    bool empty = writer->first[writer->depth], one_line = writer->inline_array[writer->depth];
    writer->depth--;
    if (!empty && !one_line)
        new_line(writer);
    fputc(close, writer->stream);
}

void sp_json_begin_object(struct sp_json_writer *writer, const char *key)
{
    begin_container(writer, key, '{', false);
}

void sp_json_begin_line_object(struct sp_json_writer *writer, const char *key)
{
    begin_container(writer, key, '{', true);
}

void sp_json_end_object(struct sp_json_writer *writer)
{
    end_container(writer, '}');
}

void sp_json_begin_array(struct sp_json_writer *writer, const char *key, bool one_line)
{
    begin_container(writer, key, '[', one_line);
}

void sp_json_end_array(struct sp_json_writer *writer)
{
    end_container(writer, ']');
}

void sp_json_put_whole(struct sp_json_writer *writer, const char *key, int64_t number)
{
    begin_value(writer, key);
    fprintf(writer->stream, "%" PRId64, number);
}

/*
 * The fewest digits that read back as number, and their exponent: 0.d₁d₂… × 10^exponent. Going through
 * digits keeps the locale's decimal point out.
 */
static int shortest_digits(double number, char digits[DIGITS + 1], int *ret_exponent)
{
    char text[40];
    for (int count = 1; count <= DIGITS; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, number);
        if (strtod(text, NULL) == number)
            break;
    }
    int count = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at;
    }
    *ret_exponent = atoi(at + 1) + 1;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    digits[count] = 0;
    return count;
}

/* As ECMAScript writes numbers: plain from 1e-7 to 1e21, else with an exponent. */
static void put_digits(FILE *stream, const char *digits, int count, int exponent)
{
    if (exponent > 21 || exponent <= -6) {
        fprintf(stream, "%c%s%se%d", digits[0], count > 1 ? "." : "", digits + 1, exponent - 1);
    } else if (exponent <= 0) {
        fprintf(stream, "0.%.*s%s", -exponent, "000000", digits);
    } else if (count <= exponent) {
        fprintf(stream, "%s%.*s", digits, exponent - count, "00000000000000000000");
    } else {
        fprintf(stream, "%.*s.%s", exponent, digits, digits + exponent);
    }
}

void sp_json_put_real(struct sp_json_writer *writer, const char *key, double number)
{
    if (!isfinite(number)) {
        sp_json_put_null(writer, key);
        return;
    }
    begin_value(writer, key);
    if (signbit(number))
        fputc('-', writer->stream);
    char digits[DIGITS + 1];
    int exponent, count = shortest_digits(fabs(number), digits, &exponent);
    if (number == 0)
        fputc('0', writer->stream);
    else
        put_digits(writer->stream, digits, count, exponent);
}

void sp_json_put_bool(struct sp_json_writer *writer, const char *key, bool flag)
{
    begin_value(writer, key);
    fputs(flag ? "true" : "false", writer->stream);
}

void sp_json_put_string(struct sp_json_writer *writer, const char *key, const char *text)
{
    begin_value(writer, key);
    put_quoted(writer, text);
}

void sp_json_put_null(struct sp_json_writer *writer, const char *key)
{
    begin_value(writer, key);
    fputs("null", writer->stream);
}

void sp_json_begin_string(struct sp_json_writer *writer, const char *key)
{
    begin_value(writer, key);
    fputc('"', writer->stream);
}

static void put_escaped(FILE *stream, unsigned char byte)
{
    const char *named = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (; *named; named += 2) {
        if ((unsigned char)named[0] == byte) {
            fprintf(stream, "\\%c", named[1]);
            return;
        }
    }
    fprintf(stream, "\\u%04x", byte);
}

/* Bytes at text that go out as they are; 0 where something else has to stand for the first. */
static size_t plain_size(const unsigned char *text, size_t left)
{
    if (text[0] >= 0x80)
        return sp_utf8_size(text, left);
    return text[0] >= 0x20 && text[0] != '"' && text[0] != '\\';
}

void sp_json_put_piece(struct sp_json_writer *writer, const char *text, size_t size)
{
    size_t plain = 0, i = 0;
    while (i < size) {
        unsigned char byte = (unsigned char)text[i];
        size_t step = plain_size((const unsigned char *)text + i, size - i);
        i += step;
        if (step > 0)
            continue;
        fwrite(text + plain, 1, i - plain, writer->stream);
        if (byte >= 0x80)
            fputs("\\ufffd", writer->stream); /* no UTF-8: the replacement character */
        else
            put_escaped(writer->stream, byte);
        plain = ++i;
    }
    fwrite(text + plain, 1, size - plain, writer->stream);
}

void sp_json_end_string(struct sp_json_writer *writer)
{
    fputc('"', writer->stream);
}

void sp_json_writer_finish(struct sp_json_writer *writer)
{
    assert(writer->depth == 0);
    fputc('\n', writer->stream);
}
