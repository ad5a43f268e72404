/* SPDX-License-Identifier: Apache-2.0 */
/* Letters that have come to the devices of this process, by slot. */
#ifndef SLIMPIPE_EXECUTOR_MAILBOX_H
#define SLIMPIPE_EXECUTOR_MAILBOX_H

#include "slimpipe/executor.h"

struct mailbox;

/* NULL when memory is short. */
struct mailbox *sp_mailbox_create(uint32_t devices, uint32_t slots);
/* Letters that nobody took go too. */
void sp_mailbox_destroy(struct mailbox *mailbox);
/* The functions of struct sp_transport of the same names. */
void sp_mailbox_put(struct mailbox *mailbox, struct sp_letter *letter);
struct sp_letter *sp_mailbox_take(struct mailbox *mailbox, uint32_t to, uint32_t slot);
bool sp_mailbox_wait(struct mailbox *mailbox, uint32_t to, uint64_t *seen, int64_t limit_ns);
void sp_mailbox_stop(struct mailbox *mailbox);

#endif
