/* SPDX-License-Identifier: Apache-2.0 */
/* The command table, and what every command does at its end. */
#ifndef SLIMPIPE_CLI_COMMAND_H
#define SLIMPIPE_CLI_COMMAND_H

#include <argp.h>
#include <stdbool.h>

#include "slimpipe/status.h"

enum { EXIT_DONE = 0, EXIT_NO = 1, EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *summary; /* one line, for `slimpipe --help` */
    /* argv[0] is "slimpipe NAME". Returns an exit code. */
    int (*run)(int argc, char **argv);
};

/* One per file of this folder; commands.c lists them in the order of --help. */
extern const struct command command_plan;
extern const struct command command_simulate;
extern const struct command command_check;
extern const struct command command_compare;
extern const struct command command_export;
extern const struct command command_import;
extern const struct command command_run;
extern const struct command command_calibrate;
extern const struct command command_validate;

extern const struct command *const commands[]; /* NULL-terminated */
const struct command *command_find(const char *name);
/* The command whose name is most like this one; NULL where none is like it. */
const struct command *command_nearest(const char *name);

/* Option keys without a short form start here. */
enum { FIRST_LONG_KEY = 256 };

/* What the parser of every command is given through argp's `input`: a value that was wrong. */
struct usage {
    bool failed;
    struct sp_error error;
};

/* For parsers: records a mistake and returns EINVAL. A mistake already recorded stays. */
error_t usage_fail(struct usage *usage, const char *format, ...) SP_PRINTF(2, 3);
/* Records status, whose message is in usage->error already: EINVAL, or 0 for SP_OK. */
error_t usage_status(struct usage *usage, enum sp_status status);

/*
 * argp_parse with the rules of this program: --help on stdout, a wrong value (returned as EINVAL by the
 * parser, with usage filled) printed, every mistake an EXIT_USAGE. True: go on with the command.
 */
bool command_parse(const struct argp *argp, int argc, char **argv, struct usage *usage, void *input);

/*
 * Prints the error, if status is one, as `slimpipe NAME: message`, and returns the exit code: EXIT_DONE;
 * EXIT_USAGE for bad input that is in no file, thus in an option; else EXIT_NO.
 */
int command_end(const char *name, enum sp_status status, const struct sp_error *error);

#endif
