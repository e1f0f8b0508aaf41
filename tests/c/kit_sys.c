/* kit_sys.c - the table of system calls, watched and steered.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each entry of kolk__sys is replaced by one that counts, fails if the hard
 * mode says so (hard/hard.h), and then makes the real call. Errors are those
 * that the kernel may give for the call, so that a test that breaks has met
 * something that can happen. Left alone is what cannot fail (clocks, eventfds)
 * and what gives back: its failure would leave nothing to do but to leak.
 *
 * Blocks carry a header that links them, so that what is missing at the end
 * can be named.
 */
#include "kit.h"

#include "../hard/hard.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SYS_FD_MAX = 4096, SYS_NAMED_MAX = 8, SYS_WAIT_FAILURES_MAX = 5 };

enum sys_mode { SYS_OFF, SYS_COUNT, SYS_ONCE, SYS_EVER, SYS_SHORT, SYS_EINTR };

struct sys_block {
    alignas(max_align_t) struct sys_block *next;
    struct sys_block *previous;
    size_t size;
    void *caller;
    uint64_t magic;
};

static const uint64_t SYS_MAGIC = 0x6b6f6c6b6b6f6c6b;

static struct {
    struct kolk__sys real;
    char fds[SYS_FD_MAX]; /* open at the start */

    /* steering: written at the start, and by kit_sys_quiet() */
    enum sys_mode mode;
    uint64_t target;
    struct hard_page *page;

    /* any thread */
    const char *ever;       /* the kind of call that fails from now on */
    unsigned interrupted;   /* how often something could be */
    unsigned waits;         /* how often a wait has failed */
    char plain[SYS_FD_MAX]; /* eventfds and timerfds */
    int64_t mapped;         /* bytes */

    pthread_mutex_t lock;
    struct sys_block *blocks; /* guarded by lock */
} sys = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- what goes wrong ---- */

static enum sys_mode
sys_mode(void)
{
    return __atomic_load_n(&sys.mode, __ATOMIC_RELAXED);
}

/* Shall this call of `name` fail? A literal, unique to the kind of call. */
static bool
sys_fails(const char *name)
{
    enum sys_mode mode = sys_mode();

    if (mode == SYS_OFF) {
        return false;
    }
    uint64_t call = __atomic_add_fetch(&sys.page->calls, 1, __ATOMIC_RELAXED);
    if ((mode == SYS_ONCE || mode == SYS_EVER) && call == sys.target) {
        (void)snprintf(sys.page->name, sizeof sys.page->name, "%s", name);
        __atomic_store_n(&sys.ever, name, __ATOMIC_RELAXED);
        return true;
    }
    return mode == SYS_EVER
           && __atomic_load_n(&sys.ever, __ATOMIC_RELAXED) == name;
}

/* A loop whose every wait fails can only pause and try again, so for waits
 * "for ever" is a number. */
static bool
sys_wait_fails(const char *name)
{
    return sys_fails(name)
           && __atomic_add_fetch(&sys.waits, 1, __ATOMIC_RELAXED)
                  <= SYS_WAIT_FAILURES_MAX;
}

static bool
sys_interrupts(void)
{
    return sys_mode() == SYS_EINTR
           && __atomic_fetch_add(&sys.interrupted, 1, __ATOMIC_RELAXED) % 4
                  != 3;
}

/* Does `fd` carry a stream of bytes, of which a call may move a part? */
static bool
sys_is_stream(int fd)
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
sys_shorten(int fd, size_t size)
{
    if (sys_mode() != SYS_SHORT || size < 2 || !sys_is_stream(fd)) {
        return size;
    }
    return __atomic_fetch_add(&sys.interrupted, 1, __ATOMIC_RELAXED) % 2 == 0
               ? 1
               : size / 2;
}

/* How many of `iov` may be moved; `part` receives the one that is cut. */
static int
sys_shorten_iov(int fd, const struct iovec *iov, int count, struct iovec *part)
{
    if (count < 1 || sys_mode() != SYS_SHORT) {
        return count;
    }
    *part = iov[0];
    part->iov_len = sys_shorten(fd, part->iov_len);
    return part->iov_len < iov[0].iov_len ? 1 : count;
}

static bool
sys_is_plain(int fd)
{
    return fd >= 0 && fd < SYS_FD_MAX
           && __atomic_load_n(&sys.plain[fd], __ATOMIC_RELAXED);
}

