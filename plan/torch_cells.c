/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of PyTorch's pipelining CSV, line by line. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "imported_order.h"

enum { CELL_SHOWN = 40 }; /* characters of a bad cell that a message repeats */

const char *const sp_imported_message_names[] = {"SEND_F", "RECV_F", "SEND_B", "RECV_B"};
/* Parameters and gradients of sharded data parallelism: no matter of the order. */
static const char *const ignored_names[] = {"UNSHARD", "RESHARD", "REDUCE_GRAD"};

struct reader {
    struct imported_order *order;
    const char *cursor, *line_begin;
    uint32_t line;
};

enum sp_status sp_imported_fail(const struct imported_order *order, struct imported_place place,
                                struct sp_error *error, const char *format, ...)
{
    char message[sizeof(error->message)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    sp_error_set(error, SP_INPUT, "%s", message);
    if (error) {
        snprintf(error->source, sizeof(error->source), "%s", order->source);
        error->line = (int)place.line;
        error->column = (int)place.column;
    }
    return SP_INPUT;
}

static struct imported_place here(const struct reader *reader, const char *cell)
{
    return (struct imported_place){reader->line, (uint32_t)(cell - reader->line_begin) + 1};
}

static enum sp_status bad_cell(const struct reader *reader, const char *cell, struct sp_error *error)
{
    int length = (int)strcspn(cell, ",\r\n");

    return sp_imported_fail(reader->order, here(reader, cell), error,
                            "'%.*s': expected a pass such as 0F3, 2I0, 2W0, 1B4 or (2F5;5B1)OVERLAP_F_B",
                            length < CELL_SHOWN ? length : CELL_SHOWN, cell);
}

/* Room for one more item; the capacity doubles. */
static bool reserve(void **items, uint64_t count, uint64_t *capacity, size_t size)
{
    uint64_t wanted = *capacity ? 2 * *capacity : 256;
    void *grown;

    if (count < *capacity)
        return true;
    if (!(grown = sp_realloc(*items, wanted, size)))
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

static bool parse_number(const char **cursor, uint32_t *ret_number)
{
    const char *text = *cursor;
    uint64_t number = 0;

    if (!isdigit((unsigned char)*text))
        return false;
    for (; isdigit((unsigned char)*text); text++)
        if ((number = 10 * number + (uint64_t)(*text - '0')) > UINT32_MAX)
            return false;
    *cursor = text;
    *ret_number = (uint32_t)number;
    return true;
}

static bool skip_name(const char **cursor, const char *name)
{
    size_t length = strlen(name);

    if (strncmp(*cursor, name, length) != 0)
        return false;
    *cursor += length;
    return true;
}

/* As read, before its numbers are known to fit a struct sp_pass. */
struct cell_pass {
    uint32_t stage, microbatch;
    uint8_t kind;
};

static enum sp_status push_pass(struct reader *reader, const char *cell, const struct cell_pass *pass,
                                bool joined, struct sp_error *error)
{
    struct imported_order *order = reader->order;
    uint64_t capacity = order->pass_capacity;

    if (pass->stage >= SP_MAX_STAGES || pass->microbatch >= SP_MAX_MICROBATCHES)
        return sp_imported_fail(order, here(reader, cell), error,
                                "stage %u, microbatch %u: expected stages below %d, microbatches below %d",
                                pass->stage, pass->microbatch, SP_MAX_STAGES, SP_MAX_MICROBATCHES);
    if (order->pass_count == SP_MAX_PASSES)
        return sp_imported_fail(order, IMPORTED_WHOLE_FILE, error, "more than %d passes", SP_MAX_PASSES);
    if (!reserve((void **)&order->places, order->pass_count, &capacity, sizeof(*order->places)) ||
        !reserve((void **)&order->passes, order->pass_count, &order->pass_capacity, sizeof(*order->passes)))
        return sp_error_set(error, SP_MEMORY, "no memory for the order");
    order->places[order->pass_count] = here(reader, cell);
    order->passes[order->pass_count++] = (struct sp_pass){
        .stage = (uint16_t)pass->stage, .kind = pass->kind, .microbatch = pass->microbatch, .joined = joined};
    return SP_OK;
}

static enum sp_status push_message(struct reader *reader, const char *cell, int message, uint32_t stage,
                                   uint32_t microbatch, struct sp_error *error)
{
    struct imported_order *order = reader->order;

    if (!reserve((void **)&order->messages, order->message_count, &order->message_capacity,
                 sizeof(*order->messages)))
        return sp_error_set(error, SP_MEMORY, "no memory for the order");
    order->messages[order->message_count++] = (struct imported_message){
        .kind = (uint8_t)message,
        .stage = stage,
        .microbatch = microbatch,
        .device = order->device_count,
        .next = order->pass_count,
        .place = here(reader, cell),
    };
    return SP_OK;
}

/* `0F3` at the cursor. */
static bool parse_pass(const char **cursor, struct cell_pass *ret_pass)
{
    static const struct {
        char letter;
        uint8_t kind;
    } kinds[] = {{'F', SP_PASS_F}, {'I', SP_PASS_I}, {'W', SP_PASS_W}, {'B', SP_PASS_B}};
    const char *text = *cursor;
    uint32_t stage, microbatch;

    if (!parse_number(&text, &stage))
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (*text != kinds[i].letter)
            continue;
        text++;
        if (!parse_number(&text, &microbatch))
            return false;
        *cursor = text;
        *ret_pass = (struct cell_pass){stage, microbatch, kinds[i].kind};
        return true;
    }
    return false;
}

/* `(2F5;5B1)OVERLAP_F_B`: one F and one B or I. */
static enum sp_status parse_pair(struct reader *reader, const char **cursor, struct sp_error *error)
{
    const char *cell = *cursor;
    const char *text = cell + 1;
    const char *second_cell;
    struct cell_pass first, second;
    enum sp_status status;

