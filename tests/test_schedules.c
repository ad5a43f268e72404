/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of everything in the registry: what is registered is tested here. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "schedule_clock.h"
#include "support.h"

static const struct clock_rules unequal = {.forward = 7, .input = 11, .weight = 3, .hop = 2};

/* Shapes for p devices: every mix of these, whether a schedule supports it or not. */
static const uint32_t chunk_counts[] = {1, 2, 3, 4};
static const uint32_t slice_counts[] = {1, 2, 4, 9, 16};

static bool supports(const struct sp_schedule *schedule, const struct sp_shape *shape)
{
    struct sp_error error = {0};
    enum sp_status status = sp_schedule_check(schedule, shape, &error);

    if (!status)
        return true;
    cr_assert_eq(status, SP_INPUT, "%s", schedule->name);
    cr_assert_gt(strlen(error.message), 10, "%s refuses without a rule", schedule->name);
    return false;
}

/* O before L, both between the unit's F and its backward, no unit twice. */
static void check_offload(const struct sp_schedule *schedule, const struct sp_shape *shape,
                          const struct sp_order *order)
{
    size_t units = (size_t)shape->devices * shape->chunks * shape->microbatches * shape->slices;
    uint8_t *states = calloc(units, 1); /* 0 fresh, 1 forward ran, 2 out, 3 back, 4 backward ran */

    for (uint64_t k = 0; k < order->begin[order->device_count]; k++) {
        const struct sp_pass *pass = &order->passes[k];
        size_t unit =
            ((size_t)pass->stage * shape->microbatches + pass->microbatch) * shape->slices + pass->slice;
        uint8_t state = states[unit];
        bool right = true;
        if (pass->kind == SP_PASS_F)
            states[unit] = 1;
        else if (pass->kind == SP_PASS_O)
            right = state == 1, states[unit] = 2;
        else if (pass->kind == SP_PASS_L)
            right = state == 2, states[unit] = 3;
        else if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
            right = state == 1 || state == 3, states[unit] = 4;
        cr_assert(right, "%s: offload out of order", schedule->name);
        cr_assert(!(pass->kind == SP_PASS_O) || (schedule->traits & SP_SCHEDULE_OFFLOADS));
    }
    free(states);
}

/* The order uses nothing that the traits do not announce. */
static void check_traits(const struct sp_schedule *schedule, const struct sp_shape *shape,
                         const struct sp_order *order)
{
    for (uint32_t d = 0; d < order->device_count; d++) {
        for (uint64_t k = order->begin[d]; k < order->begin[d + 1]; k++) {
            const struct sp_pass *pass = &order->passes[k];
            bool splits = pass->kind == SP_PASS_I || pass->kind == SP_PASS_W;
            cr_assert(!splits || (schedule->traits & SP_SCHEDULE_SPLITS_W), "%s splits", schedule->name);
            cr_assert(!pass->joined || (schedule->traits & SP_SCHEDULE_JOINS), "%s joins", schedule->name);
            cr_assert(!pass->joined || k + 1 < order->begin[d + 1], "%s joins with nothing", schedule->name);
            cr_assert(sp_schedule_device(schedule, shape, pass->stage) == d ||
                          (schedule->traits & SP_SCHEDULE_TWIN_WEIGHTS),
                      "%s uses a twin", schedule->name);
        }
    }
}

/* A closed form of the bubble holds wherever the schedule supports the shape. */
static void check_bubble(const struct sp_schedule *schedule, const struct sp_shape *shape,
                         const struct sp_order *order)
{
    static const struct clock_rules equal = {.forward = 1000, .input = 1000, .weight = 1000};
    struct clock_result result = clock_run(schedule, shape, order, &equal);
    double busy = 0, bubble;

    for (uint32_t d = 0; d < order->device_count; d++)
        busy += (double)result.busy[d];
    bubble = 1 - busy / ((double)result.makespan * order->device_count);
    cr_assert_float_eq(bubble, schedule->bubble(shape), 1e-9,
                       "%s p %u v %u m %u n %u g %u: bubble %f, stated %f", schedule->name, shape->devices,
                       shape->chunks, shape->microbatches, shape->slices, shape->group, bubble,
                       schedule->bubble(shape));
}

static bool same_pass(const struct sp_pass *a, const struct sp_pass *b)
{
    return a->microbatch == b->microbatch && a->slice == b->slice && a->stage == b->stage &&
           a->kind == b->kind && a->joined == b->joined;
}

