/* SPDX-License-Identifier: Apache-2.0 */
/* An order read from another framework's file: passes by device, what they mean, and the plan made of them.
 */
#ifndef SLIMPIPE_PLAN_IMPORTED_ORDER_H
#define SLIMPIPE_PLAN_IMPORTED_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/plan.h"
#include "slimpipe/status.h"

/* Messages that a file may hold beside its passes. */
enum imported_message_kind {
    IMPORTED_SEND_F,
    IMPORTED_RECV_F,
    IMPORTED_SEND_B,
    IMPORTED_RECV_B,
    IMPORTED_MESSAGES
};
extern const char *const sp_imported_message_names[IMPORTED_MESSAGES];

/* 1-based; 0, 0: the whole file. */
struct imported_place {
    uint32_t line, column;
};

struct imported_message {
    uint8_t kind; /* enum imported_message_kind */
    uint32_t stage, microbatch, device;
    uint64_t next; /* index of the pass that comes after it */
    struct imported_place place;
};

struct imported_order {
    const char *source;
    struct sp_pass *passes;
    struct imported_place *places; /* of each pass */
    uint64_t pass_count, pass_capacity;
    struct imported_message *messages;
    uint64_t message_count, message_capacity;
    uint64_t *begin; /* first pass of each device, and the end; by device_count + 1 */
    uint32_t device_count;

    uint32_t stage_count, microbatch_count;
    /* By microbatch · stage_count + stage: 1 + index of the pass, 0: none. B is in both of the latter. */
    uint32_t *forward, *input, *weight;
};

/* PyTorch's pipelining CSV: fills source to device_count from the text. Whatever it returns,
 * sp_imported_order_finish frees. */
enum sp_status sp_torch_parse(struct imported_order *order, const char *source, const char *text, size_t size,
                              struct sp_error *error) SP_MUST_CHECK;
/* Fills the rest: counts and tables; every unit has its forward, and its backward on the same device. */
enum sp_status sp_imported_order_index(struct imported_order *order, struct sp_error *error) SP_MUST_CHECK;
/* Messages: nothing of them enters the plan, but a wrong one shows a broken file. */
enum sp_status sp_imported_messages_check(const struct imported_order *order,
                                          struct sp_error *error) SP_MUST_CHECK;
/* The plan of an indexed order, as sp_import_torch describes it. */
enum sp_status sp_imported_order_plan(const struct imported_order *order, const struct sp_pass_costs *costs,
                                      uint32_t cost_stages, struct sp_plan **ret_plan,
                                      struct sp_error *error) SP_MUST_CHECK;
void sp_imported_order_finish(struct imported_order *order);

uint64_t sp_imported_unit(const struct imported_order *order, uint32_t stage, uint32_t microbatch);
/* Device of a pass, and of a unit's forward. */
uint32_t sp_imported_device(const struct imported_order *order, uint64_t index);
uint32_t sp_imported_forward_device(const struct imported_order *order, uint32_t stage, uint32_t microbatch);

/* Sets the error with its place and returns SP_INPUT. */
enum sp_status sp_imported_fail(const struct imported_order *order, struct imported_place place,
                                struct sp_error *error, const char *format, ...) SP_PRINTF(4, 5);
#define IMPORTED_WHOLE_FILE ((struct imported_place){0, 0})

#endif
