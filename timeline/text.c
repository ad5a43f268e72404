/* SPDX-License-Identifier: Apache-2.0 */
/* The timeline in a terminal. */
#include <math.h>
#include <string.h>

#include "row.h"
#include "slimpipe/format.h"

enum {
    LEAST_CELLS = 8,
    MOST_CELLS = 1000,
    IDLE_WIDTH = 8,   /* " 12.5 % " right of a row */
    IDLE = SP_PAINTS, /* as a cell's paint */
};

struct screen {
    const struct sp_timeline *timeline;
    FILE *stream;
    int columns, label, cells;
    unsigned style;
    int64_t begin_ns, end_ns;
    unsigned seen;   /* paints drawn, by bit */
    int front, back; /* colours in force */
    bool stacks;     /* passes are shorter than a cell, and it can show two kinds */
};

static const char *either(const struct screen *screen, const char *unicode, const char *ascii)
{
    return screen->style & SP_TEXT_UNICODE ? unicode : ascii;
}

static bool is_coloured(const struct screen *screen)
{
    return screen->style & SP_TEXT_COLOUR;
}

static void repeat(FILE *stream, const char *text, int count)
{
    for (int i = 0; i < count; i++)
        fputs(text, stream);
}

/* Shares by paint, and what is left as idle. */
static void count_paints(const double shares[SP_KEYS], double amounts[SP_PAINTS + 1])
{
    for (int paint = 0; paint <= IDLE; paint++)
        amounts[paint] = paint == IDLE;
    for (int key = 0; key < SP_KEYS; key++) {
        amounts[key / SP_SHADES] += shares[key];
        amounts[IDLE] -= shares[key];
    }
}

/*
 * What a cell shows: what is there most, corrected by what earlier cells of the row left out (`owed`), so
 * that along a row each kind of work gets its share of cells even where passes are shorter than a cell.
 */
static int choose(const double shares[SP_KEYS], double owed[SP_PAINTS + 1])
{
    double now[SP_PAINTS + 1];
    count_paints(shares, now);
    int best = -1;
    for (int paint = 0; paint <= IDLE; paint++) {
        owed[paint] += now[paint];
        if (now[paint] > 1e-6 && (best < 0 || owed[paint] > owed[best] + 1e-9))
            best = paint;
    }
    best = best < 0 ? IDLE : best;
    owed[best] -= 1;
    return best;
}

/* Colours of the next character; -1: the terminal's own. Written only where they change. */
static void set_colours(struct screen *screen, int front, int back)
{
    if (front == screen->front && back == screen->back)
        return;
    if ((front < 0 && screen->front >= 0) || (back < 0 && screen->back >= 0))
        fputs("\033[0m", screen->stream);
    if (front >= 0)
        fprintf(screen->stream, "\033[38;5;%dm", front);
    if (back >= 0)
        fprintf(screen->stream, "\033[48;5;%dm", back);
    screen->front = front;
    screen->back = back;
}

static int colour_of(int paint)
{
    return paint == IDLE ? -1 : sp_paint_styles[paint].ansi;
}

/* One cell of one paint. */
static void put_cell(struct screen *screen, int paint)
{
    const struct sp_paint_style *style = &sp_paint_styles[paint == IDLE ? 0 : paint];
    char letter[] = {paint == IDLE ? '.' : style->letter, 0};
    const char *plain = either(screen, paint == IDLE ? "·" : style->block, letter);
    if (!is_coloured(screen)) {
        fputs(plain, screen->stream);
    } else if (screen->style & SP_TEXT_UNICODE) {
        set_colours(screen, colour_of(paint), -1);
        fputs(paint == IDLE ? " " : "█", screen->stream);
    } else {
        set_colours(screen, paint == IDLE ? -1 : 0, colour_of(paint));
        fputs(paint == IDLE ? " " : plain, screen->stream);
    }
}

/* Two half cells. The terminal's own background is idle. */
static void put_halves(struct screen *screen, int left, int right)
{
    if (left == right) {
        put_cell(screen, left);
    } else if (left == IDLE) {
        set_colours(screen, colour_of(right), -1);
        fputs("▐", screen->stream);
    } else {
        set_colours(screen, colour_of(left), colour_of(right));
        fputs("▌", screen->stream);
    }
}

