/* loop_guest.c - a loop that is driven by another one's poll.
 *
 * SPDX-License-Identifier: MIT
 */
#include "notes.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "base/sys.h"

/* Does the host's poll say that the loop has something to do? */
static bool
guest_is_readable(kolk_loop *loop, int timeout_ms)
{
    struct pollfd fd = {.fd = kolk_loop_fileno(loop), .events = POLLIN};

    CHECK_OK(fd.fd);
    return poll(&fd, 1, timeout_ms) == 1;
}

TEST(an_idle_guest_is_not_readable)
{
    kolk_loop *loop = test_real_loop_open();

    CHECK(!guest_is_readable(loop, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK(!guest_is_readable(loop, 0));
}

TEST(a_guest_is_readable_while_work_is_ready)
{
    kolk_loop *loop = test_real_loop_open();
    static struct note a, next;

    CHECK(!guest_is_readable(loop, 0));
    note_soon(&a, loop, 'a'); /* between two turns */
    note_init(&next, loop, 'n');
    a.then_soon = &next; /* within a turn */
    CHECK(guest_is_readable(loop, 0));
    CHECK_INT(kolk_run_once(loop), 1);
    CHECK(guest_is_readable(loop, 0));
    CHECK_INT(kolk_run_once(loop), 0);
    CHECK(!guest_is_readable(loop, 0));
    CHECK_STR(notes, "an");
}

TEST(a_guest_is_readable_when_a_call_waits_for_the_end_of_a_turn)
{
    kolk_loop *loop = test_real_loop_open();
    static struct note a;

    CHECK(!guest_is_readable(loop, 0));
    note_init(&a, loop, 'a');
    CHECK_OK(kolk_turn_end(loop, &a.call));
    CHECK(guest_is_readable(loop, 0));
    CHECK_OK(kolk_run_once(loop));
    CHECK(!guest_is_readable(loop, 0));
    CHECK_STR(notes, "a");
}

static void
guest_rang(kolk_timer *timer)
{
    (void)timer;
    note_add('t');
}

TEST_TIME(a_guest_is_readable_once_a_deadline_is_due)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_timer timer;

    kolk_timer_init(&timer, guest_rang, NULL);
    CHECK(!guest_is_readable(loop, 0));
    CHECK_OK(kolk_call_later(loop, &timer, KOLK_MS(20)));
    kolk_time deadline = timer.deadline;
    while (notes[0] == '\0') {
        CHECK(guest_is_readable(loop, 10000));
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK(kolk_now(loop) >= deadline);
    CHECK(!guest_is_readable(loop, 0));
}

TEST_TIME(a_stopped_timer_leaves_a_guest_alone)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_timer timer;

    kolk_timer_init(&timer, guest_rang, NULL);
    CHECK_OK(kolk_loop_fileno(loop));
    CHECK_OK(kolk_call_later(loop, &timer, KOLK_MS(1)));
    kolk_timer_stop(loop, &timer);
    /* At most the timer's own wake-up is left, and runs nothing. */
    if (guest_is_readable(loop, 30)) {
        CHECK_INT(kolk_run_once(loop), 0);
    }
    CHECK(!guest_is_readable(loop, 0));
    CHECK_STR(notes, "");
}

static void
guest_read(kolk_watch *watch)
{
    char byte;

    CHECK_INT(read(watch->fd, &byte, 1), 1);
    note_add('w');
}

TEST(a_guest_is_readable_when_a_descriptor_is_ready)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_watch watch;
    int fds[2];

    test_pipe(fds);
    kolk_watch_init(&watch, fds[0], guest_read, NULL);
    CHECK(!guest_is_readable(loop, 0));
    CHECK_OK(kolk_watch_start(loop, &watch, KOLK_READABLE));
    CHECK(!guest_is_readable(loop, 0));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(guest_is_readable(loop, 0));
    while (notes[0] == '\0') {
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK(!guest_is_readable(loop, 0));
    kolk_watch_stop(loop, &watch);
}

static char guest_buffer[8];

static void
guest_op_ended(kolk_op *op)
{
    CHECK_INT(op->result, 1);
    note_add('o');
}

TEST(a_guest_is_readable_when_an_operation_has_ended)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_op op;
    int fds[2];

    test_socketpair(fds);
    kolk_op_init(&op, guest_op_ended, NULL);
    CHECK(!guest_is_readable(loop, 0));
    CHECK_OK(kolk_op_recv(loop, &op, fds[0], guest_buffer, 8, 0));
    CHECK_INT(write(fds[1], "x", 1), 1);
    while (notes[0] == '\0') {
        CHECK(guest_is_readable(loop, 10000));
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK_INT(guest_buffer[0], 'x');
    CHECK_STR(notes, "o");
}

/* ---- what the kernel refuses, and gets again ---- */

static struct kolk__sys guest_real;
static int guest_calls;

/* The first two are the guest's own, then comes the poller. */
static int
guest_refuse_poller(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && ++guest_calls > 2 && guest_calls <= 5) {
        errno = ENOMEM;
        return -1;
    }
    return guest_real.epoll_ctl(epfd, op, fd, event);
}

