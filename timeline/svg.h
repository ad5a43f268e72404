/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces an SVG picture is composed of. Coordinates are pixels; nothing is allocated. */
#ifndef SP_TIMELINE_SVG_H
#define SP_TIMELINE_SVG_H

#include "emit.h"
#include "row.h"

enum {
    SP_SVG_WIDTH = 1200,
    SP_SVG_LEFT = 62,   /* where the time axis begins */
    SP_SVG_PLOT = 900,  /* its length */
    SP_SVG_IDLE = 1012, /* right end of the idle shares */
    SP_SVG_BAR = 1026,  /* where the bars of peak memory begin */
    SP_SVG_BAR_WIDTH = 96,
    SP_SVG_COLUMNS = SP_SVG_PLOT / 2, /* most steps of a curve */
};

#define SP_SVG_IDLE_FILL "#eef1f5"

struct sp_svg {
    struct sp_emitter out;
    double width_ns; /* what the time axis shows */
};

/* A timeline's rows. */
struct sp_svg_panel {
    const struct sp_timeline *timeline;
    const struct sp_metrics *metrics;
    struct sp_rows rows;
    int64_t begin_ns;
    double top, pitch; /* of the rows */
    /* Whether each pass is drawn as a box; else they are too narrow or too many, and a row shows shares. */
    bool boxes;
    int64_t box_count;
    double box_width; /* mean */
};

/* Decides how the timeline is drawn; svg->width_ns must be set. top is set by the caller. */
void sp_svg_panel_init(struct sp_svg_panel *panel, const struct sp_svg *svg,
                       const struct sp_timeline *timeline, const struct sp_metrics *metrics);
/* How the rows are to be read, in a line. */
const char *sp_svg_panel_note(const struct sp_svg_panel *panel);
double sp_svg_panel_height(const struct sp_svg_panel *panel);
/* Rows with labels on the left, idle share and peak memory on the right. */
void sp_svg_put_panel(struct sp_svg *svg, const struct sp_svg_panel *panel);

/* Memory over time of the device with the highest peak: heading, curve, legend. */
double sp_svg_memory_height(const struct sp_svg_panel *panel);
void sp_svg_put_memory(struct sp_svg *svg, const struct sp_svg_panel *panel, double top);
/* A device's at_peak (or, without bytes, units held) as a bar of the right-hand column. */
void sp_svg_put_bar(struct sp_svg *svg, const struct sp_svg_panel *panel,
                    const struct sp_device_memory *memory, double y, double height);

/* Document, heading and legend of what the panels show; returns where they may begin. */
double sp_svg_put_head(struct sp_svg *svg, const char *title, const char *subtitle, double height,
                       const struct sp_svg_panel *panels, int panel_count);
/* Height of the head, in which the legend may take several lines. */
double sp_svg_head_height(const struct sp_svg_panel *panels, int panel_count);
enum { SP_SVG_AXIS_HEIGHT = 26 };
/* Grid lines from top to bottom, labels below. */
void sp_svg_put_grid(struct sp_svg *svg, double top, double bottom);
void sp_svg_put_axis(struct sp_svg *svg, double top);
void sp_svg_put_tail(struct sp_svg *svg);

/* style: CSS classes "s" small, "e" right-aligned, "m" centred, "b" bold, "g" grey; blanks between them. */
void sp_svg_put_text(struct sp_svg *svg, double x, double y, double size, const char *style,
                     const char *text);
void sp_svg_put_rect(struct sp_svg *svg, double x, double y, double width, double height, const char *fill);
/* A path's rectangle. */
void sp_svg_put_box(struct sp_svg *svg, double x, double y, double width, double height);
/* fill="…", as an attribute with a blank before it. */
void sp_svg_put_fill(struct sp_svg *svg, const char *fill);
/* Width of text in the picture's font, roughly. */
double sp_svg_text_width(const char *text, double size);

/*
 * The area between two step curves, given in half pixels at each of `columns` steps; nothing where they are
 * equal.
 */
void sp_svg_put_band(struct sp_svg *svg, const char *fill, const uint16_t *upper, const uint16_t *lower,
                     int columns, double step);

/* Where a time lies on the axis. */
double sp_svg_x(const struct sp_svg *svg, const struct sp_svg_panel *panel, int64_t ns);

#endif