static int
sys_set_plain(int fd, bool plain)
{
    if (fd >= 0 && fd < SYS_FD_MAX) {
        __atomic_store_n(&sys.plain[fd], plain, __ATOMIC_RELAXED);
    }
    return fd;
}

/* Once a check has failed, nobody may be left to wake a loop: it must not
 * sleep without a bound. */
static bool
sys_may_sleep(void)
{
    kolk_loop *loop = kolk_current_loop();

    if (loop == NULL || kit_failures() == 0) {
        return true;
    }
    kolk_loop_stop(loop);
    return false;
}

/* ---- calls that fail and are interrupted, no more ---- */

#define SYS_CALL(type, name, params, args, error, may_interrupt)               \
    static type sys_##name params                                              \
    {                                                                          \
        if (sys_fails(#name)) {                                                \
            errno = (error);                                                   \
            return -1;                                                         \
        }                                                                      \
        if ((may_interrupt) && sys_interrupts()) {                             \
            errno = EINTR;                                                     \
            return -1;                                                         \
        }                                                                      \
        return sys.real.name args;                                             \
    }

SYS_CALL(int, mprotect, (void *addr, size_t size, int prot), (addr, size, prot),
         ENOMEM, false)
SYS_CALL(int, madvise, (void *addr, size_t size, int advice),
         (addr, size, advice), EINVAL, false)
SYS_CALL(int, epoll_create1, (int flags), (flags), EMFILE, false)
SYS_CALL(int, poll, (struct pollfd * fds, nfds_t count, int timeout),
         (fds, count, timeout), ENOMEM, true)
SYS_CALL(int, timerfd_settime,
         (int fd, int flags, const struct itimerspec *value,
          struct itimerspec *old),
         (fd, flags, value, old), EINVAL, false)
SYS_CALL(int, socket, (int domain, int type, int protocol),
         (domain, type, protocol), EMFILE, false)
SYS_CALL(int, socketpair, (int domain, int type, int protocol, int fds[2]),
         (domain, type, protocol, fds), EMFILE, false)
SYS_CALL(int, bind, (int fd, const struct sockaddr *addr, socklen_t len),
         (fd, addr, len), EADDRINUSE, false)
SYS_CALL(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE, false)
SYS_CALL(int, connect, (int fd, const struct sockaddr *addr, socklen_t len),
         (fd, addr, len), ECONNREFUSED, false)
SYS_CALL(int, accept4,
         (int fd, struct sockaddr *addr, socklen_t *len, int flags),
         (fd, addr, len, flags), EMFILE, true)
SYS_CALL(int, getsockopt,
         (int fd, int level, int name, void *value, socklen_t *len),
         (fd, level, name, value, len), ENOBUFS, false)
SYS_CALL(int, setsockopt,
         (int fd, int level, int name, const void *value, socklen_t len),
         (fd, level, name, value, len), ENOBUFS, false)
SYS_CALL(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len),
         (fd, addr, len), ENOBUFS, false)
SYS_CALL(int, shutdown, (int fd, int how), (fd, how), ENOTCONN, false)
SYS_CALL(int, open, (const char *path, int flags, mode_t mode),
         (path, flags, mode), EMFILE, true)
SYS_CALL(int, openat, (int dir, const char *path, int flags, mode_t mode),
         (dir, path, flags, mode), EMFILE, true)
SYS_CALL(int, pipe2, (int fds[2], int flags), (fds, flags), EMFILE, false)
SYS_CALL(int, fsync, (int fd), (fd), EIO, true)
SYS_CALL(int, fdatasync, (int fd), (fd), EIO, true)
SYS_CALL(int, fstat, (int fd, struct stat *out), (fd, out), EIO, false)
SYS_CALL(int, fcntl, (int fd, int command, long argument),
         (fd, command, argument), EPERM, false)
SYS_CALL(int, sigaction,
         (int signum, const struct sigaction *action, struct sigaction *old),
         (signum, action, old), EINVAL, false)
SYS_CALL(int, sigaltstack, (const stack_t *stack, stack_t *old), (stack, old),
         ENOMEM, false)

/* ---- bytes ---- */

