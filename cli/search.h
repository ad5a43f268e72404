/* SPDX-License-Identifier: Apache-2.0 */
/* `slimpipe plan` without --pp: the search, its table, and why the best plan is the best. */
#ifndef SLIMPIPE_CLI_SEARCH_H
#define SLIMPIPE_CLI_SEARCH_H

#include "slimpipe/search.h"

#include "plan_options.h"

/* Runs the search for what the options leave open. ret_result needs sp_search_finish when SP_OK. */
enum sp_status search_run(const struct plan_options *options, const struct plan_inputs *inputs,
                          struct sp_search_result *ret_result, struct sp_error *error) SP_MUST_CHECK;
/* The best plans, how many were considered and why the others were dropped. */
void search_print(const struct sp_search_result *result, FILE *stream);
/* plans[] best first, with configuration, and the counts. */
enum sp_status search_write_json(const struct sp_search_result *result, const char *path,
                                 struct sp_error *error) SP_MUST_CHECK;

#endif
