/* host_table.c - system calls that know who has the host's lock. See host.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * While a thread runs a loop, a call that may block must find the lock let go,
 * and any other call must find it held. So a library that let it go too early,
 * or did something of its own meanwhile, would be seen. Threads of the
 * library's pool never have the lock, and are not looked at.
 */
#include <errno.h>

#include "base/sys.h"
#include "host.h"

_Thread_local struct host_thread host_thread;
struct host_calls host_calls;

static struct kolk__sys table; /* what was there before */
static int table_wait_error;   /* of the next wait, once; or 0 */
static bool table_is_old;      /* without epoll_pwait2() */

static void
table_wrong(int *count, const char *name)
{
    __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&host_calls.which, name, __ATOMIC_RELAXED);
}

/* A call of `name` is about to be made, which blocks if there is nothing to
 * do and `may_block`. */
static void
table_note(const char *name, bool may_block)
{
    struct host_thread *thread = &host_thread;

    if (thread->inside == 0) {
        return;
    }
    if (may_block && thread->is_blocked) {
        thread->calls++;
        __atomic_add_fetch(&host_calls.sleeps, 1, __ATOMIC_RELAXED);
    } else if (may_block) {
        table_wrong(&host_calls.locked, name);
    } else if (thread->is_blocked) {
        table_wrong(&host_calls.needless, name);
    }
}

