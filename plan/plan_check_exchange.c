/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchange parts: what they take and where it goes. Fills part->device and brings the parts into their order.
 * That a helper does not wait for what it helps is left to the search for deadlocks.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "plan_check.h"

static uint64_t find(const struct plan_checker *checker, const struct sp_pass *pass)
{
    return sp_pass_table_find(checker->table, pass->kind, pass->stage, pass->microbatch, pass->slice);
}

static struct pass_name name_of(const struct plan_checker *checker, const struct sp_pass *pass)
{
    struct pass_name name;
    sp_pass_text(pass, checker->plan->slice_count, name.text, sizeof name.text);
    return name;
}

static bool has_attention(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_F || pass->kind == SP_PASS_B || pass->kind == SP_PASS_I;
}

/* The pass is one half of a joined pair, which runs as one and cannot be cut into layers. */
static bool is_joined(const struct plan_checker *checker, uint64_t index)
{
    const struct sp_order *order = &checker->plan->order;
    uint64_t begin = order->begin[checker->device_of[index]];
    return order->passes[index].joined || (index > begin && order->passes[index - 1].joined);
}

/* A part of the document, before the parts are brought into their order. */
struct part_place {
    uint64_t number;
    uint32_t document_device; /* whose string it stands in */
};

static struct sp_plan_place place_of(const struct plan_checker *checker, struct part_place part)
{
    if (!checker->part_begin)
        return sp_plan_place_at("$.exchange.parts");
    struct sp_plan_place place = sp_plan_place_at("$.exchange.parts[%u]", part.document_device);
    place.has_token = true;
    place.token = part.number - checker->part_begin[part.document_device];
    return place;
}

/* `role` is the part's pass or its anchor. */
static enum sp_status refuse(struct plan_checker *checker, struct part_place at, const char *role,
                             const struct sp_pass *pass, const char *format, ...) SP_PRINTF(5, 6);

static enum sp_status refuse(struct plan_checker *checker, struct part_place at, const char *role,
                             const struct sp_pass *pass, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return sp_plan_refuse(checker, place_of(checker, at), "%s %s: %s", role, name_of(checker, pass).text,
                          reason);
}

/* The pass whose attention is shared out. */
static enum sp_status check_requester(struct plan_checker *checker, struct part_place at, int64_t past)
{
    const struct sp_exchange_part *part = &checker->plan->exchange[at.number];
    const struct sp_pass *pass = &part->pass;
    uint64_t index = find(checker, pass);
    if (!has_attention(pass))
        return refuse(checker, at, "pass", pass, "only F, B and I have attention");
    if (index == SP_NO_PASS)
        return refuse(checker, at, "pass", pass, "not in the order");
    if (checker->part_begin && checker->device_of[index] != at.document_device)
        return refuse(checker, at, "pass", pass, "on device %u, not %u", checker->device_of[index],
                      at.document_device);
    if (is_joined(checker, index))
        return refuse(checker, at, "pass", pass, "joined with another");
    if (checker->plan->has_model && checker->plan->stages[pass->stage].layer_count == 0)
        return refuse(checker, at, "pass", pass, "the stage has no layers");
    if (part->token_begin < 0 || part->token_begin >= part->token_end || part->token_end > past)
        return refuse(checker, at, "pass", pass,
                      "expected past tokens within 0-%" PRId64 ", found %" PRId64 "-%" PRId64, past,
                      part->token_begin, part->token_end);
    return SP_OK;
}

