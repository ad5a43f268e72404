/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint: a line of text, then for each tensor a header and its weights and moments, as they are in
 * memory. Resuming under the plan that wrote it gives the same bits as going on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/executor.h"
#include "slimpipe/file.h"

static const char magic[] = "slimpipe-checkpoint 1\n";

struct head {
    int64_t device; /* −1: the end; count is the next step */
    char name[96];
    int64_t offset, count;
};

static void write_tensor(FILE *stream, uint32_t device, const struct sp_tensor *tensor)
{
    struct head head = {.device = device, .offset = tensor->offset, .count = tensor->count};
    size_t count = (size_t)tensor->count;
    memcpy(head.name, tensor->name, sizeof head.name);
    /* Errors of the stream are found at the commit. */
    (void)!fwrite(&head, sizeof head, 1, stream);
    (void)!fwrite(tensor->weight, sizeof(float), count, stream);
    (void)!fwrite(tensor->first, sizeof(float), count, stream);
    (void)!fwrite(tensor->second, sizeof(float), count, stream);
}

static enum sp_status check_local(const struct sp_executor *executor, uint32_t devices,
                                  struct sp_error *error)
{
    for (uint32_t d = 0; d < devices; d++)
        if (!sp_executor_is_local(executor, d))
            return sp_error_set(error, SP_UNSUPPORTED, "checkpoints of devices in several processes");
    return SP_OK;
}

enum sp_status sp_executor_save(const struct sp_executor *executor, uint32_t devices, int64_t next_step,
                                const char *path, struct sp_error *error)
{
    struct sp_tensor tensor;
    struct head end = {.device = -1, .count = next_step};
    struct sp_file file;
    enum sp_status status = check_local(executor, devices, error);
    if (status != SP_OK || (status = sp_file_create(path, &file, error)) != SP_OK)
        return status;
    (void)!fwrite(magic, sizeof magic - 1, 1, file.stream);
    for (uint32_t d = 0; d < devices; d++)
        for (int i = 0; sp_executor_tensor(executor, d, i, &tensor); i++)
            write_tensor(file.stream, d, &tensor);
    (void)!fwrite(&end, sizeof end, 1, file.stream);
    return sp_file_commit(&file, error);
}

/* --- Reading ------------------------------------------------------------------------------------------- */

struct reading {
    FILE *stream;
    const char *path;
    struct sp_error *error;
};

static enum sp_status fail(const struct reading *reading, const char *what)
{
    enum sp_status status = sp_error_set(reading->error, SP_INPUT, "%s", what);
    if (reading->error)
        snprintf(reading->error->source, sizeof reading->error->source, "%s", reading->path);
    return status;
}

static enum sp_status read_bytes(const struct reading *reading, void *to, size_t size)
{
    return fread(to, 1, size, reading->stream) == size ? SP_OK : fail(reading, "the file ends too early");
}

static enum sp_status read_tensor(const struct reading *reading, uint32_t device,
                                  const struct sp_tensor *tensor)
{
    struct head head;
    size_t size = (size_t)tensor->count * sizeof(float);
    enum sp_status status = read_bytes(reading, &head, sizeof head);
    if (status != SP_OK)
        return status;
    if (head.device != (int64_t)device || head.offset != tensor->offset || head.count != tensor->count ||
        strncmp(head.name, tensor->name, sizeof head.name) != 0)
        return fail(reading, "the checkpoint is of another plan: its tensors are not this plan's");
    if ((status = read_bytes(reading, tensor->weight, size)) ||
        (status = read_bytes(reading, tensor->first, size)))
        return status;
    return read_bytes(reading, tensor->second, size);
}

static enum sp_status read_all(const struct reading *reading, const struct sp_executor *executor,
                               uint32_t devices, int64_t *ret_next_step)
{
    char start[sizeof magic - 1];
    struct sp_tensor tensor;
    struct head end;
    enum sp_status status = read_bytes(reading, start, sizeof start);
    if (status == SP_OK && memcmp(start, magic, sizeof start) != 0)
        return fail(reading, "this is no checkpoint of slimpipe, version 1");
    for (uint32_t d = 0; status == SP_OK && d < devices; d++)
        for (int i = 0; status == SP_OK && sp_executor_tensor(executor, d, i, &tensor); i++)
            status = read_tensor(reading, d, &tensor);
    if (status == SP_OK)
        status = read_bytes(reading, &end, sizeof end);
    if (status == SP_OK && end.device != -1)
        return fail(reading, "the checkpoint is of another plan: it has more tensors");
    if (status == SP_OK)
        *ret_next_step = end.count;
    return status;
}

enum sp_status sp_executor_load(struct sp_executor *executor, uint32_t devices, const char *path,
                                int64_t *ret_next_step, struct sp_error *error)
{
    struct reading reading = {.path = path, .error = error};
    enum sp_status status = check_local(executor, devices, error);
    if (status != SP_OK)
        return status;
    reading.stream = fopen(path, "rb");
    if (!reading.stream)
        return sp_error_set(error, SP_IO, "%s: cannot be opened", path);
    status = read_all(&reading, executor, devices, ret_next_step);
    fclose(reading.stream);
    return status;
}
