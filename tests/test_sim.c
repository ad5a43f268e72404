/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the simulator on programs small enough to follow by hand. */
#include <criterion/criterion.h>

#include "program_builder.h"
#include "support.h"

static void run(struct builder *b, enum sp_sim_rules rules)
{
    struct sp_error error;

    builder_close(b);
    cr_assert_eq(sp_sim_run(&b->program, rules, &b->timeline, &error), SP_OK);
}

static void expect(const struct builder *b, uint32_t number, int64_t start, int64_t end)
{
    cr_expect_eq(b->start_ns[number], start, "instruction %u starts at %ld, not %ld", number,
                 (long)b->start_ns[number], (long)start);
    cr_expect_eq(b->end_ns[number], end, "instruction %u ends at %ld, not %ld", number,
                 (long)b->end_ns[number], (long)end);
}

Test(sim, names_its_rules)
{
    cr_expect_str_eq(sp_sim_rules_names[SP_SIM_LINKS], "links");
    cr_expect_str_eq(sp_sim_rules_names[SP_SIM_PLAIN], "plain");
    cr_expect_str_eq(sp_sim_rules_names[SP_SIM_SENDER_BLOCKS], "sender-blocks");
    cr_expect_null(sp_sim_rules_names[3]);
}

/* Two messages of one device at once: the second waits for the port, but not for the first one's latency. */
Test(sim, sender_port_serves_one_at_a_time)
{
    struct builder *b = builder_create(3);
    uint32_t first, second;

    b->program.latency_ns[1] = 7;
    first = builder_message(b, 0, 1, 100, 1);
    second = builder_message(b, 0, 2, 50, 1);
    run(b, SP_SIM_LINKS);
    expect(b, first, 0, 107);
    expect(b, second, 100, 157);
    run(b, SP_SIM_PLAIN);
    expect(b, first, 0, 107);
    expect(b, second, 0, 57);
    free(b);
}

Test(sim, receiver_port_serves_one_at_a_time)
{
    struct builder *b = builder_create(3);
    uint32_t first = builder_message(b, 0, 2, 100, 1);
    uint32_t second = builder_message(b, 1, 2, 50, 1);

    run(b, SP_SIM_LINKS);
    expect(b, first, 0, 100);
    expect(b, second, 100, 150);
    free(b);
}

/* Both ways at once, and another class beside it: nothing is shared. */
Test(sim, directions_and_classes_are_apart)
{
    struct builder *b = builder_create(2);
    uint32_t there = builder_message(b, 0, 1, 100, 1);
    uint32_t back = builder_message(b, 1, 0, 100, 1);
    uint32_t network = builder_message(b, 0, 1, 40, 0);

    b->program.latency_ns[0] = 5;
    run(b, SP_SIM_LINKS);
    expect(b, there, 0, 100);
    expect(b, back, 0, 100);
    expect(b, network, 0, 45);
    free(b);
}

/* Ready first is served first, whatever the number; ties go to the lower number. */
Test(sim, ports_serve_in_order_of_readiness)
{
    struct builder *b = builder_create(4);
    uint32_t slow = builder_compute(b, 0, 20), late, early, tied;

    late = builder_message(b, 0, 3, 10, 1);
    builder_wait(b, slow);
    builder_compute(b, 1, 5);
    early = builder_message(b, 1, 3, 100, 1);
    builder_wait(b, early - 1);
    builder_compute(b, 2, 20);
    tied = builder_message(b, 2, 3, 10, 1);
    builder_wait(b, tied - 1);
    run(b, SP_SIM_LINKS);
    expect(b, early, 5, 105);
    expect(b, late, 105, 115);
    expect(b, tied, 115, 125);
    free(b);
}

/* First in, first out: a message behind a busy receiver keeps the sender's port from one that could go. */
Test(sim, ports_are_first_in_first_out)
{
    struct builder *b = builder_create(4);
    uint32_t busy = builder_message(b, 1, 2, 100, 1);
    uint32_t work = builder_compute(b, 0, 1), blocked, behind;

    blocked = builder_message(b, 0, 2, 10, 1);
    builder_wait(b, work);
    behind = builder_message(b, 0, 3, 10, 1);
    builder_wait(b, work);
    run(b, SP_SIM_LINKS);
    expect(b, busy, 0, 100);
    expect(b, blocked, 100, 110);
    expect(b, behind, 110, 120);
    free(b);
}

