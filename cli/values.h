/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of options. Each function takes all of text, or fails with SP_INPUT and a message that names the
 * option (as typed, "--seq-len"), the value and what was expected.
 */
#ifndef SLIMPIPE_CLI_VALUES_H
#define SLIMPIPE_CLI_VALUES_H

#include <stdint.h>

#include "slimpipe/status.h"

/* A whole number, least … most. */
enum sp_status value_count(const char *option, const char *text, int64_t least, int64_t most,
                           int64_t *ret_count, struct sp_error *error) SP_MUST_CHECK;
/* A whole number, with K, M, G or T for powers of 1024: 512K = 524288. */
enum sp_status value_size(const char *option, const char *text, int64_t least, int64_t most,
                          int64_t *ret_size, struct sp_error *error) SP_MUST_CHECK;
/* Nanoseconds, or a number with ns, us, ms or s: 18.522ms. */
enum sp_status value_time(const char *option, const char *text, int64_t *ret_ns,
                          struct sp_error *error) SP_MUST_CHECK;
/* A share from 0 to 1 in steps of 1/1000. */
enum sp_status value_share(const char *option, const char *text, int64_t *ret_permille,
                           struct sp_error *error) SP_MUST_CHECK;
/* A positive number in steps of 1/1000. */
enum sp_status value_thousandths(const char *option, const char *text, int64_t *ret_thousandths,
                                 struct sp_error *error) SP_MUST_CHECK;
/* Index of text in the NULL-terminated names. */
enum sp_status value_choice(const char *option, const char *text, const char *const names[], int *ret_index,
                            struct sp_error *error) SP_MUST_CHECK;
/* Sizes separated by commas; *ret_list is freed with sp_free. */
enum sp_status value_list(const char *option, const char *text, int64_t least, int64_t most,
                          uint32_t *ret_count, int64_t **ret_list, struct sp_error *error) SP_MUST_CHECK;

#endif
