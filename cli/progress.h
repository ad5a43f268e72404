/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on standard error: drawn on a terminal, after half a second; nothing in a pipe. */
#ifndef SLIMPIPE_CLI_PROGRESS_H
#define SLIMPIPE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;
    bool on_terminal, drawn;
    int64_t begin_ns;
    int percent;
};

void progress_init(struct progress *progress, const char *what);
/* context is a struct progress; share of the work done, 0 … 1. Fits the callbacks of long work. */
void progress_report(void *context, double share);
/* Removes the bar. */
void progress_finish(struct progress *progress);

#endif
