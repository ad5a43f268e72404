/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal timeline, the SVG and the trace: what they say, that they are well formed, and that they fit.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>

#include "hand_program.h"
#include "slimpipe/json.h"

static const struct hand_shape shapes[] = {
    {1, 1, 1, 1, 1, 5, 7, 0},           {4, 1, 8, 1, 1, 1000, 2000, 0},      {4, 2, 3, 4, 2, 1000, 1500, 300},
    {8, 5, 4, 16, 2, 1000, 2000, 2500}, {70, 1, 80, 1, 1, 12345, 23456, 10}, {3, 1, 2, 3, 1, 0, 1000, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static struct sp_metrics measure(const struct hand *hand)
{
    struct sp_metrics metrics;
    struct sp_error error = {.status = SP_OK};
    cr_assert_eq(sp_metrics_init(&metrics, &hand->timeline, 0, &error), SP_OK, "%s", error.message);
    return metrics;
}

static char *text_of(const struct hand *hand, int columns, unsigned style)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    sp_timeline_write_text(&hand->timeline, stream, columns, style);
    fclose(stream);
    return text;
}

/* Cells of the widest line: UTF-8 characters, without colours. */
static int widest(const char *text)
{
    int most = 0, width = 0;
    for (; *text; text++) {
        if (*text == '\033')
            text = strchr(text, 'm');
        else if (*text == '\n')
            width = 0;
        else if (((unsigned char)*text & 0xc0) != 0x80)
            most = ++width > most ? width : most;
    }
    return most;
}

Test(text, as_shown)
{
    struct hand_shape shape = {2, 1, 2, 1, 1, 1000, 2000, 0};
    struct hand *hand = hand_pipeline(&shape);
    char *text = text_of(hand, 26, SP_TEXT_PLAIN);
    /* 9 us in 18 cells: two for a forward. */
    cr_expect_str_eq(text, "device\n"
                           "     0|FFFF....BBBB..BBBB|\n"
                           "     1|..FFBBBBFFBBBB....|\n"
                           "      +----------+-------+\n"
                           "       0         5 us\n"
                           "       F forward\n"
                           "       B backward  . idle\n");
    free(text);
    text = text_of(hand, 26, SP_TEXT_UNICODE);
    cr_expect_not_null(strstr(text, "     1│··██▓▓▓▓██▓▓▓▓····│\n"), "%s", text);
    free(text);
    text = text_of(hand, 26, SP_TEXT_UNICODE | SP_TEXT_COLOUR);
    cr_expect_not_null(strstr(text,
                              "     1│  \033[38;5;75m██\033[38;5;72m████\033[38;5;75m██\033[38;5;72m████"
                              "\033[0m    │\n"),
                       "%s", text);
    free(text);
    hand_destroy(hand);
}

Test(text, fits)
{
    for (int i = 0; i < SHAPES; i++) {
        struct hand *hand = hand_pipeline(&shapes[i]);
        for (int columns = 26; columns < 200; columns += 9) {
            for (unsigned style = 0; style < 4; style++) {
                char *text = text_of(hand, columns, style);
                cr_expect_leq(widest(text), columns, "shape %d, %d columns:\n%s", i, columns, text);
                free(text);
            }
        }
        hand_destroy(hand);
    }
}

/* Along a row each kind gets its share of cells, though a cell holds a dozen passes. */
Test(text, shares_where_passes_are_short)
{
    struct hand *hand = hand_create(1, 3000);
    for (int i = 0; i < 1000; i++) {
        hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_F}, 6 * i, 6 * i + 1);
        hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_I}, 6 * i + 1, 6 * i + 3);
        hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_W}, 6 * i + 3, 6 * i + 6);
    }
    hand_finish(hand);
    char *text = text_of(hand, 6 + 2 + 8 + 60, SP_TEXT_PLAIN);
    int count[128] = {0};
    for (size_t at = strcspn(text, "|") + 1; text[at] != '|'; at++)
        count[(unsigned char)text[at]]++;
    cr_expect_eq(count['F'], 10, "%s", text);
    cr_expect_eq(count['I'], 20);
    cr_expect_eq(count['W'], 30);
    free(text);
    hand_destroy(hand);
}

