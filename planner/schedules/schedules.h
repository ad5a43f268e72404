/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the schedule files share. To add a schedule: a file with a const struct sp_schedule sp_schedule_NAME,
 * its line here, and its line in meson.build.
 */
#ifndef SLIMPIPE_PLANNER_SCHEDULES_H
#define SLIMPIPE_PLANNER_SCHEDULES_H

#include "slimpipe/schedule.h"

/* In the order of the registry and of every table. */
#define SP_SCHEDULE_LIST(X)                                                                                  \
    X(slimpipe)                                                                                              \
    X(gpipe)                                                                                                 \
    X(1f1b)                                                                                                  \
    X(1f1b_overlap)                                                                                          \
    X(interleaved)                                                                                           \
    X(interleaved_overlap)                                                                                   \
    X(interleaved_zb)                                                                                        \
    X(looped_bfs)                                                                                            \
    X(terapipe)                                                                                              \
    X(seq1f1b)                                                                                               \
    X(seq1f1b_interleaved)                                                                                   \
    X(zb_h1)                                                                                                 \
    X(zb_h2)                                                                                                 \
    X(zb_1p)                                                                                                 \
    X(zb_2p)                                                                                                 \
    X(zb_v)                                                                                                  \
    X(zb_v_hand)                                                                                             \
    X(v_half)                                                                                                \
    X(v_min)                                                                                                 \
    X(v_auto)                                                                                                \
    X(1f1b_v)                                                                                                \
    X(dualpipe)                                                                                              \
    X(dualpipev)                                                                                             \
    X(chimera)                                                                                               \
    X(hanayo)                                                                                                \
    X(bitpipe)                                                                                               \
    X(slice_v)                                                                                               \
    X(gis)                                                                                                   \
    X(gis_h)                                                                                                 \
    X(po_h)                                                                                                  \
    X(po_f)                                                                                                  \
    X(skippipe)                                                                                              \
    X(forward_only)

#define X(name) extern const struct sp_schedule sp_schedule_##name;
SP_SCHEDULE_LIST(X)
#undef X

/* `check` of a schedule that has no rule of its own. */
enum sp_status sp_schedule_check_any(const struct sp_shape *shape, struct sp_error *error);

/* `bubble` where a device idles only while the pipeline fills and drains: (p − 1)/(nvm + p − 1). */
double sp_schedule_bubble_fill(const struct sp_shape *shape);

/* `device` where stages run to and fro: the first p forth over the devices, the next p back, and so on. */
uint32_t sp_schedule_device_v(const struct sp_shape *shape, uint32_t stage);

#endif
