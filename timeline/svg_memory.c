/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in a picture: the bars of peak memory, and memory over time on the fullest device. */
#include <math.h>
#include <string.h>

#include "ledger.h"
#include "slimpipe/format.h"
#include "svg.h"

enum {
    HEADING = 24,
    CURVE = 96,
    LEGEND = 30,
    LINE = 13,                         /* between lines of text */
    LAYERS = SP_MEMORY_CATEGORIES + 1, /* the categories, and units held where there are no bytes */
};
static const char held_fill[] = "#a9c1dc";

static const struct sp_device_memory *memory_of(const struct sp_svg_panel *panel, uint32_t device)
{
    return &panel->metrics->devices[device].memory;
}

static uint32_t fullest_device(const struct sp_svg_panel *panel)
{
    uint32_t best = 0;
    for (uint32_t d = 1; d < panel->metrics->device_count; d++) {
        const struct sp_device_memory *memory = memory_of(panel, d), *most = memory_of(panel, best);
        if (memory->peak_bytes > most->peak_bytes ||
            (memory->peak_bytes == most->peak_bytes && memory->peak_in_flight > most->peak_in_flight))
            best = d;
    }
    return best;
}

static bool has_bytes(const struct sp_svg_panel *panel)
{
    return memory_of(panel, fullest_device(panel))->peak_bytes > 0;
}

/* What a device may hold: the plan's cap, else its memory; 0 where neither is known. */
static int64_t cap_of(const struct sp_svg_panel *panel)
{
    const struct sp_plan *plan = panel->timeline->program->plan;
    if (plan->memory_cap_bytes > 0)
        return plan->memory_cap_bytes;
    return plan->has_model ? plan->cluster.memory_bytes : 0;
}

/* The full length of bars and height of the curve: the highest peak, or the cap where that is near. */
static double scale_of(const struct sp_svg_panel *panel)
{
    const struct sp_device_memory *most = memory_of(panel, fullest_device(panel));
    double peak = has_bytes(panel) ? (double)most->peak_bytes : (double)most->peak_in_flight;
    double cap = has_bytes(panel) ? (double)cap_of(panel) : 0;
    if (cap > peak && cap < 3 * peak)
        return cap;
    return peak > 0 ? peak : 1;
}

void sp_svg_put_bar(struct sp_svg *svg, const struct sp_svg_panel *panel,
                    const struct sp_device_memory *memory, double y, double height)
{
    double scale = SP_SVG_BAR_WIDTH / scale_of(panel), x = SP_SVG_BAR, size = fmin(12, height);
    bool bytes = has_bytes(panel);
    sp_svg_put_rect(svg, x, y, SP_SVG_BAR_WIDTH, height, SP_SVG_IDLE_FILL);
    for (int i = 0; i < SP_MEMORY_CATEGORIES && bytes; i++) {
        double width = i == SP_MEMORY_OFFLOAD ? 0 : (double)memory->at_peak[i] * scale;
        if (width > 0)
            sp_svg_put_rect(svg, x, y, width, height, sp_memory_styles[i].fill);
        x += width;
    }
    if (!bytes)
        sp_svg_put_rect(svg, x, y, (double)memory->peak_in_flight * scale, height, held_fill);
    sp_svg_put_text(svg, SP_SVG_WIDTH - 12, y + height / 2 + size * 0.36, size, "e",
                    bytes ? sp_format_bytes(memory->peak_bytes).text
                          : sp_format_count((double)memory->peak_in_flight).text);
}

/* Layers in half pixels from the bottom, at each column the moment with the most memory. */
struct curve {
    uint16_t edges[LAYERS + 1][SP_SVG_COLUMNS];
    double most[SP_SVG_COLUMNS];
    int columns;
    double bottom, scale;
    bool bytes;
};

static void note(struct curve *curve, int column, const struct sp_ledger *ledger)
{
    double amount = curve->bytes ? (double)ledger->total : (double)ledger->in_flight, sum = 0;
    if (amount <= curve->most[column])
        return;
    curve->most[column] = amount;
    for (int layer = 0; layer < LAYERS; layer++) {
        if (layer == SP_MEMORY_CATEGORIES)
            sum += curve->bytes ? 0 : (double)ledger->in_flight;
        else if (curve->bytes && layer != SP_MEMORY_OFFLOAD)
            sum += (double)ledger->live[layer];
        curve->edges[layer + 1][column] = (uint16_t)lround(2 * (curve->bottom - sum * curve->scale));
    }
}

static int column_of(const struct sp_svg *svg, const struct sp_svg_panel *panel, const struct curve *curve,
                     int64_t ns)
{
    double at = (sp_svg_x(svg, panel, ns) - SP_SVG_LEFT) / SP_SVG_PLOT * curve->columns;
    return at >= curve->columns ? curve->columns - 1 : (int)at;
}

