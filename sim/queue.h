/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sim/: transfers that are ready, earliest first, ties by the lower number.
 *
 * A heap with four children per node, which is half as deep as a binary one and has the keys that are
 * compared side by side. Time and number are one 128-bit key, and the unused rest of the last four children
 * is filled with keys above all others, so that finding the least of four takes no branch.
 */
#ifndef SLIMPIPE_SIM_QUEUE_H
#define SLIMPIPE_SIM_QUEUE_H

#include <stdint.h>

__extension__ typedef unsigned __int128 queue_key;

enum { QUEUE_CHILDREN = 4 };
#define QUEUE_UNUSED (~(queue_key)0)

struct queue {
    queue_key *keys; /* room for all that can wait at once, and QUEUE_CHILDREN more; owned by the caller */
    uint32_t count;
};

static inline void queue_init(struct queue *queue, queue_key *keys)
{
    *queue = (struct queue){.keys = keys};
    for (int k = 0; k < QUEUE_CHILDREN; k++)
        keys[k] = QUEUE_UNUSED;
}

/* ready_ns is not negative. */
static inline void queue_push(struct queue *queue, int64_t ready_ns, uint32_t number)
{
    queue_key *keys = queue->keys, key = (queue_key)(uint64_t)ready_ns << 32 | number;
    uint64_t hole = queue->count++;

    keys[hole + QUEUE_CHILDREN] = QUEUE_UNUSED;
    for (uint64_t parent; hole > 0; hole = parent) {
        parent = (hole - 1) / QUEUE_CHILDREN;
        if (key > keys[parent])
            break;
        keys[hole] = keys[parent];
    }
    keys[hole] = key;
}

static inline uint64_t queue_least_child(const queue_key *keys, uint64_t first)
{
    uint64_t a = first + (keys[first + 1] < keys[first]);
    uint64_t b = first + 2 + (keys[first + 3] < keys[first + 2]);

    return keys[b] < keys[a] ? b : a;
}

/* Takes the first out of a queue that is not empty and returns its number. */
static inline uint32_t queue_pop(struct queue *queue)
{
    queue_key *keys = queue->keys;
    uint64_t count = --queue->count, hole = 0;
    queue_key first = keys[0], last = keys[count];

    keys[count] = QUEUE_UNUSED;
    for (uint64_t child = 1; child < count; child = QUEUE_CHILDREN * hole + 1) {
        uint64_t least = queue_least_child(keys, child);
        if (last < keys[least])
            break;
        keys[hole] = keys[least];
        hole = least;
    }
    if (count > 0)
        keys[hole] = last;
    return (uint32_t)first;
}

#endif
