/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct command *const commands[] = {
    &command_plan,     &command_simulate, &command_compare, &command_run,    &command_calibrate,
    &command_validate, &command_check,    &command_import,  &command_export, NULL,
};

const struct command *command_find(const char *name)
{
    for (const struct command *const *command = commands; *command; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}

enum { NAME_LIMIT = 32 };

/* Levenshtein's distance; names above the limit are like nothing. */
static int distance(const char *a, const char *b)
{
    size_t length = strlen(b);
    int row[NAME_LIMIT + 1];

    if (strlen(a) > NAME_LIMIT || length > NAME_LIMIT)
        return NAME_LIMIT;
    for (size_t j = 0; j <= length; j++)
        row[j] = (int)j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= length; j++) {
            int above = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = above;
        }
    }
    return row[length];
}

const struct command *command_nearest(const char *name)
{
    const struct command *nearest = NULL;
    int least = 4; /* further than this is no slip of the fingers */

    for (const struct command *const *command = commands; *command; command++) {
        bool starts = *name && strncmp((*command)->name, name, strlen(name)) == 0;
        int far = starts ? 0 : distance(name, (*command)->name);
        if (far < least) {
            least = far;
            nearest = *command;
        }
    }
    return nearest;
}

static void print_error(const char *prefix, const struct sp_error *error)
{
    char text[sizeof(*error) + 64];

    fflush(stdout);
    fprintf(stderr, "%s: %s\n", prefix, sp_error_text(error, text, sizeof(text)));
}

error_t usage_status(struct usage *usage, enum sp_status status)
{
    if (!status)
        return 0;
    usage->failed = true;
    return EINVAL;
}

error_t usage_fail(struct usage *usage, const char *format, ...)
{
    char message[sizeof(usage->error.message)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    return usage_status(usage, sp_error_set(&usage->error, SP_INPUT, "%s", message));
}

bool command_parse(const struct argp *argp, int argc, char **argv, struct usage *usage, void *input)
{
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(argp, argc, argv, 0, NULL, input) == 0)
        return true;
    if (usage->failed)
        print_error(argv[0], &usage->error);
    return false;
}

int command_end(const char *name, enum sp_status status, const struct sp_error *error)
{
    char prefix[NAME_LIMIT + 16];

    if (!status)
        return EXIT_DONE;
    snprintf(prefix, sizeof(prefix), "slimpipe %s", name);
    print_error(prefix, error);
    if (status == SP_IO)
        clearerr(stdout); /* said once */
    return status == SP_INPUT && error->source[0] == '\0' ? EXIT_USAGE : EXIT_NO;
}
