/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies outside the layers: input embedding, final norm, output layer and loss, in the last stage or one
 * device's share of it. Logits are held in float32.
 */
#include "internal.h"

/* Rows and vocabulary columns that one GPU works on. */
struct part {
    const struct sp_plan *plan;
    double rows, columns;
};

static double forward_ns(const struct part *part)
{
    /* The logits are written in full precision and read twice, for the sum and for the labels. */
    return sp_roofline_product(part->plan, part->rows, (double)part->plan->model.hidden, part->columns,
                               ELEMENT_BYTES) +
           sp_roofline_memory(part->plan, (2 + 4 + 4) * part->rows * part->columns);
}

static double input_ns(const struct part *part)
{
    return sp_roofline_product(part->plan, part->rows, part->columns, (double)part->plan->model.hidden,
                               ELEMENT_BYTES) +
           sp_roofline_memory(part->plan, (4 + 2) * part->rows * part->columns);
}

static double weight_ns(const struct part *part)
{
    return sp_roofline_product(part->plan, part->rows, (double)part->plan->model.hidden, part->columns,
                               2 * GRADIENT_BYTES);
}

/* Hidden states gathered among the tensor ranks, or their gradient reduced. */
static double gather_exposed(const struct part *part)
{
    const struct sp_plan *plan = part->plan;
    int64_t tensor = plan->parallel.tensor;
    double bytes = ELEMENT_BYTES * (double)plan->model.hidden * part->rows;
    return (1 - (double)plan->profile.tensor_overlap_permille / 1000) *
           sp_network_collective(sp_network_link(&plan->cluster, tensor), &plan->profile, tensor, bytes);
}

/* Inside the last stage. Tiled: the backward computes each tile's logits again. */
static void stage_times(const struct part *whole, struct layer_times *times)
{
    bool tiled = whole->plan->vocabulary == SP_VOCABULARY_TILED;
    times->output[PHASE_FORWARD] = (struct span){forward_ns(whole), gather_exposed(whole)};
    times->output[PHASE_INPUT] = (struct span){
        input_ns(whole) + (tiled ? forward_ns(whole) : 0),
        gather_exposed(whole),
    };
    times->output[PHASE_WEIGHT] = (struct span){weight_ns(whole), 0};
}

/*
 * One device's S and T. With one barrier (shard2, arXiv 2411.05288 algorithm 2) S also multiplies its
 * unnormalised softmax and the labels' rows with the weights, and T, after the barrier, rescales and does the
 * weight gradient.
 */
static void share_times(const struct part *whole, struct layer_times *times)
{
    const struct sp_plan *plan = whole->plan;
    double devices = (double)plan->parallel.pipeline;
    struct part part = *whole;
    if (plan->vocabulary == SP_VOCABULARY_SCATTER)
        part.rows /= devices;
    else
        part.columns /= devices;
    double forward = forward_ns(&part), input = input_ns(&part), weight = weight_ns(&part);
    times->share_forward = (struct span){forward, gather_exposed(&part)};
    times->share_backward = (struct span){input + weight, gather_exposed(&part)};
    if (plan->vocabulary == SP_VOCABULARY_SHARD2) {
        double hidden = (double)plan->model.hidden * part.rows;
        times->share_forward.compute = forward + input + sp_roofline_memory(plan, 4 * hidden);
        times->share_backward.compute = weight + sp_roofline_memory(plan, 6 * hidden);
    }
}

void sp_output_times(const struct sp_plan *plan, int64_t tokens, struct layer_times *times)
{
    double tensor = (double)plan->parallel.tensor;
    double rows =
        (double)tokens * (double)plan->workload.microbatch_sequences / (double)plan->parallel.context;
    double hidden = (double)plan->model.hidden * rows / tensor;
    struct part whole = {plan, rows, (double)plan->model.vocab / tensor};
    /* Look-up reads and writes a row; its gradient is read and added to the main gradient. */
    times->embedding[PHASE_FORWARD].compute = sp_roofline_memory(plan, 4 * hidden);
    times->embedding[PHASE_WEIGHT].compute = sp_roofline_memory(plan, (2 + 2 * GRADIENT_BYTES) * hidden);
    times->final_norm[PHASE_FORWARD].compute = sp_roofline_memory(plan, 4 * hidden);
    times->final_norm[PHASE_INPUT].compute = sp_roofline_memory(plan, 6 * hidden);
    stage_times(&whole, times);
    share_times(&whole, times);
}
