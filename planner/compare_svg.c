/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time against peak memory. Plans far slower or far larger than what matters are left out and counted, so
 * that the rest has room. Names stand where they cover nothing, as near as can be.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/compare.h"
#include "slimpipe/format.h"

enum { WIDTH = 1000, HEIGHT = 600, LEFT = 74, RIGHT = 972, TOP = 96, BOTTOM = 536, LABELS = 96, TEXT = 13 };

/* How much slower than the fastest, and how much above the cap, a plan may be to be seen. */
static const double most_slower = 2.1, most_over = 1.15;

/* What kind of schedule a point is: the first trait that it has. */
static const struct family {
    unsigned trait; /* 0: any other */
    const char *name, *fill;
} families[] = {
    {SP_SCHEDULE_SLICES, "slices sequences", "#2563eb"},
    {SP_SCHEDULE_OFFLOADS, "offloads", "#0f9d6b"},
    {SP_SCHEDULE_TWIN_WEIGHTS, "two directions", "#9333ea"},
    {SP_SCHEDULE_SPLITS_W, "splits the backward", "#d97706"},
    {0, "neither", "#64748b"},
};
enum { FAMILIES = sizeof(families) / sizeof(*families) };

struct box {
    double x, y, width, height;
};

struct picture {
    const struct sp_compare_result *result;
    FILE *stream;
    double least_s, most_s, least_gib, most_gib; /* the axes */
    double cap_gib;                              /* 0: none */
    int64_t left_out;
    struct box taken[LABELS]; /* by names and by the points that have one */
    int taken_count;
};

static double seconds(const struct sp_compare_row *row)
{
    return (double)row->time_ns * 1e-9;
}

static double gibs(const struct sp_compare_row *row)
{
    return (double)row->peak_bytes / (1 << 30);
}

static double x_of(const struct picture *picture, double s)
{
    return LEFT + (s - picture->least_s) / (picture->most_s - picture->least_s) * (RIGHT - LEFT);
}

static double y_of(const struct picture *picture, double gib)
{
    return BOTTOM - (gib - picture->least_gib) / (picture->most_gib - picture->least_gib) * (BOTTOM - TOP);
}

static const struct family *family_of(const struct sp_compare_row *row)
{
    int i = 0;

    while (families[i].trait && !(row->schedule->traits & families[i].trait))
        i++;
    return &families[i];
}

static bool is_shown(const struct picture *picture, const struct sp_compare_row *row)
{
    return row->outcome != SP_COMPARE_REFUSED && seconds(row) <= picture->most_s &&
           gibs(row) <= picture->most_gib;
}

/* --- Axes ----------------------------------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, at most `most` of which are in span. */
static double tick_step(double span, int most)
{
    double power = pow(10, floor(log10(span / most)));
    static const double factors[] = {1, 2, 5, 10};

    for (int i = 0; i < 3; i++)
        if (span / (factors[i] * power) <= most)
            return factors[i] * power;
    return 10 * power;
}

static double largest_of(const struct picture *picture, double (*value)(const struct sp_compare_row *),
                         double limit)
{
    double largest = 0;

    for (int64_t i = 0; i < picture->result->row_count; i++) {
        const struct sp_compare_row *row = &picture->result->rows[i];
        double number = row->outcome == SP_COMPARE_REFUSED ? 0 : value(row);
        if (number <= limit && number > largest)
            largest = number;
    }
    return largest;
}