/* In colour a cell of short passes is divided: a quarter forward above three quarters backward. */
Test(text, stacks_where_passes_are_short)
{
    struct hand *hand = hand_create(1, 2000);
    for (int i = 0; i < 1000; i++) {
        hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_F}, 4 * i, 4 * i + 1);
        hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_B}, 4 * i + 1, 4 * i + 4);
    }
    hand_finish(hand);
    char *text = text_of(hand, 6 + 2 + 10, SP_TEXT_UNICODE | SP_TEXT_COLOUR);
    cr_expect_not_null(strstr(text, "     0│\033[38;5;72m\033[48;5;75m▆▆▆▆▆▆▆▆▆▆\033[0m│\n"), "%s", text);
    free(text);
    hand_destroy(hand);
}

static char *svg_of(const struct hand *hand, const char *title, size_t *ret_size)
{
    struct sp_metrics metrics = measure(hand);
    char *text = NULL;
    FILE *stream = open_memstream(&text, ret_size);
    sp_timeline_write_svg(&hand->timeline, &metrics, title, stream);
    fclose(stream);
    sp_metrics_finish(&metrics);
    return text;
}

/* Tags nest, attributes are quoted, `&` begins an entity: what the writer could get wrong. */
static void expect_well_formed(const char *text)
{
    char open[16][32];
    int depth = 0;
    for (const char *at = text; *at;) {
        if (*at == '&')
            cr_assert(strchr(at, ';') && strchr(at, ';') - at <= 6, "%.40s", at);
        if (*at != '<') {
            at++;
            continue;
        }
        bool closes = at[1] == '/';
        const char *name = at + 1 + closes;
        int length = (int)strspn(name, "abcdefghijklmnopqrstuvwxyz");
        const char *end = name + length;
        while (*end && *end != '>') {
            if (*end == '"')
                end = strchr(end + 1, '"');
            cr_assert(end && *end != '<', "%.60s", at);
            end++;
        }
        cr_assert(*end == '>' && length > 0 && length < 32, "%.60s", at);
        if (closes) {
            cr_assert(depth > 0 && (int)strlen(open[depth - 1]) == length, "%.60s", at);
            cr_assert_eq(strncmp(open[--depth], name, (size_t)length), 0, "%.60s", at);
        } else if (end[-1] != '/') {
            cr_assert_lt(depth, 16);
            snprintf(open[depth++], sizeof open[0], "%.*s", length, name);
        }
        at = end + 1;
    }
    cr_assert_eq(depth, 0);
    /* Numbers that went wrong. */
    cr_expect_null(strstr(text, "nan"));
    cr_expect_null(strstr(text, "inf\""));
    cr_expect_null(strstr(text, "width=\"-"));
}

static int count_of(const char *text, const char *word)
{
    int count = 0;
    for (; (text = strstr(text, word)); text++)
        count++;
    return count;
}

Test(svg, well_formed)
{
    for (int i = 0; i < SHAPES; i++) {
        struct hand *hand = hand_pipeline(&shapes[i]);
        size_t size;
        char *text = svg_of(hand, "a < b & \"c\"\n", &size);
        expect_well_formed(text);
        cr_expect_not_null(strstr(text, ">a &lt; b &amp; &quot;c&quot; </text>"));
        free(text);
        hand_destroy(hand);
    }
}

/* Every pass is a box that says its name when pointed at. */
Test(svg, boxes)
{
    struct hand_shape shape = {4, 1, 8, 1, 1, 1000, 2000, 0};
    struct hand *hand = hand_pipeline(&shape);
    size_t size;
    char *text = svg_of(hand, NULL, &size);
    cr_expect_eq(count_of(text, "<title>"), 1 + 2 * 4 * 8);
    cr_expect_not_null(strstr(text, "<title>3B7, 2.00 us from 25.0 us</title>"));
    cr_expect_not_null(strstr(text, "predicted: 33.0 µs, 27.3 % idle; 4 devices"));
    free(text);
    hand_destroy(hand);
}

