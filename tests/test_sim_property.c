/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator against its specification, on random programs and random plans. */
#include <criterion/criterion.h>

#include "program_builder.h"
#include "random.h"
#include "random_plan.h"
#include "sim_checks.h"

/* Durations that are often equal, so that ties happen, sometimes nothing, and sometimes long. */
static int64_t random_duration(struct random *random)
{
    switch (random_below(random, 4)) {
    case 0:
        return 10;
    case 1:
        return random_below(random, 3) * 5;
    default:
        return random_below(random, 100);
    }
}

static void add_random_instruction(struct builder *b, struct random *random, bool copies)
{
    uint32_t devices = b->program.device_count, device = random_below(random, devices);
    int64_t duration = random_duration(random);

    switch (random_below(random, copies ? 8 : 7)) {
    case 7:
        builder_copy(b, device, random_one_in(random, 2) ? SP_STREAM_OFFLOAD : SP_STREAM_RELOAD, duration);
        break;
    case 0:
    case 1:
    case 2:
        builder_message(b, device, random_below(random, devices), duration, random_one_in(random, 2));
        break;
    default:
        builder_compute(b, device, duration);
    }
}

/* Waits for near numbers mostly, as in real programs, and at times the same one twice. */
static void add_random_waits(struct builder *b, struct random *random)
{
    uint32_t number = b->program.instruction_count - 1;
    uint32_t reach = random_one_in(random, 4) || number < 12 ? number : 12;

    for (uint32_t count = random_below(random, 4); number > 0 && count > 0; count--)
        builder_wait(b, number - 1 - random_below(random, reach));
}

/* A third without copies, a third with a host link per device, a third with shared ones. */
static struct builder *random_program(struct random *random, uint64_t seed)
{
    struct builder *b = builder_create(1 + random_below(random, 6));
    uint32_t count = 1 + random_below(random, seed % 10 == 0 ? 150 : 40);

    for (int node = 0; node < 2; node++)
        b->program.latency_ns[node] = random_one_in(random, 2) ? random_duration(random) : 0;
    for (uint32_t device = 0; seed % 3 == 0 && device < b->program.device_count; device++)
        b->host_port[device] = 1000 * random_below(random, device + 1);
    while (b->program.instruction_count < count) {
        add_random_instruction(b, random, seed % 3 != 1);
        add_random_waits(b, random);
    }
    builder_close(b);
    return b;
}

Test(sim_property, random_programs)
{
    enum { CASES = 3000 };

    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct random random = {seed};
        struct builder *b = random_program(&random, seed);
        check_program(&b->program, seed);
        free(b);
    }
}

/* A change of memory and when it happens. */
struct event {
    int64_t time_ns;
    uint32_t number; /* instruction; with equal times in stream order, which numbers follow */
    uint32_t change;
    uint8_t at_end;
};

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    if (x->time_ns != y->time_ns)
        return x->time_ns < y->time_ns ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->change < y->change ? -1 : 1;
}

/* All changes of a device at their times in a timeline; the caller frees them. */
static struct event *memory_events(const struct sp_timeline *timeline, uint32_t device, size_t *ret_count)
{
    const struct sp_program *program = timeline->program;
    struct event *events = NULL;
    size_t count = 0;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_memory_effect *effect = &program->effects[program->instructions[i].memory];
        for (uint32_t k = effect->begin; program->instructions[i].device == device && k < effect->end; k++) {
            uint8_t at_end = program->changes[k].at_end;
            events = realloc(events, (count + 1) * sizeof *events);
            cr_assert(events);
            events[count++] =
                (struct event){at_end ? timeline->end_ns[i] : timeline->start_ns[i], i, k, at_end};
        }
    }
    if (count > 0)
        qsort(events, count, sizeof *events, compare_events);
    *ret_count = count;
    return events;
}

/* A ledger that follows the clock, change by change, against the one that follows the streams. */
static void check_ledger(const struct sp_timeline *timeline, uint32_t device, uint64_t seed)
{
    const struct sp_program *program = timeline->program;
    int64_t live[SP_MEMORY_CATEGORIES], most[SP_MEMORY_CATEGORIES], peak = 0, total;
    struct sp_device_memory memory;
    size_t count;
    struct event *events = memory_events(timeline, device, &count);

    memcpy(live, program->resident[device], sizeof live);
    memcpy(most, live, sizeof most);
    for (size_t k = 0; k <= count; k++) {
        total = -live[SP_MEMORY_OFFLOAD];
        for (int category = 0; category < SP_MEMORY_CATEGORIES; category++) {
            total += live[category];
            most[category] = live[category] > most[category] ? live[category] : most[category];
            cr_assert_geq(live[category], 0);
        }
        peak = total > peak ? total : peak;
        if (k < count)
            live[program->changes[events[k].change].category] += program->changes[events[k].change].bytes;
    }
    sp_program_memory(program, device, &memory);
    cr_assert_eq(memory.peak_bytes, peak, "seed %lu, device %u: %ld, not %ld", (unsigned long)seed, device,
                 (long)memory.peak_bytes, (long)peak);
    cr_assert_arr_eq(memory.peak_by_category, most, sizeof most, "seed %lu", (unsigned long)seed);
    cr_assert_arr_eq(memory.at_end, live, sizeof live, "seed %lu", (unsigned long)seed);
    cr_assert_arr_eq(memory.at_end, program->resident[device], sizeof live,
                     "seed %lu: device %u is not left "
                     "as it was",
                     (unsigned long)seed, device);
    free(events);
}

