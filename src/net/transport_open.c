/* transport_open.c - making a transport, and asking about it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Until everything has worked the descriptor is the caller's, and left as it
 * was.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/sys.h"
#include "net/transport.h"

/* Finds out what `fd` is. Returns 0, or -EINVAL for what carries no stream. */
static int
open_kind(int fd, uint8_t *out)
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
open_set_nonblocking(kolk__side *side)
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

/* Undoes open_side(); the descriptor stays open. */
static void
open_side_undo(kolk_transport *transport, kolk__side *side)
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
open_side(kolk_transport *transport, kolk__side *side, int fd,
          const kolk__listener_ops *ops)
{
    int err = open_kind(fd, &side->kind);

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
    err = open_set_nonblocking(side);
    if (err < 0) {
        open_side_undo(transport, side);
    }
    return err;
}

/* Keeps the address of the other end while there is one. Nobody is told if
 * there is no memory for a long one: then it is unknown. */
static void
open_note_peer(kolk_transport *transport)
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
open_set_nodelay(kolk_transport *transport)
{
    const int one = 1;

    if (transport->in.desc->stream == KOLK__STREAM_TCP) {
        /* Slower without, that is all. */
        (void)kolk__sys.setsockopt(transport->in.fd, IPPROTO_TCP, TCP_NODELAY,
                                   &one, sizeof one);
    }
}

static int
open_sides(kolk_transport *transport, int fd,
           const kolk_transport_options *options)
{
    int err =
        open_side(transport, &transport->in, fd, &kolk__transport_listener);

    if (err < 0) {
        return err;
    }
    transport->out = &transport->in;
    if (options->write_fd > 0 && options->write_fd != fd) {
        err = open_side(transport, &transport->other, options->write_fd,
                        &kolk__transport_listener_other);
        if (err < 0) {
            open_side_undo(transport, &transport->in);
            return err;
        }
        transport->out = &transport->other;
    }
    transport->only_reads = options->read_only;
    transport->write_error = options->read_only ? -EPIPE : 0;
    transport->only_writes = options->write_only;
    transport->is_paused = options->paused;
    transport->is_borrowed = options->borrowed;
    return 0;
}

/* From here on nothing can fail. */
static void
open_begin(kolk_transport *transport, const kolk_transport_options *options)
{
    kolk_loop *loop = transport->loop;

    kolk__loop_ref(loop);
    kolk__handle_open(loop, &transport->handle, &kolk__transport_handle);
    open_note_peer(transport);
    open_set_nodelay(transport);
    if (options->server != NULL) {
        transport->owner = (kolk__transport_owner *)options->server;
        kolk__ring_push(&transport->owner->transports, &transport->sibling);
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
    kolk_transport *transport = kolk__transport_new(loop, net, protocol);
    if (transport == NULL) {
        return -ENOMEM;
    }
    err = open_sides(transport, fd, options);
    if (err < 0) {
        kolk__sys.free(transport);
        return err;
    }
    open_begin(transport, options);
    *out = transport;
    return 0;
}

/* ---- about it ---- */

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
    transport->flush_at = 0;
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
