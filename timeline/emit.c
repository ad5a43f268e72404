/* SPDX-License-Identifier: Apache-2.0 */
#include "emit.h"

#include <math.h>
#include <string.h>

void sp_emit_init(struct sp_emitter *emitter, FILE *stream)
{
    emitter->stream = stream;
    emitter->used = 0;
}

void sp_emit_flush(struct sp_emitter *emitter)
{
    fwrite(emitter->buffer, 1, emitter->used, emitter->stream);
    emitter->used = 0;
}

static void put(struct sp_emitter *emitter, const char *text, size_t size)
{
    if (size > sizeof emitter->buffer - emitter->used)
        sp_emit_flush(emitter);
    if (size > sizeof emitter->buffer) {
        fwrite(text, 1, size, emitter->stream);
        return;
    }
    memcpy(emitter->buffer + emitter->used, text, size);
    emitter->used += size;
}

void sp_emit_text(struct sp_emitter *emitter, const char *text)
{
    put(emitter, text, strlen(text));
}

/* Writes number backwards, ending before end, with a minus where asked; returns its first character. */
static char *digits(char *end, uint64_t number, int negative)
{
    do
        *--end = (char)('0' + number % 10);
    while (number /= 10);
    if (negative)
        *--end = '-';
    return end;
}

static uint64_t magnitude(int64_t number)
{
    return number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
}

void sp_emit_whole(struct sp_emitter *emitter, int64_t number)
{
    char text[24], *end = text + sizeof text;
    char *begin = digits(end, magnitude(number), number < 0);
    put(emitter, begin, (size_t)(end - begin));
}

/* number / 10^places without trailing zeros; places ≤ 3. */
static void put_fixed(struct sp_emitter *emitter, int64_t number, int places)
{
    char text[32], *end = text + sizeof text;
    uint64_t rest = magnitude(number);
    while (places > 0 && rest % 10 == 0) {
        rest /= 10;
        places--;
    }
    char *begin = end;
    for (int i = 0; i < places; i++, rest /= 10)
        *--begin = (char)('0' + rest % 10);
    if (places > 0)
        *--begin = '.';
    begin = digits(begin, rest, number < 0);
    put(emitter, begin, (size_t)(end - begin));
}

void sp_emit_micros(struct sp_emitter *emitter, int64_t ns)
{
    put_fixed(emitter, ns, 3);
}

void sp_emit_coordinate(struct sp_emitter *emitter, double number)
{
    put_fixed(emitter, llround(number * 100), 2);
}

void sp_emit_json(struct sp_emitter *emitter, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c < 0x20) {
            put(emitter, escape, sizeof escape);
            continue;
        }
        if (c == '"' || c == '\\')
            put(emitter, "\\", 1);
        put(emitter, text, 1);
    }
}

void sp_emit_xml(struct sp_emitter *emitter, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            put(emitter, "&lt;", 4);
            break;
        case '>':
            put(emitter, "&gt;", 4);
            break;
        case '&':
            put(emitter, "&amp;", 5);
            break;
        case '"':
            put(emitter, "&quot;", 6);
            break;
        default:
            /* XML 1.0 has no way to write the other control characters. */
            put(emitter, (unsigned char)*text < 0x20 ? " " : text, 1);
        }
    }
}
