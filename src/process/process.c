/* process.c - children: their pipes, their signals, their end.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child is watched by its pidfd, which becomes readable when it has ended,
 * and reaped by that too. So SIGCHLD, and children that others have made, are
 * left alone.
 *
 * The loop holds a reference while the child runs. When only that one is left,
 * this side's ends of the pipes are closed, since nobody can ask for them any
 * more and a child that reads its input to the end would wait for ever.
 */
#include "process/process.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "loop/poller.h"
#include "process/spawn.h"

/* ---- the end ---- */

void
kolk__process_close_pipe(kolk_process *process, int number)
{
    int fd = process->pipes[number];

    if (fd >= 0) {
        process->pipes[number] = -1;
        if (process->loop != NULL) {
            kolk_forget(process->loop, fd); /* a task may have waited for it */
        }
        (void)kolk__sys.close(fd); /* nothing is buffered in it */
    }
}

static void
process_close_pipes(kolk_process *process)
{
    for (int i = 0; i < 3; i++) {
        kolk__process_close_pipe(process, i);
    }
}

static void
process_leave_loop(kolk_process *process)
{
    if (process->loop != NULL) {
        kolk__loop_unref(process->loop);
        process->loop = NULL;
    }
}

kolk_process *
kolk_process_ref(kolk_process *process)
{
    process->refs++;
    return process;
}

void
kolk_process_unref(kolk_process *process)
{
    if (process == NULL || --process->refs > process->is_open) {
        return;
    }
    if (process->free_streams != NULL) {
        process->free_streams(process);
    }
    process_close_pipes(process);
    if (process->refs == 0) {
        process_leave_loop(process);
        kolk__sys.free(process);
    }
}

void
kolk__process_wait_begin(kolk_process *process, kolk__process_waiter *waiter)
{
    kolk__ring_push(&process->waiters, &waiter->link);
    process->loop->poller->pending++;
}

void
kolk__process_wait_end(kolk_process *process, kolk__process_waiter *waiter)
{
    kolk__ring_unlink(&waiter->link);
    process->loop->poller->pending--;
}

/* Nothing is known of the child any more but its status. */
static void
process_close(kolk_process *process, int status)
{
    kolk_watch_stop(process->loop, &process->watch);
    (void)kolk__sys.close(process->pidfd); /* nothing is buffered in it */
    process->pidfd = -1;
    process->status = status;
    kolk__handle_close(&process->handle);
}

/* Gives up the loop's reference. */
static void
process_let_go(kolk_process *process)
{
    process->is_open = false;
    kolk_process_unref(process);
}

static void
process_exited(kolk_watch *watch)
{
    kolk_process *process = KOLK_CONTAINER_OF(watch, kolk_process, watch);
    int status = kolk__spawn_status(process->pidfd, true);

    if (status == -EAGAIN) {
        return;
    }
    process_close(process, status);
    while (!kolk__ring_is_empty(&process->waiters)) {
        kolk__process_waiter *waiter = KOLK_CONTAINER_OF(
            process->waiters.next, kolk__process_waiter, link);

        kolk__process_wait_end(process, waiter);
        waiter->wake(waiter);
    }
    if (process->ops != NULL) {
        process->ops->exited(process);
    }
    process_let_go(process);
}

static void *
process_node(kolk__handle *handle)
{
    return KOLK_CONTAINER_OF(handle, kolk_process, handle);
}

/* The loop is closed: the child goes on. If it has ended just now, no zombie of
 * it need stay; in a child of our own it is a brother, and not ours to reap. */
static void
process_drop(kolk_loop *loop, kolk__handle *handle)
{
    kolk_process *process = KOLK_CONTAINER_OF(handle, kolk_process, handle);
    int status = -EAGAIN;

    if (loop->generation == kolk__generation) {
        status = kolk__spawn_status(process->pidfd, true);
    }
    process_close(process, status != -EAGAIN ? status : -ESHUTDOWN);
    process_close_pipes(process);
    process_leave_loop(process);
    if (process->ops != NULL && process->ops->dropped != NULL) {
        process->ops->dropped(process);
    }
    process_let_go(process);
}

static const kolk__handle_ops process_handle = {
    .kind = KOLK_NODE_PROCESS,
    .node = process_node,
    .drop = process_drop,
};

/* ---- the beginning ---- */

static int
process_check(const kolk_process_options *options)
{
    const char *const *environment = options->environment;

    if (options->shell == NULL
        && (options->argv == NULL || options->argv[0] == NULL)) {
        return -EINVAL;
    }
    if (options->input.kind == KOLK_STDIO_OUTPUT
        || options->output.kind == KOLK_STDIO_OUTPUT) {
        return -EINVAL;
    }
    while (environment != NULL && *environment != NULL) {
        if (strchr(*environment++, '=') == NULL) {
            return -EINVAL;
        }
    }
    for (size_t i = 0; i < options->fd_count; i++) {
        if (options->fds[i] <= STDERR_FILENO) {
            return options->fds[i] < 0 ? -EBADF : -EINVAL;
        }
    }
    return 0;
}

