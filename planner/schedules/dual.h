/* SPDX-License-Identifier: Apache-2.0 */
/* The eight steps that DualPipe and DualPipeV share: two chunks per device, each overlapping the other. */
#ifndef SLIMPIPE_PLANNER_DUAL_H
#define SLIMPIPE_PLANNER_DUAL_H

#include <stdint.h>

#include "slimpipe/schedule.h"

/* One device. Chunk 0 is the one whose forwards come first. */
struct sp_dual {
    uint32_t device;
    uint32_t stage[2];            /* of chunk 0 and 1 */
    uint32_t first_microbatch[2]; /* that runs in the chunk */
    uint32_t microbatches;        /* per chunk, at least 2·depth */
    uint32_t place, depth;        /* 0 at the outer end of the pipe, depth − 1 where it turns */
};

void sp_dual_push(const struct sp_dual *dual, struct sp_order_builder *builder);

#endif
