/* spawn.c - starting a program: the parent's side.
 *
 * SPDX-License-Identifier: MIT
 *
 * The child is made as vfork(2) does: it runs in this process's memory, on a
 * stack of its own, while the thread waits until it has become the program or
 * has ended. So nothing is copied however large the process is, and what goes
 * wrong is simply written to memory. All signals are blocked meanwhile: a
 * handler would run in both processes.
 *
 * Emulators and Valgrind copy the memory all the same, and sanitizers must not
 * see two processes in one memory. There the child tells by a pair of sockets;
 * what else has inherited those by a fork of another thread, and never calls
 * exec, delays the parent. A first, empty child finds out which it is.
 *
 * The child makes no SIGCHLD before it has become the program: the program that
 * handles those is not told of a child that it never had. Waiting for it needs
 * __WALL.
 */
#include "process/spawn.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

enum {
    SPAWN_P_PIDFD = 3, /* of waitid(2), which old C libraries do not know */
    SPAWN_STACK_SIZE = 32 * 1024,
};

/* ---- reaping ---- */

/* waitid(2) with the hooks, since it may block. Returns 0 or -errno. */
static int
spawn_waitid(kolk_loop *loop, idtype_t type, id_t id, siginfo_t *info)
{
    kolk_hooks *hooks = kolk__block_begin(loop);
    int result;

    do {
        result = kolk__sys.waitid(type, id, info, WEXITED | __WALL);
    } while (result < 0 && errno == EINTR);
    kolk__block_end(hooks);
    return result < 0 ? -errno : 0;
}

/* A child that has become no program has ended, or is about to. How is of no
 * interest. */
static void
spawn_bury(kolk_loop *loop, int pidfd)
{
    siginfo_t info;

    (void)spawn_waitid(loop, (idtype_t)SPAWN_P_PIDFD, (id_t)pidfd, &info);
    (void)kolk__sys.close(pidfd);
}

void
kolk__spawn_undo(kolk_loop *loop, pid_t pid, int pidfd)
{
    siginfo_t info;

    (void)kolk__sys.kill(pid, SIGKILL); /* its number is its own until then */
    (void)spawn_waitid(loop, P_PID, (id_t)pid, &info);
    if (pidfd >= 0) {
        (void)kolk__sys.close(pidfd);
    }
}

int
kolk__spawn_status(int pidfd, bool reaps)
{
    siginfo_t info = {0};
    int flags = WEXITED | WNOHANG | __WALL | (reaps ? 0 : WNOWAIT);

    if (kolk__sys.waitid((idtype_t)SPAWN_P_PIDFD, (id_t)pidfd, &info, flags)
        < 0) {
        return -errno;
    }
    if (info.si_pid == 0) {
        return -EAGAIN;
    }
    return info.si_code == CLD_EXITED ? info.si_status
                                      : KOLK_PROCESS_SIGNALED + info.si_status;
}

/* ---- the child's stack ---- */

static size_t
spawn_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* With a page below it that cannot be written to; NULL if there is no memory.
 */
