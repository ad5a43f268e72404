/* SPDX-License-Identifier: Apache-2.0 */
/* The summary as a table for people. */
#include <math.h>
#include <string.h>

#include "row.h"
#include "slimpipe/format.h"

enum {
    FEW_DEVICES = 24, /* from here on neighbours share a line */
    LINES = 16,       /* then at most so many */
    MOST_NAMED = 4,   /* categories of a line */
};

/* One line: a device, or neighbours with mean times and the largest memory. */
struct line {
    uint32_t first, count;
    double busy_ns;
    const struct sp_device_memory *memory; /* of the device with the largest peak */
    int64_t in_flight;
};

static struct line line_of(const struct sp_metrics *metrics, uint32_t first, uint32_t count)
{
    struct line line = {.first = first, .count = count, .memory = &metrics->devices[first].memory};
    for (uint32_t d = first; d < first + count; d++) {
        const struct sp_device_metrics *device = &metrics->devices[d];
        line.busy_ns += (double)device->busy_ns / count;
        if (device->memory.peak_bytes > line.memory->peak_bytes)
            line.memory = &device->memory;
        if (device->memory.peak_in_flight > line.in_flight)
            line.in_flight = device->memory.peak_in_flight;
    }
    return line;
}

static int largest_left(const int64_t bytes[SP_MEMORY_CATEGORIES], unsigned used)
{
    int best = -1;
    for (int i = 0; i < SP_MEMORY_CATEGORIES; i++)
        if (i != SP_MEMORY_OFFLOAD && !(used & 1U << i) && bytes[i] > 0 &&
            (best < 0 || bytes[i] > bytes[best]))
            best = i;
    return best;
}

/* The largest categories at the peak, as many as fit into `width`. */
static void write_categories(const struct sp_device_memory *memory, FILE *stream, int width)
{
    unsigned used = 0;
    int column = 0, best;
    for (int named = 0; named < MOST_NAMED && (best = largest_left(memory->at_peak, used)) >= 0; named++) {
        char text[64];
        int size = snprintf(text, sizeof text, "%s%s %s", named ? ", " : "  ", sp_memory_styles[best].name,
                            sp_format_bytes(memory->at_peak[best]).text);
        if (column + size > width)
            break;
        fputs(text, stream);
        column += size;
        used |= 1U << best;
    }
}

static void write_line(const struct sp_metrics *metrics, const struct line *line, FILE *stream, int label,
                       int width)
{
    double whole = (double)metrics->makespan_ns;
    fprintf(stream, "%*s %7s %7s %8s %5s", label, sp_format_range(line->first, line->count).text,
            sp_format_time(llround(line->busy_ns)).text,
            sp_format_percent(whole > 0 ? 1 - line->busy_ns / whole : 0).text,
            line->memory->peak_bytes ? sp_format_bytes(line->memory->peak_bytes).text : "-",
            sp_format_count((double)line->in_flight).text);
    write_categories(line->memory, stream, width);
    fputc('\n', stream);
}

static const struct sp_device_metrics *fullest(const struct sp_metrics *metrics, uint32_t *ret_number)
{
    const struct sp_device_metrics *best = NULL;
    for (uint32_t d = 0; d < metrics->device_count; d++)
        if (!best || metrics->devices[d].memory.peak_bytes > best->memory.peak_bytes) {
            best = &metrics->devices[d];
            *ret_number = d;
        }
    return best;
}

static void write_totals(const struct sp_metrics *metrics, FILE *stream)
{
    uint32_t number = 0;
    const struct sp_device_metrics *full = fullest(metrics, &number);
    fprintf(stream, "makespan  %s", sp_format_time(metrics->makespan_ns).text);
    if (metrics->bound_ns > 0)
        fprintf(stream, ", %s above the bound %s", sp_format_percent(metrics->gap).text,
                sp_format_time(metrics->bound_ns).text);
    fprintf(stream, "\nbubble    %s mean idle, %s of the longest span\n",
            sp_format_percent(metrics->bubble_mean_idle).text,
            sp_format_percent(metrics->bubble_longest_span).text);
    if (!isnan(metrics->mfu))
        fprintf(stream, "speed     %s tokens/s, MFU %s\n", sp_format_count(metrics->tokens_per_second).text,
                sp_format_percent(metrics->mfu).text);
    if (full && full->memory.peak_bytes > 0)
        fprintf(stream, "memory    %s on device %u\n", sp_format_bytes(full->memory.peak_bytes).text, number);
    if (metrics->message_bytes > 0)
        fprintf(stream, "messages  %s\n", sp_format_bytes(metrics->message_bytes).text);
}

void sp_metrics_write_table(const struct sp_metrics *metrics, FILE *stream, int columns)
{
    uint32_t most = metrics->device_count < FEW_DEVICES ? FEW_DEVICES : LINES;
    struct sp_rows rows = sp_rows_split(metrics->device_count, most);

    write_totals(metrics, stream);
    uint32_t last, begin = sp_rows_devices(&rows, rows.count - 1, &last);
    int label = (int)strlen(sp_format_range(begin, last).text);
    label = label < 7 ? 7 : label;
    int width = columns - label - (int)strlen(" 12.3 ms 100.0 % 43.2 GiB 12345");
    fprintf(stream, "\n%*s %7s %7s %8s %5s%s\n", label, rows.devices_per_row > 1 ? "devices" : "device",
            "busy", "idle", "peak", "held", width >= 22 ? "  largest at the peak" : "");
    for (uint32_t row = 0; row < rows.count; row++) {
        uint32_t count, first = sp_rows_devices(&rows, row, &count);
        struct line line = line_of(metrics, first, count);
        write_line(metrics, &line, stream, label, width);
    }
    if (rows.devices_per_row > 1)
        fputs("(times: mean of the devices; memory: largest)\n", stream);
}
