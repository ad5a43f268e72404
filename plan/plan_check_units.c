/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passes of each unit (stage, microbatch, slice) against each other: all that are needed are there, on
 * one device, in the order that the unit's own data demands. Slices go up in the forward, which reads the
 * keys and values of those before, and down in the backward, which adds to their gradient.
 */
#include "plan_check.h"

/* A unit's passes as indices in the order; SP_NO_PASS where it has none. */
struct unit {
    uint32_t stage, microbatch, slice;
    uint64_t forward, backward, weight, recompute, offload, reload;
};

static uint64_t find(const struct plan_checker *checker, const struct unit *unit, enum sp_pass_kind kind)
{
    return sp_pass_table_find(checker->table, kind, unit->stage, unit->microbatch, unit->slice);
}

static struct pass_name name_of(const struct plan_checker *checker, const struct unit *unit,
                                enum sp_pass_kind kind)
{
    struct pass_name name;
    struct sp_pass pass = {.kind = (uint8_t)kind,
                           .stage = (uint16_t)unit->stage,
                           .microbatch = unit->microbatch,
                           .slice = (uint16_t)unit->slice};
    sp_pass_text(&pass, checker->plan->slice_count, name.text, sizeof name.text);
    return name;
}

/* What waits for the missing pass's output: the same slice in the stage next to it. */
static uint64_t receiver_of(const struct plan_checker *checker, const struct unit *unit,
                            enum sp_pass_kind kind)
{
    if (kind == SP_PASS_W)
        return SP_NO_PASS;
    bool forward = kind == SP_PASS_F;
    uint32_t stage = forward ? sp_plan_path_next(checker, unit->microbatch, unit->stage)
                             : sp_plan_path_previous(checker, unit->microbatch, unit->stage);
    if (stage >= PLAN_PATH_END)
        return SP_NO_PASS;
    if (forward)
        return sp_pass_table_find(checker->table, SP_PASS_F, stage, unit->microbatch, unit->slice);
    return sp_pass_table_find_backward(checker->table, stage, unit->microbatch, unit->slice);
}

static enum sp_status refuse_missing(struct plan_checker *checker, const struct unit *unit,
                                     enum sp_pass_kind kind)
{
    uint32_t device = unit->forward == SP_NO_PASS ? checker->plan->stages[unit->stage].device
                                                  : checker->device_of[unit->forward];
    struct sp_plan_place place = sp_plan_place_at("$.order[%u]", device);
    struct pass_name missing = name_of(checker, unit, kind);
    uint64_t receiver = receiver_of(checker, unit, kind);
    if (receiver == SP_NO_PASS)
        return sp_plan_refuse(checker, place, "pass %s is missing on device %u", missing.text, device);
    return sp_plan_refuse(
        checker, place, "pass %s is missing on device %u; its message to %s on device %u has no sender",
        missing.text, device, sp_plan_pass_name(checker, receiver).text, checker->device_of[receiver]);
}

static enum sp_status refuse_behind(struct plan_checker *checker, uint64_t later, uint64_t earlier)
{
    struct pass_name name = sp_plan_pass_name(checker, later), before = sp_plan_pass_name(checker, earlier);
    struct sp_plan_place place = sp_plan_place_of_pass(checker, later);
    if (checker->device_of[later] == checker->device_of[earlier])
        return sp_plan_refuse(checker, place, "pass %s comes before %s, which it builds on", name.text,
                              before.text);
    return sp_plan_refuse(checker, place, "pass %s is on device %u, %s, which it builds on, on device %u",
                          name.text, checker->device_of[later], before.text, checker->device_of[earlier]);
}

/* `later` runs on the device of `earlier` and behind it. Either may be missing. */
static enum sp_status check_behind(struct plan_checker *checker, uint64_t later, uint64_t earlier)
{
    if (later == SP_NO_PASS || earlier == SP_NO_PASS)
        return SP_OK;
    bool good = later > earlier && checker->device_of[later] == checker->device_of[earlier];
    return good ? SP_OK : refuse_behind(checker, later, earlier);
}

static enum sp_status check_presence(struct plan_checker *checker, struct unit *unit)
{
    enum sp_train train = checker->plan->stages[unit->stage].train;
    unit->forward = find(checker, unit, SP_PASS_F);
    unit->weight = find(checker, unit, SP_PASS_W);
    uint64_t whole = find(checker, unit, SP_PASS_B), input = find(checker, unit, SP_PASS_I);
    unit->backward = whole != SP_NO_PASS ? whole : input;
    if (unit->forward == SP_NO_PASS)
        return refuse_missing(checker, unit, SP_PASS_F);
    if (train == SP_TRAIN_NONE)
        return SP_OK;
    uint64_t split = input != SP_NO_PASS ? input : unit->weight;
    if (whole != SP_NO_PASS && split != SP_NO_PASS)
        return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, split),
                              "pass %s beside %s, which includes it", sp_plan_pass_name(checker, split).text,
                              sp_plan_pass_name(checker, whole).text);
    if (unit->backward == SP_NO_PASS) {
        bool is_split = unit->weight != SP_NO_PASS || train == SP_TRAIN_INPUT;
        return refuse_missing(checker, unit, is_split ? SP_PASS_I : SP_PASS_B);
    }
    if (input != SP_NO_PASS && unit->weight == SP_NO_PASS && train == SP_TRAIN_FULL)
        return refuse_missing(checker, unit, SP_PASS_W);
    return SP_OK;
}