/* The pass at which a helper does it. */
static enum sp_status check_anchor(struct plan_checker *checker, struct part_place at)
{
    struct sp_exchange_part *part = &checker->plan->exchange[at.number];
    const struct sp_pass *anchor = &part->anchor;
    uint64_t index = find(checker, anchor);
    if (part->where > SP_ANCHOR_AFTER)
        return refuse(checker, at, "anchor", anchor, "unknown place %u", part->where);
    if (!has_attention(anchor) && anchor->kind != SP_PASS_W && anchor->kind != SP_PASS_R)
        return refuse(checker, at, "anchor", anchor, "expected an F, B, I, W or R to compute the part at");
    if (part->where == SP_ANCHOR_DURING && !has_attention(anchor))
        return refuse(checker, at, "anchor", anchor, "only during an F, B or I, before or after any other");
    if (index == SP_NO_PASS)
        return refuse(checker, at, "anchor", anchor, "not in the order");
    if (is_joined(checker, index))
        return refuse(checker, at, "anchor", anchor, "joined with another");
    part->device = checker->device_of[index];
    if (part->device == checker->device_of[find(checker, &part->pass)])
        return refuse(checker, at, "anchor", anchor, "on the device of pass %s itself",
                      name_of(checker, &part->pass).text);
    return SP_OK;
}

static int compare_parts(const struct plan_checker *checker, const struct sp_exchange_part *a,
                         const struct sp_exchange_part *b)
{
    uint64_t left = find(checker, &a->pass), right = find(checker, &b->pass);
    if (left != right)
        return left < right ? -1 : 1;
    return (a->token_begin > b->token_begin) - (a->token_begin < b->token_begin);
}

static int compare_for_sort(const void *a, const void *b, void *checker)
{
    return compare_parts(checker, a, b);
}

static bool is_sorted(const struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    for (uint64_t i = 1; i < plan->exchange_count; i++) {
        if (compare_parts(checker, &plan->exchange[i - 1], &plan->exchange[i]) > 0)
            return false;
    }
    return true;
}

static enum sp_status check_overlaps(struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    for (uint64_t i = 1; i < plan->exchange_count; i++) {
        const struct sp_exchange_part *before = &plan->exchange[i - 1], *part = &plan->exchange[i];
        if (find(checker, &before->pass) == find(checker, &part->pass) &&
            part->token_begin < before->token_end)
            return sp_plan_refuse(checker, sp_plan_place_at("$.exchange.parts"),
                                  "pass %s: parts %" PRId64 "-%" PRId64 " and %" PRId64 "-%" PRId64
                                  " overlap",
                                  name_of(checker, &part->pass).text, before->token_begin, before->token_end,
                                  part->token_begin, part->token_end);
    }
    return SP_OK;
}

static int64_t *sum_slices(const struct plan_checker *checker)
{
    const struct sp_plan *plan = checker->plan;
    int64_t *begin = sp_arena_alloc(checker->scratch, plan->slice_count, sizeof *begin);
    for (uint32_t i = 1; begin && i < plan->slice_count; i++)
        begin[i] = begin[i - 1] + plan->slice_tokens[i - 1];
    return begin;
}

enum sp_status sp_plan_check_exchange(struct plan_checker *checker)
{
    struct sp_plan *plan = checker->plan;
    if (plan->exchange_count == 0)
        return SP_OK;
    if (plan->exchange_count > SP_MAX_PASSES)
        return sp_plan_refuse(checker, sp_plan_place_at("$.exchange.parts"), "more than %d parts",
                              SP_MAX_PASSES);
    if (strcmp(plan->exchange_policy, "none") == 0)
        return sp_plan_refuse(checker, sp_plan_place_at("$.exchange.policy"),
                              "the policy is \"none\", but there are parts");
    int64_t *past = sum_slices(checker);
    if (!past)
        return sp_plan_out_of_memory(checker);
    struct part_place at = {.number = 0};
    for (; at.number < plan->exchange_count; at.number++) {
        while (checker->part_begin && at.number >= checker->part_begin[at.document_device + 1])
            at.document_device++;
        uint32_t slice = plan->exchange[at.number].pass.slice;
        enum sp_status status = check_requester(checker, at, slice < plan->slice_count ? past[slice] : 0);
        if (!status)
            status = check_anchor(checker, at);
        if (status)
            return status;
    }
    if (!is_sorted(checker))
        qsort_r(plan->exchange, plan->exchange_count, sizeof *plan->exchange, compare_for_sort, checker);
    return check_overlaps(checker);
}
