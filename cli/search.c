/* SPDX-License-Identifier: Apache-2.0 */
#include "search.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/file.h"
#include "slimpipe/format.h"
#include "slimpipe/json.h"

#include "progress.h"

enum sp_status search_run(const struct plan_options *options, const struct plan_inputs *inputs,
                          struct sp_search_result *ret_result, struct sp_error *error)
{
    struct sp_search_request request = {.top = (int)options->top, .threads = (int)options->threads};
    struct progress progress;
    enum sp_status status;

    plan_options_request(options, inputs, &request.base);
    request.fixed = (options->recompute_is_set ? SP_FIXED_RECOMPUTE : 0) |
                    (options->offload_is_set ? SP_FIXED_OFFLOAD : 0) |
                    (options->exchange ? SP_FIXED_EXCHANGE : 0);
    progress_init(&progress, "searching");
    request.progress = progress_report;
    request.progress_context = &progress;
    status = sp_search_run(&request, ret_result, error);
    progress_finish(&progress);
    if (status == SP_INFEASIBLE)
        sp_search_finish(ret_result);
    return status;
}

/* --- The table ----------------------------------------------------------------------------------------- */

/* "none", or the share of stages that recompute: "selective 3/5, full 1/5". */
static const char *recompute_text(const struct sp_request *request, char *text, size_t size)
{
    uint32_t stages = (uint32_t)request->parallel.pipeline * request->chunks, counts[3] = {0};
    size_t used = 0;

    for (uint32_t s = 0; s < stages; s++)
        counts[request->stage_recompute[s]]++;
    text[0] = '\0';
    for (int policy = 2; policy >= 0; policy--) {
        if (counts[policy] == stages)
            snprintf(text, size, "%s", sp_recompute_names[policy]);
        else if (counts[policy] && (policy > 0 || !used))
            used += (size_t)snprintf(text + used, size - used, "%s%s %u/%u", used ? "+" : "",
                                     policy == SP_RECOMPUTE_SELECTIVE ? "sel." : sp_recompute_names[policy],
                                     counts[policy], stages);
    }
    return text;
}

static uint32_t most_offload(const struct sp_request *request)
{
    uint32_t stages = (uint32_t)request->parallel.pipeline * request->chunks, most = 0;

    for (uint32_t s = 0; s < stages; s++)
        if (request->stage_offload[s] > most)
            most = request->stage_offload[s];
    return most;
}

static void print_row(int rank, const struct sp_found *found, FILE *stream)
{
    const struct sp_request *request = &found->request;
    const struct sp_parallel *parallel = &request->parallel;
    char recompute[64];

    fprintf(stream,
            "%3d  %-11s %3" PRId64 " %3" PRId64 " %3" PRId64 " %3" PRId64 " %4u %3" PRId64 " %3" PRId64
            " %4u  %-18s",
            rank, request->schedule, parallel->tensor, parallel->context, parallel->pipeline, parallel->data,
            request->chunks, request->microbatch_sequences, request->microbatches, request->slices,
            recompute_text(request, recompute, sizeof(recompute)));
    fprintf(stream, " %5.2f %8s %6.2f %6.2f %10s %8s\n", most_offload(request) / 1000.0,
            sp_format_time(found->time_ns).text, 100 * found->mfu, 100 * found->bubble,
            sp_format_bytes(found->peak_bytes).text, sp_format_time(found->bound_ns).text);
}

static void print_counts(const struct sp_search_result *result, FILE *stream)
{
    const struct sp_request *nearest = &result->nearest;

    fprintf(stream, "\n%" PRId64 " configurations considered, %" PRId64 " simulated; the others:\n",
            result->considered, result->simulated);
    for (int why = 0; why < SP_DROPS; why++) {
        if (!result->dropped[why])
            continue;
        fprintf(stream, "  %7" PRId64 " %s", result->dropped[why], sp_search_drop_names[why]);
        if (why == SP_DROP_MEMORY && result->has_nearest)
            fprintf(stream,
                    "; the nearest by %s: %s, tp %" PRId64 ", cp %" PRId64 ", pp %" PRId64
                    ", vpp %u, %u slice%s",
                    sp_format_bytes(result->nearest_overshoot).text, nearest->schedule,
                    nearest->parallel.tensor, nearest->parallel.context, nearest->parallel.pipeline,
                    nearest->chunks, nearest->slices, nearest->slices == 1 ? "" : "s");
        fputc('\n', stream);
    }
}

