/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tokens.h"

static const char anchor_signs[] = {
    [SP_ANCHOR_DURING] = '@', [SP_ANCHOR_BEFORE] = '<', [SP_ANCHOR_AFTER] = '>', '\0'};

char *sp_part_text(const struct sp_exchange_part *part, uint32_t slice_count, char text[PART_TEXT_SIZE])
{
    sp_pass_text(&part->pass, slice_count, text, PART_TEXT_SIZE);
    char *at = text + strlen(text);
    *at++ = ':';
    at = sp_number_text(at, (uint64_t)part->token_begin);
    *at++ = '-';
    at = sp_number_text(at, (uint64_t)part->token_end);
    *at++ = anchor_signs[part->where];
    sp_pass_text(&part->anchor, slice_count, at, (size_t)(text + PART_TEXT_SIZE - at));
    return text;
}

static bool take_sign(const char **cursor, char sign)
{
    if (**cursor != sign)
        return false;
    ++*cursor;
    return true;
}

static bool take_anchor(const char **cursor, uint32_t *ret_where)
{
    for (uint32_t where = 0; anchor_signs[where]; where++) {
        if (take_sign(cursor, anchor_signs[where])) {
            *ret_where = where;
            return true;
        }
    }
    return false;
}

bool sp_part_parse(const char **cursor, bool with_slice, struct sp_exchange_part *ret_part)
{
    const char *at = *cursor;
    struct sp_exchange_part part = {.device = 0};
    uint64_t begin, end;
    if (!sp_pass_parse(&at, with_slice, &part.pass) || !take_sign(&at, ':') ||
        !sp_number_parse(&at, INT64_MAX, &begin) || !take_sign(&at, '-') ||
        !sp_number_parse(&at, INT64_MAX, &end) || !take_anchor(&at, &part.where) ||
        !sp_pass_parse(&at, with_slice, &part.anchor))
        return false;
    part.token_begin = (int64_t)begin;
    part.token_end = (int64_t)end;
    *cursor = at;
    *ret_part = part;
    return true;
}
