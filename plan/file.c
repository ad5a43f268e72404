/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "slimpipe/arena.h"

enum { FIRST_READ = 1 << 16, TEMPORARY_TRIES = 1000 };

static enum sp_status fail(struct sp_error *error, enum sp_status status, const char *path,
                           const char *message, const char *reason)
{
    sp_error_set(error, status, "%s%s%s", message, reason ? ": " : "", reason ? reason : "");
    if (error)
        snprintf(error->source, sizeof error->source, "%s", path);
    return status;
}

/* First guess of the buffer: a regular file's size and one byte to see its end. */
static size_t expected_size(FILE *stream)
{
    struct stat status;
    if (fstat(fileno(stream), &status) == 0 && S_ISREG(status.st_mode) && status.st_size >= 0)
        return (size_t)status.st_size + 1;
    return FIRST_READ;
}

/* Reads to the end, or to one byte beyond the limit. The buffer keeps room for the closing 0. */
static enum sp_status read_stream(FILE *stream, const char *name, size_t limit, char **buffer,
                                  size_t *ret_size, struct sp_error *error)
{
    size_t size = 0, capacity = expected_size(stream);
    if (capacity > limit)
        capacity = limit + 1;
    for (;;) {
        char *grown = sp_realloc(*buffer, capacity + 1, 1);
        if (!grown)
            return fail(error, SP_MEMORY, name, "out of memory while reading", NULL);
        *buffer = grown;
        size += fread(grown + size, 1, capacity - size, stream);
        if (ferror(stream))
            return fail(error, SP_IO, name, "cannot read", strerror(errno));
        if (size < capacity)
            break;
        if (size > limit)
            break;
        capacity = capacity > limit / 2 ? limit + 1 : 2 * capacity;
    }
    if (size > limit) {
        char text[80];
        snprintf(text, sizeof text, "larger than the %zu bytes that are read at most", limit);
        return fail(error, SP_INPUT, name, text, NULL);
    }
    (*buffer)[size] = 0;
    *ret_size = size;
    return SP_OK;
}

enum sp_status sp_file_read(const char *path, size_t limit, char **ret_text, size_t *ret_size,
                            struct sp_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *stream = standard ? stdin : fopen(path, "rb");
    if (!stream)
        return fail(error, SP_IO, path, "cannot open", strerror(errno));
    char *buffer = NULL;
    size_t size = 0;
    enum sp_status status =
        read_stream(stream, standard ? "standard input" : path, limit, &buffer, &size, error);
    if (!standard)
        fclose(stream);
    if (status) {
        sp_free(buffer);
        return status;
    }
    *ret_text = buffer;
    *ret_size = size;
    return SP_OK;
}

/*
 * What a rename may replace: the file that path leads to through symbolic links, when it is a regular file or
 * not there yet. Pipes, terminals and devices are written in place.
 */
static bool is_replaceable(const char *path)
{
    struct stat status;
    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = sp_alloc(size, 1);
    return copy ? memcpy(copy, text, size) : NULL;
}

static enum sp_status open_beside(const char *path, struct sp_file *file, struct sp_error *error)
{
    char resolved[PATH_MAX];
    file->target = copy_text(realpath(path, resolved) ? resolved : path);
    if (!file->target)
        return fail(error, SP_MEMORY, path, "out of memory", NULL);
    size_t size = strlen(file->target) + 32;
    file->temporary = sp_alloc(size, 1);
    if (!file->temporary)
        return fail(error, SP_MEMORY, path, "out of memory", NULL);
    int descriptor = -1;
    for (int i = 0; i < TEMPORARY_TRIES && descriptor < 0; i++) {
        snprintf(file->temporary, size, "%s.%ld.%d.tmp", file->target, (long)getpid(), i);
        descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno != EEXIST)
            break;
    }
    file->stream = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    if (file->stream)
        return SP_OK;
    int reason = errno;
    if (descriptor >= 0) {
        close(descriptor);
        unlink(file->temporary);
    }
    return fail(error, SP_IO, path, "cannot create", strerror(reason));
}

enum sp_status sp_file_create(const char *path, struct sp_file *ret_file, struct sp_error *error)
{
    struct sp_file file = {0};
    if (strcmp(path, "-") == 0) {
        file.stream = stdout;
    } else if (!is_replaceable(path)) {
        file.stream = fopen(path, "wb");
        if (!file.stream)
            return fail(error, SP_IO, path, "cannot open for writing", strerror(errno));
    } else {
        enum sp_status status = open_beside(path, &file, error);
        if (status) {
            sp_free(file.temporary);
            sp_free(file.target);
            return status;
        }
    }
    *ret_file = file;
    return SP_OK;
}

static void close_stream(struct sp_file *file)
{
    if (file->stream && file->stream != stdout)
        fclose(file->stream);
    file->stream = NULL;
}

enum sp_status sp_file_commit(struct sp_file *file, struct sp_error *error)
{
    const char *name = file->target ? file->target : file->stream == stdout ? "standard output" : "";
    bool failed = ferror(file->stream) != 0;
    failed |= fflush(file->stream) != 0;
    int reason = errno;
    if (file->stream != stdout) {
        if (fclose(file->stream) != 0 && !failed) {
            failed = true;
            reason = errno;
        }
    }
    file->stream = NULL;
    if (!failed && file->temporary && rename(file->temporary, file->target) != 0) {
        failed = true;
        reason = errno;
    }
    enum sp_status status = SP_OK;
    if (failed)
        status = fail(error, SP_IO, name, "cannot write", strerror(reason));
    if (!failed) {
        sp_free(file->temporary);
        file->temporary = NULL;
    }
    sp_file_discard(file);
    return status;
}

void sp_file_discard(struct sp_file *file)
{
    close_stream(file);
    if (file->temporary)
        unlink(file->temporary);
    sp_free(file->temporary);
    sp_free(file->target);
    file->temporary = NULL;
    file->target = NULL;
}
