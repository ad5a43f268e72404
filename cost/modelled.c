/* SPDX-License-Identifier: Apache-2.0 */
/* Pass times from the model: layers, and what the first and the last stage do besides. */
#include <math.h>

#include "internal.h"

static double span_ns(struct span span)
{
    return span.compute + span.exposed;
}

static struct span add(struct span a, struct span b)
{
    return (struct span){a.compute + b.compute, a.exposed + b.exposed};
}

static const struct layer_times *slice_times(const struct sp_cost *cost, uint32_t slice)
{
    return &cost->times[cost->size_of_slice[slice]];
}

static struct span layer_span(const struct layer_times *times, enum phase phase)
{
    return add(times->head[phase], times->tail[phase]);
}

/* Forward attention of one layer of a slice. */
static double attention_ns(const struct sp_cost *cost, const struct layer_times *times, uint32_t slice)
{
    return times->own_attention + times->past_attention * (double)cost->slice_begin[slice];
}

/* Embedding, final norm and output layer, where the stage has them. */
static struct span outside(const struct sp_cost *cost, const struct stage_class *class,
                           const struct layer_times *times, enum phase phase)
{
    struct span span = {0, 0};
    if (class->first)
        span = add(span, times->embedding[phase]);
    if (class->last)
        span = add(span, times->final_norm[phase]);
    if (class->last && !sp_vocabulary_is_spread(cost->plan->vocabulary))
        span = add(span, times->output[phase]);
    return span;
}

static struct span recompute_span(const struct layer_times *times, enum sp_recompute recompute)
{
    switch (recompute) {
    case SP_RECOMPUTE_SELECTIVE:
        return times->selective;
    case SP_RECOMPUTE_FULL:
        return layer_span(times, PHASE_FORWARD);
    default:
        return (struct span){0, 0};
    }
}

/* Compute and exposed communication of a whole pass. */
static struct span pass_span(const struct sp_cost *cost, const struct stage_class *class, uint32_t slice,
                             int row)
{
    const struct layer_times *times = slice_times(cost, slice);
    double layers = class->layers;
    double attention = attention_ns(cost, times, slice);
    bool full = class->recompute == SP_RECOMPUTE_FULL;
    struct span layer = {0, 0}, rest = {0, 0};
    switch (row) {
    case SP_PASS_F:
        layer = layer_span(times, PHASE_FORWARD);
        layer.compute += attention;
        rest = outside(cost, class, times, PHASE_FORWARD);
        break;
    case SP_PASS_R:
        layer = recompute_span(times, class->recompute);
        layer.compute += full ? attention : 0;
        break;
    case ROW_I_AFTER_R:
        layer = layer_span(times, PHASE_INPUT);
        layer.compute += ATTENTION_BACKWARD * attention;
        rest = outside(cost, class, times, PHASE_INPUT);
        break;
    case SP_PASS_W:
        layer = layer_span(times, PHASE_WEIGHT);
        rest = outside(cost, class, times, PHASE_WEIGHT);
        break;
    case SP_PASS_S:
        return times->share_forward;
    case SP_PASS_T:
        return times->share_backward;
    case SP_PASS_I:
        return add(pass_span(cost, class, slice, ROW_I_AFTER_R), pass_span(cost, class, slice, SP_PASS_R));
    case ROW_B_AFTER_R:
        return add(pass_span(cost, class, slice, ROW_I_AFTER_R), pass_span(cost, class, slice, SP_PASS_W));
    case SP_PASS_B:
        return add(pass_span(cost, class, slice, SP_PASS_I), pass_span(cost, class, slice, SP_PASS_W));
    default:
        break;
    }
    return add((struct span){layers * layer.compute, layers * layer.exposed}, rest);
}

/* What is beyond all limits is refused when the table is complete. */
static int64_t whole_ns(double time)
{
    return llround(fmin(time, 2e18));
}

