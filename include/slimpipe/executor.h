/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor: replays a program for real.
 *
 * One walker per device interprets the program: it runs the device's compute instructions in order on a
 * backend, and hands messages to a transport. Both are `const` structs of functions in registries. Nothing
 * else interprets a program in real time.
 *
 * Every wait has a limit. A device that fails, a message that never comes, or a stop request ends all
 * devices, and sp_executor_step returns one error that names the device, the instruction and what it waited
 * for.
 */
#ifndef SLIMPIPE_EXECUTOR_H
#define SLIMPIPE_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/timeline.h"

/*
 * Wall: real time. Virtual: an instruction runs for real and takes the CPU time of its thread, a message or a
 * copy what the program says; as many instructions run at once as there are cores, so that the measurements
 * do not disturb each other. Plan: everything takes what the program says, so that the timeline is that of
 * the simulator's plain rules to the nanosecond, where no two devices share a host link.
 */
enum sp_clock { SP_CLOCK_WALL, SP_CLOCK_VIRTUAL, SP_CLOCK_PLAN };
extern const char *const sp_clock_names[]; /* "wall", "virtual", "plan", NULL */

/* --- Device memory ------------------------------------------------------------------------------------- */

/*
 * A device's memory by category: every block that a backend allocates for what the ledger counts. Used by one
 * thread at a time.
 */
struct sp_device_arena;
/* Aligned to 64 bytes, booked with exactly `bytes`, not zeroed; NULL when memory is short. */
void *sp_device_alloc(struct sp_device_arena *arena, enum sp_memory_category category, int64_t bytes);
/* NULL is fine. */
void sp_device_free(struct sp_device_arena *arena, void *block);
/*
 * The block with a new size, its content kept up to the smaller one; booked as one change. The block, where
 * NULL is returned, is still there.
 */
void *sp_device_resize(struct sp_device_arena *arena, void *block, int64_t bytes);

/* --- Training ------------------------------------------------------------------------------------------ */

/* What a backend trains on, and how. Borrowed until the executor goes. */
struct sp_training {
    const int32_t *tokens; /* below the model's vocabulary; at least one sequence and one token more */
    int64_t token_count;
    uint64_t seed;                            /* of the initial weights */
    float rate, beta1, beta2, epsilon, decay; /* AdamW; decay decoupled */
    bool sgd;                                 /* plain gradient descent instead; state is held all the same */
    bool keep_gradients;                      /* no optimizer step: gradients stay to be looked at */
};
/* rate 1e-3, betas 0.9 and 0.95, epsilon 1e-8, no decay; no tokens. */
struct sp_training sp_training_default(void);

/* A named piece of a model on one device. Names are those of Hugging Face checkpoints. */
struct sp_tensor {
    char name[96];
    int64_t offset, count;    /* elements of the named tensor: [offset, offset + count) */
    int64_t whole;            /* elements that the whole tensor has */
    float *weight, *gradient; /* gradient NULL where the stage is not trained */
    float *first, *second;    /* the optimizer's moments */
};

/* --- Backends ------------------------------------------------------------------------------------------ */

/* A message that has come: its instruction's number and its content. */
struct sp_parcel {
    uint32_t message;
    const void *data;
    int64_t bytes;
};

/*
 * What a backend knows of the device that it works for. send and receive move what the program has no message
 * for, at the end of an iteration: first in, first out per pair of devices; receive takes exactly `bytes`.
 */
struct sp_device {
    const struct sp_program *program;
    uint32_t number;
    struct sp_device_arena *memory;
    const struct sp_training *training;
    void *walker;
    enum sp_status (*send)(const struct sp_device *device, uint32_t to, const void *data, int64_t bytes,
                           struct sp_error *error);
    enum sp_status (*receive)(const struct sp_device *device, uint32_t from, void *data, int64_t bytes,
                              struct sp_error *error);
};

