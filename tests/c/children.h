/* children.h - children and what they say, for tests.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include "base/sys.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A child that stops the loop when it ends. Static in tests: the loop may be
 * closed after the test's function has been left. */
struct child {
    kolk_process *process;
    kolk_loop *loop;
    int exits, drops;
    char output[4096]; /* what it has said, ended by a zero */
};

static inline void
child_exited(kolk_process *process)
{
    struct child *self = kolk_process_owner(process);

    CHECK_PTR(self->process, process);
    self->exits++;
    kolk_loop_stop(self->loop);
}

static inline void
child_dropped(kolk_process *process)
{
    struct child *self = kolk_process_owner(process);

    self->drops++;
}

static const kolk_process_ops child_ops = {.exited = child_exited,
                                           .dropped = child_dropped};

/* Gives the handle up at the end of the test. */
static inline void
child_unref(void *process)
{
    kolk_process_unref(process);
}

/* Systems that make children in other ways than the usual one. */
enum child_way { CHILD_USUAL, CHILD_COPIED, CHILD_FORKED };

static int (*child_real_clone)(int (*fn)(void *arg), void *stack, int flags,
                               void *arg, int *pidfd);

/* An emulator, which gives the child memory of its own. */
static inline int
child_clone_copies(int (*fn)(void *arg), void *stack, int flags, void *arg,
                   int *pidfd)
{
    return child_real_clone(fn, stack, flags & ~(CLONE_VM | CLONE_VFORK), arg,
                            pidfd);
}

/* One that does not know of pidfds there. */
static inline int
child_clone_refuses(int (*fn)(void *arg), void *stack, int flags, void *arg,
                    int *pidfd)
{
    (void)fn, (void)stack, (void)flags, (void)arg, (void)pidfd;
    errno = EINVAL;
    return -1;
}

/* To be called before the first child. */
static inline void
child_set_way(enum child_way way)
{
    child_real_clone = kolk__sys.clone;
    if (way != CHILD_USUAL) {
        kolk__sys.clone =
            way == CHILD_COPIED ? child_clone_copies : child_clone_refuses;
    }
}

/* Spawns it; the error is the library's. */
static inline int
child_try(struct child *self, kolk_loop *loop,
          const kolk_process_options *options)
{
    *self = (struct child){.loop = loop};
    int err =
        kolk_process_spawn(loop, options, &child_ops, self, &self->process);
    if (err == 0) {
        test_later(child_unref, self->process);
    }
    return err;
}

/* Reads all that `fd` has to say up to its end, and closes it. */
static inline void
child_read(int fd, char *out, size_t size)
{
    struct pollfd fds = {.fd = fd, .events = POLLIN};
    size_t at = 0;

    for (;;) {
        ssize_t count = read(fd, out + at, size - 1 - at);

        if (count > 0) {
            at += (size_t)count;
        } else if (count < 0 && errno == EAGAIN && poll(&fds, 1, 10000) == 1) {
            continue;
        } else {
            break;
        }
    }
    out[at] = '\0';
    CHECK_INT(close(fd), 0);
}

/* Runs the loop until the child has ended; its status. */
static inline int
child_wait(struct child *self)
{
    while (self->exits == 0) {
        if (!CHECK_OK(kolk_run_forever(self->loop)) || kit_failures() > 0) {
            break;
        }
    }
    return kolk_process_status(self->process);
}

/* Spawns it with a pipe for its output, collects that, and waits for its end.
 * Returns its status. */
static inline int
child_run(struct child *self, kolk_loop *loop,
          const kolk_process_options *options)
{
    kolk_process_options with_pipe = *options;

    with_pipe.output.kind = KOLK_STDIO_PIPE;
    if (!CHECK_OK(child_try(self, loop, &with_pipe))) {
        return -1;
    }
    int fd = kolk_process_take_pipe(self->process, 1);
    if (CHECK_OK(fd)) {
        child_read(fd, self->output, sizeof self->output);
    }
    return child_wait(self);
}

/* The same for a piece of shell. */
static inline int
child_shell(struct child *self, kolk_loop *loop, const char *text)
{
    return child_run(self, loop, &(kolk_process_options){.shell = text});
}