/* All passes once, no deadlock, the same bytes twice. */
static void check_shape(const struct sp_schedule *schedule, const struct sp_shape *shape)
{
    struct sp_arena *arena = sp_arena_create();
    struct sp_order order, again;
    struct sp_error error = {0};
    struct clock_result result;
    uint64_t passes;

    cr_assert_eq(sp_schedule_order(schedule, shape, arena, &order, &error), SP_OK,
                 "%s p %u v %u m %u n %u: %s", schedule->name, shape->devices, shape->chunks,
                 shape->microbatches, shape->slices, error.message);
    cr_assert_eq(order.device_count, shape->devices);
    result = clock_run(schedule, shape, &order, &unequal);
    cr_assert_null(result.fault, "%s p %u v %u m %u n %u: %s", schedule->name, shape->devices, shape->chunks,
                   shape->microbatches, shape->slices, result.fault);
    check_offload(schedule, shape, &order);
    check_traits(schedule, shape, &order);
    if (schedule->bubble)
        check_bubble(schedule, shape, &order);
    cr_assert_eq(sp_schedule_order(schedule, shape, arena, &again, &error), SP_OK);
    passes = order.begin[order.device_count];
    cr_assert_arr_eq(order.begin, again.begin, (order.device_count + 1) * sizeof(*order.begin));
    for (uint64_t k = 0; k < passes; k++)
        cr_assert(same_pass(&order.passes[k], &again.passes[k]), "%s is another the second time",
                  schedule->name);
    sp_arena_destroy(arena);
}

/* Every schedule with one number of devices; each must support at least one shape. */
static void check_devices(uint32_t p)
{
    const uint32_t microbatch_counts[] = {1, 2, 3, p - 1, p, p + 1, 2 * p, 3 * p + 1, 4 * p};

    for (int s = 0; sp_schedules[s]; s++) {
        bool searches = p > 6 && strcmp(sp_schedules[s]->name, "v-auto") == 0;
        uint32_t supported = 0;
        for (size_t v = 0; v < sizeof(chunk_counts) / sizeof(*chunk_counts); v++) {
            for (size_t n = 0; n < sizeof(slice_counts) / sizeof(*slice_counts); n++) {
                for (size_t m = 0; m < sizeof(microbatch_counts) / sizeof(*microbatch_counts); m++) {
                    struct sp_shape shape = {.devices = p,
                                             .chunks = chunk_counts[v],
                                             .microbatches = microbatch_counts[m],
                                             .slices = slice_counts[n],
                                             .forward_ns = unequal.forward,
                                             .input_ns = unequal.input,
                                             .weight_ns = unequal.weight,
                                             .message_ns = unequal.hop};
                    if (!supports(sp_schedules[s], &shape))
                        continue;
                    if (searches && m % 4 != 1) /* tens of milliseconds each: 2, p + 1 */
                        continue;
                    check_shape(sp_schedules[s], &shape);
                    supported++;
                }
            }
        }
        cr_assert(supported > 0 || p % 2, "%s supports nothing on %u devices", sp_schedules[s]->name, p);
    }
}

Test(schedules, devices_2_to_5)
{
    for (uint32_t p = 2; p <= 5; p++)
        check_devices(p);
}

Test(schedules, devices_6_to_9)
{
    for (uint32_t p = 6; p <= 9; p++)
        check_devices(p);
}

Test(schedules, devices_10_to_12)
{
    for (uint32_t p = 10; p <= 12; p++)
        check_devices(p);
}

Test(schedules, devices_13_to_14)
{
    for (uint32_t p = 13; p <= 14; p++)
        check_devices(p);
}

Test(schedules, devices_15_to_16)
{
    for (uint32_t p = 15; p <= 16; p++)
        check_devices(p);
}

Test(schedules, one_device)
{
    for (int s = 0; sp_schedules[s]; s++) {
        uint32_t v = sp_schedules[s]->default_chunks ? sp_schedules[s]->default_chunks : 1;
        struct sp_shape shape = {.devices = 1, .chunks = v, .microbatches = 4, .slices = 1};
        if (supports(sp_schedules[s], &shape))
            check_shape(sp_schedules[s], &shape);
    }
}

