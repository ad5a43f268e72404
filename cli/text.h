/* SPDX-License-Identifier: Apache-2.0 */
/* A text to train on, as tokens. */
#ifndef SLIMPIPE_CLI_TEXT_H
#define SLIMPIPE_CLI_TEXT_H

#include <stdint.h>

#include "slimpipe/status.h"

/* One token a byte; *ret_tokens is freed with sp_free. */
enum sp_status text_read(const char *path, int32_t **ret_tokens, int64_t *ret_count,
                         struct sp_error *error) SP_MUST_CHECK;
/* Numbers below `vocab` that have nothing to do with each other, for when only time counts. */
enum sp_status text_make(int64_t vocab, int64_t count, int32_t **ret_tokens,
                         struct sp_error *error) SP_MUST_CHECK;

#endif