static void trace_curve(struct curve *curve, const struct sp_svg *svg, const struct sp_svg_panel *panel,
                        uint32_t device)
{
    struct sp_ledger ledger;
    int column = 0;
    for (int layer = 0; layer <= LAYERS; layer++)
        for (int i = 0; i < curve->columns; i++)
            curve->edges[layer][i] = (uint16_t)lround(2 * curve->bottom);
    sp_ledger_init(&ledger, panel->timeline, device, panel->begin_ns);
    bool more = true;
    while (more) {
        struct sp_ledger now = ledger;
        more = sp_ledger_next(&ledger);
        int64_t until = more ? ledger.at_ns : panel->begin_ns + panel->metrics->makespan_ns;
        for (int last = column_of(svg, panel, curve, until); column <= last; column++)
            note(curve, column, &now);
        column = column_of(svg, panel, curve, until);
    }
}

double sp_svg_memory_height(const struct sp_svg_panel *panel)
{
    if (memory_of(panel, fullest_device(panel))->peak_in_flight == 0 && !has_bytes(panel))
        return 0;
    return HEADING + CURVE + (has_bytes(panel) ? LEGEND : 8);
}

/* The cap as a line, where the curve's scale reaches it; its words keep clear of the peak's. */
static void put_cap(struct sp_svg *svg, const struct sp_svg_panel *panel, double bottom, double scale,
                    double peak_y)
{
    bool asked = panel->timeline->program->plan->memory_cap_bytes > 0;
    double y = bottom - (double)cap_of(panel) * scale, words_y = y;
    if (cap_of(panel) <= 0 || y < bottom - CURVE - 1)
        return;
    sp_emit_text(&svg->out, "<path stroke=\"#c0392b\" stroke-width=\"1\" stroke-dasharray=\"5 3\" d=\"M");
    sp_emit_coordinate(&svg->out, SP_SVG_LEFT);
    sp_emit_text(&svg->out, " ");
    sp_emit_coordinate(&svg->out, y);
    sp_emit_text(&svg->out, "h");
    sp_emit_coordinate(&svg->out, SP_SVG_PLOT);
    sp_emit_text(&svg->out, "\"/>\n");
    if (fabs(y - peak_y) < LINE)
        words_y = y > peak_y ? peak_y + LINE : peak_y - LINE;
    char words[64];
    snprintf(words, sizeof words, "%s %s", asked ? "cap" : "device memory",
             sp_format_bytes(cap_of(panel)).text);
    sp_svg_put_text(svg, SP_SVG_LEFT + SP_SVG_PLOT + 8, words_y + 4, 11, "g", words);
}

static void put_legend(struct sp_svg *svg, const struct sp_device_memory *memory, double y)
{
    double x = SP_SVG_LEFT;
    for (int i = 0; i < SP_MEMORY_CATEGORIES; i++) {
        if (i == SP_MEMORY_OFFLOAD || memory->peak_by_category[i] == 0)
            continue;
        sp_svg_put_rect(svg, x, y, 12, 12, sp_memory_styles[i].fill);
        sp_svg_put_text(svg, x + 18, y + 10, 12, "", sp_memory_styles[i].name);
        x += 36 + sp_svg_text_width(sp_memory_styles[i].name, 12);
    }
}

void sp_svg_put_memory(struct sp_svg *svg, const struct sp_svg_panel *panel, double top)
{
    uint32_t device = fullest_device(panel);
    const struct sp_device_memory *memory = memory_of(panel, device);
    bool bytes = has_bytes(panel);
    struct curve curve = {.columns = SP_SVG_COLUMNS,
                          .bottom = top + HEADING + CURVE,
                          .scale = CURVE / scale_of(panel),
                          .bytes = bytes};
    char words[128];
    snprintf(words, sizeof words,
             bytes ? "memory of device %u, the fullest" : "forward passes held by device %u", device);
    sp_svg_put_text(svg, SP_SVG_LEFT, top + 14, 12, "b", words);
    sp_svg_put_rect(svg, SP_SVG_LEFT, top + HEADING, SP_SVG_PLOT, CURVE, SP_SVG_IDLE_FILL);
    sp_svg_put_grid(svg, top + HEADING, curve.bottom);
    trace_curve(&curve, svg, panel, device);
    for (int layer = 0; layer < LAYERS; layer++)
        sp_svg_put_band(svg, layer < SP_MEMORY_CATEGORIES ? sp_memory_styles[layer].fill : held_fill,
                        curve.edges[layer + 1], curve.edges[layer], curve.columns,
                        (double)SP_SVG_PLOT / curve.columns);
    double peak = bytes ? (double)memory->peak_bytes : (double)memory->peak_in_flight;
    snprintf(words, sizeof words, "peak %s",
             bytes ? sp_format_bytes(memory->peak_bytes).text : sp_format_count(peak).text);
    double peak_y = curve.bottom - peak * curve.scale;
    sp_svg_put_text(svg, SP_SVG_LEFT + SP_SVG_PLOT + 8, peak_y + 4, 11, "", words);
    sp_svg_put_text(svg, SP_SVG_LEFT - 8, curve.bottom, 11, "e g", "0");
    if (bytes) {
        put_cap(svg, panel, curve.bottom, curve.scale, peak_y);
        put_legend(svg, memory, curve.bottom + 12);
    }
}
