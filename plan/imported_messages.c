/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "imported_order.h"

static enum sp_status message_error(const struct imported_order *order, const struct imported_message *cell,
                                    const char *what, struct sp_error *error)
{
    return sp_imported_fail(order, cell->place, error, "%u%s%u %s", cell->stage,
                            sp_imported_message_names[cell->kind], cell->microbatch, what);
}

/* Sends come after their pass, receives before it, on its device. */
static enum sp_status check_message(const struct imported_order *order, const struct imported_message *cell,
                                    struct sp_error *error)
{
    bool forward = cell->kind == IMPORTED_SEND_F || cell->kind == IMPORTED_RECV_F;
    bool send = cell->kind == IMPORTED_SEND_F || cell->kind == IMPORTED_SEND_B;
    bool known = cell->stage < order->stage_count && cell->microbatch < order->microbatch_count;
    uint32_t pass = !known    ? 0
                    : forward ? order->forward[sp_imported_unit(order, cell->stage, cell->microbatch)]
                              : order->input[sp_imported_unit(order, cell->stage, cell->microbatch)];

    if (pass == 0 || sp_imported_device(order, pass - 1) != cell->device)
        return message_error(order, cell, "has no pass on its device", error);
    if (send && pass - 1 >= cell->next)
        return message_error(order, cell, "stands before the pass whose result it sends", error);
    if (!send && pass - 1 < cell->next)
        return message_error(order, cell, "stands after the pass that needs it", error);
    return SP_OK;
}

/* The stage at the other end: of a send of s forwards s + 1, and so on. -1: there is none. */
static int64_t other_stage(const struct imported_order *order, int message, uint32_t stage)
{
    int64_t other =
        message == IMPORTED_SEND_F || message == IMPORTED_RECV_B ? (int64_t)stage + 1 : (int64_t)stage - 1;

    return other < order->stage_count ? other : -1;
}

/* seen: bit of each message kind by unit. */
static enum sp_status check_ends(const struct imported_order *order, const uint8_t *seen,
                                 struct sp_error *error)
{
    static const int other_end[] = {IMPORTED_RECV_F, IMPORTED_SEND_F, IMPORTED_RECV_B, IMPORTED_SEND_B};
    char what[96];

    for (uint64_t i = 0; i < order->message_count; i++) {
        const struct imported_message *cell = &order->messages[i];
        int other = other_end[cell->kind];
        int64_t stage = other_stage(order, cell->kind, cell->stage);
        if (stage < 0)
            return message_error(order, cell, "has no stage at its other end", error);
        if (seen[sp_imported_unit(order, (uint32_t)stage, cell->microbatch)] & 1 << other)
            continue;
        snprintf(what, sizeof(what), "has no %u%s%u at its other end", (uint32_t)stage,
                 sp_imported_message_names[other], cell->microbatch);
        return message_error(order, cell, what, error);
    }
    return SP_OK;
}

/* Every pass whose input comes from another device has its receive. */
static enum sp_status check_receives(const struct imported_order *order, const uint8_t *seen,
                                     struct sp_error *error)
{
    for (uint64_t i = 0; i < order->pass_count; i++) {
        const struct sp_pass *pass = &order->passes[i];
        int message = pass->kind == SP_PASS_F ? IMPORTED_RECV_F : IMPORTED_RECV_B;
        int64_t from = other_stage(order, message, pass->stage);
        char text[32];
        if (pass->kind == SP_PASS_W || from < 0 ||
            seen[sp_imported_unit(order, pass->stage, pass->microbatch)] & 1 << message ||
            sp_imported_forward_device(order, (uint32_t)from, pass->microbatch) ==
                sp_imported_device(order, i))
            continue;
        return sp_imported_fail(order, order->places[i], error,
                                "%s has no %u%s%u before it, which other passes of the file have",
                                sp_pass_text(pass, 1, text, sizeof(text)), pass->stage,
                                sp_imported_message_names[message], pass->microbatch);
    }
    return SP_OK;
}

enum sp_status sp_imported_messages_check(const struct imported_order *order, struct sp_error *error)
{
    enum sp_status status = SP_OK;
    uint8_t *seen;

    if (order->message_count == 0)
        return SP_OK;
    seen = sp_alloc((size_t)order->stage_count * order->microbatch_count, sizeof(*seen));
    if (!seen)
        return sp_error_set(error, SP_MEMORY, "no memory for the order");
    for (uint64_t i = 0; i < order->message_count && !status; i++) {
        const struct imported_message *cell = &order->messages[i];
        uint8_t *bits;
        if ((status = check_message(order, cell, error)))
            break;
        bits = &seen[sp_imported_unit(order, cell->stage, cell->microbatch)];
        if (*bits & 1 << cell->kind)
            status = message_error(order, cell, "stands there twice", error);
        *bits |= (uint8_t)(1 << cell->kind);
    }
    if (!status)
        status = check_ends(order, seen, error);
    if (!status)
        status = check_receives(order, seen, error);
    sp_free(seen);
    return status;
}
