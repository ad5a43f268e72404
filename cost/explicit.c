/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pass costs that the plan states. The times are those of one slice of n equal ones; a share of the forward
 * follows the causal attention of each slice.
 *
 * A slice that covers [x, y] of the sequence, as shares, takes n·T·((1−a)·(y−x) + a·(y²−x²)) of a time T
 * whose attention share is a. Sums up to each slice are rounded and subtracted, so that slices add up
 * exactly.
 */
#include <math.h>

#include "internal.h"

/* Attention's backward in forward ones, as in the layer's costs. */
struct curve {
    double linear, attention; /* mean time of a slice */
};

static int64_t entry(const int64_t *array, uint32_t stage)
{
    return array ? array[stage] : 0;
}

static struct curve forward_curve(const struct sp_plan *plan, double time)
{
    double attention = time * (double)plan->costs->attention_permille / 1000;
    return (struct curve){time - attention, attention};
}

static struct curve pass_curve(const struct sp_plan *plan, uint32_t stage, int row)
{
    const struct sp_pass_costs *costs = plan->costs;
    double forward = (double)entry(costs->forward_ns, stage), input = (double)entry(costs->input_ns, stage);
    double attention = fmin(input, ATTENTION_BACKWARD * forward_curve(plan, forward).attention);
    switch (row) {
    case SP_PASS_F:
        return forward_curve(plan, forward);
    case SP_PASS_R:
        return forward_curve(plan, (double)entry(costs->recompute_ns, stage));
    case SP_PASS_I:
    case ROW_I_AFTER_R:
        return (struct curve){input - attention, attention};
    case SP_PASS_W:
        return (struct curve){(double)entry(costs->weight_ns, stage), 0};
    case SP_PASS_S:
        return (struct curve){(double)costs->output_forward_ns, 0};
    case SP_PASS_T:
        return (struct curve){(double)costs->output_backward_ns, 0};
    default:
        return (struct curve){0, 0};
    }
}

/* Time of the first `begin` tokens. A whole number of equal slices gives an exact result. */
static int64_t time_before(const struct sp_cost *cost, struct curve curve, int64_t begin)
{
    double slices = cost->plan->slice_count;
    double passed = (double)begin * slices / (double)cost->slice_begin[cost->plan->slice_count];
    return llround(passed * (curve.linear + curve.attention * passed / slices));
}

static int64_t slice_ns(const struct sp_cost *cost, struct curve curve, uint32_t slice)
{
    return time_before(cost, curve, cost->slice_begin[slice + 1]) -
           time_before(cost, curve, cost->slice_begin[slice]);
}

static void fill_slice(struct sp_cost *cost, uint32_t group, uint32_t slice)
{
    static const int summed[] = {SP_PASS_F, SP_PASS_R, SP_PASS_W,    SP_PASS_S,
                                 SP_PASS_T, SP_PASS_I, ROW_I_AFTER_R};
    const struct stage_class *stage = &cost->classes[group];
    uint64_t at = (uint64_t)group * cost->columns + slice * cost->column_step;
    for (unsigned i = 0; i < sizeof summed / sizeof *summed; i++)
        cost->pass_ns[summed[i]][at] = slice_ns(cost, pass_curve(cost->plan, stage->stage, summed[i]), slice);
    if (stage->recompute != SP_RECOMPUTE_NONE)
        cost->pass_ns[SP_PASS_I][at] += cost->pass_ns[SP_PASS_R][at];
    int64_t weight = cost->pass_ns[SP_PASS_W][at];
    cost->pass_ns[SP_PASS_B][at] = cost->pass_ns[SP_PASS_I][at] + weight;
    cost->pass_ns[ROW_B_AFTER_R][at] = cost->pass_ns[ROW_I_AFTER_R][at] + weight;
}

void sp_explicit_fill(struct sp_cost *cost)
{
    for (uint32_t group = 0; group < cost->class_count; group++)
        for (uint32_t slice = 0; slice < cost->columns; slice++)
            fill_slice(cost, group, slice);
}

/* The attention's share, per layer: of the slice's own tokens, and per token of the past. */
void sp_explicit_parts(const struct sp_cost *cost, const struct sp_pass *pass, struct layer_parts *ret_parts)
{
    const struct sp_plan *plan = cost->plan;
    const struct stage_class *class = &cost->classes[cost->class_of_stage[pass->stage]];
    double layers = class->layers > 0 ? class->layers : 1;
    double attention = 0;
    if (pass->kind == SP_PASS_F)
        attention = pass_curve(plan, pass->stage, SP_PASS_F).attention;
    else if (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I)
        attention = pass_curve(plan, pass->stage, SP_PASS_I).attention;
    double total = (double)cost->slice_begin[plan->slice_count];
    double begin = (double)cost->slice_begin[pass->slice];
    double width = ((double)cost->slice_begin[pass->slice + 1] - begin) / total;
    double scale = plan->slice_count * attention / layers;
    *ret_parts = (struct layer_parts){.own = scale * width * width, .past = scale * 2 * width / total};
    double rest = (double)sp_cost_pass_ns(cost, pass) / layers - ret_parts->own - ret_parts->past * begin;
    ret_parts->before = ret_parts->after = fmax(rest, 0) / 2;
}

/* The stated overlap is that of equal slices; it shrinks and grows with the two passes. */
int64_t sp_explicit_joined_ns(const struct sp_cost *cost, const struct sp_pass *first,
                              const struct sp_pass *second)
{
    const struct sp_pass_costs *costs = cost->plan->costs;
    const struct sp_pass *forward = first->kind == SP_PASS_F ? first : second;
    const struct sp_pass *backward = first->kind == SP_PASS_F ? second : first;
    int64_t sum = sp_cost_pass_ns(cost, first) + sp_cost_pass_ns(cost, second);
    bool pair = forward->kind == SP_PASS_F && (backward->kind == SP_PASS_B || backward->kind == SP_PASS_I);
    if (!costs->overlap_ns || !pair)
        return sum;
    int64_t mean = entry(costs->forward_ns, forward->stage) + entry(costs->input_ns, backward->stage) +
                   (backward->kind == SP_PASS_B ? entry(costs->weight_ns, backward->stage) : 0);
    double overlap = (double)costs->overlap_ns[forward->stage];
    return mean == 0 || sum == mean ? llround(overlap) : llround(overlap * (double)sum / (double)mean);
}
