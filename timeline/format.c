/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/format.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

struct unit {
    double size;
    const char *name;
};

static const struct unit times[] = {{1, "ns"}, {1e3, "us"}, {1e6, "ms"}, {1e9, "s"}, {0, NULL}};
static const struct unit sizes[] = {{1, "B"},        {0x1p10, "KiB"}, {0x1p20, "MiB"}, {0x1p30, "GiB"},
                                    {0x1p40, "TiB"}, {0x1p50, "PiB"}, {0, NULL}};
static const struct unit counts[] = {{1, ""},     {1e3, "K"},  {1e6, "M"}, {1e9, "G"},
                                     {1e12, "T"}, {1e15, "P"}, {0, NULL}};

/* Decimals that make three digits; 9.995 already reads as 10.0. */
static int decimals(double number)
{
    if (number < 9.995)
        return 2;
    return number < 99.95 ? 1 : 0;
}

/*
 * The largest unit that leaves at least 1, after rounding: 999.6 us is 1.00 ms. `step` is the ratio to the
 * next unit.
 */
static struct sp_format with_unit(double number, const struct unit *unit, double step)
{
    struct sp_format format;
    double size = fabs(number);
    while (unit[1].name && size / unit->size >= step - 0.5)
        unit++;
    size /= unit->size;
    /* Whole numbers of the smallest unit stay whole. */
    int digits = unit->size == 1 ? 0 : decimals(size);
    snprintf(format.text, sizeof format.text, "%s%.*f %s", number < 0 ? "-" : "", digits, size, unit->name);
    return format;
}

struct sp_format sp_format_time(int64_t ns)
{
    return with_unit((double)ns, times, 1000);
}

struct sp_format sp_format_bytes(int64_t bytes)
{
    return with_unit((double)bytes, sizes, 1000);
}

struct sp_format sp_format_count(double count)
{
    struct sp_format format;
    if (isnan(count)) {
        snprintf(format.text, sizeof format.text, "-");
        return format;
    }
    if (fabs(count) >= 9999.5)
        return with_unit(count, counts, 1000);
    snprintf(format.text, sizeof format.text, "%.0f", count);
    return format;
}

static struct sp_format percent(double share, const char *pattern)
{
    struct sp_format format = {"-"};
    if (isnan(share))
        return format;
    double tenths = round(share * 1000) + 0.0; /* no "-0.0" */
    snprintf(format.text, sizeof format.text, pattern, tenths / 10);
    return format;
}

struct sp_format sp_format_percent(double share)
{
    return percent(share, "%.1f %%");
}

struct sp_format sp_format_change(double share)
{
    return percent(share, "%+.1f %%");
}

struct sp_format sp_format_range(uint32_t first, uint32_t count)
{
    struct sp_format format;
    if (count == 1)
        snprintf(format.text, sizeof format.text, "%" PRIu32, first);
    else
        snprintf(format.text, sizeof format.text, "%" PRIu32 "-%" PRIu32, first, first + count - 1);
    return format;
}

int64_t sp_tick_ns(int64_t span_ns, int most)
{
    static const int64_t factors[] = {1, 2, 5};
    assert(most > 0);
    for (int64_t power = 1;; power *= 10)
        for (int i = 0; i < 3; i++)
            if (span_ns / (factors[i] * power) <= most)
                return factors[i] * power;
}

struct sp_format sp_format_tick(int64_t at_ns, int64_t step_ns)
{
    struct sp_format format;
    const struct unit *unit = times;
    /* The unit of the axis is that of ten steps, so that labels are short: 0.5 ms rather than 500 us. */
    while (unit[1].name && (double)step_ns * 10 >= unit[1].size)
        unit++;
    int digits = 0;
    for (double step = (double)step_ns; step < unit->size && digits < 9; step *= 10)
        digits++;
    snprintf(format.text, sizeof format.text, "%.*f %s", digits, (double)at_ns / unit->size, unit->name);
    return format;
}
