/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange.h"

#include <string.h>

static enum sp_status fill_none(struct sp_plan *plan, struct sp_error *error)
{
    (void)error;
    plan->exchange = NULL;
    plan->exchange_count = 0;
    plan->exchange_policy = "none";
    return SP_OK;
}

const struct sp_exchange_policy sp_exchange_none = {
    .name = "none",
    .description = "every device computes its own attention",
    .fill = fill_none,
};

const struct sp_exchange_policy *const sp_exchange_policies[] = {
    &sp_exchange_none,
    &sp_exchange_pairwise,
    &sp_exchange_optimal,
    NULL,
};

const struct sp_exchange_policy *sp_exchange_policy_find(const char *name)
{
    for (int i = 0; sp_exchange_policies[i]; i++)
        if (strcmp(sp_exchange_policies[i]->name, name) == 0)
            return sp_exchange_policies[i];
    return NULL;
}
