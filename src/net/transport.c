/* transport.c - the life of a transport: opening, events, closing, its end.
 *
 * SPDX-License-Identifier: MIT
 *
 * A transport is open, then closing, then lost. Closing begins with whoever is
 * first: a call of the user's, the end of the stream, an error. From then on
 * `error` is settled, nothing is read any more, and the protocol hears of one
 * thing more, the end, from the loop. Descriptors are closed right after that,
 * and their numbers were taken from the poller before: so no event, and no
 * call, ever meets a number that means another file.
 */
#include <errno.h>

#include "base/sys.h"
#include "net/sendfile.h"
#include "net/transport.h"

enum { TRANSPORT_HIGH = 64 * 1024, TRANSPORT_LOW = 16 * 1024 };

/* ---- events ---- */

/* What comes to a transport that only writes is thrown away; the end of it
 * means that nobody reads any more. */
static bool
transport_has_hung_up(kolk_transport *transport)
{
    kolk__side *side = &transport->in;
    ssize_t result = 1;

    if (side->kind != KOLK__SIDE_SOCKET) {
        return true; /* no event but that one was asked for */
    }
    if (side->desc->ready_in) {
        char buffer[4096];

        result = kolk__side_read(side, buffer, sizeof buffer);
        if (result > 0 && side->desc->ready_in) {
            kolk__transport_queue(transport, KOLK__DO_HANG_UP);
        }
    }
    return result == 0 || (result < 0 && result != -EAGAIN);
}

static void
transport_hang_up(kolk_transport *transport)
{
    if (transport->out == &transport->other) {
        kolk__transport_write_failed(transport, -EPIPE);
    } else if (transport_has_hung_up(transport)) {
        bool is_cut = !kolk__transport_is_sent(transport);

        kolk__transport_lose(transport, is_cut ? -EPIPE : 0);
    }
}

static void
transport_event_slow(kolk_transport *transport, uint32_t events)
{
    const uint32_t broken = EPOLLERR | EPOLLHUP;
    uint32_t hang_up =
        transport->in.kind == KOLK__SIDE_SOCKET ? broken | EPOLLIN : broken;

    if (kolk__transport_hears(transport)) {
        kolk__transport_queue(transport, KOLK__DO_READ);
    } else if (transport->only_writes && !transport->is_lost
               && (events & hang_up) != 0) {
        kolk__transport_queue(transport, KOLK__DO_HANG_UP);
    }
}

/* Of `in`, which may be both directions. */
static void
transport_event(kolk_loop *loop, kolk__listener *listener, uint32_t events)
{
    kolk_transport *transport =
        KOLK_CONTAINER_OF(listener, kolk_transport, in.listener);

    (void)loop;
    if (KOLK_UNLIKELY(!kolk__transport_is_sent(transport))
        && transport->out == &transport->in && transport->in.desc->ready_out) {
        kolk__transport_queue(transport, KOLK__DO_WRITE);
    }
    if (KOLK_LIKELY((events & ~(uint32_t)EPOLLOUT) != 0)) {
        if (transport->pushes) {
            kolk__transport_queue(transport, KOLK__DO_READ);
        } else if (transport->reader != NULL
                   && !kolk__transport_is_driven(transport)) {
            kolk__transport_wake_reader(transport);
        } else {
            transport_event_slow(transport, events);
        }
    }
}

/* Of the other descriptor of a pair. */
static void
transport_event_other(kolk_loop *loop, kolk__listener *listener,
                      uint32_t events)
{
    kolk_transport *transport =
        KOLK_CONTAINER_OF(listener, kolk_transport, other.listener);

    (void)loop;
    if (!kolk__transport_is_sent(transport)
        && transport->other.desc->ready_out) {
        kolk__transport_queue(transport, KOLK__DO_WRITE);
    } else if ((events & (EPOLLERR | EPOLLHUP)) != 0
               && transport->write_error == 0) {
        kolk__transport_queue(transport, KOLK__DO_HANG_UP);
    }
}

static void
transport_revoked(kolk_loop *loop, kolk__listener *listener)
{
    kolk_transport *transport =
        KOLK_CONTAINER_OF(listener, kolk_transport, in.listener);

    (void)loop;
    transport->in.fd = -1;
    kolk__transport_queue(transport, KOLK__DO_REVOKE);
}

static void
transport_revoked_other(kolk_loop *loop, kolk__listener *listener)
{
    kolk_transport *transport =
        KOLK_CONTAINER_OF(listener, kolk_transport, other.listener);

    (void)loop;
    transport->other.fd = -1;
    kolk__transport_queue(transport, KOLK__DO_REVOKE);
}

const kolk__listener_ops kolk__transport_listener = {
    .event = transport_event,
    .revoked = transport_revoked,
};