static void choose_axes(struct picture *picture)
{
    const struct sp_compare_row *rows = picture->result->rows;
    double fastest = INFINITY, smallest = INFINITY;

    for (int64_t i = 0; i < picture->result->row_count; i++)
        if (rows[i].outcome != SP_COMPARE_REFUSED) {
            picture->cap_gib = (double)rows[i].request.memory_cap_bytes / (1 << 30);
            fastest = fmin(fastest, seconds(&rows[i]));
            smallest = fmin(smallest, gibs(&rows[i]));
        }
    if (isinf(fastest))
        fastest = smallest = 0;
    double slowest = largest_of(picture, seconds, fastest * most_slower);
    double cap = picture->cap_gib, limit = cap > 0 ? fmax(cap, smallest) * most_over : INFINITY;
    double largest = fmax(largest_of(picture, gibs, limit), cap);
    double step_s = tick_step(fmax(slowest - 0.9 * fastest, 1e-9), 10);
    double step_gib = tick_step(fmax(largest - 0.7 * smallest, 1e-9), 8);
    picture->least_s = floor(0.97 * fastest / step_s) * step_s;
    picture->most_s = ceil(slowest / step_s + 0.2) * step_s;
    picture->least_gib = floor(0.9 * smallest / step_gib) * step_gib;
    picture->most_gib = largest + (largest - picture->least_gib) * 0.06 + 1e-9;
    for (int64_t i = 0; i < picture->result->row_count; i++)
        picture->left_out += rows[i].outcome != SP_COMPARE_REFUSED && !is_shown(picture, &rows[i]);
}

static void put_text(const struct picture *picture, double x, double y, const char *style, const char *text)
{
    fprintf(picture->stream, "<text x=\"%.1f\" y=\"%.1f\"%s%s%s>%s</text>\n", x, y, *style ? " class=\"" : "",
            style, *style ? "\"" : "", text);
}