/* Of one layer over a slice, forward and backward with weights: all but the attention; the attention. */
struct sp_layer_measure {
    int64_t linear_ns, attention_ns;
};
struct sp_machine_measure {
    int64_t matrix_flops, memory_bytes_per_second; /* what one device reaches at best */
};

struct sp_backend {
    const char *name, *description;
    /* NULL where it can run here, else why not: static text. */
    const char *(*probe)(void);
    /* SP_UNSUPPORTED, with what of the plan it cannot run. Optional. */
    enum sp_status (*check)(const struct sp_program *program, struct sp_error *error);
    /* The device's state, resident memory allocated. device outlives it. */
    enum sp_status (*create)(const struct sp_device *device, void **ret_state, struct sp_error *error);
    void (*destroy)(void *state);
    /* Before and after an iteration. finish adds the device's share of the mean loss to *loss. Optional. */
    enum sp_status (*begin)(void *state, int64_t step, struct sp_error *error);
    enum sp_status (*finish)(void *state, double *loss, struct sp_error *error);
    /* Runs one compute instruction. inputs: the messages that it waits for, in the order of its waits. */
    enum sp_status (*run)(void *state, uint32_t instruction, const struct sp_parcel *inputs, int count,
                          struct sp_error *error);
    /* After the messages that the instruction made were packed: what it held may go. Optional. */
    enum sp_status (*end)(void *state, uint32_t instruction, struct sp_error *error);
    /* Fills a message, of the size that the program says. inputs: the messages that this one waits for. */
    enum sp_status (*pack)(void *state, uint32_t message, const struct sp_parcel *inputs, int count,
                           void *data, struct sp_error *error);
    /* An offload or a reload. Optional. */
    enum sp_status (*copy)(void *state, uint32_t instruction, struct sp_error *error);
    /* The index-th tensor of the device; false beyond the last. Optional. */
    bool (*tensor)(void *state, int index, struct sp_tensor *ret_tensor);
    /* For calibration; past: tokens before the slice. Both, or neither. */
    enum sp_status (*measure_layer)(const struct sp_model *model, int64_t sequences, int64_t tokens,
                                    int64_t past, struct sp_layer_measure *ret_measure,
                                    struct sp_error *error);
    enum sp_status (*measure_rates)(struct sp_machine_measure *ret_measure, struct sp_error *error);
};

/* NULL-terminated. */
extern const struct sp_backend *const sp_backends[];
const struct sp_backend *sp_backend_find(const char *name);

/* --- Transports ---------------------------------------------------------------------------------------- */

/*
 * Letters between devices. A slot holds letters in the order of their arrival; the walker numbers slots:
 * a message's slot is its instruction's number. Functions may be called by all local devices at once.
 */
struct sp_letter {
    struct sp_letter *next;
    uint32_t from, to, slot;
    int64_t bytes;
    int64_t start_ns, end_ns; /* by the sender's clock: first byte sent, last byte there */
    _Alignas(64) unsigned char data[];
};
/* NULL when memory is short. */
struct sp_letter *sp_letter_create(int64_t bytes);
void sp_letter_destroy(struct sp_letter *letter);

struct sp_transport {
    const char *name, *description;
    const char *(*probe)(void);
    enum sp_status (*open)(uint32_t devices, uint32_t slots, void **ret_state, struct sp_error *error);
    void (*close)(void *state);
    /* Devices [*ret_first, *ret_end) live in this process. */
    void (*local)(void *state, uint32_t *ret_first, uint32_t *ret_end);
    /* Takes the letter over, whatever it returns. */
    enum sp_status (*send)(void *state, struct sp_letter *letter, struct sp_error *error);
    /* The first letter of a slot of device `to`, taken out; NULL: none is there. */
    struct sp_letter *(*take)(void *state, uint32_t to, uint32_t slot);
    /*
     * Waits until something has come to device `to` since *seen (0 at first), a stop, or limit_ns have gone
     * by. *seen is updated. False: everything was stopped.
     */
    bool (*wait)(void *state, uint32_t to, uint64_t *seen, int64_t limit_ns);
    /* Ends all waits of all devices, now and later. Callable from any thread, more than once. */
    void (*stop)(void *state);
    /*
     * The sum of every value over all processes, in each of them; where every value is 0 in all processes
     * but one, this shares it. Called by one thread of each process. NULL: there is one process.
     */
    enum sp_status (*share)(void *state, int64_t *values, size_t count, struct sp_error *error);
};
extern const struct sp_transport *const sp_transports[];
const struct sp_transport *sp_transport_find(const char *name);

