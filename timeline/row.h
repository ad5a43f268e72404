/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of a picture: which device or group of neighbours a row shows, and what it does in each of many equal
 * stretches of time. Nothing is allocated: a row is swept from left to right.
 */
#ifndef SP_TIMELINE_ROW_H
#define SP_TIMELINE_ROW_H

#include "palette.h"
#include "slimpipe/timeline.h"

enum { SP_ROWS = 64, SP_ROW_DEVICES = SP_MAX_DEVICES / SP_ROWS, SP_KEYS = SP_PAINTS * SP_SHADES };

/* Splits devices into at most SP_ROWS (or fewer: `most`) rows of neighbours. */
struct sp_rows {
    uint32_t count, devices_per_row, device_count;
};
struct sp_rows sp_rows_split(uint32_t device_count, uint32_t most);
/* First device of a row and number of them. */
uint32_t sp_rows_devices(const struct sp_rows *rows, uint32_t row, uint32_t *ret_count);

/* First start and last end of all instructions; 0 and 0 where there are none. */
void sp_timeline_span(const struct sp_timeline *timeline, int64_t *ret_begin_ns, int64_t *ret_end_ns);

struct sp_sweep {
    const struct sp_timeline *timeline;
    uint32_t first, count; /* devices */
    int64_t begin_ns;
    double bucket_ns;
    int64_t bucket;
    uint32_t cursor[SP_ROW_DEVICES]; /* in stream_items: first instruction that may reach into the bucket */
};

/* Sweeps [begin_ns, end_ns) in `buckets` steps; count ≤ SP_ROW_DEVICES. */
void sp_sweep_init(struct sp_sweep *sweep, const struct sp_timeline *timeline, uint32_t first, uint32_t count,
                   int64_t begin_ns, int64_t end_ns, int64_t buckets);
/*
 * Shares of the next bucket's time by paint · SP_SHADES + shade, mean over the devices; the rest up to 1 is
 * idle.
 */
void sp_sweep_next(struct sp_sweep *sweep, double shares[SP_KEYS]);

#endif
