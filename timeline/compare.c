/* SPDX-License-Identifier: Apache-2.0 */
/* Predicted against measured, instruction by instruction. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "palette.h"
#include "row.h"
#include "slimpipe/format.h"
#include "slimpipe/json.h"

static int64_t duration(const struct sp_timeline *timeline, uint32_t number)
{
    return timeline->end_ns[number] - timeline->start_ns[number];
}

static int64_t deviation(const struct sp_comparison *comparison, uint32_t number)
{
    return duration(comparison->measured, number) - duration(comparison->predicted, number);
}

static int64_t makespan(const struct sp_timeline *timeline)
{
    int64_t begin, end;
    sp_timeline_span(timeline, &begin, &end);
    return end - begin;
}

/* Keeps the worst ones sorted: insertion, since there are few. */
static void note_worst(struct sp_comparison *comparison, uint32_t number)
{
    int64_t size = llabs(deviation(comparison, number));
    int at = comparison->worst_count;
    while (at > 0 && llabs(deviation(comparison, comparison->worst[at - 1])) < size)
        at--;
    if (size == 0 || at == SP_COMPARISON_WORST)
        return;
    if (comparison->worst_count < SP_COMPARISON_WORST)
        comparison->worst_count++;
    for (int i = comparison->worst_count - 1; i > at; i--)
        comparison->worst[i] = comparison->worst[i - 1];
    comparison->worst[at] = number;
}

void sp_comparison_make(const struct sp_timeline *predicted, const struct sp_timeline *measured,
                        struct sp_comparison *ret_comparison)
{
    const struct sp_program *program = predicted->program;
    assert(measured->program == program);
    *ret_comparison = (struct sp_comparison){
        .predicted = predicted,
        .measured = measured,
        .predicted_makespan_ns = makespan(predicted),
        .measured_makespan_ns = makespan(measured),
    };
    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        int pass = instruction->pass == SP_NO_INDEX ? SP_PASS_KINDS
                                                    : program->plan->order.passes[instruction->pass].kind;
        struct sp_comparison_row *row = &ret_comparison->rows[instruction->kind][pass];
        row->count++;
        row->predicted_ns += duration(predicted, i);
        row->measured_ns += duration(measured, i);
        row->absolute_ns += llabs(deviation(ret_comparison, i));
        note_worst(ret_comparison, i);
    }
}

static double error_of(int64_t predicted_ns, int64_t measured_ns)
{
    return predicted_ns > 0 ? (double)measured_ns / (double)predicted_ns - 1 : NAN;
}

double sp_comparison_error(const struct sp_comparison_row *row)
{
    return error_of(row->predicted_ns, row->measured_ns);
}

/* "backward, guest attention": the pass's kind and which part of it, or "optimizer step". */
static const char *row_name(int kind, int pass, char *text, size_t size)
{
    if (pass == SP_PASS_KINDS)
        snprintf(text, size, "%s", sp_instruction_names[kind]);
    else if (kind == SP_INSTRUCTION_PASS)
        snprintf(text, size, "%s", sp_pass_kind_names[pass]);
    else
        snprintf(text, size, "%s, %s", sp_instruction_names[kind], sp_pass_kind_names[pass]);
    return text;
}

static int64_t mean(int64_t sum, int64_t count)
{
    return llround((double)sum / (double)count);
}

static void write_kinds(const struct sp_comparison *comparison, FILE *stream, int name_width)
{
    char name[96];
    fprintf(stream, "%-*s %7s %9s %9s %8s %8s\n", name_width, "", "count", "predicted", "measured", "error",
            "|error|");
    for (int kind = 0; kind < SP_INSTRUCTION_KINDS; kind++) {
        for (int pass = 0; pass <= SP_PASS_KINDS; pass++) {
            const struct sp_comparison_row *row = &comparison->rows[kind][pass];
            if (row->count == 0)
                continue;
            double absolute =
                row->predicted_ns > 0 ? (double)row->absolute_ns / (double)row->predicted_ns : NAN;
            fprintf(stream, "%-*.*s %7s %9s %9s %8s %8s\n", name_width, name_width,
                    row_name(kind, pass, name, sizeof name), sp_format_count((double)row->count).text,
                    sp_format_time(mean(row->predicted_ns, row->count)).text,
                    sp_format_time(mean(row->measured_ns, row->count)).text,
                    sp_format_change(sp_comparison_error(row)).text, sp_format_percent(absolute).text);
        }
    }
    fprintf(
        stream, "%-*s %7s %9s %9s %8s\n", name_width, "makespan", "",
        sp_format_time(comparison->predicted_makespan_ns).text,
        sp_format_time(comparison->measured_makespan_ns).text,
        sp_format_change(error_of(comparison->predicted_makespan_ns, comparison->measured_makespan_ns)).text);
}