#define SYS_BYTES(name, params, args, error)                                   \
    static ssize_t sys_##name params                                           \
    {                                                                          \
        if (!sys_is_plain(fd) && sys_fails(#name)) {                           \
            errno = (error);                                                   \
            return -1;                                                         \
        }                                                                      \
        if (sys_interrupts()) {                                                \
            errno = EINTR;                                                     \
            return -1;                                                         \
        }                                                                      \
        size = sys_shorten(fd, size);                                          \
        return sys.real.name args;                                             \
    }

SYS_BYTES(read, (int fd, void *buf, size_t size), (fd, buf, size), EIO)
SYS_BYTES(write, (int fd, const void *buf, size_t size), (fd, buf, size), EIO)
SYS_BYTES(pread, (int fd, void *buf, size_t size, off_t offset),
          (fd, buf, size, offset), EIO)
SYS_BYTES(pwrite, (int fd, const void *buf, size_t size, off_t offset),
          (fd, buf, size, offset), ENOSPC)
SYS_BYTES(recv, (int fd, void *buf, size_t size, int flags),
          (fd, buf, size, flags), ECONNRESET)
SYS_BYTES(send, (int fd, const void *buf, size_t size, int flags),
          (fd, buf, size, flags), EPIPE)
SYS_BYTES(recvfrom,
          (int fd, void *buf, size_t size, int flags, struct sockaddr *addr,
           socklen_t *len),
          (fd, buf, size, flags, addr, len), ENOMEM)
SYS_BYTES(sendto,
          (int fd, const void *buf, size_t size, int flags,
           const struct sockaddr *addr, socklen_t len),
          (fd, buf, size, flags, addr, len), ENOBUFS)

#define SYS_VECTOR(name, error)                                                \
    static ssize_t sys_##name(int fd, const struct iovec *iov, int count)      \
    {                                                                          \
        struct iovec part;                                                     \
        if (sys_fails(#name) || sys_interrupts()) {                            \
            errno = sys_mode() == SYS_EINTR ? EINTR : (error);                 \
            return -1;                                                         \
        }                                                                      \
        int some = sys_shorten_iov(fd, iov, count, &part);                     \
        return sys.real.name(fd, some < count ? &part : iov, some);            \
    }

SYS_VECTOR(readv, EIO)
SYS_VECTOR(writev, EIO)

static ssize_t
sys_recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct iovec *iov = msg->msg_iov, part;
    size_t count = msg->msg_iovlen;

    if (sys_fails("recvmsg") || sys_interrupts()) {
        errno = sys_mode() == SYS_EINTR ? EINTR : ENOMEM;
        return -1;
    }
    if (sys_shorten_iov(fd, iov, (int)count, &part) == 1 && count > 0) {
        msg->msg_iov = part.iov_len < iov[0].iov_len ? &part : iov;
        msg->msg_iovlen = 1;
    }
    ssize_t result = sys.real.recvmsg(fd, msg, flags);
    msg->msg_iov = iov;
    msg->msg_iovlen = count;
    return result;
}

static ssize_t
sys_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr copy = *msg;
    struct iovec part;

    if (sys_fails("sendmsg") || sys_interrupts()) {
        errno = sys_mode() == SYS_EINTR ? EINTR : ENOBUFS;
        return -1;
    }
    int count = (int)msg->msg_iovlen;
    if (sys_shorten_iov(fd, msg->msg_iov, count, &part) < count
        || (count == 1 && sys_mode() == SYS_SHORT)) {
        copy.msg_iov = &part;
        copy.msg_iovlen = 1;
    }
    return sys.real.sendmsg(fd, &copy, flags);
}

/* ---- waiting ---- */

static int
sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    if (sys_wait_fails("epoll_wait") || sys_interrupts()) {
        errno = sys_mode() == SYS_EINTR ? EINTR : ENOMEM;
        return -1;
    }
    if (timeout < 0 && !sys_may_sleep()) {
        timeout = 0;
    }
    int count = sys.real.epoll_wait(epfd, events, max, timeout);
    int err = errno;
    kit_polled(count);
    errno = err;
    return count;
}

static int
sys_epoll_pwait2(int epfd, struct epoll_event *events, int max,
                 const struct timespec *timeout, const sigset_t *mask)
{
    static const struct timespec none;

    if (sys_fails("epoll_pwait2") || sys_interrupts()) {
        errno = sys_mode() == SYS_EINTR ? EINTR : ENOSYS;
        return -1;
    }
    if (timeout == NULL && !sys_may_sleep()) {
        timeout = &none;
    }
    int count = sys.real.epoll_pwait2(epfd, events, max, timeout, mask);
    int err = errno;
    kit_polled(count);
    errno = err;
    return count;
}