void sp_modelled_fill(struct sp_cost *cost)
{
    static const int counted[] = {
        SP_PASS_F, SP_PASS_R, SP_PASS_W, SP_PASS_S, SP_PASS_T, SP_PASS_I, ROW_I_AFTER_R,
    };
    for (uint32_t group = 0; group < cost->class_count; group++)
        for (uint32_t slice = 0; slice < cost->columns; slice++) {
            uint64_t at = (uint64_t)group * cost->columns + slice;
            for (unsigned i = 0; i < sizeof counted / sizeof *counted; i++)
                cost->pass_ns[counted[i]][at] =
                    whole_ns(span_ns(pass_span(cost, &cost->classes[group], slice, counted[i])));
            int64_t weight = cost->pass_ns[SP_PASS_W][at];
            cost->pass_ns[SP_PASS_B][at] = cost->pass_ns[SP_PASS_I][at] + weight;
            cost->pass_ns[ROW_B_AFTER_R][at] = cost->pass_ns[ROW_I_AFTER_R][at] + weight;
        }
}

static void forward_parts(const struct sp_cost *cost, const struct stage_class *class,
                          const struct layer_times *times, struct layer_parts *parts)
{
    parts->before = span_ns(times->head[PHASE_FORWARD]);
    parts->after = span_ns(times->tail[PHASE_FORWARD]) +
                   span_ns(outside(cost, class, times, PHASE_FORWARD)) / class->layers;
    parts->own = times->own_attention;
    parts->past = times->past_attention;
    parts->merge = times->merge[0];
}

/*
 * Backward comes from the tail. Full recompute's attention is helped with like the backward's own: a helper
 * does both over the tokens it was given.
 */
static void backward_parts(const struct sp_cost *cost, const struct stage_class *class,
                           const struct layer_times *times, int row, struct layer_parts *parts)
{
    bool weight = row == SP_PASS_B || row == ROW_B_AFTER_R;
    bool recompute = row == SP_PASS_B || row == SP_PASS_I;
    double attention = ATTENTION_BACKWARD + (recompute && class->recompute == SP_RECOMPUTE_FULL ? 1 : 0);
    double rest = span_ns(outside(cost, class, times, PHASE_INPUT)) +
                  (weight ? span_ns(outside(cost, class, times, PHASE_WEIGHT)) : 0);
    parts->before = span_ns(times->tail[PHASE_INPUT]) + (weight ? span_ns(times->tail[PHASE_WEIGHT]) : 0) +
                    (recompute ? span_ns(recompute_span(times, class->recompute)) : 0) + rest / class->layers;
    parts->after = span_ns(times->head[PHASE_INPUT]) + (weight ? span_ns(times->head[PHASE_WEIGHT]) : 0);
    parts->own = attention * times->own_attention;
    parts->past = attention * times->past_attention;
    parts->merge = times->merge[1];
    parts->merge_past = times->merge_past_token;
}

void sp_modelled_parts(const struct sp_cost *cost, const struct sp_pass *pass, struct layer_parts *ret_parts)
{
    const struct stage_class *class = &cost->classes[cost->class_of_stage[pass->stage]];
    const struct layer_times *times = slice_times(cost, pass->slice);
    struct layer_parts parts = {0};
    if (class->layers > 0 && pass->kind == SP_PASS_F)
        forward_parts(cost, class, times, &parts);
    else if (class->layers > 0 && (pass->kind == SP_PASS_B || pass->kind == SP_PASS_I))
        backward_parts(cost, class, times, sp_cost_row(cost, pass), &parts);
    *ret_parts = parts;
}

/* What either pass leaves exposed hides behind the other's compute. */
int64_t sp_modelled_joined_ns(const struct sp_cost *cost, const struct sp_pass *first,
                              const struct sp_pass *second)
{
    struct span a = pass_span(cost, &cost->classes[cost->class_of_stage[first->stage]], first->slice,
                              sp_cost_row(cost, first));
    struct span b = pass_span(cost, &cost->classes[cost->class_of_stage[second->stage]], second->slice,
                              sp_cost_row(cost, second));
    return llround(a.compute + b.compute + fmax(a.exposed - b.compute, 0) + fmax(b.exposed - a.compute, 0));
}
