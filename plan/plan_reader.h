/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's state, shared by its files: settings, stages, order. */
#ifndef SLIMPIPE_PLAN_READER_H
#define SLIMPIPE_PLAN_READER_H

#include "slimpipe/json.h"
#include "slimpipe/plan.h"

struct plan_reader {
    const struct sp_json *json;
    const struct sp_json_value *root;
    struct sp_plan *plan;
    uint64_t *part_begin; /* see struct plan_checker */
    struct sp_error *error;
};

enum sp_status sp_plan_reader_out_of_memory(const struct plan_reader *reader);
/* Member `key` of object, which must be an array. */
enum sp_status sp_plan_reader_array(const struct plan_reader *reader, const struct sp_json_value *object,
                                    const char *key, const struct sp_json_value **ret_array) SP_MUST_CHECK;
/* Member `key` of object as text in the plan's arena. */
enum sp_status sp_plan_reader_name(const struct plan_reader *reader, const struct sp_json_value *object,
                                   const char *key, const char **ret_name) SP_MUST_CHECK;

enum sp_status sp_plan_read_stages(struct plan_reader *reader) SP_MUST_CHECK;
enum sp_status sp_plan_read_paths(struct plan_reader *reader) SP_MUST_CHECK;
enum sp_status sp_plan_read_order(struct plan_reader *reader) SP_MUST_CHECK;
enum sp_status sp_plan_read_exchange(struct plan_reader *reader) SP_MUST_CHECK;

#endif