static void check_plan(const struct sp_plan *plan, uint64_t seed)
{
    struct sp_program *program = NULL;
    struct sp_timeline timeline;
    struct sp_error error = {.message = ""};

    cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "seed %lu: %s", (unsigned long)seed,
                 error.message);
    check_program(program, seed);
    cr_assert_eq(sp_timeline_init(&timeline, program, "predicted", &error), SP_OK);
    for (enum sp_sim_rules rules = SP_SIM_LINKS; rules <= SP_SIM_PLAIN; rules++) {
        cr_assert_eq(sp_sim_run(program, rules, &timeline, &error), SP_OK);
        for (uint32_t device = 0; device < program->device_count; device++)
            check_ledger(&timeline, device, seed);
    }
    sp_timeline_finish(&timeline);
    sp_program_destroy(program);
}

static bool has_joins(const struct sp_plan *plan)
{
    for (uint64_t i = 0; i < plan->order.begin[plan->order.device_count]; i++)
        if (plan->order.passes[i].joined)
            return true;
    return false;
}

/* Random plans, of which at least a tenth must have what makes them hard. */
static void check_plans(uint64_t cases, int flags)
{
    uint64_t exchanged = 0, joined = 0;

    for (uint64_t seed = 1; seed <= cases; seed++) {
        struct sp_plan *plan = random_plan_create(seed, seed, flags);
        joined += has_joins(plan);
        exchanged += plan->exchange_count > 0;
        check_plan(plan, seed);
        sp_plan_destroy(plan);
    }
    cr_expect_geq(exchanged * 10, cases, "%lu of %lu plans exchange", (unsigned long)exchanged,
                  (unsigned long)cases);
    cr_expect_geq(joined * 10, cases, "%lu of %lu plans join", (unsigned long)joined, (unsigned long)cases);
}

Test(sim_property, random_plans)
{
    check_plans(1500, 0);
}

Test(sim_property, random_plans_of_a_model)
{
    check_plans(500, RP_MODEL);
}

/* The bound speaks of every order of a plan's passes, so it must be the same for all of them. */
Test(sim_property, bounds_do_not_depend_on_the_order)
{
    enum { CASES = 300, TRIES = 3 };

    for (uint64_t seed = 1; seed <= CASES; seed++) {
        int64_t bounds[TRIES];
        for (uint64_t try = 0; try < TRIES; try++) {
            struct sp_plan *plan =
                random_plan_create(seed, seed * TRIES + try, RP_ORDER_ONLY | (seed % 3 == 0 ? RP_MODEL : 0));
            struct sp_program *program = NULL;
            struct sp_error error;
            cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK);
            cr_assert_eq(sp_sim_bound(program, &bounds[try], &error), SP_OK);
            sp_program_destroy(program);
            sp_plan_destroy(plan);
            cr_assert_eq(bounds[try], bounds[0], "seed %lu: %ld and %ld", (unsigned long)seed,
                         (long)bounds[0], (long)bounds[try]);
        }
    }
}

/* Bytes and units that a pass adds at its start, and what it leaves at its end, with explicit costs. */
static void count_pass(const struct sp_plan *plan, const struct sp_pass *pass, int64_t *bytes, int64_t *units,
                       int64_t *ret_peak_bytes, int64_t *ret_peak_units)
{
    const struct sp_pass_costs *costs = plan->costs;
    bool splits = plan->stages[pass->stage].train == SP_TRAIN_FULL;

    if (pass->kind == SP_PASS_F) {
        *bytes += costs->activation_bytes;
        *units += 1;
    }
    *ret_peak_bytes = *bytes > *ret_peak_bytes ? *bytes : *ret_peak_bytes;
    *ret_peak_units = *units > *ret_peak_units ? *units : *ret_peak_units;
    if (pass->kind == SP_PASS_B || (pass->kind == SP_PASS_I && !splits)) {
        *bytes -= costs->activation_bytes;
        *units -= 1;
    } else if (pass->kind == SP_PASS_I) {
        *bytes -= costs->activation_bytes - costs->weight_held_bytes;
    } else if (pass->kind == SP_PASS_W) {
        *bytes -= costs->weight_held_bytes;
        *units -= 1;
    }
}

/* The ledger against one that knows nothing of programs: a walk along the order of each device. */
Test(sim_property, ledgers_follow_the_order)
{
    enum { CASES = 300 };

    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct sp_plan *plan = random_plan_create(seed, seed, RP_ORDER_ONLY);
        struct sp_program *program = NULL;
        struct sp_error error;
        for (uint32_t stage = 0; stage < plan->stage_count; stage++)
            plan->stages[stage].offload_permille = 0;
        cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK);
        for (uint32_t device = 0; device < plan->order.device_count; device++) {
            int64_t bytes = 0, units = 0, peak_bytes = 0, peak_units = 0;
            struct sp_device_memory memory;
            for (uint64_t i = plan->order.begin[device]; i < plan->order.begin[device + 1]; i++)
                count_pass(plan, &plan->order.passes[i], &bytes, &units, &peak_bytes, &peak_units);
            sp_program_memory(program, device, &memory);
            cr_assert_eq(bytes, 0);
            cr_assert_eq(units, 0);
            cr_assert_eq(memory.peak_bytes, peak_bytes, "seed %lu, device %u", (unsigned long)seed, device);
            cr_assert_eq(memory.peak_in_flight, peak_units, "seed %lu, device %u", (unsigned long)seed,
                         device);
        }
        sp_program_destroy(program);
        sp_plan_destroy(plan);
    }
}
