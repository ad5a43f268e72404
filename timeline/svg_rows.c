/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a picture. Where passes are wide enough each is a box; else a row is a curve: at each step of
 * time the row's height is divided as the time was, so that nothing is lost and the size does not grow with
 * the number of passes.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "slimpipe/format.h"
#include "svg.h"

enum {
    MOST_BOXES = 12000, /* some 60 bytes each */
    MOST_HINTS = 3000,  /* boxes up to which each says its name and times when pointed at */
    LABEL_HEIGHT = 13,  /* of a row that can hold text */
};
static const double least_box = 1.5; /* mean width from which passes are drawn one by one */

/* A stretch of one pass: instructions of it that follow each other without a gap. */
struct box {
    uint32_t number; /* the first instruction */
    int64_t start_ns, end_ns;
};

/* The next box of a device's compute stream from *cursor on; false at the end. */
static bool next_box(const struct sp_timeline *timeline, uint32_t *cursor, uint32_t last, struct box *box)
{
    const struct sp_program *program = timeline->program;
    bool open = false;
    for (; *cursor < last; ++*cursor) {
        uint32_t number = program->stream_items[*cursor];
        const struct sp_instruction *instruction = &program->instructions[number];
        int64_t start = timeline->start_ns[number], end = timeline->end_ns[number];
        if (start == end)
            continue;
        if (open && (start != box->end_ns || instruction->pass != program->instructions[box->number].pass))
            return true;
        if (!open)
            *box = (struct box){number, start, end};
        box->end_ns = end;
        open = true;
    }
    return open;
}

static void stream_of(const struct sp_program *program, uint32_t device, uint32_t *cursor, uint32_t *last)
{
    *cursor = program->stream_begin[device * SP_STREAMS + SP_STREAM_COMPUTE];
    *last = program->stream_begin[device * SP_STREAMS + SP_STREAM_COMPUTE + 1];
}

static double pitch_of(uint32_t rows)
{
    if (rows <= 4)
        return 40;
    if (rows <= 8)
        return 32;
    if (rows <= 16)
        return 24;
    return rows <= 32 ? 16 : 12;
}

void sp_svg_panel_init(struct sp_svg_panel *panel, const struct sp_svg *svg,
                       const struct sp_timeline *timeline, const struct sp_metrics *metrics)
{
    const struct sp_program *program = timeline->program;
    double busy_ns = 0;
    int64_t end_ns;
    *panel = (struct sp_svg_panel){
        .timeline = timeline, .metrics = metrics, .rows = sp_rows_split(program->device_count, SP_ROWS)};
    panel->pitch = pitch_of(panel->rows.count);
    sp_timeline_span(timeline, &panel->begin_ns, &end_ns);
    for (uint32_t d = 0; d < program->device_count; d++) {
        struct box box;
        uint32_t cursor, last;
        stream_of(program, d, &cursor, &last);
        while (next_box(timeline, &cursor, last, &box)) {
            panel->box_count++;
            busy_ns += (double)(box.end_ns - box.start_ns);
        }
    }
    if (panel->box_count > 0)
        panel->box_width = busy_ns / (double)panel->box_count / svg->width_ns * SP_SVG_PLOT;
    panel->boxes =
        panel->rows.devices_per_row == 1 && panel->box_count <= MOST_BOXES && panel->box_width >= least_box;
}

double sp_svg_panel_height(const struct sp_svg_panel *panel)
{
    return panel->rows.count * panel->pitch;
}

enum label { LABEL_FULL, LABEL_SHORT };

/* "12F0.31", or only "0.31". */
static void name_pass(const struct sp_plan *plan, const struct sp_pass *pass, enum label label, char name[32])
{
    if (label == LABEL_FULL)
        sp_pass_text(pass, plan->slice_count, name, 32);
    else if (plan->slice_count > 1)
        snprintf(name, 32, "%" PRIu32 ".%" PRIu16, pass->microbatch, pass->slice);
    else
        snprintf(name, 32, "%" PRIu32, pass->microbatch);
}

/* Whether the longest name has room in most boxes, of which the forwards are narrower than the mean. */
static bool label_fits(const struct sp_svg_panel *panel, enum label label, double size)
{
    const struct sp_plan *plan = panel->timeline->program->plan;
    struct sp_pass last = {.stage = (uint16_t)(plan->stage_count - 1),
                           .microbatch = (uint32_t)plan->workload.microbatches - 1,
                           .slice = (uint16_t)(plan->slice_count - 1)};
    char name[32];
    name_pass(plan, &last, label, name);
    return sp_svg_text_width(name, size) + 4 <= 0.6 * panel->box_width;
}

/*
 * A pass's name in its box where that is wide enough; all in one size. With one stage per device the row and
 * the colour say what the short name does not.
 */
