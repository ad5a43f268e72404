/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The automatic ZB-V (arXiv 2401.10241, appendix, and its published code): two chunks per device in a V,
 * passes F, I and W, a cap on memory. After the fill, waves of one backward and one forward per device;
 * weight gradients go where they fit into a wait, where a device has waited less than others, or where memory
 * must be freed. Each of four variants is repeated while knowing the waits of the last try shortens the
 * worst one.
 */
#ifndef SLIMPIPE_PLANNER_ZBV_HEURISTIC_H
#define SLIMPIPE_PLANNER_ZBV_HEURISTIC_H

#include "slimpipe/schedule.h"

/*
 * Pushes all passes. A chunk's activations of a microbatch count 500 from F on; W frees
 * shape->weight_held_permille of them, I the rest. memory_units is the cap on each device. SP_INFEASIBLE
 * where no variant keeps to it.
 */
enum sp_status sp_zbv_heuristic_push(const struct sp_shape *shape, int64_t memory_units,
                                     struct sp_order_builder *builder, struct sp_error *error);

#endif
