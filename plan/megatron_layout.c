/* SPDX-License-Identifier: Apache-2.0 */
/* Megatron's pipeline layout, read letter by letter; repeats are counted, not unrolled. */
#include <string.h>

#include "slimpipe/interchange.h"
#include "tokens.h"

struct layout {
    const char *text;
    uint32_t *layers; /* of SP_MAX_STAGES stages */
    uint32_t count;
    bool ended; /* the L was there */
    struct sp_error *error;
};

static enum sp_status fail(const struct layout *layout, const char *at, const char *what)
{
    return sp_error_set(layout->error, SP_INPUT, "layout '%.60s', character %d: %s", layout->text,
                        (int)(at - layout->text) + 1, what);
}

static enum sp_status put_layers(struct layout *layout, const char *at, uint64_t times)
{
    uint32_t *stage = &layout->layers[layout->count - 1];

    if (times > UINT16_MAX - *stage)
        return fail(layout, at, "expected at most 65535 layers in a stage");
    *stage += (uint32_t)times;
    return SP_OK;
}

static enum sp_status put_stages(struct layout *layout, const char *at, uint64_t times)
{
    if (times > SP_MAX_STAGES - layout->count)
        return fail(layout, at, "expected at most 16384 stages");
    layout->count += (uint32_t)times;
    return SP_OK;
}

/* One letter, so many times. */
static enum sp_status put(struct layout *layout, const char *at, uint64_t times)
{
    if (layout->ended)
        return fail(layout, at, "nothing may follow the output layer, L");
    switch (*at) {
    case 't':
        return put_layers(layout, at, times);
    case '|':
        return put_stages(layout, at, times);
    case 'E':
        if (at != layout->text || times != 1)
            return fail(layout, at, "expected the embedding, E, once and first");
        return SP_OK;
    case 'L':
        layout->ended = true;
        return times == 1 ? SP_OK : fail(layout, at, "expected the output layer, L, once");
    case 'm':
        return fail(layout, at, "layers that predict further tokens, m, are not supported");
    default:
        return fail(layout, at, "expected E, t, L, |, * or a group in parentheses");
    }
}

/* `*n` at the cursor, else 1. */
static enum sp_status take_times(const struct layout *layout, const char **cursor, uint64_t *ret_times)
{
    *ret_times = 1;
    if (**cursor != '*')
        return SP_OK;
    ++*cursor;
    if (!sp_number_parse(cursor, UINT16_MAX, ret_times))
        return fail(layout, *cursor, "expected a number of repeats, 0 to 65535");
    return SP_OK;
}

/* Letters of [begin, end), which has no parentheses. */
static enum sp_status put_letters(struct layout *layout, const char *begin, const char *end)
{
    enum sp_status status = SP_OK;

    for (const char *cursor = begin; cursor < end && !status;) {
        const char *letter = cursor++;
        uint64_t times;
        if (*letter == ',')
            continue;
        if (!(status = take_times(layout, &cursor, &times)))
            status = put(layout, letter, times);
    }
    return status;
}

static enum sp_status put_group(struct layout *layout, const char **cursor)
{
    const char *begin = *cursor + 1, *end = begin + strcspn(begin, "()");
    enum sp_status status;
    uint64_t times;

    if (*end != ')')
        return fail(layout, *cursor, "expected a group that ends with ) and has no other in it");
    *cursor = end + 1;
    if ((status = take_times(layout, cursor, &times)))
        return status;
    for (uint64_t i = 0; i < times && !status; i++)
        status = put_letters(layout, begin, end);
    return status;
}

static enum sp_status parse(struct layout *layout)
{
    enum sp_status status = SP_OK;

    if (*layout->text != 'E')
        return fail(layout, layout->text, "expected the embedding, E, first");
    for (const char *cursor = layout->text; *cursor && !status;) {
        size_t length = strcspn(cursor, "(");
        if ((status = put_letters(layout, cursor, cursor + length)))
            break;
        cursor += length;
        if (*cursor == '(')
            status = put_group(layout, &cursor);
    }
    if (!status && !layout->ended)
        return fail(layout, layout->text + strlen(layout->text), "expected the output layer, L, last");
    return status;
}

enum sp_status sp_megatron_layout_parse(const char *text, uint32_t *ret_count, uint32_t **ret_layers,
                                        struct sp_error *error)
{
    struct layout layout = {.text = text, .count = 1, .error = error};
    enum sp_status status;

    if (!(layout.layers = sp_alloc(SP_MAX_STAGES, sizeof(*layout.layers))))
        return sp_error_set(error, SP_MEMORY, "no memory for a layout");
    if ((status = parse(&layout))) {
        sp_free(layout.layers);
        return status;
    }
    *ret_count = layout.count;
    *ret_layers = layout.layers;
    return SP_OK;
}