/* Copies of a device run in stream order, and take a host link that another device may be using. */
Test(sim, copies_share_host_links)
{
    struct builder *b = builder_create(3);
    uint32_t a = builder_copy(b, 0, SP_STREAM_OFFLOAD, 100);
    uint32_t other = builder_copy(b, 1, SP_STREAM_OFFLOAD, 30);
    uint32_t next = builder_copy(b, 0, SP_STREAM_OFFLOAD, 10);
    uint32_t back = builder_copy(b, 1, SP_STREAM_RELOAD, 50);
    uint32_t apart = builder_copy(b, 2, SP_STREAM_OFFLOAD, 20);

    b->host_port[0] = b->host_port[1] = UINT32_MAX;
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_SENDER_BLOCKS; rules++) {
        run(b, rules);
        expect(b, a, 0, 100);
        expect(b, other, 100, 130);
        expect(b, next, 130, 140);
        expect(b, back, 0, 50);
        expect(b, apart, 0, 20);
    }
    free(b);
}

Test(sim, host_links_are_apart_without_ports)
{
    struct builder *b = builder_create(2);
    uint32_t a = builder_copy(b, 0, SP_STREAM_OFFLOAD, 100);
    uint32_t other = builder_copy(b, 1, SP_STREAM_OFFLOAD, 30);

    b->program.host_port = NULL;
    run(b, SP_SIM_LINKS);
    expect(b, a, 0, 100);
    expect(b, other, 0, 30);
    free(b);
}

Test(sim, compute_waits_for_stream_and_all_waits)
{
    struct builder *b = builder_create(2);
    uint32_t first = builder_compute(b, 0, 10), message, reload, last;

    message = builder_message(b, 0, 1, 5, 1);
    builder_wait(b, first);
    reload = builder_copy(b, 1, SP_STREAM_RELOAD, 40);
    builder_compute(b, 1, 3);
    last = builder_compute(b, 1, 2);
    builder_wait(b, message);
    builder_wait(b, reload);
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_SENDER_BLOCKS; rules++) {
        run(b, rules);
        expect(b, message, 10, 15);
        expect(b, last - 1, 0, 3);
        expect(b, last, 40, 42);
    }
    free(b);
}

Test(sim, refuses_times_that_do_not_fit)
{
    struct builder *b = builder_create(2);
    uint32_t first = builder_compute(b, 0, INT64_MAX - 10), message;
    struct sp_error error;
    int64_t bound = -1;

    message = builder_message(b, 0, 1, 5, 1);
    builder_wait(b, first);
    b->program.latency_ns[1] = 5;
    builder_compute(b, 1, 1);
    builder_wait(b, message);
    builder_close(b);
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_SENDER_BLOCKS; rules++) {
        cr_expect_eq(sp_sim_run(&b->program, rules, &b->timeline, &error), SP_INPUT);
        cr_expect_str_eq(error.message, "the iteration takes longer than 2^63 ns; expected durations whose "
                                        "sum is below");
    }
    cr_expect_eq(sp_sim_bound(&b->program, &bound, &error), SP_INPUT);
    cr_expect_eq(bound, -1);
    b->instructions[first].duration_ns -= 1;
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_SENDER_BLOCKS; rules++) {
        run(b, rules);
        expect(b, message + 1, INT64_MAX - 1, INT64_MAX);
    }
    cr_expect_eq(sp_sim_bound(&b->program, &bound, &error), SP_OK);
    cr_expect_eq(bound, INT64_MAX);
    free(b);
}

/* Each function with its n-th allocation failing, until none fails. */
Test(sim, survives_every_failing_allocation)
{
    struct builder *b = builder_create(2);
    struct sp_error error;
    int64_t bound = -1;

    builder_copy(b, 0, SP_STREAM_OFFLOAD, 10);
    builder_compute(b, 0, 1);
    builder_close(b);
    for (int which = 0; which < 7; which++) {
        enum sp_status status = SP_MEMORY;
        for (int n = 0; status == SP_MEMORY; n++) {
            cr_assert_lt(n, 20);
            sp_alloc_fail_after(n);
            if (which < 3)
                status = sp_sim_run(&b->program, (enum sp_sim_rules)which, &b->timeline, &error);
            else if (which < 6)
                status =
                    sp_sim_run_reference(&b->program, (enum sp_sim_rules)(which - 3), &b->timeline, &error);
            else
                status = sp_sim_bound(&b->program, &bound, &error);
            sp_alloc_fail_after(-1);
            cr_assert(n > 0 || status == SP_MEMORY);
        }
        cr_expect_eq(status, SP_OK);
    }
    cr_expect_eq(bound, 1);
    free(b);
}

