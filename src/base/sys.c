/* sys.c - the table of system calls, filled with the real ones.
 *
 * SPDX-License-Identifier: MIT
 *
 * A function here stands for a call whose real prototype does not fit a plain
 * function pointer: variadic ones, those that glibc declares with a
 * transparent union for the address, and epoll_pwait2, which older C libraries
 * do not have.
 */
#include "base/sys.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
sys_epoll_pwait2(int epfd, struct epoll_event *events, int max,
                 const struct timespec *timeout, const sigset_t *mask)
{
#ifdef SYS_epoll_pwait2
    size_t mask_size = 8; /* the kernel's sigset_t, not the C library's */
    return (int)syscall(SYS_epoll_pwait2, epfd, events, max, timeout, mask,
                        mask_size);
#else
    (void)epfd, (void)events, (void)max, (void)timeout, (void)mask;
    errno = ENOSYS;
    return -1;
#endif
}

static ssize_t
sys_recvfrom(int fd, void *buf, size_t size, int flags, struct sockaddr *addr,
             socklen_t *len)
{
    return recvfrom(fd, buf, size, flags, addr, len);
}

static ssize_t
sys_sendto(int fd, const void *buf, size_t size, int flags,
           const struct sockaddr *addr, socklen_t len)
{
    return sendto(fd, buf, size, flags, addr, len);
}

static int
sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    return bind(fd, addr, len);
}

static int
sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return connect(fd, addr, len);
}

static int
sys_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return accept4(fd, addr, len, flags);
}

static int
sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    return getsockname(fd, addr, len);
}

static int
sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    return getpeername(fd, addr, len);
}

static int
sys_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int
sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    return openat(dirfd, path, flags, mode);
}

static int
sys_fcntl(int fd, int command, long argument)
{
    return fcntl(fd, command, argument);
}

static int
sys_ioctl(int fd, int command, void *argument)
{
    return ioctl(fd, command, argument);
}

static int
sys_clone(int (*fn)(void *arg), void *stack, int flags, void *arg, int *pidfd)
{
    return clone(fn, stack, flags, arg, pidfd);
}

/* What old C libraries do not declare, by its number, which is the same on
 * every architecture. */
enum {
    SYS_NUMBER_PIDFD_SEND_SIGNAL = 424,
    SYS_NUMBER_PIDFD_OPEN = 434,
    SYS_NUMBER_CLOSE_RANGE = 436,
};

static int
sys_pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_NUMBER_PIDFD_OPEN, pid, flags);
}

static int
sys_pidfd_send_signal(int pidfd, int signum, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_NUMBER_PIDFD_SEND_SIGNAL, pidfd, signum, info,
                        flags);
}

static int
sys_close_range(unsigned first, unsigned last, int flags)
{
    return (int)syscall(SYS_NUMBER_CLOSE_RANGE, first, last, flags);
}

static int
sys_prctl(int option, unsigned long argument)
{
    return prctl(option, argument, 0, 0, 0);
}

static ssize_t
sys_getdents64(int fd, void *buf, size_t size)
{
    return syscall(SYS_getdents64, fd, buf, size);
}

struct kolk__sys kolk__sys = {
    .malloc = malloc,
    .calloc = calloc,
    .realloc = realloc,
    .free = free,

    .mmap = mmap,
    .munmap = munmap,
    .mprotect = mprotect,
    .madvise = madvise,

    .epoll_create1 = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .epoll_wait = epoll_wait,
    .epoll_pwait2 = sys_epoll_pwait2,
    .poll = poll,
    .eventfd = eventfd,
    .timerfd_create = timerfd_create,
    .timerfd_settime = timerfd_settime,

    .read = read,
    .write = write,
    .readv = readv,
    .writev = writev,
    .pread = pread,
    .pwrite = pwrite,
    .recv = recv,
    .send = send,
    .recvfrom = sys_recvfrom,
    .sendto = sys_sendto,
    .recvmsg = recvmsg,
    .sendmsg = sendmsg,
    .sendfile = sendfile,

    .socket = socket,
    .socketpair = socketpair,
    .bind = sys_bind,
    .listen = listen,
    .connect = sys_connect,
    .accept4 = sys_accept4,
    .getsockopt = getsockopt,
    .setsockopt = setsockopt,
    .getsockname = sys_getsockname,
    .getpeername = sys_getpeername,
    .shutdown = shutdown,

    .getaddrinfo = getaddrinfo,
    .getnameinfo = getnameinfo,
    .freeaddrinfo = freeaddrinfo,
    .if_nametoindex = if_nametoindex,
    .if_indextoname = if_indextoname,

    .open = sys_open,
    .openat = sys_openat,
    .pipe2 = pipe2,
    .close = close,
    .fsync = fsync,
    .fdatasync = fdatasync,
    .fstat = fstat,
    .fcntl = sys_fcntl,
    .ioctl = sys_ioctl,
    .lstat = lstat,
    .chmod = chmod,
    .fchmod = fchmod,
    .link = link,
    .rename = rename,
    .unlink = unlink,

    .clock_gettime = clock_gettime,
    .pthread_create = pthread_create,
    .pthread_join = pthread_join,
    .sigaction = sigaction,
    .sigaltstack = sigaltstack,

    .clone = sys_clone,
    .fork = fork,
    .waitid = waitid,
    .pidfd_open = sys_pidfd_open,
    .pidfd_send_signal = sys_pidfd_send_signal,
    .kill = kill,

    .prctl = sys_prctl,
    .setsid = setsid,
    .setpgid = setpgid,
    .chdir = chdir,
    .dup2 = dup2,
    .close_range = sys_close_range,
    .getdents64 = sys_getdents64,
    .execve = execve,

#ifdef KOLK_HAVE_URING
    .io_uring_queue_init_params = io_uring_queue_init_params,
    .io_uring_queue_exit = io_uring_queue_exit,
    .io_uring_ring_dontfork = io_uring_ring_dontfork,
    .io_uring_submit = io_uring_submit,
    .io_uring_submit_and_wait = io_uring_submit_and_wait,
    .io_uring_submit_and_wait_timeout = io_uring_submit_and_wait_timeout,
    .io_uring_submit_and_get_events = io_uring_submit_and_get_events,
    .io_uring_get_events = io_uring_get_events,
    .io_uring_register_ring_fd = io_uring_register_ring_fd,
    .io_uring_register_probe = io_uring_register_probe,
    .io_uring_register_eventfd = io_uring_register_eventfd,
    .io_uring_unregister_eventfd = io_uring_unregister_eventfd,
    .io_uring_register_buf_ring = io_uring_register_buf_ring,
    .io_uring_unregister_buf_ring = io_uring_unregister_buf_ring,
    .io_uring_register_sync_cancel = io_uring_register_sync_cancel,
#endif
};
