/* op_socket.c - starting operations on sockets, pipes and terminals.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>

#include "loop/op.h"

/* Tries at once; the callback comes later all the same. */
static int
socket_start(kolk_loop *loop, kolk_op *op)
{
    struct kolk__descriptor *desc;
    int result = kolk__op_try(loop, op, &desc);

    if (result == KOLK__OP_NOT_READY) {
        return kolk__op_wait(loop, op, desc);
    }
    loop->poller->pending++;
    kolk__op_end(loop, op, result);
    return 0;
}

static void
socket_fill(kolk_op *op, enum kolk__op_kind kind, int fd, const void *buffer,
            size_t size, unsigned extra)
{
    op->kind = (uint8_t)kind;
    op->marks = 0;
    op->fd = fd;
    op->buffer = kolk__op_buffer(buffer);
    op->size = size < KOLK__OP_SIZE_MAX ? size : KOLK__OP_SIZE_MAX;
    op->extra = extra;
}

void
kolk__op_forget_former(kolk_loop *loop, int fd)
{
    struct kolk__descriptor *desc = kolk__descriptor_find(loop->poller, fd);

    if (desc != NULL && desc->listener != NULL) {
        kolk__descriptor_doubt(loop, fd, desc);
    } else if (desc != NULL && desc->mask != 0
               && kolk__ring_is_empty(&desc->watches)
               && kolk__ring_is_empty(&desc->readers)
               && kolk__ring_is_empty(&desc->writers)
               && kolk__ring_is_empty(&desc->polls)) {
        kolk__descriptor_unregister(loop, fd, desc);
    }
}

int
kolk_op_connect(kolk_loop *loop, kolk_op *op, int fd,
                const struct sockaddr *address, socklen_t size)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_connect()");

    if (err < 0) {
        return err;
    }
    kolk__op_forget_former(loop, fd);
    socket_fill(op, KOLK__OP_CONNECT, fd, address, size, 0);
    return socket_start(loop, op);
}

int
kolk_op_accept(kolk_loop *loop, kolk_op *op, int fd, struct sockaddr *address,
               socklen_t *size, int flags)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_accept()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_ACCEPT, fd, address, 0, (unsigned)flags);
    op->length = size;
    return socket_start(loop, op);
}

int
kolk_op_read(kolk_loop *loop, kolk_op *op, int fd, void *buffer, size_t size)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_read()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_READ, fd, buffer, size, 0);
    return socket_start(loop, op);
}

int
kolk_op_write(kolk_loop *loop, kolk_op *op, int fd, const void *buffer,
              size_t size)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_write()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_WRITE, fd, buffer, size, 0);
    return socket_start(loop, op);
}

int
kolk_op_recv(kolk_loop *loop, kolk_op *op, int fd, void *buffer, size_t size,
             int flags)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_recv()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_RECV, fd, buffer, size, (unsigned)flags);
    return socket_start(loop, op);
}

int
kolk_op_send(kolk_loop *loop, kolk_op *op, int fd, const void *buffer,
             size_t size, int flags)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_send()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_SEND, fd, buffer, size, (unsigned)flags);
    return socket_start(loop, op);
}

int
kolk_op_recvmsg(kolk_loop *loop, kolk_op *op, int fd, struct msghdr *message,
                int flags)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_recvmsg()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_RECVMSG, fd, message, 0, (unsigned)flags);
    return socket_start(loop, op);
}

int
kolk_op_sendmsg(kolk_loop *loop, kolk_op *op, int fd,
                const struct msghdr *message, int flags)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_sendmsg()");

    if (err < 0) {
        return err;
    }
    socket_fill(op, KOLK__OP_SENDMSG, fd, message, 0, (unsigned)flags);
    return socket_start(loop, op);
}

int
kolk_op_poll(kolk_loop *loop, kolk_op *op, int fd, unsigned events)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_poll()");

    if (err < 0) {
        return err;
    }
    events &= KOLK_READABLE | KOLK_WRITABLE | KOLK_PRIORITY;
    if (events == 0) {
        return -EINVAL;
    }
    socket_fill(op, KOLK__OP_POLL, fd, NULL, 0, events);
    return socket_start(loop, op);
}
