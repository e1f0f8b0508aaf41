/* calls.h - counts the system calls that a transport makes, and steers them.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"

static struct {
    int reads;  /* recv, read */
    int writes; /* send, sendmsg, writev */
    int waits;
    struct kolk__sys real;

    /* the last write */
    const void *base; /* of its last piece */
    int pieces;
    size_t size;

    size_t most;  /* bytes that a write may take; 0: as many as the kernel */
    int refusals; /* writes that are refused, from now on */
} calls;

static inline ssize_t
calls_recv(int fd, void *buffer, size_t size, int flags)
{
    calls.reads++;
    return calls.real.recv(fd, buffer, size, flags);
}

static inline ssize_t
calls_read(int fd, void *buffer, size_t size)
{
    calls.reads++;
    return calls.real.read(fd, buffer, size);
}

/* Notes a write of `pieces`; returns how many bytes it shall take. */
static inline size_t
calls_note(const struct iovec *pieces, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        size += pieces[i].iov_len;
    }
    calls.writes++;
    calls.pieces = count;
    calls.base = pieces[count - 1].iov_base;
    calls.size = size;
    return size;
}

static inline bool
calls_refuses(void)
{
    if (calls.refusals == 0) {
        return false;
    }
    calls.refusals--;
    errno = EAGAIN;
    return true;
}

static inline ssize_t
calls_send(int fd, const void *buffer, size_t size, int flags)
{
    struct iovec piece = {.iov_len = size};

    memcpy(&piece.iov_base, &buffer, sizeof buffer);
    (void)calls_note(&piece, 1);
    if (calls_refuses()) {
        return -1;
    }
    if (calls.most > 0) { /* takes them, and sends nothing */
        return (ssize_t)(size < calls.most ? size : calls.most);
    }
    return calls.real.send(fd, buffer, size, flags);
}

static inline ssize_t
calls_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)calls_note(message->msg_iov, (int)message->msg_iovlen);
    return calls_refuses() ? -1 : calls.real.sendmsg(fd, message, flags);
}

static inline ssize_t
calls_writev(int fd, const struct iovec *pieces, int count)
{
    (void)calls_note(pieces, count);
    return calls_refuses() ? -1 : calls.real.writev(fd, pieces, count);
}

static inline int
calls_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
    calls.waits++;
    return calls.real.epoll_wait(epoll, events, max, timeout);
}

/* From here on calls are counted. */
static inline void
calls_begin(void)
{
    calls.real = kolk__sys;
    kolk__sys.recv = calls_recv;
    kolk__sys.read = calls_read;
    kolk__sys.send = calls_send;
    kolk__sys.sendmsg = calls_sendmsg;
    kolk__sys.writev = calls_writev;
    kolk__sys.epoll_wait = calls_epoll_wait;
}

/* Counts anew. */
static inline void
calls_clear(void)
{
    calls.reads = calls.writes = calls.waits = 0;
}
