/* SPDX-License-Identifier: Apache-2.0 */
#include "row.h"

#include <assert.h>
#include <string.h>

struct sp_rows sp_rows_split(uint32_t device_count, uint32_t most)
{
    struct sp_rows rows = {.devices_per_row = 1, .device_count = device_count};
    if (device_count > most)
        rows.devices_per_row = (device_count + most - 1) / most;
    rows.count = (device_count + rows.devices_per_row - 1) / rows.devices_per_row;
    return rows;
}

uint32_t sp_rows_devices(const struct sp_rows *rows, uint32_t row, uint32_t *ret_count)
{
    uint32_t first = row * rows->devices_per_row, left = rows->device_count - first;
    *ret_count = left < rows->devices_per_row ? left : rows->devices_per_row;
    return first;
}

void sp_timeline_span(const struct sp_timeline *timeline, int64_t *ret_begin_ns, int64_t *ret_end_ns)
{
    uint32_t count = timeline->program->instruction_count;
    int64_t begin = count ? timeline->start_ns[0] : 0, end = count ? timeline->end_ns[0] : 0;
    for (uint32_t i = 1; i < count; i++) {
        if (timeline->start_ns[i] < begin)
            begin = timeline->start_ns[i];
        if (timeline->end_ns[i] > end)
            end = timeline->end_ns[i];
    }
    *ret_begin_ns = begin;
    *ret_end_ns = end;
}

void sp_sweep_init(struct sp_sweep *sweep, const struct sp_timeline *timeline, uint32_t first, uint32_t count,
                   int64_t begin_ns, int64_t end_ns, int64_t buckets)
{
    assert(count <= SP_ROW_DEVICES);
    sweep->timeline = timeline;
    sweep->first = first;
    sweep->count = count;
    sweep->begin_ns = begin_ns;
    sweep->bucket_ns = (double)(end_ns - begin_ns) / (double)buckets;
    sweep->bucket = 0;
    for (uint32_t i = 0; i < count; i++)
        sweep->cursor[i] = timeline->program->stream_begin[(first + i) * SP_STREAMS + SP_STREAM_COMPUTE];
}

/* Adds to shares, in nanoseconds, what one device does in [begin, end). */
static void add_device(struct sp_sweep *sweep, uint32_t i, double begin, double end, double shares[SP_KEYS])
{
    const struct sp_timeline *timeline = sweep->timeline;
    const struct sp_program *program = timeline->program;
    uint32_t last = program->stream_begin[(sweep->first + i) * SP_STREAMS + SP_STREAM_COMPUTE + 1];
    for (uint32_t at = sweep->cursor[i]; at < last; at++) {
        uint32_t number = program->stream_items[at];
        double from = (double)timeline->start_ns[number], to = (double)timeline->end_ns[number];
        if (from >= end)
            break;
        if (to <= end)
            sweep->cursor[i] = at + 1;
        from = from < begin ? begin : from;
        to = to > end ? end : to;
        const struct sp_instruction *instruction = &program->instructions[number];
        if (to > from)
            shares[sp_paint_of(program, instruction) * SP_SHADES + sp_paint_shade(program, instruction, 0)] +=
                to - from;
    }
}

void sp_sweep_next(struct sp_sweep *sweep, double shares[SP_KEYS])
{
    double begin = (double)sweep->begin_ns + sweep->bucket_ns * (double)sweep->bucket;
    double end = (double)sweep->begin_ns + sweep->bucket_ns * (double)(sweep->bucket + 1);
    memset(shares, 0, SP_KEYS * sizeof *shares);
    for (uint32_t i = 0; i < sweep->count; i++)
        add_device(sweep, i, begin, end, shares);
    double whole = (end - begin) * sweep->count;
    for (int key = 0; key < SP_KEYS && whole > 0; key++)
        shares[key] /= whole;
    sweep->bucket++;
}
