/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a plan. */
#ifndef SLIMPIPE_PLANNER_H
#define SLIMPIPE_PLANNER_H

#include "slimpipe/plan.h"
#include "slimpipe/program.h"
#include "slimpipe/schedule.h"

/*
 * How a sequence is cut. Equal: equal tokens (SlimPipe). Work: equal FLOPs, so later slices are shorter
 * (Seq1F1B, arXiv 2406.03488). Terapipe: the number and lengths of slices that make a forward pipeline's time
 * least (arXiv 2102.07988); chooses n itself.
 */
enum sp_slice_division { SP_SLICES_EQUAL, SP_SLICES_WORK, SP_SLICES_TERAPIPE };
extern const char *const sp_slice_division_names[]; /* "equal", "work", "terapipe" */

/* How layers are cut into stages. Equal: numbers of layers. Work: their time, embedding and output included.
 */
enum sp_stage_division { SP_STAGES_EQUAL, SP_STAGES_WORK };
extern const char *const sp_stage_division_names[]; /* "equal", "work" */

/* One fully chosen configuration. Zero or NULL means the default, stated at each field. */
struct sp_request {
    const char *schedule;         /* "slimpipe" */
    const struct sp_model *model; /* with cluster and profile; or NULL and costs */
    const struct sp_cluster *cluster;
    const struct sp_profile *profile;
    /* Explicit costs: arrays of cost_stages entries, 1 (for all stages) or p·v. */
    const struct sp_pass_costs *costs;
    uint32_t cost_stages;

    struct sp_parallel parallel; /* zero degrees: 1; data: gpus / (p·t·c) where gpus is set */
    int64_t gpus;                /* 0: p·t·c·d */
    uint32_t chunks;             /* v; 1 */
    uint32_t slices;             /* n; 1 */
    const int64_t *slice_tokens; /* given slices; NULL: by slice_division */
    enum sp_slice_division slice_division;
    enum sp_stage_division stage_division;
    uint32_t window, group;       /* as in struct sp_shape */
    int64_t memory_units;         /* as in struct sp_shape */
    uint32_t stages, path_stages; /* SkipPipe: as in struct sp_shape */
    int64_t sequence_tokens;      /* s */
    int64_t batch_tokens;         /* tokens of an iteration over all replicas; or */
    int64_t microbatches;         /* m per replica */
    int64_t microbatch_sequences; /* b; 1 */
    enum sp_recompute recompute;
    uint32_t offload_permille;
    enum sp_kv_gradient kv_gradient;
    enum sp_vocabulary vocabulary;
    bool vocabulary_is_set;       /* false: scatter for slimpipe with a model, else last */
    const char *exchange;         /* "none" */
    int64_t memory_cap_bytes;     /* 0: none is checked */
    const uint32_t *stage_layers; /* layers of each stage; NULL: as equal as can be */
    uint32_t stage_layer_count;   /* its entries; 0: trusted to be p·v */
    /* Per stage, in place of recompute and offload_permille; NULL: these for all. */
    const enum sp_recompute *stage_recompute;
    const uint32_t *stage_offload;
};

/* Makes and checks the plan; memory caps are left to the caller (sp_program_check_memory). */
enum sp_status sp_plan_compose(const struct sp_request *request, struct sp_plan **ret_plan,
                               struct sp_error *error) SP_MUST_CHECK;

/*
 * Exchange policies, one file each, NULL-terminated registry: "none", "pairwise" (the SlimPipe authors'
 * rule), "optimal" (GLPK). fill adds parts to a plan whose order is final; parts live in plan->arena.
 */
struct sp_exchange_policy {
    const char *name, *description;
    enum sp_status (*fill)(struct sp_plan *plan, struct sp_error *error);
};
extern const struct sp_exchange_policy *const sp_exchange_policies[];
const struct sp_exchange_policy *sp_exchange_policy_find(const char *name);

/*
 * Places S and T passes of a vocabulary policy in an order that has none: each device's S goes after its last
 * pass that starts before the hidden states arrive; its T where its gradient is back just before the last
 * stage's backward. Found by simulating the order; never makes a cycle.
 */
enum sp_status sp_vocabulary_place(struct sp_plan *plan, struct sp_error *error) SP_MUST_CHECK;

/*
 * A lower bound of the makespan of any order and any exchange of the plan's passes: stages, slices and costs
 * are given, attention over past slices may be computed anywhere. A linear programme (GLPK) over the idle
 * time that the pipeline's fill and drain force on each device and the attention that could be moved into it.
 * At least sp_sim_bound where nothing can be moved. Whole nanoseconds, rounded down.
 */
enum sp_status sp_plan_bound(const struct sp_program *program, int64_t *ret_bound_ns,
                             struct sp_error *error) SP_MUST_CHECK;

#endif
