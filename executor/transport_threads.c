/* SPDX-License-Identifier: Apache-2.0 */
/* Devices are threads of one process: a letter is put into the receiver's box as it is. */
#include "mailbox.h"
#include "registry.h"

static const char *probe(void)
{
    return NULL;
}

struct threads {
    struct mailbox *mailbox;
    uint32_t devices;
};

static enum sp_status open_threads(uint32_t devices, uint32_t slots, void **ret_state, struct sp_error *error)
{
    struct threads *threads = sp_alloc(1, sizeof *threads);
    if (threads)
        threads->mailbox = sp_mailbox_create(devices, slots);
    if (!threads || !threads->mailbox) {
        sp_free(threads);
        return sp_error_set(error, SP_MEMORY, "no memory for the messages of %u devices", devices);
    }
    threads->devices = devices;
    *ret_state = threads;
    return SP_OK;
}

static void close_threads(void *state)
{
    struct threads *threads = state;
    sp_mailbox_destroy(threads->mailbox);
    sp_free(threads);
}

static void local(void *state, uint32_t *ret_first, uint32_t *ret_end)
{
    const struct threads *threads = state;
    *ret_first = 0;
    *ret_end = threads->devices;
}

static enum sp_status send(void *state, struct sp_letter *letter, struct sp_error *error)
{
    struct threads *threads = state;
    (void)error;
    sp_mailbox_put(threads->mailbox, letter);
    return SP_OK;
}

static struct sp_letter *take(void *state, uint32_t to, uint32_t slot)
{
    struct threads *threads = state;
    return sp_mailbox_take(threads->mailbox, to, slot);
}

static bool wait_for_news(void *state, uint32_t to, uint64_t *seen, int64_t limit_ns)
{
    struct threads *threads = state;
    return sp_mailbox_wait(threads->mailbox, to, seen, limit_ns);
}

static void stop(void *state)
{
    struct threads *threads = state;
    sp_mailbox_stop(threads->mailbox);
}

const struct sp_transport sp_transport_threads = {
    .name = "threads",
    .description = "devices are threads of this process",
    .probe = probe,
    .open = open_threads,
    .close = close_threads,
    .local = local,
    .send = send,
    .take = take,
    .wait = wait_for_news,
    .stop = stop,
};
