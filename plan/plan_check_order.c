/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order, pass by pass: each is one that the plan asks for, stands on a device that may run it, and stands
 * there once. Fills the table by which the later checks find passes.
 */
#include <assert.h>
#include <inttypes.h>

#include "pass_table.h"
#include "plan_check.h"

enum { TABLE_SLACK = 4096, TABLE_FACTOR = 64 };

static bool holds_stage(const struct sp_stage *stage, uint32_t device)
{
    if (stage->device == device)
        return true;
    for (uint32_t i = 0; i < stage->replica_count; i++) {
        if (stage->replicas[i] == device)
            return true;
    }
    return false;
}

/* What is out of range in the pass; NULL when nothing is. */
static const char *out_of_range(const struct sp_plan *plan, const struct sp_pass *pass, int64_t *ret_last)
{
    if (pass->stage >= plan->stage_count) {
        *ret_last = (int64_t)plan->stage_count - 1;
        return "stage";
    }
    if (pass->microbatch >= plan->workload.microbatches) {
        *ret_last = plan->workload.microbatches - 1;
        return "microbatch";
    }
    *ret_last = (int64_t)plan->slice_count - 1;
    return pass->slice >= plan->slice_count ? "slice" : NULL;
}

static enum sp_status check_numbers(struct plan_checker *checker, uint64_t index)
{
    const struct sp_pass *pass = &checker->plan->order.passes[index];
    if (pass->kind >= SP_PASS_KINDS || pass->joined > 1)
        return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, index), "unknown kind of pass %u",
                              pass->kind);
    int64_t last;
    const char *wrong = out_of_range(checker->plan, pass, &last);
    if (!wrong)
        return SP_OK;
    return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, index),
                          "pass %s: expected a %s from 0 to %" PRId64, sp_plan_pass_name(checker, index).text,
                          wrong, last);
}

/* Why a plan with these settings has no such pass; NULL when it may have. */
static const char *unwanted(const struct plan_checker *checker, const struct sp_pass *pass)
{
    const struct sp_plan *plan = checker->plan;
    const struct sp_stage *stage = &plan->stages[pass->stage];
    bool output = pass->kind == SP_PASS_S || pass->kind == SP_PASS_T;
    if (sp_plan_path_next(checker, pass->microbatch, pass->stage) == PLAN_OFF_PATH)
        return "the stage is not on the microbatch's path";
    if (output && !sp_vocabulary_is_spread(plan->vocabulary))
        return "the output layer is inside the last stage (options.vocabulary)";
    if (output && sp_plan_path_next(checker, pass->microbatch, pass->stage) != PLAN_PATH_END)
        return "the output layer carries the number of the last stage";
    if (pass->kind == SP_PASS_F || pass->kind == SP_PASS_S)
        return NULL;
    if (stage->train == SP_TRAIN_NONE)
        return "the stage has no backward (train is \"none\")";
    if (stage->train == SP_TRAIN_INPUT && (pass->kind == SP_PASS_B || pass->kind == SP_PASS_W))
        return "the stage has no weight gradient (train is \"input\")";
    if (stage->recompute == SP_RECOMPUTE_NONE && pass->kind == SP_PASS_R)
        return "the stage recomputes nothing";
    if (stage->offload_permille == 0 && (pass->kind == SP_PASS_O || pass->kind == SP_PASS_L))
        return "the stage offloads nothing";
    return NULL;
}

static enum sp_status check_pass(struct plan_checker *checker, uint32_t device, uint64_t index)
{
    const struct sp_plan *plan = checker->plan;
    const struct sp_pass *pass = &plan->order.passes[index];
    const char *reason = unwanted(checker, pass);
    if (reason)
        return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, index), "pass %s: %s",
                              sp_plan_pass_name(checker, index).text, reason);
    bool output = pass->kind == SP_PASS_S || pass->kind == SP_PASS_T;
    if (!output && !holds_stage(&plan->stages[pass->stage], device))
        return sp_plan_refuse(
            checker, sp_plan_place_of_pass(checker, index), "pass %s is on device %u, stage %u on device %u",
            sp_plan_pass_name(checker, index).text, device, pass->stage, plan->stages[pass->stage].device);
    return SP_OK;
}