/* Taking an entry out cannot run out of memory. */
static int
sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op != EPOLL_CTL_DEL && sys_fails("epoll_ctl")) {
        errno = ENOMEM;
        return -1;
    }
    return sys.real.epoll_ctl(epfd, op, fd, event);
}

static int
sys_eventfd(unsigned count, int flags)
{
    if (sys_fails("eventfd")) {
        errno = EMFILE;
        return -1;
    }
    return sys_set_plain(sys.real.eventfd(count, flags), true);
}

static int
sys_timerfd_create(int clock, int flags)
{
    if (sys_fails("timerfd_create")) {
        errno = EMFILE;
        return -1;
    }
    return sys_set_plain(sys.real.timerfd_create(clock, flags), true);
}

/* Whatever close() returns, the descriptor is gone. */
static int
sys_close(int fd)
{
    bool fails = sys_fails("close"), interrupts = sys_interrupts();

    (void)sys_set_plain(fd, false);
    int result = sys.real.close(fd);
    if (fails || interrupts) {
        errno = fails ? EIO : EINTR;
        result = -1;
    }
    return result;
}

static int
sys_pthread_create(pthread_t *out, const pthread_attr_t *attr,
                   void *(*fn)(void *), void *arg)
{
    return sys_fails("pthread_create")
               ? EAGAIN
               : sys.real.pthread_create(out, attr, fn, arg);
}

/* ---- liburing ---- */

#ifdef KOLK_HAVE_URING

/* A ring that is busy once is tried again; one that is refused from now on is
 * lost. */
static int
sys_ring_error(const char *name)
{
    if (sys_fails(name)) {
        return sys_mode() == SYS_EVER ? -EPERM : -EAGAIN;
    }
    return sys_interrupts() ? -EINTR : 0;
}