/* A pass in an exchange is several instructions and one box, but for the guest between them. */
Test(svg, parts_of_a_pass_are_one_box)
{
    struct hand *hand = hand_create(1, 4);
    static const uint8_t kinds[] = {SP_INSTRUCTION_BEFORE, SP_INSTRUCTION_ATTENTION, SP_INSTRUCTION_GUEST,
                                    SP_INSTRUCTION_AFTER};
    for (int i = 0; i < 4; i++) {
        uint32_t number = hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_F, .microbatch = i == 2},
                                       10 * i, 10 * i + 10);
        hand->program.instructions[number].kind = kinds[i];
        hand->program.instructions[number].pass = i == 2 ? 4 : 0;
    }
    hand_finish(hand);
    size_t size;
    char *text = svg_of(hand, NULL, &size);
    cr_expect_eq(count_of(text, "<title>"), 1 + 3);
    cr_expect_not_null(strstr(text, "<title>0F0, 20 ns from 0 ns</title>"), "%s", text);
    cr_expect_not_null(strstr(text, "<title>0F1 guest attention, 10 ns from 20 ns</title>"));
    cr_expect_not_null(strstr(text, ">guest attention</text>"));
    free(text);
    hand_destroy(hand);
}

Test(svg, joined_passes_are_two_boxes)
{
    struct hand *hand = hand_create(1, 1);
    uint32_t number = hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_F, .microbatch = 3}, 0, 10);
    hand->program.instructions[number].kind = SP_INSTRUCTION_JOINED;
    hand->plan.order.passes[1] = (struct sp_pass){.kind = SP_PASS_B, .microbatch = 1};
    hand_finish(hand);
    size_t size;
    char *text = svg_of(hand, NULL, &size);
    cr_expect_eq(count_of(text, "<title>0F3 + 0B1"), 2);
    cr_expect_not_null(strstr(text, ">forward</text>"));
    cr_expect_not_null(strstr(text, ">backward</text>"));
    free(text);
    text = text_of(hand, 30, SP_TEXT_PLAIN);
    cr_expect_not_null(strstr(text, "J forward + backward"), "%s", text);
    free(text);
    hand_destroy(hand);
}

/* However many passes and devices, the file stays small. */
Test(svg, size)
{
    static const struct hand_shape large[] = {
        {64, 1, 400, 1, 1, 1000, 2000, 0},
        {16, 5, 20, 32, 2, 1000, 2000, 700},
        {500, 1, 60, 1, 1, 1000, 2000, 100},
        {64, 1, 92, 1, 1, 1000, 2000, 0},
    };
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        struct hand *hand = hand_pipeline(&large[i]);
        size_t size;
        char *text = svg_of(hand, NULL, &size);
        cr_expect_lt(size, 1500000, "%zu of %u instructions", size, hand->program.instruction_count);
        expect_well_formed(text);
        free(text);
        hand_destroy(hand);
    }
}

/* ---- the trace ---- */

struct event {
    char phase;
    int64_t process, thread, id; /* id −1: none */
    double start, duration;      /* µs */
    const struct sp_json_value *value;
};

static const char *string(const struct sp_json *json, const struct sp_json_value *object, const char *key)
{
    const char *text = NULL;
    struct sp_error error;
    cr_assert_eq(sp_json_get_string(json, object, key, &text, &error), SP_OK, "%s", error.message);
    return text;
}

