/* SPDX-License-Identifier: Apache-2.0 */
/* What Megatron-LM would run by itself. */
#ifndef SLIMPIPE_PLAN_MEGATRON_H
#define SLIMPIPE_PLAN_MEGATRON_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/plan.h"

/*
 * True where the order is that of Megatron's 1F1B, or, with several chunks, of its interleaved 1F1B with
 * groups of *ret_group microbatches. Stages lie on the devices in turn.
 */
bool sp_megatron_order_is(const struct sp_plan *plan, uint32_t *ret_group);

#endif
