/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 8259 to the letter, in one pass: what cJSON would let through is refused here, with its place. Beyond
 * the letter, a string cannot hold U+0000 (it would end a C string) or half a surrogate pair.
 */
#include <stdint.h>
#include <string.h>

#include "json_internal.h"
#include "slimpipe/arena.h"

static int peek(const struct json_scan *scan)
{
    return scan->at < scan->size ? (unsigned char)scan->text[scan->at] : -1;
}

static bool refuse(struct json_scan *scan, const char *message)
{
    snprintf(scan->message, sizeof scan->message, "%s", message);
    return false;
}

static bool expected(struct json_scan *scan, const char *what)
{
    int byte = peek(scan);
    size_t size = sizeof scan->message;
    if (byte < 0)
        snprintf(scan->message, size, "expected %s, found the end of the text", what);
    else if (byte > 0x20 && byte < 0x7f)
        snprintf(scan->message, size, "expected %s, found `%c`", what, byte);
    else
        snprintf(scan->message, size, "expected %s, found byte 0x%02x", what, (unsigned)byte);
    return false;
}

static void skip_blanks(struct json_scan *scan)
{
    int byte = peek(scan);
    while (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t') {
        scan->at++;
        byte = peek(scan);
    }
}

static bool is_digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

static bool scan_digits(struct json_scan *scan)
{
    if (!is_digit(peek(scan)))
        return expected(scan, "a digit");
    while (is_digit(peek(scan)))
        scan->at++;
    return true;
}

static bool scan_number(struct json_scan *scan)
{
    size_t begin = scan->at;
    if (peek(scan) == '-')
        scan->at++;
    bool zero = peek(scan) == '0';
    size_t digits = scan->at;
    if (!scan_digits(scan))
        return false;
    if (zero && scan->at > digits + 1) {
        scan->at = begin;
        return refuse(scan, "a number must not begin with needless zeros");
    }
    if (peek(scan) == '.') {
        scan->at++;
        if (!scan_digits(scan))
            return false;
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-')
            scan->at++;
        if (!scan_digits(scan))
            return false;
    }
    if (scan->at - begin > JSON_NUMBER_SIZE) {
        scan->at = begin;
        return refuse(scan, "a number must not be longer than 63 characters");
    }
    return true;
}

/* Four hexadecimal digits behind a `\u`; -1 where they are not. */
static int hex_unit(struct json_scan *scan)
{
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        int byte = peek(scan);
        const char *digits = "0123456789abcdef";
        const char *digit = byte > 0 ? strchr(digits, byte | 0x20) : NULL;
        if (!digit || (byte < '0')) {
            expected(scan, "four hexadecimal digits");
            return -1;
        }
        unit = unit * 16 + (int)(digit - digits);
        scan->at++;
    }
    return unit;
}

static bool scan_unicode_escape(struct json_scan *scan)
{
    size_t begin = scan->at - 2;
    int unit = hex_unit(scan);
    if (unit < 0)
        return false;
    if (unit == 0) {
        scan->at = begin;
        return refuse(scan, "a string must not hold U+0000");
    }
    bool high = unit >= 0xd800 && unit < 0xdc00;
    bool paired = false;
    if (high && scan->size - scan->at > 2 && memcmp(scan->text + scan->at, "\\u", 2) == 0) {
        scan->at += 2;
        int low = hex_unit(scan);
        if (low < 0)
            return false;
        paired = low >= 0xdc00 && low < 0xe000;
    }
    if ((high && !paired) || (unit >= 0xdc00 && unit < 0xe000)) {
        scan->at = begin;
        return refuse(scan, "half of a surrogate pair");
    }
    return true;
}

static bool scan_escape(struct json_scan *scan)
{
    scan->at++;
    int byte = peek(scan);
    if (byte <= 0 || !strchr("\"\\/bfnrtu", byte))
        return expected(scan, "an escape (one of \" \\ / b f n r t u)");
    scan->at++;
    return byte != 'u' || scan_unicode_escape(scan);
}

size_t sp_utf8_size(const unsigned char *text, size_t left)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high, size;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (text[0] < forms[i].first_low || text[0] > forms[i].first_high)
            continue;
        size_t size = forms[i].size;
        if (left < size || text[1] < forms[i].second_low || text[1] > forms[i].second_high)
            return 0;
        for (size_t j = 2; j < size; j++) {
            if ((text[j] & 0xc0) != 0x80)
                return 0;
        }
        return size;
    }
    return 0;
}