/* What a faster plan would need first. */
static void print_limit(const struct sp_found *best, FILE *stream)
{
    int64_t cap = best->request.memory_cap_bytes, left = cap - best->peak_bytes;
    double gap = (double)best->time_ns / (double)best->bound_ns - 1;
    char recompute[64];

    if (cap && left < cap / 20)
        fprintf(stream, "memory binds: %s below the cap, with recompute %s and offload %.2f\n",
                sp_format_bytes(left).text, recompute_text(&best->request, recompute, sizeof(recompute)),
                most_offload(&best->request) / 1000.0);
    else if (gap > 0.03)
        fprintf(stream, "the pipeline binds: %.1f %% idle, %.1f %% above the bound\n", 100 * best->bubble,
                100 * gap);
    else
        fprintf(stream, "compute binds: %.1f %% idle, %s of memory left\n", 100 * best->bubble,
                cap ? sp_format_bytes(left).text : "any amount");
}

void search_print(const struct sp_search_result *result, FILE *stream)
{
    fprintf(stream,
            "  #  schedule     tp  cp  pp  dp  vpp  mb   m    n  recompute          offld     time    MFU"
            " bubble       peak    bound\n");
    for (int i = 0; i < result->found_count; i++)
        print_row(i + 1, &result->found[i], stream);
    print_counts(result, stream);
    print_limit(&result->found[0], stream);
    fputc('\n', stream);
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void write_stages(struct sp_json_writer *writer, const struct sp_request *request)
{
    uint32_t stages = (uint32_t)request->parallel.pipeline * request->chunks;

    sp_json_begin_array(writer, "recompute", true);
    for (uint32_t s = 0; s < stages; s++)
        sp_json_put_string(writer, NULL, sp_recompute_names[request->stage_recompute[s]]);
    sp_json_end_array(writer);
    sp_json_begin_array(writer, "offload_permille", true);
    for (uint32_t s = 0; s < stages; s++)
        sp_json_put_whole(writer, NULL, request->stage_offload[s]);
    sp_json_end_array(writer);
}

static void write_configuration(struct sp_json_writer *writer, const struct sp_request *request)
{
    sp_json_put_string(writer, "schedule", request->schedule);
    sp_json_put_whole(writer, "tp", request->parallel.tensor);
    sp_json_put_whole(writer, "cp", request->parallel.context);
    sp_json_put_whole(writer, "ep", request->parallel.expert);
    sp_json_put_whole(writer, "pp", request->parallel.pipeline);
    sp_json_put_whole(writer, "dp", request->parallel.data);
    sp_json_put_whole(writer, "vpp", request->chunks);
    sp_json_put_whole(writer, "microbatch_size", request->microbatch_sequences);
    sp_json_put_whole(writer, "microbatches", request->microbatches);
    sp_json_put_whole(writer, "slices", request->slices);
    sp_json_put_string(writer, "exchange", request->exchange ? request->exchange : "none");
    write_stages(writer, request);
}

static void write_found(struct sp_json_writer *writer, const struct sp_found *found)
{
    sp_json_begin_object(writer, NULL);
    sp_json_put_whole(writer, "time_ns", found->time_ns);
    sp_json_put_whole(writer, "bound_ns", found->bound_ns);
    sp_json_put_real(writer, "mfu", found->mfu);
    sp_json_put_real(writer, "bubble", found->bubble);
    sp_json_put_whole(writer, "peak_bytes", found->peak_bytes);
    write_configuration(writer, &found->request);
    sp_json_end_object(writer);
}

static void write_counts(struct sp_json_writer *writer, const struct sp_search_result *result)
{
    static const char *const keys[SP_DROPS] = {"memory", "bound", "estimate", "invalid"};

    sp_json_put_whole(writer, "considered", result->considered);
    sp_json_put_whole(writer, "simulated", result->simulated);
    sp_json_begin_object(writer, "dropped");
    for (int why = 0; why < SP_DROPS; why++)
        sp_json_put_whole(writer, keys[why], result->dropped[why]);
    sp_json_end_object(writer);
    if (result->has_nearest)
        sp_json_put_whole(writer, "nearest_overshoot_bytes", result->nearest_overshoot);
}

enum sp_status search_write_json(const struct sp_search_result *result, const char *path,
                                 struct sp_error *error)
{
    struct sp_json_writer writer;
    struct sp_file file;
    enum sp_status status = sp_file_create(path, &file, error);

    if (status)
        return status;
    sp_json_writer_init(&writer, file.stream);
    sp_json_begin_object(&writer, NULL);
    sp_json_begin_array(&writer, "plans", false);
    for (int i = 0; i < result->found_count; i++)
        write_found(&writer, &result->found[i]);
    sp_json_end_array(&writer);
    write_counts(&writer, result);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
    return sp_file_commit(&file, error);
}
