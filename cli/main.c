/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

/* A file opened later must not become standard output because that was closed: hold its place, unwritable. */
static void hold_standard_streams(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};

    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", modes[i]);
}

/* A full disk or a reader that went away shows at the last write. Also after --help, which exits itself. */
static void close_output(void)
{
    bool failed = ferror(stdout);

    errno = 0;
    if (fclose(stdout) == 0 && !failed)
        return;
    fprintf(stderr, "slimpipe: cannot write standard output%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    _exit(EXIT_NO);
}

static void print_help(void)
{
    printf("Usage: slimpipe COMMAND [OPTION...]\n"
           "Plans and simulates pipeline-parallel training of language models with long\n"
           "contexts. A plan is one JSON file; the commands make it, check it and predict\n"
           "from it.\n"
           "\n"
           "Commands:\n");
    for (const struct command *const *command = commands; *command; command++)
        printf("  %-10s %s\n", (*command)->name, (*command)->summary);
    printf("\n"
           "Examples:\n"
           "  slimpipe plan --model llama-3.1-70b --cluster h100 --gpus 128 \\\n"
           "      --seq-len 512K --batch-tokens 4M -o best.json\n"
           "  slimpipe plan --model llama-3.1-70b --cluster h100 --gpus 128 \\\n"
           "      --seq-len 512K --batch-tokens 4M --tp 4 --cp 2 --pp 16 --vpp 5 \\\n"
           "      --slices 32 --recompute selective --exchange pairwise -o plan.json\n"
           "  slimpipe simulate plan.json --svg timeline.svg\n"
           "  slimpipe check plan.json\n"
           "\n"
           "'slimpipe COMMAND --help' tells more, with examples. Results go to standard\n"
           "output, diagnostics to standard error. Exit: 0 success, 1 the answer is no or\n"
           "something failed, 2 usage.\n");
}

static int fail_unknown(const char *name)
{
    const struct command *nearest = command_nearest(name);

    fprintf(stderr, "slimpipe: there is no command '%s'", name);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?", nearest->name);
    fprintf(stderr, nearest ? "\n" : "; 'slimpipe --help' lists them\n");
    return EXIT_USAGE;
}

static int run_command(const char *name, int argc, char **argv)
{
    const struct command *command = command_find(name);
    char full_name[64];

    if (!command)
        return fail_unknown(name);
    snprintf(full_name, sizeof(full_name), "slimpipe %s", command->name);
    argv[0] = full_name;
    return command->run(argc, argv);
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";

    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    atexit(close_output);
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
        printf("slimpipe %s\n", SLIMPIPE_VERSION);
        return EXIT_DONE;
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "-?") == 0) {
        print_help();
        return EXIT_DONE;
    }
    if (*first == '\0' || *first == '-') {
        if (*first)
            fprintf(stderr, "slimpipe: unknown option '%s'; expected a command first\n", first);
        else
            fprintf(stderr, "slimpipe: expected a command; 'slimpipe --help' lists them\n");
        return EXIT_USAGE;
    }
    return run_command(first, argc - 1, argv + 1);
}
