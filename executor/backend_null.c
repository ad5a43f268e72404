/* SPDX-License-Identifier: Apache-2.0 */
/* Does nothing, for dry runs: what the walker and the transport alone take, and the plan's own clock. */
#include <string.h>

#include "registry.h"

static const char *probe(void)
{
    return NULL;
}

static enum sp_status create(const struct sp_device *device, void **ret_state, struct sp_error *error)
{
    (void)error;
    *ret_state = (void *)device->program;
    return SP_OK;
}

static void destroy(void *state)
{
    (void)state;
}

static enum sp_status run(void *state, uint32_t instruction, const struct sp_parcel *inputs, int count,
                          struct sp_error *error)
{
    (void)state, (void)instruction, (void)inputs, (void)count, (void)error;
    return SP_OK;
}

static enum sp_status pack(void *state, uint32_t message, const struct sp_parcel *inputs, int count,
                           void *data, struct sp_error *error)
{
    const struct sp_program *program = state;
    (void)inputs, (void)count, (void)error;
    memset(data, 0, (size_t)program->instructions[message].bytes);
    return SP_OK;
}

const struct sp_backend sp_backend_null = {
    .name = "null",
    .description = "does nothing; for dry runs",
    .probe = probe,
    .create = create,
    .destroy = destroy,
    .run = run,
    .pack = pack,
};
