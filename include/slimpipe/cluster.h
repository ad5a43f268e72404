/* SPDX-License-Identifier: Apache-2.0 */
/* The machines: rates, memory and links. All rates are per GPU and direction. */
#ifndef SLIMPIPE_CLUSTER_H
#define SLIMPIPE_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/status.h"

struct sp_link {
    int64_t latency_ns;
    int64_t bytes_per_second; /* 0: unlimited */
};

/*
 * What numbers are held in. bf16: 2 bytes, float32 main gradients and master copy, counted as the SlimPipe
 * authors' planner does. float32: everything 4 bytes, no master copy, counted as the host backend holds it.
 */
enum sp_precision { SP_PRECISION_BF16, SP_PRECISION_FLOAT32 };
extern const char *const sp_precision_names[]; /* "bf16", "float32", NULL */

struct sp_cluster {
    char name[64];
    enum sp_precision precision;
    int64_t gpus_per_node;
    int64_t matrix_flops;            /* peak dense bf16 FLOP/s; 1e15 fits */
    int64_t memory_bytes;            /* device memory; 0: no cap */
    int64_t memory_bytes_per_second; /* device memory bandwidth; 0: unlimited */
    struct sp_link intra_node;       /* NVLink or its like, GPU to GPU */
    struct sp_link inter_node;       /* network, GPU to GPU */
    struct sp_link host_link;        /* device to host, per link */
    int64_t gpus_per_host_link;      /* GPUs that share one host link */
    int64_t host_memory_bytes;       /* per node; 0: no cap */
    char profile[64];                /* name of the efficiency profile */
};

/* One step of an efficiency curve: from `size` on, `permille` of peak; between steps it is interpolated. */
struct sp_efficiency {
    int64_t size;
    int64_t permille; /* 1 … 1000 */
};

enum { SP_PROFILE_POINTS = 32 };

/*
 * What a device reaches in practice. Guessed ones are in presets/profiles with their source, measured ones
 * are written by `slimpipe calibrate`; both have the same form. Sizes: matrix: rows of the left matrix
 * (tokens); attention: query tokens of a slice per rank; link: bytes of a message. Curves are interpolated in
 * log(size) and constant beyond their ends.
 */
struct sp_profile {
    char name[64];
    char provenance[160]; /* where the numbers come from */
    int matrix_points, attention_points, link_points;
    struct sp_efficiency matrix[SP_PROFILE_POINTS];
    struct sp_efficiency attention[SP_PROFILE_POINTS];
    struct sp_efficiency link[SP_PROFILE_POINTS];
    int64_t launch_ns;               /* fixed cost of a layer's pass beyond the roofline */
    int64_t memory_permille;         /* reached share of the memory bandwidth */
    int64_t tensor_overlap_permille; /* share of each kind of communication hidden behind compute */
    int64_t context_overlap_permille;
    int64_t expert_overlap_permille;
    int64_t data_overlap_permille;
};

/* Reads presets/clusters/NAME.json or a path. */
enum sp_status sp_cluster_read(const char *name_or_path, struct sp_cluster *ret_cluster,
                               struct sp_error *error) SP_MUST_CHECK;
/* Reads presets/profiles/NAME.json or a path. */
enum sp_status sp_profile_read(const char *name_or_path, struct sp_profile *ret_profile,
                               struct sp_error *error) SP_MUST_CHECK;

/*
 * Finds the file of a preset: a name with a slash or ending in .json is a path as it stands; else
 * DIR/kind/NAME.json in the first of $SLIMPIPE_PRESETS, the installed directory, the source tree. kind:
 * "models", "clusters", "profiles". SP_INPUT lists the names there are.
 */
enum sp_status sp_preset_find(const char *kind, const char *name_or_path, char *ret_path, unsigned long size,
                              struct sp_error *error) SP_MUST_CHECK;

#endif
