/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and text, and the frame of a picture: heading, legend, axis. */
#include <ctype.h>
#include <string.h>

#include "slimpipe/format.h"
#include "svg.h"

static void text(struct sp_svg *svg, const char *part)
{
    sp_emit_text(&svg->out, part);
}

static void number(struct sp_svg *svg, const char *before, double value)
{
    sp_emit_text(&svg->out, before);
    sp_emit_coordinate(&svg->out, value);
}

double sp_svg_x(const struct sp_svg *svg, const struct sp_svg_panel *panel, int64_t ns)
{
    return SP_SVG_LEFT + (double)(ns - panel->begin_ns) / svg->width_ns * SP_SVG_PLOT;
}

/* Helvetica and its kin: 0.55 of the size on average, a little more for digits and capitals. */
double sp_svg_text_width(const char *text, double size)
{
    return 0.57 * size * (double)strlen(text);
}

/* Numbers for people say "us", since terminals count bytes; a picture can do better. */
static void put_words(struct sp_svg *svg, const char *words)
{
    char part[256];
    for (const char *us; (us = strstr(words, " us")) && !isalnum((unsigned char)us[3]); words = us + 2) {
        snprintf(part, sizeof part, "%.*s", (int)(us - words), words);
        sp_emit_xml(&svg->out, part);
        text(svg, " µ");
    }
    sp_emit_xml(&svg->out, words);
}

void sp_svg_put_text(struct sp_svg *svg, double x, double y, double size, const char *style,
                     const char *words)
{
    number(svg, "<text x=\"", x);
    number(svg, "\" y=\"", y);
    number(svg, "\" font-size=\"", size);
    if (*style) {
        text(svg, "\" class=\"");
        text(svg, style);
    }
    text(svg, "\">");
    put_words(svg, words);
    text(svg, "</text>\n");
}

void sp_svg_put_fill(struct sp_svg *svg, const char *fill)
{
    text(svg, " fill=\"");
    text(svg, fill);
    text(svg, "\"");
}

void sp_svg_put_rect(struct sp_svg *svg, double x, double y, double width, double height, const char *fill)
{
    number(svg, "<rect x=\"", x);
    number(svg, "\" y=\"", y);
    number(svg, "\" width=\"", width);
    number(svg, "\" height=\"", height);
    text(svg, "\"");
    sp_svg_put_fill(svg, fill);
    text(svg, "/>\n");
}

void sp_svg_put_box(struct sp_svg *svg, double x, double y, double width, double height)
{
    number(svg, "M", x);
    number(svg, " ", y);
    number(svg, "h", width);
    number(svg, "v", height);
    number(svg, "h", -width);
    text(svg, "z");
}

/* Goes along one edge of columns [begin, end), forwards or backwards, with as few points as there are steps.
 */
static void put_edge(struct sp_svg *svg, const uint16_t *edge, int begin, int end, double step, int way)
{
    int at = way > 0 ? begin : end - 1, last = way > 0 ? end - 1 : begin;
    number(svg, way > 0 ? "M" : "V", way > 0 ? SP_SVG_LEFT + begin * step : edge[at] / 2.0);
    if (way > 0)
        number(svg, " ", edge[at] / 2.0);
    for (; at != last; at += way) {
        if (edge[at + way] == edge[at])
            continue;
        number(svg, "H", SP_SVG_LEFT + (way > 0 ? at + 1 : at) * step);
        number(svg, "V", edge[at + way] / 2.0);
    }
    number(svg, "H", SP_SVG_LEFT + (way > 0 ? end : begin) * step);
}

void sp_svg_put_band(struct sp_svg *svg, const char *fill, const uint16_t *upper, const uint16_t *lower,
                     int columns, double step)
{
    bool open = false;
    for (int begin = 0, end; begin < columns; begin = end) {
        end = begin + 1;
        if (upper[begin] == lower[begin])
            continue;
        while (end < columns && upper[end] != lower[end])
            end++;
        if (!open) {
            text(svg, "<path");
            sp_svg_put_fill(svg, fill);
            text(svg, " d=\"");
            open = true;
        }
        put_edge(svg, upper, begin, end, step, 1);
        put_edge(svg, lower, begin, end, step, -1);
        text(svg, "z");
    }
    if (open)
        text(svg, "\"/>\n");
}

