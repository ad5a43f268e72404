/* SPDX-License-Identifier: Apache-2.0 */
/* Megatron-LM's options for a plan: its layout, and what else decides the pipeline. */
#include <inttypes.h>

#include "megatron.h"
#include "slimpipe/interchange.h"

/* Equal stages in a row from which on they are written once, with their number. */
enum { LEAST_RUN = 3 };

static void put_layers(uint32_t count, FILE *stream)
{
    if (count > 2)
        fprintf(stream, "t*%u", count);
    else
        fputs(&"tt"[2 - count], stream);
}

/* How many stages from s on, the last stage of all left out, have as many layers. */
static uint32_t run_length(const struct sp_plan *plan, uint32_t s)
{
    uint32_t end = s;

    while (end + 1 < plan->stage_count && plan->stages[end].layer_count == plan->stages[s].layer_count)
        end++;
    return end - s;
}

static void put_layout(const struct sp_plan *plan, FILE *stream)
{
    uint32_t last = plan->stage_count - 1;

    fputc('E', stream);
    for (uint32_t s = 0; s < last;) {
        uint32_t run = s > 0 ? run_length(plan, s) : 1; /* the first has the embedding */
        if (run >= LEAST_RUN)
            fputc('(', stream);
        else
            run = 1;
        put_layers(plan->stages[s].layer_count, stream);
        fputc('|', stream);
        if (run > 1)
            fprintf(stream, ")*%u", run);
        s += run;
    }
    put_layers(plan->stages[last].layer_count, stream);
    fputc('L', stream);
}

void sp_export_megatron(const struct sp_plan *plan, FILE *stream)
{
    const struct sp_workload *workload = &plan->workload;
    int64_t sequences = workload->microbatches * workload->microbatch_sequences;
    uint32_t group;

    fprintf(stream, "--num-layers %" PRId64 "\n", plan->model.layers);
    fprintf(stream, "--pipeline-model-parallel-size %u\n", plan->order.device_count);
    fputs("--pipeline-model-parallel-layout '", stream);
    put_layout(plan, stream);
    fputs("'\n", stream);
    if (plan->stage_count > plan->order.device_count && sp_megatron_order_is(plan, &group) &&
        group != plan->order.device_count)
        fprintf(stream, "--microbatch-group-size-per-virtual-pipeline-stage %u\n", group);
    fprintf(stream, "--tensor-model-parallel-size %" PRId64 "\n", plan->parallel.tensor);
    fprintf(stream, "--context-parallel-size %" PRId64 "\n", plan->parallel.context);
    if (plan->parallel.expert > 1)
        fprintf(stream, "--expert-model-parallel-size %" PRId64 "\n", plan->parallel.expert);
    fprintf(stream, "--seq-length %" PRId64 "\n", workload->sequence_tokens);
    fprintf(stream, "--micro-batch-size %" PRId64 "\n", workload->microbatch_sequences);
    fprintf(stream, "--global-batch-size %" PRId64 "\n", sequences * plan->parallel.data);
}
