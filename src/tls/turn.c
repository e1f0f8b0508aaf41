/* turn.c - so many handshakes of a context at a time; others wait in order.
 *
 * SPDX-License-Identifier: MIT
 *
 * A handshake is the most expensive thing that happens to a connection. Where
 * thousands begin at once, each gets so little of the processor that all run
 * into their timeouts, while one after the other all would be served.
 *
 * Connections of several loops, in several threads, may share the context. One
 * that has ended hands its place to the first that waits, by a push to that
 * one's inbox, under the lock: so a connection that gives up finds itself
 * either waiting or in flight, and knows what to give back. If its loop is
 * closed already, the place goes to the next.
 *
 * In a child process nobody of the parent's is in flight.
 */
#include <errno.h>

#include <kolk/inbox.h>

#include "base/fork.h"
#include "tls/tls.h"

void
kolk__tls_turns_init(kolk_tls_context *context)
{
    kolk__ring_init(&context->waiting);
    context->generation = kolk__generation;
    (void)pthread_mutex_init(&context->lock, NULL); /* Linux: cannot fail */
}

void
kolk__tls_turns_fini(kolk_tls_context *context)
{
    (void)pthread_mutex_destroy(&context->lock);
}

static void
turns_lock(kolk_tls_context *context)
{
    pthread_mutex_lock(&context->lock);
    if (context->generation != kolk__generation) {
        context->generation = kolk__generation;
        context->in_flight = 0;
        kolk__ring_init(&context->waiting);
    }
}

/* Takes the turn of an engine that waits out of the ring. */
static void
turn_unlink(kolk_tls_turn *turn)
{
    kolk__tls_engine *engine = turn->owner;

    kolk__ring_remove(&turn->link);
    kolk_inbox_unref(turn->inbox);
    engine->turn = NULL;
}

/* A place is free: gives it to the first that takes it. */
static void
turns_pass_on(kolk_tls_context *context)
{
    while (!kolk__ring_is_empty(&context->waiting)) {
        kolk_tls_turn *turn =
            KOLK_CONTAINER_OF(context->waiting.next, kolk_tls_turn, link);
        kolk__tls_engine *engine = turn->owner;
        bool takes_it = kolk_inbox_push(turn->inbox, &turn->call) == 0;

        turn_unlink(turn);
        if (takes_it) {
            engine->is_in_flight = true;
            return;
        }
    }
    context->in_flight--;
}

int
kolk__tls_enter(kolk__tls_engine *self, kolk_tls_turn *turn)
{
    kolk_tls_context *context = self->context;
    int result = 0;

    if (context->limit == 0) {
        return 0;
    }
    turns_lock(context);
    self->generation = context->generation;
    if (context->in_flight < context->limit) {
        context->in_flight++;
        self->is_in_flight = true;
    } else {
        turn->owner = self;
        turn->inbox = kolk_inbox_ref(kolk_loop_inbox(turn->loop));
        self->turn = turn;
        kolk__ring_push(&context->waiting, &turn->link);
        result = -EAGAIN;
    }
    pthread_mutex_unlock(&context->lock);
    return result;
}

void
kolk__tls_leave(kolk__tls_engine *self)
{
    kolk_tls_context *context = self->context;

    if (context->limit == 0) {
        return;
    }
    turns_lock(context);
    bool is_here = self->generation == context->generation;
    if (self->turn != NULL) {
        if (!is_here) {
            kolk__ring_init(&self->turn->link); /* its ring is the parent's */
        }
        turn_unlink(self->turn);
    } else if (self->is_in_flight) {
        self->is_in_flight = false;
        if (is_here) {
            turns_pass_on(context);
        }
    }
    pthread_mutex_unlock(&context->lock);
}
