/* kit_sys.c - the table of system calls, watched and steered.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each entry of kolk__sys is replaced by one that counts, fails if the hard
 * mode says so (hard/hard.h), and then makes the real call. Errors are those
 * that the kernel may give for the call, so that a test that breaks has met
 * something that can happen. Left alone is what cannot fail (clocks, eventfds,
 * handlers) and what gives back: its failure would leave nothing to do but to
 * leak.
 */
#include "kit.h"

#include "../hard/hard.h"
#include "kit_sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SYS_FD_MAX = 4096, SYS_WAIT_FAILURES_MAX = 5 };

enum sys_fd { SYS_FD_UNKNOWN, SYS_FD_OPENED, SYS_FD_PLAIN };

struct kolk__sys kit_sys_real;

static struct {
    /* steering: written at the start, and by kit_sys_quiet() */
    enum kit_sys_mode mode;
    uint64_t target;
    struct hard_page *page;

    /* any thread */
    const char *ever;     /* the kind of call that fails from now on */
    unsigned interrupted; /* how often something could be */
    unsigned waits;       /* how often a wait has failed */
    char fds[SYS_FD_MAX]; /* what the library has opened: enum sys_fd */
} sys;

/* ---- what goes wrong ---- */

enum kit_sys_mode
kit_sys_mode(void)
{
    return __atomic_load_n(&sys.mode, __ATOMIC_RELAXED);
}

bool
kit_sys_fails(const char *name)
{
    enum kit_sys_mode mode = kit_sys_mode();

    if (mode == KIT_SYS_OFF) {
        return false;
    }
    uint64_t call = __atomic_add_fetch(&sys.page->calls, 1, __ATOMIC_RELAXED);
    if ((mode == KIT_SYS_ONCE || mode == KIT_SYS_EVER) && call == sys.target) {
        (void)snprintf(sys.page->name, sizeof sys.page->name, "%s", name);
        __atomic_store_n(&sys.ever, name, __ATOMIC_RELAXED);
        return true;
    }
    return mode == KIT_SYS_EVER
           && __atomic_load_n(&sys.ever, __ATOMIC_RELAXED) == name;
}

/* A loop whose every wait fails can only pause and try again, so for waits
 * "for ever" is a number. */
static bool
sys_wait_fails(const char *name)
{
    return kit_sys_fails(name)
           && __atomic_add_fetch(&sys.waits, 1, __ATOMIC_RELAXED)
                  <= SYS_WAIT_FAILURES_MAX;
}

bool
kit_sys_interrupts(void)
{
    return kit_sys_mode() == KIT_SYS_EINTR
           && __atomic_fetch_add(&sys.interrupted, 1, __ATOMIC_RELAXED) % 4
                  != 3;
}

/* Remembers how `fd` came to be; returns it. */
static int
sys_set_fd(int fd, enum sys_fd kind)
{
    if (fd >= 0 && fd < SYS_FD_MAX) {
        __atomic_store_n(&sys.fds[fd], (char)kind, __ATOMIC_RELAXED);
    }
    return fd;
}

static enum sys_fd
sys_get_fd(int fd)
{
    return fd >= 0 && fd < SYS_FD_MAX
               ? (enum sys_fd)__atomic_load_n(&sys.fds[fd], __ATOMIC_RELAXED)
               : SYS_FD_UNKNOWN;
}

void
kit_sys_opened(int fd)
{
    (void)sys_set_fd(fd, SYS_FD_OPENED);
}

bool
kit_sys_has_opened(int fd)
{
    return sys_get_fd(fd) != SYS_FD_UNKNOWN;
}

bool
kit_sys_is_plain(int fd)
{
    return sys_get_fd(fd) == SYS_FD_PLAIN;
}

bool
kit_sys_may_sleep(void)
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
        if (kit_sys_fails(#name)) {                                            \
            errno = (error);                                                   \
            return -1;                                                         \
        }                                                                      \
        if ((may_interrupt) && kit_sys_interrupts()) {                         \
            errno = EINTR;                                                     \
            return -1;                                                         \
        }                                                                      \
        return kit_sys_real.name args;                                         \
    }