static enum sp_status enter_pass(struct plan_checker *checker, uint32_t device, uint64_t index)
{
    uint64_t before = sp_pass_table_enter(checker->table, checker->plan, device, index);
    if (before == SP_NO_PASS)
        return SP_OK;
    return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, index),
                          "pass %s is in the order twice, before on device %u",
                          sp_plan_pass_name(checker, index).text, checker->device_of[before]);
}

/* A joined pair is a forward and a backward of other work, next to each other on one device. */
static enum sp_status check_joined(struct plan_checker *checker, uint32_t device, uint64_t index)
{
    const struct sp_order *order = &checker->plan->order;
    const struct sp_pass *first = &order->passes[index], *second = first + 1;
    if (!first->joined)
        return SP_OK;
    bool pair = index + 1 < order->begin[device + 1] && !second->joined && first->kind == SP_PASS_F &&
                (second->kind == SP_PASS_B || second->kind == SP_PASS_I);
    if (!pair)
        return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, index),
                              "pass %s: only an F can be joined, with a B or I behind it",
                              sp_plan_pass_name(checker, index).text);
    if (first->stage == second->stage && first->microbatch == second->microbatch)
        return sp_plan_refuse(checker, sp_plan_place_of_pass(checker, index),
                              "pass %s is joined with its own microbatch's backward",
                              sp_plan_pass_name(checker, index).text);
    return SP_OK;
}

/*
 * Tables grow with stages times microbatches times slices, which a few numbers can make large; the order must
 * hold a fair share of the passes before any is made.
 */
static enum sp_status check_size(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    uint64_t stages = plan->stage_count;
    if (plan->path_begin)
        stages = plan->path_begin[plan->workload.microbatches] / (uint64_t)plan->workload.microbatches;
    if (sp_vocabulary_is_spread(plan->vocabulary) && stages < plan->order.device_count)
        stages = plan->order.device_count;
    uint64_t needed = stages * (uint64_t)plan->workload.microbatches * plan->slice_count;
    if (checker->pass_count + TABLE_SLACK >= needed / TABLE_FACTOR && checker->pass_count > 0)
        return SP_OK;
    return sp_plan_refuse(checker, sp_plan_place_at("$.order"),
                          "%" PRIu64 " passes, where %" PRIu64 " are needed at least", checker->pass_count,
                          needed);
}

static enum sp_status create_tables(struct plan_checker *checker)
{
    const struct sp_order *order = &checker->plan->order;
    checker->pass_count = order->begin[order->device_count];
    enum sp_status status = check_size(checker);
    if (status)
        return status;
    checker->device_of = sp_arena_alloc(checker->scratch, checker->pass_count, sizeof *checker->device_of);
    if (!checker->device_of)
        return sp_plan_out_of_memory(checker);
    for (uint32_t device = 0; device < order->device_count; device++) {
        for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
            checker->device_of[i] = (uint16_t)device;
            status = check_numbers(checker, i);
            if (status)
                return status;
        }
    }
    checker->table = sp_pass_table_create_empty(checker->plan, checker->scratch);
    return checker->table ? SP_OK : sp_plan_out_of_memory(checker);
}

enum sp_status sp_plan_check_order(struct plan_checker *checker)
{
    const struct sp_order *order = &checker->plan->order;
    assert(order->begin[0] == 0);
    enum sp_status status = create_tables(checker);
    for (uint32_t device = 0; device < order->device_count && !status; device++) {
        for (uint64_t i = order->begin[device]; i < order->begin[device + 1] && !status; i++) {
            status = check_pass(checker, device, i);
            if (!status)
                status = enter_pass(checker, device, i);
            if (!status)
                status = check_joined(checker, device, i);
        }
    }
    return status;
}