/*
 * Measures the machine at the plan's shapes (model, sequences, slice sizes), on the calling thread: the
 * plan's cluster and profile with rates and efficiencies as they are here; links stay. SP_UNSUPPORTED where
 * the backend measures nothing.
 */
enum sp_status sp_calibrate(const struct sp_backend *backend, const struct sp_plan *plan,
                            struct sp_cluster *ret_cluster, struct sp_profile *ret_profile,
                            struct sp_error *error) SP_MUST_CHECK;

/* --- Running ------------------------------------------------------------------------------------------- */

struct sp_executor_settings {
    const struct sp_backend *backend;
    const struct sp_transport *transport;
    enum sp_clock clock;
    int64_t limit_ms; /* of every wait, and of every instruction */
    int cores;        /* instructions that run at once with the virtual clock; 0: all cores */
    struct sp_training training;
};
/* Backend "null", transport "threads", wall clock, 60 s. */
struct sp_executor_settings sp_executor_settings_default(void);

struct sp_executor;

/*
 * The program is borrowed. SP_UNSUPPORTED names what of the plan the backend or the transport cannot do;
 * SP_MEMORY, SP_DEVICE.
 */
enum sp_status sp_executor_create(const struct sp_program *program,
                                  const struct sp_executor_settings *settings,
                                  struct sp_executor **ret_executor, struct sp_error *error) SP_MUST_CHECK;
/*
 * Waits for what still runs, at most one limit; what then hangs keeps its memory. NULL is fine.
 */
void sp_executor_destroy(struct sp_executor *executor);

/* What one iteration gave. */
struct sp_step {
    double loss; /* mean over all tokens */
    int64_t makespan_ns;
};
/*
 * One iteration. timeline, which may be NULL, is of the same program and gets its times (source "measured").
 * After a failure every further step fails. SP_DEVICE: a device failed or a wait was too long; SP_STOPPED: by
 * sp_executor_stop; else what a backend returned.
 */
enum sp_status sp_executor_step(struct sp_executor *executor, int64_t step, struct sp_timeline *timeline,
                                struct sp_step *ret_step, struct sp_error *error) SP_MUST_CHECK;
/* Makes a running step and all later ones return SP_STOPPED. May be called from a signal handler. */
void sp_executor_stop(struct sp_executor *executor);

/*
 * Weights and optimizer state of all `devices` of the program, all in this process, and the number of the
 * next step. The file is there whole or not at all. Loading needs the plan that saved; SP_INPUT, with the
 * place, leaves the tensors undefined.
 */
enum sp_status sp_executor_save(const struct sp_executor *executor, uint32_t devices, int64_t next_step,
                                const char *path, struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_executor_load(struct sp_executor *executor, uint32_t devices, const char *path,
                                int64_t *ret_next_step, struct sp_error *error) SP_MUST_CHECK;

/* High-water marks of a device's arena since it was created; only of a device of this process. */
void sp_executor_memory(const struct sp_executor *executor, uint32_t device,
                        struct sp_device_memory *ret_memory);
/* Whether this process runs the device. */
bool sp_executor_is_local(const struct sp_executor *executor, uint32_t device);
/* The index-th tensor of a local device; false beyond the last. */
bool sp_executor_tensor(const struct sp_executor *executor, uint32_t device, int index,
                        struct sp_tensor *ret_tensor);

#endif
