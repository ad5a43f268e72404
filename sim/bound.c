/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bound of heads and tails. Whatever the order, a device's first work starts no earlier than the least
 * head of its instructions, then it has all of its work to do, and after its last at least the least tail of
 * its instructions follows. Messages count as under plain rules, which no other rules undercut.
 */
#include "dependencies.h"
#include "engine.h"

enum { LEADS_NOWHERE = -1 };

struct bound {
    const struct sp_program *program;
    struct sp_sim_dependencies dependencies;
    int64_t *head_ns; /* earliest start */
    int64_t *tail_ns; /* least time from its end to the end of all computing; or LEADS_NOWHERE */
    int64_t *work_ns, *least_head_ns, *least_tail_ns, *step_ns; /* per device */
    int64_t signs;                                              /* see engine.h */
};

static int64_t length(const struct sp_program *program, uint32_t number)
{
    const struct sp_instruction *instruction = &program->instructions[number];
    int64_t latency = 0;

    if (instruction->stream == SP_STREAM_SEND)
        latency = program->latency_ns[instruction->same_node];
    return time_add(instruction->duration_ns, latency);
}

static bool computes(const struct sp_instruction *instruction)
{
    return instruction->stream == SP_STREAM_COMPUTE;
}

static bool is_step(const struct sp_instruction *instruction)
{
    return instruction->kind == SP_INSTRUCTION_STEP;
}

static void set_heads(struct bound *bound)
{
    const struct sp_program *program = bound->program;
    const struct sp_sim_dependencies *dependencies = &bound->dependencies;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        int64_t head = 0;
        for (uint64_t k = dependencies->begin[i]; k < dependencies->begin[i + 1]; k++) {
            uint32_t before = dependencies->items[k];
            head = time_later(head, time_add(bound->head_ns[before], length(program, before)));
        }
        bound->head_ns[i] = head;
        bound->signs |= head;
    }
}

/* A device's optimizer step comes after all else it does, so it is in every tail of the device. */
static void set_tails(struct bound *bound)
{
    const struct sp_program *program = bound->program;
    const struct sp_sim_dependencies *dependencies = &bound->dependencies;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        bound->tail_ns[i] = LEADS_NOWHERE;
        if (computes(instruction))
            bound->tail_ns[i] = is_step(instruction) ? 0 : bound->step_ns[instruction->device];
    }
    for (uint32_t i = program->instruction_count; i-- > 0;) {
        int64_t tail = time_add(bound->tail_ns[i], length(program, i));
        if (bound->tail_ns[i] == LEADS_NOWHERE)
            continue;
        bound->signs |= tail;
        for (uint64_t k = dependencies->begin[i]; k < dependencies->begin[i + 1]; k++) {
            int64_t *before = &bound->tail_ns[dependencies->items[k]];
            *before = time_later(*before, tail);
        }
    }
}

static void set_steps(struct bound *bound)
{
    const struct sp_program *program = bound->program;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        int64_t *sum = is_step(instruction) ? bound->step_ns : bound->work_ns;
        if (computes(instruction))
            sum[instruction->device] = time_add(sum[instruction->device], instruction->duration_ns);
        bound->signs |= sum[instruction->device];
    }
}

/* The longest chain; and on the way each device's least head and tail of what takes time. */
static int64_t longest_chain(struct bound *bound)
{
    const struct sp_program *program = bound->program;
    int64_t longest = 0;

    for (uint32_t i = 0; i < program->instruction_count; i++) {
        const struct sp_instruction *instruction = &program->instructions[i];
        uint32_t device = instruction->device;
        int64_t head = bound->head_ns[i], tail = bound->tail_ns[i];
        if (!computes(instruction))
            continue;
        longest = time_later(longest, time_add(time_add(head, instruction->duration_ns), tail));
        if (is_step(instruction) || instruction->duration_ns == 0)
            continue;
        if (head < bound->least_head_ns[device])
            bound->least_head_ns[device] = head;
        if (tail < bound->least_tail_ns[device])
            bound->least_tail_ns[device] = tail;
    }
    return longest;
}

static int64_t largest(struct bound *bound)
{
    int64_t result;

    set_steps(bound);
    set_heads(bound);
    set_tails(bound);
    for (uint32_t device = 0; device < bound->program->device_count; device++)
        bound->least_head_ns[device] = bound->least_tail_ns[device] = INT64_MAX;
    result = longest_chain(bound);
    for (uint32_t device = 0; device < bound->program->device_count; device++)
        if (bound->work_ns[device] > 0)
            result =
                time_later(result, time_add(time_add(bound->least_head_ns[device], bound->work_ns[device]),
                                            bound->least_tail_ns[device]));
    return result;
}

static enum sp_status init(struct bound *bound, struct sp_error *error)
{
    size_t devices = bound->program->device_count;
    enum sp_status status = sp_sim_dependencies_init(&bound->dependencies, bound->program, error);

    if (status != SP_OK)
        return status;
    bound->head_ns = sp_alloc(bound->program->instruction_count, sizeof *bound->head_ns);
    bound->tail_ns = sp_alloc(bound->program->instruction_count, sizeof *bound->tail_ns);
    bound->work_ns = sp_alloc(devices * 4, sizeof *bound->work_ns);
    if (!bound->head_ns || !bound->tail_ns || !bound->work_ns)
        return sp_error_set(error, SP_MEMORY, "no memory to bound %u instructions",
                            bound->program->instruction_count);
    bound->least_head_ns = bound->work_ns + devices;
    bound->least_tail_ns = bound->work_ns + 2 * devices;
    bound->step_ns = bound->work_ns + 3 * devices;
    return SP_OK;
}

enum sp_status sp_sim_bound(const struct sp_program *program, int64_t *ret_bound_ns, struct sp_error *error)
{
    struct bound bound = {.program = program};
    enum sp_status status = init(&bound, error);

    if (status == SP_OK) {
        int64_t result = largest(&bound);
        if (bound.signs < 0)
            status = sp_sim_too_long(error);
        else
            *ret_bound_ns = result;
    }
    sp_free(bound.head_ns);
    sp_free(bound.tail_ns);
    sp_free(bound.work_ns);
    sp_sim_dependencies_finish(&bound.dependencies);
    return status;
}
