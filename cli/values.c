/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "slimpipe/arena.h"

/* A decimal number without sign or exponent: value = digits / 10^decimals. */
struct decimal {
    int64_t digits;
    int decimals;
};

/* Moves *text behind the number; false where there is none or it has more than 18 digits. */
static bool scan_decimal(const char **text, bool fraction, struct decimal *ret_decimal)
{
    struct decimal decimal = {0};
    const char *cursor = *text;
    int count = 0;
    bool behind = false;

    for (; isdigit((unsigned char)*cursor) || (fraction && *cursor == '.' && !behind && count); cursor++) {
        if (*cursor == '.') {
            behind = true;
            continue;
        }
        if (++count > 18)
            return false;
        decimal.digits = 10 * decimal.digits + (*cursor - '0');
        decimal.decimals += behind;
    }
    if (count == 0 || cursor[-1] == '.')
        return false;
    *text = cursor;
    *ret_decimal = decimal;
    return true;
}

/* number · factor when it is a whole number that fits. */
static bool scale(struct decimal decimal, int64_t factor, int64_t *ret_number)
{
    int64_t number;

    for (; decimal.decimals > 0 && decimal.digits % 10 == 0; decimal.decimals--)
        decimal.digits /= 10;
    for (; decimal.decimals > 0 && factor % 10 == 0; decimal.decimals--)
        factor /= 10;
    if (decimal.decimals > 0 || __builtin_mul_overflow(decimal.digits, factor, &number))
        return false;
    *ret_number = number;
    return true;
}

static enum sp_status fail_range(const char *option, const char *text, const char *what, int64_t least,
                                 int64_t most, struct sp_error *error)
{
    if (most == INT64_MAX)
        return sp_error_set(error, SP_INPUT, "%s '%s': expected %s, %lld or more", option, text, what,
                            (long long)least);
    return sp_error_set(error, SP_INPUT, "%s '%s': expected %s from %lld to %lld", option, text, what,
                        (long long)least, (long long)most);
}

enum sp_status value_count(const char *option, const char *text, int64_t least, int64_t most,
                           int64_t *ret_count, struct sp_error *error)
{
    const char *end = text;
    struct decimal decimal;

    if (!scan_decimal(&end, false, &decimal) || *end != '\0' || decimal.digits < least ||
        decimal.digits > most)
        return fail_range(option, text, "a whole number", least, most, error);
    *ret_count = decimal.digits;
    return SP_OK;
}

/* The factor of a letter, and the cursor behind it. */
static int64_t scan_binary_unit(const char **text)
{
    static const char letters[] = "KMGT";
    const char *letter = **text ? strchr(letters, toupper((unsigned char)**text)) : NULL;

    if (!letter)
        return 1;
    (*text)++;
    return INT64_C(1) << 10 * (letter - letters + 1);
}

static bool scan_size(const char **text, int64_t *ret_size)
{
    const char *end = *text;
    struct decimal decimal;
    int64_t factor;

    if (!scan_decimal(&end, false, &decimal))
        return false;
    factor = scan_binary_unit(&end);
    if (!scale(decimal, factor, ret_size))
        return false;
    *text = end;
    return true;
}

enum sp_status value_size(const char *option, const char *text, int64_t least, int64_t most,
                          int64_t *ret_size, struct sp_error *error)
{
    const char *end = text;
    int64_t size;

    if (!scan_size(&end, &size) || *end != '\0')
        return sp_error_set(error, SP_INPUT, "%s '%s': expected a whole number such as 4096, 512K, 4M or 80G",
                            option, text);
    if (size < least || size > most)
        return fail_range(option, text, "a number", least, most, error);
    *ret_size = size;
    return SP_OK;
}

enum sp_status value_time(const char *option, const char *text, int64_t *ret_ns, struct sp_error *error)
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = {{"", 1}, {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
    const char *end = text;
    struct decimal decimal;

    if (scan_decimal(&end, true, &decimal))
        for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
            if (strcmp(end, units[i].name) == 0 && scale(decimal, units[i].factor, ret_ns))
                return SP_OK;
    return sp_error_set(
        error, SP_INPUT,
        "%s '%s': expected whole nanoseconds, or a number with ns, us, ms or s such as 18.522ms", option,
        text);
}

enum sp_status value_share(const char *option, const char *text, int64_t *ret_permille,
                           struct sp_error *error)
{
    const char *end = text;
    struct decimal decimal;
    int64_t permille;

    if (!scan_decimal(&end, true, &decimal) || *end != '\0' || !scale(decimal, 1000, &permille) ||
        permille > 1000)
        return sp_error_set(error, SP_INPUT,
                            "%s '%s': expected a share from 0 to 1 with at most three decimals, such as 0.75",
                            option, text);
    *ret_permille = permille;
    return SP_OK;
}

enum sp_status value_thousandths(const char *option, const char *text, int64_t *ret_thousandths,
                                 struct sp_error *error)
{
    const char *end = text;
    struct decimal decimal;
    int64_t thousandths;

    if (!scan_decimal(&end, true, &decimal) || *end != '\0' || !scale(decimal, 1000, &thousandths) ||
        thousandths == 0)
        return sp_error_set(error, SP_INPUT,
                            "%s '%s': expected a number above 0 with at most three decimals, such as 2.5",
                            option, text);
    *ret_thousandths = thousandths;
    return SP_OK;
}

enum sp_status value_choice(const char *option, const char *text, const char *const names[], int *ret_index,
                            struct sp_error *error)
{
    char list[512] = "";
    size_t used = 0;

    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret_index = i;
            return SP_OK;
        }
        if (used < sizeof(list))
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                     i == 0         ? ""
                                     : names[i + 1] ? ", "
                                                    : " or ",
                                     names[i]);
    }
    return sp_error_set(error, SP_INPUT, "%s '%s': expected %s", option, text, list);
}

enum sp_status value_list(const char *option, const char *text, int64_t least, int64_t most,
                          uint32_t *ret_count, int64_t **ret_list, struct sp_error *error)
{
    const char *cursor = text;
    uint32_t count = 1;
    int64_t *list;

    for (const char *c = text; *c; c++)
        count += *c == ',';
    if (!(list = sp_alloc(count, sizeof(*list))))
        return sp_error_set(error, SP_MEMORY, "%s: no memory for %u values", option, count);
    for (uint32_t i = 0; i < count; i++, cursor++)
        if (!scan_size(&cursor, &list[i]) || list[i] < least || list[i] > most ||
            *cursor != (i + 1 < count ? ',' : '\0')) {
            sp_free(list);
            return sp_error_set(error, SP_INPUT,
                                "%s '%s': expected numbers from %lld to %lld, separated by commas", option,
                                text, (long long)least, (long long)most);
        }
    *ret_count = count;
    *ret_list = list;
    return SP_OK;
}
