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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/sys.h"
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
        bool is_cut = !kolk__ring_is_empty(&transport->chunks);

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
    if (KOLK_LIKELY((events & ~(uint32_t)EPOLLOUT) != 0)) {
        if (transport->reader != NULL) {
            kolk__transport_wake_reader(transport);
        } else if (KOLK_LIKELY(transport->reads
                               && transport->mode == KOLK__MODE_PUSH)) {
            kolk__transport_queue(transport, KOLK__DO_READ);
        } else {
            transport_event_slow(transport, events);
        }
    }
    if (KOLK_UNLIKELY(!kolk__ring_is_empty(&transport->chunks))
        && transport->out == &transport->in && transport->in.desc->ready_out) {
        kolk__transport_queue(transport, KOLK__DO_WRITE);
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
    if (!kolk__ring_is_empty(&transport->chunks)
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

static const kolk__listener_ops transport_listener = {
    .event = transport_event,
    .revoked = transport_revoked,
};

static const kolk__listener_ops transport_listener_other = {
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
        transport->owner->count--;
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
    kolk_protocol *protocol = transport->protocol;
    int error = transport->error;

    transport_detach(transport);
    if (filter != NULL) {
        filter->ops->lost(filter, transport, error);
    }
    protocol->ops->connection_lost(protocol, transport, error);
    kolk__side_close(&transport->in);
    kolk__side_close(&transport->other);
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
    transport->reads = false;
    transport->error = transport->failure != 0 ? transport->failure : error;
    transport->write_error = -ESHUTDOWN;
    if (kolk__call_is_linked(&transport->call)) {
        kolk__call_unlink(&transport->call); /* behind what is queued by now */
    }
    kolk__transport_queue(transport, KOLK__DO_LOSE);
    kolk__transport_wake_reader(transport);
    kolk__transport_drop_chunks(transport);
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

/* The transport's call: everything that comes from the loop. */
static void
transport_run(kolk_call *call)
{
    kolk_transport *transport = KOLK_CONTAINER_OF(call, kolk_transport, call);
    unsigned todo = transport->todo;

    transport->todo &= KOLK__DO_LOSE; /* says that it is over, to the end */
    transport->refs++;
    if (KOLK_LIKELY((todo & KOLK__DO_READ) != 0)) {
        kolk__transport_read_ready(transport);
    }
    if (KOLK_UNLIKELY(todo != KOLK__DO_READ)) {
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
    kolk_transport_unref(transport);
}

/* ---- closing ---- */

/* From here on the protocol is told of the end only. */
static void
transport_begin_close(kolk_transport *transport)
{
    transport->is_closing = true;
    transport->reads = false;
    transport->write_error = -EPIPE;
    kolk__transport_wake_reader(transport);
}

void
kolk__transport_finish(kolk_transport *transport)
{
    transport->is_closing = true;
    transport->is_finishing = true;
    transport->reads = false;
    kolk__transport_flush(transport);
    if (kolk__ring_is_empty(&transport->chunks)) {
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
    if (!kolk__ring_is_empty(&transport->chunks) || transport->filter != NULL) {
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

/* ---- opening ---- */

/* Finds out what `fd` is. Returns 0, or -EINVAL for what carries no stream. */
static int
transport_kind(int fd, uint8_t *out)
{
    int type = 0;
    socklen_t length = sizeof type;
    struct stat info;

    if (kolk__sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0) {
        *out = KOLK__SIDE_SOCKET;
        return type == SOCK_STREAM ? 0 : -EINVAL;
    }
    if (errno != ENOTSOCK) {
        return -errno;
    }
    if (kolk__sys.fstat(fd, &info) < 0) {
        return -errno;
    }
    if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode)) {
        return -EINVAL;
    }
    *out = S_ISFIFO(info.st_mode) ? KOLK__SIDE_PIPE : KOLK__SIDE_DEVICE;
    return 0;
}

static int
transport_set_nonblocking(kolk__side *side)
{
    int flags = kolk__sys.fcntl(side->fd, F_GETFL, 0);

    if (flags < 0) {
        return -errno;
    }
    if ((flags & O_NONBLOCK) == 0) {
        if (kolk__sys.fcntl(side->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
            return -errno;
        }
        side->was_blocking = true;
    }
    return 0;
}

/* Undoes transport_side_open(); the descriptor stays open. */
static void
transport_side_undo(kolk_transport *transport, kolk__side *side)
{
    if (side->fd < 0) {
        return;
    }
    kolk__side_unlisten(transport, side);
    if (side->was_blocking) {
        int flags = kolk__sys.fcntl(side->fd, F_GETFL, 0);

        if (flags >= 0) {
            (void)kolk__sys.fcntl(side->fd, F_SETFL, flags & ~O_NONBLOCK);
        }
    }
    side->fd = -1;
}

static int
transport_side_open(kolk_transport *transport, kolk__side *side, int fd,
                    const kolk__listener_ops *ops)
{
    int err = transport_kind(fd, &side->kind);

    if (err < 0) {
        return err;
    }
    side->listener.ops = ops;
    err = kolk__descriptor_listen(transport->loop, fd, &side->listener,
                                  &side->desc);
    if (err < 0) {
        return err;
    }
    side->fd = fd;
    err = transport_set_nonblocking(side);
    if (err < 0) {
        transport_side_undo(transport, side);
    }
    return err;
}

/* Keeps the address of the other end while there is one. Nobody is told if
 * there is no memory for a long one: then it is unknown. */
static void
transport_note_peer(kolk_transport *transport)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;

    if (transport->in.kind != KOLK__SIDE_SOCKET
        || kolk__sys.getpeername(transport->in.fd, (struct sockaddr *)&storage,
                                 &size)
               < 0) {
        return;
    }
    if (size <= sizeof transport->peer) {
        memcpy(transport->peer, &storage, size);
        transport->peer_size = (uint8_t)size;
        return;
    }
    transport->long_peer = kolk__sys.malloc(sizeof *transport->long_peer);
    if (transport->long_peer != NULL) {
        transport->long_peer->size = size;
        transport->long_peer->storage = storage;
    }
}

/* Small writes are joined here, so the kernel need not wait for more. */
static void
transport_set_nodelay(kolk_transport *transport)
{
    const int one = 1;

    if (transport->in.desc->stream == KOLK__STREAM_TCP) {
        /* Slower without, that is all. */
        (void)kolk__sys.setsockopt(transport->in.fd, IPPROTO_TCP, TCP_NODELAY,
                                   &one, sizeof one);
    }
}

static void
transport_set_mode(kolk_transport *transport)
{
    const kolk_protocol_ops *ops = transport->protocol->ops;

    transport->is_told = false;
    transport->mode = ops->readable != NULL        ? KOLK__MODE_PULL
                      : ops->data_received != NULL ? KOLK__MODE_PUSH
                                                   : KOLK__MODE_SILENT;
}

static int
transport_open_sides(kolk_transport *transport, int fd,
                     const kolk_transport_options *options)
{
    int err =
        transport_side_open(transport, &transport->in, fd, &transport_listener);

    if (err < 0) {
        return err;
    }
    transport->out = &transport->in;
    if (options->write_fd > 0 && options->write_fd != fd) {
        err = transport_side_open(transport, &transport->other,
                                  options->write_fd, &transport_listener_other);
        if (err < 0) {
            transport_side_undo(transport, &transport->in);
            return err;
        }
        transport->out = &transport->other;
    }
    transport->only_reads = options->read_only;
    transport->write_error = options->read_only ? -EPIPE : 0;
    transport->only_writes = options->write_only;
    transport->is_paused = options->paused;
    return 0;
}

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

    (void)loop;
    transport->is_closing = true;
    transport->reads = false;
    transport->write_error = -ESHUTDOWN;
    transport->error = was_over ? transport->error : -ESHUTDOWN;
    transport->todo |= KOLK__DO_LOSE;
    transport->reader = NULL;
    kolk__transport_drop_chunks(transport);
    transport_end(transport);
}

static const kolk__handle_ops transport_handle = {
    .kind = KOLK_NODE_TRANSPORT,
    .node = transport_node,
    .drop = transport_drop,
};

static kolk_transport *
transport_new(kolk_loop *loop, kolk__net *net, kolk_protocol *protocol)
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
    kolk__ring_init(&transport->chunks);
    kolk_call_init(&transport->call, transport_run, NULL);
    transport->high = TRANSPORT_HIGH;
    transport->low = TRANSPORT_LOW;
    transport->flush_at = TRANSPORT_HIGH;
    transport_set_mode(transport);
    return transport;
}

/* From here on nothing can fail. */
static void
transport_begin(kolk_transport *transport,
                const kolk_transport_options *options)
{
    kolk_loop *loop = transport->loop;

    kolk__loop_ref(loop);
    kolk__handle_open(loop, &transport->handle, &transport_handle);
    transport_note_peer(transport);
    transport_set_nodelay(transport);
    if (options->server != NULL) {
        transport->owner = (kolk__transport_owner *)options->server;
        kolk__ring_push(&transport->owner->transports, &transport->sibling);
        transport->owner->count++;
    }
    kolk__transport_reading_changed(transport);
}

int
kolk_transport_open(kolk_loop *loop, int fd,
                    const kolk_transport_options *options,
                    kolk_protocol *protocol, kolk_transport **out)
{
    static const kolk_transport_options nothing_special;
    int err = kolk__loop_check(loop, "kolk_transport_open()");
    kolk__net *net;

    if (err < 0) {
        return err;
    }
    if (fd < 0) {
        return -EBADF;
    }
    options = options != NULL ? options : &nothing_special;
    err = kolk__net_get(loop, &net);
    if (err < 0) {
        return err;
    }
    kolk_transport *transport = transport_new(loop, net, protocol);
    if (transport == NULL) {
        return -ENOMEM;
    }
    err = transport_open_sides(transport, fd, options);
    if (err < 0) {
        kolk__sys.free(transport);
        return err;
    }
    transport_begin(transport, options);
    *out = transport;
    return 0;
}

/* ---- references ---- */

kolk_transport *
kolk_transport_ref(kolk_transport *transport)
{
    transport->refs++;
    return transport;
}

static void
transport_free(kolk_transport *transport)
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
    if (transport != NULL && --transport->refs == 0) {
        transport_free(transport);
    }
}

/* ---- about it ---- */

void
kolk_transport_set_protocol(kolk_transport *transport, kolk_protocol *protocol)
{
    transport->protocol = protocol;
    transport_set_mode(transport);
    kolk__transport_reading_changed(transport);
}

kolk_protocol *
kolk_transport_protocol(const kolk_transport *transport)
{
    return transport->protocol;
}

kolk_loop *
kolk_transport_loop(const kolk_transport *transport)
{
    return transport->loop;
}

int
kolk_transport_fileno(kolk_transport *transport)
{
    if (transport->in.fd < 0) {
        return -EBADF;
    }
    transport->sends_now = true;
    if (transport->is_joined
        && kolk__loop_check(transport->loop, "kolk_transport_fileno()") == 0) {
        kolk__transport_flush(transport);
    }
    return transport->in.fd;
}

int
kolk_transport_peername(const kolk_transport *transport, kolk_address *out)
{
    if (transport->in.kind != KOLK__SIDE_SOCKET) {
        return -ENOTSOCK;
    }
    if (transport->long_peer != NULL) {
        *out = *transport->long_peer;
        return 0;
    }
    if (transport->peer_size == 0) {
        return -ENOTCONN;
    }
    memset(out, 0, sizeof *out);
    memcpy(&out->storage, transport->peer, transport->peer_size);
    out->size = transport->peer_size;
    return 0;
}

int
kolk_transport_sockname(const kolk_transport *transport, kolk_address *out)
{
    kolk_address address = {.size = sizeof address.storage};

    if (transport->in.kind != KOLK__SIDE_SOCKET) {
        return -ENOTSOCK;
    }
    if (transport->in.fd < 0) {
        return -ENOTCONN;
    }
    if (kolk__sys.getsockname(transport->in.fd,
                              (struct sockaddr *)&address.storage,
                              &address.size)
        < 0) {
        return -errno;
    }
    *out = address;
    return 0;
}