static void put_line(const struct picture *picture, double x1, double y1, double x2, double y2,
                     const char *style)
{
    fprintf(picture->stream, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", style, x1, y1, x2, y2);
}

static void put_axes(const struct picture *picture)
{
    double step_s = tick_step(picture->most_s - picture->least_s, 10);
    double step_gib = tick_step(picture->most_gib - picture->least_gib, 8);
    char text[64];

    for (double s = picture->least_s; s <= picture->most_s + step_s / 2; s += step_s) {
        put_line(picture, x_of(picture, s), TOP, x_of(picture, s), BOTTOM, "grid");
        put_text(picture, x_of(picture, s), BOTTOM + 18, "m g",
                 sp_format_tick((int64_t)(s * 1e9 + 0.5), (int64_t)(step_s * 1e9 + 0.5)).text);
    }
    for (double gib = picture->least_gib; gib <= picture->most_gib; gib += step_gib) {
        put_line(picture, LEFT, y_of(picture, gib), RIGHT, y_of(picture, gib), "grid");
        put_text(picture, LEFT - 8, y_of(picture, gib) + 4, "e g",
                 sp_format_bytes((int64_t)(gib * (1 << 30) + 0.5)).text);
    }
    put_text(picture, (LEFT + RIGHT) / 2.0, BOTTOM + 40, "m", "time of an iteration");
    snprintf(text, sizeof(text), "peak memory per GPU");
    put_text(picture, LEFT - 62, TOP - 14, "", text);
}

static void put_cap(const struct picture *picture)
{
    double y = y_of(picture, picture->cap_gib);
    char text[64];

    if (picture->cap_gib <= 0)
        return;
    fprintf(picture->stream,
            "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%.1f\" fill=\"#dc2626\" fill-opacity=\".06\"/>\n",
            LEFT, TOP, RIGHT - LEFT, y - TOP);
    put_line(picture, LEFT, y, RIGHT, y, "cap");
    snprintf(text, sizeof(text), "cap %s",
             sp_format_bytes((int64_t)(picture->cap_gib * (1 << 30) + 0.5)).text);
    put_text(picture, RIGHT - 6, y - 6, "e c", text);
}

/* --- Points --------------------------------------------------------------------------------------------- */

static void put_point(const struct picture *picture, const struct sp_compare_row *row)
{
    bool fits = row->outcome == SP_COMPARE_FITS;
    char knobs[256];

    sp_compare_knobs_text(row, knobs, sizeof(knobs));
    fprintf(picture->stream, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" ", x_of(picture, seconds(row)),
            y_of(picture, gibs(row)), row->best ? "5.5" : "2.6");
    if (row->best && fits)
        fprintf(picture->stream, "fill=\"%s\" stroke=\"#fff\" stroke-width=\"1.5\"", family_of(row)->fill);
    else if (row->best)
        fprintf(picture->stream, "fill=\"#fff\" stroke=\"%s\" stroke-width=\"1.5\"", family_of(row)->fill);
    else
        fprintf(picture->stream, "fill=\"%s\" fill-opacity=\"%s\"", family_of(row)->fill,
                fits ? ".32" : ".14");
    if (!row->best) {
        fputs("/>\n", picture->stream);
        return;
    }
    fprintf(picture->stream, "><title>%s v %u n %u%s%s: %s, %s</title></circle>\n", row->schedule->name,
            row->request.chunks, row->request.slices, *knobs ? ", " : "", knobs,
            sp_format_time(row->time_ns).text, sp_format_bytes(row->peak_bytes).text);
}

/* The front as steps, from the fastest plan to the smallest. */
static void put_front(const struct picture *picture)
{
    bool first = true;

    fputs("<path class=\"front\" d=\"", picture->stream);
    for (int64_t i = 0; i < picture->result->row_count; i++) {
        const struct sp_compare_row *row = &picture->result->rows[i];
        if (!row->front || !is_shown(picture, row))
            continue;
        double x = x_of(picture, seconds(row)), y = y_of(picture, gibs(row));
        if (first)
            fprintf(picture->stream, "M%.1f %.1fV%.1f", x, fmax(TOP, y_of(picture, picture->cap_gib)), y);
        else
            fprintf(picture->stream, "H%.1fV%.1f", x, y);
        first = false;
    }
    fprintf(picture->stream, "%s\"/>\n", first ? "M0 0" : "");
}

/* --- Names ---------------------------------------------------------------------------------------------- */

static double overlap(const struct box *a, const struct box *b)
{
    double width = fmin(a->x + a->width, b->x + b->width) - fmax(a->x, b->x);
    double height = fmin(a->y + a->height, b->y + b->height) - fmax(a->y, b->y);

    return width > 0 && height > 0 ? width * height : 0;
}

static double covered(const struct picture *picture, const struct box *box)
{
    double sum = box->x < LEFT || box->x + box->width > RIGHT || box->y < TOP ? 1e6 : 0;

    for (int i = 0; i < picture->taken_count; i++)
        sum += overlap(box, &picture->taken[i]);
    return sum;
}

static void take(struct picture *picture, struct box box)
{
    if (picture->taken_count < LABELS)
        picture->taken[picture->taken_count++] = box;
}

/* Places around the point, nearest first; the one that covers least. */
static struct box place_name(const struct picture *picture, double x, double y, double width)
{
    static const double rings[] = {9, 18, 30, 44, 60};
    struct box best = {0};
    double least = INFINITY;

    for (size_t ring = 0; ring < sizeof(rings) / sizeof(*rings); ring++)
        for (int way = 0; way < 8; way++) {
            double angle = way * M_PI / 4, dx = cos(angle), dy = sin(angle), r = rings[ring];
            struct box box = {.x = x + dx * r -
                                   (dx < -0.1  ? width
                                    : dx > 0.1 ? 0
                                               : width / 2),
                              .y = y + dy * r - TEXT / 2.0,
                              .width = width,
                              .height = TEXT};
            double cost = covered(picture, &box) + (double)ring * 4 + way * 0.1;
            if (cost < least) {
                least = cost;
                best = box;
            }
        }
    return best;
}

static void put_name(struct picture *picture, const struct sp_compare_row *row)
{
    double x = x_of(picture, seconds(row)), y = y_of(picture, gibs(row));
    double width = 0.62 * TEXT * (double)strlen(row->schedule->name);
    struct box box = place_name(picture, x, y, width);
    double middle_x = fmin(fmax(x, box.x), box.x + width), middle_y = box.y + TEXT / 2.0;

    if (hypot(middle_x - x, middle_y - y) > 14)
        put_line(picture, x, y, middle_x, middle_y, "lead");
    fprintf(picture->stream, "<text x=\"%.1f\" y=\"%.1f\" class=\"n\" fill=\"%s\">%s</text>\n", box.x,
            box.y + TEXT - 2, family_of(row)->fill, row->schedule->name);
    take(picture, box);
}

static void put_names(struct picture *picture)
{
    const struct sp_compare_result *result = picture->result;

    for (int64_t i = 0; i < result->row_count; i++) {
        const struct sp_compare_row *row = &result->rows[i];
        if (row->best && is_shown(picture, row))
            take(picture,
                 (struct box){x_of(picture, seconds(row)) - 6, y_of(picture, gibs(row)) - 6, 12, 12});
    }
    for (int64_t i = 0; i < result->row_count; i++)
        if (result->rows[i].best && is_shown(picture, &result->rows[i]))
            put_name(picture, &result->rows[i]);
}

/* --- Frame ---------------------------------------------------------------------------------------------- */

static void put_xml(FILE *stream, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            fputs("&lt;", stream);
        else if (*text == '&')
            fputs("&amp;", stream);
        else
            fputc(*text, stream);
}

static void put_head(const struct picture *picture, const char *title)
{
    FILE *stream = picture->stream;

    fprintf(stream,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
            "role=\"img\" font-family=\"'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif\" "
            "font-size=\"%d\" fill=\"#1f2933\">\n<title>",
            WIDTH, HEIGHT, WIDTH, HEIGHT, TEXT);
    put_xml(stream, title);
    fputs(
        "</title>\n<style>.e{text-anchor:end}.m{text-anchor:middle}.g{fill:#5c6b7a}.t{font-size:19px;"
        "font-weight:600}.c{fill:#b91c1c}.n{font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:3px;"
        "stroke-linejoin:round}.grid{stroke:#e6eaef}.cap{stroke:#dc2626;stroke-width:1.5;stroke-dasharray:6 "
        "4}.front{fill:none;stroke:#1f2933;stroke-width:1.6;stroke-linejoin:round}.lead{stroke:#94a3b8}"
        "</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"12\" y=\"30\" "
        "class=\"t\">",
        stream);
    put_xml(stream, title);
    fputs("</text>\n", stream);
}

static void put_legend(const struct picture *picture)
{
    double x = 12;
    char text[160];

    for (int i = 0; i < FAMILIES; i++) {
        fprintf(picture->stream, "<circle cx=\"%.1f\" cy=\"51\" r=\"5\" fill=\"%s\"/>\n", x + 5,
                families[i].fill);
        put_text(picture, x + 15, 55, "", families[i].name);
        x += 33 + 0.52 * TEXT * (double)strlen(families[i].name);
    }
    put_line(picture, x, 51, x + 22, 51, "front");
    put_text(picture, x + 28, 55, "", "none is both faster and smaller");
    snprintf(text, sizeof(text), "small dots: other knobs of the same schedules%s",
             picture->cap_gib > 0 ? "; rings: do not fit" : "");
    put_text(picture, RIGHT, HEIGHT - 12, "e g", text);
    if (picture->left_out > 0) {
        snprintf(text, sizeof(text), "%lld plans are slower or larger than shown",
                 (long long)picture->left_out);
        put_text(picture, LEFT, HEIGHT - 12, "g", text);
    }
}

void sp_compare_write_svg(const struct sp_compare_result *result, const char *title, FILE *stream)
{
    struct picture picture = {.result = result, .stream = stream};

    choose_axes(&picture);
    put_head(&picture, title);
    put_legend(&picture);
    put_axes(&picture);
    put_cap(&picture);
    for (int best = 0; best <= 1; best++) {
        for (int64_t i = result->row_count - 1; i >= 0; i--)
            if (result->rows[i].best == best && is_shown(&picture, &result->rows[i]))
                put_point(&picture, &result->rows[i]);
        if (!best)
            put_front(&picture);
    }
    put_names(&picture);
    fputs("</svg>\n", stream);
}
