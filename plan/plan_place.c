/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_place.h"

#include <stdlib.h>
#include <string.h>

static const struct sp_json_value *element(const struct sp_json_value *array, unsigned long index)
{
    const struct sp_json_value *value = sp_json_is_array(array) ? sp_json_first(array) : NULL;
    while (value && index-- > 0)
        value = sp_json_next(value);
    return value;
}

/* Follows a path of the form `$.key[3].key` as far as the document goes. */
static const struct sp_json_value *follow(const struct sp_json_value *value, const char *path)
{
    const char *at = path + (*path == '$');
    while (*at == '.' || *at == '[') {
        const struct sp_json_value *next;
        if (*at == '[') {
            char *end;
            next = element(value, strtoul(at + 1, &end, 10));
            at = end + (*end == ']');
        } else {
            char key[sizeof((struct sp_plan_place *)0)->path];
            size_t size = strcspn(at + 1, ".[");
            memcpy(key, at + 1, size);
            key[size] = 0;
            next = sp_json_find(value, key);
            at += 1 + size;
        }
        if (!next)
            break;
        value = next;
    }
    return value;
}

/* Where the token-th pass or part of a string begins. */
static size_t token_begin(const char *text, uint64_t token)
{
    char before = ' ';
    for (const char *at = text; *at; before = *at++) {
        bool begins = (before == ' ' || before == '(' || before == ';') && *at >= '0' && *at <= '9';
        if (begins && token-- == 0)
            return (size_t)(at - text);
    }
    return 0;
}

void sp_plan_locate(const struct sp_json *json, const struct sp_plan_place *place, struct sp_error *error)
{
    if (error->status != SP_INPUT && error->status != SP_INFEASIBLE)
        return;
    const struct sp_json_value *value = follow(sp_json_root(json), place->path);
    struct sp_error located;
    const char *text;
    size_t byte = 0;
    if (place->has_token && sp_json_string(json, value, &text, NULL) == SP_OK)
        byte = token_begin(text, place->token);
    sp_json_error_at(json, value, byte, &located, "%s", error->message);
    located.status = error->status;
    *error = located;
}