/* A pipe: this side's end, which does not block, and the child's. */
static int
process_open_pipe(bool is_input, int *ours, int *theirs)
{
    int fds[2];

    if (kolk__sys.pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    *ours = fds[is_input];
    *theirs = fds[!is_input];
    if (kolk__sys.fcntl(*ours, F_SETFL, O_NONBLOCK) < 0) {
        int err = -errno;

        (void)kolk__sys.close(fds[0]); /* nothing is buffered in them */
        (void)kolk__sys.close(fds[1]);
        *ours = -1;
        return err;
    }
    return 0;
}

/* What a standard stream of a child is made of. */
struct process_stdio {
    int fds[3];   /* as kolk__spawn() takes them */
    bool owns[3]; /* to be closed when the child has its own */
};

static int
process_open_stream(kolk_process *process, const kolk_stdio *from, int i,
                    struct process_stdio *out)
{
    switch (from->kind) {
    case KOLK_STDIO_INHERIT:
        out->fds[i] = KOLK__SPAWN_INHERIT;
        return 0;
    case KOLK_STDIO_OUTPUT:
        out->fds[i] = KOLK__SPAWN_AS_OUTPUT;
        return 0;
    case KOLK_STDIO_FD:
        out->fds[i] = from->fd;
        return from->fd < 0 ? -EBADF : 0;
    case KOLK_STDIO_PIPE: {
        int err = process_open_pipe(i == 0, &process->pipes[i], &out->fds[i]);

        out->owns[i] = err == 0;
        return err;
    }
    case KOLK_STDIO_NULL:
        out->fds[i] = kolk__sys.open("/dev/null", O_RDWR | O_CLOEXEC, 0);
        out->owns[i] = out->fds[i] >= 0;
        return out->owns[i] ? 0 : -errno;
    }
    return -EINVAL;
}

static int
process_open_stdio(kolk_process *process, const kolk_process_options *options,
                   struct process_stdio *out)
{
    const kolk_stdio *from[3] = {&options->input, &options->output,
                                 &options->error};
    int err = 0;

    for (int i = 0; i < 3 && err == 0; i++) {
        err = process_open_stream(process, from[i], i, out);
    }
    return err;
}

static void
process_close_stdio(const struct process_stdio *stdio)
{
    for (int i = 0; i < 3; i++) {
        if (stdio->owns[i]) {
            (void)kolk__sys.close(stdio->fds[i]); /* nothing is buffered */
        }
    }
}

/* Makes the child, and has the loop watch it. */
static int
process_start(kolk_process *process, const kolk_process_options *options)
{
    struct process_stdio stdio = {0};
    kolk_loop *loop = process->loop;
    int err = process_open_stdio(process, options, &stdio);

    if (err == 0) {
        process->pid = kolk__spawn(loop, options, stdio.fds, &process->pidfd);
        err = process->pid < 0 ? process->pid : 0;
    }
    process_close_stdio(&stdio);
    if (err < 0) {
        return err;
    }
    kolk_watch_init(&process->watch, process->pidfd, process_exited, NULL);
    err = kolk_watch_start(loop, &process->watch, KOLK_READABLE);
    if (err < 0) {
        kolk__spawn_undo(loop, process->pid, process->pidfd);
        return err;
    }
    process->is_open = true;
    kolk__handle_open(loop, &process->handle, &process_handle);
    return 0;
}

int
kolk_process_spawn(kolk_loop *loop, const kolk_process_options *options,
                   const kolk_process_ops *ops, void *owner, kolk_process **out)
{
    int err = kolk__loop_check(loop, "kolk_process_spawn()");

    if (err == 0) {
        err = process_check(options);
    }
    if (err < 0) {
        return err;
    }
    kolk_process *process = kolk__sys.calloc(1, sizeof *process);
    if (process == NULL) {
        return -ENOMEM;
    }
    kolk__loop_ref(loop);
    process->loop = loop;
    process->ops = ops;
    process->owner = owner;
    process->refs = 1;
    process->generation = kolk__generation;
    process->status = -EAGAIN;
    process->limit = options->limit;
    process->pipes[0] = process->pipes[1] = process->pipes[2] = -1;
    kolk__ring_init(&process->waiters);
    err = process_start(process, options);
    if (err < 0) {
        kolk_process_unref(process);
        return err;
    }
    process->refs++; /* the loop's */
    *out = process;
    return 0;
}

/* ---- about it ---- */

void *
kolk_process_owner(const kolk_process *process)
{
    return process->owner;
}

bool
kolk_process_has_ops(const kolk_process *process, const kolk_process_ops *ops)
{
    return process->ops == ops;
}

pid_t
kolk_process_pid(const kolk_process *process)
{
    return process->pid;
}

int
kolk_process_status(const kolk_process *process)
{
    return process->status;
}

int
kolk_process_take_pipe(kolk_process *process, int number)
{
    if (number < 0 || number > 2 || process->pipes[number] < 0) {
        return -EBADF;
    }
    int fd = process->pipes[number];
    process->pipes[number] = -1;
    return fd;
}

/* ---- signals ---- */

/* Where the call is not known, which is so in emulators only, the number will
 * do: the child has not been reaped a moment ago. */
static int
process_send(const kolk_process *process, int signum)
{
    if (kolk__sys.pidfd_send_signal(process->pidfd, signum, NULL, 0) == 0) {
        return 0;
    }
    if (errno == ENOSYS && kolk__sys.kill(process->pid, signum) == 0) {
        return 0;
    }
    return -errno;
}

int
kolk_process_signal(kolk_process *process, int signum)
{
    if (process->generation != kolk__generation) {
        return -KOLK_EFORK;
    }
    if (process->pidfd < 0) {
        return process->status == -ESHUTDOWN ? -ESHUTDOWN : -ESRCH;
    }
    int err = kolk__loop_check(process->loop, "kolk_process_signal()");
    if (err < 0) {
        return err;
    }
    if (kolk__spawn_status(process->pidfd, false) != -EAGAIN) {
        return -ESRCH; /* nobody has been told so far */
    }
    return process_send(process, signum);
}

int
kolk_process_terminate(kolk_process *process)
{
    return kolk_process_signal(process, SIGTERM);
}

int
kolk_process_kill(kolk_process *process)
{
    return kolk_process_signal(process, SIGKILL);
}
