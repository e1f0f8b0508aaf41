/* kit_bytes.c - the watched table's calls that move bytes.
 *
 * SPDX-License-Identifier: MIT
 *
 * Besides failing they may be told to move less than was asked for, where that
 * loses nothing: on streams and files. One byte and the half take turns.
 */
#include "kit.h"

#include "kit_sys.h"

#include <errno.h>

static unsigned bytes_cuts; /* any thread */

/* Does `fd` carry a stream of bytes, of which a call may move a part? */
static bool
bytes_is_stream(int fd)
{
    struct stat info;
    int type = 0;
    socklen_t len = sizeof type;

    if (fstat(fd, &info) < 0) {
        return false;
    }
    if (S_ISSOCK(info.st_mode)) {
        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0
               && type == SOCK_STREAM;
    }
    return S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode);
}

static size_t
bytes_shorten(int fd, size_t size)
{
    if (kit_sys_mode() != KIT_SYS_SHORT || size < 2 || !bytes_is_stream(fd)) {
        return size;
    }
    return __atomic_fetch_add(&bytes_cuts, 1, __ATOMIC_RELAXED) % 2 == 0
               ? 1
               : size / 2;
}

/* Cuts the vector (*iov, *count) to `part` of its first element, if it is to
 * be cut. */
static void
bytes_shorten_iov(int fd, const struct iovec **iov, int *count,
                  struct iovec *part)
{
    if (*count < 1 || kit_sys_mode() != KIT_SYS_SHORT || !bytes_is_stream(fd)) {
        return;
    }
    part->iov_base = (*iov)[0].iov_base;
    part->iov_len = bytes_shorten(fd, (*iov)[0].iov_len);
    *iov = part;
    *count = 1;
}

#define BYTES_CALL(name, params, args, error)                                  \
    static ssize_t bytes_##name params                                         \
    {                                                                          \
        if (!kit_sys_is_plain(fd)                                              \
            && (kit_sys_fails(#name) || kit_sys_interrupts())) {               \
            errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : (error);         \
            return -1;                                                         \
        }                                                                      \
        size = bytes_shorten(fd, size);                                        \
        return kit_sys_real.name args;                                         \
    }

BYTES_CALL(read, (int fd, void *buf, size_t size), (fd, buf, size), EIO)
BYTES_CALL(write, (int fd, const void *buf, size_t size), (fd, buf, size), EIO)
BYTES_CALL(pread, (int fd, void *buf, size_t size, off_t offset),
           (fd, buf, size, offset), EIO)
BYTES_CALL(pwrite, (int fd, const void *buf, size_t size, off_t offset),
           (fd, buf, size, offset), ENOSPC)
BYTES_CALL(recv, (int fd, void *buf, size_t size, int flags),
           (fd, buf, size, flags), ECONNRESET)
BYTES_CALL(send, (int fd, const void *buf, size_t size, int flags),
           (fd, buf, size, flags), EPIPE)
BYTES_CALL(recvfrom,
           (int fd, void *buf, size_t size, int flags, struct sockaddr *addr,
            socklen_t *len),
           (fd, buf, size, flags, addr, len), ENOMEM)
BYTES_CALL(sendto,
           (int fd, const void *buf, size_t size, int flags,
            const struct sockaddr *addr, socklen_t len),
           (fd, buf, size, flags, addr, len), ENOBUFS)

#define BYTES_VECTOR(name, error)                                              \
    static ssize_t bytes_##name(int fd, const struct iovec *iov, int count)    \
    {                                                                          \
        struct iovec part;                                                     \
        if (kit_sys_fails(#name) || kit_sys_interrupts()) {                    \
            errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : (error);         \
            return -1;                                                         \
        }                                                                      \
        bytes_shorten_iov(fd, &iov, &count, &part);                            \
        return kit_sys_real.name(fd, iov, count);                              \
    }

BYTES_VECTOR(readv, EIO)
BYTES_VECTOR(writev, EIO)

/* `msg` with a shorter vector; `part` holds it. */
static struct msghdr
bytes_shorten_msg(int fd, const struct msghdr *msg, struct iovec *part)
{
    struct msghdr copy = *msg;
    const struct iovec *iov = msg->msg_iov;
    int count = (int)msg->msg_iovlen;

    bytes_shorten_iov(fd, &iov, &count, part);
    if (iov == part) {
        copy.msg_iov = part;
        copy.msg_iovlen = 1;
    }
    return copy;
}

static ssize_t
bytes_recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct iovec part;

    if (kit_sys_fails("recvmsg") || kit_sys_interrupts()) {
        errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : ENOMEM;
        return -1;
    }
    struct msghdr copy = bytes_shorten_msg(fd, msg, &part);
    ssize_t result = kit_sys_real.recvmsg(fd, &copy, flags);
    copy.msg_iov = msg->msg_iov;
    copy.msg_iovlen = msg->msg_iovlen;
    *msg = copy;
    return result;
}

static ssize_t
bytes_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct iovec part;

    if (kit_sys_fails("sendmsg") || kit_sys_interrupts()) {
        errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : ENOBUFS;
        return -1;
    }
    struct msghdr copy = bytes_shorten_msg(fd, msg, &part);
    return kit_sys_real.sendmsg(fd, &copy, flags);
}

static ssize_t
bytes_sendfile(int out, int in, off_t *offset, size_t size)
{
    if (kit_sys_fails("sendfile") || kit_sys_interrupts()) {
        errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : EIO;
        return -1;
    }
    return kit_sys_real.sendfile(out, in, offset, bytes_shorten(out, size));
}

void
kit_bytes_init(void)
{
    kolk__sys.read = bytes_read;
    kolk__sys.write = bytes_write;
    kolk__sys.readv = bytes_readv;
    kolk__sys.writev = bytes_writev;
    kolk__sys.pread = bytes_pread;
    kolk__sys.pwrite = bytes_pwrite;
    kolk__sys.recv = bytes_recv;
    kolk__sys.send = bytes_send;
    kolk__sys.recvfrom = bytes_recvfrom;
    kolk__sys.sendto = bytes_sendto;
    kolk__sys.recvmsg = bytes_recvmsg;
    kolk__sys.sendmsg = bytes_sendmsg;
    kolk__sys.sendfile = bytes_sendfile;
}
