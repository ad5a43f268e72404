/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sim/: the two engines behind sp_sim_run and what they share.
 *
 * Times are sums of what is not negative, so a sum beyond 2^63 ns turns negative when it first happens. The
 * engines add as unsigned and look at the sign; nothing is checked before it is used.
 */
#ifndef SLIMPIPE_SIM_ENGINE_H
#define SLIMPIPE_SIM_ENGINE_H

#include <stdint.h>

#include "slimpipe/sim.h"

static inline int64_t time_add(int64_t time, int64_t more)
{
    return (int64_t)((uint64_t)time + (uint64_t)more);
}

static inline int64_t time_later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The error of a time beyond 2^63 ns. */
enum sp_status sp_sim_too_long(struct sp_error *error);

/*
 * What sender-blocking rules add to an instruction: it starts no earlier than delay_ns[k] after the end of
 * after[k], both earlier instructions of its own compute stream; SP_NO_INDEX: nothing.
 */
struct sp_sim_hold {
    uint32_t after[2];
    int64_t delay_ns[2];
};
/* One per instruction, freed with sp_free. */
enum sp_status sp_sim_holds_create(const struct sp_program *program, struct sp_sim_hold **ret_holds,
                                   struct sp_error *error) SP_MUST_CHECK;

static inline int64_t hold_end(const struct sp_sim_hold *hold, const int64_t *end_ns)
{
    int64_t time = 0;

    for (int k = 0; k < 2; k++)
        if (hold->after[k] != SP_NO_INDEX)
            time = time_later(time, time_add(end_ns[hold->after[k]], hold->delay_ns[k]));
    return time;
}

/*
 * One sweep in the order of numbers; right where nothing but its stream and its waits holds an instruction
 * up. holds: NULL with plain rules.
 */
enum sp_status sp_sim_sweep(const struct sp_program *program, const struct sp_sim_hold *holds,
                            struct sp_timeline *timeline, struct sp_error *error) SP_MUST_CHECK;

/*
 * Host links under numbers below the device count: ret_links[d] is the same for devices that share one. NULL
 * where the program copies nothing. ret_shared: whether copies of two devices can meet. Freed with sp_free.
 */
enum sp_status sp_sim_host_links(const struct sp_program *program, uint32_t **ret_links, bool *ret_shared,
                                 struct sp_error *error) SP_MUST_CHECK;

/* The event engine: copies take their host links, and messages their ports where message_ports is set. */
enum sp_status sp_sim_events(const struct sp_program *program, const struct sp_sim_hold *holds,
                             const uint32_t *host_links, bool message_ports, struct sp_timeline *timeline,
                             struct sp_error *error) SP_MUST_CHECK;

#endif
