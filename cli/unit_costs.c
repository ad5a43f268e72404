/* SPDX-License-Identifier: Apache-2.0 */
#include "unit_costs.h"

#include <stdio.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "values.h"

enum form { TIMES, TIME, SHARE, SIZE }; /* TIMES: one value, or one per stage */

static const struct key {
    const char *name;
    enum form form;
    size_t offset; /* in struct sp_pass_costs */
} keys[] = {
    {"forward", TIMES, offsetof(struct sp_pass_costs, forward_ns)},
    {"backward", TIMES, offsetof(struct sp_pass_costs, input_ns)},
    {"weight", TIMES, offsetof(struct sp_pass_costs, weight_ns)},
    {"recompute", TIMES, offsetof(struct sp_pass_costs, recompute_ns)},
    {"overlap", TIMES, offsetof(struct sp_pass_costs, overlap_ns)},
    {"p2p", TIME, offsetof(struct sp_pass_costs, message_ns)},
    {"attention", SHARE, offsetof(struct sp_pass_costs, attention_permille)},
    {"activation", SIZE, offsetof(struct sp_pass_costs, activation_bytes)},
    {"weight-held", SIZE, offsetof(struct sp_pass_costs, weight_held_bytes)},
    {"output-forward", TIME, offsetof(struct sp_pass_costs, output_forward_ns)},
    {"output-backward", TIME, offsetof(struct sp_pass_costs, output_backward_ns)},
};
_Static_assert(UNIT_COST_TIMES == 5, "the keys of form TIMES stand first");
enum { KEY_COUNT = sizeof(keys) / sizeof(*keys) };

static int64_t *scalar(const struct key *key, struct unit_costs *costs)
{
    return (int64_t *)((char *)&costs->costs + key->offset);
}

static void publish_times(struct unit_costs *costs)
{
    for (size_t i = 0; i < UNIT_COST_TIMES; i++)
        *(const int64_t **)((char *)&costs->costs + keys[i].offset) = costs->times[i];
}

static uint32_t count_values(const char *text)
{
    uint32_t count = 1;

    for (; *text; text++)
        count += *text == ':';
    return count;
}

/* Makes the arrays that have one value as long as the longest. */
static enum sp_status widen(struct unit_costs *costs, uint32_t count, struct sp_error *error)
{
    for (size_t i = 0; i < UNIT_COST_TIMES && count > costs->stage_count; i++) {
        int64_t *wide = costs->times[i];
        if (!wide)
            continue;
        if (!(wide = sp_realloc(wide, count, sizeof(*wide))))
            return sp_error_set(error, SP_MEMORY, "--unit-cost: no memory for %u stages", count);
        costs->times[i] = wide;
        for (uint32_t s = 1; s < count; s++)
            wide[s] = wide[0];
    }
    costs->stage_count = count > costs->stage_count ? count : costs->stage_count;
    return SP_OK;
}

static enum sp_status parse_times(struct unit_costs *costs, const struct key *key, const char *option,
                                  char *text, struct sp_error *error)
{
    uint32_t count = count_values(text);
    enum sp_status status;
    int64_t *values;

    if (count > 1 && costs->stage_count > 1 && count != costs->stage_count)
        return sp_error_set(error, SP_INPUT, "%s '%s': %u stages, but another key has %u", option, text,
                            count, costs->stage_count);
    if ((status = widen(costs, count, error)))
        return status;
    if (!(values = sp_alloc(costs->stage_count, sizeof(*values))))
        return sp_error_set(error, SP_MEMORY, "--unit-cost: no memory for %u stages", costs->stage_count);
    costs->times[key - keys] = values;
    for (uint32_t s = 0; s < costs->stage_count; s++) {
        char *end = s < count ? strchrnul(text, ':') : text;
        if (s >= count) {
            values[s] = values[0];
            continue;
        }
        if (*end)
            *end++ = '\0';
        if ((status = value_time(option, text, &values[s], error)))
            return status;
        text = end;
    }
    return SP_OK;
}

static enum sp_status parse_value(struct unit_costs *costs, const struct key *key, char *text,
                                  struct sp_error *error)
{
    char option[48];

    snprintf(option, sizeof(option), "--unit-cost: %s", key->name);
    switch (key->form) {
    case TIMES:
        return parse_times(costs, key, option, text, error);
    case TIME:
        return value_time(option, text, scalar(key, costs), error);
    case SHARE:
        return value_share(option, text, scalar(key, costs), error);
    case SIZE:
        break;
    }
    return value_size(option, text, 0, INT64_MAX, scalar(key, costs), error);
}

static enum sp_status find_key(const char *text, const struct key **ret_key, struct sp_error *error)
{
    const char *names[KEY_COUNT + 1] = {NULL};
    enum sp_status status;
    int index;

    for (size_t i = 0; i < KEY_COUNT; i++)
        names[i] = keys[i].name;
    if ((status = value_choice("--unit-cost: key", text, names, &index, error)))
        return status;
    *ret_key = &keys[index];
    return SP_OK;
}

static enum sp_status parse_pairs(struct unit_costs *costs, char *text, struct sp_error *error)
{
    unsigned seen = 0;

    for (char *pair = text, *next; pair; pair = next) {
        char *end = strchr(pair, ',');
        char *value = NULL;
        const struct key *key;
        enum sp_status status;

        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        if ((value = strchr(pair, '=')))
            *value++ = '\0';
        if ((status = find_key(pair, &key, error)))
            return status;
        if (!value)
            return sp_error_set(error, SP_INPUT, "--unit-cost '%s': expected %s=VALUE", pair, pair);
        if (seen & 1u << (key - keys))
            return sp_error_set(error, SP_INPUT, "--unit-cost: %s is given twice", pair);
        seen |= 1u << (key - keys);
        if ((status = parse_value(costs, key, value, error)))
            return status;
    }
    return SP_OK;
}

enum sp_status unit_costs_parse(struct unit_costs *costs, const char *text, struct sp_error *error)
{
    size_t size = strlen(text) + 1;
    char *copy = sp_alloc(size, 1);
    enum sp_status status;

    if (!copy)
        return sp_error_set(error, SP_MEMORY, "--unit-cost: no memory");
    memcpy(copy, text, size);
    costs->stage_count = 1;
    status = parse_pairs(costs, copy, error);
    sp_free(copy);
    publish_times(costs);
    if (!status && !costs->costs.forward_ns)
        return sp_error_set(error, SP_INPUT, "--unit-cost '%s': forward=TIME is missing", text);
    return status;
}

void unit_costs_finish(struct unit_costs *costs)
{
    for (size_t i = 0; i < UNIT_COST_TIMES; i++)
        sp_free(costs->times[i]);
    *costs = (struct unit_costs){0};
}
