/* SPDX-License-Identifier: Apache-2.0 */
/* What other frameworks' formats can say of a plan. */
#include <stdio.h>
#include <string.h>

#include "megatron.h"
#include "slimpipe/interchange.h"

const char *const sp_export_names[] = {"torch", "torch-comms", "megatron", "primus", "chrome", NULL};

const char *const sp_loss_names[] = {
#define X(name, text, becomes) text,
    SP_LOSS_LIST(X)
#undef X
};

const char *const sp_loss_texts[] = {
#define X(name, text, becomes) becomes,
    SP_LOSS_LIST(X)
#undef X
};

static unsigned bit(enum sp_loss loss)
{
    return 1u << loss;
}

static unsigned losses_of_passes(const struct sp_plan *plan)
{
    static const struct {
        enum sp_pass_kind kind;
        enum sp_loss loss;
    } kinds[] = {{SP_PASS_R, SP_LOSS_RECOMPUTE},
                 {SP_PASS_O, SP_LOSS_OFFLOAD},
                 {SP_PASS_L, SP_LOSS_OFFLOAD},
                 {SP_PASS_S, SP_LOSS_OUTPUT},
                 {SP_PASS_T, SP_LOSS_OUTPUT}};
    bool seen[SP_PASS_KINDS] = {false};
    unsigned losses = 0;

    for (uint64_t i = 0; i < plan->order.begin[plan->order.device_count]; i++)
        seen[plan->order.passes[i].kind] = true;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        if (seen[kinds[k].kind])
            losses |= bit(kinds[k].loss);
    return losses;
}

/* All of the plan that an order of F, I, W and B of whole microbatches has no words for. */
static unsigned losses_of_order(const struct sp_plan *plan)
{
    unsigned losses = losses_of_passes(plan);

    if (plan->slice_count > 1)
        losses |= bit(SP_LOSS_SLICES);
    if (plan->exchange_count > 0)
        losses |= bit(SP_LOSS_EXCHANGE);
    for (uint32_t s = 0; s < plan->stage_count; s++)
        if (plan->stages[s].offload_permille > 0)
            losses |= bit(SP_LOSS_OFFLOAD);
    return losses;
}

static unsigned losses_in(const struct sp_plan *plan, enum sp_export format)
{
    unsigned losses = losses_of_order(plan);
    uint32_t group;

    if (format == SP_EXPORT_CHROME)
        return 0;
    if (format != SP_EXPORT_MEGATRON)
        return losses;
    /* Nothing of the order is written, so slices are lost with it and not turned into microbatches. */
    if (!sp_megatron_order_is(plan, &group))
        losses |= bit(SP_LOSS_ORDER);
    return losses & ~bit(SP_LOSS_SLICES);
}

static uint32_t device_in_turn(const struct sp_plan *plan, uint32_t stage)
{
    return stage % plan->order.device_count;
}

static uint32_t device_to_and_fro(const struct sp_plan *plan, uint32_t stage)
{
    uint32_t p = plan->order.device_count;

    return stage / p % 2 ? p - 1 - stage % p : stage % p;
}

/* The first stage that is not where a format expects it, or stage_count. */
static uint32_t first_elsewhere(const struct sp_plan *plan,
                                uint32_t (*device)(const struct sp_plan *plan, uint32_t stage))
{
    uint32_t s = 0;

    if (plan->stage_count % plan->order.device_count != 0)
        return plan->stage_count - 1;
    while (s < plan->stage_count && plan->stages[s].device == device(plan, s))
        s++;
    return s;
}

static enum sp_status check_placement(const struct sp_plan *plan, enum sp_export format,
                                      struct sp_error *error)
{
    const char *name = sp_export_names[format];
    uint32_t s = first_elsewhere(plan, device_in_turn);

    for (uint32_t i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].replica_count > 0)
            return sp_error_set(error, SP_UNSUPPORTED,
                                "%s has each stage on one device; stage %u of this plan is on %u", name, i,
                                plan->stages[i].replica_count + 1);
    if (format == SP_EXPORT_PRIMUS && first_elsewhere(plan, device_to_and_fro) == plan->stage_count)
        return SP_OK;
    if (s == plan->stage_count)
        return SP_OK;
    return sp_error_set(error, SP_UNSUPPORTED, "%s places stages on the devices in turn%s; stage %u is on %u",
                        name, format == SP_EXPORT_PRIMUS ? " or to and fro" : "", s, plan->stages[s].device);
}

/* What no loss can mend. */
static enum sp_status check_possible(const struct sp_plan *plan, enum sp_export format,
                                     struct sp_error *error)
{
    if (format == SP_EXPORT_CHROME)
        return SP_OK;
    if (plan->path_begin)
        return sp_error_set(error, SP_UNSUPPORTED,
                            "%s has every microbatch run all stages in order; here they take their own paths",
                            sp_export_names[format]);
    if (format == SP_EXPORT_MEGATRON && !plan->has_model)
        return sp_error_set(error, SP_UNSUPPORTED,
                            "megatron needs the layers of each stage; a plan of explicit costs has none");
    if (format == SP_EXPORT_MEGATRON || format == SP_EXPORT_PRIMUS)
        return check_placement(plan, format, error);
    return SP_OK;
}

static enum sp_status refuse(enum sp_export format, unsigned losses, struct sp_error *error)
{
    char list[256] = "";

    for (int i = 0; i < SP_LOSSES; i++) {
        if (!(losses & 1u << i))
            continue;
        strncat(list, *list ? ", " : "", sizeof(list) - strlen(list) - 1);
        strncat(list, sp_loss_names[i], sizeof(list) - strlen(list) - 1);
    }
    return sp_error_set(error, SP_UNSUPPORTED, "%s cannot say %s; --lossy leaves this out",
                        sp_export_names[format], list);
}

enum sp_status sp_export_check(const struct sp_plan *plan, enum sp_export format, bool lossy,
                               unsigned *ret_losses, struct sp_error *error)
{
    enum sp_status status = check_possible(plan, format, error);
    unsigned losses;

    if (status)
        return status;
    losses = losses_in(plan, format);
    if (losses && !lossy)
        return refuse(format, losses, error);
    *ret_losses = losses;
    return SP_OK;
}
