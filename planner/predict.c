/* SPDX-License-Identifier: Apache-2.0 */
#include "predict.h"

#include "slimpipe/sim.h"

static enum sp_status measure(const struct sp_program *program, struct sp_timeline *timeline,
                              struct sp_predicted *ret_predicted, struct sp_error *error)
{
    struct sp_metrics metrics;
    int64_t bound, peak = 0;
    enum sp_status status;

    if ((status = sp_sim_run(program, SP_SIM_LINKS, timeline, error)) ||
        (status = sp_plan_bound(program, &bound, error)) ||
        (status = sp_metrics_init(&metrics, timeline, bound, error)))
        return status;
    for (uint32_t d = 0; d < metrics.device_count; d++)
        if (metrics.devices[d].memory.peak_bytes > peak)
            peak = metrics.devices[d].memory.peak_bytes;
    *ret_predicted = (struct sp_predicted){
        .time_ns = metrics.makespan_ns,
        .bound_ns = bound,
        .peak_bytes = peak,
        .message_bytes = metrics.message_bytes,
        .bubble_mean_idle = metrics.bubble_mean_idle,
        .bubble_longest_span = metrics.bubble_longest_span,
        .gap = metrics.gap,
        .mfu = metrics.mfu,
    };
    sp_metrics_finish(&metrics);
    return SP_OK;
}

enum sp_status sp_predict(const struct sp_request *request, struct sp_predicted *ret_predicted,
                          struct sp_error *error)
{
    struct sp_plan *plan = NULL;
    struct sp_program *program = NULL;
    struct sp_timeline timeline = {.start_ns = NULL};
    enum sp_status status;

    if ((status = sp_plan_compose(request, &plan, error)) ||
        (status = sp_program_create(plan, &program, error)) ||
        (status = sp_timeline_init(&timeline, program, "predicted", error)))
        goto out;
    status = measure(program, &timeline, ret_predicted, error);
out:
    sp_timeline_finish(&timeline);
    sp_program_destroy(program);
    sp_plan_destroy(plan);
    return status;
}
