/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flat parts of a plan as tables: key, type and place in a struct. Reader and writer go through the same
 * table, so they cannot drift apart. Limits are left to the checks.
 */
#ifndef SLIMPIPE_PLAN_FIELDS_H
#define SLIMPIPE_PLAN_FIELDS_H

#include "slimpipe/json.h"
#include "slimpipe/plan.h"

enum plan_field_type {
    PLAN_WHOLE,  /* int64_t */
    PLAN_REAL,   /* double */
    PLAN_FLAG,   /* bool */
    PLAN_TEXT,   /* char[more] */
    PLAN_CHOICE, /* int-sized enum, names */
    PLAN_UNLESS, /* the same, left out where it is the first name */
    PLAN_LINK,   /* struct sp_link */
    PLAN_CURVE,  /* struct sp_efficiency[SP_PROFILE_POINTS], int count at offset `more` */
    PLAN_ARRAY   /* const int64_t *, one number for each stage; NULL: left out */
};

struct plan_field {
    const char *key; /* NULL ends a table */
    enum plan_field_type type;
    size_t offset, more;
    const char *const *names;
    bool optional; /* may be left out; the struct holds the default */
};

extern const struct plan_field sp_plan_parallel_fields[], sp_plan_workload_fields[], sp_plan_option_fields[],
    sp_plan_model_fields[], sp_plan_cluster_fields[], sp_plan_profile_fields[], sp_plan_cost_fields[];

/* Reads object into the struct at target; arrays go to plan->arena. */
enum sp_status sp_plan_read_fields(const struct sp_json *json, const struct sp_json_value *object,
                                   const struct plan_field *fields, struct sp_plan *plan, void *target,
                                   struct sp_error *error) SP_MUST_CHECK;
void sp_plan_write_fields(struct sp_json_writer *writer, const char *key, const struct plan_field *fields,
                          const struct sp_plan *plan, const void *source);

/* An array of whole numbers of any length; the items in arena. */
enum sp_status sp_plan_read_numbers(const struct sp_json *json, const struct sp_json_value *array,
                                    int64_t most, struct sp_arena *arena, const int64_t **ret_numbers,
                                    size_t *ret_count, struct sp_error *error) SP_MUST_CHECK;

#endif
