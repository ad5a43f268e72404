/* SPDX-License-Identifier: Apache-2.0 */
/* Whole pictures: a timeline, and predicted above measured. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "slimpipe/format.h"
#include "svg.h"

enum { BOTTOM = 14, PANEL_HEADING = 22, COLUMN_HEADING = 16 };

static void set_width(struct sp_svg *svg, int64_t first_ns, int64_t second_ns)
{
    int64_t most = first_ns > second_ns ? first_ns : second_ns;
    svg->width_ns = most > 0 ? (double)most : 1;
}

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

/* "8 devices, 40 stages, 4 microbatches of 16 slices". */
static void describe_plan(const struct sp_plan *plan, char *words, size_t size)
{
    uint32_t devices = plan->order.device_count;
    int64_t microbatches = plan->workload.microbatches;
    int used = snprintf(words, size, "%" PRIu32 " device%s, %" PRIu32 " stage%s, %" PRId64 " microbatch%s",
                        devices, plural(devices), plan->stage_count, plural(plan->stage_count), microbatches,
                        microbatches == 1 ? "" : "es");
    if (plan->slice_count > 1 && (size_t)used < size)
        snprintf(words + used, size - (size_t)used, " of %" PRIu32 " slices", plan->slice_count);
}

static void describe_run(const struct sp_metrics *metrics, char *words, size_t size)
{
    int used = snprintf(words, size, "%s, %s idle", sp_format_time(metrics->makespan_ns).text,
                        sp_format_percent(metrics->bubble_mean_idle).text);
    if (!isnan(metrics->mfu) && (size_t)used < size)
        snprintf(words + used, size - (size_t)used, ", MFU %s", sp_format_percent(metrics->mfu).text);
}

static const char *title_of(const struct sp_plan *plan, const char *title, char *words, size_t size)
{
    if (title)
        return title;
    if (plan->has_model)
        snprintf(words, size, "%s: %s on %s", plan->schedule, plan->model.name, plan->cluster.name);
    else
        snprintf(words, size, "%s", plan->schedule);
    return words;
}

/* Names over the columns left and right of the rows that begin at y. */
static void put_headings(struct sp_svg *svg, const struct sp_svg_panel *panel, double y)
{
    bool bytes = false;
    for (uint32_t d = 0; d < panel->metrics->device_count; d++)
        bytes |= panel->metrics->devices[d].memory.peak_bytes > 0;
    sp_svg_put_text(svg, SP_SVG_LEFT - 8, y - 8, 11, "e g",
                    panel->rows.devices_per_row > 1 ? "devices" : "device");
    sp_svg_put_text(svg, SP_SVG_IDLE, y - 8, 11, "e g", "idle");
    sp_svg_put_text(svg, SP_SVG_BAR, y - 8, 11, "g", bytes ? "peak memory" : "passes held");
}

void sp_timeline_write_svg(const struct sp_timeline *timeline, const struct sp_metrics *metrics,
                           const char *title, FILE *stream)
{
    const struct sp_plan *plan = timeline->program->plan;
    struct sp_svg svg;
    struct sp_svg_panel panel;
    char words[320], shape[128], run[128], name[256];
    if (metrics->device_count == 0)
        return;
    sp_emit_init(&svg.out, stream);
    set_width(&svg, metrics->makespan_ns, 0);
    sp_svg_panel_init(&panel, &svg, timeline, metrics);
    describe_plan(plan, shape, sizeof shape);
    describe_run(metrics, run, sizeof run);
    snprintf(words, sizeof words, "%s: %s; %s", timeline->source, run, shape);

    double rows = sp_svg_panel_height(&panel), memory = sp_svg_memory_height(&panel);
    double height =
        sp_svg_head_height(&panel, 1) + COLUMN_HEADING + rows + SP_SVG_AXIS_HEIGHT + memory + BOTTOM;
    panel.top = COLUMN_HEADING +
                sp_svg_put_head(&svg, title_of(plan, title, name, sizeof name), words, height, &panel, 1);
    put_headings(&svg, &panel, panel.top);
    sp_svg_put_panel(&svg, &panel);
    sp_svg_put_axis(&svg, panel.top + rows);
    if (memory > 0)
        sp_svg_put_memory(&svg, &panel, panel.top + rows + SP_SVG_AXIS_HEIGHT);
    sp_svg_put_tail(&svg);
}

void sp_comparison_write_svg(const struct sp_comparison *comparison, const struct sp_metrics *predicted,
                             const struct sp_metrics *measured, const char *title, FILE *stream)
{
    const struct sp_timeline *timelines[] = {comparison->predicted, comparison->measured};
    const struct sp_metrics *metrics[] = {predicted, measured};
    const struct sp_plan *plan = comparison->predicted->program->plan;
    struct sp_svg svg;
    struct sp_svg_panel panels[2];
    char words[256], name[256], run[128];
    if (predicted->device_count == 0)
        return;
    sp_emit_init(&svg.out, stream);
    set_width(&svg, predicted->makespan_ns, measured->makespan_ns);
    for (int i = 0; i < 2; i++)
        sp_svg_panel_init(&panels[i], &svg, timelines[i], metrics[i]);
    /* Both in the same form, or they could not be compared. */
    panels[0].boxes = panels[1].boxes = panels[0].boxes && panels[1].boxes;
    describe_plan(plan, words, sizeof words);

    double rows = sp_svg_panel_height(&panels[0]);
    double height =
        sp_svg_head_height(panels, 2) + 2 * (PANEL_HEADING + rows) + 12 + SP_SVG_AXIS_HEIGHT + BOTTOM;
    double top = sp_svg_put_head(&svg, title_of(plan, title, name, sizeof name), words, height, panels, 2);
    for (int i = 0; i < 2; i++) {
        panels[i].top = top + PANEL_HEADING;
        describe_run(metrics[i], run, sizeof run);
        snprintf(words, sizeof words, "%s: %s", timelines[i]->source, run);
        if (i == 1 && predicted->makespan_ns > 0)
            snprintf(
                words + strlen(words), sizeof words - strlen(words), " (%s)",
                sp_format_change((double)measured->makespan_ns / (double)predicted->makespan_ns - 1).text);
        sp_svg_put_text(&svg, SP_SVG_LEFT, panels[i].top - 8, 12, "b", words);
        put_headings(&svg, &panels[i], panels[i].top);
        sp_svg_put_panel(&svg, &panels[i]);
        top = panels[i].top + rows + 12;
    }
    sp_svg_put_axis(&svg, panels[1].top + rows);
    sp_svg_put_tail(&svg);
}
