/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of every simulated timeline, whatever the program. `seed` names the case in messages. */
#ifndef TESTS_SIM_CHECKS_H
#define TESTS_SIM_CHECKS_H

#include <criterion/criterion.h>

#include "slimpipe/sim.h"

static inline int64_t check_latency(const struct sp_program *program, uint32_t i)
{
    const struct sp_instruction *instruction = &program->instructions[i];

    return instruction->stream == SP_STREAM_SEND ? program->latency_ns[instruction->same_node] : 0;
}

/* Waits are kept, streams run one after the other, durations are as stated. */
static inline void check_order(const struct sp_timeline *timeline, uint64_t seed)
{
    const struct sp_program *program = timeline->program;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        cr_assert_geq(timeline->start_ns[i], 0);
        cr_assert_eq(timeline->end_ns[i] - timeline->start_ns[i],
                     instruction->duration_ns + check_latency(program, i), "seed %lu", (unsigned long)seed);
        for (uint32_t k = 0; k < instruction->wait_count; k++)
            cr_assert_geq(timeline->start_ns[i],
                          timeline->end_ns[program->waits[instruction->wait_begin + k]], "seed %lu",
                          (unsigned long)seed);
    }
    for (uint32_t stream = 0; stream < program->device_count * SP_STREAMS; stream++)
        for (uint32_t k = program->stream_begin[stream] + 1;
             stream % SP_STREAMS != SP_STREAM_SEND && k < program->stream_begin[stream + 1]; k++)
            cr_assert_geq(timeline->start_ns[program->stream_items[k]],
                          timeline->end_ns[program->stream_items[k - 1]], "seed %lu", (unsigned long)seed);
}

/* Nothing computes after this. */
static inline int64_t check_makespan(const struct sp_timeline *timeline)
{
    const struct sp_program *program = timeline->program;
    int64_t makespan = 0;

    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instructions[i].stream == SP_STREAM_COMPUTE && timeline->end_ns[i] > makespan)
            makespan = timeline->end_ns[i];
    return makespan;
}

static inline bool check_copies(const struct sp_program *program)
{
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instructions[i].stream > SP_STREAM_SEND)
            return true;
    return false;
}

/*
 * Runs a program under all rules by both evaluators: the same times to the nanosecond, order kept, bound not
 * above the makespan. Where no copy can overtake another on a host link, nothing is earlier than under plain
 * rules.
 */
static inline void check_program(const struct sp_program *program, uint64_t seed)
{
    struct sp_timeline fast[3], slow;
    struct sp_error error = {.message = ""};
    int64_t bound = 0;
    size_t size = program->instruction_count * sizeof(int64_t);

    cr_assert_eq(sp_sim_bound(program, &bound, &error), SP_OK, "seed %lu: %s", (unsigned long)seed,
                 error.message);
    cr_assert_eq(sp_timeline_init(&slow, program, "predicted", &error), SP_OK);
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_SENDER_BLOCKS; rules++) {
        cr_assert_eq(sp_timeline_init(&fast[rules], program, "predicted", &error), SP_OK);
        cr_assert_eq(sp_sim_run(program, rules, &fast[rules], &error), SP_OK, "seed %lu: %s",
                     (unsigned long)seed, error.message);
        cr_assert_eq(sp_sim_run_reference(program, rules, &slow, &error), SP_OK);
        cr_assert_arr_eq(fast[rules].start_ns, slow.start_ns, size, "seed %lu, %s", (unsigned long)seed,
                         sp_sim_rules_names[rules]);
        cr_assert_arr_eq(fast[rules].end_ns, slow.end_ns, size, "seed %lu, %s", (unsigned long)seed,
                         sp_sim_rules_names[rules]);
        check_order(&fast[rules], seed);
        cr_assert_leq(bound, check_makespan(&fast[rules]), "seed %lu: bound %ld", (unsigned long)seed,
                      (long)bound);
    }
    for (uint32_t i = 0; !check_copies(program) && i < program->instruction_count; i++) {
        cr_assert_geq(fast[SP_SIM_LINKS].start_ns[i], fast[SP_SIM_PLAIN].start_ns[i]);
        cr_assert_geq(fast[SP_SIM_SENDER_BLOCKS].start_ns[i], fast[SP_SIM_PLAIN].start_ns[i]);
    }
    sp_timeline_finish(&slow);
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_SENDER_BLOCKS; rules++)
        sp_timeline_finish(&fast[rules]);
}

#endif
