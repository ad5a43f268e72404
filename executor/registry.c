/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include <string.h>

const char *const sp_clock_names[] = {"wall", "virtual", "plan", NULL};

const struct sp_backend *const sp_backends[] = {
    &sp_backend_host,
    &sp_backend_null,
    NULL,
};

const struct sp_transport *const sp_transports[] = {
    &sp_transport_threads,
    NULL,
};

const struct sp_backend *sp_backend_find(const char *name)
{
    for (int i = 0; sp_backends[i]; i++)
        if (strcmp(sp_backends[i]->name, name) == 0)
            return sp_backends[i];
    return NULL;
}

const struct sp_transport *sp_transport_find(const char *name)
{
    for (int i = 0; sp_transports[i]; i++)
        if (strcmp(sp_transports[i]->name, name) == 0)
            return sp_transports[i];
    return NULL;
}

struct sp_training sp_training_default(void)
{
    return (struct sp_training){.seed = 1, .rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f};
}

struct sp_executor_settings sp_executor_settings_default(void)
{
    return (struct sp_executor_settings){
        .backend = &sp_backend_null,
        .transport = &sp_transport_threads,
        .clock = SP_CLOCK_WALL,
        .limit_ms = 60000,
        .training = sp_training_default(),
    };
}
