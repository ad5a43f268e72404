/* SPDX-License-Identifier: Apache-2.0 */
/* Explicit costs, in limits that keep sums over all passes from overflowing. */
#include <inttypes.h>

#include "plan_check.h"

#define LARGEST_COST  INT64_C(1000000000000000) /* ns or bytes of one pass */
#define LARGEST_TOTAL (INT64_C(1) << 62)

/* The largest of a cost array; the place of one outside the limits is reported. */
static enum sp_status check_array(struct plan_checker *checker, const char *name, const int64_t *costs,
                                  int64_t *total)
{
    int64_t largest = 0;
    for (uint32_t i = 0; costs && i < checker->plan->stage_count; i++) {
        if (costs[i] < 0 || costs[i] > LARGEST_COST)
            return sp_plan_refuse(checker, sp_plan_place_at("$.pass_costs.%s[%u]", name, i),
                                  "expected a whole number from 0 to %" PRId64 ", found %" PRId64,
                                  LARGEST_COST, costs[i]);
        largest = costs[i] > largest ? costs[i] : largest;
    }
    *total += largest;
    return SP_OK;
}

enum sp_status sp_plan_check_costs(struct plan_checker *checker)
{
    const struct sp_pass_costs *costs = checker->plan->costs;
    const struct plan_limit limits[] = {
        {"$.pass_costs.output_forward_ns", costs->output_forward_ns, 0, LARGEST_COST},
        {"$.pass_costs.output_backward_ns", costs->output_backward_ns, 0, LARGEST_COST},
        {"$.pass_costs.message_ns", costs->message_ns, 0, LARGEST_COST},
        {"$.pass_costs.attention_permille", costs->attention_permille, 0, 1000},
        {"$.pass_costs.activation_bytes", costs->activation_bytes, 0, LARGEST_COST},
        {"$.pass_costs.weight_held_bytes", costs->weight_held_bytes, 0, costs->activation_bytes},
    };
    const struct {
        const char *name;
        const int64_t *values;
    } arrays[] = {
        {"forward_ns", costs->forward_ns}, {"input_ns", costs->input_ns},
        {"weight_ns", costs->weight_ns},   {"recompute_ns", costs->recompute_ns},
        {"overlap_ns", costs->overlap_ns},
    };
    enum sp_status status = sp_plan_check_limits(checker, limits, sizeof limits / sizeof *limits);
    int64_t total = costs->output_forward_ns + costs->output_backward_ns + costs->message_ns;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays && !status; i++)
        status = check_array(checker, arrays[i].name, arrays[i].values, &total);
    if (status)
        return status;
    if (total < costs->activation_bytes)
        total = costs->activation_bytes;
    uint64_t passes = checker->plan->order.begin[checker->plan->order.device_count];
    if (passes > 0 && total > LARGEST_TOTAL / (int64_t)passes)
        return sp_plan_refuse(checker, sp_plan_place_at("$.pass_costs"),
                              "costs of all passes together do not fit 62 bits");
    return SP_OK;
}