static void put_label(struct sp_svg *svg, const struct sp_svg_panel *panel, uint32_t number, double x,
                      double y, double width, double height)
{
    const struct sp_plan *plan = panel->timeline->program->plan;
    bool several = plan->stage_count > panel->rows.device_count;
    enum label label = several && label_fits(panel, LABEL_FULL, 9) ? LABEL_FULL : LABEL_SHORT;
    double size = panel->pitch >= 24 && label_fits(panel, label, 11) ? 11 : 9;
    char name[32];
    name_pass(plan, &plan->order.passes[number], label, name);
    if (sp_svg_text_width(name, size) + 3 <= width)
        sp_svg_put_text(svg, x + width / 2, y + height / 2 + size * 0.36, size, "m", name);
}

/* "12F0.31, 1.20 ms from 34.5 ms", shown when the box is pointed at. */
static void put_hint(struct sp_svg *svg, const struct sp_svg_panel *panel, const struct box *box)
{
    const struct sp_program *program = panel->timeline->program;
    struct sp_instruction instruction = program->instructions[box->number];
    char name[96];
    /* The parts of a pass are one box, which has the pass's name. */
    if (instruction.kind == SP_INSTRUCTION_BEFORE || instruction.kind == SP_INSTRUCTION_ATTENTION ||
        instruction.kind == SP_INSTRUCTION_PAST || instruction.kind == SP_INSTRUCTION_AFTER)
        instruction.kind = SP_INSTRUCTION_PASS;
    sp_emit_text(&svg->out, "<title>");
    sp_emit_xml(&svg->out, sp_instruction_text(program, &instruction, name, sizeof name));
    sp_emit_text(&svg->out, ", ");
    sp_emit_text(&svg->out, sp_format_time(box->end_ns - box->start_ns).text);
    sp_emit_text(&svg->out, " from ");
    sp_emit_text(&svg->out, sp_format_time(box->start_ns - panel->begin_ns).text);
    sp_emit_text(&svg->out, "</title>");
}

static void put_rectangle(struct sp_svg *svg, const struct sp_svg_panel *panel, const struct box *box,
                          const char *fill, double x, double y, double width, double height)
{
    bool hint = panel->box_count <= MOST_HINTS;
    sp_emit_text(&svg->out, "<path");
    sp_svg_put_fill(svg, fill);
    sp_emit_text(&svg->out, " d=\"");
    sp_svg_put_box(svg, x, y, width, height);
    sp_emit_text(&svg->out, hint ? "\">" : "\"/>\n");
    if (!hint)
        return;
    put_hint(svg, panel, box);
    sp_emit_text(&svg->out, "</path>\n");
}

static void put_pass(struct sp_svg *svg, const struct sp_svg_panel *panel, const struct box *box, double y,
                     double height)
{
    const struct sp_program *program = panel->timeline->program;
    const struct sp_instruction *instruction = &program->instructions[box->number];
    bool joined = instruction->kind == SP_INSTRUCTION_JOINED;
    double x = sp_svg_x(svg, panel, box->start_ns), width = sp_svg_x(svg, panel, box->end_ns) - x;
    /* The background between boxes separates them. */
    double seen = width - (width > 6 ? 1 : width > 2 ? 0.5 : 0);
    height = joined ? height / 2 : height;
    for (uint32_t i = 0; i <= joined; i++) {
        enum sp_paint paint =
            joined ? sp_paint_of_pass(program, instruction->pass + i) : sp_paint_of(program, instruction);
        const char *fill = sp_paint_styles[paint].fill[sp_paint_shade(program, instruction, i)];
        put_rectangle(svg, panel, box, fill, x, y + i * height, seen, height);
        if (instruction->pass != SP_NO_INDEX && height >= LABEL_HEIGHT - 2)
            put_label(svg, panel, instruction->pass + i, x, y + i * height, seen, height);
    }
}

static void put_boxes(struct sp_svg *svg, const struct sp_svg_panel *panel, uint32_t device, double y,
                      double height)
{
    struct box box;
    uint32_t cursor, last;
    stream_of(panel->timeline->program, device, &cursor, &last);
    while (next_box(panel->timeline, &cursor, last, &box))
        put_pass(svg, panel, &box, y, height);
}

/*
 * Columns of some times six passes: where forward and backward, or F, I and W, take turns, each column then
 * has whole turns and the curve is smooth.
 */
static int columns_of(const struct sp_svg_panel *panel)
{
    double least = panel->rows.count <= 16 ? 2 : panel->rows.count <= 32 ? 3 : 4;
    double turns = 6 * panel->box_width;
    double width = turns > 0 ? fmin(ceil(least / turns) * turns, 12) : least;
    return (int)lround(SP_SVG_PLOT / width);
}

/* Shades only where a microbatch is wide enough for the eye. */
static bool has_shades(const struct sp_svg_panel *panel)
{
    enum { LEAST = 40 };
    return panel->boxes || panel->timeline->program->plan->workload.microbatches * LEAST <= SP_SVG_PLOT;
}

