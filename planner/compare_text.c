/* SPDX-License-Identifier: Apache-2.0 */
/* A comparison for people and for programs. */
#include <stdarg.h>
#include <string.h>

#include "slimpipe/compare.h"
#include "slimpipe/format.h"
#include "slimpipe/json.h"

/* Appends a knob, with a comma after the one before. */
static void add(char *text, size_t size, const char *format, ...) SP_PRINTF(3, 4);
static void add(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;

    if (used > 0 && used + 2 < size) {
        strcat(text, ", ");
        used += 2;
    }
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

char *sp_compare_knobs_text(const struct sp_compare_row *row, char *text, size_t size)
{
    const struct sp_request *request = &row->request;

    *text = '\0';
    if (request->recompute != SP_RECOMPUTE_NONE)
        add(text, size, "%s recompute", sp_recompute_names[request->recompute]);
    if (request->exchange && strcmp(request->exchange, "none") != 0)
        add(text, size, "exchange %s", request->exchange);
    if (request->vocabulary_is_set)
        add(text, size, "output %s", sp_vocabulary_names[request->vocabulary]);
    if (request->slice_division != SP_SLICES_EQUAL)
        add(text, size, "slices by %s", sp_slice_division_names[request->slice_division]);
    if (request->stage_division != SP_STAGES_EQUAL)
        add(text, size, "stages by %s", sp_stage_division_names[request->stage_division]);
    if (row->schedule->traits & SP_SCHEDULE_USES_WINDOW && request->window == 1)
        add(text, size, "window 1");
    if (request->group)
        add(text, size, "groups of %u", request->group);
    if (request->memory_units)
        add(text, size, "holds %.1f", (double)request->memory_units / 1000);
    if (request->offload_permille)
        add(text, size, "offload %.0f %%", request->offload_permille / 10.0);
    return text;
}

/* --- Table ---------------------------------------------------------------------------------------------- */

static void put_header(const char *heading, FILE *stream)
{
    fprintf(stream, "%-20s %3s %3s %8s %7s %7s %9s %9s %7s %7s  %s\n", heading, "v", "n", "time", "idle",
            "span", "peak", "sent", "gap", "MFU", "knobs");
}

static void put_figures(const struct sp_compare_row *row, FILE *stream)
{
    char knobs[256], over[64] = "";

    sp_compare_knobs_text(row, knobs, sizeof(knobs));
    if (row->over_bytes > 0)
        snprintf(over, sizeof(over), "%s over%s", sp_format_bytes(row->over_bytes).text, *knobs ? "; " : "");
    fprintf(stream, "%-20s %3u %3u %8s %7s %7s %9s %9s %7s %7s%s%s%s\n", row->schedule->name,
            row->request.chunks, row->request.slices, sp_format_time(row->time_ns).text,
            sp_format_percent(row->bubble_mean_idle).text, sp_format_percent(row->bubble_longest_span).text,
            sp_format_bytes(row->peak_bytes).text, sp_format_bytes(row->message_bytes).text,
            sp_format_percent(row->gap).text, sp_format_percent(row->mfu).text, *over || *knobs ? "  " : "",
            over, knobs);
}

static int64_t count_outcome(const struct sp_compare_result *result, enum sp_compare_outcome outcome)
{
    int64_t count = 0;

    for (int64_t i = 0; i < result->row_count; i++)
        count += result->rows[i].best && result->rows[i].outcome == outcome;
    return count;
}

static void put_those_that_fit(const struct sp_compare_result *result, bool front, FILE *stream)
{
    if (count_outcome(result, SP_COMPARE_FITS) == 0)
        return;
    put_header(front ? "not beaten" : "schedule", stream);
    for (int64_t i = 0; i < result->row_count; i++) {
        const struct sp_compare_row *row = &result->rows[i];
        if (row->outcome == SP_COMPARE_FITS && (front ? row->front : row->best))
            put_figures(row, stream);
    }
}

static void put_those_over(const struct sp_compare_result *result, FILE *stream)
{
    if (count_outcome(result, SP_COMPARE_OVER_CAP) == 0)
        return;
    if (count_outcome(result, SP_COMPARE_FITS) > 0)
        fputc('\n', stream);
    put_header("does not fit", stream);
    for (int64_t i = 0; i < result->row_count; i++)
        if (result->rows[i].best && result->rows[i].outcome == SP_COMPARE_OVER_CAP)
            put_figures(&result->rows[i], stream);
}

static void put_those_refused(const struct sp_compare_result *result, FILE *stream)
{
    if (count_outcome(result, SP_COMPARE_REFUSED) == 0)
        return;
    if (result->rows[0].outcome != SP_COMPARE_REFUSED)
        fputc('\n', stream);
    fprintf(stream, "refused\n");
    for (int64_t i = 0; i < result->row_count; i++)
        if (result->rows[i].outcome == SP_COMPARE_REFUSED)
            fprintf(stream, "%-20s %s\n", result->rows[i].schedule->name, result->rows[i].reason);
}

void sp_compare_write_table(const struct sp_compare_result *result, bool front, FILE *stream)
{
    put_those_that_fit(result, front, stream);
    if (front)
        return;
    put_those_over(result, stream);
    put_those_refused(result, stream);
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

static void put_knobs(const struct sp_request *request, struct sp_json_writer *writer)
{
    sp_json_begin_line_object(writer, "knobs");
    sp_json_put_whole(writer, "chunks", request->chunks);
    sp_json_put_whole(writer, "slices", request->slices);
    sp_json_put_whole(writer, "window", request->window);
    sp_json_put_whole(writer, "group", request->group);
    sp_json_put_real(writer, "max_held", (double)request->memory_units / 1000);
    sp_json_put_string(writer, "recompute", sp_recompute_names[request->recompute]);
    sp_json_put_real(writer, "offload", request->offload_permille / 1000.0);
    sp_json_put_string(writer, "exchange", request->exchange ? request->exchange : "none");
    if (request->vocabulary_is_set)
        sp_json_put_string(writer, "vocabulary", sp_vocabulary_names[request->vocabulary]);
    else
        sp_json_put_null(writer, "vocabulary");
    sp_json_put_string(writer, "slice_division", sp_slice_division_names[request->slice_division]);
    sp_json_put_string(writer, "stage_division", sp_stage_division_names[request->stage_division]);
    sp_json_end_object(writer);
}

static void put_json_figures(const struct sp_compare_row *row, struct sp_json_writer *writer)
{
    sp_json_put_whole(writer, "makespan_ns", row->time_ns);
    sp_json_begin_line_object(writer, "bubble");
    sp_json_put_real(writer, "mean_idle", row->bubble_mean_idle);
    sp_json_put_real(writer, "longest_span", row->bubble_longest_span);
    sp_json_end_object(writer);
    sp_json_put_whole(writer, "bound_ns", row->bound_ns);
    sp_json_put_real(writer, "gap", row->gap);
    sp_json_put_real(writer, "mfu", row->mfu);
    sp_json_put_whole(writer, "peak_bytes", row->peak_bytes);
    sp_json_put_whole(writer, "over_bytes", row->over_bytes);
    sp_json_put_whole(writer, "message_bytes", row->message_bytes);
}

void sp_compare_write_json(const struct sp_compare_result *result, struct sp_json_writer *writer)
{
    static const char *const outcomes[] = {"fits", "over the cap", "refused"};

    sp_json_begin_array(writer, "rows", false);
    for (int64_t i = 0; i < result->row_count; i++) {
        const struct sp_compare_row *row = &result->rows[i];
        sp_json_begin_object(writer, NULL);
        sp_json_put_string(writer, "schedule", row->schedule->name);
        sp_json_put_string(writer, "outcome", outcomes[row->outcome]);
        sp_json_put_bool(writer, "best", row->best);
        sp_json_put_bool(writer, "front", row->front);
        if (row->outcome == SP_COMPARE_REFUSED)
            sp_json_put_string(writer, "reason", row->reason);
        else
            put_json_figures(row, writer);
        put_knobs(&row->request, writer);
        sp_json_end_object(writer);
    }
    sp_json_end_array(writer);
}
