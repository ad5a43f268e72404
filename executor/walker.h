/* SPDX-License-Identifier: Apache-2.0 */
/* Inside executor/: what the walkers of a process share, and one device's walker. */
#ifndef SLIMPIPE_EXECUTOR_WALKER_H
#define SLIMPIPE_EXECUTOR_WALKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "device_arena.h"
#include "slimpipe/executor.h"

/* Lets as many in as there are cores. */
struct cores {
    pthread_mutex_t lock;
    pthread_cond_t left;
    int free;
};
void sp_cores_init(struct cores *cores, int count);
void sp_cores_finish(struct cores *cores);
void sp_cores_enter(struct cores *cores);
void sp_cores_leave(struct cores *cores);

struct walker {
    struct sp_executor *executor;
    uint32_t number; /* of its device */
    struct sp_device device;
    void *state; /* the backend's */
    struct sp_device_arena *arena;
    pthread_t thread;
    bool running;

    int64_t clock_ns[SP_STREAMS];
    uint64_t seen;     /* letters, see sp_transport.wait */
    uint32_t *waiting; /* messages of this device that could not leave yet */
    uint32_t waiting_count, waiting_capacity;
    struct sp_parcel *inputs; /* of the instruction at hand */
    double loss;

    /* While an instruction runs: when it began by its clock, and what it waited inside. */
    int64_t began_ns, cpu_began_ns, lag_ns;

    /* Read by others, to say what this device is at. */
    _Atomic uint32_t at;
    _Atomic uint32_t missing;      /* the message that it waits for; SP_NO_INDEX: none */
    _Atomic int64_t busy_since_ns; /* real time; 0: runs nothing */
};

struct sp_executor {
    const struct sp_program *program;
    struct sp_executor_settings settings;
    void *transport;
    uint32_t first, end; /* local devices */
    struct walker *walkers;
    struct cores cores;

    int64_t *start_ns, *end_ns; /* by instruction */
    uint16_t *readers;          /* by message: instructions that wait for it */
    uint16_t *readers_left;
    uint32_t *follower_begin;   /* instruction i's messages and copies: followers[follower_begin[i] …] */
    uint32_t *followers;        /* by number; those that wait for no instruction of their device come last */
    struct sp_letter **letters; /* by message: come, and not yet read by all; touched by the receiver only */
    int most_waits;

    int64_t epoch_ns, step;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t ended; /* a walker has */
    uint32_t running;
    enum sp_status status; /* the first failure's */
    struct sp_error error;
    bool hung;
    _Atomic bool stop;
};

/* The whole iteration of one device; failures are recorded in the executor. */
void *sp_walker_run(void *walker);
enum sp_status sp_walker_send(const struct sp_device *device, uint32_t to, const void *data, int64_t bytes,
                              struct sp_error *error);
enum sp_status sp_walker_receive(const struct sp_device *device, uint32_t from, void *data, int64_t bytes,
                                 struct sp_error *error);

/* Records the first failure and stops everybody. */
void sp_executor_fail(struct sp_executor *executor, enum sp_status status, const char *format, ...)
    SP_PRINTF(3, 4);

/* "pass 2F0.1", "attention of 2F0.1, layer 3", "optimizer step". Returns text. */
char *sp_describe_instruction(const struct sp_program *program, uint32_t number, char *text, size_t size);
enum { DESCRIPTION = 96 };

int64_t sp_real_time_ns(void);

#endif
