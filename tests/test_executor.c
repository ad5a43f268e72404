/* SPDX-License-Identifier: Apache-2.0 */
/* The walker: the plan's clock against the simulator's plain rules, and what happens when something fails. */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "program_builder.h"
#include "random_plan.h"
#include "sim_checks.h"
#include "slimpipe/executor.h"
#include "support.h"

static struct sp_executor *create(const struct sp_program *program,
                                  const struct sp_executor_settings *settings)
{
    struct sp_executor *executor = NULL;
    struct sp_error error = {.status = SP_OK};
    cr_assert_eq(sp_executor_create(program, settings, &executor, &error), SP_OK, "%s", error.message);
    return executor;
}

/* One iteration on the plan's clock is what the plain rules say, twice in a row. */
static void check_replay(const struct sp_program *program, const char *name)
{
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_timeline predicted, measured;
    struct sp_error error = {.status = SP_OK};
    struct sp_step step;
    size_t size = program->instruction_count * sizeof(int64_t);
    settings.clock = SP_CLOCK_PLAN;
    cr_assert_eq(sp_timeline_init(&predicted, program, "predicted", &error), SP_OK);
    cr_assert_eq(sp_timeline_init(&measured, program, "measured", &error), SP_OK);
    cr_assert_eq(sp_sim_run(program, SP_SIM_PLAIN, &predicted, &error), SP_OK, "%s", error.message);
    struct sp_executor *executor = create(program, &settings);
    for (int64_t i = 0; i < 2; i++) {
        enum sp_status status = sp_executor_step(executor, i, &measured, &step, &error);
        cr_assert_eq(status, SP_OK, "%s: %s", name, error.message);
        cr_assert_arr_eq(measured.start_ns, predicted.start_ns, size, "%s: starts", name);
        cr_assert_arr_eq(measured.end_ns, predicted.end_ns, size, "%s: ends", name);
    }
    sp_executor_destroy(executor);
    sp_timeline_finish(&predicted);
    sp_timeline_finish(&measured);
}

Test(executor, every_schedule_replays_as_predicted)
{
    int replayed = 0;
    for (int i = 0; sp_schedules[i]; i++) {
        for (uint32_t devices = 2; devices <= 4; devices += 2) {
            struct unit_costs unit;
            struct sp_request request = {
                .schedule = sp_schedules[i]->name,
                .costs = unit_costs_init(&unit, 1000, 1100, 900, 70),
                .cost_stages = 1,
                .parallel = {.pipeline = devices},
                .chunks = sp_schedules[i]->default_chunks,
                .microbatches = 8,
                .slices = sp_schedules[i]->traits & SP_SCHEDULE_SLICES ? 4 : 1,
            };
            struct sp_plan *plan = NULL;
            struct sp_program *program = NULL;
            struct sp_error error;
            if (sp_plan_compose(&request, &plan, &error) != SP_OK)
                continue;
            cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "%s", error.message);
            check_replay(program, request.schedule);
            replayed++;
            sp_program_destroy(program);
            sp_plan_destroy(plan);
        }
    }
    cr_assert_gt(replayed, 30, "%d schedules and shapes", replayed);
}

/* Exchange, output passes, offload, joined pairs, R, in any order. */
Test(executor, random_plans_replay_as_predicted)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct sp_plan *plan = random_plan_create(seed, seed, seed % 2 ? RP_MODEL : 0);
        struct sp_program *program = NULL;
        struct sp_error error;
        char name[32];
        bool shared = false;
        snprintf(name, sizeof name, "seed %d", (int)seed);
        cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "%s: %s", name, error.message);
        /* Copies on one host link queue behind each other in the simulator alone. */
        for (uint32_t d = 1; d < program->device_count; d++)
            shared |= program->host_port[d] == program->host_port[d - 1];
        if (!shared || !check_copies(program))
            check_replay(program, name);
        sp_program_destroy(program);
        sp_plan_destroy(plan);
    }
}

/* --- Failures ------------------------------------------------------------------------------------------ */

/* 1F1B on three devices, two microbatches. */
static struct sp_program *small_program(void)
{
    struct unit_costs unit;
    struct sp_request request = {.schedule = "1f1b",
                                 .costs = unit_costs_init(&unit, 10, 10, 10, 1),
                                 .cost_stages = 1,
                                 .parallel = {.pipeline = 3},
                                 .microbatches = 2};
    struct sp_plan *plan = NULL;
    struct sp_program *program = NULL;
    struct sp_error error;
    cr_assert_eq(sp_plan_compose(&request, &plan, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_program_create(plan, &program, &error), SP_OK, "%s", error.message);
    return program;
}

static void drop_program(struct sp_program *program)
{
    struct sp_plan *plan = (struct sp_plan *)program->plan;
    sp_program_destroy(program);
    sp_plan_destroy(plan);
}

/* The instruction of a kind of pass of microbatch 1 on device 1. */
static uint32_t find_compute(const struct sp_program *program, enum sp_pass_kind kind)
{
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *at = &program->instructions[i];
        if (at->stream == SP_STREAM_COMPUTE && at->device == 1 && at->pass != SP_NO_INDEX &&
            program->plan->order.passes[at->pass].kind == kind &&
            program->plan->order.passes[at->pass].microbatch == 1)
            return i;
    }
    cr_assert_fail("no such pass");
    return 0;
}

static enum { FAILS, HANGS } trouble;
static uint32_t troubled; /* instruction */

