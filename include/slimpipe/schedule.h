/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of schedules. A schedule decides where stages lie and in which order each device runs its
 * passes; it is one file in planner/schedules/, and by being in the registry it is in every table and test.
 */
#ifndef SLIMPIPE_SCHEDULE_H
#define SLIMPIPE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/plan.h"

/* What a schedule is asked for. */
struct sp_shape {
    uint32_t devices;      /* p */
    uint32_t chunks;       /* v, stages per device */
    uint32_t microbatches; /* m */
    uint32_t slices;       /* n */
    uint32_t window;       /* SlimPipe: extra units per later rank, 1 or 2; 0: the schedule's default */
    uint32_t group;        /* group size of interleaved and GIS; 0: the default */
    /* For automatic schedules: the cap, in 1/1000 of the activations of a microbatch on a device (all its
     * chunks), 0: none; and how much of a unit's activations stays from I until W, in 1/1000, 0: 500. */
    int64_t memory_units;
    uint32_t weight_held_permille;
    /* For schedules that look at times (ZB automatic, V greedy): mean of one pass, and a hop. */
    int64_t forward_ns, input_ns, weight_ns, message_ns;
    /* SkipPipe: stages in all, dealt out to the p nodes in turn, 0: p; how many of them a microbatch visits,
     * 0: two thirds; the hop from node i to node j at [i·p + j], NULL: message_ns; and how long a pass takes
     * on each node, in 1/1000 of the times above, NULL: 1000. */
    uint32_t stages, path_stages;
    const int64_t *link_ns;
    const uint32_t *device_permille;
};

/* What a schedule needs and gives. */
enum sp_schedule_trait {
    SP_SCHEDULE_SLICES = 1 << 0,       /* works with n > 1 */
    SP_SCHEDULE_CHUNKS = 1 << 1,       /* works with v > 1 */
    SP_SCHEDULE_SPLITS_W = 1 << 2,     /* I and W instead of B */
    SP_SCHEDULE_TWIN_WEIGHTS = 1 << 3, /* stages have replicas */
    SP_SCHEDULE_FORWARD_ONLY = 1 << 4,
    SP_SCHEDULE_USES_COSTS = 1 << 5,  /* reads the times of the shape */
    SP_SCHEDULE_USES_MEMORY = 1 << 6, /* reads memory_units */
    SP_SCHEDULE_JOINS = 1 << 7,       /* overlapped pairs */
    SP_SCHEDULE_OFFLOADS = 1 << 8,    /* O and L passes stand in the order */
    SP_SCHEDULE_USES_WINDOW = 1 << 9, /* reads window */
    SP_SCHEDULE_USES_GROUP = 1 << 10, /* reads group */
    SP_SCHEDULE_SKIPS = 1 << 11,      /* microbatches leave stages out: another training, less work */
};

/* Builds orders: passes appended per device. */
struct sp_order_builder;
void sp_order_push(struct sp_order_builder *builder, uint32_t device, enum sp_pass_kind kind, uint32_t stage,
                   uint32_t microbatch, uint32_t slice);
/* As push, and runs overlapped with the next pass pushed on this device. */
void sp_order_push_joined(struct sp_order_builder *builder, uint32_t device, enum sp_pass_kind kind,
                          uint32_t stage, uint32_t microbatch, uint32_t slice);

struct sp_schedule {
    const char *name;        /* as typed: "slimpipe", "1f1b", "interleaved", … */
    const char *description; /* one line */
    const char *source;      /* paper or code that defines it */
    unsigned traits;
    uint32_t default_chunks; /* v where none is asked; 0: 1 */
    /* SP_INPUT with the rule that shape breaks. */
    enum sp_status (*check)(const struct sp_shape *shape, struct sp_error *error);
    /* Device of a stage; stages are 0 … p·v − 1. NULL: cyclic, stage mod p. */
    uint32_t (*device)(const struct sp_shape *shape, uint32_t stage);
    /* Second device of a stage (SP_SCHEDULE_TWIN_WEIGHTS); else NULL. */
    uint32_t (*twin)(const struct sp_shape *shape, uint32_t stage);
    /* SP_SCHEDULE_SKIPS; else NULL. How many stages there are (stage i on devices i, i + that many, …), and
     * the stages of each microbatch in forward order as in struct sp_plan, in the arena. */
    uint32_t (*stage_count)(const struct sp_shape *shape);
    enum sp_status (*paths)(const struct sp_shape *shape, struct sp_arena *arena, const uint32_t **ret_begin,
                            const uint16_t **ret_stages, struct sp_error *error);
    /* Pushes all passes. Memory errors are kept by the builder. SP_INFEASIBLE where the memory does not allow
     * it. */
    enum sp_status (*order)(const struct sp_shape *shape, struct sp_order_builder *builder,
                            struct sp_error *error);
    /* Mean-idle bubble with equal passes, B = 2 F and free messages, where it has a closed form; else NULL.
     */
    double (*bubble)(const struct sp_shape *shape);
};

/* All schedules, NULL-terminated. */
extern const struct sp_schedule *const sp_schedules[];
/* NULL where there is none of the name. */
const struct sp_schedule *sp_schedule_find(const char *name);

/* The limits of a plan, the traits, and the schedule's own check: SP_INPUT with the rule that shape breaks.
 */
enum sp_status sp_schedule_check(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                 struct sp_error *error) SP_MUST_CHECK;
/* Checks shape, then makes the order in the arena. */
enum sp_status sp_schedule_order(const struct sp_schedule *schedule, const struct sp_shape *shape,
                                 struct sp_arena *arena, struct sp_order *ret_order,
                                 struct sp_error *error) SP_MUST_CHECK;
/* p·v, or schedule->stage_count. */
uint32_t sp_schedule_stage_count(const struct sp_schedule *schedule, const struct sp_shape *shape);
/* First device of a stage, where schedule->device is NULL too. */
uint32_t sp_schedule_device(const struct sp_schedule *schedule, const struct sp_shape *shape, uint32_t stage);
/* The k-th further device of a stage, from 0; SP_NO_DEVICE where there is none. */
#define SP_NO_DEVICE UINT32_MAX
uint32_t sp_schedule_replica(const struct sp_schedule *schedule, const struct sp_shape *shape, uint32_t stage,
                             uint32_t k);

#endif
