/* SPDX-License-Identifier: Apache-2.0 */
/* The strings of tokens: the order of passes and the parts of the exchange. */
#include <string.h>

#include "plan_reader.h"
#include "tokens.h"

static const char *skip_blanks(const char *at)
{
    while (*at == ' ')
        at++;
    return at;
}

/* Passes of an order string: tokens, and one more for each joined pair. */
static uint64_t count_passes(const char *text)
{
    uint64_t count = 0;
    for (char before = ' '; *text; before = *text++)
        count += (before == ' ' && *text != ' ') || *text == ';';
    return count;
}

static uint64_t count_tokens(const char *text)
{
    uint64_t count = 0;
    for (char before = ' '; *text; before = *text++)
        count += before == ' ' && *text != ' ';
    return count;
}

static enum sp_status refuse_token(const struct plan_reader *reader, const struct sp_json_value *value,
                                   const char *text, const char *at, const char *expected)
{
    int size = (int)strcspn(at, " ");
    return sp_json_error_at(reader->json, value, (size_t)(at - text), reader->error,
                            "expected %s, found \"%.*s\"", expected, size > 60 ? 60 : size, at);
}

/* Joined pairs as PyTorch writes them: `(2F5;5B1)OVERLAP_F_B`. */
static bool parse_pair(const char **cursor, bool with_slice, struct sp_pass pair[2])
{
    static const char tail[] = ")OVERLAP_F_B";
    const char *at = *cursor + 1;
    if (!sp_pass_parse(&at, with_slice, &pair[0]) || *at++ != ';' ||
        !sp_pass_parse(&at, with_slice, &pair[1]) || strncmp(at, tail, strlen(tail)) != 0)
        return false;
    pair[0].joined = 1;
    *cursor = at + strlen(tail);
    return true;
}

static enum sp_status read_passes(const struct plan_reader *reader, const struct sp_json_value *value,
                                  const char *text, uint64_t *count)
{
    struct sp_plan *plan = reader->plan;
    bool with_slice = plan->slice_count > 1;
    for (const char *at = skip_blanks(text); *at; at = skip_blanks(at)) {
        const char *token = at;
        struct sp_pass *target = &plan->order.passes[*count];
        bool is_pair = *at == '(';
        bool good = is_pair ? parse_pair(&at, with_slice, target) : sp_pass_parse(&at, with_slice, target);
        if (!good || (*at != ' ' && *at != 0))
            return refuse_token(reader, value, text, token,
                                with_slice ? "a pass such as 12F0.31 or (2F5.0;5B1.3)OVERLAP_F_B"
                                           : "a pass such as 12F0 or (2F5;5B1)OVERLAP_F_B");
        *count += is_pair ? 2 : 1;
    }
    return SP_OK;
}

static enum sp_status allocate_order(const struct plan_reader *reader, const struct sp_json_value *array)
{
    struct sp_order *order = &reader->plan->order;
    uint64_t total = 0;
    for (const struct sp_json_value *at = sp_json_first(array); at; at = sp_json_next(at)) {
        const char *text;
        enum sp_status status = sp_json_string(reader->json, at, &text, reader->error);
        if (status)
            return status;
        total += count_passes(text);
        if (total > SP_MAX_PASSES)
            return sp_json_error(reader->json, at, reader->error, "more than %d passes", SP_MAX_PASSES);
    }
    order->begin = sp_arena_alloc(reader->plan->arena, order->device_count + 1, sizeof *order->begin);
    order->passes = sp_arena_alloc(reader->plan->arena, total, sizeof *order->passes);
    return order->begin && order->passes ? SP_OK : sp_plan_reader_out_of_memory(reader);
}

enum sp_status sp_plan_read_order(struct plan_reader *reader)
{
    struct sp_order *order = &reader->plan->order;
    const struct sp_json_value *array = NULL;
    enum sp_status status = sp_plan_reader_array(reader, reader->root, "order", &array);
    if (status)
        return status;
    size_t count = sp_json_size(array);
    if (count < 1 || count > SP_MAX_DEVICES)
        return sp_json_error(reader->json, array, reader->error, "expected 1 to %d strings, found %zu",
                             SP_MAX_DEVICES, count);
    order->device_count = (uint32_t)count;
    status = allocate_order(reader, array);
    uint32_t device = 0;
    uint64_t passes = 0;
    for (const struct sp_json_value *at = sp_json_first(array); at && !status; at = sp_json_next(at)) {
        const char *text;
        status = sp_json_string(reader->json, at, &text, reader->error);
        if (!status)
            status = read_passes(reader, at, text, &passes);
        order->begin[++device] = passes;
    }
    return status;
}

static enum sp_status read_device_parts(const struct plan_reader *reader, const struct sp_json_value *value,
                                        uint64_t *count)
{
    struct sp_plan *plan = reader->plan;
    const char *text;
    enum sp_status status = sp_json_string(reader->json, value, &text, reader->error);
    if (status)
        return status;
    for (const char *at = skip_blanks(text); *at; at = skip_blanks(at)) {
        const char *token = at;
        bool with_slice = plan->slice_count > 1;
        if (!sp_part_parse(&at, with_slice, &plan->exchange[*count]) || (*at != ' ' && *at != 0))
            return refuse_token(reader, value, text, token, "a part such as 12F0.31:0-4096@15F0.20");
        ++*count;
    }
    return SP_OK;
}

static enum sp_status read_parts(struct plan_reader *reader, const struct sp_json_value *array)
{
    struct sp_plan *plan = reader->plan;
    size_t devices = sp_json_size(array);
    if (devices == 0)
        return SP_OK;
    if (devices != plan->order.device_count)
        return sp_json_error(reader->json, array, reader->error,
                             "expected no string or one for each of %u devices, found %zu",
                             plan->order.device_count, devices);
    uint64_t total = 0;
    for (const struct sp_json_value *at = sp_json_first(array); at; at = sp_json_next(at)) {
        const char *text;
        enum sp_status status = sp_json_string(reader->json, at, &text, reader->error);
        if (status)
            return status;
        total += count_tokens(text);
    }
    reader->part_begin = sp_arena_alloc(plan->arena, devices + 1, sizeof *reader->part_begin);
    plan->exchange = sp_arena_alloc(plan->arena, total, sizeof *plan->exchange);
    if (!reader->part_begin || !plan->exchange)
        return sp_plan_reader_out_of_memory(reader);
    uint32_t device = 0;
    enum sp_status status = SP_OK;
    for (const struct sp_json_value *at = sp_json_first(array); at && !status; at = sp_json_next(at)) {
        status = read_device_parts(reader, at, &plan->exchange_count);
        reader->part_begin[++device] = plan->exchange_count;
    }
    return status;
}

enum sp_status sp_plan_read_exchange(struct plan_reader *reader)
{
    static const char *const keys[] = {"policy", "parts", NULL};
    const struct sp_json_value *object = sp_json_find(reader->root, "exchange");
    const struct sp_json_value *parts = NULL;
    if (!object)
        return SP_OK;
    enum sp_status status = sp_json_only(reader->json, object, keys, reader->error);
    if (!status)
        status = sp_plan_reader_name(reader, object, "policy", &reader->plan->exchange_policy);
    if (!status)
        status = sp_plan_reader_array(reader, object, "parts", &parts);
    return status ? status : read_parts(reader, parts);
}