/* Paints that the panels show, by bit; two passes joined are drawn as a box of each. */
static unsigned paints_shown(const struct sp_svg_panel *panels, int panel_count)
{
    unsigned shown = 0;
    for (int i = 0; i < panel_count; i++) {
        const struct sp_program *program = panels[i].timeline->program;
        for (uint32_t n = 0; n < program->instruction_count; n++) {
            const struct sp_instruction *instruction = &program->instructions[n];
            if (instruction->stream != SP_STREAM_COMPUTE ||
                panels[i].timeline->end_ns[n] == panels[i].timeline->start_ns[n])
                continue;
            if (instruction->kind == SP_INSTRUCTION_JOINED && panels[i].boxes)
                shown |= 1U << sp_paint_of_pass(program, instruction->pass) |
                         1U << sp_paint_of_pass(program, instruction->pass + 1);
            else
                shown |= 1U << sp_paint_of(program, instruction);
        }
    }
    return shown;
}

enum { LEGEND_TOP = 68, LEGEND_SIZE = 12, LEGEND_PITCH = 20 };

/* Lays the legend out and, with svg, draws it; returns its bottom. */
static double lay_legend(struct sp_svg *svg, unsigned shown)
{
    double x = SP_SVG_LEFT, y = LEGEND_TOP;
    for (int paint = 0; paint <= SP_PAINTS; paint++) {
        const char *name = paint < SP_PAINTS ? sp_paint_styles[paint].name : "idle";
        double width = 18 + sp_svg_text_width(name, LEGEND_SIZE) + 18;
        if (paint < SP_PAINTS && !(shown & 1U << paint))
            continue;
        if (x + width > SP_SVG_WIDTH - 16) {
            x = SP_SVG_LEFT;
            y += LEGEND_PITCH;
        }
        if (svg) {
            sp_svg_put_rect(svg, x, y, 12, 12,
                            paint < SP_PAINTS ? sp_paint_styles[paint].fill[0] : SP_SVG_IDLE_FILL);
            sp_svg_put_text(svg, x + 18, y + 10, LEGEND_SIZE, "", name);
        }
        x += width;
    }
    return y + LEGEND_PITCH;
}

double sp_svg_head_height(const struct sp_svg_panel *panels, int panel_count)
{
    return lay_legend(NULL, paints_shown(panels, panel_count)) + 8;
}

double sp_svg_put_head(struct sp_svg *svg, const char *title, const char *subtitle, double height,
                       const struct sp_svg_panel *panels, int panel_count)
{
    number(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", SP_SVG_WIDTH);
    number(svg, " ", height);
    number(svg, "\" width=\"", SP_SVG_WIDTH);
    number(svg, "\" height=\"", height);
    text(svg, "\" role=\"img\" font-family=\"'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif\" "
              "fill=\"#1f2933\">\n<title>");
    sp_emit_xml(&svg->out, title);
    text(svg, "</title>\n<style>.e{text-anchor:end}.m{text-anchor:middle}.b{font-weight:600}.g{fill:#5c6b7a}"
              "text{font-variant-numeric:tabular-nums}</style>\n");
    sp_svg_put_rect(svg, 0, 0, SP_SVG_WIDTH, height, "#ffffff");
    sp_svg_put_text(svg, SP_SVG_LEFT, 30, 18, "b", title);
    sp_svg_put_text(svg, SP_SVG_LEFT, 51, 13, "g", subtitle);
    sp_svg_put_text(svg, SP_SVG_WIDTH - 12, 51, 11, "e g", sp_svg_panel_note(&panels[0]));
    return lay_legend(svg, paints_shown(panels, panel_count)) + 8;
}

void sp_svg_put_tail(struct sp_svg *svg)
{
    text(svg, "</svg>\n");
    sp_emit_flush(&svg->out);
}

enum { MOST_TICKS = 10 };

void sp_svg_put_grid(struct sp_svg *svg, double top, double bottom)
{
    int64_t step = sp_tick_ns((int64_t)svg->width_ns, MOST_TICKS);
    text(svg, "<path stroke=\"#d5dce4\" stroke-width=\"1\" d=\"");
    for (int64_t at = 0; (double)at <= svg->width_ns; at += step) {
        number(svg, "M", SP_SVG_LEFT + (double)at / svg->width_ns * SP_SVG_PLOT);
        number(svg, " ", top);
        number(svg, "V", bottom);
    }
    text(svg, "\"/>\n");
}

void sp_svg_put_axis(struct sp_svg *svg, double top)
{
    int64_t step = sp_tick_ns((int64_t)svg->width_ns, MOST_TICKS);
    for (int64_t at = 0; (double)at <= svg->width_ns; at += step)
        sp_svg_put_text(svg, SP_SVG_LEFT + (double)at / svg->width_ns * SP_SVG_PLOT, top + 15, 11, "m g",
                        at ? sp_format_tick(at, step).text : "0");
}