/* The same for calls that return a descriptor. */
#define SYS_OPEN(name, params, args, may_interrupt)                            \
    static int sys_##name params                                               \
    {                                                                          \
        if (kit_sys_fails(#name)                                               \
            || ((may_interrupt) && kit_sys_interrupts())) {                    \
            errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : EMFILE;          \
            return -1;                                                         \
        }                                                                      \
        return sys_set_fd(kit_sys_real.name args, SYS_FD_OPENED);              \
    }

#define SYS_PAIR(name, params, args)                                           \
    static int sys_##name params                                               \
    {                                                                          \
        if (kit_sys_fails(#name)) {                                            \
            errno = EMFILE;                                                    \
            return -1;                                                         \
        }                                                                      \
        int result = kit_sys_real.name args;                                   \
        if (result == 0) {                                                     \
            (void)sys_set_fd(fds[0], SYS_FD_OPENED);                           \
            (void)sys_set_fd(fds[1], SYS_FD_OPENED);                           \
        }                                                                      \
        return result;                                                         \
    }

SYS_CALL(int, mprotect, (void *addr, size_t size, int prot), (addr, size, prot),
         ENOMEM, false)
SYS_CALL(int, madvise, (void *addr, size_t size, int advice),
         (addr, size, advice), EINVAL, false)
SYS_OPEN(epoll_create1, (int flags), (flags), false)
SYS_CALL(int, poll, (struct pollfd * fds, nfds_t count, int timeout),
         (fds, count, timeout), ENOMEM, true)
SYS_CALL(int, timerfd_settime,
         (int fd, int flags, const struct itimerspec *value,
          struct itimerspec *old),
         (fd, flags, value, old), EINVAL, false)
SYS_OPEN(socket, (int domain, int type, int protocol), (domain, type, protocol),
         false)
SYS_PAIR(socketpair, (int domain, int type, int protocol, int fds[2]),
         (domain, type, protocol, fds))
SYS_CALL(int, bind, (int fd, const struct sockaddr *addr, socklen_t len),
         (fd, addr, len), EADDRINUSE, false)
SYS_CALL(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE, false)
SYS_CALL(int, connect, (int fd, const struct sockaddr *addr, socklen_t len),
         (fd, addr, len), ECONNREFUSED, false)
SYS_OPEN(accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
         (fd, addr, len, flags), true)
SYS_CALL(int, setsockopt,
         (int fd, int level, int name, const void *value, socklen_t len),
         (fd, level, name, value, len), ENOBUFS, false)
SYS_CALL(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len),
         (fd, addr, len), ENOBUFS, false)
SYS_CALL(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len),
         (fd, addr, len), ENOTCONN, false)
SYS_CALL(int, shutdown, (int fd, int how), (fd, how), ENOTCONN, false)
SYS_OPEN(open, (const char *path, int flags, mode_t mode), (path, flags, mode),
         true)
SYS_OPEN(openat, (int dir, const char *path, int flags, mode_t mode),
         (dir, path, flags, mode), true)
SYS_PAIR(pipe2, (int fds[2], int flags), (fds, flags))
SYS_CALL(int, fsync, (int fd), (fd), EIO, true)
SYS_CALL(int, fdatasync, (int fd), (fd), EIO, true)
SYS_CALL(int, fstat, (int fd, struct stat *out), (fd, out), EIO, false)
SYS_CALL(int, fcntl, (int fd, int command, long argument),
         (fd, command, argument), EPERM, false)
SYS_CALL(int, ioctl, (int fd, int command, void *argument),
         (fd, command, argument), ENOTTY, false)
SYS_CALL(int, lstat, (const char *path, struct stat *out), (path, out), EACCES,
         false)
SYS_CALL(int, chmod, (const char *path, mode_t mode), (path, mode), EPERM,
         false)
SYS_CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), EPERM, false)
SYS_CALL(int, link, (const char *from, const char *to), (from, to), EPERM,
         false)
SYS_CALL(int, rename, (const char *from, const char *to), (from, to), EACCES,
         false)
SYS_CALL(int, unlink, (const char *path), (path), EACCES, false)

/* ---- names ---- */

static int
sys_getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    return kit_sys_fails("getaddrinfo")
               ? EAI_MEMORY
               : kit_sys_real.getaddrinfo(host, service, hints, out);
}

/* With as many parameters as the real one. */
static int /* NOLINTNEXTLINE(readability-function-size) */
sys_getnameinfo(const struct sockaddr *addr, socklen_t len, char *host,
                socklen_t host_size, char *service, socklen_t service_size,
                int flags)
{
    return kit_sys_fails("getnameinfo")
               ? EAI_MEMORY
               : kit_sys_real.getnameinfo(addr, len, host, host_size, service,
                                          service_size, flags);
}

/* Both ask a socket that they open. */
static unsigned
sys_if_nametoindex(const char *name)
{
    if (kit_sys_fails("if_nametoindex")) {
        errno = EMFILE;
        return 0;
    }
    return kit_sys_real.if_nametoindex(name);
}

static char *
sys_if_indextoname(unsigned index, char *name)
{
    if (kit_sys_fails("if_indextoname")) {
        errno = EMFILE;
        return NULL;
    }
    return kit_sys_real.if_indextoname(index, name);
}

/* ---- waiting ---- */

static int
sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    if (sys_wait_fails("epoll_wait") || kit_sys_interrupts()) {
        errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : ENOMEM;
        return -1;
    }
    if (timeout < 0 && !kit_sys_may_sleep()) {
        timeout = 0;
    }
    int count = kit_sys_real.epoll_wait(epfd, events, max, timeout);
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

    if (kit_sys_fails("epoll_pwait2") || kit_sys_interrupts()) {
        errno = kit_sys_mode() == KIT_SYS_EINTR ? EINTR : ENOSYS;
        return -1;
    }
    if (timeout == NULL && !kit_sys_may_sleep()) {
        timeout = &none;
    }
    int count = kit_sys_real.epoll_pwait2(epfd, events, max, timeout, mask);
    int err = errno;
    kit_polled(count);
    errno = err;
    return count;
}