/* Cells of passes shorter than a cell, in colour: the two kinds with the largest shares, one above the other.
 */
static void put_stack(struct screen *screen, const double shares[SP_KEYS])
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇"};
    double amounts[SP_PAINTS + 1];
    int first = 0, second = -1;
    count_paints(shares, amounts);
    for (int paint = 1; paint <= IDLE; paint++)
        first = amounts[paint] > amounts[first] ? paint : first;
    for (int paint = 0; paint <= IDLE; paint++)
        if (paint != first && (second < 0 || amounts[paint] > amounts[second]))
            second = paint;
    /* Idle is the background, so it is above; else in the order of the legend. */
    bool swap = second == IDLE || (first != IDLE && second < first);
    int upper = swap ? second : first, lower = swap ? first : second;
    int eighths = (int)lround(8 * amounts[lower] / (amounts[upper] + amounts[lower]));
    screen->seen |= (eighths < 8) << upper | (eighths > 0) << lower;
    if (eighths == 0 || eighths == 8) {
        put_cell(screen, eighths ? lower : upper);
        return;
    }
    set_colours(screen, colour_of(lower), colour_of(upper));
    fputs(blocks[eighths - 1], screen->stream);
}

static bool is_full_terminal(const struct screen *screen)
{
    return is_coloured(screen) && screen->style & SP_TEXT_UNICODE;
}

/* Draws the cells of a row; returns the idle share. */
static double put_cells(struct screen *screen, uint32_t first, uint32_t count)
{
    bool halves = is_full_terminal(screen) && !screen->stacks;
    int64_t steps = halves ? 2 * screen->cells : screen->cells;
    double shares[SP_KEYS], owed[SP_PAINTS + 1] = {0}, idle = 1;
    struct sp_sweep sweep;
    int left = IDLE;
    sp_sweep_init(&sweep, screen->timeline, first, count, screen->begin_ns, screen->end_ns, steps);
    for (int64_t i = 0; i < steps; i++) {
        sp_sweep_next(&sweep, shares);
        for (int key = 0; key < SP_KEYS; key++)
            idle -= shares[key] / (double)steps;
        if (screen->stacks) {
            put_stack(screen, shares);
            continue;
        }
        int paint = choose(shares, owed);
        screen->seen |= 1U << paint;
        if (!halves)
            put_cell(screen, paint);
        else if (i % 2)
            put_halves(screen, left, paint);
        left = paint;
    }
    set_colours(screen, -1, -1);
    return idle;
}

/* Whether the mean compute instruction is shorter than a cell. */
static bool passes_are_short(const struct screen *screen)
{
    const struct sp_timeline *timeline = screen->timeline;
    double busy_ns = 0, count = 0;
    for (uint32_t i = 0; i < timeline->program->instruction_count; i++) {
        if (timeline->program->instructions[i].stream != SP_STREAM_COMPUTE)
            continue;
        busy_ns += (double)(timeline->end_ns[i] - timeline->start_ns[i]);
        count++;
    }
    return busy_ns / fmax(count, 1) < (double)(screen->end_ns - screen->begin_ns) / screen->cells;
}

static void put_rows(struct screen *screen, const struct sp_rows *rows)
{
    bool with_idle = screen->columns >= screen->label + 2 + screen->cells + IDLE_WIDTH;
    for (uint32_t row = 0; row < rows->count; row++) {
        uint32_t count, first = sp_rows_devices(rows, row, &count);
        fprintf(screen->stream, "%*s%s", screen->label, sp_format_range(first, count).text,
                either(screen, "│", "|"));
        double idle = put_cells(screen, first, count);
        fputs(either(screen, "│", "|"), screen->stream);
        if (with_idle)
            fprintf(screen->stream, "%*s", IDLE_WIDTH - 1, sp_format_percent(idle < 0 ? 0 : idle).text);
        fputc('\n', screen->stream);
    }
}

