/* SPDX-License-Identifier: Apache-2.0 */
#include "prediction.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "slimpipe/format.h"
#include "slimpipe/planner.h"

enum sp_status prediction_init(struct prediction *prediction, const struct sp_plan *plan,
                               enum sp_sim_rules rules, bool check_cap, struct sp_error *error)
{
    enum sp_status status;
    int64_t bound_ns;

    prediction->plan = plan;
    if ((status = sp_program_create(plan, &prediction->program, error)) ||
        (check_cap && (status = sp_program_check_memory(prediction->program, error))) ||
        (status = sp_timeline_init(&prediction->timeline, prediction->program, "predicted", error)) ||
        (status = sp_sim_run(prediction->program, rules, &prediction->timeline, error)) ||
        (status = sp_plan_bound(prediction->program, &bound_ns, error)))
        return status;
    return sp_metrics_init(&prediction->metrics, &prediction->timeline, bound_ns, error);
}

void prediction_finish(struct prediction *prediction)
{
    sp_metrics_finish(&prediction->metrics);
    sp_timeline_finish(&prediction->timeline);
    sp_program_destroy(prediction->program);
    *prediction = (struct prediction){0};
}

/* --- Words and numbers for people ---------------------------------------------------------------------- */

/* 524288 tokens are 512K; what is no multiple of a K is written out. */
static const char *size_text(int64_t size, char text[32])
{
    static const char letters[] = "KMG";
    int unit = -1;

    while (unit < 2 && size > 0 && size % 1024 == 0) {
        size /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(text, 32, "%" PRId64, size);
    else
        snprintf(text, 32, "%" PRId64 "%c", size, letters[unit]);
    return text;
}

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

void print_plan_line(const struct sp_plan *plan, FILE *stream)
{
    uint32_t devices = plan->order.device_count;

    fprintf(stream, "%s, %u device%s, %u stage%s, %" PRId64 " microbatch%s", plan->schedule, devices,
            plural(devices), plan->stage_count, plural(plan->stage_count), plan->workload.microbatches,
            plan->workload.microbatches == 1 ? "" : "es");
    if (plan->slice_count > 1)
        fprintf(stream, " of %u slices", plan->slice_count);
    fprintf(stream, ", %" PRIu64 " passes\n", plan->order.begin[devices]);
}

/* "128 GPUs (h100): pp 16, tp 4, cp 2"; without a model, the devices. */
static void print_degrees(const struct sp_plan *plan, FILE *stream)
{
    const struct sp_parallel *parallel = &plan->parallel;
    const struct {
        const char *name;
        int64_t degree;
    } degrees[] = {{"tp", parallel->tensor},
                   {"cp", parallel->context},
                   {"ep", parallel->expert},
                   {"dp", parallel->data}};
    int64_t gpus = parallel->pipeline * parallel->tensor * parallel->context * parallel->data;

    if (!plan->has_model) {
        fprintf(stream, "%u device%s\n", plan->order.device_count, plural(plan->order.device_count));
        return;
    }
    fprintf(stream, "%" PRId64 " GPU%s (%s): pp %" PRId64, gpus, plural(gpus), plan->cluster.name,
            parallel->pipeline);
    for (size_t i = 0; i < sizeof(degrees) / sizeof(*degrees); i++)
        if (degrees[i].degree > 1)
            fprintf(stream, ", %s %" PRId64, degrees[i].name, degrees[i].degree);
    fputc('\n', stream);
}

static void print_workload(const struct sp_plan *plan, FILE *stream)
{
    const struct sp_workload *workload = &plan->workload;
    char tokens[32], slice[32];

    fprintf(stream, "%" PRId64 " microbatch%s of ", workload->microbatches,
            workload->microbatches == 1 ? "" : "es");
    if (!plan->has_model)
        fprintf(stream, "%u slice%s\n", plan->slice_count, plural(plan->slice_count));
    else if (plan->slice_count == 1)
        fprintf(stream, "%s tokens\n", size_text(workload->sequence_tokens, tokens));
    else
        fprintf(stream, "%s tokens in %u slices of %s\n", size_text(workload->sequence_tokens, tokens),
                plan->slice_count, size_text(plan->slice_tokens[plan->slice_count / 2], slice));
}

/* The policy of all stages, or "mixed". */
static const char *recompute_of(const struct sp_plan *plan)
{
    for (uint32_t i = 1; i < plan->stage_count; i++)
        if (plan->stages[i].recompute != plan->stages[0].recompute)
            return "mixed";
    return sp_recompute_names[plan->stages[0].recompute];
}

static void print_policies(const struct sp_plan *plan, FILE *stream)
{
    uint32_t least = 1000, most = 0;

    for (uint32_t i = 0; i < plan->stage_count; i++) {
        uint32_t share = plan->stages[i].offload_permille;
        least = share < least ? share : least;
        most = share > most ? share : most;
    }
    fprintf(stream, "recompute %s, output layer %s, exchange %s", recompute_of(plan),
            sp_vocabulary_names[plan->vocabulary], plan->exchange_policy);
    if (most > 0 && least == most)
        fprintf(stream, ", offload %g", most / 1000.0);
    else if (most > 0)
        fprintf(stream, ", offload %g to %g", least / 1000.0, most / 1000.0);
    fputc('\n', stream);
}

static uint32_t fullest_device(const struct sp_metrics *metrics)
{
    uint32_t fullest = 0;

    for (uint32_t d = 1; d < metrics->device_count; d++)
        if (metrics->devices[d].memory.peak_bytes > metrics->devices[fullest].memory.peak_bytes)
            fullest = d;
    return fullest;
}

/* The device that holds most, with what it holds then, largest first. */
static void print_memory(const struct sp_plan *plan, const struct sp_metrics *metrics, FILE *stream)
{
    uint32_t device = fullest_device(metrics);
    const struct sp_device_memory *memory = &metrics->devices[device].memory;
    bool shown[SP_MEMORY_CATEGORIES] = {[SP_MEMORY_OFFLOAD] = true};
    int column = 0;

    if (memory->peak_bytes == 0)
        return;
    fprintf(stream, "  memory   %s on device %u", sp_format_bytes(memory->peak_bytes).text, device);
    if (plan->memory_cap_bytes > 0)
        fprintf(stream, ", of %s", sp_format_bytes(plan->memory_cap_bytes).text);
    for (;;) {
        int most = -1;
        for (int c = 0; c < SP_MEMORY_CATEGORIES; c++)
            if (!shown[c] && (most < 0 || memory->at_peak[c] > memory->at_peak[most]))
                most = c;
        if (most < 0 || memory->at_peak[most] < memory->peak_bytes / 1000 + 1)
            break;
        shown[most] = true;
        fprintf(stream, "%s%s %s", column++ % 3 == 0 ? "\n           " : ", ", sp_memory_names[most],
                sp_format_bytes(memory->at_peak[most]).text);
    }
    fputc('\n', stream);
}

void print_prediction(const struct prediction *prediction, FILE *stream)
{
    const struct sp_plan *plan = prediction->plan;
    const struct sp_metrics *metrics = &prediction->metrics;

    fprintf(stream, "%s, %s on ", plan->has_model ? plan->model.name : "explicit costs", plan->schedule);
    print_degrees(plan, stream);
    print_workload(plan, stream);
    print_policies(plan, stream);
    fprintf(stream, "  time     %s; bound %s, gap %.2f %%\n", sp_format_time(metrics->makespan_ns).text,
            sp_format_time(metrics->bound_ns).text, 100 * metrics->gap);
    if (!isnan(metrics->mfu))
        fprintf(stream, "  MFU      %.2f %%; %.0f tokens/s\n", 100 * metrics->mfu,
                metrics->tokens_per_second);
    fprintf(stream, "  bubble   %.2f %%\n", 100 * metrics->bubble_mean_idle);
    print_memory(plan, metrics, stream);
}
