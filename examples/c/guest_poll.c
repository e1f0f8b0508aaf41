/* guest_poll.c - a loop of tasks inside somebody else's loop.
 *
 * The program has a loop already, here poll(2) over a pipe. kolk is a guest in
 * it: one descriptor says when there is something to do, and one call does a
 * turn of it without blocking. Deadlines, ready work and descriptors that the
 * tasks wait for all show in that one descriptor.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <kolk.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { LINES = 5 };

/* A task of the guest: writes to the pipe that the host reads. */
static int
guest_run(void *arg)
{
    const int *pipe = arg;
    for (int i = 0; i < LINES; i++) {
        int err = kolk_sleep(KOLK_MS(10));
        if (err == 0) {
            err = kolk_write(*pipe, "x", 1);
        }
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

/* The host's loop. It knows of one more descriptor, and of nothing else. */
static int
host_run(kolk_loop *loop, kolk_task *task, int input)
{
    struct pollfd fds[] = {{.fd = input, .events = POLLIN},
                           {.fd = kolk_loop_fileno(loop), .events = POLLIN}};
    int received = 0, turns = 0;
    char byte;
    int err = fds[1].fd < 0 ? fds[1].fd : 0;
    while (err >= 0 && !kolk_future_is_done(task)) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        received += read(input, &byte, 1) == 1;
        if (fds[1].revents != 0) {
            err = kolk_run_once(loop);
            turns++;
        }
    }
    received += read(input, &byte, 1) == 1;
    (void)printf("the host received %d of %d bytes, and ran the guest %s\n",
                 received, LINES, turns < 20 * LINES ? "when it had to" : "on");
    return err < 0 ? err : kolk_future_result(task);
}

int
main(void)
{
    kolk_loop *loop;
    kolk_task *task;
    int pipe[2];
    if (pipe2(pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
        perror("pipe2");
        return 1;
    }
    int err = kolk_loop_open(NULL, &loop);
    if (err == 0) {
        err = kolk_spawn_with(loop, NULL, guest_run, &pipe[1], &task);
        if (err == 0) {
            err = host_run(loop, task, pipe[0]);
            kolk_future_unref(task);
        }
        (void)kolk_loop_close(loop);
    }
    (void)close(pipe[0]);
    (void)close(pipe[1]);
    if (err < 0) {
        (void)fprintf(stderr, "guest_poll: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
