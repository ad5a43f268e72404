/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: virtual clocks over a program.
 */
#ifndef SLIMPIPE_SIM_H
#define SLIMPIPE_SIM_H

#include "slimpipe/timeline.h"

/*
 * Links: the full model. A message takes the sender's and the receiver's port of its class (inside the node,
 * or network card) for its duration, ports serve in the order of readiness (ties: lower instruction), and
 * arrives one latency later; copies take their host link likewise, each direction apart, in stream order,
 * shared by the devices of one port. First in, first out: what was ready earlier is never overtaken on a port
 * of its own. Plain: a message is a delay of latency plus duration that takes no port; copies as with links.
 * Sender blocks: the rule of PP-Schedule-Visualization: plain, but every stage hop pays the delay, also on
 * one device; W waits the delay after its own I unless it is of the last stage; and a pass starts at least
 * one delay after the previous one's end where both are of the same direction and stage, neither is joined,
 * and the previous one's receiver exists and is not joined. With a model, a hop on one device and W's wait
 * cost what the same message costs to the device beside it.
 */
enum sp_sim_rules { SP_SIM_LINKS, SP_SIM_PLAIN, SP_SIM_SENDER_BLOCKS };
extern const char *const sp_sim_rules_names[]; /* "links", "plain", "sender-blocks" */

/*
 * Fills an initialised timeline. SP_INPUT where times pass 2^63 ns (292 years), SP_MEMORY; either leaves the
 * times undefined.
 */
enum sp_status sp_sim_run(const struct sp_program *program, enum sp_sim_rules rules,
                          struct sp_timeline *timeline, struct sp_error *error) SP_MUST_CHECK;

/* The same by the obvious method, slowly; the specification of sp_sim_run. Times must fit. */
enum sp_status sp_sim_run_reference(const struct sp_program *program, enum sp_sim_rules rules,
                                    struct sp_timeline *timeline, struct sp_error *error) SP_MUST_CHECK;

/*
 * A lower bound of the makespan, under any of the rules, of any order of the plan's passes with its stages,
 * slices, costs, exchanged parts and joined pairs: for each device the earliest that work can reach it, plus
 * all its work, plus the least that must follow it; and the longest chain of dependencies. What follows from
 * the order (when copies to host memory and early messages are queued) does not count. SP_INPUT as above.
 */
enum sp_status sp_sim_bound(const struct sp_program *program, int64_t *ret_bound_ns,
                            struct sp_error *error) SP_MUST_CHECK;

#endif
