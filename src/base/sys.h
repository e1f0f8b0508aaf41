/* sys.h - the one table of system calls and allocations.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything that asks the kernel or the heap for something goes through
 * `kolk__sys`, so that a test can make the Nth request fail, return short or
 * be interrupted without a fake libc underneath: each path that handles an
 * error is then a path that has been run. A call through the table costs one
 * load; what it does not cover is named here: locks and condition variables
 * (they cannot fail when used rightly) and liburing's inline functions (they
 * only touch memory shared with the kernel).
 *
 * Each entry has the prototype and the error convention of the real call:
 * -1 and errno for system calls, an error number for pthread_*, -errno for
 * liburing. `open`, `openat`, `fcntl` and `ioctl` take their last argument
 * always.
 *
 * Invariant: the table is written before the first thread starts, and only by
 * tests. So it needs no lock.
 */
#pragma once

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#ifdef KOLK_HAVE_URING
#include <liburing.h>
#endif

struct kolk__sys {
    /* heap */
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *memory, size_t size);
    void (*free)(void *memory);

    /* pages */
    void *(*mmap)(void *addr, size_t size, int prot, int flags, int fd,
                  off_t offset);
    int (*munmap)(void *addr, size_t size);
    int (*mprotect)(void *addr, size_t size, int prot);
    int (*madvise)(void *addr, size_t size, int advice);

    /* waiting */
    int (*epoll_create1)(int flags);
    int (*epoll_ctl)(int epfd, int op, int fd, struct epoll_event *event);
    int (*epoll_wait)(int epfd, struct epoll_event *events, int max,
                      int timeout);
    int (*epoll_pwait2)(int epfd, struct epoll_event *events, int max,
                        const struct timespec *timeout, const sigset_t *mask);
    int (*poll)(struct pollfd *fds, nfds_t count, int timeout);
    int (*eventfd)(unsigned count, int flags);
    int (*timerfd_create)(int clock, int flags);
    int (*timerfd_settime)(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);

    /* bytes */
    ssize_t (*read)(int fd, void *buf, size_t size);
    ssize_t (*write)(int fd, const void *buf, size_t size);
    ssize_t (*readv)(int fd, const struct iovec *iov, int count);
    ssize_t (*writev)(int fd, const struct iovec *iov, int count);
    ssize_t (*pread)(int fd, void *buf, size_t size, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buf, size_t size, off_t offset);
    ssize_t (*recv)(int fd, void *buf, size_t size, int flags);
    ssize_t (*send)(int fd, const void *buf, size_t size, int flags);
    ssize_t (*recvfrom)(int fd, void *buf, size_t size, int flags,
                        struct sockaddr *addr, socklen_t *len);
    ssize_t (*sendto)(int fd, const void *buf, size_t size, int flags,
                      const struct sockaddr *addr, socklen_t len);
    ssize_t (*recvmsg)(int fd, struct msghdr *msg, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);
    ssize_t (*sendfile)(int out, int in, off_t *offset, size_t size);

    /* sockets */
    int (*socket)(int domain, int type, int protocol);
    int (*socketpair)(int domain, int type, int protocol, int fds[2]);
    int (*bind)(int fd, const struct sockaddr *addr, socklen_t len);
    int (*listen)(int fd, int backlog);
    int (*connect)(int fd, const struct sockaddr *addr, socklen_t len);
    int (*accept4)(int fd, struct sockaddr *addr, socklen_t *len, int flags);
    int (*getsockopt)(int fd, int level, int name, void *value, socklen_t *len);
    int (*setsockopt)(int fd, int level, int name, const void *value,
                      socklen_t len);
    int (*getsockname)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*getpeername)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*shutdown)(int fd, int how);

    /* names: results as those of the real calls, EAI_... for the first two */
    int (*getaddrinfo)(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **out);
    int (*getnameinfo)(const struct sockaddr *addr, socklen_t len, char *host,
                       socklen_t host_size, char *service,
                       socklen_t service_size, int flags);
    void (*freeaddrinfo)(struct addrinfo *list);
    unsigned (*if_nametoindex)(const char *name);
    char *(*if_indextoname)(unsigned index, char *name);

    /* descriptors and files */
    int (*open)(const char *path, int flags, mode_t mode);
    int (*openat)(int dirfd, const char *path, int flags, mode_t mode);
    int (*pipe2)(int fds[2], int flags);
    int (*close)(int fd);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*fstat)(int fd, struct stat *out);
    int (*fcntl)(int fd, int command, long argument);
    int (*ioctl)(int fd, int command, void *argument);
    int (*lstat)(const char *path, struct stat *out);
    int (*chmod)(const char *path, mode_t mode);
    int (*fchmod)(int fd, mode_t mode);
    int (*link)(const char *from, const char *to);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);

    /* time, threads, signals */
    int (*clock_gettime)(clockid_t clock, struct timespec *out);
    int (*pthread_create)(pthread_t *out, const pthread_attr_t *attr,
                          void *(*fn)(void *), void *arg);
    int (*pthread_join)(pthread_t thread, void **result);
    int (*sigaction)(int signum, const struct sigaction *action,
                     struct sigaction *old);
    int (*sigaltstack)(const stack_t *stack, stack_t *old);

    /* children: in the parent */
    int (*clone)(int (*fn)(void *arg), void *stack, int flags, void *arg,
                 int *pidfd);
    pid_t (*fork)(void);
    int (*waitid)(idtype_t type, id_t id, siginfo_t *out, int options);
    int (*pidfd_open)(pid_t pid, unsigned flags);
    int (*pidfd_send_signal)(int pidfd, int signum, siginfo_t *info,
                             unsigned flags);
    int (*kill)(pid_t pid, int signum);

    /* ... and in the child, before it runs another program */
    int (*prctl)(int option, unsigned long argument);
    pid_t (*setsid)(void);
    int (*setpgid)(pid_t pid, pid_t group);
    int (*chdir)(const char *path);
    int (*dup2)(int from, int to);
    int (*close_range)(unsigned first, unsigned last, int flags);
    ssize_t (*getdents64)(int fd, void *buf, size_t size);
    int (*execve)(const char *path, char *const *argv,
                  char *const *environment);