static double real(const struct sp_json *json, const struct sp_json_value *object, const char *key)
{
    const struct sp_json_value *value = NULL;
    double number = -1;
    struct sp_error error;
    cr_assert_eq(sp_json_get(json, object, key, &value, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_json_real(json, value, 0, 1e18, &number, &error), SP_OK, "%s", error.message);
    return number;
}

static struct event event_of(const struct sp_json *json, const struct sp_json_value *value)
{
    struct event event = {.phase = string(json, value, "ph")[0],
                          .process = (int64_t)real(json, value, "pid"),
                          .thread = (int64_t)real(json, value, "tid"),
                          .id = -1,
                          .value = value};
    if (event.phase != 'M')
        event.start = real(json, value, "ts");
    if (event.phase == 'X')
        event.duration = real(json, value, "dur");
    if (strchr("sfbe", event.phase))
        event.id = (int64_t)real(json, value, "id");
    return event;
}

struct tally {
    int count[128];
    double *track_end; /* by thread of process 1: when its last slice ended */
    int64_t *flow;     /* by id: 1 begun, 2 ended */
    double *flow_start;
    int64_t *async;
    double live, peak; /* of the counters */
    struct sp_json *json;
    const struct hand *hand;
};

/* A counter's series add up to the total that follows it. */
static void take_counter(struct tally *tally, const struct sp_json_value *value)
{
    const struct sp_json_value *args = sp_json_find(value, "args");
    double sum = 0;
    for (const struct sp_json_value *at = sp_json_first(args); at; at = sp_json_next(at))
        sum += real(tally->json, args, sp_json_key(at));
    if (strstr(string(tally->json, value, "name"), "total")) {
        cr_assert_eq(sum, tally->live);
        tally->peak = fmax(tally->peak, sum);
    }
    tally->live = sum;
}

static void take(struct tally *tally, const struct sp_json_value *value)
{
    struct event event = event_of(tally->json, value);
    tally->count[(unsigned char)event.phase]++;
    uint32_t limit = 2 * tally->hand->room;
    switch (event.phase) {
    case 'X':
        cr_assert_eq(event.process, 1);
        cr_assert(event.thread >= 1 && event.thread <= tally->hand->program.device_count);
        cr_assert(event.start >= tally->track_end[event.thread] - 1e-6, "slices overlap on %ld",
                  (long)event.thread);
        tally->track_end[event.thread] = event.start + event.duration;
        cr_assert(*string(tally->json, value, "name") && *string(tally->json, value, "cat"));
        break;
    case 's':
        cr_assert(event.id < limit && tally->flow[event.id] == 0);
        tally->flow[event.id] = 1;
        tally->flow_start[event.id] = event.start;
        break;
    case 'f':
        cr_assert(event.id < limit && tally->flow[event.id] == 1);
        cr_assert_str_eq(string(tally->json, value, "bp"), "e");
        cr_assert_geq(event.start, tally->flow_start[event.id]);
        tally->flow[event.id] = 2;
        break;
    case 'b':
        cr_assert(event.id < limit && tally->async[event.id] == 0);
        tally->async[event.id] = 1;
        break;
    case 'e':
        cr_assert(event.id < limit && tally->async[event.id] == 1);
        tally->async[event.id] = 2;
        break;
    case 'C':
        take_counter(tally, value);
        break;
    case 'M':
        cr_assert(sp_json_is_object(sp_json_find(value, "args")));
        break;
    default:
        cr_assert_fail("phase %c", event.phase);
    }
}

static char *trace_of(const struct hand *hand, size_t *ret_size)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, ret_size);
    sp_timeline_write_trace(&hand->timeline, stream);
    fclose(stream);
    return text;
}

static int64_t streams_of(const struct hand *hand, bool compute)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < hand->program.instruction_count; i++)
        count += (hand->program.instructions[i].stream == SP_STREAM_COMPUTE) == compute;
    return count;
}

