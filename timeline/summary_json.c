/* SPDX-License-Identifier: Apache-2.0 */
#include "palette.h"
#include "slimpipe/json.h"
#include "slimpipe/timeline.h"

static void write_categories(struct sp_json_writer *writer, const char *key,
                             const int64_t bytes[SP_MEMORY_CATEGORIES])
{
    sp_json_begin_object(writer, key);
    for (int i = 0; i < SP_MEMORY_CATEGORIES; i++)
        sp_json_put_whole(writer, sp_memory_styles[i].name, bytes[i]);
    sp_json_end_object(writer);
}

static void write_device(struct sp_json_writer *writer, const struct sp_device_metrics *device)
{
    sp_json_begin_object(writer, NULL);
    sp_json_put_whole(writer, "busy_ns", device->busy_ns);
    sp_json_put_whole(writer, "peak_bytes", device->memory.peak_bytes);
    sp_json_put_whole(writer, "peak_inflight", device->memory.peak_in_flight);
    write_categories(writer, "peak_by_category", device->memory.peak_by_category);
    write_categories(writer, "at_peak", device->memory.at_peak);
    sp_json_end_object(writer);
}

void sp_metrics_write_json(const struct sp_metrics *metrics, struct sp_json_writer *writer)
{
    sp_json_put_whole(writer, "makespan_ns", metrics->makespan_ns);
    sp_json_begin_object(writer, "bubble");
    sp_json_put_real(writer, "mean_idle", metrics->bubble_mean_idle);
    sp_json_put_real(writer, "longest_span", metrics->bubble_longest_span);
    sp_json_end_object(writer);
    if (metrics->bound_ns > 0)
        sp_json_put_whole(writer, "bound_ns", metrics->bound_ns);
    else
        sp_json_put_null(writer, "bound_ns");
    /* NaN, where there is no bound or no model, is written as null. */
    sp_json_put_real(writer, "gap", metrics->gap);
    sp_json_put_real(writer, "mfu", metrics->mfu);
    sp_json_put_real(writer, "tokens_per_second", metrics->tokens_per_second);
    sp_json_begin_array(writer, "devices", false);
    for (uint32_t d = 0; d < metrics->device_count; d++)
        write_device(writer, &metrics->devices[d]);
    sp_json_end_array(writer);
}
