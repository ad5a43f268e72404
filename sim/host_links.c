/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices share a host link. */
#include <stdlib.h>

#include "engine.h"

static bool copies(const struct sp_program *program, uint32_t device, enum sp_stream stream)
{
    const uint32_t *begin = &program->stream_begin[(size_t)device * SP_STREAMS + stream];

    return begin[0] < begin[1];
}

static bool copies_anything(const struct sp_program *program)
{
    for (uint32_t device = 0; device < program->device_count; device++)
        if (copies(program, device, SP_STREAM_OFFLOAD) || copies(program, device, SP_STREAM_RELOAD))
            return true;
    return false;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* links[d]: the lowest device on the link of d. places: room for one number per device. */
static void number_links(const struct sp_program *program, uint64_t *places, uint32_t *links)
{
    uint32_t count = program->device_count, link = 0;

    for (uint32_t device = 0; device < count; device++)
        places[device] = (uint64_t)(program->host_port ? program->host_port[device] : device) << 32 | device;
    qsort(places, count, sizeof *places, compare);
    for (uint32_t k = 0; k < count; k++) {
        if (k == 0 || places[k] >> 32 != places[k - 1] >> 32)
            link = (uint32_t)places[k];
        links[(uint32_t)places[k]] = link;
    }
}

static bool meet(const struct sp_program *program, const uint32_t *links, enum sp_stream stream)
{
    uint32_t count = program->device_count;
    bool result = false;

    for (uint32_t device = 0; device < count; device++)
        result = result || (links[device] != device && copies(program, device, stream));
    return result;
}

enum sp_status sp_sim_host_links(const struct sp_program *program, uint32_t **ret_links, bool *ret_shared,
                                 struct sp_error *error)
{
    uint64_t *places;
    uint32_t *links;

    if (!copies_anything(program)) {
        *ret_links = NULL;
        *ret_shared = false;
        return SP_OK;
    }
    places = sp_alloc(program->device_count, sizeof *places);
    links = sp_alloc(program->device_count, sizeof *links);
    if (!places || !links) {
        sp_free(places);
        sp_free(links);
        return sp_error_set(error, SP_MEMORY, "no memory for %u host links", program->device_count);
    }
    number_links(program, places, links);
    sp_free(places);
    *ret_shared = meet(program, links, SP_STREAM_OFFLOAD) || meet(program, links, SP_STREAM_RELOAD);
    *ret_links = links;
    return SP_OK;
}
