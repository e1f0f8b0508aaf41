/* transport_tls_close.c - TLS on a transport: the end of a stream, closing.
 *
 * SPDX-License-Identifier: MIT
 *
 * Closing sends everything, then close_notify, and waits for the peer's. Timers
 * look for progress, which is that fewer bytes are left to be sent: here, in
 * the kernel, or not acknowledged by the other end. So one that reads slowly
 * gets all of it however long that takes, and one that does nothing holds the
 * connection for one timeout. What a peer sends meanwhile is no progress: it is
 * thrown away, and if it is too much, the connection is as well.
 */
#include "net/transport_tls.h"

/* Bytes of ours that the other end has not got, as far as is known. */
static size_t
close_unsent(const kolk__tls *self)
{
    const kolk_transport *transport = self->transport;

    return self->backlog.bytes + transport->queue.bytes
           + kolk__side_unsent(transport->out);
}

static void
close_start_timer(kolk__tls *self)
{
    self->seen = close_unsent(self);
    /* Fails only for a loop that this thread does not run. */
    (void)!kolk_call_later(self->transport->loop, &self->timer,
                           self->close_delay);
}

void
kolk__tls_close_late(kolk__tls *self)
{
    if (close_unsent(self) < self->seen) {
        close_start_timer(self);
    } else {
        kolk__transport_lose(self->transport, -ETIMEDOUT);
    }
}

/* Are both directions at their end? Then what is left need only be sent. */
static void
close_check(kolk__tls *self)
{
    if (self->has_end && self->is_shut && !kolk__tls_is_cut(self)) {
        kolk__transport_finish(self->transport);
    }
}

void
kolk__tls_begin_close(kolk__tls *self)
{
    kolk_transport *transport = self->transport;

    self->state = KOLK__TLS_CLOSING;
    self->wants_end = true;
    self->taken = 0;
    close_start_timer(self);
    kolk__transport_drive(transport, !self->has_end);
    kolk__transport_go_on(transport);
    close_check(self);
}

void
kolk__tls_close(kolk__filter *filter, kolk_transport *transport)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);

    if (self->state != KOLK__TLS_SHAKING) {
        kolk__tls_begin_close(self);
    } else if (self->backlog.bytes > 0 || transport->sendfile != NULL) {
        self->wants_close = true; /* once the handshake is done */
    } else {
        kolk__transport_drive(transport, false);
        kolk__transport_finish(transport);
    }
}

int
kolk__tls_write_eof(kolk__filter *filter, kolk_transport *transport)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);

    self->wants_end = true;
    kolk__transport_flush(transport);
    return 0;
}

void
kolk__tls_sent(kolk__filter *filter, kolk_transport *transport)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);
    bool was_held = self->answers > 0;

    self->answers = 0;
    kolk__tls_pump(self);
    if (self->state == KOLK__TLS_CLOSING) {
        close_check(self);
    } else if (was_held && self->state == KOLK__TLS_OPEN) {
        kolk__transport_reading_changed(transport);
        kolk__transport_wake_reader(transport);
    }
}

/* Reads all that can be read now. */
static int
discard_all(kolk__tls *self, void *buffer, size_t size)
{
    int result;

    do {
        result =
            self->filter.holds ? kolk__tls_take(self, buffer, size) : -EAGAIN;
        if (result == -EAGAIN) {
            result = kolk__tls_receive(self, buffer, size, self->close_limit);
        }
        if (self->taken > self->close_limit && result != 0) {
            return -KOLK_ELIMIT;
        }
    } while (result > 0);
    return result;
}

void
kolk__tls_discard(kolk__tls *self)
{
    kolk_transport *transport = self->transport;
    void *buffer = kolk__net_take_buffer(transport->net);
    char small[1024];
    int result = buffer != NULL ? discard_all(self, buffer, KOLK__READ_SIZE)
                                : discard_all(self, small, sizeof small);

    if (buffer != NULL) {
        kolk__net_give_buffer(transport->net, buffer);
    }
    kolk__tls_answer(self);
    if (result == 0) {
        kolk__transport_drive(transport, false);
        kolk__transport_go_on(transport);
        close_check(self);
    } else if (result != -EAGAIN) {
        kolk__tls_fail(self, result);
    }
}