static void write_worst(const struct sp_comparison *comparison, FILE *stream, int name_width)
{
    const struct sp_program *program = comparison->predicted->program;
    char name[96];
    if (comparison->worst_count == 0)
        return;
    fprintf(stream, "\n%-*s %7s %9s %9s %8s\n", name_width, "furthest off", "device", "predicted", "measured",
            "error");
    for (int i = 0; i < comparison->worst_count; i++) {
        uint32_t number = comparison->worst[i];
        const struct sp_instruction *instruction = &program->instructions[number];
        int64_t predicted = duration(comparison->predicted, number);
        int64_t measured = duration(comparison->measured, number);
        fprintf(stream, "%-*.*s %7" PRIu16 " %9s %9s %8s\n", name_width, name_width,
                sp_instruction_text(program, instruction, name, sizeof name), instruction->device,
                sp_format_time(predicted).text, sp_format_time(measured).text,
                sp_format_change(error_of(predicted, measured)).text);
    }
}

void sp_comparison_write_table(const struct sp_comparison *comparison, FILE *stream, int columns)
{
    enum { NUMBERS = 46, LEAST = 14, MOST = 40 };
    int name_width = columns - NUMBERS;
    name_width = name_width < LEAST ? LEAST : name_width > MOST ? MOST : name_width;
    write_kinds(comparison, stream, name_width);
    write_worst(comparison, stream, name_width);
}

static void write_row_json(const struct sp_comparison_row *row, int kind, int pass,
                           struct sp_json_writer *writer)
{
    static const char letters[SP_PASS_KINDS][2] = {
#define X(name, letter, text) [SP_PASS_##name] = {letter, 0},
        SP_PASS_LIST(X)
#undef X
    };
    sp_json_begin_object(writer, NULL);
    sp_json_put_string(writer, "kind", sp_instruction_names[kind]);
    if (pass == SP_PASS_KINDS)
        sp_json_put_null(writer, "pass");
    else
        sp_json_put_string(writer, "pass", letters[pass]);
    sp_json_put_whole(writer, "count", row->count);
    sp_json_put_real(writer, "predicted_mean_ns", (double)row->predicted_ns / (double)row->count);
    sp_json_put_real(writer, "measured_mean_ns", (double)row->measured_ns / (double)row->count);
    sp_json_put_real(writer, "error", sp_comparison_error(row));
    sp_json_put_real(writer, "absolute_error",
                     row->predicted_ns > 0 ? (double)row->absolute_ns / (double)row->predicted_ns : NAN);
    sp_json_end_object(writer);
}

static void write_worst_json(const struct sp_comparison *comparison, struct sp_json_writer *writer)
{
    const struct sp_program *program = comparison->predicted->program;
    char name[96];
    sp_json_begin_array(writer, "worst", false);
    for (int i = 0; i < comparison->worst_count; i++) {
        uint32_t number = comparison->worst[i];
        const struct sp_instruction *instruction = &program->instructions[number];
        sp_json_begin_object(writer, NULL);
        sp_json_put_string(writer, "instruction",
                           sp_instruction_text(program, instruction, name, sizeof name));
        sp_json_put_whole(writer, "device", instruction->device);
        sp_json_put_whole(writer, "predicted_ns", duration(comparison->predicted, number));
        sp_json_put_whole(writer, "measured_ns", duration(comparison->measured, number));
        sp_json_end_object(writer);
    }
    sp_json_end_array(writer);
}

void sp_comparison_write_json(const struct sp_comparison *comparison, struct sp_json_writer *writer)
{
    sp_json_begin_object(writer, "makespan");
    sp_json_put_whole(writer, "predicted_ns", comparison->predicted_makespan_ns);
    sp_json_put_whole(writer, "measured_ns", comparison->measured_makespan_ns);
    sp_json_put_real(writer, "error",
                     error_of(comparison->predicted_makespan_ns, comparison->measured_makespan_ns));
    sp_json_end_object(writer);
    sp_json_begin_array(writer, "kinds", false);
    for (int kind = 0; kind < SP_INSTRUCTION_KINDS; kind++)
        for (int pass = 0; pass <= SP_PASS_KINDS; pass++)
            if (comparison->rows[kind][pass].count > 0)
                write_row_json(&comparison->rows[kind][pass], kind, pass, writer);
    sp_json_end_array(writer);
    write_worst_json(comparison, writer);
}