/* Taking an entry out cannot run out of memory. */
static int
sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op != EPOLL_CTL_DEL && kit_sys_fails("epoll_ctl")) {
        errno = ENOMEM;
        return -1;
    }
    return kit_sys_real.epoll_ctl(epfd, op, fd, event);
}

static int
sys_eventfd(unsigned count, int flags)
{
    if (kit_sys_fails("eventfd")) {
        errno = EMFILE;
        return -1;
    }
    return sys_set_fd(kit_sys_real.eventfd(count, flags), SYS_FD_PLAIN);
}

static int
sys_timerfd_create(int clock, int flags)
{
    if (kit_sys_fails("timerfd_create")) {
        errno = EMFILE;
        return -1;
    }
    return sys_set_fd(kit_sys_real.timerfd_create(clock, flags), SYS_FD_PLAIN);
}

/* Taking a stack away cannot fail. */
static int
sys_sigaltstack(const stack_t *stack, stack_t *old)
{
    bool is_set = stack != NULL && (stack->ss_flags & SS_DISABLE) == 0;

    if (is_set && kit_sys_fails("sigaltstack")) {
        errno = ENOMEM;
        return -1;
    }
    return kit_sys_real.sigaltstack(stack, old);
}

/* Where reads are cut short, a short one does not mean that nothing is left:
 * no socket may look like one of which the library knows that. */
static int
sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (kit_sys_fails("getsockopt")
        || (name == SO_DOMAIN && level == SOL_SOCKET
            && kit_sys_mode() == KIT_SYS_SHORT)) {
        errno = ENOBUFS;
        return -1;
    }
    return kit_sys_real.getsockopt(fd, level, name, value, len);
}

/* Whatever close() returns, the descriptor is gone. */
static int
sys_close(int fd)
{
    bool fails = kit_sys_fails("close"), interrupts = kit_sys_interrupts();

    (void)sys_set_fd(fd, SYS_FD_UNKNOWN);
    int result = kit_sys_real.close(fd);
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
    return kit_sys_fails("pthread_create")
               ? EAGAIN
               : kit_sys_real.pthread_create(out, attr, fn, arg);
}

/* ---- start and end ---- */

static void
sys_install(void)
{
    struct kolk__sys *out = &kolk__sys;

#define SYS_PUT(name) out->name = sys_##name
    SYS_PUT(mprotect), SYS_PUT(madvise);
    SYS_PUT(epoll_create1), SYS_PUT(epoll_ctl), SYS_PUT(epoll_wait);
    SYS_PUT(epoll_pwait2), SYS_PUT(poll), SYS_PUT(eventfd);
    SYS_PUT(timerfd_create), SYS_PUT(timerfd_settime);
    SYS_PUT(socket), SYS_PUT(socketpair), SYS_PUT(bind), SYS_PUT(listen);
    SYS_PUT(connect), SYS_PUT(accept4), SYS_PUT(getsockopt);
    SYS_PUT(setsockopt), SYS_PUT(getsockname), SYS_PUT(getpeername);
    SYS_PUT(shutdown);
    SYS_PUT(open), SYS_PUT(openat), SYS_PUT(pipe2), SYS_PUT(close);
    SYS_PUT(fsync), SYS_PUT(fdatasync), SYS_PUT(fstat), SYS_PUT(fcntl);
    SYS_PUT(ioctl);
    SYS_PUT(lstat), SYS_PUT(chmod), SYS_PUT(fchmod), SYS_PUT(link);
    SYS_PUT(rename), SYS_PUT(unlink);
    SYS_PUT(getaddrinfo), SYS_PUT(getnameinfo);
    SYS_PUT(if_nametoindex), SYS_PUT(if_indextoname);
    SYS_PUT(pthread_create), SYS_PUT(sigaltstack);
#undef SYS_PUT
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
        sys.mode = strstr(text, ":ever") != NULL ? KIT_SYS_EVER : KIT_SYS_ONCE;
    } else if (strcmp(text, "short") == 0) {
        sys.mode = KIT_SYS_SHORT;
    } else {
        sys.mode = strcmp(text, "eintr") == 0 ? KIT_SYS_EINTR : KIT_SYS_COUNT;
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
    kit_sys_real = kolk__sys;
    sys_init_mode(getenv("KOLK_HARD"));
    sys_install();
    kit_bytes_init();
    kit_ring_init();
    kit_process_init();
    kit_leak_init();
}

void
kit_sys_quiet(void)
{
    __atomic_store_n(&sys.mode, KIT_SYS_OFF, __ATOMIC_RELAXED);
}
