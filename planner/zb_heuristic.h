/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The automatic schedule of Zero Bubble (arXiv 2401.10241, section 3.1, and its published code): one chunk
 * per device, passes F, I and W, a cap on memory. Waves of one forward and one backward per device; weight
 * gradients go where they fit into a wait, or where memory must be freed. Of the variants that its three
 * choices give, the one with the shortest span of any device is taken.
 */
#ifndef SLIMPIPE_PLANNER_ZB_HEURISTIC_H
#define SLIMPIPE_PLANNER_ZB_HEURISTIC_H

#include "slimpipe/schedule.h"

/*
 * Pushes all passes. A microbatch's activations count 1000 from F on; W frees shape->weight_held_permille of
 * them, I the rest. memory_units is the cap on each device, at least 1000. SP_INFEASIBLE where no variant
 * keeps to it.
 */
enum sp_status sp_zb_heuristic_push(const struct sp_shape *shape, int64_t memory_units,
                                    struct sp_order_builder *builder, struct sp_error *error);

#endif
