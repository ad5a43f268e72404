/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of the door, one file each, over one shared state. They run in this order, and each trusts what
 * the ones before have checked: settings, stages, order, units, exchange, deadlock.
 */
#ifndef SLIMPIPE_PLAN_CHECK_H
#define SLIMPIPE_PLAN_CHECK_H

#include "slimpipe/plan.h"

/* Where in the document a plan breaks a rule. */
struct sp_plan_place {
    char path[96];  /* JSON path of the value; empty: the document */
    bool has_token; /* the value is a string of tokens and the place is one of them */
    uint64_t token; /* its number in the string, a joined pair counted as two passes */
};

struct plan_checker {
    struct sp_plan *plan;
    /* By device of the pass, as the document has it: its parts are exchange[part_begin[d] …]. NULL for a plan
     * that comes from no document. */
    const uint64_t *part_begin;
    struct sp_arena *scratch;
    struct sp_plan_place *place;
    struct sp_error *error;

    uint64_t pass_count;
    uint16_t *device_of; /* by index in order.passes */
    struct sp_pass_table *table;
    /* Neighbours on paths by (microbatch, stage); NULL where every microbatch takes all stages in order. */
    uint16_t *previous, *next;
};

/* Stands in previous and next at a path's ends, and everywhere for a stage that is not on it. */
enum { PLAN_PATH_END = SP_MAX_STAGES, PLAN_OFF_PATH };

/* sp_plan_check, which also tells the place. */
enum sp_status sp_plan_check_document(struct sp_plan *plan, const uint64_t *part_begin,
                                      struct sp_plan_place *place, struct sp_error *error) SP_MUST_CHECK;

enum sp_status sp_plan_check_settings(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_model(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_costs(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_stages(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_paths(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_order(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_units(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_exchange(struct plan_checker *checker) SP_MUST_CHECK;
enum sp_status sp_plan_check_deadlock(struct plan_checker *checker) SP_MUST_CHECK;

/* Places. */
struct sp_plan_place sp_plan_place_at(const char *format, ...) SP_PRINTF(1, 2);
struct sp_plan_place sp_plan_place_of_pass(const struct plan_checker *checker, uint64_t index);

/* SP_INPUT at place. */
enum sp_status sp_plan_refuse(struct plan_checker *checker, struct sp_plan_place place, const char *format,
                              ...) SP_PRINTF(3, 4);
enum sp_status sp_plan_out_of_memory(struct plan_checker *checker);

/* A whole number of the document and its limits. */
struct plan_limit {
    const char *path;
    int64_t value, least, most;
};
enum sp_status sp_plan_check_limits(struct plan_checker *checker, const struct plan_limit *limits,
                                    size_t count) SP_MUST_CHECK;

/* Text of the pass at index. */
struct pass_name {
    char text[32];
};
struct pass_name sp_plan_pass_name(const struct plan_checker *checker, uint64_t index);

/* Neighbours on a path, in constant time: a stage, PLAN_PATH_END or PLAN_OFF_PATH. */
uint32_t sp_plan_path_previous(const struct plan_checker *checker, uint32_t microbatch, uint32_t stage);
uint32_t sp_plan_path_next(const struct plan_checker *checker, uint32_t microbatch, uint32_t stage);

#endif