/* A chain of a million links: nothing may recurse, or look at a wait again and again. */
Test(sim, follows_long_chains)
{
    enum { LENGTH = 1 << 20 };
    struct sp_instruction *instructions = calloc(LENGTH, sizeof *instructions);
    uint32_t *waits = calloc(LENGTH, sizeof *waits), *items = calloc(LENGTH, sizeof *items);
    int64_t *times = calloc(LENGTH, 2 * sizeof *times);
    struct builder *b = builder_create(2);
    struct sp_error error;

    cr_assert(instructions && waits && items && times);
    for (uint32_t i = 0; i < LENGTH; i++) {
        uint16_t device = i / 2 % 2;
        instructions[i] = (struct sp_instruction){.kind = i % 2 ? SP_INSTRUCTION_HOP : SP_INSTRUCTION_GUEST,
                                                  .stream = i % 2 ? SP_STREAM_SEND : SP_STREAM_COMPUTE,
                                                  .device = device,
                                                  .peer = i % 2 ? !device : device,
                                                  .wait_begin = i,
                                                  .wait_count = i > 0,
                                                  .duration_ns = 3};
        waits[i] = i - 1;
        items[(device * 2 + i % 2) * (LENGTH / 4) + i / 4] = i;
    }
    memcpy(b->stream_begin,
           (uint32_t[]){0, LENGTH / 4, LENGTH / 2, LENGTH / 2, LENGTH / 2, LENGTH / 4 * 3, LENGTH, LENGTH,
                        LENGTH},
           9 * sizeof(uint32_t));
    b->program.instruction_count = LENGTH;
    b->program.instructions = instructions;
    b->program.waits = waits;
    b->program.stream_items = items;
    b->timeline.start_ns = times;
    b->timeline.end_ns = times + LENGTH;
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_PLAIN; rules++) {
        cr_assert_eq(sp_sim_run(&b->program, rules, &b->timeline, &error), SP_OK);
        cr_expect_eq(b->timeline.end_ns[LENGTH - 1], 3 * (int64_t)LENGTH);
    }
    free(b);
    free(times);
    free(items);
    free(waits);
    free(instructions);
}

/* 65,536 single tokens of one pass's past, each a part of its own: more waits than an instruction can have.
 */
Test(sim, refuses_more_parts_than_a_pass_can_wait_for)
{
    enum { PARTS = 1 << 16 };
    static const int64_t tokens[2] = {PARTS, PARTS};
    struct unit_costs unit;
    struct sp_request request = {.schedule = "slimpipe",
                                 .costs = unit_costs_init(&unit, 1000, 1000, 1000, 0),
                                 .cost_stages = 1,
                                 .parallel = {.pipeline = 2},
                                 .slices = 2,
                                 .slice_tokens = tokens,
                                 .microbatches = 1};
    struct sp_program *program = NULL;
    struct sp_plan *plan = NULL;
    struct sp_error error;

    cr_assert_eq(sp_plan_compose(&request, &plan, &error), SP_OK, "%s", error.message);
    plan->exchange_policy = "single-tokens";
    plan->exchange = sp_arena_alloc(plan->arena, PARTS, sizeof *plan->exchange);
    cr_assert(plan->exchange);
    for (int64_t token = 0; token < PARTS; token++)
        plan->exchange[plan->exchange_count++] =
            (struct sp_exchange_part){.pass = {.kind = SP_PASS_F, .slice = 1},
                                      .anchor = {.kind = SP_PASS_F, .stage = 1},
                                      .where = SP_ANCHOR_DURING,
                                      .token_begin = token,
                                      .token_end = token + 1};
    cr_assert_eq(sp_plan_check(plan, &error), SP_OK, "%s", error.message);
    cr_expect_eq(sp_program_create(plan, &program, &error), SP_UNSUPPORTED);
    cr_expect_str_eq(error.message,
                     "a pass waits for 65536 messages; expected at most 65534 parts of an exchange per pass");
    sp_plan_destroy(plan);
}