#define TABLE_CALL(type, name, params, args)                                   \
    static type table_##name params                                            \
    {                                                                          \
        table_note(#name, false);                                              \
        return table.name args;                                                \
    }

#define TABLE_BLOCK(name, params, args, may_block)                             \
    static int table_##name params                                             \
    {                                                                          \
        table_note(#name, (may_block));                                        \
        return table.name args;                                                \
    }

#define TABLE_ALLOCATE(name, params, args)                                     \
    static void *table_##name params                                           \
    {                                                                          \
        table_note(#name, false);                                              \
        __atomic_add_fetch(&host_calls.allocations, 1, __ATOMIC_RELAXED);      \
        return table.name args;                                                \
    }

/* ---- what may block ---- */

static bool
table_fails(void)
{
    int err = host_thread.inside > 0 ? table_wait_error : 0;

    if (err != 0) {
        table_wait_error = 0;
        errno = err;
    }
    return err != 0;
}

static int
table_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    table_note("epoll_wait", timeout != 0);
    return table_fails() ? -1 : table.epoll_wait(epfd, events, max, timeout);
}

static int
table_epoll_pwait2(int epfd, struct epoll_event *events, int max,
                   const struct timespec *timeout, const sigset_t *mask)
{
    table_note("epoll_pwait2", timeout == NULL || timeout->tv_sec != 0
                                   || timeout->tv_nsec != 0);
    if (table_is_old) {
        errno = ENOSYS;
        return -1;
    }
    return table_fails() ? -1
                         : table.epoll_pwait2(epfd, events, max, timeout, mask);
}

TABLE_BLOCK(poll, (struct pollfd * fds, nfds_t count, int timeout),
            (fds, count, timeout), timeout != 0)
TABLE_BLOCK(pthread_join, (pthread_t thread, void **result), (thread, result),
            true)
TABLE_BLOCK(clone,
            (int (*fn)(void *arg), void *stack, int flags, void *arg,
             int *pidfd),
            (fn, stack, flags, arg, pidfd), true)
TABLE_BLOCK(waitid, (idtype_t type, id_t id, siginfo_t *out, int options),
            (type, id, out, options), (options & WNOHANG) == 0)

#ifdef KOLK_HAVE_URING
TABLE_BLOCK(io_uring_submit_and_wait, (struct io_uring * ring, unsigned count),
            (ring, count), count > 0)
TABLE_BLOCK(io_uring_submit_and_wait_timeout,
            (struct io_uring * ring, struct io_uring_cqe **cqe, unsigned count,
             struct __kernel_timespec *timeout, sigset_t *mask),
            (ring, cqe, count, timeout, mask),
            count > 0
                && (timeout == NULL || timeout->tv_sec != 0
                    || timeout->tv_nsec != 0))
TABLE_BLOCK(io_uring_submit, (struct io_uring * ring), (ring), false)
TABLE_BLOCK(io_uring_submit_and_get_events, (struct io_uring * ring), (ring),
            false)
TABLE_BLOCK(io_uring_get_events, (struct io_uring * ring), (ring), false)
#endif

/* ---- what does not ---- */

TABLE_ALLOCATE(malloc, (size_t size), (size))
TABLE_ALLOCATE(calloc, (size_t count, size_t size), (count, size))
TABLE_ALLOCATE(realloc, (void *memory, size_t size), (memory, size))
TABLE_ALLOCATE(mmap,
               (void *addr, size_t size, int prot, int flags, int fd,
                off_t offset),
               (addr, size, prot, flags, fd, offset))

static void
table_free(void *memory)
{
    table_note("free", false);
    table.free(memory);
}

TABLE_CALL(int, munmap, (void *addr, size_t size), (addr, size))
TABLE_CALL(int, epoll_ctl,
           (int epfd, int op, int fd, struct epoll_event *event),
           (epfd, op, fd, event))
TABLE_CALL(int, timerfd_create, (int clock, int flags), (clock, flags))
TABLE_CALL(int, timerfd_settime,
           (int fd, int flags, const struct itimerspec *value,
            struct itimerspec *old),
           (fd, flags, value, old))
TABLE_CALL(ssize_t, read, (int fd, void *buf, size_t size), (fd, buf, size))
TABLE_CALL(ssize_t, write, (int fd, const void *buf, size_t size),
           (fd, buf, size))
/* The one that blocks is that of a parent whose child has memory of its own. */
static ssize_t
table_recv(int fd, void *buf, size_t size, int flags)
{
    table_note("recv", (flags & MSG_DONTWAIT) == 0);
    return table.recv(fd, buf, size, flags);
}

TABLE_CALL(ssize_t, send, (int fd, const void *buf, size_t size, int flags),
           (fd, buf, size, flags))
TABLE_CALL(ssize_t, recvfrom,
           (int fd, void *buf, size_t size, int flags, struct sockaddr *from,
            socklen_t *from_size),
           (fd, buf, size, flags, from, from_size))
TABLE_CALL(ssize_t, sendto,
           (int fd, const void *buf, size_t size, int flags,
            const struct sockaddr *to, socklen_t to_size),
           (fd, buf, size, flags, to, to_size))
TABLE_CALL(int, close, (int fd), (fd))

/* ---- putting them in ---- */

void
host_table_init(void)
{
    struct kolk__sys *out = &kolk__sys;

    table = kolk__sys;
#define TABLE_PUT(name) out->name = table_##name
    TABLE_PUT(epoll_wait), TABLE_PUT(epoll_pwait2), TABLE_PUT(poll);
    TABLE_PUT(pthread_join), TABLE_PUT(malloc), TABLE_PUT(calloc);
    TABLE_PUT(realloc), TABLE_PUT(free), TABLE_PUT(mmap), TABLE_PUT(munmap);
    TABLE_PUT(epoll_ctl), TABLE_PUT(timerfd_create);
    TABLE_PUT(timerfd_settime), TABLE_PUT(read), TABLE_PUT(write);
    TABLE_PUT(clone), TABLE_PUT(waitid);
    TABLE_PUT(recv), TABLE_PUT(send), TABLE_PUT(close);
    TABLE_PUT(recvfrom), TABLE_PUT(sendto);
#ifdef KOLK_HAVE_URING
    TABLE_PUT(io_uring_submit_and_wait), TABLE_PUT(io_uring_submit);
    TABLE_PUT(io_uring_submit_and_wait_timeout);
    TABLE_PUT(io_uring_submit_and_get_events), TABLE_PUT(io_uring_get_events);
#endif
#undef TABLE_PUT
}

int
host_allocations(void)
{
    return __atomic_load_n(&host_calls.allocations, __ATOMIC_RELAXED);
}

void
host_table_fail_wait(int err)
{
    table_wait_error = err;
}

void
host_table_set_old(void)
{
    table_is_old = true;
}
