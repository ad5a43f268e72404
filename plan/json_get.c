/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "json_internal.h"

enum { LARGEST_EXACT_BITS = 53 };

const struct sp_json_value *sp_json_root(const struct sp_json *json)
{
    return (const struct sp_json_value *)json->root;
}

bool sp_json_is_object(const struct sp_json_value *value)
{
    return cJSON_IsObject(json_item(value));
}

bool sp_json_is_array(const struct sp_json_value *value)
{
    return cJSON_IsArray(json_item(value));
}

bool sp_json_is_string(const struct sp_json_value *value)
{
    return cJSON_IsString(json_item(value));
}

bool sp_json_is_number(const struct sp_json_value *value)
{
    return cJSON_IsNumber(json_item(value));
}

bool sp_json_is_null(const struct sp_json_value *value)
{
    return cJSON_IsNull(json_item(value));
}

static const char *type_text(const struct sp_json_value *value)
{
    if (sp_json_is_object(value))
        return "an object";
    if (sp_json_is_array(value))
        return "an array";
    if (sp_json_is_string(value))
        return "a string";
    if (sp_json_is_number(value))
        return "a number";
    return sp_json_is_null(value) ? "null" : cJSON_IsTrue(json_item(value)) ? "true" : "false";
}

const struct sp_json_value *sp_json_find(const struct sp_json_value *object, const char *key)
{
    if (!sp_json_is_object(object))
        return NULL;
    return (const struct sp_json_value *)cJSON_GetObjectItemCaseSensitive(json_item(object), key);
}

enum sp_status sp_json_get(const struct sp_json *json, const struct sp_json_value *object, const char *key,
                           const struct sp_json_value **ret_value, struct sp_error *error)
{
    if (!sp_json_is_object(object))
        return sp_json_error(json, object, error, "expected an object with \"%s\", found %s", key,
                             type_text(object));
    const struct sp_json_value *value = sp_json_find(object, key);
    if (!value)
        return sp_json_error(json, object, error, "missing field \"%s\"", key);
    *ret_value = value;
    return SP_OK;
}

/* The names in quotes, with commas, cut where size ends. */
static void list_names(const char *const names[], char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; names[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s\"%s\"", i ? ", " : "", names[i]);
}

static int find_name(const char *const names[], const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    return -1;
}

enum sp_status sp_json_only(const struct sp_json *json, const struct sp_json_value *object,
                            const char *const keys[], struct sp_error *error)
{
    if (!sp_json_is_object(object))
        return sp_json_error(json, object, error, "expected an object, found %s", type_text(object));
    for (const struct sp_json_value *member = sp_json_first(object); member; member = sp_json_next(member)) {
        if (find_name(keys, sp_json_key(member)) >= 0)
            continue;
        char known[512];
        list_names(keys, known, sizeof known);
        return sp_json_error(json, member, error, "unknown field \"%.80s\", expected one of %s",
                             sp_json_key(member), known);
    }
    return SP_OK;
}

const struct sp_json_value *sp_json_first(const struct sp_json_value *container)
{
    return (const struct sp_json_value *)json_item(container)->child;
}

const struct sp_json_value *sp_json_next(const struct sp_json_value *value)
{
    return (const struct sp_json_value *)json_item(value)->next;
}

const char *sp_json_key(const struct sp_json_value *value)
{
    return json_item(value)->string;
}

size_t sp_json_size(const struct sp_json_value *container)
{
    size_t size = 0;
    for (const cJSON *child = json_item(container)->child; child; child = child->next)
        size++;
    return size;
}

/* The number as it stands in the text. */
static int number_size(const struct sp_json *json, const struct sp_json_value *value)
{
    return (int)strspn(json->text + json_begin(value), "+-.0123456789eE");
}

static enum sp_status fail_whole(const struct sp_json *json, const struct sp_json_value *value, int64_t least,
                                 int64_t most, struct sp_error *error)
{
    char found[80], range[80];
    if (sp_json_is_number(value))
        snprintf(found, sizeof found, "%.*s", number_size(json, value), json->text + json_begin(value));
    else
        snprintf(found, sizeof found, "%s", type_text(value));
    if (most >= INT64_C(1) << LARGEST_EXACT_BITS)
        snprintf(range, sizeof range, "%" PRId64 " to 2^53", least);
    else
        snprintf(range, sizeof range, "%" PRId64 " to %" PRId64, least, most);
    return sp_json_error(json, value, error, "expected a whole number from %s, found %s", range, found);
}

