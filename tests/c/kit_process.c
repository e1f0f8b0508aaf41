/* kit_process.c - the watched table's calls that make children.
 *
 * SPDX-License-Identifier: MIT
 *
 * What a child calls before it runs another program goes through the table,
 * too. It has the same memory, so it counts on where its parent has stopped.
 */
#include "kit.h"

#include "kit_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESS_CALL(type, name, params, args, error)                          \
    static type process_##name params                                          \
    {                                                                          \
        if (kit_sys_fails(#name)) {                                            \
            errno = (error);                                                   \
            return -1;                                                         \
        }                                                                      \
        return kit_sys_real.name args;                                         \
    }

PROCESS_CALL(pid_t, fork, (void), (), EAGAIN)
PROCESS_CALL(int, prctl, (int option, unsigned long argument),
             (option, argument), EPERM)
PROCESS_CALL(pid_t, setsid, (void), (), EPERM)
PROCESS_CALL(int, setpgid, (pid_t pid, pid_t group), (pid, group), EPERM)
PROCESS_CALL(int, chdir, (const char *path), (path), EACCES)
PROCESS_CALL(int, dup2, (int from, int to), (from, to), EBUSY)
PROCESS_CALL(int, close_range, (unsigned first, unsigned last, int flags),
             (first, last, flags), ENOSYS)
PROCESS_CALL(ssize_t, getdents64, (int fd, void *buf, size_t size),
             (fd, buf, size), ENOMEM)
PROCESS_CALL(int, execve,
             (const char *path, char *const *argv, char *const *environment),
             (path, argv, environment), ENOMEM)

static int
process_clone(int (*fn)(void *arg), void *stack, int flags, void *arg,
              int *pidfd)
{
    if (kit_sys_fails("clone")) {
        errno = EAGAIN;
        return -1;
    }
    int pid = kit_sys_real.clone(fn, stack, flags, arg, pidfd);
    if (pid >= 0) {
        kit_sys_opened(*pidfd);
    }
    return pid;
}

static int
process_pidfd_open(pid_t pid, unsigned flags)
{
    if (kit_sys_fails("pidfd_open")) {
        errno = EMFILE;
        return -1;
    }
    int fd = kit_sys_real.pidfd_open(pid, flags);
    kit_sys_opened(fd);
    return fd;
}

/* If it fails, somebody else was there first: then the child has been reaped
 * all the same. */
static int
process_waitid(idtype_t type, id_t id, siginfo_t *out, int options)
{
    if ((options & WNOHANG) == 0 && kit_sys_interrupts()) {
        errno = EINTR;
        return -1;
    }
    bool fails = kit_sys_fails("waitid");
    int result = kit_sys_real.waitid(type, id, out, options);
    if (result == 0 && out->si_pid != 0 && (options & WNOWAIT) == 0 && fails) {
        errno = ECHILD;
        result = -1;
    }
    return result;
}

/* Children that could not be killed, by pidfd. */
static int process_spared[64];
static size_t process_spared_count;

static int
process_pidfd_send_signal(int pidfd, int signum, siginfo_t *info,
                          unsigned flags)
{
    if (kit_sys_fails("pidfd_send_signal")) {
        size_t room = sizeof process_spared / sizeof *process_spared;

        if (signum == SIGKILL && process_spared_count < room) {
            process_spared[process_spared_count++] =
                fcntl(pidfd, F_DUPFD_CLOEXEC, 500);
        }
        errno = EPERM;
        return -1;
    }
    return kit_sys_real.pidfd_send_signal(pidfd, signum, info, flags);
}

void
kit_process_fini(void)
{
    while (process_spared_count > 0) {
        int pidfd = process_spared[--process_spared_count];
        siginfo_t info;

        (void)kit_sys_real.pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        (void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL);
        (void)close(pidfd);
    }
}

void
kit_process_init(void)
{
    struct kolk__sys *out = &kolk__sys;

#define PROCESS_PUT(name) out->name = process_##name
    PROCESS_PUT(clone), PROCESS_PUT(fork), PROCESS_PUT(waitid);
    PROCESS_PUT(pidfd_open), PROCESS_PUT(pidfd_send_signal);
    PROCESS_PUT(prctl), PROCESS_PUT(setsid), PROCESS_PUT(setpgid);
    PROCESS_PUT(chdir), PROCESS_PUT(dup2), PROCESS_PUT(close_range);
    PROCESS_PUT(getdents64), PROCESS_PUT(execve);
#undef PROCESS_PUT
}