    if (!parse_pass(&text, &first) || *text++ != ';')
        return bad_cell(reader, cell, error);
    second_cell = text;
    if (!parse_pass(&text, &second) || !skip_name(&text, ")OVERLAP_F_B"))
        return bad_cell(reader, cell, error);
    if ((first.kind == SP_PASS_F) == (second.kind == SP_PASS_F) || first.kind == SP_PASS_W ||
        second.kind == SP_PASS_W)
        return sp_imported_fail(reader->order, here(reader, cell), error,
                                "'%.*s': expected one forward and one backward to overlap",
                                (int)(text - cell), cell);
    *cursor = text;
    if ((status = push_pass(reader, cell + 1, &first, true, error)))
        return status;
    return push_pass(reader, second_cell, &second, false, error);
}

static bool parse_ignored(const char **cursor)
{
    const char *text = *cursor;
    uint32_t number;

    if (!parse_number(&text, &number))
        return false;
    for (size_t i = 0; i < sizeof(ignored_names) / sizeof(*ignored_names); i++)
        if (skip_name(&text, ignored_names[i])) {
            parse_number(&text, &number);
            *cursor = text;
            return true;
        }
    return false;
}

static bool parse_message(const char **cursor, int *ret_message, uint32_t *ret_stage,
                          uint32_t *ret_microbatch)
{
    const char *text = *cursor;
    uint32_t stage, microbatch;

    if (!parse_number(&text, &stage))
        return false;
    for (int i = 0; i < IMPORTED_MESSAGES; i++)
        if (skip_name(&text, sp_imported_message_names[i]) && parse_number(&text, &microbatch)) {
            *cursor = text;
            *ret_message = i;
            *ret_stage = stage;
            *ret_microbatch = microbatch;
            return true;
        }
    return false;
}

static void skip_blanks(struct reader *reader)
{
    reader->cursor += strspn(reader->cursor, " \t\r");
}

/* One cell, blank or not, up to its comma or the end of the line. */
static enum sp_status parse_cell(struct reader *reader, struct sp_error *error)
{
    enum sp_status status = SP_OK;
    struct cell_pass pass;
    int message;
    uint32_t stage, microbatch;
    const char *cell;

    skip_blanks(reader);
    cell = reader->cursor;
    if (*cell == ',' || *cell == '\n' || *cell == '\0')
        return SP_OK;
    if (*cell == '(')
        status = parse_pair(reader, &reader->cursor, error);
    else if (parse_message(&reader->cursor, &message, &stage, &microbatch))
        status = push_message(reader, cell, message, stage, microbatch, error);
    else if (parse_pass(&reader->cursor, &pass))
        status = push_pass(reader, cell, &pass, false, error);
    else if (!parse_ignored(&reader->cursor))
        status = bad_cell(reader, cell, error);
    skip_blanks(reader);
    if (!status && !strchr(",\n", *reader->cursor)) /* the text's closing 0 is found as well */
        status = bad_cell(reader, cell, error);
    return status;
}

static enum sp_status parse_line(struct reader *reader, struct sp_error *error)
{
    struct imported_order *order = reader->order;
    enum sp_status status;

    reader->line++;
    reader->line_begin = reader->cursor;
    order->begin[order->device_count] = order->pass_count;
    while (!(status = parse_cell(reader, error)) && *reader->cursor == ',')
        reader->cursor++;
    if (status)
        return status;
    if (*reader->cursor == '\n')
        reader->cursor++;
    if (order->begin[order->device_count] == order->pass_count)
        return sp_imported_fail(order, here(reader, reader->line_begin), error, "device %u runs no pass",
                                order->device_count);
    order->begin[++order->device_count] = order->pass_count;
    return SP_OK;
}

enum sp_status sp_torch_parse(struct imported_order *order, const char *source, const char *text, size_t size,
                              struct sp_error *error)
{
    struct reader reader = {.order = order, .cursor = text};
    enum sp_status status = SP_OK;

    order->source = source;
    if (strlen(text) != size)
        return sp_imported_fail(order, IMPORTED_WHOLE_FILE, error, "holds a 0 byte; expected text");
    if (!(order->begin = sp_alloc(SP_MAX_DEVICES + 1, sizeof(*order->begin))))
        return sp_error_set(error, SP_MEMORY, "no memory for the order");
    /* Empty lines at the end are no devices. */
    while (!status && reader.cursor[strspn(reader.cursor, " \t\r\n")] != '\0') {
        if (order->device_count == SP_MAX_DEVICES)
            return sp_imported_fail(order, IMPORTED_WHOLE_FILE, error, "more than %d lines, one per device",
                                    SP_MAX_DEVICES);
        status = parse_line(&reader, error);
    }
    if (!status && order->pass_count == 0)
        return sp_imported_fail(order, IMPORTED_WHOLE_FILE, error,
                                "no pass in it; expected one line of passes per device");
    return status;
}