static enum sp_status check_copies(struct plan_checker *checker, const struct unit *unit)
{
    uint64_t alone = unit->offload == SP_NO_PASS ? unit->reload : unit->offload;
    if ((unit->offload == SP_NO_PASS) != (unit->reload == SP_NO_PASS))
        return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, alone), "pass %s without its %s",
                              sp_plan_pass_name(checker, alone).text,
                              alone == unit->offload ? "reload" : "offload");
    enum sp_status status = check_behind(checker, unit->offload, unit->forward);
    if (!status)
        status = check_behind(checker, unit->reload, unit->offload);
    if (!status)
        status = check_behind(checker, unit->recompute, unit->reload);
    if (!status)
        status = check_behind(checker, unit->backward, unit->reload);
    return status;
}

static enum sp_status check_unit(struct plan_checker *checker, struct unit *unit, const struct unit *before)
{
    enum sp_status status = check_presence(checker, unit);
    if (status)
        return status;
    unit->recompute = find(checker, unit, SP_PASS_R);
    unit->offload = find(checker, unit, SP_PASS_O);
    unit->reload = find(checker, unit, SP_PASS_L);
    status = check_behind(checker, unit->backward, unit->forward);
    if (!status)
        status = check_behind(checker, unit->weight, unit->backward);
    if (!status)
        status = check_behind(checker, unit->recompute, unit->forward);
    if (!status)
        status = check_behind(checker, unit->backward, unit->recompute);
    if (!status)
        status = check_copies(checker, unit);
    if (!status && before)
        status = check_behind(checker, unit->forward, before->forward);
    if (!status && before)
        status = check_behind(checker, before->backward, unit->backward);
    return status;
}

static enum sp_status check_slices(struct plan_checker *checker, uint32_t stage, uint32_t microbatch)
{
    struct unit units[2] = {{.stage = stage, .microbatch = microbatch}};
    for (uint32_t slice = 0; slice < checker->plan->slice_count; slice++) {
        struct unit *unit = &units[slice % 2];
        *unit = (struct unit){.stage = stage, .microbatch = microbatch, .slice = slice};
        enum sp_status status = check_unit(checker, unit, slice ? &units[(slice + 1) % 2] : NULL);
        if (status)
            return status;
    }
    return SP_OK;
}

/* Every device runs S once for each slice, and behind it T where the gradient is needed. */
static enum sp_status check_output(struct plan_checker *checker, uint32_t device, uint32_t microbatch,
                                   uint32_t slice, uint32_t last_stage)
{
    uint64_t forward = sp_pass_table_find_output(checker->table, SP_PASS_S, device, microbatch, slice);
    uint64_t backward = sp_pass_table_find_output(checker->table, SP_PASS_T, device, microbatch, slice);
    bool trains = checker->plan->stages[last_stage].train != SP_TRAIN_NONE;
    if (forward == SP_NO_PASS || (trains && backward == SP_NO_PASS)) {
        struct unit unit = {.stage = last_stage, .microbatch = microbatch, .slice = slice};
        enum sp_pass_kind kind = forward == SP_NO_PASS ? SP_PASS_S : SP_PASS_T;
        return sp_plan_refuse(checker, sp_plan_place_at("$.order[%u]", device),
                              "pass %s is missing on device %u", name_of(checker, &unit, kind).text, device);
    }
    return check_behind(checker, backward, forward);
}

static enum sp_status check_outputs(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    if (!sp_vocabulary_is_spread(plan->vocabulary))
        return SP_OK;
    for (uint32_t device = 0; device < plan->order.device_count; device++) {
        for (uint32_t microbatch = 0; microbatch < plan->workload.microbatches; microbatch++) {
            for (uint32_t slice = 0; slice < plan->slice_count; slice++) {
                enum sp_status status =
                    check_output(checker, device, microbatch, slice, plan->stage_count - 1);
                if (status)
                    return status;
            }
        }
    }
    return SP_OK;
}

enum sp_status sp_plan_check_units(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    for (uint32_t stage = 0; stage < plan->stage_count; stage++) {
        for (uint32_t microbatch = 0; microbatch < plan->workload.microbatches; microbatch++) {
            if (sp_plan_path_next(checker, microbatch, stage) == PLAN_OFF_PATH)
                continue;
            enum sp_status status = check_slices(checker, stage, microbatch);
            if (status)
                return status;
        }
    }
    return check_outputs(checker);
}