const char *sp_svg_panel_note(const struct sp_svg_panel *panel)
{
    if (panel->boxes)
        return "shades tell microbatches apart";
    return has_shades(panel) ? "a row's height is divided as its time was; shades tell microbatches apart"
                             : "a row's height is divided as its time was";
}

/*
 * Where a pass falls into this column or the next makes edges tremble: a column that differs from the one
 * before by no more than a pixel becomes like it.
 */
static void settle(uint16_t edges[SP_KEYS + 1][SP_SVG_COLUMNS], int column)
{
    for (int i = 0; i <= SP_KEYS; i++) {
        bool here = i > 0 && edges[i][column] != edges[i - 1][column];
        bool there = i > 0 && edges[i][column - 1] != edges[i - 1][column - 1];
        if (here != there || abs(edges[i][column] - edges[i][column - 1]) > 2)
            return;
    }
    for (int i = 0; i <= SP_KEYS; i++)
        edges[i][column] = edges[i][column - 1];
}

static void put_shares(struct sp_svg *svg, const struct sp_svg_panel *panel, uint32_t first, uint32_t count,
                       double y, double height)
{
    uint16_t edges[SP_KEYS + 1][SP_SVG_COLUMNS];
    int columns = columns_of(panel);
    bool shades = has_shades(panel);
    struct sp_sweep sweep;
    sp_sweep_init(&sweep, panel->timeline, first, count, panel->begin_ns,
                  panel->begin_ns + (int64_t)svg->width_ns, columns);
    for (int column = 0; column < columns; column++) {
        double shares[SP_KEYS], sum = 0;
        sp_sweep_next(&sweep, shares);
        for (int key = 0; key < SP_KEYS && !shades; key++)
            if (key % SP_SHADES != 0) {
                shares[key / SP_SHADES * SP_SHADES] += shares[key];
                shares[key] = 0;
            }
        edges[0][column] = (uint16_t)lround(2 * y);
        for (int key = 0; key < SP_KEYS; key++) {
            sum += shares[key];
            edges[key + 1][column] = (uint16_t)lround(2 * (y + fmin(sum, 1) * height));
        }
        if (column > 0)
            settle(edges, column);
    }
    for (int key = 0; key < SP_KEYS; key++)
        sp_svg_put_band(svg, sp_paint_styles[key / SP_SHADES].fill[key % SP_SHADES], edges[key],
                        edges[key + 1], columns, (double)SP_SVG_PLOT / columns);
}

/* The fullest device of a row and the mean idle share. */
static const struct sp_device_memory *row_memory(const struct sp_metrics *metrics, uint32_t first,
                                                 uint32_t count, double *ret_idle)
{
    const struct sp_device_memory *memory = &metrics->devices[first].memory;
    double busy = 0;
    for (uint32_t d = first; d < first + count; d++) {
        const struct sp_device_memory *other = &metrics->devices[d].memory;
        busy += (double)metrics->devices[d].busy_ns;
        if (other->peak_bytes > memory->peak_bytes ||
            (other->peak_bytes == memory->peak_bytes && other->peak_in_flight > memory->peak_in_flight))
            memory = other;
    }
    *ret_idle = metrics->makespan_ns > 0 ? 1 - busy / count / (double)metrics->makespan_ns : 0;
    return memory;
}

void sp_svg_put_panel(struct sp_svg *svg, const struct sp_svg_panel *panel)
{
    double gap = panel->pitch >= 16 ? 3 : 2, height = panel->pitch - gap;
    double size = fmin(12, panel->pitch - 2);
    for (uint32_t row = 0; row < panel->rows.count; row++)
        sp_svg_put_rect(svg, SP_SVG_LEFT, panel->top + row * panel->pitch, SP_SVG_PLOT, height,
                        SP_SVG_IDLE_FILL);
    sp_svg_put_grid(svg, panel->top - 4, panel->top + sp_svg_panel_height(panel) + 2);
    for (uint32_t row = 0; row < panel->rows.count; row++) {
        uint32_t count, first = sp_rows_devices(&panel->rows, row, &count);
        double y = panel->top + row * panel->pitch, base = y + height / 2 + size * 0.36, idle;
        const struct sp_device_memory *memory = row_memory(panel->metrics, first, count, &idle);
        sp_svg_put_text(svg, SP_SVG_LEFT - 8, base, size, "e", sp_format_range(first, count).text);
        if (panel->boxes)
            put_boxes(svg, panel, first, y, height);
        else
            put_shares(svg, panel, first, count, y, height);
        sp_svg_put_text(svg, SP_SVG_IDLE, base, size, "e", sp_format_percent(idle).text);
        sp_svg_put_bar(svg, panel, memory, y, height);
    }
}