Test(trace, valid)
{
    for (int i = 0; i < SHAPES; i++) {
        struct hand *hand = hand_pipeline(&shapes[i]);
        struct tally tally = {.hand = hand};
        struct sp_error error;
        size_t size, most = 2 * hand->room;
        char *text = trace_of(hand, &size);
        tally.track_end = calloc(hand->program.device_count + 1, sizeof(double));
        tally.flow = calloc(most, sizeof(int64_t));
        tally.flow_start = calloc(most, sizeof(double));
        tally.async = calloc(most, sizeof(int64_t));
        cr_assert_eq(sp_json_parse(text, size, "trace", &tally.json, &error), SP_OK, "%s", error.message);
        const struct sp_json_value *events = sp_json_find(sp_json_root(tally.json), "traceEvents");
        for (const struct sp_json_value *at = sp_json_first(events); at; at = sp_json_next(at))
            take(&tally, at);

        cr_expect_eq(tally.count['X'], streams_of(hand, true));
        cr_expect_eq(tally.count['b'], streams_of(hand, false));
        cr_expect_eq(tally.count['e'], tally.count['b']);
        /* Each hop is waited for by one pass. */
        cr_expect_eq(tally.count['s'], tally.count['b']);
        cr_expect_eq(tally.count['f'], tally.count['s']);
        cr_expect_eq(tally.count['M'], 3 * 2 + 2 * (int)hand->program.device_count);
        struct sp_metrics metrics = measure(hand);
        cr_expect_eq(tally.peak, metrics.devices[0].memory.peak_bytes);
        sp_metrics_finish(&metrics);
        sp_json_destroy(tally.json);
        free(tally.track_end);
        free(tally.flow);
        free(tally.flow_start);
        free(tally.async);
        free(text);
        hand_destroy(hand);
    }
}

/* What a viewer shows of a message and of a host copy. */
Test(trace, as_written)
{
    struct hand *hand = hand_create(2, 4);
    uint32_t first = hand_compute(hand, 0, (struct sp_pass){.kind = SP_PASS_F}, 0, 1500);
    hand_change(hand, SP_MEMORY_OFFLOAD, 7, 1);
    hand_change(hand, SP_MEMORY_ACTIVATIONS, 5, 1);
    uint32_t hop = hand_message(hand, first, 1, 4096, 1500, 1750);
    hand_wait(hand, hand_compute(hand, 1, (struct sp_pass){.kind = SP_PASS_F, .stage = 1}, 1750, 3000), hop);
    uint32_t copy = hand_message(hand, first, 0, 99, 1500, 2000);
    hand->program.instructions[copy].kind = SP_INSTRUCTION_OFFLOAD;
    hand->program.instructions[copy].stream = SP_STREAM_OFFLOAD;
    hand_finish(hand);
    size_t size;
    char *text = trace_of(hand, &size);
    static const char *const parts[] = {
        "{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":0,\"dur\":1.5,\"name\":\"0F0\",\"cat\":\"forward\","
        "\"args\":{\"kind\":\"forward\",\"stage\":0,\"microbatch\":0,\"slice\":0}}",
        "{\"ph\":\"b\",\"pid\":2,\"tid\":1,\"id\":1,\"ts\":1.5,\"cat\":\"hop message\",\"name\":\"0 to 1\","
        "\"args\":{\"kind\":\"forward\",\"part\":\"hop message\",\"stage\":0,\"microbatch\":0,\"slice\":0,"
        "\"bytes\":4096}}",
        "{\"ph\":\"e\",\"pid\":2,\"tid\":1,\"id\":1,\"ts\":1.75,\"cat\":\"hop message\",\"name\":\"0 to 1\"}",
        "\"name\":\"0 offload\"",
        "{\"ph\":\"s\",\"pid\":1,\"tid\":1,\"id\":4,\"ts\":0.75,",
        "{\"ph\":\"f\",\"bp\":\"e\",\"pid\":1,\"tid\":2,\"id\":4,\"ts\":1.75,",
        "\"name\":\"device 0\",\"ts\":1.5,\"args\":{\"activations\":5}}",
        "\"name\":\"device 0 total\",\"ts\":1.5,\"args\":{\"device\":5,\"host\":7}}",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_expect_not_null(strstr(text, parts[i]), "no %s in\n%s", parts[i], text);
    free(text);
    hand_destroy(hand);
}
