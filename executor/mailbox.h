/* SPDX-License-Identifier: Apache-2.0 */
/* Letters that have come to the devices of this process, by slot. */
#ifndef SLIMPIPE_EXECUTOR_MAILBOX_H
#define SLIMPIPE_EXECUTOR_MAILBOX_H

#include "slimpipe/executor.h"

struct mailbox;

/* NULL when memory is short. */
struct mailbox *mailbox_create(uint32_t devices, uint32_t slots);
/* Letters that nobody took go too. */
void mailbox_destroy(struct mailbox *mailbox);
/* The functions of struct sp_transport of the same names. */
void mailbox_put(struct mailbox *mailbox, struct sp_letter *letter);
struct sp_letter *mailbox_take(struct mailbox *mailbox, uint32_t to, uint32_t slot);
bool mailbox_wait(struct mailbox *mailbox, uint32_t to, uint64_t *seen, int64_t limit_ns);
void mailbox_stop(struct mailbox *mailbox);

#endif
