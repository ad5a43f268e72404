/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers for people: three significant digits and a unit, always ASCII, so that columns align by bytes.
 *
 * The functions return a small struct by value, whose text lives to the end of the full expression:
 * printf("%8s", sp_format_time(ns).text).
 */
#ifndef SLIMPIPE_FORMAT_H
#define SLIMPIPE_FORMAT_H

#include <stdint.h>

struct sp_format {
    char text[32];
};

/* "0 ns", "967 us", "12.3 ms", "1.20 s", "3421 s"; negative with a minus. */
struct sp_format sp_format_time(int64_t ns);
/* Powers of 1024: "512 B", "1.50 KiB", "43.2 GiB". */
struct sp_format sp_format_bytes(int64_t bytes);
/* Exact below 10000, then powers of 1000: "9999", "41.2 K", "1.20 M"; "-" for NaN. */
struct sp_format sp_format_count(double count);
/* A share as percent with one digit: 0.0212 is "2.1 %"; "-" for NaN. */
struct sp_format sp_format_percent(double share);
/* The same with a sign: "+4.9 %". */
struct sp_format sp_format_change(double share);
/* "0" or "4-7": the numbers first … first + count − 1. */
struct sp_format sp_format_range(uint32_t first, uint32_t count);

/*
 * Ticks of a time axis: the smallest of 1, 2, 5 times a power of ten that divides span_ns into at most `most`
 * steps. ≥ 1.
 */
int64_t sp_tick_ns(int64_t span_ns, int most);
/* A tick's label in the unit that suits the step: at 2500000 with step 500000 "2.5 ms". */
struct sp_format sp_format_tick(int64_t at_ns, int64_t step_ns);

#endif
