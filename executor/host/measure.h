/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLIMPIPE_EXECUTOR_HOST_MEASURE_H
#define SLIMPIPE_EXECUTOR_HOST_MEASURE_H

#include "slimpipe/executor.h"

/* The backend's functions of the same names, without `sp_host_`. */
enum sp_status sp_host_measure_layer(const struct sp_model *model, int64_t sequences, int64_t tokens,
                                     int64_t past, struct sp_layer_measure *ret_measure,
                                     struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_host_measure_rates(struct sp_machine_measure *ret_measure,
                                     struct sp_error *error) SP_MUST_CHECK;

#endif
