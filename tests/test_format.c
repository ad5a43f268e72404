/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include "slimpipe/format.h"

Test(format, time)
{
    cr_expect_str_eq(sp_format_time(0).text, "0 ns");
    cr_expect_str_eq(sp_format_time(999).text, "999 ns");
    cr_expect_str_eq(sp_format_time(1000).text, "1.00 us");
    cr_expect_str_eq(sp_format_time(9994).text, "9.99 us");
    cr_expect_str_eq(sp_format_time(9996).text, "10.0 us");
    cr_expect_str_eq(sp_format_time(99960).text, "100 us");
    cr_expect_str_eq(sp_format_time(999600).text, "1.00 ms");
    cr_expect_str_eq(sp_format_time(12345678).text, "12.3 ms");
    cr_expect_str_eq(sp_format_time(1234567890123).text, "1235 s");
    cr_expect_str_eq(sp_format_time(-1500).text, "-1.50 us");
}

Test(format, bytes)
{
    cr_expect_str_eq(sp_format_bytes(0).text, "0 B");
    cr_expect_str_eq(sp_format_bytes(512).text, "512 B");
    cr_expect_str_eq(sp_format_bytes(1536).text, "1.50 KiB");
    cr_expect_str_eq(sp_format_bytes(INT64_C(80) << 30).text, "80.0 GiB");
    /* Four digits would be wider than the column. */
    cr_expect_str_eq(sp_format_bytes(INT64_C(1020) << 20).text, "1.00 GiB");
    cr_expect_str_eq(sp_format_bytes(INT64_MAX).text, "8192 PiB");
}

Test(format, counts_and_shares)
{
    cr_expect_str_eq(sp_format_count(0).text, "0");
    cr_expect_str_eq(sp_format_count(9999).text, "9999");
    cr_expect_str_eq(sp_format_count(41234).text, "41.2 K");
    cr_expect_str_eq(sp_format_count(1.2e6).text, "1.20 M");
    cr_expect_str_eq(sp_format_count(NAN).text, "-");
    cr_expect_str_eq(sp_format_percent(0.0212).text, "2.1 %");
    cr_expect_str_eq(sp_format_percent(-1e-9).text, "0.0 %");
    cr_expect_str_eq(sp_format_percent(NAN).text, "-");
    cr_expect_str_eq(sp_format_change(0.049).text, "+4.9 %");
    cr_expect_str_eq(sp_format_change(-0.5).text, "-50.0 %");
    cr_expect_str_eq(sp_format_range(7, 1).text, "7");
    cr_expect_str_eq(sp_format_range(4, 4).text, "4-7");
}

Test(format, ticks)
{
    cr_expect_eq(sp_tick_ns(0, 10), 1);
    cr_expect_eq(sp_tick_ns(10, 10), 1);
    cr_expect_eq(sp_tick_ns(967000, 10), 100000);
    cr_expect_eq(sp_tick_ns(967000, 3), 500000);
    cr_expect_eq(sp_tick_ns(INT64_MAX, 1), INT64_C(5000000000000000000));
    cr_expect_str_eq(sp_format_tick(2500000, 500000).text, "2.5 ms");
    cr_expect_str_eq(sp_format_tick(20000, 20000).text, "20 us");
    cr_expect_str_eq(sp_format_tick(100000, 100000).text, "0.1 ms");
    cr_expect_str_eq(sp_format_tick(3, 1).text, "3 ns");
    cr_expect_str_eq(sp_format_tick(INT64_C(30000000000), INT64_C(10000000000)).text, "30 s");
}

/* Any span is divided into at least a few steps and at most as many as asked. */
Test(format, ticks_divide)
{
    for (int64_t span = 1; span < INT64_C(1) << 60; span = span * 3 + 1) {
        for (int most = 1; most < 20; most++) {
            int64_t steps = span / sp_tick_ns(span, most);
            cr_expect_leq(steps, most);
            cr_expect(steps * 5 >= most - 4 || span < most, "%ld in %d", (long)span, most);
        }
    }
}
