/* task_cancel.c - requests to cancel: they last, they are counted, and some
 * waits do not obey.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <kolk/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

/* ---- level-triggered ---- */

static int
cancel_ignore(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
        CHECK_ERR(kolk_checkpoint(), -ECANCELED);
        CHECK(kolk_is_cancelled());
    }
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    CHECK(!kolk_is_cancelled());
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    return 4;
}

static int
cancel_and_await(void *arg)
{
    kolk_task *task = tasks_spawn(cancel_ignore, NULL);

    (void)arg;
    tasks_pass(1);
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_await(task), 4);
    CHECK_INT(kolk_now(NULL), KOLK_S(1)); /* only the last one slept */
    CHECK_INT(kolk_task_cancel(task), 0);
    CHECK_INT(kolk_task_cancelling(task), 0);
    return 0;
}

TEST(a_request_lasts_until_it_is_taken_back)
{
    tasks_run(cancel_and_await, NULL);
}

static int
cancel_count(void *arg)
{
    kolk_task *me = kolk_current_task();

    (void)arg;
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(kolk_task_cancel(me), 1);
        CHECK_INT(kolk_task_cancelling(me), i);
    }
    for (int i = 2; i >= 0; i--) {
        CHECK_ERR(kolk_checkpoint(), -ECANCELED);
        CHECK_INT(kolk_task_uncancel(me), i);
    }
    CHECK_INT(kolk_task_uncancel(me), 0);
    CHECK_OK(kolk_checkpoint());
    return 0;
}

TEST(requests_are_counted)
{
    CHECK(!kolk_is_cancelled());
    CHECK_ERR(kolk_checkpoint(), -KOLK_EMISUSE);
    CHECK_ERR(kolk_sleep(1), -KOLK_EMISUSE);
    tasks_run(cancel_count, NULL);
}

static int
cancel_note_begin(void *arg)
{
    (void)arg;
    tasks_note('b');
    int err = kolk_checkpoint();
    tasks_note(err == -ECANCELED ? 'c' : 'e');
    return err;
}

static int
cancel_before_it_begins(void *arg)
{
    kolk_task *task = tasks_spawn(cancel_note_begin, NULL);

    (void)arg;
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    CHECK(kolk_future_is_cancelled(task));
    return 0;
}

TEST(a_task_cancelled_before_it_begins_runs_to_its_first_wait)
{
    tasks_run(cancel_before_it_begins, NULL);
    CHECK_STR(tasks_notes(), "bc");
}

static int
cancel_uncancel_in_one_step(void *arg)
{
    kolk_task *task = tasks_spawn(cancel_note_begin, NULL);

    (void)arg;
    tasks_pass(1); /* it has begun, and is ready again: not parked */
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_task_uncancel(task), 0);
    CHECK_OK(kolk_await(task));
    return 0;
}

TEST(a_request_taken_back_at_once_is_not_seen)
{
    tasks_run(cancel_uncancel_in_one_step, NULL);
    CHECK_STR(tasks_notes(), "be");
}

static int
cancel_sleep_deadline(void *arg)
{
    (void)arg;
    tasks_note('s');
    int err = kolk_sleep_until(KOLK_MS(10));
    tasks_note(err == 0 ? '0' : 'c');
    CHECK(kolk_is_cancelled());
    return err;
}

struct cancel_timer {
    kolk_timer timer;
    kolk_task *task;
};

static void
cancel_by_timer(kolk_timer *timer)
{
    struct cancel_timer *self =
        KOLK_CONTAINER_OF(timer, struct cancel_timer, timer);

    CHECK_INT(kolk_task_cancel(self->task), 1);
}

/* At the deadline of the sleep, in the same turn, after it. */
static int
cancel_a_sleep_that_is_over(void *arg)
{
    static struct cancel_timer late;

    (void)arg;
    late.task = tasks_spawn(cancel_sleep_deadline, NULL);
    tasks_pass(1);
    if (late.task == NULL) {
        return 0;
    }
    kolk_timer_init(&late.timer, cancel_by_timer, NULL);
    CHECK_OK(kolk_call_at(kolk_current_loop(), &late.timer, KOLK_MS(10)));
    return kolk_await(late.task);
}

TEST(what_completed_first_is_returned_and_the_request_stays)
{
    tasks_run(cancel_a_sleep_that_is_over, NULL);
    CHECK_STR(tasks_notes(), "s0");
}

/* ---- await of a task that it has cancelled ---- */

static int
cancel_clean_up(void *arg)
{
    int err = kolk_sleep(KOLK_S(100));
    KOLK_SHIELD(shield);

    (void)arg;
    CHECK_ERR(err, -ECANCELED);
    CHECK_OK(kolk_sleep(KOLK_S(5)));
    tasks_note('u');
    return 9;
}

static int
cancel_await_child(void *arg)
{
    kolk_task *child = tasks_spawn(cancel_clean_up, NULL);
    int result = child != NULL ? kolk_await(child) : 9;

    (void)arg;
    tasks_note('a');
    CHECK(kolk_is_cancelled());
    return result; /* the child's own */
}

static int
cancel_twice(void *arg)
{
    kolk_task *task = tasks_spawn(cancel_await_child, NULL);

    (void)arg;
    tasks_pass(2);
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_INT(kolk_task_cancel(task), 1); /* no hurry */
    CHECK_INT(kolk_await(task), 9);
    CHECK_INT(kolk_now(NULL), KOLK_S(5));
    return 0;
}

TEST(await_of_a_task_that_it_has_cancelled_is_uninterruptible)
{
    tasks_run(cancel_twice, NULL);
    CHECK_STR(tasks_notes(), "ua");
}

