/* SPDX-License-Identifier: Apache-2.0 */
/* Passes as text: `12F0.31`. */
#include <assert.h>
#include <stdint.h>

#include "tokens.h"

static const char letters[] = {
#define X(name, letter, text) letter,
    SP_PASS_LIST(X)
#undef X
};

char *sp_number_text(char *at, uint64_t number)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count)
        *at++ = digits[--count];
    return at;
}

char *sp_pass_text(const struct sp_pass *pass, uint32_t slice_count, char *text, size_t size)
{
    assert(size >= 32 && pass->kind < SP_PASS_KINDS);
    (void)size;
    char *at = sp_number_text(text, pass->stage);
    *at++ = letters[pass->kind];
    at = sp_number_text(at, pass->microbatch);
    if (slice_count > 1) {
        *at++ = '.';
        at = sp_number_text(at, pass->slice);
    }
    *at = 0;
    return text;
}

bool sp_number_parse(const char **cursor, uint64_t most, uint64_t *ret_number)
{
    const char *at = *cursor;
    if (*at < '0' || *at > '9' || (at[0] == '0' && at[1] >= '0' && at[1] <= '9'))
        return false;
    uint64_t number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (most - digit) / 10 || digit > most)
            return false;
        number = number * 10 + digit;
    }
    *cursor = at;
    *ret_number = number;
    return true;
}

static bool take_kind(const char **cursor, uint8_t *ret_kind)
{
    for (uint8_t kind = 0; kind < SP_PASS_KINDS; kind++) {
        if (letters[kind] == **cursor) {
            ++*cursor;
            *ret_kind = kind;
            return true;
        }
    }
    return false;
}

bool sp_pass_parse(const char **cursor, bool with_slice, struct sp_pass *ret_pass)
{
    const char *at = *cursor;
    uint64_t stage, microbatch, slice = 0;
    struct sp_pass pass = {0};
    if (!sp_number_parse(&at, SP_MAX_STAGES - 1, &stage) || !take_kind(&at, &pass.kind) ||
        !sp_number_parse(&at, SP_MAX_MICROBATCHES - 1, &microbatch))
        return false;
    if (with_slice) {
        if (*at++ != '.' || !sp_number_parse(&at, SP_MAX_SLICES - 1, &slice))
            return false;
    } else if (*at == '.') {
        return false;
    }
    pass.stage = (uint16_t)stage;
    pass.microbatch = (uint32_t)microbatch;
    pass.slice = (uint16_t)slice;
    *cursor = at;
    *ret_pass = pass;
    return true;
}
