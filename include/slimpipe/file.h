/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole files in, whole files out. Output is written beside its target and renamed, so that a reader never
 * sees half a file and a failure loses nothing. `-` is standard input or output.
 */
#ifndef SLIMPIPE_FILE_H
#define SLIMPIPE_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "slimpipe/status.h"

/*
 * Reads all of path (`-`: standard input), at most `limit` bytes (more: SP_INPUT). *ret_text is followed by a
 * 0 byte that *ret_size does not count, and is freed with sp_free.
 */
enum sp_status sp_file_read(const char *path, size_t limit, char **ret_text, size_t *ret_size,
                            struct sp_error *error) SP_MUST_CHECK;

struct sp_file {
    FILE *stream; /* write here */
    char *temporary;
    char *target;
};

/* Opens a file beside path for writing; `-` opens standard output. */
enum sp_status sp_file_create(const char *path, struct sp_file *ret_file,
                              struct sp_error *error) SP_MUST_CHECK;
/* Flushes, checks for write errors, renames to the target. On failure nothing is left behind. */
enum sp_status sp_file_commit(struct sp_file *file, struct sp_error *error) SP_MUST_CHECK;
/* Gives up: removes the temporary file. Fine after commit and on a zeroed struct. */
void sp_file_discard(struct sp_file *file);

#endif
