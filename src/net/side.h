/* side.h - a descriptor of a transport, and the system calls on it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A socket or a terminal is both directions in one; of a pair of pipes each has
 * its own. What a call tells of readiness is noted in what the loop knows of
 * the descriptor.
 */
#pragma once

#include "base/sys.h"
#include "loop/descriptor.h"
#include "net/net.h"

/* What kind of file a descriptor is. */
enum { KOLK__SIDE_SOCKET, KOLK__SIDE_PIPE, KOLK__SIDE_DEVICE };

/* A descriptor of a transport, for one direction or both. */
typedef struct kolk__side {
    kolk__listener listener;
    struct kolk__descriptor *desc;
    int fd; /* -1: none, or gone */
    uint8_t kind;
    bool was_blocking; /* O_NONBLOCK is of our making */
} kolk__side;

/* The rest of kolk__side_read(), where the first receive said `result`. */
ssize_t kolk__side_read_slow(kolk__side *side, void *buffer, size_t size,
                             ssize_t result);

/* Up to `size` bytes; results as of read(2), or -errno; -EAGAIN if there are
 * none. The end of a terminal, whose other side is gone, is an end like any
 * other. */
static inline ssize_t
kolk__side_read(kolk__side *side, void *buffer, size_t size)
{
    ssize_t result = -1;

    if (KOLK_LIKELY(side->kind == KOLK__SIDE_SOCKET)) {
        result = kolk__sys.recv(side->fd, buffer, size, MSG_DONTWAIT);
        if (KOLK_LIKELY(result > 0)) {
            /* Of streams, a short read has taken all there was. */
            if ((size_t)result < size
                && side->desc->stream != KOLK__STREAM_NONE) {
                kolk__descriptor_not_ready(side->desc, true);
            }
            return result;
        }
    }
    return kolk__side_read_slow(side, buffer, size, result);
}

/* writev(2) without SIGPIPE, on any descriptor. */
ssize_t kolk__writev_quietly(int fd, const struct iovec *pieces, int count);

/* The same for writing; no SIGPIPE. */
ssize_t kolk__side_write(kolk__side *side, const struct iovec *pieces,
                         int count);

/* What a write that failed with `err`, an errno, returns. */
ssize_t kolk__side_write_failed(kolk__side *side, int err);

/* One call of send(2) for a socket, with its results. */
static inline ssize_t
kolk__side_send(const kolk__side *side, const void *data, size_t size)
{
    return kolk__sys.send(side->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The same as kolk__side_write() for a single piece. */
static inline ssize_t
kolk__side_write_one(kolk__side *side, const struct iovec *piece)
{
    if (KOLK_LIKELY(side->kind == KOLK__SIDE_SOCKET)) {
        ssize_t result = kolk__side_send(side, piece->iov_base, piece->iov_len);

        if (KOLK_LIKELY(result >= 0)) {
            return result;
        }
        if (errno != EINTR) {
            return kolk__side_write_failed(side, errno);
        }
    }
    return kolk__side_write(side, piece, 1);
}

/* Up to `size` bytes of the file `fd`, from `offset` on, to a socket. */
ssize_t kolk__side_sendfile(kolk__side *side, int fd, int64_t offset,
                            size_t size);

/* How many bytes of a socket's the other end has not acknowledged; 0 for what
 * is none. */
size_t kolk__side_unsent(const kolk__side *side);

/* Takes what is left to be read, within a bound, and throws it away: closing a
 * socket with something unread resets the connection, and what was sent may be
 * lost with it. */
void kolk__side_drain(kolk__side *side, kolk__net *net);

/* Closes `side`, which was taken from the poller. */
void kolk__side_close(kolk__side *side);