/* Two levels of memory for the schedules that look at it: more memory is kept to, too little is refused. */
Test(schedules, memory_caps)
{
    for (int s = 0; sp_schedules[s]; s++) {
        const struct sp_schedule *schedule = sp_schedules[s];
        for (int64_t units = 1000; units <= 12000; units += 500) {
            struct sp_shape shape = {.devices = 6, .chunks = 1, .microbatches = 12, .slices = 1};
            struct sp_arena *arena = sp_arena_create();
            struct sp_order order;
            struct sp_error error = {0};
            enum sp_status status;
            if (!(schedule->traits & SP_SCHEDULE_USES_MEMORY)) {
                sp_arena_destroy(arena);
                break;
            }
            shape.chunks = schedule->default_chunks ? schedule->default_chunks : 1;
            shape.memory_units = units;
            status = sp_schedule_order(schedule, &shape, arena, &order, &error);
            cr_assert(status == SP_OK || status == SP_INFEASIBLE, "%s: %s", schedule->name, error.message);
            if (!status) {
                struct clock_result result = clock_run(schedule, &shape, &order, &unequal);
                cr_assert_null(result.fault, "%s: %s", schedule->name, result.fault);
                cr_assert_leq(clock_most(result.held_half, 6) * 500, units * shape.chunks, "%s above %lld",
                              schedule->name, (long long)units);
            }
            sp_arena_destroy(arena);
        }
    }
}

static const struct refusal {
    char schedule[24];
    struct sp_shape shape;
    char message[160];
} refusals[] = {
    {"slimpipe",
     {.devices = 8, .chunks = 1, .microbatches = 2, .slices = 7},
     "slimpipe: 7 slices on 8 devices; expected at least one per device"},
    {"slimpipe",
     {.devices = 4, .chunks = 1, .microbatches = 2, .slices = 4, .window = 3},
     "slimpipe: window 3; expected 1 or 2"},
    {"1f1b",
     {.devices = 4, .chunks = 2, .microbatches = 8, .slices = 1},
     "1f1b has one chunk per device, got 2"},
    {"gpipe",
     {.devices = 4, .chunks = 1, .microbatches = 8, .slices = 2},
     "gpipe does not cut microbatches: expected 1 slice, got 2"},
    {"interleaved",
     {.devices = 4, .chunks = 2, .microbatches = 6, .slices = 1},
     "interleaved: 6 microbatches leave a last group of 2 in groups of 4; expected a multiple of 4, or a "
     "last group "
     "of at least 4, the number of devices"},
    {"interleaved",
     {.devices = 4, .chunks = 2, .microbatches = 8, .slices = 1, .group = 3},
     "interleaved: a group of 3 microbatches does not fill 4 devices"},
    {"interleaved-zb",
     {.devices = 4, .chunks = 2, .microbatches = 6, .slices = 1},
     "interleaved-zb: 6 microbatches; expected a multiple of 4, the number of devices"},
    {"chimera",
     {.devices = 5, .chunks = 1, .microbatches = 8, .slices = 1},
     "chimera: 5 devices; expected an even number"},
    {"chimera",
     {.devices = 4, .chunks = 1, .microbatches = 7, .slices = 1},
     "chimera: 7 microbatches; expected an even number"},
    {"dualpipe",
     {.devices = 4, .chunks = 1, .microbatches = 6, .slices = 1},
     "dualpipe: 6 microbatches on 4 devices; expected an even number, at least 8"},
    {"dualpipev",
     {.devices = 4, .chunks = 2, .microbatches = 7, .slices = 1},
     "dualpipev: 7 microbatches on 4 devices; expected at least 8"},
    {"bitpipe",
     {.devices = 4, .chunks = 2, .microbatches = 6, .slices = 1},
     "bitpipe: 6 microbatches; expected a multiple of 4, the number of devices"},
    {"hanayo",
     {.devices = 4, .chunks = 3, .microbatches = 4, .slices = 1},
     "hanayo: 3 chunks per device; expected two for each wave"},
    {"seq1f1b-interleaved",
     {.devices = 4, .chunks = 2, .microbatches = 4, .slices = 3},
     "seq1f1b-interleaved: 3 slices; expected a divisor of 4, the number of devices, so that a group of 4 "
     "slices "
     "holds whole microbatches"},
    {"slice-v",
     {.devices = 8, .chunks = 2, .microbatches = 2, .slices = 4},
     "slice-v: 8 slices in all; expected at least 18, those of one microbatch and 2p - 2"},
    {"gis",
     {.devices = 8, .chunks = 2, .microbatches = 8, .slices = 1, .group = 3},
     "gis: groups of 3 microbatches; expected 4 to 8, from half the devices to all"},
    {"zb-1p",
     {.devices = 4, .chunks = 1, .microbatches = 8, .slices = 1, .memory_units = 999},
     "memory_units 999; expected at least 1000, one microbatch's activations"},
    {"v-half",
     {.devices = 4, .chunks = 4, .microbatches = 8, .slices = 1},
     "v-half: 4 chunks per device; expected 2"},
    {"1f1b", {.devices = 0, .chunks = 1, .microbatches = 8, .slices = 1}, "0 devices: expected 1 to 4096"},
    {"1f1b",
     {.devices = 4, .chunks = 1, .microbatches = 0, .slices = 1},
     "0 microbatches: expected 1 to 1048576"},
    {"slimpipe",
     {.devices = 4096, .chunks = 4, .microbatches = 1 << 20, .slices = 1},
     "16384 stages of 1048576 microbatches of 1 slices: more than 67108864 passes of a kind"},
};

