/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a row of items (layers, or tiles of tokens) into runs. cost(context, begin, end) is the time of the
 * run [begin, end), begin < end; it must not shrink when a run grows at either end.
 */
#ifndef SLIMPIPE_PLANNER_DIVIDE_H
#define SLIMPIPE_PLANNER_DIVIDE_H

#include <stdint.h>

#include "slimpipe/status.h"

typedef int64_t divide_cost(void *context, uint32_t begin, uint32_t end);

/*
 * Exactly `runs` runs with the least largest cost: stages of a pipeline, whose iteration lasts Σ + (m −
 * 1)·max with Σ fixed (Alpa, arXiv 2201.12023), and slices of equal work (Seq1F1B, arXiv 2406.03488).
 * ret_ends has `runs` entries, the last is count. Exact, by dynamic programming in O(runs · count · log
 * count). 1 ≤ runs ≤ count.
 */
enum sp_status sp_divide_least_largest(uint32_t count, uint32_t runs, divide_cost *cost, void *context,
                                       uint32_t *ret_ends, int64_t *ret_largest,
                                       struct sp_error *error) SP_MUST_CHECK;

/*
 * Any number of runs with the least repeats·Σ + (devices − 1)·max: the slices of TeraPipe (arXiv 2102.07988),
 * a pipeline without backward in between. ret_ends has room for count entries. Exact: each round finds the
 * least Σ (and of these the least max) under a limit on max, and the next limit is what it found.
 */
enum sp_status sp_divide_pipeline(uint32_t count, uint32_t devices, int64_t repeats, divide_cost *cost,
                                  void *context, uint32_t *ret_ends, uint32_t *ret_runs, int64_t *ret_total,
                                  struct sp_error *error) SP_MUST_CHECK;

#endif
