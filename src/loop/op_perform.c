/* op_perform.c - operations' system calls, made directly.
 *
 * SPDX-License-Identifier: MIT
 *
 * Calls on sockets never wait, whichever mode the descriptor is in; read(2),
 * write(2), accept4(2) and connect(2) do if it is a blocking one. Calls on
 * files take the time they take.
 */
#include <errno.h>

#include "base/sys.h"
#include "loop/op.h"

/* `result` of a system call, by the library's convention. */
static int
perform_result(ssize_t result)
{
    if (KOLK_LIKELY(result >= 0)) {
        return (int)result;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? KOLK__OP_NOT_READY
                                                   : -errno;
}

static int
perform_accept(const kolk_op *op)
{
    int flags = (int)op->extra | SOCK_NONBLOCK | SOCK_CLOEXEC;

    return perform_result(
        kolk__sys.accept4(op->fd, op->buffer, op->length, flags));
}

/* How has a connection come out that was begun? */
static int
perform_connect_end(const kolk_op *op)
{
    struct pollfd item = {.fd = op->fd, .events = POLLOUT};
    int error = 0;
    socklen_t length = sizeof error;

    if (kolk__sys.poll(&item, 1, 0) < 0) {
        return -errno;
    }
    if (item.revents == 0) {
        return KOLK__OP_NOT_READY;
    }
    if (kolk__sys.getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &length)
        < 0) {
        return -errno;
    }
    return -error;
}

static int
perform_connect(kolk_op *op)
{
    if ((op->marks & KOLK__OP_CONNECTING) != 0) {
        return perform_connect_end(op);
    }
    if (kolk__sys.connect(op->fd, op->buffer, (socklen_t)op->size) == 0) {
        return 0;
    }
    /* Interrupted, it goes on by itself. A full Unix socket says EAGAIN, and
     * nothing would tell when to try again. */
    if (errno != EINPROGRESS && errno != EINTR) {
        return -errno;
    }
    op->marks |= KOLK__OP_CONNECTING;
    return KOLK__OP_NOT_READY;
}

/* Asks the kernel, as what is remembered of readiness is only a guess. */
static int
perform_poll(const kolk_op *op)
{
    struct pollfd item = {.fd = op->fd};
    unsigned found = 0;

    item.events = (short)((op->extra & KOLK_READABLE ? POLLIN : 0)
                          | (op->extra & KOLK_WRITABLE ? POLLOUT : 0)
                          | (op->extra & KOLK_PRIORITY ? POLLPRI : 0));
    if (kolk__sys.poll(&item, 1, 0) < 0) {
        return -errno;
    }
    if ((item.revents & POLLNVAL) != 0) {
        return -EBADF;
    }
    found |= item.revents & POLLIN ? KOLK_READABLE : 0u;
    found |= item.revents & POLLOUT ? KOLK_WRITABLE : 0u;
    found |= item.revents & POLLPRI ? KOLK_PRIORITY : 0u;
    if ((item.revents & (POLLHUP | POLLERR)) != 0) {
        found |= KOLK_READABLE | KOLK_WRITABLE;
    }
    found &= op->extra;
    return found != 0 ? (int)found : KOLK__OP_NOT_READY;
}

static int
perform_bytes(const kolk_op *op)
{
    int flags = (int)op->extra | MSG_DONTWAIT;

    switch (op->kind) {
    case KOLK__OP_RECV:
        return perform_result(
            kolk__sys.recv(op->fd, op->buffer, op->size, flags));
    case KOLK__OP_SEND:
        return perform_result(
            kolk__sys.send(op->fd, op->buffer, op->size, flags | MSG_NOSIGNAL));
    case KOLK__OP_RECVMSG:
        return perform_result(kolk__sys.recvmsg(op->fd, op->buffer, flags));
    case KOLK__OP_SENDMSG:
        return perform_result(
            kolk__sys.sendmsg(op->fd, op->buffer, flags | MSG_NOSIGNAL));
    case KOLK__OP_READ:
        return perform_result(kolk__sys.read(op->fd, op->buffer, op->size));
    default: /* KOLK__OP_WRITE */
        return perform_result(kolk__sys.write(op->fd, op->buffer, op->size));
    }
}

static int
perform_file(const kolk_op *op)
{
    switch (op->kind) {
    case KOLK__OP_OPEN:
        return perform_result(kolk__sys.openat(AT_FDCWD, op->buffer,
                                               (int)op->extra | O_CLOEXEC,
                                               (mode_t)op->size));
    case KOLK__OP_PREAD:
        return perform_result(
            kolk__sys.pread(op->fd, op->buffer, op->size, op->offset));
    case KOLK__OP_PWRITE:
        return perform_result(
            kolk__sys.pwrite(op->fd, op->buffer, op->size, op->offset));
    default: /* KOLK__OP_FSYNC */
        return perform_result(kolk__sys.fsync(op->fd));
    }
}

/* Whatever close(2) says, the number is free: it is never tried again. */
static int
perform_close(const kolk_op *op)
{
    int result = kolk__sys.close(op->fd) < 0 ? -errno : 0;

    return result == -EINTR ? 0 : result;
}

static int
perform_once(kolk_op *op)
{
    switch (op->kind) {
    case KOLK__OP_ACCEPT:
        return perform_accept(op);
    case KOLK__OP_CONNECT:
        return perform_connect(op);
    case KOLK__OP_POLL:
        return perform_poll(op);
    default:
        return kolk__op_is_file(op) ? perform_file(op) : perform_bytes(op);
    }
}

int
kolk__op_perform(kolk_op *op)
{
    int result;

    if (op->kind == KOLK__OP_CLOSE) {
        return perform_close(op);
    }
    if (op->kind == KOLK__OP_WORK) {
        return op->work(op->buffer); /* -EINTR is its own affair */
    }
    do {
        result = perform_once(op);
    } while (KOLK_UNLIKELY(result == -EINTR));
    if (result == KOLK__OP_NOT_READY && kolk__op_is_file(op)) {
        return -EAGAIN; /* open(2) has such a result */
    }
    return result;
}
