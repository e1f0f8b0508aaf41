/* host_lock.c - who has the host's lock while the loop does what.
 *
 * SPDX-License-Identifier: MIT
 *
 * The table of system calls watches all of these, and every other test of the
 * host: see host_table.c and host_end().
 */
#include <pthread.h>
#include <unistd.h>

#include "host.h"
#include "reports.h"

TEST(turns_that_do_not_sleep_keep_the_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *reader = host_new(loop, HOST_READER, 'r', NULL);
    int fds[2];

    test_pipe(fds);
    CHECK_OK(host_watch(reader, fds[0]));
    CHECK_INT(write(fds[1], "x", 1), 1);
    host_soon_new(loop, 'a', NULL);
    while (reader->runs < 3) {
        CHECK_OK(host_run_once(loop));
    }
    CHECK_INT(host_calls.pairs, 0);
    host_cancel(reader);
    host_unref(reader);
    host_loop_unref(loop);
    host_end();
}

/* Sleeps for times that the kernel has different calls for. */
static void
sleep_all(host_loop *loop)
{
    static const kolk_time delays[] = {KOLK_US(300), KOLK_MS(1), KOLK_MS(3)};

    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        host_later_new(loop, delays[i], host_stop);
        CHECK_OK(host_run(loop));
    }
    CHECK(host_calls.pairs >= 3);
    CHECK_INT(host_calls.pairs, host_calls.sleeps);
    CHECK_INT(host_calls.empty, 0);
}

TEST_TIME(each_sleep_lets_the_lock_go_once)
{
    host_begin();
    host_loop *loop = host_loop_new();

    sleep_all(loop);
    host_loop_unref(loop);
    host_end();
}

/* There, a short sleep has to set a timerfd first. */
TEST_TIME(each_sleep_of_an_old_kernel_lets_the_lock_go_once)
{
    host_begin();
    host_loop *loop = host_loop_new();

    host_table_set_old();
    sleep_all(loop);
    host_loop_unref(loop);
    host_end();
}

static int
ready_stop_third(host_object *self)
{
    return self->runs == 3 ? host_stop(self) : 0;
}

/* A ring looks at the epoll set again without sleeping, as long as it must. */
TEST(a_ready_reader_beside_an_operation_keeps_the_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *reader = host_new(loop, HOST_READER, 'r', ready_stop_third);
    host_object *op = host_new(loop, HOST_OP, 'p', NULL);
    int fds[2], ready[2];

    test_socketpair(fds);
    test_pipe(ready);
    CHECK_OK(host_recv(op, fds[0]));
    CHECK_OK(host_watch(reader, ready[0]));
    CHECK_INT(write(ready[1], "x", 1), 1);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "rrr");
    CHECK_INT(host_calls.empty, 0);
    host_cancel(reader);
    host_unref(reader);
    host_unref(op);
    host_loop_unref(loop);
    host_end();
}

/* ---- other threads of the language, while the loop sleeps ---- */

static struct {
    host_loop *loop;
    kolk_inbox *inbox;
    int collected;
    int pushed;
} other;

/* Takes the lock as soon as the loop sleeps, and works in the same heap. */
static void *
other_run(void *arg)
{
    (void)arg;
    host_lock_take();
    while (host_calls.pairs == 0) {
        host_pause();
    }
    other.collected = host_collect();
    host_object *handle = host_new(other.loop, HOST_HANDLE, 'o', host_stop);
    other.pushed = host_push(other.inbox, handle);
    host_unref(handle);
    host_lock_give();
    return NULL;
}

TEST(another_thread_finds_a_consistent_world_while_the_loop_sleeps)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *reader = host_new(loop, HOST_READER, 'r', NULL);
    host_object *op = host_new(loop, HOST_OP, 'p', NULL);
    pthread_t thread;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(host_watch(reader, fds[0]));
    CHECK_OK(host_recv(op, fds[1]));
    host_later_new(loop, KOLK_S(1000), NULL);
    host_soon_new(loop, 'a', NULL);
    other.loop = loop;
    other.inbox = kolk_inbox_ref(kolk_loop_inbox(loop->loop));
    CHECK_INT(pthread_create(&thread, NULL, other_run, NULL), 0);
    CHECK_OK(host_run(loop));
    host_lock_give();
    CHECK_INT(pthread_join(thread, NULL), 0);
    host_lock_take();
    kolk_inbox_unref(other.inbox);
    CHECK_STR(host_notes, "ao");
    CHECK_INT(other.collected, 0);
    CHECK_OK(other.pushed);
    host_unref(reader);
    host_unref(op);
    host_loop_unref(loop);
    host_end();
}

/* ---- signals ---- */

static void
signal_handle(int number)
{
    int inside = host_thread.inside;

    (void)number;
    host_signalled = 1;
    host_thread.inside = 0; /* this is not the loop's doing */
    kolk_inbox_wake(other.inbox);
    host_thread.inside = inside;
}

static void *
signal_send(void *arg)
{
    host_lock_take();
    while (host_calls.pairs == 0) {
        host_pause();
    }
    host_lock_give();
    (void)pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

/* As Ctrl-C does: what the signal raises comes before the next callback. */
TEST_TIME(a_signal_raises_in_a_loop_that_sleeps)
{
    struct sigaction action = {.sa_handler = signal_handle};
    pthread_t self = pthread_self(), thread;
    host_begin();
    host_loop *loop = host_loop_new();
    other.inbox = kolk_inbox_ref(kolk_loop_inbox(loop->loop));
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    host_later_new(loop, KOLK_S(1000), NULL);
    CHECK_INT(pthread_create(&thread, NULL, signal_send, &self), 0);
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    host_lock_give();
    CHECK_INT(pthread_join(thread, NULL), 0);
    host_lock_take();
    host_soon_new(loop, 'a', host_stop);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "a");
    kolk_inbox_unref(other.inbox);
    host_loop_unref(loop);
    host_end();
}

/* ---- waits that are no polls ---- */

/* A job in the loop's pool that runs code of the language. */
static int
job_run(void *arg)
{
    (void)arg;
    host_lock_take();
    host_note('j');
    host_pause();
    host_lock_give();
    return 7;
}

static int
job_ended(host_object *self)
{
    CHECK_INT(host_op_of(self)->result, 7);
    return host_stop(self);
}

TEST(a_job_may_take_the_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *op = host_new(loop, HOST_OP, 'e', job_ended);

    CHECK_OK(host_work(op, job_run, NULL));
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "je");
    host_unref(op);
    host_loop_unref(loop);
    host_end();
}

TEST(closing_waits_for_a_job_without_the_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *op = host_new(loop, HOST_OP, 'e', NULL);

    CHECK_OK(host_work(op, job_run, NULL));
    while (host_notes[0] == '\0') { /* it has begun */
        host_pause();
    }
    host_loop_close(loop);
    CHECK_STR(host_notes, "j");
    CHECK_INT(op->drops, 1);
    CHECK(host_calls.pairs > 0);
    host_unref(op);
    host_loop_unref(loop);
    host_end();
}

TEST_TIME(the_pause_after_a_failed_poll_is_without_the_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();

    reports_watch(loop->loop);
    host_later_new(loop, KOLK_MS(20), host_stop);
    host_table_fail_wait(ENOMEM);
    CHECK_OK(host_run(loop));
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.error, -ENOMEM);
    host_loop_unref(loop);
    host_end();
}
