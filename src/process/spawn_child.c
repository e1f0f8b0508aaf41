/* spawn_child.c - what a child does before it becomes another program.
 *
 * SPDX-License-Identifier: MIT
 *
 * It runs in the memory of its parent, or in a copy that was made while other
 * threads may have held any lock. So it allocates nothing, takes no lock, and
 * writes to its own stack, to errno and to `plan->error` only. Signals are
 * blocked until the handlers of the parent are gone.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/sys.h"
#include "process/spawn.h"

enum {
    CHILD_FAILED = 127, /* exit status, which nobody sees */
    CHILD_SIGNALS = 64,
    CHILD_FIRST_FD = 3, /* behind the standard streams */
};

/* All functions below return 0 or an errno. */

/* What is ignored stays so. Anything else would be reset by the kernel, but
 * later: a handler must not run in this process. */
static void
child_reset_signals(void)
{
    static const struct sigaction by_default = {.sa_handler = SIG_DFL};

    for (int signum = 1; signum <= CHILD_SIGNALS; signum++) {
        struct sigaction now;

        if (kolk__sys.sigaction(signum, NULL, &now) == 0
            && now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN) {
            (void)kolk__sys.sigaction(signum, &by_default, NULL);
        }
    }
}

static int
child_set_session(const struct kolk__spawn_plan *plan)
{
    if (plan->kill_with_us) {
        if (kolk__sys.prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
            return errno;
        }
        if (getppid() != plan->parent) {
            return ESRCH; /* it has ended before; nobody will read this */
        }
    }
    if (plan->new_session) { /* which is a new group as well */
        return kolk__sys.setsid() < 0 ? errno : 0;
    }
    if (plan->new_group && kolk__sys.setpgid(0, 0) < 0) {
        return errno;
    }
    return 0;
}

/* ---- descriptors ---- */

/* A descriptor that is to become a standard stream may have the number of
 * another one. Those are copied out of the way before any is put in its place.
 */
static int
child_lift_stdio(int from[3])
{
    for (int i = 0; i < CHILD_FIRST_FD; i++) {
        if (from[i] < 0 || from[i] == i || from[i] >= CHILD_FIRST_FD) {
            continue;
        }
        from[i] = kolk__sys.fcntl(from[i], F_DUPFD_CLOEXEC, CHILD_FIRST_FD);
        if (from[i] < 0) {
            return errno;
        }
    }
    return 0;
}

static int
child_set_stdio(const struct kolk__spawn_plan *plan)
{
    int from[3] = {plan->stdio[0], plan->stdio[1], plan->stdio[2]};
    int err = child_lift_stdio(from);

    if (err != 0) {
        return err;
    }
    for (int i = 0; i < CHILD_FIRST_FD; i++) {
        int result = 0;

        if (from[i] == i) {
            result = kolk__sys.fcntl(i, F_SETFD, 0); /* survives exec */
        } else if (from[i] >= 0) {
            result = kolk__sys.dup2(from[i], i);
        } else if (from[i] == KOLK__SPAWN_AS_OUTPUT) {
            result = kolk__sys.dup2(STDOUT_FILENO, i);
        }
        if (result < 0) {
            return errno;
        }
    }
    return 0;
}

static bool
child_keeps(const struct kolk__spawn_plan *plan, int fd)
{
    size_t i = 0;

    while (i < plan->fd_count && plan->fds[i] < fd) {
        i++;
    }
    return fd < CHILD_FIRST_FD || (i < plan->fd_count && plan->fds[i] == fd);
}

/* As the kernel writes it. */
struct child_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

/* Marks each descriptor in a piece of /proc/self/fd to be closed by exec. */
static void
child_mark_entries(const struct kolk__spawn_plan *plan, const char *entries,
                   size_t size)
{
    size_t at = 0;

    while (at < size) {
        const struct child_entry *entry = (const void *)(entries + at);
        int fd = (int)strtol(entry->name, NULL, 10); /* "." and "..": 0 */

        if (!child_keeps(plan, fd)) {
            (void)kolk__sys.fcntl(fd, F_SETFD, FD_CLOEXEC); /* or is closed */
        }
        at += entry->size;
    }
}

