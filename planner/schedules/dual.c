/* SPDX-License-Identifier: Apache-2.0 */
#include "dual.h"

/* How many passes of each chunk are out. */
struct run {
    const struct sp_dual *dual;
    struct sp_order_builder *builder;
    uint32_t forwards[2], backwards[2], weights[2];
};

static void push(struct run *run, enum sp_pass_kind kind, uint32_t chunk, uint32_t index)
{
    const struct sp_dual *dual = run->dual;

    sp_order_push(run->builder, dual->device, kind, dual->stage[chunk], dual->first_microbatch[chunk] + index,
                  0);
}

static void forward(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_F, chunk, run->forwards[chunk]++);
}

static void backward(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_B, chunk, run->backwards[chunk]++);
    run->weights[chunk]++;
}

static void input(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_I, chunk, run->backwards[chunk]++);
}

static void weight(struct run *run, uint32_t chunk)
{
    push(run, SP_PASS_W, chunk, run->weights[chunk]++);
}

static void overlapped(struct run *run, uint32_t forward_chunk)
{
    const struct sp_dual *dual = run->dual;

    sp_order_push_joined(run->builder, dual->device, SP_PASS_F, dual->stage[forward_chunk],
                         dual->first_microbatch[forward_chunk] + run->forwards[forward_chunk]++, 0);
    backward(run, 1 - forward_chunk);
}

static void push_main(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 && run->dual->place == run->dual->depth - 1) {
            /* Nothing of chunk 1 has come back before this forward, so there is nothing to overlap. */
            forward(run, 0);
            backward(run, 1);
        } else {
            overlapped(run, 0);
        }
        overlapped(run, 1);
    }
}

/* The last place + 1 of these backwards put their weight gradients off; chunk 1 and 0 take turns. */
static void push_drain(struct run *run, uint32_t place, uint32_t inner)
{
    for (uint32_t i = 0; i < 2 * (place + 1); i++)
        (i <= place ? backward : input)(run, 1 - i % 2);
    for (uint32_t i = 0; i < inner + place + 1; i++) {
        weight(run, i <= place ? 1 - (place + 1 + i) % 2 : 0);
        if (i < inner)
            input(run, 0);
    }
}

void sp_dual_push(const struct sp_dual *dual, struct sp_order_builder *builder)
{
    struct run run = {.dual = dual, .builder = builder};
    uint32_t place = dual->place, inner = dual->depth - 1 - place;

    for (uint32_t i = 0; i < 2 * inner; i++)
        forward(&run, 0);
    for (uint32_t i = 0; i <= place; i++) {
        forward(&run, 0);
        forward(&run, 1);
    }
    for (uint32_t i = 0; i < inner; i++) {
        input(&run, 1);
        weight(&run, 1);
        forward(&run, 1);
    }
    push_main(&run, dual->microbatches - 2 * dual->depth + place + 1);
    for (uint32_t i = 0; i < inner; i++) {
        backward(&run, 1);
        overlapped(&run, 1);
    }
    push_drain(&run, place, inner);
}
