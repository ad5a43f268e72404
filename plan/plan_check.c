/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_check.h"

#include <inttypes.h>
#include <stdarg.h>

struct sp_plan_place sp_plan_place_at(const char *format, ...)
{
    struct sp_plan_place place = {.has_token = false};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(place.path, sizeof place.path, format, arguments);
    va_end(arguments);
    return place;
}

struct sp_plan_place sp_plan_place_of_pass(const struct plan_checker *checker, uint64_t index)
{
    uint32_t device = checker->device_of[index];
    struct sp_plan_place place = sp_plan_place_at("$.order[%u]", device);
    place.has_token = true;
    place.token = index - checker->plan->order.begin[device];
    return place;
}

enum sp_status sp_plan_refuse(struct plan_checker *checker, struct sp_plan_place place, const char *format,
                              ...)
{
    char message[sizeof checker->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    *checker->place = place;
    return sp_error_set(checker->error, SP_INPUT, "%s", message);
}

enum sp_status sp_plan_out_of_memory(struct plan_checker *checker)
{
    return sp_error_set(checker->error, SP_MEMORY, "out of memory while checking the plan");
}

enum sp_status sp_plan_check_limits(struct plan_checker *checker, const struct plan_limit *limits,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (limits[i].value < limits[i].least || limits[i].value > limits[i].most)
            return sp_plan_refuse(checker, sp_plan_place_at("%s", limits[i].path),
                                  "expected a whole number from %" PRId64 " to %" PRId64 ", found %" PRId64,
                                  limits[i].least, limits[i].most, limits[i].value);
    }
    return SP_OK;
}

struct pass_name sp_plan_pass_name(const struct plan_checker *checker, uint64_t index)
{
    struct pass_name name;
    const struct sp_plan *plan = checker->plan;
    sp_pass_text(&plan->order.passes[index], plan->slice_count, name.text, sizeof name.text);
    return name;
}

uint32_t sp_plan_path_previous(const struct plan_checker *checker, uint32_t microbatch, uint32_t stage)
{
    if (checker->previous)
        return checker->previous[(size_t)microbatch * checker->plan->stage_count + stage];
    return stage == 0 ? PLAN_PATH_END : stage - 1;
}

uint32_t sp_plan_path_next(const struct plan_checker *checker, uint32_t microbatch, uint32_t stage)
{
    if (checker->next)
        return checker->next[(size_t)microbatch * checker->plan->stage_count + stage];
    return stage + 1 == checker->plan->stage_count ? PLAN_PATH_END : stage + 1;
}

enum sp_status sp_plan_check_document(struct sp_plan *plan, const uint64_t *part_begin,
                                      struct sp_plan_place *place, struct sp_error *error)
{
    static enum sp_status (*const checks[])(struct plan_checker *) = {
        sp_plan_check_settings, sp_plan_check_stages,   sp_plan_check_order,
        sp_plan_check_units,    sp_plan_check_exchange, sp_plan_check_deadlock,
    };
    *place = (struct sp_plan_place){.has_token = false};
    struct plan_checker checker = {.plan = plan, .part_begin = part_begin, .place = place, .error = error};
    checker.scratch = sp_arena_create();
    if (!checker.scratch)
        return sp_plan_out_of_memory(&checker);
    enum sp_status status = SP_OK;
    for (size_t i = 0; i < sizeof checks / sizeof *checks && !status; i++)
        status = checks[i](&checker);
    sp_arena_destroy(checker.scratch);
    return status;
}

enum sp_status sp_plan_check(struct sp_plan *plan, struct sp_error *error)
{
    struct sp_plan_place place;
    enum sp_status status = sp_plan_check_document(plan, NULL, &place, error);
    if (status && error)
        snprintf(error->path, sizeof error->path, "%s", place.path);
    return status;
}
