/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy "optimal": what exchange_optimal.c finds, unless the simulator knows better.
 *
 * Waves are solved one by one, as if all devices went through them in step. Where messages are slow or an
 * order leaves slack, devices out of step may be faster than devices that wait for each other. So what was
 * solved is simulated beside an exchange in those waves only that gain much by it, the pairwise rule, and
 * none, and the shortest is taken. A plan's memory cap is kept where it can be.
 */
#include "exchange.h"
#include "slimpipe/program.h"
#include "slimpipe/sim.h"
#include "slimpipe/timeline.h"

/* Beyond this many layers of passes and parts a plan is not simulated several times over. */
static const uint64_t most_simulated = 6000000;

/* What a wave must gain in the second attempt. */
enum { MUCH_PERMILLE = 100 };

struct choice {
    struct sp_plan *plan;
    bool found;
    int64_t makespan_ns;
    bool fits; /* under the memory cap */
    struct sp_exchange_part *exchange;
    uint64_t exchange_count;
    int64_t headroom_bytes; /* of the fullest device under the cap; 0: no cap */
    struct sp_exchange_report report;
};

static uint64_t simulated_size(const struct sp_plan *plan)
{
    const struct sp_order *order = &plan->order;
    uint64_t layers = 0, passes = order->begin[order->device_count];
    for (uint32_t s = 0; s < plan->stage_count; s++)
        layers += plan->has_model ? plan->stages[s].layer_count : 1;
    return passes * (layers / plan->stage_count + 1);
}

static int64_t makespan(const struct sp_timeline *timeline)
{
    int64_t end = 0;
    for (uint32_t i = 0; i < timeline->program->instruction_count; i++)
        if (timeline->end_ns[i] > end)
            end = timeline->end_ns[i];
    return end;
}

static int64_t headroom(const struct sp_program *program)
{
    int64_t cap = program->plan->memory_cap_bytes, least = cap;
    for (uint32_t d = 0; cap > 0 && d < program->device_count; d++) {
        struct sp_device_memory memory;
        sp_program_memory(program, d, &memory);
        if (cap - memory.peak_bytes < least)
            least = cap - memory.peak_bytes;
    }
    return least;
}

/* Simulates the plan as it is, and keeps its exchange where it is the best so far. */
static enum sp_status consider(struct choice *choice, struct sp_error *error)
{
    struct sp_program *program = NULL;
    struct sp_timeline timeline = {0};
    enum sp_status status;
    if ((status = sp_program_create(choice->plan, &program, error)) ||
        (status = sp_timeline_init(&timeline, program, "predicted", error)) ||
        (status = sp_sim_run(program, SP_SIM_LINKS, &timeline, error)))
        goto out;
    int64_t makespan_ns = makespan(&timeline);
    choice->headroom_bytes = headroom(program);
    bool fits = choice->plan->memory_cap_bytes <= 0 || choice->headroom_bytes >= 0;
    bool better = !choice->found || (fits && !choice->fits) ||
                  (fits == choice->fits && makespan_ns < choice->makespan_ns);
    if (better) {
        choice->found = true;
        choice->makespan_ns = makespan_ns;
        choice->fits = fits;
        choice->exchange = choice->plan->exchange;
        choice->exchange_count = choice->plan->exchange_count;
    }
out:
    sp_timeline_finish(&timeline);
    sp_program_destroy(program);
    return status;
}

static enum sp_status consider_optimal(struct choice *choice, const struct sp_exchange_settings *settings,
                                       struct sp_error *error)
{
    enum sp_status status = sp_exchange_optimal_fill(choice->plan, settings, &choice->report, error);
    return status ? status : consider(choice, error);
}

/* Buffers for guests get what the fullest device leaves free, then less: requesters hold results besides. */
static enum sp_status consider_under_cap(struct choice *choice, struct sp_exchange_settings *settings,
                                         int64_t headroom_bytes, struct sp_error *error)
{
    enum sp_status status;
    if (choice->plan->memory_cap_bytes <= 0)
        return consider_optimal(choice, settings, error);
    for (int share = 1; share <= 4; share *= 2) {
        settings->guest_bytes = headroom_bytes / share;
        if (settings->guest_bytes <= 0)
            return SP_OK;
        if ((status = consider_optimal(choice, settings, error)) || choice->headroom_bytes >= 0)
            return status;
    }
    return SP_OK;
}

static enum sp_status consider_all(struct choice *choice, struct sp_error *error)
{
    struct sp_exchange_settings settings = sp_exchange_settings_default;
    enum sp_status status;
    if ((status = sp_exchange_none.fill(choice->plan, error)) || (status = consider(choice, error)))
        return status;
    int64_t headroom_bytes = choice->headroom_bytes;
    if ((status = consider_under_cap(choice, &settings, headroom_bytes, error)))
        return status;
    settings.gain_permille = MUCH_PERMILLE;
    if (choice->report.rehearsed && (status = consider_optimal(choice, &settings, error)))
        return status;
    if ((status = sp_exchange_pairwise.fill(choice->plan, error)))
        return status;
    return consider(choice, error);
}

static enum sp_status fill(struct sp_plan *plan, struct sp_error *error)
{
    struct choice choice = {.plan = plan};
    if (simulated_size(plan) > most_simulated)
        return sp_exchange_optimal_fill(plan, &sp_exchange_settings_default, NULL, error);
    enum sp_status status = consider_all(&choice, error);
    if (status)
        return status;
    plan->exchange = choice.exchange;
    plan->exchange_count = choice.exchange_count;
    plan->exchange_policy = sp_exchange_optimal.name;
    return SP_OK;
}

const struct sp_exchange_policy sp_exchange_optimal = {
    .name = "optimal",
    .description = "every wave as level as it can be, in tiles, over all devices (GLPK)",
    .fill = fill,
};