const kolk__listener_ops kolk__transport_listener_other = {
    .event = transport_event_other,
    .revoked = transport_revoked_other,
};

/* ---- the end ---- */

void
kolk__side_unlisten(kolk_transport *transport, kolk__side *side)
{
    if (side->fd >= 0) {
        kolk__descriptor_unlisten(transport->loop, side->fd, side->desc);
    }
}

/* Takes the transport out of everything that knows of it, but for whoever has
 * a reference. */
static void
transport_detach(kolk_transport *transport)
{
    transport->is_lost = true;
    kolk__handle_close(&transport->handle);
    if (transport->is_joined) {
        transport->is_joined = false;
        kolk__ring_unlink(&transport->joined);
    }
    if (kolk__call_is_linked(&transport->call)) {
        kolk__call_unlink(&transport->call);
    }
    if (transport->owner != NULL) {
        kolk__ring_unlink(&transport->sibling);
    }
    kolk__side_unlisten(transport, &transport->in);
    kolk__side_unlisten(transport, &transport->other);
}

/* The last that the protocol hears. */
static void
transport_end(kolk_transport *transport)
{
    kolk__transport_owner *owner = transport->owner;
    kolk__filter *filter = transport->filter;
    int error = transport->error;

    transport_detach(transport);
    if (filter != NULL) {
        filter->ops->lost(filter, transport, error);
    }
    kolk_protocol *protocol = transport->protocol;
    protocol->ops->connection_lost(protocol, transport, error);
    if (transport->is_borrowed) {
        transport->in.fd = transport->other.fd = -1;
    } else {
        kolk__side_close(&transport->in);
        kolk__side_close(&transport->other);
    }
    if (owner != NULL) {
        owner->gone(owner);
    }
    kolk_transport_unref(transport); /* the loop's */
}

void
kolk__transport_lose(kolk_transport *transport, int error)
{
    if (transport->is_lost || (transport->todo & KOLK__DO_LOSE) != 0) {
        return;
    }
    transport->is_closing = true;
    transport->is_paused = false;
    kolk__transport_stop_reading(transport);
    transport->error = transport->failure != 0 ? transport->failure : error;
    transport->write_error = -ESHUTDOWN;
    if (kolk__call_is_linked(&transport->call)) {
        kolk__call_unlink(&transport->call); /* behind what is queued by now */
    }
    kolk__transport_queue(transport, KOLK__DO_LOSE);
    kolk__transport_wake_reader(transport);
    kolk__transport_drop_chunks(transport, transport->error);
}

/* What was sent must not be lost by the reset that the kernel sends when there
 * is something unread. */
static void
transport_lose_now(kolk_transport *transport)
{
    if (transport->error == 0 && !transport->is_ended
        && transport->in.fd >= 0) {
        kolk__side_drain(&transport->in, transport->net);
    }
    transport_end(transport);
}

/* What comes less often than bytes to be read. */
static void
transport_run_rest(kolk_transport *transport, unsigned todo)
{
    if ((todo & KOLK__DO_REVOKE) != 0) {
        kolk__transport_lose(transport, -EBADF);
    }
    if ((todo & KOLK__DO_HANG_UP) != 0 && !transport->is_lost) {
        transport_hang_up(transport);
    }
    if ((todo & KOLK__DO_WRITE) != 0) {
        kolk__transport_write_ready(transport);
    }
    if ((todo & KOLK__DO_RESUME) != 0) {
        kolk__transport_check_marks(transport);
    }
    if ((todo & KOLK__DO_LOSE) != 0 && !transport->is_lost) {
        transport_lose_now(transport);
    }
}

/* The transport's call: everything that comes from the loop. */
static void
transport_run(kolk_call *call)
{
    kolk_transport *transport = KOLK_CONTAINER_OF(call, kolk_transport, call);
    unsigned todo = transport->todo;

    transport->todo = todo & KOLK__DO_LOSE; /* says that it is over */
    transport->refs++;
    if (KOLK_LIKELY((todo & KOLK__DO_READ) != 0)) {
        kolk__transport_read_ready(transport);
    }
    if (KOLK_UNLIKELY(todo != KOLK__DO_READ)) {
        transport_run_rest(transport, todo);
    }
    kolk__transport_release(transport);
}

/* ---- closing ---- */

/* From here on the protocol is told of the end only. */
static void
transport_begin_close(kolk_transport *transport)
{
    transport->is_closing = true;
    kolk__transport_stop_reading(transport);
    transport->write_error = -EPIPE;
    kolk__transport_wake_reader(transport);
}

void
kolk__transport_finish(kolk_transport *transport)
{
    transport->is_closing = true;
    transport->is_finishing = true;
    kolk__transport_stop_reading(transport);
    kolk__transport_flush(transport);
    if (kolk__transport_is_sent(transport)) {
        kolk__transport_lose(transport, 0);
    }
}

