/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/plan.h"

static const struct array {
    const char *name;
    size_t offset; /* of the pointer in struct sp_pass_costs */
} arrays[] = {
    {"forward", offsetof(struct sp_pass_costs, forward_ns)},
    {"input", offsetof(struct sp_pass_costs, input_ns)},
    {"weight", offsetof(struct sp_pass_costs, weight_ns)},
    {"recompute", offsetof(struct sp_pass_costs, recompute_ns)},
    {"overlap", offsetof(struct sp_pass_costs, overlap_ns)},
};

static const int64_t **pointer(const struct array *array, struct sp_pass_costs *costs)
{
    return (const int64_t **)((char *)costs + array->offset);
}

static enum sp_status spread_array(const struct array *array, uint32_t cost_stages, uint32_t stage_count,
                                   struct sp_arena *arena, struct sp_pass_costs *costs,
                                   struct sp_error *error)
{
    const int64_t **place = pointer(array, costs);
    const int64_t *given = *place;
    int64_t *copy;

    if (!given)
        return SP_OK;
    if (!(copy = sp_arena_alloc(arena, stage_count, sizeof(*copy))))
        return sp_error_set(error, SP_MEMORY, "no memory for the costs of %u stages", stage_count);
    for (uint32_t s = 0; s < stage_count; s++) {
        copy[s] = given[cost_stages == 1 ? 0 : s];
        if (copy[s] < 0)
            return sp_error_set(error, SP_INPUT, "cost %s %lld of stage %u: expected 0 or more", array->name,
                                (long long)copy[s], s);
    }
    *place = copy;
    return SP_OK;
}

static enum sp_status check_scalars(const struct sp_pass_costs *costs, struct sp_error *error)
{
    const struct {
        const char *name;
        int64_t value;
    } scalars[] = {
        {"output forward", costs->output_forward_ns},
        {"output backward", costs->output_backward_ns},
        {"message", costs->message_ns},
        {"attention share", costs->attention_permille},
        {"activation", costs->activation_bytes},
        {"weight held", costs->weight_held_bytes},
    };

    for (size_t i = 0; i < sizeof(scalars) / sizeof(*scalars); i++)
        if (scalars[i].value < 0)
            return sp_error_set(error, SP_INPUT, "cost %s %lld: expected 0 or more", scalars[i].name,
                                (long long)scalars[i].value);
    if (costs->attention_permille > 1000)
        return sp_error_set(error, SP_INPUT, "attention share of %lld/1000: expected at most 1000/1000",
                            (long long)costs->attention_permille);
    if (costs->weight_held_bytes > costs->activation_bytes)
        return sp_error_set(error, SP_INPUT,
                            "%lld bytes held for the weight gradient: expected at most the activation's %lld",
                            (long long)costs->weight_held_bytes, (long long)costs->activation_bytes);
    return SP_OK;
}

enum sp_status sp_pass_costs_spread(const struct sp_pass_costs *costs, uint32_t cost_stages,
                                    uint32_t stage_count, struct sp_arena *arena,
                                    const struct sp_pass_costs **ret_costs, struct sp_error *error)
{
    struct sp_pass_costs *copy;
    enum sp_status status;

    if (cost_stages != 1 && cost_stages != stage_count)
        return sp_error_set(error, SP_INPUT, "costs of %u stages: expected 1, for all, or %u, one per stage",
                            cost_stages, stage_count);
    if ((status = check_scalars(costs, error)))
        return status;
    if (!(copy = sp_arena_alloc(arena, 1, sizeof(*copy))))
        return sp_error_set(error, SP_MEMORY, "no memory for the costs");
    *copy = *costs;
    for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
        if ((status = spread_array(&arrays[i], cost_stages, stage_count, arena, copy, error)))
            return status;
    *ret_costs = copy;
    return SP_OK;
}
