/* loop_uring.c - a ring that is refused, that fails, that is busy.
 *
 * SPDX-License-Identifier: MIT
 *
 * Built where the library has io_uring.
 */
#include "op_kit.h"

#include <poll.h>
#include <stdlib.h>

#include "base/sys.h"

static const kolk_loop_options with_uring = {.backend = KOLK_BACKEND_URING};

/* A byte from one end to the other, which has to wait first. */
static void
check_that_it_works(kolk_loop *loop)
{
    struct test_op op;
    char byte;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
    kolk_forget(loop, fds[0]);
}

static int refusal;

static int
refuse_ring(unsigned entries, struct io_uring *ring,
            struct io_uring_params *params)
{
    (void)entries, (void)ring, (void)params;
    return refusal;
}

static void
check_refused(int err, const char *expected)
{
    kolk_loop *loop = test_real_loop_open_with(&with_uring);
    struct kolk__sys real = kolk__sys;
    const char *why;

    refusal = err;
    kolk__sys.io_uring_queue_init_params = refuse_ring;
    check_that_it_works(loop);
    kolk__sys = real;
    CHECK_STR(kolk_loop_backend(loop, &why), "epoll");
    CHECK_STR(why, expected);
}

TEST_ONCE(a_refused_ring_is_silently_epoll)
{
    check_refused(-EPERM, "io_uring was refused: EPERM");
    check_refused(-ENOSYS, "io_uring was refused: ENOSYS");
    check_refused(-ENOMEM, "io_uring was refused: ENOMEM");
    check_refused(-EMFILE, "io_uring was refused: EMFILE");
    check_refused(-EINVAL, "io_uring of this kernel is too old");
    check_refused(-EIO, "io_uring was refused");
}

/* ---- a ring that fails later ---- */

static int
fail_enter(struct io_uring *ring)
{
    (void)ring;
    return -EPERM;
}

static int
fail_wait(struct io_uring *ring, unsigned count)
{
    (void)ring, (void)count;
    return -EPERM;
}

static int
fail_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                  unsigned count, struct __kernel_timespec *timeout,
                  sigset_t *mask)
{
    (void)ring, (void)cqe, (void)count, (void)timeout, (void)mask;
    return -EPERM;
}

static void
fail_ring(void)
{
    kolk__sys.io_uring_submit = fail_enter;
    kolk__sys.io_uring_submit_and_get_events = fail_enter;
    kolk__sys.io_uring_get_events = fail_enter;
    kolk__sys.io_uring_submit_and_wait = fail_wait;
    kolk__sys.io_uring_submit_and_wait_timeout = fail_wait_timeout;
}

struct listener {
    kolk_error_handler handler;
    int reports;
};

static void
listener_count(kolk_error_handler *handler, kolk_loop *loop,
               const kolk_report *report)
{
    (void)loop;
    KOLK_CONTAINER_OF(handler, struct listener, handler)->reports++;
    CHECK_INT(report->error, -EPERM);
}

