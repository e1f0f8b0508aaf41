/* signal.h - signals, between the files of the loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * A handler may run in any thread, in the middle of anything. All it does is
 * to go through the listeners, inboxes that want to be told of signals, set
 * bits in them, and wake their loops. A listener stays in memory as long as a
 * handler may stand at it.
 */
#pragma once

#include <kolk/signal.h>

#include "loop/loop.h"

/* ---- signal.c ---- */

/* Between these two calls, every listener found stays. Signal handlers only.
 * The beginning returns the first one; NULL too in a process that the library
 * has not seen begin. */
kolk_inbox *kolk__listeners_begin(void);
void kolk__listeners_end(void);

static inline kolk_inbox *
kolk__listeners_next(const kolk_inbox *inbox)
{
    return atomic_load(&inbox->next_listener);
}

/* Makes `inbox` a listener if it is none, or takes it out. */
void kolk__listener_add(kolk_inbox *inbox);
void kolk__listener_remove(kolk_inbox *inbox);

/* If what was there before the library's handler for `signum` is `handler`, it
 * is to be what `before` says. */
void kolk__signal_replace(int signum, void (*handler)(int signum),
                          const struct sigaction *before);

/* Queues the nodes whose signals have arrived. */
void kolk__signals_collect(kolk_loop *loop);

/* Stops every node, and gives it back through its `dropped`. */
void kolk__signals_drop(kolk_loop *loop);

int kolk__signals_visit(kolk_loop *loop, kolk_visitor *visitor);

/* The node that `call` is part of if it is one, else NULL. */
kolk_signal *kolk__signal_of(kolk_call *call);

/* In the child of a fork, where the parent's loops are dead: what signals did
 * before, they do again. */
void kolk__signals_forked(void);

/* ---- interrupt.c ---- */

/* From now on the first SIGINT queues `call` on `loop`, and the second ends the
 * process. Returns false, and does nothing, unless this is the main thread and
 * SIGINT has its default disposition. */
bool kolk__interrupt_begin(kolk_loop *loop, kolk_call *call);

/* Puts the disposition back. A SIGINT that has come and that the loop has not
 * been told of has its default effect. */
void kolk__interrupt_end(kolk_loop *loop);

/* Queues the call if SIGINT has arrived. */
void kolk__interrupt_collect(kolk_loop *loop);

void kolk__interrupt_forked(void);