void
kolk_transport_close(kolk_transport *transport)
{
    kolk__filter *filter = transport->filter;

    if (transport->is_closing
        || kolk__loop_check(transport->loop, "kolk_transport_close()") < 0) {
        return;
    }
    (void)kolk_transport_ref(transport);
    transport_begin_close(transport);
    if (transport->failure != 0) {
        kolk__transport_lose(transport, transport->failure);
    } else if (filter != NULL) {
        filter->ops->close(filter, transport);
    } else {
        kolk__transport_finish(transport);
    }
    kolk_transport_unref(transport);
}

void
kolk_transport_fail(kolk_transport *transport, int error)
{
    if (transport->is_lost
        || kolk__loop_check(transport->loop, "kolk_transport_abort()") < 0) {
        return;
    }
    (void)kolk_transport_ref(transport);
    transport_begin_close(transport);
    if (transport->is_joined) {
        kolk__transport_flush(transport); /* would have been sent already */
    }
    kolk__transport_lose(transport, error);
    kolk_transport_unref(transport);
}

void
kolk_transport_abort(kolk_transport *transport)
{
    kolk_transport_fail(transport, -ECANCELED);
}

bool
kolk_transport_is_closing(const kolk_transport *transport)
{
    return transport->is_closing;
}

int
kolk_transport_take_fd(kolk_transport *transport)
{
    int err = kolk__loop_check(transport->loop, "kolk_transport_take_fd()");

    if (err < 0) {
        return err;
    }
    if (transport->is_closing) {
        return -ESHUTDOWN;
    }
    kolk__transport_flush(transport);
    if (transport->is_closing) {
        return -ESHUTDOWN;
    }
    if (!kolk__transport_is_sent(transport) || transport->filter != NULL) {
        return -EBUSY;
    }
    if (transport->other.fd >= 0) {
        return -EOPNOTSUPP;
    }
    int fd = transport->in.fd;
    kolk__side_unlisten(transport, &transport->in);
    transport->in.fd = -1;
    kolk__transport_lose(transport, 0);
    return fd;
}

/* ---- with its loop ---- */

static void *
transport_node(kolk__handle *handle)
{
    return KOLK_CONTAINER_OF(handle, kolk_transport, handle);
}

/* The loop is being closed. */
static void
transport_drop(kolk_loop *loop, kolk__handle *handle)
{
    kolk_transport *transport =
        KOLK_CONTAINER_OF(handle, kolk_transport, handle);
    bool was_over = (transport->todo & KOLK__DO_LOSE) != 0;

    transport->is_closing = true;
    kolk__transport_stop_reading(transport);
    transport->write_error = -ESHUTDOWN;
    transport->error = was_over ? transport->error : -ESHUTDOWN;
    transport->todo |= KOLK__DO_LOSE;
    transport->reader = NULL;
    if (loop->generation != kolk__generation) {
        /* The mode of a file is also the parent's. */
        transport->in.was_blocking = transport->other.was_blocking = false;
    }
    if (transport->sendfile != NULL) {
        kolk__sendfile_drop(transport);
    }
    kolk__chunks_drop(&transport->queue);
    transport_end(transport);
}

const kolk__handle_ops kolk__transport_handle = {
    .kind = KOLK_NODE_TRANSPORT,
    .node = transport_node,
    .drop = transport_drop,
};

/* ---- references ---- */

kolk_transport *
kolk__transport_new(kolk_loop *loop, kolk__net *net, kolk_protocol *protocol)
{
    kolk_transport *transport = kolk__sys.calloc(1, sizeof *transport);

    if (transport == NULL) {
        return NULL;
    }
    transport->loop = loop;
    transport->net = net;
    transport->protocol = protocol;
    transport->in.fd = transport->other.fd = -1;
    transport->refs = 2; /* the user's and the loop's */
    kolk__chunks_init(&transport->queue);
    transport->into = &transport->queue;
    kolk_call_init(&transport->call, transport_run, NULL);
    transport->high = TRANSPORT_HIGH;
    transport->low = TRANSPORT_LOW;
    transport->flush_at = TRANSPORT_HIGH;
    kolk__transport_set_mode(transport);
    return transport;
}

kolk_transport *
kolk_transport_ref(kolk_transport *transport)
{
    transport->refs++;
    return transport;
}

void
kolk__transport_free(kolk_transport *transport)
{
    if (transport->filter != NULL) {
        transport->filter->ops->free(transport->filter);
    }
    kolk__loop_unref(transport->loop);
    kolk__sys.free(transport->long_peer);
    kolk__sys.free(transport);
}

void
kolk_transport_unref(kolk_transport *transport)
{
    if (transport != NULL) {
        kolk__transport_release(transport);
    }
}