/* Work 10 + 20 between a head of 5 and a tail of 7; the longest chain is 5 + 20 + 7. */
Test(bound, adds_head_work_and_tail)
{
    struct builder *b = builder_create(3);
    struct sp_error error;
    int64_t bound = 0;
    uint32_t head = builder_compute(b, 0, 5), middle[2];

    for (int k = 0; k < 2; k++) {
        middle[k] = builder_compute(b, 1, 10 * (k + 1));
        builder_wait(b, head);
    }
    for (int k = 0; k < 2; k++) {
        builder_compute(b, 2, 7);
        builder_wait(b, middle[k]);
    }
    builder_close(b);
    cr_assert_eq(sp_sim_bound(&b->program, &bound, &error), SP_OK);
    cr_expect_eq(bound, 5 + 10 + 20 + 7);
    free(b);
}

/* Messages count with latency and duration, but not where nothing computes after them; steps come last. */
Test(bound, counts_messages_and_steps)
{
    struct builder *b = builder_create(2);
    struct sp_error error;
    int64_t bound = 0;
    uint32_t first = builder_compute(b, 0, 5), message;

    b->program.latency_ns[1] = 2;
    message = builder_message(b, 0, 1, 10, 1);
    builder_wait(b, first);
    builder_compute(b, 1, 20);
    builder_wait(b, message);
    builder_message(b, 1, 0, 1000, 1);
    builder_wait(b, message + 1);
    builder_compute(b, 1, 30);
    b->instructions[message + 3].kind = SP_INSTRUCTION_STEP;
    builder_close(b);
    cr_assert_eq(sp_sim_bound(&b->program, &bound, &error), SP_OK);
    cr_expect_eq(bound, 5 + 12 + 20 + 30);
    free(b);
}

/* Copies are queued by the order, early messages leave when the order turns to their pass. */
Test(bound, leaves_out_what_the_order_makes)
{
    struct builder *b = builder_create(2);
    struct sp_error error;
    int64_t bound = 0;
    uint32_t first = builder_compute(b, 0, 5), copy, message;

    copy = builder_copy(b, 0, SP_STREAM_OFFLOAD, 100);
    builder_wait(b, first);
    builder_compute(b, 0, 5);
    builder_wait(b, copy);
    message = builder_message(b, 0, 1, 10, 1);
    b->instructions[message].kind = SP_INSTRUCTION_EARLY;
    builder_wait(b, first);
    builder_compute(b, 1, 20);
    builder_wait(b, message);
    builder_close(b);
    cr_assert_eq(sp_sim_bound(&b->program, &bound, &error), SP_OK);
    cr_expect_eq(bound, 10 + 20);
    free(b);
}

/* Schedules that keep one device busy from its first work to its last cannot be beaten. */
Test(bound, is_met_by_balanced_schedules)
{
    static const struct {
        char schedule[16];
        uint32_t devices, chunks, microbatches, slices;
    } shapes[] = {{"1f1b", 4, 1, 8, 1},     {"1f1b", 16, 1, 64, 1},    {"interleaved", 4, 2, 8, 1},
                  {"slimpipe", 4, 1, 4, 4}, {"slimpipe", 4, 2, 3, 12}, {"slimpipe", 8, 5, 2, 16},
                  {"slimpipe", 4, 3, 2, 6}, {"slimpipe", 32, 1, 2, 32}};
    struct unit_costs unit;

    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct sp_request request = {.schedule = shapes[k].schedule,
                                     .costs = unit_costs_init(&unit, 1000, 1000, 1000, 0),
                                     .cost_stages = 1,
                                     .parallel = {.pipeline = shapes[k].devices},
                                     .chunks = shapes[k].chunks,
                                     .microbatches = shapes[k].microbatches,
                                     .slices = shapes[k].slices};
        struct simulated s = simulate_request(&request, SP_SIM_LINKS);
        cr_expect_eq(s.metrics.makespan_ns, s.metrics.bound_ns, "%s of %u devices: %ld, bound %ld",
                     shapes[k].schedule, shapes[k].devices, (long)s.metrics.makespan_ns,
                     (long)s.metrics.bound_ns);
        drop_simulated(&s);
    }
}

