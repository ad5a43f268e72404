/* SPDX-License-Identifier: Apache-2.0 */
/* Timelines as AMD Primus' pipeline simulator writes them: per rank, lists of starts and ends by direction.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "row.h"
#include "slimpipe/arena.h"
#include "slimpipe/file.h"
#include "slimpipe/json.h"
#include "slimpipe/timeline.h"

enum direction { FORWARD, BACKWARD, WEIGHT, DIRECTIONS };
static const char *const direction_names[DIRECTIONS] = {"fwd", "bwd", "wgrad"};

/* One pass of the rank, in the order of its compute stream. */
struct event {
    int64_t start_ns, end_ns;
    const struct sp_pass *pass;
    double held; /* GiB of activations: after the start of an F, after the end of a B or W */
};

struct rank {
    const struct sp_timeline *timeline;
    uint32_t device;
    int64_t begin_ns; /* is 0 in the file */
    struct event *events;
    uint64_t count;
};

static double to_ms(int64_t ns)
{
    return (double)ns * 1e-6;
}

static double to_gib(int64_t bytes)
{
    return (double)bytes / (1 << 30);
}

static int direction_of(const struct sp_pass *pass)
{
    switch (pass->kind) {
    case SP_PASS_F:
        return FORWARD;
    case SP_PASS_B:
    case SP_PASS_I:
        return BACKWARD;
    case SP_PASS_W:
        return WEIGHT;
    default:
        return DIRECTIONS; /* has no word */
    }
}

static int64_t changed(const struct sp_program *program, const struct sp_instruction *instruction, int at_end)
{
    const struct sp_memory_effect *effect = &program->effects[instruction->memory];
    int64_t bytes = 0;

    for (uint32_t i = effect->begin; i < effect->end; i++) {
        const struct sp_memory_change *change = &program->changes[i];
        bool counts = change->category == SP_MEMORY_ACTIVATIONS || change->category == SP_MEMORY_KV_CACHE;
        if (counts && change->at_end == at_end)
            bytes += change->bytes;
    }
    return bytes;
}

/* The pass that an instruction of the device is (a part of), or SP_NO_INDEX. */
static uint32_t own_pass(const struct sp_instruction *instruction)
{
    return instruction->kind == SP_INSTRUCTION_GUEST ? SP_NO_INDEX : instruction->pass;
}

/* A pass of several instructions spans them all. */
static void add_event(struct rank *rank, uint32_t item, const struct sp_pass *pass, double held)
{
    const struct sp_timeline *timeline = rank->timeline;
    struct event *last = rank->count ? &rank->events[rank->count - 1] : NULL;

    if (last && last->pass == pass) {
        last->end_ns = timeline->end_ns[item] - rank->begin_ns;
        if (pass->kind != SP_PASS_F)
            last->held = held;
        return;
    }
    rank->events[rank->count++] = (struct event){.start_ns = timeline->start_ns[item] - rank->begin_ns,
                                                 .end_ns = timeline->end_ns[item] - rank->begin_ns,
                                                 .pass = pass,
                                                 .held = held};
}

static void collect(struct rank *rank)
{
    const struct sp_program *program = rank->timeline->program;
    const uint32_t *begin = &program->stream_begin[rank->device * SP_STREAMS + SP_STREAM_COMPUTE];
    int64_t held = 0;

    for (uint32_t at = begin[0]; at < begin[1]; at++) {
        uint32_t item = program->stream_items[at];
        const struct sp_instruction *instruction = &program->instructions[item];
        uint32_t index = own_pass(instruction);
        int64_t started = held + changed(program, instruction, 0);
        held = started + changed(program, instruction, 1);
        for (uint32_t i = 0; index != SP_NO_INDEX && i <= (instruction->kind == SP_INSTRUCTION_JOINED); i++) {
            const struct sp_pass *pass = &program->plan->order.passes[index + i];
            if (direction_of(pass) < DIRECTIONS)
                add_event(rank, item, pass, to_gib(pass->kind == SP_PASS_F ? started : held));
        }
    }
}

