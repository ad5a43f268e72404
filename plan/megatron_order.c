/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Megatron's schedules: each rank runs `ahead` forwards, then one forward and one backward in turn, then the
 * backwards that are left. With v chunks the k-th forward follows a table: groups of g microbatches, each
 * group through one chunk after the other; the backwards follow the same table with the chunks reversed.
 */
#include "megatron.h"

struct table {
    uint32_t devices, chunks, microbatches, group;
};

static struct sp_pass unit_at(const struct table *table, uint32_t rank, enum sp_pass_kind kind, uint64_t k)
{
    uint64_t in_group = k % ((uint64_t)table->group * table->chunks);
    uint32_t first = (uint32_t)(k / ((uint64_t)table->group * table->chunks)) * table->group;
    uint32_t left = table->microbatches - first;
    uint32_t size = left < table->group ? left : table->group;
    uint32_t chunk = (uint32_t)(in_group / size);

    if (kind == SP_PASS_B)
        chunk = table->chunks - 1 - chunk;
    return (struct sp_pass){.kind = (uint8_t)kind,
                            .stage = (uint16_t)(chunk * table->devices + rank),
                            .microbatch = first + (uint32_t)(in_group % size)};
}

static uint64_t forwards_ahead(const struct table *table, uint32_t rank)
{
    uint64_t later = table->devices - 1 - rank, units = (uint64_t)table->chunks * table->microbatches;
    uint64_t ahead = table->chunks == 1 ? later : 2 * later + (uint64_t)(table->chunks - 1) * table->group;

    return ahead < units ? ahead : units;
}

static bool is_unit(const struct sp_pass *pass, struct sp_pass unit)
{
    return pass->kind == unit.kind && pass->stage == unit.stage && pass->microbatch == unit.microbatch &&
           !pass->joined;
}

static bool rank_follows(const struct sp_plan *plan, const struct table *table, uint32_t rank)
{
    const struct sp_pass *pass = plan->order.passes + plan->order.begin[rank];
    uint64_t units = (uint64_t)table->chunks * table->microbatches, ahead = forwards_ahead(table, rank);

    if (plan->order.begin[rank + 1] - plan->order.begin[rank] != 2 * units)
        return false;
    for (uint64_t k = 0; k < units + ahead; k++) {
        if (k < units && !is_unit(pass++, unit_at(table, rank, SP_PASS_F, k)))
            return false;
        if (k >= ahead && !is_unit(pass++, unit_at(table, rank, SP_PASS_B, k - ahead)))
            return false;
    }
    return true;
}

/* The first group is what the first device runs of its first stage before anything else. */
static uint32_t first_group(const struct sp_plan *plan)
{
    const struct sp_order *order = &plan->order;
    uint64_t count = 0;

    while (order->begin[0] + count < order->begin[1] && order->passes[count].kind == SP_PASS_F &&
           order->passes[count].stage == 0)
        count++;
    return (uint32_t)count;
}

bool sp_megatron_order_is(const struct sp_plan *plan, uint32_t *ret_group)
{
    struct table table = {.devices = plan->order.device_count,
                          .chunks = plan->stage_count / plan->order.device_count,
                          .microbatches = (uint32_t)plan->workload.microbatches};

    table.group = table.chunks == 1 ? table.microbatches : first_group(plan);
    /* A group that does not fill the pipeline waits for itself, and Megatron refuses it. */
    if (plan->slice_count > 1 || table.group == 0 || (table.chunks > 1 && table.group < table.devices))
        return false;
    for (uint32_t rank = 0; rank < table.devices; rank++)
        if (!rank_follows(plan, &table, rank))
            return false;
    *ret_group = table.group;
    return true;
}