/*
 * True when one of eight bytes ends a run of plain characters (a quote, a backslash, below 0x20, above 0x7f);
 * a carry between bytes can also make it true needlessly.
 */
static bool ends_run(const unsigned char *text)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
    uint64_t bytes;
    memcpy(&bytes, text, sizeof bytes);
    uint64_t quote = bytes ^ (ones * '"'), backslash = bytes ^ (ones * '\\');
    uint64_t zeros = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
    return ((zeros | (bytes - ones * 0x20) | bytes) & tops) != 0;
}

static bool scan_string(struct json_scan *scan)
{
    scan->at++;
    for (;;) {
        const unsigned char *text = (const unsigned char *)scan->text;
        size_t at = scan->at;
        while (scan->size - at >= sizeof(uint64_t) && !ends_run(text + at))
            at += sizeof(uint64_t);
        while (at < scan->size && text[at] >= 0x20 && text[at] < 0x80 && text[at] != '"' && text[at] != '\\')
            at++;
        scan->at = at;
        if (at == scan->size)
            return expected(scan, "the string's closing quote");
        if (text[at] == '"') {
            scan->at++;
            return true;
        }
        if (text[at] == '\\') {
            if (!scan_escape(scan))
                return false;
        } else if (text[at] < 0x20) {
            return expected(scan, "an escape for a control character");
        } else {
            size_t size = sp_utf8_size(text + at, scan->size - at);
            if (size == 0)
                return expected(scan, "valid UTF-8");
            scan->at += size;
        }
    }
}

static bool scan_word(struct json_scan *scan, const char *word)
{
    size_t size = strlen(word);
    if (scan->size - scan->at < size || memcmp(scan->text + scan->at, word, size) != 0)
        return expected(scan, "a value");
    scan->at += size;
    return true;
}

static bool note_begin(struct json_scan *scan)
{
    if (!scan->keep_begins)
        return true;
    if (scan->begin_count == scan->begin_capacity) {
        size_t capacity = scan->begin_capacity ? 2 * scan->begin_capacity : 64;
        int *begins = sp_realloc(scan->begins, capacity, sizeof *begins);
        if (!begins) {
            scan->out_of_memory = true;
            return false;
        }
        scan->begins = begins;
        scan->begin_capacity = capacity;
    }
    scan->begins[scan->begin_count++] = (int)scan->at;
    return true;
}

static bool scan_value(struct json_scan *scan);

static bool scan_member(struct json_scan *scan, struct json_frame *frame)
{
    if (peek(scan) != '"')
        return expected(scan, "a key in quotes");
    frame->key_begin = frame->key_end = scan->at + 1;
    if (!scan_string(scan))
        return false;
    frame->key_end = scan->at - 1;
    skip_blanks(scan);
    if (peek(scan) != ':')
        return expected(scan, "`:`");
    scan->at++;
    return scan_value(scan);
}

static bool scan_container(struct json_scan *scan, char close)
{
    if (scan->depth == JSON_DEPTH)
        return refuse(scan, "nested deeper than 64 levels");
    struct json_frame *frame = &scan->frames[scan->depth++];
    *frame = (struct json_frame){.is_array = close == ']'};
    scan->at++;
    skip_blanks(scan);
    if (peek(scan) == close) {
        scan->at++;
        scan->depth--;
        return true;
    }
    for (;;) {
        skip_blanks(scan);
        if (!(frame->is_array ? scan_value(scan) : scan_member(scan, frame)))
            return false;
        skip_blanks(scan);
        if (peek(scan) == close)
            break;
        if (peek(scan) != ',')
            return expected(scan, frame->is_array ? "`,` or `]`" : "`,` or `}`");
        scan->at++;
        frame->index++;
        frame->key_begin = frame->key_end = 0; /* the next key is not known yet */
    }
    scan->at++;
    scan->depth--;
    return true;
}

static bool scan_value(struct json_scan *scan)
{
    skip_blanks(scan);
    if (scan->at == scan->stop || !note_begin(scan))
        return false;
    switch (peek(scan)) {
    case '{':
        return scan_container(scan, '}');
    case '[':
        return scan_container(scan, ']');
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        if (peek(scan) == '-' || is_digit(peek(scan)))
            return scan_number(scan);
        return expected(scan, "a value");
    }
}

bool sp_json_scan(struct json_scan *scan)
{
    if (!scan_value(scan))
        return false;
    skip_blanks(scan);
    return scan->at == scan->size || expected(scan, "nothing behind the value");
}