static void put_list(const struct rank *rank, int direction, const char *name, struct sp_json_writer *writer)
{
    const struct sp_plan *plan = rank->timeline->program->plan;
    char key[32];

    snprintf(key, sizeof(key), "%s_%s", direction_names[direction], name);
    sp_json_begin_array(writer, key, true);
    for (uint64_t i = 0; i < rank->count; i++) {
        const struct event *event = &rank->events[i];
        if (direction_of(event->pass) != direction)
            continue;
        if (strcmp(name, "start") == 0)
            sp_json_put_real(writer, NULL, to_ms(event->start_ns));
        else if (strcmp(name, "end") == 0)
            sp_json_put_real(writer, NULL, to_ms(event->end_ns));
        else if (strcmp(name, "chunk") == 0)
            sp_json_put_whole(writer, NULL, event->pass->stage / plan->order.device_count);
        else
            sp_json_put_whole(writer, NULL,
                              (int64_t)event->pass->microbatch * plan->slice_count + event->pass->slice);
    }
    sp_json_end_array(writer);
}

static void put_held(const struct rank *rank, struct sp_json_writer *writer)
{
    sp_json_begin_array(writer, "activation_memory_usage", true);
    for (uint64_t i = 0; i < rank->count; i++)
        if (rank->events[i].pass->kind != SP_PASS_I)
            sp_json_put_real(writer, NULL, rank->events[i].held);
    sp_json_end_array(writer);
}

static void put_rank(const struct rank *rank, FILE *stream)
{
    static const char *const names[] = {"start", "end", "minibatch", "chunk"};
    struct sp_device_memory memory;
    struct sp_json_writer writer;
    int64_t total = 0;

    sp_program_memory(rank->timeline->program, rank->device, &memory);
    for (uint64_t i = 0; i < rank->count; i++)
        if (rank->events[i].end_ns > total)
            total = rank->events[i].end_ns;
    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    sp_json_begin_object(&writer, "0");
    sp_json_put_real(&writer, "total", to_ms(total));
    sp_json_put_real(&writer, "memory", to_gib(memory.peak_bytes));
    for (int direction = 0; direction < DIRECTIONS; direction++)
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            put_list(rank, direction, names[i], &writer);
    put_held(rank, &writer);
    sp_json_end_object(&writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
}

static enum sp_status write_rank(struct rank *rank, const char *path, struct sp_error *error)
{
    const struct sp_order *order = &rank->timeline->program->plan->order;
    uint64_t passes = order->begin[rank->device + 1] - order->begin[rank->device];
    struct sp_file file;
    enum sp_status status;

    rank->count = 0;
    if (!(rank->events = sp_alloc(passes + 1, sizeof(*rank->events))))
        return sp_error_set(error, SP_MEMORY, "no memory for a timeline");
    collect(rank);
    if (!(status = sp_file_create(path, &file, error))) {
        put_rank(rank, file.stream);
        status = sp_file_commit(&file, error);
    }
    sp_free(rank->events);
    return status;
}

static enum sp_status write_config(const struct sp_plan *plan, const char *path, struct sp_error *error)
{
    struct sp_json_writer writer;
    struct sp_file file;
    enum sp_status status = sp_file_create(path, &file, error);

    if (status)
        return status;
    sp_json_writer_init(&writer, file.stream);
    sp_json_begin_object(&writer, NULL);
    sp_json_put_whole(&writer, "pp_size", plan->order.device_count);
    sp_json_put_whole(&writer, "vpp_size", plan->stage_count / plan->order.device_count);
    sp_json_put_whole(&writer, "micro_batches", plan->workload.microbatches * plan->slice_count);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
    return sp_file_commit(&file, error);
}

static enum sp_status make_directory(const char *path, struct sp_error *error)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return SP_OK;
    return sp_error_set(error, SP_IO, "%s: cannot make this directory: %s", path, strerror(errno));
}

enum sp_status sp_timeline_write_primus(const struct sp_timeline *timeline, const char *directory,
                                        struct sp_error *error)
{
    const struct sp_plan *plan = timeline->program->plan;
    struct rank rank = {.timeline = timeline};
    char path[PATH_MAX];
    enum sp_status status = make_directory(directory, error);
    int64_t end_ns;

    sp_timeline_span(timeline, &rank.begin_ns, &end_ns);
    snprintf(path, sizeof(path), "%s/config.json", directory);
    if (!status)
        status = write_config(plan, path, error);
    for (rank.device = 0; rank.device < plan->order.device_count && !status; rank.device++) {
        snprintf(path, sizeof(path), "%s/pp_rank_%u.json", directory, rank.device);
        status = write_rank(&rank, path, error);
    }
    return status;
}