Test(schedules, refusals)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
        const struct refusal *refusal = &refusals[i];
        struct sp_error error = {0};
        cr_expect_eq(sp_schedule_check(sp_schedule_find(refusal->schedule), &refusal->shape, &error),
                     SP_INPUT);
        cr_expect_str_eq(error.message, refusal->message);
    }
    cr_assert_null(sp_schedule_find("no such schedule"));
}

Test(schedules, registry)
{
    for (int s = 0; sp_schedules[s]; s++) {
        const struct sp_schedule *schedule = sp_schedules[s];
        cr_assert_eq(sp_schedule_find(schedule->name), schedule, "%s stands twice", schedule->name);
        cr_assert(schedule->description && schedule->source && schedule->check && schedule->order);
        cr_assert_eq(!!(schedule->traits & SP_SCHEDULE_TWIN_WEIGHTS), schedule->twin || schedule->stage_count,
                     "%s", schedule->name);
        cr_assert_eq(!!(schedule->traits & SP_SCHEDULE_SKIPS), schedule->paths != NULL, "%s", schedule->name);
        cr_assert(schedule->default_chunks < 2 || (schedule->traits & SP_SCHEDULE_CHUNKS), "%s",
                  schedule->name);
    }
}

/* Any allocation may fail (each of the first few, then ever fewer): SP_MEMORY, nothing leaked (with
 * sanitizers), the result untouched. */
Test(schedules, short_of_memory)
{
    for (int s = 0; sp_schedules[s]; s++) {
        const struct sp_schedule *schedule = sp_schedules[s];
        struct sp_shape shape = {.devices = 4, .microbatches = 40, .slices = 1};
        struct sp_order untouched = {.device_count = 77}, order = untouched;
        struct sp_error error = {0};
        enum sp_status status = SP_MEMORY;
        shape.chunks = schedule->default_chunks ? schedule->default_chunks : 1;
        if (schedule->traits & SP_SCHEDULE_SLICES && !supports(schedule, &shape))
            shape.slices = 4;
        for (int64_t successes = 0; status; successes += 1 + successes / 8) {
            struct sp_arena *arena = sp_arena_create();
            cr_assert_eq(order.device_count, untouched.device_count);
            sp_alloc_fail_after(successes);
            status = sp_schedule_order(schedule, &shape, arena, &order, &error);
            sp_alloc_fail_after(-1);
            cr_assert(status == SP_OK || status == SP_MEMORY, "%s: %s", schedule->name, error.message);
            cr_assert_lt(successes, 1000000, "%s never gets enough", schedule->name);
            sp_arena_destroy(arena);
        }
    }
}

/* Composed into a plan, which checks itself, and simulated: the same makespan as the obvious evaluator's. */
Test(schedules, simulator_agrees)
{
    for (int s = 0; sp_schedules[s]; s++) {
        const struct sp_schedule *schedule = sp_schedules[s];
        struct unit_costs costs;
        struct sp_request request = {
            .schedule = schedule->name, .parallel = {.pipeline = 4}, .microbatches = 12};
        struct sp_shape shape = {.devices = 4, .microbatches = 12, .slices = 1};
        struct clock_result result;
        struct simulated simulated;
        request.costs = unit_costs_init(&costs, unequal.forward, unequal.input, unequal.weight, unequal.hop);
        request.cost_stages = 1;
        shape.chunks = schedule->default_chunks ? schedule->default_chunks : 1;
        if (schedule->traits & SP_SCHEDULE_SLICES)
            shape.slices = 4;
        shape.forward_ns = unequal.forward;
        shape.input_ns = unequal.input;
        shape.weight_ns = unequal.weight;
        shape.message_ns = unequal.hop;
        request.chunks = shape.chunks;
        request.slices = shape.slices;
        result = clock_schedule(schedule->name, &shape, &unequal);
        simulated = simulate_request(&request, SP_SIM_PLAIN);
        cr_expect_eq(simulated.metrics.makespan_ns, result.makespan, "%s: simulated %lld, evaluated %lld",
                     schedule->name, (long long)simulated.metrics.makespan_ns, (long long)result.makespan);
        drop_simulated(&simulated);
    }
}
