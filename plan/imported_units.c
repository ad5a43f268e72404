/* SPDX-License-Identifier: Apache-2.0 */
#include "imported_order.h"

uint64_t sp_imported_unit(const struct imported_order *order, uint32_t stage, uint32_t microbatch)
{
    return (uint64_t)microbatch * order->stage_count + stage;
}

static enum sp_status count_units(struct imported_order *order, struct sp_error *error)
{
    for (uint64_t i = 0; i < order->pass_count; i++) {
        const struct sp_pass *pass = &order->passes[i];
        if (pass->stage >= order->stage_count)
            order->stage_count = pass->stage + 1u;
        if (pass->microbatch >= order->microbatch_count)
            order->microbatch_count = pass->microbatch + 1;
    }
    /* More units than passes cannot all have a forward; and the tables stay within the file's size. */
    if ((uint64_t)order->stage_count * order->microbatch_count > order->pass_count)
        return sp_imported_fail(order, IMPORTED_WHOLE_FILE, error,
                                "%llu passes are too few for its %u stages and %u microbatches",
                                (unsigned long long)order->pass_count, order->stage_count,
                                order->microbatch_count);
    return SP_OK;
}

static enum sp_status enter(struct imported_order *order, uint32_t *table, uint64_t index,
                            struct sp_error *error)
{
    const struct sp_pass *pass = &order->passes[index];
    uint32_t *entry = &table[sp_imported_unit(order, pass->stage, pass->microbatch)];
    struct imported_place first;
    char text[32];

    if (*entry == 0) {
        *entry = (uint32_t)index + 1;
        return SP_OK;
    }
    first = order->places[*entry - 1];
    return sp_imported_fail(order, order->places[index], error, "%s repeats the pass of line %u, column %u",
                            sp_pass_text(pass, 1, text, sizeof(text)), first.line, first.column);
}

static enum sp_status fill_tables(struct imported_order *order, struct sp_error *error)
{
    uint64_t units = (uint64_t)order->stage_count * order->microbatch_count;
    enum sp_status status = SP_OK;

    order->forward = sp_alloc(units, sizeof(*order->forward));
    order->input = sp_alloc(units, sizeof(*order->input));
    order->weight = sp_alloc(units, sizeof(*order->weight));
    if (!order->forward || !order->input || !order->weight)
        return sp_error_set(error, SP_MEMORY, "no memory for the order");
    for (uint64_t i = 0; i < order->pass_count && !status; i++) {
        uint8_t kind = order->passes[i].kind;
        if (kind == SP_PASS_F)
            status = enter(order, order->forward, i, error);
        if (kind == SP_PASS_I || kind == SP_PASS_B)
            status = enter(order, order->input, i, error);
        if (!status && (kind == SP_PASS_W || kind == SP_PASS_B))
            status = enter(order, order->weight, i, error);
    }
    return status;
}

uint32_t sp_imported_device(const struct imported_order *order, uint64_t index)
{
    uint32_t low = 0, high = order->device_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (order->begin[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint32_t sp_imported_forward_device(const struct imported_order *order, uint32_t stage, uint32_t microbatch)
{
    return sp_imported_device(order, order->forward[sp_imported_unit(order, stage, microbatch)] - 1);
}

/* A microbatch's backward runs where its forward did: what it needs is there. */
static enum sp_status check_devices(const struct imported_order *order, struct sp_error *error)
{
    for (uint32_t d = 0; d < order->device_count; d++)
        for (uint64_t i = order->begin[d]; i < order->begin[d + 1]; i++) {
            const struct sp_pass *pass = &order->passes[i];
            uint32_t device = sp_imported_forward_device(order, pass->stage, pass->microbatch);
            char text[32];
            if (device == d)
                continue;
            return sp_imported_fail(order, order->places[i], error,
                                    "%s runs on device %u, but its forward on device %u",
                                    sp_pass_text(pass, 1, text, sizeof(text)), d, device);
        }
    return SP_OK;
}

static enum sp_status check_forwards(const struct imported_order *order, struct sp_error *error)
{
    for (uint32_t m = 0; m < order->microbatch_count; m++)
        for (uint32_t s = 0; s < order->stage_count; s++)
            if (order->forward[sp_imported_unit(order, s, m)] == 0)
                return sp_imported_fail(
                    order, IMPORTED_WHOLE_FILE, error,
                    "no pass %uF%u: expected each of %u stages to run each of %u microbatches", s, m,
                    order->stage_count, order->microbatch_count);
    return SP_OK;
}

enum sp_status sp_imported_order_index(struct imported_order *order, struct sp_error *error)
{
    enum sp_status status;

    if ((status = count_units(order, error)) || (status = fill_tables(order, error)) ||
        (status = check_forwards(order, error)))
        return status;
    return check_devices(order, error);
}

void sp_imported_order_finish(struct imported_order *order)
{
    sp_free(order->passes);
    sp_free(order->places);
    sp_free(order->messages);
    sp_free(order->begin);
    sp_free(order->forward);
    sp_free(order->input);
    sp_free(order->weight);
}
