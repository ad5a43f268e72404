/* SPDX-License-Identifier: Apache-2.0 */
/* From a place that a check names to a line and column of the document. */
#ifndef SLIMPIPE_PLAN_PLACE_H
#define SLIMPIPE_PLAN_PLACE_H

#include "plan_check.h"
#include "slimpipe/json.h"

/* Adds source, path, line and column to an error of meaning; leaves other errors alone. */
void sp_plan_locate(const struct sp_json *json, const struct sp_plan_place *place, struct sp_error *error);

#endif
