/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 40, QUIET_MS = 500 };

static int64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void progress_init(struct progress *progress, const char *what)
{
    *progress = (struct progress){
        .what = what, .on_terminal = isatty(STDERR_FILENO) == 1, .begin_ns = now_ns(), .percent = -1};
}

void progress_report(void *context, double share)
{
    struct progress *progress = context;
    int percent = share < 0 ? 0 : share > 1 ? 100 : (int)(100 * share);
    int filled = percent * BAR_WIDTH / 100;

    if (!progress->on_terminal || percent == progress->percent ||
        now_ns() - progress->begin_ns < QUIET_MS * INT64_C(1000000))
        return;
    progress->percent = percent;
    progress->drawn = true;
    fprintf(stderr, "\r%s [%.*s%*s] %3d %%", progress->what, filled,
            "########################################", BAR_WIDTH - filled, "", percent);
    fflush(stderr);
}

void progress_finish(struct progress *progress)
{
    if (progress->drawn)
        fprintf(stderr, "\r\033[K");
    progress->drawn = false;
}