static void
guest_expect_report(kolk_error_handler *handler, kolk_loop *loop,
                    const kolk_report *report)
{
    (void)handler, (void)loop;
    CHECK_INT(report->error, -ENOMEM);
    note_add('r');
}

/* Receives a byte; the host sleeps while the descriptor is not readable. */
static void
guest_receive(kolk_loop *loop)
{
    static kolk_op op;
    int fds[2];

    test_socketpair(fds);
    kolk_op_init(&op, guest_op_ended, NULL);
    CHECK_OK(kolk_op_recv(loop, &op, fds[0], guest_buffer, 8, 0));
    CHECK_INT(write(fds[1], "x", 1), 1);
    while (kolk_op_is_pending(&op)) {
        CHECK(guest_is_readable(loop, 10000));
        CHECK_OK(kolk_run_once(loop));
    }
}

TEST(a_guest_whose_poller_is_refused_hears_of_it_all_the_same)
{
    static kolk_error_handler handler = {.fn = guest_expect_report};
    kolk_loop *loop = test_real_loop_open();

    kolk_loop_set_error_handler(loop, &handler);
    guest_real = kolk__sys;
    kolk__sys.epoll_ctl = guest_refuse_poller;
    CHECK_OK(kolk_loop_fileno(loop));
    kolk__sys.epoll_ctl = guest_real.epoll_ctl;
    guest_receive(loop);
    CHECK_STR(notes, "ro");
    kolk_loop_set_error_handler(loop, NULL);
}

/* ---- other threads ---- */

static void *
guest_push(void *arg)
{
    struct note *self = arg;
    kolk_inbox *inbox = kolk_loop_inbox(self->loop);

    self->result = kolk_inbox_push(inbox, &self->call);
    return NULL;
}

TEST_TIME(another_thread_makes_a_guest_readable)
{
    kolk_loop *loop = test_real_loop_open();
    static struct note a;
    pthread_t thread;

    note_init(&a, loop, 'a');
    CHECK(!guest_is_readable(loop, 0));
    CHECK_INT(pthread_create(&thread, NULL, guest_push, &a), 0);
    while (notes[0] == '\0') {
        CHECK(guest_is_readable(loop, 10000));
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(a.result);
    CHECK(!guest_is_readable(loop, 0));
}

static int
guest_sleeper(void *arg)
{
    (void)arg;
    int err = kolk_sleep(KOLK_MS(5));
    note_add('s');
    return err;
}

/* A task on the guest, while the host is a kolk loop too. */
static struct {
    kolk_watch watch;
    kolk_loop *host, *guest;
    kolk_task *task;
} nested;

static void
nested_turn(kolk_watch *watch)
{
    (void)watch;
    CHECK_OK(kolk_run_once(nested.guest));
    CHECK_PTR(kolk_current_loop(), nested.host);
    if (kolk_future_is_done(nested.task)) {
        kolk_watch_stop(nested.host, &nested.watch);
        kolk_loop_stop(nested.host);
    }
}

TEST_TIME(a_kolk_loop_can_be_the_host_of_another)
{
    nested.host = test_real_loop_open();
    nested.guest = test_real_loop_open();
    CHECK_OK(
        kolk_spawn_with(nested.guest, NULL, guest_sleeper, NULL, &nested.task));
    kolk_watch_init(&nested.watch, kolk_loop_fileno(nested.guest), nested_turn,
                    NULL);
    CHECK_OK(kolk_watch_start(nested.host, &nested.watch, KOLK_READABLE));
    CHECK_OK(kolk_run_forever(nested.host));
    CHECK_STR(notes, "s");
    kolk_task_detach(nested.task);
}
