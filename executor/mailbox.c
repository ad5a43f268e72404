/* SPDX-License-Identifier: Apache-2.0 */
#include "mailbox.h"

#include <pthread.h>
#include <time.h>

/* One device's; its lock guards the slots of letters to it. */
struct box {
    pthread_mutex_t lock;
    pthread_cond_t news;
    uint64_t come; /* letters so far */
    bool stopped;
};

struct mailbox {
    uint32_t devices, slots;
    struct sp_letter **first; /* by slot */
    struct box *boxes;        /* by device */
};

static bool open_boxes(struct mailbox *mailbox)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    for (uint32_t d = 0; d < mailbox->devices; d++) {
        pthread_mutex_init(&mailbox->boxes[d].lock, NULL);
        pthread_cond_init(&mailbox->boxes[d].news, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    return true;
}

struct mailbox *sp_mailbox_create(uint32_t devices, uint32_t slots)
{
    struct mailbox *mailbox = sp_alloc(1, sizeof *mailbox);
    if (!mailbox)
        return NULL;
    mailbox->slots = slots;
    mailbox->first = sp_alloc(slots, sizeof(struct sp_letter *));
    mailbox->boxes = sp_alloc(devices, sizeof *mailbox->boxes);
    mailbox->devices = mailbox->boxes ? devices : 0;
    if (!mailbox->first || !mailbox->boxes || !open_boxes(mailbox)) {
        sp_free(mailbox->first);
        sp_free(mailbox->boxes);
        sp_free(mailbox);
        return NULL;
    }
    return mailbox;
}

void sp_mailbox_destroy(struct mailbox *mailbox)
{
    if (!mailbox)
        return;
    for (uint32_t s = 0; s < mailbox->slots; s++)
        while (mailbox->first[s]) {
            struct sp_letter *letter = mailbox->first[s];
            mailbox->first[s] = letter->next;
            sp_letter_destroy(letter);
        }
    for (uint32_t d = 0; d < mailbox->devices; d++) {
        pthread_cond_destroy(&mailbox->boxes[d].news);
        pthread_mutex_destroy(&mailbox->boxes[d].lock);
    }
    sp_free(mailbox->first);
    sp_free(mailbox->boxes);
    sp_free(mailbox);
}

void sp_mailbox_put(struct mailbox *mailbox, struct sp_letter *letter)
{
    struct box *box = &mailbox->boxes[letter->to];
    struct sp_letter **end = &mailbox->first[letter->slot];
    pthread_mutex_lock(&box->lock);
    while (*end)
        end = &(*end)->next;
    letter->next = NULL;
    *end = letter;
    box->come++;
    pthread_cond_broadcast(&box->news);
    pthread_mutex_unlock(&box->lock);
}

struct sp_letter *sp_mailbox_take(struct mailbox *mailbox, uint32_t to, uint32_t slot)
{
    struct box *box = &mailbox->boxes[to];
    pthread_mutex_lock(&box->lock);
    struct sp_letter *letter = mailbox->first[slot];
    if (letter)
        mailbox->first[slot] = letter->next;
    pthread_mutex_unlock(&box->lock);
    return letter;
}

static struct timespec deadline(int64_t limit_ns)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t ns = time.tv_nsec + limit_ns % 1000000000;
    time.tv_sec += limit_ns / 1000000000 + ns / 1000000000;
    time.tv_nsec = ns % 1000000000;
    return time;
}

bool sp_mailbox_wait(struct mailbox *mailbox, uint32_t to, uint64_t *seen, int64_t limit_ns)
{
    struct box *box = &mailbox->boxes[to];
    struct timespec until = deadline(limit_ns > 0 ? limit_ns : 0);
    int late = 0;
    pthread_mutex_lock(&box->lock);
    while (box->come == *seen && !box->stopped && !late)
        late = pthread_cond_timedwait(&box->news, &box->lock, &until);
    *seen = box->come;
    bool stopped = box->stopped;
    pthread_mutex_unlock(&box->lock);
    return !stopped;
}

void sp_mailbox_stop(struct mailbox *mailbox)
{
    for (uint32_t d = 0; d < mailbox->devices; d++) {
        struct box *box = &mailbox->boxes[d];
        pthread_mutex_lock(&box->lock);
        box->stopped = true;
        pthread_cond_broadcast(&box->news);
        pthread_mutex_unlock(&box->lock);
    }
}