static int
cancel_await_pending(void *arg)
{
    kolk_task *child = tasks_spawn(cancel_clean_up, NULL);

    (void)arg;
    if (child == NULL) {
        return 0;
    }
    tasks_pass(1);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_INT(kolk_await(child), 9);
    CHECK_INT(kolk_await(child), 9); /* done: does not wait */
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(await_under_a_pending_request_cancels_the_task_and_waits_for_it)
{
    tasks_run(cancel_await_pending, NULL);
}

static int
cancel_join_child(void *arg)
{
    CHECK_ERR(kolk_join(arg), -ECANCELED);
    CHECK_ERR(kolk_join(arg), -ECANCELED);
    return 0;
}

static int
cancel_joiner(void *arg)
{
    kolk_future *future = tasks_future();

    (void)arg;
    kolk_task *joiner =
        future != NULL ? tasks_spawn(cancel_join_child, future) : NULL;
    if (joiner == NULL) {
        return 0;
    }
    tasks_pass(1);
    CHECK_INT(kolk_task_cancel(joiner), 1);
    CHECK_OK(kolk_await(joiner));
    CHECK(!kolk_future_is_done(future));
    return 0;
}

TEST(a_cancelled_join_leaves_the_future_alone)
{
    tasks_run(cancel_joiner, NULL);
}

/* ---- buffers ---- */

static char buffer[8];

static int
cancel_receive(void *arg)
{
    int err = kolk_recv(*(int *)arg, buffer, sizeof buffer, 0);

    tasks_note(err == -ECANCELED ? 'c' : err > 0 ? 'd' : 'e');
    return err;
}

static int
cancel_receiver(void *arg)
{
    int *fds = arg;
    kolk_task *task = tasks_spawn(cancel_receive, &fds[0]);

    tasks_pass(3);
    if (task == NULL) {
        return 0;
    }
    memset(buffer, '.', sizeof buffer);
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    /* The buffer is ours again: what comes now stays in the socket. */
    CHECK_INT(kolk_send(fds[1], "late", 4, 0), 4);
    tasks_pass(5);
    CHECK_INT(buffer[0], '.');
    CHECK_INT(kolk_recv(fds[0], buffer, sizeof buffer, 0), 4);
    CHECK_INT(memcmp(buffer, "late", 4), 0);
    return 0;
}

TEST(a_cancelled_receive_has_given_its_buffer_back)
{
    int fds[2];

    test_socketpair(fds);
    tasks_run(cancel_receiver, fds);
    CHECK_STR(tasks_notes(), "c");
}

static int
cancel_after_data(void *arg)
{
    int *fds = arg;
    kolk_task *task = tasks_spawn(cancel_receive, &fds[0]);

    tasks_pass(3);
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_send(fds[1], "data", 4, 0), 4);
    CHECK_INT(kolk_task_cancel(task), 1);
    int got = kolk_await(task);
    /* Received or not, not a byte of it is lost. */
    if (got == -ECANCELED) {
        got = kolk_recv(fds[0], buffer, sizeof buffer, 0);
    }
    CHECK_INT(got, 4);
    CHECK_INT(memcmp(buffer, "data", 4), 0);
    return 0;
}

TEST(a_receive_cancelled_while_data_comes_loses_none)
{
    int fds[2];

    test_socketpair(fds);
    tasks_run(cancel_after_data, fds);
}

/* A job in the pool that lasts until it is let go. */
struct cancel_job {
    sem_t begun;
    sem_t go;
    char *buffer; /* of the waiting task's stack */
};

static int
cancel_job_run(void *arg)
{
    struct cancel_job *job = arg;

    (void)sem_post(&job->begun);
    while (sem_wait(&job->go) != 0) {
    }
    memcpy(job->buffer, "done", 4);
    return 11;
}

static int
cancel_job_wait(void *arg)
{
    struct cancel_job *job = arg;
    char room[4] = "";

    job->buffer = room;
    int result = kolk_to_thread(cancel_job_run, job);
    if (result >= 0) {
        CHECK_INT(memcmp(room, "done", 4), 0);
    }
    tasks_note('r');
    return result;
}

static int
cancel_job_that_runs(void *arg)
{
    struct cancel_job *job = arg;
    kolk_task *task = tasks_spawn(cancel_job_wait, job);

    tasks_pass(1);
    if (task == NULL || kolk_future_is_done(task)) {
        return 0; /* no thread could be had */
    }
    while (sem_wait(&job->begun) != 0) {
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_INT(kolk_task_cancel(task), 1);
    tasks_pass(20);
    CHECK_STR(tasks_notes(), "");
    (void)sem_post(&job->go);
    CHECK_INT(kolk_await(task), 11); /* it completed, so this is its result */
    return 0;
}

TEST(taking_back_a_borrowed_buffer_is_uninterruptible)
{
    static struct cancel_job job;

    CHECK_INT(sem_init(&job.begun, 0, 0), 0);
    CHECK_INT(sem_init(&job.go, 0, 0), 0);
    tasks_run_real(cancel_job_that_runs, &job);
    CHECK_STR(tasks_notes(), "r");
}

/* ---- close ---- */

static int
cancel_close(void *arg)
{
    int *fds = arg;
    int fd = dup(fds[0]);

    if (!CHECK(fd >= 0)) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(kolk_recv(fd, buffer, 1, 0), -ECANCELED);
    CHECK_OK(kolk_close(fd));
    CHECK_INT(fcntl(fd, F_GETFD), -1);
    CHECK_ERR(kolk_checkpoint(), -ECANCELED); /* still pending */
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(close_is_uninterruptible)
{
    int fds[2];

    test_socketpair(fds);
    tasks_run(cancel_close, fds);
}
