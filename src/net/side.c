/* side.c - system calls on a transport's descriptors. See side.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Sockets have flags that keep a call from waiting and from raising SIGPIPE.
 * Pipes and terminals have not: there O_NONBLOCK is set, and the signal is
 * blocked for the length of the call and taken back if the call has raised it,
 * because how a program handles SIGPIPE is its own affair.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/side.h"

enum {
    SIDE_DRAIN_MAX = 1024 * 1024, /* bytes thrown away when closing */
    SIDE_PIECES_MAX = 1024,       /* of one call, as the kernel's UIO_MAXIOV */
};

ssize_t
kolk__side_read_slow(kolk__side *side, void *buffer, size_t size,
                     ssize_t result)
{
    bool is_socket = side->kind == KOLK__SIDE_SOCKET;

    if (!is_socket) {
        result = kolk__sys.read(side->fd, buffer, size);
    }
    while (result < 0 && errno == EINTR) {
        result = is_socket
                     ? kolk__sys.recv(side->fd, buffer, size, MSG_DONTWAIT)
                     : kolk__sys.read(side->fd, buffer, size);
    }
    if (result >= 0) {
        return result; /* more may be there, which the next one tells */
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        kolk__descriptor_not_ready(side->desc, true);
        return -EAGAIN;
    }
    return errno == EIO && side->kind == KOLK__SIDE_DEVICE ? 0 : -errno;
}

/* ---- writing ---- */

/* A call that may raise SIGPIPE stands between these two, and does not. A
 * signal that was pending before is not ours. */
struct side_quiet {
    sigset_t before;
    bool was_pending;
};

static void
side_quiet_begin(struct side_quiet *quiet)
{
    sigset_t set;

    (void)sigpending(&set); /* none of these can fail */
    quiet->was_pending = sigismember(&set, SIGPIPE) == 1;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, &quiet->before);
}

/* Leaves errno alone. */
static void
side_quiet_end(const struct side_quiet *quiet, ssize_t result)
{
    const struct timespec at_once = {0};
    int err = errno;
    sigset_t set;

    if (result < 0 && err == EPIPE && !quiet->was_pending) {
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGPIPE);
        while (sigtimedwait(&set, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
    errno = err;
}

ssize_t
kolk__writev_quietly(int fd, const struct iovec *pieces, int count)
{
    struct side_quiet quiet;

    side_quiet_begin(&quiet);
    ssize_t result = kolk__sys.writev(fd, pieces, count);
    side_quiet_end(&quiet, result);
    return result;
}

static ssize_t
side_sendmsg(int fd, const struct iovec *pieces, int count)
{
    struct msghdr message = {0};
    union {
        const struct iovec *from;
        struct iovec *to;
    } either = {.from = pieces};

    message.msg_iov = either.to; /* which the call only reads */
    message.msg_iovlen = (size_t)count;
    return kolk__sys.sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t
kolk__side_write_failed(kolk__side *side, int err)
{
    if (err == EAGAIN || err == EWOULDBLOCK) {
        kolk__descriptor_not_ready(side->desc, false);
        return -EAGAIN;
    }
    return -err;
}

ssize_t
kolk__side_write(kolk__side *side, const struct iovec *pieces, int count)
{
    ssize_t result;

    count = count < SIDE_PIECES_MAX ? count : SIDE_PIECES_MAX;
    do {
        result = side->kind == KOLK__SIDE_SOCKET
                     ? side_sendmsg(side->fd, pieces, count)
                     : kolk__writev_quietly(side->fd, pieces, count);
    } while (KOLK_UNLIKELY(result < 0) && errno == EINTR);
    return KOLK_LIKELY(result >= 0) ? result
                                    : kolk__side_write_failed(side, errno);
}

size_t
kolk__side_unsent(const kolk__side *side)
{
    int unsent = 0;

    /* SIOCOUTQ by its other name, which every C library has. */
    if (side->kind != KOLK__SIDE_SOCKET || side->fd < 0
        || kolk__sys.ioctl(side->fd, TIOCOUTQ, &unsent) < 0) {
        return 0;
    }
    return unsent > 0 ? (size_t)unsent : 0;
}

ssize_t
kolk__side_sendfile(kolk__side *side, int fd, int64_t offset, size_t size)
{
    struct side_quiet quiet;
    off_t place = offset;
    ssize_t result;

    side_quiet_begin(&quiet);
    do {
        result = kolk__sys.sendfile(side->fd, fd, &place, size);
    } while (KOLK_UNLIKELY(result < 0) && errno == EINTR);
    side_quiet_end(&quiet, result);
    return KOLK_LIKELY(result >= 0) ? result
                                    : kolk__side_write_failed(side, errno);
}

/* ---- closing ---- */

void
kolk__side_drain(kolk__side *side, kolk__net *net)
{
    ssize_t result = 1;
    size_t taken = 0;

    if (side->kind != KOLK__SIDE_SOCKET || !side->desc->ready_in) {
        return;
    }
    void *buffer = kolk__net_take_buffer(net);
    while (buffer != NULL && result > 0 && taken < SIDE_DRAIN_MAX
           && side->desc->ready_in) {
        result = kolk__side_read(side, buffer, KOLK__READ_SIZE);
        taken += result > 0 ? (size_t)result : 0;
    }
    kolk__net_give_buffer(net, buffer);
}

void
kolk__side_close(kolk__side *side)
{
    if (side->fd < 0) {
        return;
    }
    if (side->was_blocking && side->fd <= STDERR_FILENO) {
        int flags = kolk__sys.fcntl(side->fd, F_GETFL, 0);

        /* The file is shared with other processes, which expect that. If it
         * fails there is nobody to tell. */
        if (flags >= 0) {
            (void)kolk__sys.fcntl(side->fd, F_SETFL, flags & ~O_NONBLOCK);
        }
    }
    (void)kolk__sys.close(side->fd); /* whatever it says, it is closed */
    side->fd = -1;
}