static char *
spawn_stack_new(void)
{
    size_t page = spawn_page();
    char *stack =
        kolk__sys.mmap(NULL, page + SPAWN_STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    if (stack == MAP_FAILED) {
        return NULL;
    }
    if (kolk__sys.mprotect(stack, page, PROT_NONE) < 0) {
        (void)kolk__sys.munmap(stack, page + SPAWN_STACK_SIZE);
        return NULL;
    }
    return stack;
}

static void
spawn_stack_free(char *stack)
{
    (void)kolk__sys.munmap(stack, spawn_page() + SPAWN_STACK_SIZE);
}

/* Is that the error of a system that does not have what was asked for? Profiles
 * answer EPERM to what they do not know. */
static bool
spawn_is_unknown(pid_t pid)
{
    return pid == -EINVAL || pid == -EPERM || pid == -ENOSYS;
}

enum { SPAWN_SHARING = CLONE_VM | CLONE_VFORK };

/* Runs `fn(arg)` in a child; SPAWN_SHARING: that shares this memory, and then
 * waits until it has ended or become a program. Returns its pid or -errno. */
static pid_t
spawn_clone(kolk_loop *loop, int flags, int (*fn)(void *arg), void *arg,
            int *pidfd)
{
    char *stack = spawn_stack_new();

    if (stack == NULL) {
        return -ENOMEM;
    }
    kolk_hooks *hooks = kolk__block_begin(loop); /* a disk may be slow */
    pid_t pid = kolk__sys.clone(fn, stack + spawn_page() + SPAWN_STACK_SIZE,
                                flags | CLONE_PIDFD, arg, pidfd);
    int err = errno;
    kolk__block_end(hooks);
    spawn_stack_free(stack);
    return pid < 0 ? -err : pid;
}

/* ---- which way ---- */

enum spawn_way {
    SPAWN_UNKNOWN,
    SPAWN_SHARED, /* a child can share our memory */
    SPAWN_APART,
};

static atomic_int spawn_known_way;

/* Code that a sanitizer watches takes the memory for one process's. */
static bool
spawn_is_watched(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)        \
    || __has_feature(memory_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

static int
spawn_probe_child(void *is_shared)
{
    atomic_store((atomic_bool *)is_shared, true);
    _exit(0);
}

/* Returns an enum spawn_way or -errno. */
static int
spawn_probe(kolk_loop *loop)
{
    atomic_bool is_shared = false;
    siginfo_t info;
    int pidfd;

    /* Before Linux 5.4, this asks for something unknown. */
    if (kolk__sys.waitid((idtype_t)SPAWN_P_PIDFD, INT_MAX, &info,
                         WEXITED | WNOHANG)
            < 0
        && errno == EINVAL) {
        return -ENOSYS;
    }
    if (spawn_is_watched()) {
        return SPAWN_APART;
    }
    pid_t pid =
        spawn_clone(loop, SPAWN_SHARING, spawn_probe_child, &is_shared, &pidfd);
    if (spawn_is_unknown(pid)) {
        return SPAWN_APART;
    }
    if (pid < 0) {
        return pid;
    }
    spawn_bury(loop, pidfd);
    return atomic_load(&is_shared) ? SPAWN_SHARED : SPAWN_APART;
}

/* The same, remembered. */
static int
spawn_way(kolk_loop *loop)
{
    int way = atomic_load_explicit(&spawn_known_way, memory_order_relaxed);

    if (way == SPAWN_UNKNOWN) {
        way = spawn_probe(loop);
        if (way > 0) {
            atomic_store_explicit(&spawn_known_way, way, memory_order_relaxed);
        }
    }
    return way;
}

/* ---- in shared memory ---- */

static pid_t
spawn_shared(kolk_loop *loop, struct kolk__spawn_plan *plan, int *pidfd)
{
    pid_t pid =
        spawn_clone(loop, SPAWN_SHARING, kolk__spawn_child, plan, pidfd);

    if (pid >= 0 && plan->error != 0) {
        spawn_bury(loop, *pidfd);
        return -plan->error;
    }
    return pid;
}

/* ---- apart ---- */

/* The end for the child must not stand where a standard stream will. */
static int
spawn_channel_open(int fds[2])
{
    if (kolk__sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -errno;
    }
    if (fds[1] > STDERR_FILENO) {
        return 0;
    }
    int lifted = kolk__sys.fcntl(fds[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int err = lifted < 0 ? -errno : 0;
    (void)kolk__sys.close(fds[1]); /* nothing was written to it */
    fds[1] = lifted;
    if (err < 0) {
        (void)kolk__sys.close(fds[0]);
    }
    return err;
}

/* Lets the child go on, and waits until it has become the program, or was
 * killed meanwhile: 0; or what has gone wrong. */
static int
spawn_await(kolk_loop *loop, pid_t pid, int channel)
{
    unsigned char byte = 0;
    ssize_t count;

    do {
        count = kolk__sys.send(channel, &byte, 1, MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    if (count < 0 && errno == EPIPE) {
        (void)kolk__sys.kill(pid, SIGKILL); /* as somebody has done */
        return 0;
    }
    if (count < 0) {
        return -errno;
    }
    kolk_hooks *hooks = kolk__block_begin(loop);
    do {
        count = kolk__sys.recv(channel, &byte, 1, 0);
    } while (count < 0 && errno == EINTR);
    kolk__block_end(hooks);
    return count < 0 ? -errno : count == 0 ? 0 : -(int)byte;
}

/* By fork(2), before which a sanitizer prepares itself. */
static pid_t
spawn_fork(kolk_loop *loop, struct kolk__spawn_plan *plan, int *pidfd)
{
    pid_t pid = kolk__sys.fork();

    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        (void)kolk__spawn_child(plan);
    }
    /* It waits to be let go, so it has not ended, and its number is its own. */
    *pidfd = kolk__sys.pidfd_open(pid, 0);
    if (*pidfd < 0) {
        int err = -errno;

        kolk__spawn_undo(loop, pid, -1);
        return err;
    }
    return pid;
}

/* A child with memory of its own. */
static pid_t
spawn_copy(kolk_loop *loop, struct kolk__spawn_plan *plan, int *pidfd)
{
    if (!spawn_is_watched()) {
        pid_t pid = spawn_clone(loop, 0, kolk__spawn_child, plan, pidfd);

        if (!spawn_is_unknown(pid)) {
            return pid;
        }
    }
    return spawn_fork(loop, plan, pidfd);
}

static pid_t
spawn_apart(kolk_loop *loop, struct kolk__spawn_plan *plan, int *pidfd)
{
    int fds[2];
    int err = spawn_channel_open(fds);

    if (err < 0) {
        return err;
    }
    plan->our_channel = fds[0];
    plan->channel = fds[1];
    kolk__spawn_plan_keep(plan, fds[1]);
    pid_t pid = spawn_copy(loop, plan, pidfd);
    (void)kolk__sys.close(fds[1]);
    if (pid > 0) {
        err = spawn_await(loop, pid, fds[0]);
        if (err < 0) {
            kolk__spawn_undo(loop, pid, *pidfd);
        }
    }
    (void)kolk__sys.close(fds[0]);
    return err < 0 ? err : pid;
}

/* ---- both ---- */

pid_t
kolk__spawn(kolk_loop *loop, const kolk_process_options *options,
            const int stdio[3], int *pidfd)
{
    struct kolk__spawn_plan plan;
    sigset_t all;
    int way = spawn_way(loop);

    if (way < 0) {
        return way;
    }
    int err = kolk__spawn_plan_init(&plan, options, stdio);
    if (err < 0) {
        return err;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &plan.mask);
    pid_t pid = way == SPAWN_SHARED ? spawn_shared(loop, &plan, pidfd)
                                    : spawn_apart(loop, &plan, pidfd);
    (void)pthread_sigmask(SIG_SETMASK, &plan.mask, NULL);
    kolk__spawn_plan_fini(&plan);
    return pid;
}
