/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DualPipe: two pipelines in opposite directions over the same p devices, with half of the microbatches each.
 * Device d holds stage d of the one and stage p − 1 − d of the other; a forward of one direction overlaps a
 * backward of the other.
 */
#include "dual.h"
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t p = shape->devices, m = shape->microbatches;

    if (p % 2 != 0)
        return sp_error_set(error, SP_INPUT, "dualpipe: %u devices; expected an even number", p);
    if (m % 2 != 0 || m < 2 * p)
        return sp_error_set(error, SP_INPUT,
                            "dualpipe: %u microbatches on %u devices; expected an even number, at least %u",
                            m, p, 2 * p);
    return SP_OK;
}

static uint32_t opposite(const struct sp_shape *shape, uint32_t stage)
{
    return shape->devices - 1 - stage;
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    uint32_t p = shape->devices, half = shape->microbatches / 2;

    (void)error;
    for (uint32_t d = 0; d < p; d++) {
        bool near = d < p / 2; /* to the entrance of the first direction */
        uint32_t outer = near ? d : p - 1 - d;
        struct sp_dual dual = {
            .device = d,
            .stage = {outer, p - 1 - outer},
            .first_microbatch = {near ? 0 : half, near ? half : 0},
            .microbatches = half,
            .place = outer,
            .depth = p / 2,
        };
        sp_dual_push(&dual, builder);
    }
    return SP_OK;
}

const struct sp_schedule sp_schedule_dualpipe = {
    .name = "dualpipe",
    .description = "two opposite pipelines, forwards of one over backwards of the other",
    .source = "DeepSeek-V3, arXiv 2412.19437, and its published code",
    .traits = SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_TWIN_WEIGHTS | SP_SCHEDULE_JOINS,
    .check = check,
    .twin = opposite,
    .order = order,
};
