/* loop_backend_wait.c - one wait for everything, in whichever thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/sys.h"

/* ---- more than fits ---- */

static struct {
    struct test_op *ops;
    char *bytes;
} many;

/* The loop goes first: operations may still be pending. */
static void
many_close(void *loop)
{
    test_loop_close(loop);
    free(many.ops);
    free(many.bytes);
}

/* More operations than the ring has room for, and more completions. */
TEST(thousands_of_operations_at_once)
{
    kolk_loop *loop = test_real_loop_open();
    size_t count = test_count(20000);
    struct test_op *ops = many.ops = calloc(count, sizeof *ops);
    char *bytes = many.bytes = calloc(count, 1);

    test_later(many_close, loop);
    CHECK(ops != NULL && bytes != NULL);
    int fd = op_own(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    for (size_t i = 0; i < count; i++) {
        test_op_init(&ops[i], loop);
        CHECK_OK(kolk_op_pread(loop, &ops[i].op, fd, &bytes[i], 1, 0));
    }
    for (size_t i = 0; i < count; i += 3) {
        kolk_op_cancel(loop, &ops[i].op);
    }
    for (size_t i = 0; i < count; i++) {
        int result = test_op_wait(&ops[i]);
        if (!CHECK(result == 1 || (result == -ECANCELED && i % 3 == 0))) {
            break;
        }
    }
    kolk_forget(loop, fd);
    op_close_own(fd);
}

/* ---- one wait for everything ---- */

struct eye {
    kolk_watch watch;
    int runs;
};

static void
eye_look(kolk_watch *watch)
{
    KOLK_CONTAINER_OF(watch, struct eye, watch)->runs++;
}

static void
timer_stop_loop(kolk_timer *timer)
{
    (void)timer;
    kolk_loop_stop(kolk_current_loop());
}

static void
sleep_for(kolk_loop *loop, kolk_time delay)
{
    kolk_timer timer;

    kolk_timer_init(&timer, timer_stop_loop, NULL);
    CHECK_OK(kolk_call_later(loop, &timer, delay));
    int err = kolk_run_forever(loop);
    kolk_timer_stop(loop, &timer); /* an operation may have ended before */
    CHECK_OK(err);
}

TEST(watches_timers_and_operations_are_waited_for_together)
{
    kolk_loop *loop = test_real_loop_open();
    struct eye eye = {.runs = 0};
    struct test_op op;
    char byte;
    int fds[2], other[2];

    test_socketpair(fds);
    test_socketpair(other);
    kolk_watch_init(&eye.watch, other[0], eye_look, NULL);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    sleep_for(loop, KOLK_US(300));
    CHECK_INT(eye.runs, 0);

    /* Level-triggered, although the ring hears of it once. */
    CHECK_INT(write(other[1], "x", 1), 1);
    for (int i = 0; i < 50 && eye.runs < 5; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK_INT(eye.runs, 5);
    CHECK_INT(read(other[0], &byte, 1), 1);
    sleep_for(loop, KOLK_MS(2));
    int runs = eye.runs;
    sleep_for(loop, KOLK_MS(2));
    CHECK_INT(eye.runs, runs);
    CHECK_INT(write(other[1], "x", 1), 1);
    sleep_for(loop, KOLK_MS(2));
    CHECK(eye.runs > runs);
    kolk_watch_stop(loop, &eye.watch);
    CHECK(kolk_op_is_pending(&op.op));
    CHECK_INT(write(fds[1], "y", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
}

static void *
push_later(void *arg)
{
    (void)usleep(2000);
    kolk_inbox_wake(arg);
    return NULL;
}

TEST(another_thread_wakes_a_loop_that_waits_for_an_operation)
{
    kolk_loop *loop = test_real_loop_open();
    struct test_op op;
    pthread_t thread;
    char byte;
    int fds[2];

    test_socketpair(fds);
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(
            pthread_create(&thread, NULL, push_later, kolk_loop_inbox(loop)),
            0);
        kolk_loop_stop(loop);
        CHECK_OK(kolk_run_forever(loop)); /* does not block */
        CHECK_INT(pthread_join(thread, NULL), 0);
        kolk_loop_stop(loop);
        CHECK_OK(kolk_run_forever(loop));
    }
    kolk_op_cancel(loop, &op.op);
    CHECK_INT(test_op_wait(&op), -ECANCELED);
}

static int
is_readable(int fd, int milliseconds)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return poll(&item, 1, milliseconds);
}

TEST(a_guests_descriptor_tells_of_operations_and_watches)
{
    kolk_loop *loop = test_real_loop_open();
    struct eye eye = {.runs = 0};
    struct test_op op;
    char byte;
    int fds[2], other[2];

    test_socketpair(fds);
    test_socketpair(other);
    kolk_watch_init(&eye.watch, other[0], eye_look, NULL);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    int fd = kolk_loop_fileno(loop);
    CHECK_OK(fd);
    test_op_init(&op, loop);
    for (int round = 0; round < 3; round++) {
        CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
        for (int i = 0; i < 20 && is_readable(fd, 0) > 0; i++) {
            CHECK_OK(kolk_run_once(loop));
        }
        CHECK_INT(is_readable(fd, 0), 0);
        CHECK_INT(write(fds[1], "x", 1), 1);
        for (int i = 0; i < 20 && kolk_op_is_pending(&op.op); i++) {
            CHECK_INT(is_readable(fd, 2000), 1);
            CHECK_OK(kolk_run_once(loop));
        }
        CHECK_INT(op.result, 1);
        eye.runs = 0;
        CHECK_INT(write(other[1], "x", 1), 1);
        for (int i = 0; i < 20 && eye.runs < 3; i++) {
            CHECK_INT(is_readable(fd, 2000), 1);
            CHECK_OK(kolk_run_once(loop));
        }
        CHECK_INT(eye.runs, 3);
        CHECK_INT(read(other[0], &byte, 1), 1);
    }
    kolk_watch_stop(loop, &eye.watch);
}

/* ---- threads and processes ---- */

struct starter {
    kolk_loop *loop;
    struct test_op op;
    int fd;
    char byte;
    int err;
};

static void *
start_and_leave(void *arg)
{
    struct starter *starter = arg;

    starter->err = kolk_op_recv(starter->loop, &starter->op.op, starter->fd,
                                &starter->byte, 1, 0);
    if (starter->err == 0) {
        starter->err = kolk_run_once(starter->loop);
    }
    return NULL;
}

/* The kernel cancels what a thread has submitted when that thread ends. */
TEST(an_operation_outlives_the_thread_that_started_it)
{
    struct starter starter = {.loop = test_real_loop_open()};
    pthread_t thread;
    int fds[2];

    test_socketpair(fds);
    starter.fd = fds[0];
    test_op_init(&starter.op, starter.loop);
    CHECK_INT(pthread_create(&thread, NULL, start_and_leave, &starter), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(starter.err);
    sleep_for(starter.loop, KOLK_MS(1));
    CHECK(kolk_op_is_pending(&starter.op.op));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&starter.op), 1);
}

TEST(a_child_process_leaves_the_parents_operations_alone)
{
    kolk_loop *loop = test_real_loop_open();
    struct eye eye = {.runs = 0};
    struct test_op op;
    char byte;
    int fds[2], other[2], status = -1;

    test_socketpair(fds);
    test_socketpair(other);
    kolk_watch_init(&eye.watch, other[0], eye_look, NULL);
    CHECK_OK(kolk_watch_start(loop, &eye.watch, KOLK_READABLE));
    test_op_init(&op, loop);
    CHECK_OK(kolk_op_recv(loop, &op.op, fds[0], &byte, 1, 0));
    CHECK_OK(kolk_run_once(loop));
    pid_t child = fork();
    if (child == 0) {
        struct test_op mine;
        test_op_init(&mine, loop);
        bool is_dead =
            kolk_op_recv(loop, &mine.op, fds[1], &byte, 1, 0) == -KOLK_EFORK;
        kolk_op_cancel(loop, &op.op);
        kolk_forget(loop, fds[0]);
        kolk_watch_stop(loop, &eye.watch);
        _exit(is_dead && kolk_loop_close(loop) == 0 ? 0 : 1);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(test_op_wait(&op), 1);
    CHECK_INT(write(other[1], "x", 1), 1);
    for (int i = 0; i < 20 && eye.runs == 0; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK(eye.runs > 0);
    kolk_watch_stop(loop, &eye.watch);
}

/* ---- old kernels ---- */

static int
no_pwait2(int epfd, struct epoll_event *events, int max,
          const struct timespec *timeout, const sigset_t *mask)
{
    (void)epfd, (void)events, (void)max, (void)timeout, (void)mask;
    errno = ENOSYS;
    return -1;
}

TEST_ONCE(sleeps_for_microseconds_without_epoll_pwait2)
{
    kolk_loop *loop = test_real_loop_open();
    struct kolk__sys real = kolk__sys;

    kolk__sys.epoll_pwait2 = no_pwait2;
    kolk_time begin = kolk_monotonic();
    for (int i = 0; i < 20; i++) {
        sleep_for(loop, KOLK_US(50));
    }
    sleep_for(loop, KOLK_US(1500));
    kolk_time took = kolk_monotonic() - begin;
    kolk__sys = real;
    CHECK(took >= KOLK_US(20 * 50 + 1500));
}
