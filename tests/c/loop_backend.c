/* loop_backend.c - what runs below, why, and what happens when it fails.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"
#include "reports.h"

#include <stdlib.h>

#include "base/sys.h"

/* ---- which, and why ---- */

TEST_ONCE(epoll_is_the_default)
{
    const kolk_loop_options options = {.backend = KOLK_BACKEND_EPOLL};
    const char *why;

    CHECK_INT(unsetenv("KOLK_BACKEND"), 0);
    kolk_loop *loop = test_loop_open();
    CHECK_STR(kolk_loop_backend(loop, &why), "epoll");
    CHECK_STR(why, "default");
    CHECK_INT(setenv("KOLK_BACKEND", "io_uring", 1), 0);
    loop = test_loop_open_with(&options);
    CHECK_STR(kolk_loop_backend(loop, &why), "epoll");
    CHECK_STR(why, "asked for");
    CHECK_STR(kolk_loop_backend(loop, NULL), "epoll");
}

TEST_ONCE(an_unknown_backend_is_an_error)
{
    kolk_loop *loop;

    CHECK_INT(setenv("KOLK_BACKEND", "kqueue", 1), 0);
    CHECK_ERR(kolk_loop_open(NULL, &loop), -EINVAL);
}

/* ---- failing polls ---- */

static int failing_waits;
static struct kolk__sys failing_real;

static int
failing_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    if (failing_waits > 0) {
        failing_waits--;
        errno = EBADF;
        return -1;
    }
    return failing_real.epoll_wait(epfd, events, max, timeout);
}

TEST_ONCE(a_poll_that_fails_is_reported_and_tried_again)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    char byte;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_INT(write(fds[1], "x", 1), 1);
    reports_watch(loop);
    failing_real = kolk__sys;
    failing_waits = 3;
    kolk__sys.epoll_wait = failing_wait;
    int result = test_op_wait(&op);
    kolk__sys = failing_real;
    kolk_loop_set_error_handler(loop, NULL);
    CHECK_INT(result, 1);
    CHECK_INT(reports.count, 3);
    CHECK_ERR(reports.error, -EBADF);
}

TEST_ONCE(debug_mode_tells_of_a_descriptor_closed_behind_the_loops_back)
{
    const kolk_loop_options options = {.debug = KOLK_ON,
                                       .backend = KOLK_BACKEND_EPOLL};
    kolk_loop *loop = test_real_loop_open_with(&options);
    struct test_op op;
    char byte;
    int fds[2], next[2];

    reports_watch(loop);
    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
    int number = fds[0];
    test_close(fds[0]);
    test_socketpair(next);
    CHECK_INT(next[0], number);
    CHECK_OK(kolk_op_recv(loop, &op.op, number, &byte, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(reports.count, 1);
    CHECK_INT(write(next[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
    CHECK_INT(reports.count, 1);
    kolk_loop_set_error_handler(loop, NULL);
}
