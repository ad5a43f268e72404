/* SPDX-License-Identifier: Apache-2.0 */
/* Independent pieces of work on several threads. */
#ifndef SLIMPIPE_PLANNER_PARALLEL_H
#define SLIMPIPE_PLANNER_PARALLEL_H

#include <stddef.h>

/*
 * Calls work(context, i) once for each i < count, on `threads` threads (0: one per processor), the caller's
 * among them; returns when all are done. done (may be NULL) is called from the caller's thread now and then
 * with how many were begun. Where a thread cannot be had, the others do its share.
 */
void sp_parallel_for(int threads, size_t count, void (*work)(void *context, size_t i), void *context,
                     void (*done)(void *done_context, size_t begun), void *done_context);

#endif
