/* SPDX-License-Identifier: Apache-2.0 */
/* What an order does whatever its passes cost: units held, and idle time with equal passes. */
#include "candidate.h"
#include "order_builder.h"
#include "predict.h"

/* Slices of KV gradient that a backward adds and drops (program/changes.c has the same rule in bytes). */
static uint32_t gradient_added(const struct sp_pass *pass, uint32_t slices, bool expanded)
{
    return pass->slice + 1u == slices || expanded ? pass->slice + 1u : 0;
}

static uint32_t gradient_dropped(const struct sp_pass *pass, uint32_t slices, bool expanded)
{
    return expanded && pass->slice + 1u < slices ? pass->slice + 2u : 1;
}

static void walk_device(const struct sp_order *order, uint32_t device, uint32_t slices, bool expanded,
                        struct order_profile *profile)
{
    uint32_t held = 0, gradient = 0;
    for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
        const struct sp_pass *pass = &order->passes[i];
        bool backward = pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
        if (pass->kind == SP_PASS_F && ++held > profile->in_flight[device])
            profile->in_flight[device] = held;
        if (backward && slices > 1) {
            gradient += gradient_added(pass, slices, expanded);
            if (gradient > profile->kv_gradient[device])
                profile->kv_gradient[device] = gradient;
            gradient -= gradient_dropped(pass, slices, expanded);
        }
        if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_W)
            held--;
    }
}

/* Idle share of the order by simulating it with equal passes. */
static enum sp_status simulate_idle(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                    double *ret_idle, struct sp_error *error)
{
    enum { UNIT_NS = 1000 };
    static const int64_t unit[] = {UNIT_NS};
    static const struct sp_pass_costs costs = {.forward_ns = unit, .input_ns = unit, .weight_ns = unit};
    const struct sp_request request = {.schedule = schedule->name,
                                       .costs = &costs,
                                       .cost_stages = 1,
                                       .parallel = {.pipeline = shape->devices},
                                       .chunks = shape->chunks,
                                       .slices = shape->slices,
                                       .window = shape->window,
                                       .group = shape->group,
                                       .memory_units = shape->memory_units,
                                       .microbatches = shape->microbatches};
    struct sp_predicted predicted;
    enum sp_status status = sp_predict(&request, &predicted, error);
    if (status == SP_OK)
        *ret_idle = predicted.bubble_mean_idle;
    return status;
}

enum sp_status sp_order_profile_get(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                    bool expanded, struct sp_arena *arena, struct order_profile *ret_profile,
                                    struct sp_error *error)
{
    struct sp_order order = {.device_count = 0};
    struct order_profile profile = {.in_flight = sp_arena_alloc(arena, shape->devices, sizeof(uint32_t)),
                                    .kv_gradient = sp_arena_alloc(arena, shape->devices, sizeof(uint32_t))};
    struct sp_arena *scratch = sp_arena_create();
    struct sp_order_builder *builder = sp_order_builder_create(shape->devices);
    enum sp_status status = SP_OK;
    if (!profile.in_flight || !profile.kv_gradient || !scratch || !builder) {
        status = sp_error_set(error, SP_MEMORY, "out of memory while profiling %s", schedule->name);
        goto out;
    }
    if (schedule->check)
        status = schedule->check(shape, error);
    if (status == SP_OK)
        status = schedule->order(shape, builder, error);
    if (status == SP_OK)
        status = sp_order_builder_take(builder, scratch, &order, error);
    if (status != SP_OK)
        goto out;
    for (uint32_t d = 0; d < shape->devices; d++)
        walk_device(&order, d, shape->slices, expanded, &profile);
    if (schedule->bubble)
        profile.idle = schedule->bubble(shape);
    else
        status = simulate_idle(schedule, shape, &profile.idle, error);
    if (status == SP_OK)
        *ret_profile = profile;
out:
    sp_order_builder_destroy(builder);
    sp_arena_destroy(scratch);
    return status;
}
