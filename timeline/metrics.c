/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "row.h"
#include "slimpipe/arena.h"

static void measure_device(struct sp_device_metrics *device, const struct sp_timeline *timeline,
                           uint32_t number)
{
    const struct sp_program *program = timeline->program;
    const uint32_t *begin = &program->stream_begin[number * SP_STREAMS + SP_STREAM_COMPUTE];
    for (uint32_t at = begin[0]; at < begin[1]; at++) {
        uint32_t item = program->stream_items[at];
        int64_t start = timeline->start_ns[item], end = timeline->end_ns[item];
        device->busy_ns += end - start;
        if (at == begin[0] || start < device->first_ns)
            device->first_ns = start;
        if (at == begin[0] || end > device->last_ns)
            device->last_ns = end;
    }
    sp_program_memory(program, number, &device->memory);
}

static double mean_idle(const struct sp_metrics *metrics)
{
    int64_t busy = 0;
    for (uint32_t d = 0; d < metrics->device_count; d++)
        busy += metrics->devices[d].busy_ns;
    double whole = (double)metrics->makespan_ns * metrics->device_count;
    return whole > 0 ? 1 - (double)busy / whole : 0;
}

/* Of equally long spans the one with the most idle time. */
static double longest_span_idle(const struct sp_metrics *metrics)
{
    int64_t longest = 0, idle = 0;
    for (uint32_t d = 0; d < metrics->device_count; d++) {
        const struct sp_device_metrics *device = &metrics->devices[d];
        int64_t span = device->last_ns - device->first_ns;
        if (span > longest || (span == longest && span - device->busy_ns > idle)) {
            longest = span;
            idle = span - device->busy_ns;
        }
    }
    return longest > 0 ? (double)idle / (double)longest : 0;
}

static int64_t message_bytes(const struct sp_program *program)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < program->instruction_count; i++)
        if (program->instructions[i].stream == SP_STREAM_SEND)
            bytes += program->instructions[i].bytes;
    return bytes;
}

/* MFU and tokens per second, where there is a model. */
static void measure_rates(struct sp_metrics *metrics, const struct sp_program *program)
{
    metrics->mfu = NAN;
    metrics->tokens_per_second = NAN;
    if (program->peak_flops <= 0 || metrics->makespan_ns <= 0)
        return;
    double seconds = (double)metrics->makespan_ns * 1e-9;
    metrics->mfu = program->model_flops / (program->peak_flops * seconds);
    metrics->tokens_per_second = (double)program->tokens / seconds;
}

enum sp_status sp_metrics_init(struct sp_metrics *metrics, const struct sp_timeline *timeline,
                               int64_t bound_ns, struct sp_error *error)
{
    const struct sp_program *program = timeline->program;
    uint32_t count = program->device_count;
    struct sp_device_metrics *devices = sp_alloc(count ? count : 1, sizeof *devices);
    if (!devices)
        return sp_error_set(error, SP_MEMORY, "no memory for the metrics of %u devices", count);

    int64_t begin, end;
    sp_timeline_span(timeline, &begin, &end);
    for (uint32_t d = 0; d < count; d++)
        measure_device(&devices[d], timeline, d);
    *metrics = (struct sp_metrics){
        .makespan_ns = end - begin,
        .bound_ns = bound_ns,
        .message_bytes = message_bytes(program),
        .device_count = count,
        .devices = devices,
    };
    metrics->bubble_mean_idle = mean_idle(metrics);
    metrics->bubble_longest_span = longest_span_idle(metrics);
    metrics->gap = bound_ns > 0 ? (double)metrics->makespan_ns / (double)bound_ns - 1 : NAN;
    measure_rates(metrics, program);
    return SP_OK;
}

void sp_metrics_finish(struct sp_metrics *metrics)
{
    if (!metrics)
        return;
    sp_free(metrics->devices);
    *metrics = (struct sp_metrics){0};
}
