/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the reader of PyTorch's pipelining CSV: cells, messages, and the plan made of them. */
#ifndef SLIMPIPE_PLAN_TORCH_CSV_H
#define SLIMPIPE_PLAN_TORCH_CSV_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/plan.h"
#include "slimpipe/status.h"

/* What a cell can say beside the kinds of pass. */
enum torch_message_kind { TORCH_SEND_F, TORCH_RECV_F, TORCH_SEND_B, TORCH_RECV_B, TORCH_MESSAGES };
extern const char *const sp_torch_message_names[TORCH_MESSAGES];

/* 1-based; 0, 0: the whole file. */
struct torch_place {
    uint32_t line, column;
};

struct torch_message {
    uint8_t kind; /* enum torch_message_kind */
    uint32_t stage, microbatch, device;
    uint64_t next; /* index of the pass that comes after it */
    struct torch_place place;
};

struct torch_order {
    const char *source;
    struct sp_pass *passes;
    struct torch_place *places; /* of each pass */
    uint64_t pass_count, pass_capacity;
    struct torch_message *messages;
    uint64_t message_count, message_capacity;
    uint64_t *begin; /* first pass of each device, and the end; by device_count + 1 */
    uint32_t device_count;

    uint32_t stage_count, microbatch_count;
    /* By microbatch · stage_count + stage: 1 + index of the pass, 0: none. B is in both of the latter. */
    uint32_t *forward, *input, *weight;
};

/* Fills source to device_count from the text. Whatever it returns, sp_torch_order_finish frees. */
enum sp_status sp_torch_order_parse(struct torch_order *order, const char *source, const char *text,
                                    size_t size, struct sp_error *error) SP_MUST_CHECK;
/* Fills the rest: counts and tables; every unit has its forward, and its backward on the same device. */
enum sp_status sp_torch_order_index(struct torch_order *order, struct sp_error *error) SP_MUST_CHECK;
/* Messages: nothing of them enters the plan, but a wrong one shows a broken file. */
enum sp_status sp_torch_messages_check(const struct torch_order *order, struct sp_error *error) SP_MUST_CHECK;
void sp_torch_order_finish(struct torch_order *order);

uint64_t sp_torch_unit(const struct torch_order *order, uint32_t stage, uint32_t microbatch);
/* Device of a pass, and of a unit's forward. */
uint32_t sp_torch_device(const struct torch_order *order, uint64_t index);
uint32_t sp_torch_forward_device(const struct torch_order *order, uint32_t stage, uint32_t microbatch);

/* Sets the error with its place and returns SP_INPUT. */
enum sp_status sp_torch_fail(const struct torch_order *order, struct torch_place place,
                             struct sp_error *error, const char *format, ...) SP_PRINTF(4, 5);
#define TORCH_WHOLE_FILE ((struct torch_place){0, 0})

#endif
