/* SPDX-License-Identifier: Apache-2.0 */
/* A request planned, lowered and simulated: its figures alone. */
#ifndef SLIMPIPE_PLANNER_PREDICT_H
#define SLIMPIPE_PLANNER_PREDICT_H

#include "slimpipe/planner.h"

struct sp_predicted {
    int64_t time_ns, bound_ns, peak_bytes, message_bytes;
    double bubble_mean_idle, bubble_longest_span, gap, mfu;
};

/* The cap is not checked. */
enum sp_status sp_predict(const struct sp_request *request, struct sp_predicted *ret_predicted,
                          struct sp_error *error) SP_MUST_CHECK;

#endif