#define SYS_RING(name, params, args, error)                                    \
    static int sys_##name params                                               \
    {                                                                          \
        return sys_fails(#name) ? -(error) : sys.real.name args;               \
    }

/* Entering the kernel, which may complete operations. */
#define SYS_RING_ENTER(name, params, args)                                     \
    static int sys_##name params                                               \
    {                                                                          \
        int result = sys_ring_error(#name);                                    \
        result = result < 0 ? result : sys.real.name args;                     \
        kit_polled((int)io_uring_cq_ready(ring));                              \
        return result;                                                         \
    }

SYS_RING(io_uring_queue_init_params,
         (unsigned entries, struct io_uring *ring,
          struct io_uring_params *params),
         (entries, ring, params), ENOMEM)
SYS_RING(io_uring_ring_dontfork, (struct io_uring * ring), (ring), EINVAL)
SYS_RING(io_uring_register_ring_fd, (struct io_uring * ring), (ring), EINVAL)
SYS_RING(io_uring_register_probe,
         (struct io_uring * ring, struct io_uring_probe *probe, unsigned count),
         (ring, probe, count), EINVAL)
SYS_RING(io_uring_register_eventfd, (struct io_uring * ring, int fd),
         (ring, fd), ENOMEM)
SYS_RING(io_uring_register_buf_ring,
         (struct io_uring * ring, struct io_uring_buf_reg *reg, unsigned flags),
         (ring, reg, flags), ENOMEM)
SYS_RING(io_uring_register_sync_cancel,
         (struct io_uring * ring, struct io_uring_sync_cancel_reg *reg),
         (ring, reg), EINVAL)
SYS_RING_ENTER(io_uring_submit, (struct io_uring * ring), (ring))
SYS_RING_ENTER(io_uring_submit_and_wait,
               (struct io_uring * ring, unsigned count),
               (ring, sys_may_sleep() ? count : 0))
SYS_RING_ENTER(io_uring_submit_and_get_events, (struct io_uring * ring), (ring))
SYS_RING_ENTER(io_uring_get_events, (struct io_uring * ring), (ring))

static int
sys_io_uring_submit_and_wait_timeout(struct io_uring *ring,
                                     struct io_uring_cqe **cqe, unsigned count,
                                     struct __kernel_timespec *timeout,
                                     sigset_t *mask)
{
    struct __kernel_timespec none = {0};
    int result = sys_ring_error("io_uring_submit_and_wait_timeout");

    if (result == 0) {
        timeout = timeout == NULL && !sys_may_sleep() ? &none : timeout;
        result = sys.real.io_uring_submit_and_wait_timeout(ring, cqe, count,
                                                           timeout, mask);
    }
    kit_polled((int)io_uring_cq_ready(ring));
    return result;
}

static void
sys_init_ring(void)
{
    kolk__sys.io_uring_queue_init_params = sys_io_uring_queue_init_params;
    kolk__sys.io_uring_ring_dontfork = sys_io_uring_ring_dontfork;
    kolk__sys.io_uring_register_ring_fd = sys_io_uring_register_ring_fd;
    kolk__sys.io_uring_register_probe = sys_io_uring_register_probe;
    kolk__sys.io_uring_register_eventfd = sys_io_uring_register_eventfd;
    kolk__sys.io_uring_register_buf_ring = sys_io_uring_register_buf_ring;
    kolk__sys.io_uring_register_sync_cancel = sys_io_uring_register_sync_cancel;
    kolk__sys.io_uring_submit = sys_io_uring_submit;
    kolk__sys.io_uring_submit_and_wait = sys_io_uring_submit_and_wait;
    kolk__sys.io_uring_submit_and_wait_timeout =
        sys_io_uring_submit_and_wait_timeout;
    kolk__sys.io_uring_submit_and_get_events =
        sys_io_uring_submit_and_get_events;
    kolk__sys.io_uring_get_events = sys_io_uring_get_events;
}
#else
static void
sys_init_ring(void)
{
}
#endif

/* ---- memory ---- */

static void *
sys_block_link(struct sys_block *block, size_t size, void *caller)
{
    if (block == NULL) {
        return NULL;
    }
    *block =
        (struct sys_block){.size = size, .caller = caller, .magic = SYS_MAGIC};
    pthread_mutex_lock(&sys.lock);
    block->next = sys.blocks;
    if (sys.blocks != NULL) {
        sys.blocks->previous = block;
    }
    sys.blocks = block;
    pthread_mutex_unlock(&sys.lock);
    return block + 1;
}

static struct sys_block *
sys_block_unlink(void *memory)
{
    struct sys_block *block = (struct sys_block *)memory - 1;

    if (block->magic != SYS_MAGIC) {
        (void)fprintf(stderr, "kit: %p was not allocated here\n", memory);
        abort();
    }
    pthread_mutex_lock(&sys.lock);
    if (block->previous != NULL) {
        block->previous->next = block->next;
    } else {
        sys.blocks = block->next;
    }
    if (block->next != NULL) {
        block->next->previous = block->previous;
    }
    pthread_mutex_unlock(&sys.lock);
    block->magic = 0;
    return block;
}

static void *
sys_malloc(size_t size)
{
    if (sys_fails("malloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return sys_block_link(malloc(sizeof(struct sys_block) + size), size,
                          __builtin_return_address(0));
}

static void *
sys_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (sys_fails("calloc") || __builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return sys_block_link(calloc(1, sizeof(struct sys_block) + bytes), bytes,
                          __builtin_return_address(0));
}

static void
sys_free(void *memory)
{
    if (memory != NULL) {
        free(sys_block_unlink(memory));
    }
}

static void *
sys_realloc(void *memory, size_t size)
{
    void *caller = __builtin_return_address(0);

    if (sys_fails("realloc")) {
        errno = ENOMEM;
        return NULL;
    }
    struct sys_block *old = memory != NULL ? sys_block_unlink(memory) : NULL;
    struct sys_block *block = realloc(old, sizeof *block + size);
    return sys_block_link(block, size, caller);
}

static void *
sys_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (sys_fails("mmap")) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = sys.real.mmap(addr, size, prot, flags, fd, offset);
    if (memory != MAP_FAILED && (flags & MAP_FIXED) == 0) {
        __atomic_add_fetch(&sys.mapped, (int64_t)size, __ATOMIC_RELAXED);
    }
    return memory;
}

static int
sys_munmap(void *addr, size_t size)
{
    int result = sys.real.munmap(addr, size);

    if (result == 0) {
        __atomic_sub_fetch(&sys.mapped, (int64_t)size, __ATOMIC_RELAXED);
    }
    return result;
}

/* ---- start and end ---- */

static void
sys_install(void)
{
    struct kolk__sys *out = &kolk__sys;

#define SYS_PUT(name) out->name = sys_##name
    SYS_PUT(malloc), SYS_PUT(calloc), SYS_PUT(realloc), SYS_PUT(free);
    SYS_PUT(mmap), SYS_PUT(munmap), SYS_PUT(mprotect), SYS_PUT(madvise);
    SYS_PUT(epoll_create1), SYS_PUT(epoll_ctl), SYS_PUT(epoll_wait);
    SYS_PUT(epoll_pwait2), SYS_PUT(poll), SYS_PUT(eventfd);
    SYS_PUT(timerfd_create), SYS_PUT(timerfd_settime);
    SYS_PUT(read), SYS_PUT(write), SYS_PUT(readv), SYS_PUT(writev);
    SYS_PUT(pread), SYS_PUT(pwrite), SYS_PUT(recv), SYS_PUT(send);
    SYS_PUT(recvfrom), SYS_PUT(sendto), SYS_PUT(recvmsg), SYS_PUT(sendmsg);
    SYS_PUT(socket), SYS_PUT(socketpair), SYS_PUT(bind), SYS_PUT(listen);
    SYS_PUT(connect), SYS_PUT(accept4), SYS_PUT(getsockopt);
    SYS_PUT(setsockopt), SYS_PUT(getsockname), SYS_PUT(shutdown);
    SYS_PUT(open), SYS_PUT(openat), SYS_PUT(pipe2), SYS_PUT(close);
    SYS_PUT(fsync), SYS_PUT(fdatasync), SYS_PUT(fstat), SYS_PUT(fcntl);
    SYS_PUT(pthread_create), SYS_PUT(sigaction), SYS_PUT(sigaltstack);
#undef SYS_PUT
    sys_init_ring();
}

/* Calls `fn` for each open descriptor. */
static int
sys_each_fd(int (*fn)(int fd))
{
    DIR *dir = opendir("/proc/self/fd");
    int sum = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd < SYS_FD_MAX) {
            sum += fn(fd);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return sum;
}

static int
sys_fd_note(int fd)
{
    sys.fds[fd] = 1;
    return 0;
}

static int
sys_fd_check(int fd)
{
    char path[64], target[128];

    if (sys.fds[fd]) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, target, sizeof target);
    (void)fprintf(stderr, "kit: descriptor %d is left open: %.*s\n", fd,
                  (int)(len > 0 ? len : 0), target);
    return 1;
}

static void
sys_init_mode(const char *text)
{
    const char *fd = getenv("KOLK_HARD_FD");

    if (text == NULL || fd == NULL) {
        return;
    }
    sys.page = mmap(NULL, sizeof *sys.page, PROT_READ | PROT_WRITE, MAP_SHARED,
                    (int)strtol(fd, NULL, 10), 0);
    if (sys.page == MAP_FAILED) {
        return;
    }
    (void)close((int)strtol(fd, NULL, 10));
    if (strncmp(text, "fail:", 5) == 0) {
        sys.target = strtoull(text + 5, NULL, 10);
        sys.mode = strstr(text, ":ever") != NULL ? SYS_EVER : SYS_ONCE;
    } else if (strcmp(text, "short") == 0) {
        sys.mode = SYS_SHORT;
    } else {
        sys.mode = strcmp(text, "eintr") == 0 ? SYS_EINTR : SYS_COUNT;
    }
}

bool
test_is_hard(void)
{
    return sys.page != NULL;
}

void
kit_sys_init(void)
{
    sys.real = kolk__sys;
    sys_init_mode(getenv("KOLK_HARD"));
    (void)sys_each_fd(sys_fd_note);
    sys_install();
}

void
kit_sys_quiet(void)
{
    __atomic_store_n(&sys.mode, SYS_OFF, __ATOMIC_RELAXED);
}

int
kit_sys_fini(void)
{
    int leaks = sys_each_fd(sys_fd_check);
    int named = 0;

    pthread_mutex_lock(&sys.lock);
    for (struct sys_block *block = sys.blocks; block; block = block->next) {
        if (named++ < SYS_NAMED_MAX) {
            (void)fprintf(stderr, "kit: %zu bytes at %p are lost; from %p\n",
                          block->size, (void *)(block + 1), block->caller);
        }
    }
    pthread_mutex_unlock(&sys.lock);
    int64_t mapped = __atomic_load_n(&sys.mapped, __ATOMIC_RELAXED);
    if (mapped != 0) {
        (void)fprintf(stderr, "kit: %lld bytes are still mapped\n",
                      (long long)mapped);
        leaks++;
    }
    if (leaks + named > 0) {
        (void)fprintf(stderr, "kit: leaks: %d blocks, %d other\n", named,
                      leaks);
    }
    return leaks + named;
}