TEST_ONCE(a_ring_that_fails_is_replaced_and_reported_once)
{
    kolk_loop *loop = test_real_loop_open_with(&with_uring);
    struct listener listener = {.handler.fn = listener_count};
    struct kolk__sys real = kolk__sys;
    struct test_op first, second;
    char bytes[8] = "before", byte;
    int fds[2];

    kolk_loop_set_error_handler(loop, &listener.handler);
    test_socketpair(fds);
    test_op_init(&first, loop);
    test_op_init(&second, loop);
    CHECK_OK(kolk_op_recv(loop, &first.op, fds[0], bytes, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(kolk_loop_backend(loop, NULL), "io_uring");
    CHECK_OK(kolk_op_recv(loop, &second.op, fds[1], &byte, 1, 0));
    fail_ring();
    for (int i = 0; i < 50 && listener.reports == 0; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    kolk_op_cancel(loop, &first.op); /* it has ended */
    int first_result = test_op_wait(&first);
    check_that_it_works(loop);
    CHECK_OK(kolk_run_once(loop));
    kolk__sys = real;
    CHECK_ERR(first_result, -EPERM);
    CHECK(kolk_op_is_pending(&second.op)); /* the ring had not got it yet */
    CHECK_INT(listener.reports, 1);
    CHECK_STR(kolk_loop_backend(loop, NULL), "epoll");

    /* The kernel has let go of the buffer. */
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(bytes, "before");
    CHECK_OK(kolk_op_recv(loop, &first.op, fds[0], bytes, 8, 0));
    CHECK_INT(test_op_wait(&first), 1);
    CHECK_INT(write(fds[0], "y", 1), 1);
    CHECK_INT(test_op_wait(&second), 1);
    kolk_loop_set_error_handler(loop, NULL);
}

TEST_ONCE(what_a_lost_ring_had_not_taken_is_done_all_the_same)
{
    kolk_loop *loop = test_real_loop_open_with(&with_uring);
    struct listener complaint = {.handler.fn = listener_count};
    struct kolk__sys real = kolk__sys;
    struct sockaddr_in address;
    struct test_op connecting, accepting;
    int listener = test_listen(&address);
    int fd = op_socket(SOCK_NONBLOCK);

    kolk_loop_set_error_handler(loop, &complaint.handler);
    test_op_init(&connecting, loop);
    test_op_init_giving(&accepting, loop);
    CHECK_OK(kolk_op_connect(loop, &connecting.op, fd,
                             (struct sockaddr *)&address, sizeof address));
    fail_ring();
    int connected = test_op_wait(&connecting);
    kolk__sys = real;
    kolk_loop_set_error_handler(loop, NULL);
    CHECK_INT(connected, 0);
    CHECK_OK(kolk_op_accept(loop, &accepting.op, listener, NULL, NULL, 0));
    CHECK_OK(test_op_wait(&accepting));
    kolk_forget(loop, fd);
    kolk_forget(loop, listener);
}

static int busy_times;
static struct kolk__sys busy_real;

static int
busy_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                  unsigned count, struct __kernel_timespec *timeout,
                  sigset_t *mask)
{
    if (busy_times > 0) {
        busy_times--;
        return busy_times % 2 == 0 ? -EAGAIN : -EBUSY;
    }
    return busy_real.io_uring_submit_and_wait_timeout(ring, cqe, count, timeout,
                                                      mask);
}

TEST_ONCE(a_ring_that_is_busy_is_asked_again)
{
    kolk_loop *loop = test_real_loop_open_with(&with_uring);

    busy_real = kolk__sys;
    busy_times = 6;
    kolk__sys.io_uring_submit_and_wait_timeout = busy_wait_timeout;
    check_that_it_works(loop);
    check_that_it_works(loop);
    kolk__sys = busy_real;
    CHECK_STR(kolk_loop_backend(loop, NULL), "io_uring");
}

static int
busy_submit(struct io_uring *ring)
{
    return busy_times-- > 0 ? -EAGAIN : busy_real.io_uring_submit(ring);
}

TEST_ONCE(a_guest_hears_of_what_a_busy_ring_takes_late)
{
    kolk_loop *loop = test_real_loop_open_with(&with_uring);
    struct pollfd host = {.fd = kolk_loop_fileno(loop), .events = POLLIN};
    struct test_op op;
    char byte;
    int fds[2];

    CHECK_OK(host.fd);
    test_socketpair(fds);
    test_op_init(&op, loop);
    busy_real = kolk__sys;
    busy_times = 3;
    kolk__sys.io_uring_submit = busy_submit;
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_INT(write(fds[1], "x", 1), 1);
    while (kolk_op_is_pending(&op.op)) {
        CHECK_INT(poll(&host, 1, 10000), 1);
        CHECK_OK(kolk_run_once(loop));
    }
    kolk__sys = busy_real;
    CHECK_INT(op.result, 1);
    CHECK_STR(kolk_loop_backend(loop, NULL), "io_uring");
}
