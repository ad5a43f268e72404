/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_texts[] = {
#define X(name, text) text,
    SP_STATUS_LIST(X)
#undef X
};

const char *sp_status_text(enum sp_status status)
{
    size_t count = sizeof status_texts / sizeof *status_texts;
    return (size_t)status < count ? status_texts[status] : "unknown status";
}

/* The message is promised to be one line, whatever a file name or a key in it holds. */
static void keep_one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
}

enum sp_status sp_error_set(struct sp_error *error, enum sp_status status, const char *format, ...)
{
    if (!error)
        return status;
    struct sp_error fresh = {.status = status};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fresh.message, sizeof fresh.message, format, arguments);
    va_end(arguments);
    keep_one_line(fresh.message);
    *error = fresh;
    return status;
}

char *sp_error_text(const struct sp_error *error, char *text, unsigned long size)
{
    char source[sizeof error->source + 32] = "";
    if (error->source[0] && error->line > 0)
        snprintf(source, sizeof source, "%s:%d:%d: ", error->source, error->line, error->column);
    else if (error->source[0])
        snprintf(source, sizeof source, "%s: ", error->source);
    snprintf(text, size, "%s%s%s%s", source, error->path, error->path[0] ? ": " : "", error->message);
    return text;
}