#ifdef KOLK_HAVE_URING
    /* liburing: what enters the kernel */
    int (*io_uring_queue_init_params)(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
    void (*io_uring_queue_exit)(struct io_uring *ring);
    int (*io_uring_ring_dontfork)(struct io_uring *ring);
    int (*io_uring_submit)(struct io_uring *ring);
    int (*io_uring_submit_and_wait)(struct io_uring *ring, unsigned count);
    int (*io_uring_submit_and_wait_timeout)(struct io_uring *ring,
                                            struct io_uring_cqe **cqe,
                                            unsigned count,
                                            struct __kernel_timespec *timeout,
                                            sigset_t *mask);
    int (*io_uring_submit_and_get_events)(struct io_uring *ring);
    int (*io_uring_get_events)(struct io_uring *ring);
    int (*io_uring_register_ring_fd)(struct io_uring *ring);
    int (*io_uring_register_probe)(struct io_uring *ring,
                                   struct io_uring_probe *probe,
                                   unsigned count);
    int (*io_uring_register_eventfd)(struct io_uring *ring, int fd);
    int (*io_uring_unregister_eventfd)(struct io_uring *ring);
    int (*io_uring_register_buf_ring)(struct io_uring *ring,
                                      struct io_uring_buf_reg *reg,
                                      unsigned flags);
    int (*io_uring_unregister_buf_ring)(struct io_uring *ring, int group);
    int (*io_uring_register_sync_cancel)(struct io_uring *ring,
                                         struct io_uring_sync_cancel_reg *reg);
#endif
};

/* Hidden, so that a call is one load and one jump, also in the shared
 * library. */
extern struct kolk__sys kolk__sys __attribute__((visibility("hidden")));