/* Without close_range(2). */
static int
child_close_listed(const struct kolk__spawn_plan *plan)
{
    _Alignas(struct child_entry) char entries[1024];
    ssize_t size;
    int fd = kolk__sys.openat(AT_FDCWD, "/proc/self/fd",
                              O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0) {
        return errno == ENOENT ? ENOSYS : errno;
    }
    while ((size = kolk__sys.getdents64(fd, entries, sizeof entries)) > 0) {
        child_mark_entries(plan, entries, (size_t)size);
    }
    return size < 0 ? errno : 0;
}

static int
child_close_between(unsigned first, unsigned last)
{
    return first <= last && kolk__sys.close_range(first, last, 0) < 0 ? errno
                                                                      : 0;
}

/* Of the parent's descriptors, marked to be closed by exec or not, none but
 * those that the child is given is left. */
static int
child_close_others(const struct kolk__spawn_plan *plan)
{
    unsigned first = CHILD_FIRST_FD;
    int err = 0;

    for (size_t i = 0; i < plan->fd_count && err == 0; i++) {
        unsigned fd = (unsigned)plan->fds[i];

        if (fd >= first) {
            err = child_close_between(first, fd - 1);
            first = fd + 1;
        }
    }
    if (err == 0) {
        err = child_close_between(first, UINT_MAX);
    }
    /* Profiles answer EPERM to what they do not know. */
    return err == ENOSYS || err == EPERM ? child_close_listed(plan) : err;
}

static int
child_pass_fds(const struct kolk__spawn_plan *plan)
{
    for (size_t i = 0; i < plan->fd_count; i++) {
        int fd = plan->fds[i];

        if (fd != plan->channel && kolk__sys.fcntl(fd, F_SETFD, 0) < 0) {
            return errno;
        }
    }
    return 0;
}

/* ---- the program ---- */

/* Is it worth while to look on in the next folder? */
static bool
child_is_elsewhere(int err)
{
    return err == ENOENT || err == ENOTDIR || err == EACCES || err == ESTALE
           || err == ENODEV || err == ETIMEDOUT || err == ENAMETOOLONG;
}

static char *const *
child_vector(const char *const *strings)
{
    union {
        const char *const *from;
        char *const *to;
    } either = {.from = strings};

    return either.to; /* which execve(2) only reads */
}

/* Returns only if there is no such program: then the error. One that was found
 * and may not be run says more than one that was not. */
static int
child_exec(const struct kolk__spawn_plan *plan)
{
    const char *name = plan->names;
    bool is_refused = false;
    int err = ENOENT;

    do {
        (void)kolk__sys.execve(name, child_vector(plan->argv),
                               child_vector(plan->environment));
        err = errno;
        is_refused = is_refused || err == EACCES;
        name += strlen(name) + 1;
    } while (*name != '\0' && child_is_elsewhere(err));
    return is_refused && child_is_elsewhere(err) ? EACCES : err;
}

static int
child_prepare(const struct kolk__spawn_plan *plan)
{
    child_reset_signals();
    int err = child_set_session(plan);
    if (err == 0) {
        err = child_set_stdio(plan);
    }
    if (err == 0 && plan->folder != NULL && kolk__sys.chdir(plan->folder) < 0) {
        err = errno;
    }
    if (err == 0) {
        err = child_close_others(plan);
    }
    if (err == 0) {
        err = child_pass_fds(plan);
    }
    (void)pthread_sigmask(SIG_SETMASK, &plan->mask, NULL);
    return err;
}

/* Waits until the parent says that the program may run. */
static bool
child_may_run(const struct kolk__spawn_plan *plan)
{
    char go;
    ssize_t count;

    (void)kolk__sys.close(plan->our_channel); /* or it would never end */
    do {
        count = kolk__sys.recv(plan->channel, &go, 1, 0);
    } while (count < 0 && errno == EINTR);
    return count == 1;
}

/* Errors fit into a byte. */
static void
child_tell(const struct kolk__spawn_plan *plan, int err)
{
    unsigned char byte = (unsigned char)err;

    while (kolk__sys.send(plan->channel, &byte, 1, MSG_NOSIGNAL) < 0
           && errno == EINTR) {
    }
}

int
kolk__spawn_child(void *plan)
{
    struct kolk__spawn_plan *self = plan;

    if (self->channel >= 0 && !child_may_run(self)) {
        _exit(CHILD_FAILED);
    }
    int err = child_prepare(self);
    if (err == 0) {
        err = child_exec(self);
    }
    if (self->channel >= 0) {
        child_tell(self, err);
    } else {
        self->error = err;
    }
    _exit(CHILD_FAILED);
}