static int cell_of(const struct screen *screen, int64_t ns)
{
    int64_t span = screen->end_ns - screen->begin_ns;
    return (int)((double)ns / (double)span * screen->cells);
}

/* A line with ticks, and their labels under it. */
static void put_axis(const struct screen *screen)
{
    char labels[MOST_CELLS + 64];
    int64_t span = screen->end_ns - screen->begin_ns;
    int64_t step = sp_tick_ns(span, screen->cells / 12 > 1 ? screen->cells / 12 : 1);
    int column = 0, end = 0;
    fprintf(screen->stream, "%*s%s", screen->label, "", either(screen, "└", "+"));
    memset(labels, ' ', sizeof labels);
    for (int64_t at = 0; at <= span; at += step) {
        int cell = cell_of(screen, at);
        if (cell >= screen->cells)
            break;
        repeat(screen->stream, either(screen, "─", "-"), cell - column);
        if (at > 0)
            fputs(either(screen, "┬", "+"), screen->stream);
        column = cell + (at > 0);
        struct sp_format label = at ? sp_format_tick(at, step) : (struct sp_format){"0"};
        int size = (int)strlen(label.text);
        if (cell < end || cell + size > screen->cells + 1)
            continue;
        memcpy(labels + cell, label.text, (size_t)size);
        end = cell + size + 1;
    }
    repeat(screen->stream, either(screen, "─", "-"), screen->cells - column);
    fprintf(screen->stream, "%s\n%*s%.*s\n", either(screen, "┘", "+"), screen->label + 1, "",
            end > 0 ? end - 1 : 0, labels);
}

/* The paints that were seen, on as many lines as needed. */
static void put_legend(struct screen *screen)
{
    int column = 0;
    for (int paint = 0; paint <= IDLE; paint++) {
        const char *name = paint == IDLE ? "idle" : sp_paint_styles[paint].name;
        int width = 2 + (int)strlen(name);
        if (!(screen->seen & 1U << paint) || (paint == IDLE && is_coloured(screen)))
            continue;
        if (column == 0 || column + 2 + width > screen->columns) {
            fprintf(screen->stream, "%s%*s", column ? "\n" : "", screen->label + 1, "");
            column = screen->label + 1;
        } else {
            fputs("  ", screen->stream);
            column += 2;
        }
        put_cell(screen, paint);
        set_colours(screen, -1, -1);
        fprintf(screen->stream, " %s", name);
        column += width;
    }
    if (column)
        fputc('\n', screen->stream);
}

void sp_timeline_write_text(const struct sp_timeline *timeline, FILE *stream, int columns, unsigned style)
{
    struct screen screen = {
        .timeline = timeline, .stream = stream, .columns = columns, .style = style, .front = -1, .back = -1};
    struct sp_rows rows = sp_rows_split(timeline->program->device_count, SP_ROWS);
    if (rows.count == 0)
        return;

    uint32_t count, first = sp_rows_devices(&rows, rows.count - 1, &count);
    screen.label = (int)strlen(sp_format_range(first, count).text);
    if (screen.label < (int)strlen("device"))
        screen.label = (int)strlen("device");
    screen.cells = columns - screen.label - 2;
    if (screen.cells >= IDLE_WIDTH + 40)
        screen.cells -= IDLE_WIDTH;
    screen.cells = screen.cells < LEAST_CELLS ? LEAST_CELLS : screen.cells;
    screen.cells = screen.cells > MOST_CELLS ? MOST_CELLS : screen.cells;
    sp_timeline_span(timeline, &screen.begin_ns, &screen.end_ns);
    if (screen.end_ns == screen.begin_ns)
        screen.end_ns++;

    screen.stacks = is_full_terminal(&screen) && passes_are_short(&screen);

    bool with_idle = columns >= screen.label + 2 + screen.cells + IDLE_WIDTH;
    fprintf(stream, "%*s%*s\n", screen.label, "device", with_idle ? screen.cells + 2 + IDLE_WIDTH - 1 : 0,
            with_idle ? "idle" : "");
    put_rows(&screen, &rows);
    put_axis(&screen);
    put_legend(&screen);
}