Test(ledger, sweeps_a_device)
{
    struct builder *b = builder_create(2);
    struct sp_device_memory memory;

    b->resident[1][SP_MEMORY_WEIGHTS] = 100;
    builder_compute(b, 0, 1);
    builder_change(b, SP_MEMORY_ACTIVATIONS, 1000, 0);
    builder_compute(b, 1, 1);
    builder_change(b, SP_MEMORY_ACTIVATIONS, 30, 0);
    builder_change(b, SP_MEMORY_RECOMPUTE, 50, 0);
    builder_change(b, SP_MEMORY_RECOMPUTE, -50, 1);
    b->effects[b->instructions[1].memory].in_flight_start = 1;
    builder_compute(b, 1, 1);
    builder_change(b, SP_MEMORY_ACTIVATIONS, 40, 0);
    builder_change(b, SP_MEMORY_OFFLOAD, 70, 1);
    b->effects[b->instructions[2].memory].in_flight_start = 1;
    b->effects[b->instructions[2].memory].in_flight_end = -1;
    builder_compute(b, 1, 1);
    builder_change(b, SP_MEMORY_ACTIVATIONS, -70, 1);
    builder_change(b, SP_MEMORY_OFFLOAD, -70, 1);
    builder_close(b);
    sp_program_memory(&b->program, 1, &memory);
    cr_expect_eq(memory.peak_bytes, 180);
    cr_expect_eq(memory.peak_instruction, 1);
    cr_expect_eq(memory.at_peak[SP_MEMORY_ACTIVATIONS], 30);
    cr_expect_eq(memory.at_peak[SP_MEMORY_RECOMPUTE], 50);
    cr_expect_eq(memory.at_peak[SP_MEMORY_WEIGHTS], 100);
    cr_expect_eq(memory.peak_by_category[SP_MEMORY_ACTIVATIONS], 70);
    cr_expect_eq(memory.peak_by_category[SP_MEMORY_OFFLOAD], 70);
    cr_expect_eq(memory.at_end[SP_MEMORY_WEIGHTS], 100);
    cr_expect_eq(memory.at_end[SP_MEMORY_ACTIVATIONS], 0);
    cr_expect_eq(memory.peak_in_flight, 2);
    free(b);
}

/* A device that allocates nothing has its peak before it starts. */
Test(ledger, keeps_a_resident_peak)
{
    struct builder *b = builder_create(1);
    struct sp_device_memory memory;

    b->resident[0][SP_MEMORY_WEIGHTS] = 100;
    builder_compute(b, 0, 1);
    builder_close(b);
    sp_program_memory(&b->program, 0, &memory);
    cr_expect_eq(memory.peak_bytes, 100);
    cr_expect_eq(memory.peak_instruction, SP_NO_INDEX);
    cr_expect_eq(memory.peak_in_flight, 0);
    free(b);
}

Test(ledger, checks_the_cap)
{
    struct sp_pass pass = {.stage = 3, .kind = SP_PASS_F, .microbatch = 5};
    struct builder *b = builder_create(2);
    struct sp_error error;

    b->plan.order.passes = &pass;
    b->resident[0][SP_MEMORY_WEIGHTS] = (int64_t)1 << 30;
    b->resident[1][SP_MEMORY_WEIGHTS] = (int64_t)1 << 30;
    builder_compute(b, 1, 1);
    builder_change(b, SP_MEMORY_ACTIVATIONS, (int64_t)3 << 29, 0);
    builder_close(b);
    cr_expect_eq(sp_program_check_memory(&b->program, &error), SP_OK);
    b->plan.memory_cap_bytes = (int64_t)5 << 29;
    cr_expect_eq(sp_program_check_memory(&b->program, &error), SP_OK);
    b->plan.memory_cap_bytes -= 1;
    cr_expect_eq(sp_program_check_memory(&b->program, &error), SP_INFEASIBLE);
    cr_expect_str_eq(error.message,
                     "device 1 needs 2.50 GiB (2684354560 bytes) at pass 3F5, above the cap of "
                     "2.50 GiB (2684354559 bytes): weights 1.00 GiB, activations 1.50 GiB");
    free(b);
}
