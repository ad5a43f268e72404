/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PyTorch's pipelining CSV with communication. Devices take turns, one cell each, as far as their inputs are
 * there; a send stands right behind its pass, and its receive is put at the end of what the other device has
 * by then. So sends and receives of two devices are in the same order on both, and none waits for the other.
 */
#include <stdio.h>
#include <string.h>

#include "export_torch.h"
#include "slimpipe/interchange.h"

struct line {
    char *text;
    size_t size, capacity;
};

struct writer {
    const struct sp_plan *plan;
    struct line *lines;          /* by device */
    uint64_t *cursors;           /* by device: the next pass */
    uint16_t *devices;           /* by unit: where it runs */
    uint8_t *forward, *backward; /* by unit: ran */
    bool short_of_memory;
};

static uint64_t unit_of(const struct writer *writer, uint32_t stage, uint32_t microbatch)
{
    return (uint64_t)microbatch * writer->plan->stage_count + stage;
}

static void put_cell(struct writer *writer, uint32_t device, const char *cell)
{
    struct line *line = &writer->lines[device];
    size_t length = strlen(cell);

    if (line->size + length + 2 > line->capacity) {
        size_t capacity = 2 * line->capacity + 4096;
        char *text = sp_realloc(line->text, capacity, 1);
        if (!text) {
            writer->short_of_memory = true;
            return;
        }
        line->text = text;
        line->capacity = capacity;
    }
    if (line->size > 0)
        line->text[line->size++] = ',';
    memcpy(line->text + line->size, cell, length);
    line->size += length;
}

static void put_message(struct writer *writer, uint32_t device, const char *name, uint32_t stage,
                        uint32_t microbatch)
{
    char cell[64];

    snprintf(cell, sizeof(cell), "%u%s%u", stage, name, microbatch);
    put_cell(writer, device, cell);
}

static bool is_ready(const struct writer *writer, const struct sp_pass *pass)
{
    uint64_t unit = unit_of(writer, pass->stage, sp_torch_microbatch(writer->plan, pass));

    if (pass->kind == SP_PASS_F)
        return pass->stage == 0 || writer->forward[unit - 1];
    if (pass->kind == SP_PASS_W)
        return true;
    return pass->stage + 1u == writer->plan->stage_count || writer->backward[unit + 1] ||
           writer->plan->stages[pass->stage + 1].train == SP_TRAIN_NONE;
}

/* Notes that the pass ran; its result is sent where the next stage is on another device. */
static void finish_pass(struct writer *writer, uint32_t device, const struct sp_pass *pass)
{
    uint32_t microbatch = sp_torch_microbatch(writer->plan, pass), stage = pass->stage;
    uint64_t unit = unit_of(writer, stage, microbatch);
    bool forward = pass->kind == SP_PASS_F;
    uint32_t other = forward ? stage + 1 : stage - 1;

    if (pass->kind == SP_PASS_W)
        return;
    (forward ? writer->forward : writer->backward)[unit] = 1;
    if (forward ? other == writer->plan->stage_count : stage == 0)
        return;
    if (!forward && writer->plan->stages[other].train == SP_TRAIN_NONE)
        return;
    uint32_t peer = writer->devices[unit_of(writer, other, microbatch)];
    if (peer == device)
        return;
    put_message(writer, device, forward ? "SEND_F" : "SEND_B", stage, microbatch);
    put_message(writer, peer, forward ? "RECV_F" : "RECV_B", other, microbatch);
}

/* The next cell of a device, if it can run. */
static bool step(struct writer *writer, uint32_t device)
{
    const struct sp_order *order = &writer->plan->order;
    uint64_t *cursor = &writer->cursors[device];
    const struct sp_pass *pass;
    char cell[TORCH_CELL_SIZE];

    while (*cursor < order->begin[device + 1] && !sp_torch_has_word(&order->passes[*cursor]))
        ++*cursor;
    if (*cursor == order->begin[device + 1])
        return false;
    pass = &order->passes[*cursor];
    if (!is_ready(writer, pass) || (pass->joined && !is_ready(writer, pass + 1)))
        return false;
    put_cell(writer, device, sp_torch_cell(writer->plan, pass, cell));
    for (int i = 0; i <= pass->joined; i++)
        finish_pass(writer, device, pass + i);
    *cursor += 1u + pass->joined;
    return true;
}

static void run(struct writer *writer)
{
    bool any = true;

    while (any && !writer->short_of_memory) {
        any = false;
        for (uint32_t d = 0; d < writer->plan->order.device_count; d++)
            any |= step(writer, d);
    }
}

static bool init(struct writer *writer, const struct sp_plan *plan)
{
    const struct sp_order *order = &plan->order;
    uint64_t units = (uint64_t)plan->workload.microbatches * plan->slice_count * plan->stage_count;

    writer->lines = sp_alloc(order->device_count, sizeof(*writer->lines));
    writer->cursors = sp_alloc(order->device_count, sizeof(*writer->cursors));
    writer->devices = sp_alloc(units, sizeof(*writer->devices));
    writer->forward = sp_alloc(units, 1);
    writer->backward = sp_alloc(units, 1);
    if (!writer->lines || !writer->cursors || !writer->devices || !writer->forward || !writer->backward)
        return false;
    for (uint32_t d = 0; d < order->device_count; d++) {
        writer->cursors[d] = order->begin[d];
        for (uint64_t i = order->begin[d]; i < order->begin[d + 1]; i++) {
            const struct sp_pass *pass = &order->passes[i];
            if (pass->kind == SP_PASS_F)
                writer->devices[unit_of(writer, pass->stage, sp_torch_microbatch(plan, pass))] = (uint16_t)d;
        }
    }
    return true;
}

static void finish(struct writer *writer)
{
    for (uint32_t d = 0; writer->lines && d < writer->plan->order.device_count; d++)
        sp_free(writer->lines[d].text);
    sp_free(writer->lines);
    sp_free(writer->cursors);
    sp_free(writer->devices);
    sp_free(writer->forward);
    sp_free(writer->backward);
}

enum sp_status sp_export_torch_comms(const struct sp_plan *plan, FILE *stream, struct sp_error *error)
{
    struct writer writer = {.plan = plan};
    enum sp_status status = SP_OK;

    if (init(&writer, plan))
        run(&writer);
    else
        writer.short_of_memory = true;
    if (writer.short_of_memory)
        status = sp_error_set(error, SP_MEMORY, "no memory for an order with communication");
    for (uint32_t d = 0; d < plan->order.device_count && !status; d++) {
        fwrite(writer.lines[d].text, 1, writer.lines[d].size, stream);
        fputc('\n', stream);
    }
    finish(&writer);
    return status;
}