enum sp_status sp_json_whole(const struct sp_json *json, const struct sp_json_value *value, int64_t least,
                             int64_t most, int64_t *ret_number, struct sp_error *error)
{
    if (!sp_json_is_number(value))
        return fail_whole(json, value, least, most, error);
    const char *text = json->text + json_begin(value);
    int size = number_size(json, value);
    bool negative = text[0] == '-';
    const int64_t largest = INT64_C(1) << LARGEST_EXACT_BITS;
    int64_t number = 0;
    for (int i = negative; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return fail_whole(json, value, least, most, error);
        number = number * 10 + (text[i] - '0');
        if (number > largest)
            return fail_whole(json, value, least, most, error);
    }
    if (negative)
        number = -number;
    if (number < least || number > most)
        return fail_whole(json, value, least, most, error);
    *ret_number = number;
    return SP_OK;
}

enum sp_status sp_json_real(const struct sp_json *json, const struct sp_json_value *value, double least,
                            double most, double *ret_number, struct sp_error *error)
{
    if (!sp_json_is_number(value))
        return sp_json_error(json, value, error, "expected a number from %g to %g, found %s", least, most,
                             type_text(value));
    double number = json_item(value)->valuedouble;
    if (!(number >= least && number <= most))
        return sp_json_error(json, value, error, "expected a number from %g to %g, found %.*s", least, most,
                             number_size(json, value), json->text + json_begin(value));
    *ret_number = number;
    return SP_OK;
}

enum sp_status sp_json_bool(const struct sp_json *json, const struct sp_json_value *value, bool *ret_flag,
                            struct sp_error *error)
{
    if (!cJSON_IsBool(json_item(value)))
        return sp_json_error(json, value, error, "expected true or false, found %s", type_text(value));
    *ret_flag = cJSON_IsTrue(json_item(value));
    return SP_OK;
}

enum sp_status sp_json_string(const struct sp_json *json, const struct sp_json_value *value,
                              const char **ret_text, struct sp_error *error)
{
    if (!sp_json_is_string(value))
        return sp_json_error(json, value, error, "expected a string, found %s", type_text(value));
    *ret_text = json_item(value)->valuestring;
    return SP_OK;
}

enum sp_status sp_json_choice(const struct sp_json *json, const struct sp_json_value *value,
                              const char *const names[], int *ret_index, struct sp_error *error)
{
    char known[512];
    list_names(names, known, sizeof known);
    if (!sp_json_is_string(value))
        return sp_json_error(json, value, error, "expected one of %s, found %s", known, type_text(value));
    int index = find_name(names, json_item(value)->valuestring);
    if (index < 0)
        return sp_json_error(json, value, error, "expected one of %s, found \"%.80s\"", known,
                             json_item(value)->valuestring);
    *ret_index = index;
    return SP_OK;
}

enum sp_status sp_json_get_whole(const struct sp_json *json, const struct sp_json_value *object,
                                 const char *key, int64_t least, int64_t most, int64_t *ret_number,
                                 struct sp_error *error)
{
    const struct sp_json_value *value;
    enum sp_status status = sp_json_get(json, object, key, &value, error);
    return status ? status : sp_json_whole(json, value, least, most, ret_number, error);
}

enum sp_status sp_json_get_string(const struct sp_json *json, const struct sp_json_value *object,
                                  const char *key, const char **ret_text, struct sp_error *error)
{
    const struct sp_json_value *value;
    enum sp_status status = sp_json_get(json, object, key, &value, error);
    return status ? status : sp_json_string(json, value, ret_text, error);
}

enum sp_status sp_json_get_choice(const struct sp_json *json, const struct sp_json_value *object,
                                  const char *key, const char *const names[], int *ret_index,
                                  struct sp_error *error)
{
    const struct sp_json_value *value;
    enum sp_status status = sp_json_get(json, object, key, &value, error);
    return status ? status : sp_json_choice(json, value, names, ret_index, error);
}
