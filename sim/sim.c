/* SPDX-License-Identifier: Apache-2.0 */
/* Which engine runs which rules. */
#include <assert.h>

#include "engine.h"

const char *const sp_sim_rules_names[] = {"links", "plain", "sender-blocks", NULL};

enum sp_status sp_sim_too_long(struct sp_error *error)
{
    return sp_error_set(error, SP_INPUT,
                        "the iteration takes longer than 2^63 ns; expected durations whose sum is below");
}

enum sp_status sp_sim_run(const struct sp_program *program, enum sp_sim_rules rules,
                          struct sp_timeline *timeline, struct sp_error *error)
{
    struct sp_sim_hold *holds = NULL;
    uint32_t *host_links = NULL;
    bool shared = false;
    enum sp_status status = sp_sim_host_links(program, &host_links, &shared, error);

    assert(timeline->program == program);
    if (status == SP_OK && rules == SP_SIM_SENDER_BLOCKS)
        status = sp_sim_holds_create(program, &holds, error);
    if (status == SP_OK && (shared || rules == SP_SIM_LINKS))
        status = sp_sim_events(program, holds, host_links, rules == SP_SIM_LINKS, timeline, error);
    else if (status == SP_OK)
        status = sp_sim_sweep(program, holds, timeline, error);
    sp_free(host_links);
    sp_free(holds);
    return status;
}