static enum sp_status run_with_trouble(void *state, uint32_t instruction, const struct sp_parcel *inputs,
                                       int count, struct sp_error *error)
{
    (void)state, (void)inputs, (void)count;
    if (instruction != troubled)
        return SP_OK;
    if (trouble == FAILS)
        return sp_error_set(error, SP_DEVICE, "the loss is not a number");
    nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
    return SP_OK;
}

static struct sp_backend troubled_backend(void)
{
    struct sp_backend backend = *sp_backend_find("null");
    backend.run = run_with_trouble;
    return backend;
}

/* Runs a step that must fail with a message. */
static void expect_failure(struct sp_executor *executor, enum sp_status expected, const char *message)
{
    struct sp_error error = {.message = ""};
    struct sp_step step = {.loss = 7};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(sp_executor_step(executor, 0, NULL, &step, &error), expected, "%s", error.message);
        cr_assert_str_eq(error.message, message);
        cr_assert_eq(step.loss, 7);
    }
    sp_executor_destroy(executor);
}

Test(executor, a_failing_device_ends_all)
{
    struct sp_backend backend = troubled_backend();
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_program *program = small_program();
    settings.backend = &backend;
    troubled = find_compute(program, SP_PASS_B);
    trouble = FAILS;
    expect_failure(create(program, &settings), SP_DEVICE,
                   "device 1 failed at the pass 1B1: the loss is not a number");
    drop_program(program);
}

Test(executor, a_hanging_device_ends_all)
{
    struct sp_backend backend = troubled_backend();
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_program *program = small_program();
    settings.backend = &backend;
    settings.limit_ms = 100;
    troubled = find_compute(program, SP_PASS_F);
    trouble = HANGS;
    struct sp_executor *executor = create(program, &settings);
    struct sp_error error = {.message = ""};
    struct sp_step step;
    cr_assert_eq(sp_executor_step(executor, 0, NULL, &step, &error), SP_DEVICE);
    /* Who notices first is a race: the watch, or a device that waits for it. */
    cr_assert(strcmp(error.message, "device 1 has been in the pass 1F1 for more than 0.1 s") == 0 ||
                  strstr(error.message, "which is at the pass 1F1"),
              "%s", error.message);
    sp_executor_destroy(executor);
    drop_program(program);
}

static uint32_t lost;

static enum sp_status send_but_one(void *state, struct sp_letter *letter, struct sp_error *error)
{
    if (letter->slot != lost)
        return sp_transport_find("threads")->send(state, letter, error);
    sp_letter_destroy(letter);
    return SP_OK;
}

Test(executor, a_lost_message_ends_all)
{
    struct sp_transport transport = *sp_transport_find("threads");
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_program *program = small_program();
    uint32_t reader = find_compute(program, SP_PASS_B);
    transport.send = send_but_one;
    settings.transport = &transport;
    settings.limit_ms = 100;
    lost = program->waits[program->instructions[reader].wait_begin];
    cr_assert_eq(program->instructions[lost].kind, SP_INSTRUCTION_HOP);
    expect_failure(
        create(program, &settings), SP_DEVICE,
        "device 1 waited 0.1 s at the pass 1B1 for the hop message of 2B1 from device 2, which has "
        "ended");
    drop_program(program);
}

static struct sp_executor *interrupted;

static void interrupt(int signal)
{
    (void)signal;
    sp_executor_stop(interrupted);
}

Test(executor, a_signal_ends_all)
{
    struct sp_transport transport = *sp_transport_find("threads");
    struct sp_executor_settings settings = sp_executor_settings_default();
    struct sp_program *program = small_program();
    uint32_t reader = find_compute(program, SP_PASS_B);
    transport.send = send_but_one; /* so that it runs until the signal */
    settings.transport = &transport;
    lost = program->waits[program->instructions[reader].wait_begin];
    interrupted = create(program, &settings);
    signal(SIGALRM, interrupt);
    ualarm(50000, 0);
    expect_failure(interrupted, SP_STOPPED, "stopped in step 0");
    drop_program(program);
}

/* Any allocation may fail, wherever it is. */
Test(executor, memory_may_be_short)
{
    struct sp_program *program = small_program();
    struct sp_executor_settings settings = sp_executor_settings_default();
    enum sp_status status = SP_MEMORY;
    int64_t successes = 0;
    for (; status != SP_OK; successes++) {
        struct sp_executor *executor = NULL;
        struct sp_error error;
        struct sp_step step;
        sp_alloc_fail_after(successes);
        status = sp_executor_create(program, &settings, &executor, &error);
        if (status == SP_OK)
            status = sp_executor_step(executor, 0, NULL, &step, &error);
        sp_alloc_fail_after(-1);
        cr_assert(status == SP_OK || status == SP_MEMORY, "after %d: %s", (int)successes, error.message);
        sp_executor_destroy(executor);
    }
    cr_assert_gt(successes, 20);
    drop_program(program);
}

/* --- Arena --------------------------------------------------------------------------------------------- */

Test(executor, settings_are_found_by_name)
{
    cr_assert_null(sp_backend_find("none"));
    cr_assert_null(sp_transport_find("none"));
    for (int i = 0; sp_backends[i]; i++)
        cr_assert_eq(sp_backend_find(sp_backends[i]->name), sp_backends[i]);
    for (int i = 0; sp_transports[i]; i++)
        cr_assert_eq(sp_transport_find(sp_transports[i]->name), sp_transports[i]);
}
