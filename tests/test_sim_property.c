/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator against its specification, on random programs and random plans. */
#include <criterion/criterion.h>

#include "program_builder.h"
#include "random.h"
#include "sim_checks.h"

/* Durations that are often equal, so that ties happen, sometimes nothing, and sometimes long. */
static int64_t random_duration(struct random *random)
{
    switch (random_below(random, 4)) {
    case 0:
        return 10;
    case 1:
        return random_below(random, 3) * 5;
    default:
        return random_below(random, 100);
    }
}

static void add_random_instruction(struct builder *b, struct random *random, bool copies)
{
    uint32_t devices = b->program.device_count, device = random_below(random, devices);
    int64_t duration = random_duration(random);

    switch (random_below(random, copies ? 8 : 7)) {
    case 7:
        builder_copy(b, device, random_one_in(random, 2) ? SP_STREAM_OFFLOAD : SP_STREAM_RELOAD, duration);
        break;
    case 0:
    case 1:
    case 2:
        builder_message(b, device, random_below(random, devices), duration, random_one_in(random, 2));
        break;
    default:
        builder_compute(b, device, duration);
    }
}

/* Waits for near numbers mostly, as in real programs, and at times the same one twice. */
static void add_random_waits(struct builder *b, struct random *random)
{
    uint32_t number = b->program.instruction_count - 1;
    uint32_t reach = random_one_in(random, 4) || number < 12 ? number : 12;

    for (uint32_t count = random_below(random, 4); number > 0 && count > 0; count--)
        builder_wait(b, number - 1 - random_below(random, reach));
}

/* A third without copies, a third with a host link per device, a third with shared ones. */
static struct builder *random_program(struct random *random, uint64_t seed)
{
    struct builder *b = builder_create(1 + random_below(random, 6));
    uint32_t count = 1 + random_below(random, seed % 10 == 0 ? 150 : 40);

    for (int node = 0; node < 2; node++)
        b->program.latency_ns[node] = random_one_in(random, 2) ? random_duration(random) : 0;
    for (uint32_t device = 0; seed % 3 == 0 && device < b->program.device_count; device++)
        b->host_port[device] = 1000 * random_below(random, device + 1);
    while (b->program.instruction_count < count) {
        add_random_instruction(b, random, seed % 3 != 1);
        add_random_waits(b, random);
    }
    builder_close(b);
    return b;
}

Test(sim_property, random_programs)
{
    enum { CASES = 3000 };

    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct random random = {seed};
        struct builder *b = random_program(&random, seed);
        check_program(&b->program, seed);
        free(b);
    }
}
