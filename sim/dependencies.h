/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sim/: what an instruction needs whatever the order of its device: the waits of a program, but
 * for those that come from the order (of copies to and from host memory, and of early messages, which leave
 * when their device turns to the pass), and what the model demands between passes of one device, where the
 * order stands in for waits.
 */
#ifndef SLIMPIPE_SIM_DEPENDENCIES_H
#define SLIMPIPE_SIM_DEPENDENCIES_H

#include <stdint.h>

#include "slimpipe/program.h"

/* Instruction i needs items[begin[i]] … items[begin[i + 1] - 1], all smaller than i. */
struct sp_sim_dependencies {
    uint64_t *begin; /* instruction_count + 1 */
    uint32_t *items;
};

enum sp_status sp_sim_dependencies_init(struct sp_sim_dependencies *dependencies,
                                        const struct sp_program *program,
                                        struct sp_error *error) SP_MUST_CHECK;
void sp_sim_dependencies_finish(struct sp_sim_dependencies *dependencies);

#endif
