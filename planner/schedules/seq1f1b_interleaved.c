/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interleaved Seq1F1B: the slices of all microbatches, one after the other, take the place of microbatches in
 * interleaved 1F1B with groups of p. Each chunk runs back the slices of a microbatch from the last one.
 */
#include "schedules.h"

static enum sp_status check(const struct sp_shape *shape, struct sp_error *error)
{
    uint32_t p = shape->devices, n = shape->slices, v = shape->chunks;

    if (v > 1 && p % n != 0)
        return sp_error_set(
            error, SP_INPUT,
            "seq1f1b-interleaved: %u slices; expected a divisor of %u, the number of devices, so "
            "that a group of %u slices holds whole microbatches",
            n, p, p);
    if (v > 1 && (uint64_t)shape->microbatches * n % p != 0)
        return sp_error_set(
            error, SP_INPUT,
            "seq1f1b-interleaved: %u microbatches of %u slices; expected a multiple of %u slices, "
            "the number of devices",
            shape->microbatches, n, p);
    return SP_OK;
}

/* Unit k: chunk, and which slice of all microbatches' slices in a row. */
static void push(const struct sp_shape *shape, struct sp_order_builder *builder, uint32_t r,
                 enum sp_pass_kind kind, uint64_t k)
{
    uint32_t p = shape->devices, v = shape->chunks, n = shape->slices;
    uint32_t chunk = (uint32_t)(k / p % v);
    uint64_t place = k / ((uint64_t)p * v) * p + k % p;
    uint32_t slice = (uint32_t)(place % n);

    if (kind == SP_PASS_B) {
        chunk = v - 1 - chunk;
        slice = n - 1 - slice;
    }
    sp_order_push(builder, r, kind, chunk * p + r, (uint32_t)(place / n), slice);
}

static void order_rank(const struct sp_shape *shape, uint32_t r, struct sp_order_builder *builder)
{
    uint64_t units = (uint64_t)shape->microbatches * shape->slices * shape->chunks;
    uint64_t ahead =
        (uint64_t)(shape->chunks - 1) * shape->devices + 2 * (shape->devices - 1 - r) + shape->slices - 1;

    if (ahead > units)
        ahead = units;
    for (uint64_t k = 0; k < units + ahead; k++) {
        if (k < units)
            push(shape, builder, r, SP_PASS_F, k);
        if (k >= ahead)
            push(shape, builder, r, SP_PASS_B, k - ahead);
    }
}

static enum sp_status order(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error)
{
    (void)error;
    for (uint32_t r = 0; r < shape->devices; r++)
        order_rank(shape, r, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_seq1f1b_interleaved = {
    .name = "seq1f1b-interleaved",
    .description = "interleaved 1F1B over slices",
    .source = "Seq1F1B, arXiv 2406.03488, and its published code",
    .traits = SP_SCHEDULE_SLICES | SP_SCHEDULE_CHUNKS,
    .default_chunks = 2,
    .check = check,
    .order = order,
};
