/* await_signal.c - tasks that wait for signals.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <kolk/signal.h>

#include <signal.h>
#include <unistd.h>

static const int both[] = {SIGUSR1, SIGUSR2};

static void
former_handler(int signum)
{
    (void)signum;
}

static bool
is_put_back(int signum)
{
    struct sigaction now;

    return sigaction(signum, NULL, &now) == 0
           && now.sa_handler == former_handler;
}

/* tasks_run(), where a signal that nobody waits for does no harm. */
static int
run(kolk_task_fn *fn, void *arg)
{
    CHECK(signal(SIGUSR1, former_handler) != SIG_ERR);
    CHECK(signal(SIGUSR2, former_handler) != SIG_ERR);
    return tasks_run(fn, arg);
}

/* ---- waiting once ---- */

static int
wait_for_one(void *arg)
{
    int signum = kolk_signal_wait(both, 2);

    tasks_note(signum == SIGUSR1 ? '1' : '2');
    return arg != NULL ? *(const int *)arg : signum;
}

static int
two_tasks_wait(void *arg)
{
    kolk_task *one = tasks_spawn(wait_for_one, NULL);
    kolk_task *two = tasks_spawn(wait_for_one, NULL);

    (void)arg;
    tasks_pass(1);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_INT(kolk_await(one), SIGUSR2);
    CHECK_INT(kolk_await(two), SIGUSR2);
    return 0;
}

TEST(every_task_that_waits_for_a_signal_is_told)
{
    CHECK_OK(run(two_tasks_wait, NULL));
    CHECK_STR(tasks_notes(), "22");
    CHECK(is_put_back(SIGUSR1));
    CHECK(is_put_back(SIGUSR2));
}

static int
wait_cancelled(void *arg)
{
    int result = kolk_signal_wait(both, 2);

    CHECK_ERR(result, -ECANCELED);
    CHECK(is_put_back(SIGUSR1));
    *(int *)arg = result;
    return result;
}

static int
cancel_the_wait(void *arg)
{
    int result = 0;
    kolk_task *task = tasks_spawn(wait_cancelled, &result);

    (void)arg;
    tasks_pass(1);
    CHECK(!is_put_back(SIGUSR1));
    (void)kolk_task_cancel(task);
    CHECK_ERR(kolk_await(task), -ECANCELED);
    CHECK_ERR(result, -ECANCELED);
    return 0;
}

TEST(a_cancelled_wait_puts_the_disposition_back)
{
    CHECK_OK(run(cancel_the_wait, NULL));
}

static int
wait_until_late(void *arg)
{
    KOLK_TIMEOUT(timeout, KOLK_S(5));

    (void)arg;
    int result = kolk_signal_wait(both, 1);
    CHECK_ERR(kolk_timeout_end(&timeout, result), -ETIMEDOUT);
    return 0;
}

TEST(a_wait_for_a_signal_can_time_out)
{
    CHECK_OK(run(wait_until_late, NULL));
}

static int
cancelled_when_told(void *arg)
{
    kolk_task *task = tasks_spawn(wait_for_one, NULL);

    (void)arg;
    tasks_pass(1);
    CHECK_INT(raise(SIGUSR1), 0);
    tasks_pass(2); /* the node has run, the task not yet */
    (void)kolk_task_cancel(task);
    CHECK_INT(kolk_await(task), SIGUSR1);
    return 0;
}

TEST(a_signal_that_came_before_the_request_to_cancel_is_returned)
{
    CHECK_OK(run(cancelled_when_told, NULL));
}

static int
wait_wrongly(void *arg)
{
    static const int bad[] = {SIGUSR1, SIGKILL};
    kolk_signals signals;

    (void)arg;
    CHECK_ERR(kolk_signal_wait(both, 0), -EINVAL);
    CHECK_ERR(kolk_signal_wait(bad, 2), -EINVAL);
    CHECK(is_put_back(SIGUSR1));
    CHECK_ERR(kolk_signals_begin(&signals, bad, 2), -EINVAL);
    CHECK_ERR(kolk_signals_next(&signals), -KOLK_EMISUSE);
    kolk_signals_end(&signals);
    return 0;
}

TEST(waiting_for_nothing_or_for_what_is_refused_is_an_error)
{
    kolk_signals signals;

    CHECK_OK(run(wait_wrongly, NULL));
    CHECK_ERR(kolk_signal_wait(both, 2), -KOLK_EMISUSE);
    CHECK_ERR(kolk_signals_begin(&signals, both, 2), -KOLK_EMISUSE);
    CHECK_ERR(kolk_signals_next(&signals), -KOLK_EMISUSE);
    kolk_signals_end(&signals);
}

/* ---- waiting again and again ---- */

static int
miss_none(void *arg)
{
    static const int thrice[] = {SIGUSR1, SIGUSR2, SIGUSR1};
    kolk_signals signals;

    (void)arg;
    if (!CHECK_OK(kolk_signals_begin(&signals, thrice, 3))) {
        return 0;
    }
    CHECK_INT(raise(SIGUSR2), 0);
    tasks_pass(2);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    tasks_pass(2);
    CHECK_INT(raise(SIGUSR2), 0); /* was kept already */
    tasks_pass(2);
    CHECK_INT(kolk_signals_next(&signals), SIGUSR2);
    CHECK_INT(kolk_signals_next(&signals), SIGUSR1);
    KOLK_TIMEOUT(timeout, KOLK_S(1));
    CHECK_ERR(kolk_signals_next(&signals), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ETIMEDOUT);
    kolk_signals_end(&signals);
    CHECK(is_put_back(SIGUSR1));
    kolk_signals_end(&signals);
    return 0;
}

TEST(signals_that_arrive_between_two_waits_are_kept_in_order)
{
    CHECK_OK(run(miss_none, NULL));
}

static int
kept_although_cancelled(void *arg)
{
    kolk_signals signals;

    (void)arg;
    if (!CHECK_OK(kolk_signals_begin(&signals, both, 2))) {
        return 0;
    }
    CHECK_INT(raise(SIGUSR1), 0);
    tasks_pass(2);
    (void)kolk_task_cancel(kolk_current_task());
    CHECK_INT(kolk_signals_next(&signals), SIGUSR1);
    CHECK_ERR(kolk_signals_next(&signals), -ECANCELED);
    (void)kolk_task_uncancel(kolk_current_task());
    kolk_signals_end(&signals);
    return 0;
}

TEST(a_kept_signal_is_returned_although_a_request_is_pending)
{
    CHECK_OK(run(kept_although_cancelled, NULL));
}

static kolk_signals shared;

static int
next_of_shared(void *arg)
{
    (void)arg;
    return kolk_signals_next(&shared);
}

static int
share_signals(void *arg)
{
    (void)arg;
    if (!CHECK_OK(kolk_signals_begin(&shared, both, 2))) {
        return 0;
    }
    kolk_task *one = tasks_spawn(next_of_shared, NULL);
    kolk_task *two = tasks_spawn(next_of_shared, NULL);
    kolk_task *three = tasks_spawn(next_of_shared, NULL);
    tasks_pass(1);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(kolk_await(one), SIGUSR1);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_INT(kolk_await(two), SIGUSR2);
    kolk_signals_end(&shared); /* whoever still waits is let go */
    CHECK_ERR(kolk_await(three), -ECANCELED);
    return 0;
}

TEST(several_tasks_that_share_signals_take_turns)
{
    CHECK_OK(run(share_signals, NULL));
}

static int
never_ends(void *arg)
{
    (void)arg;
    if (!CHECK_OK(kolk_signals_begin(&shared, both, 2))) {
        return 0;
    }
    KOLK_SHIELD(shield);
    (void)!kolk_signals_next(&shared);
    return 0;
}

static int
leave_behind(void *arg)
{
    (void)arg;
    (void)tasks_spawn(never_ends, NULL);
    tasks_pass(1);
    return 0;
}

/* The loop drops it, with a report, and what it waited for is given back. */
TEST(a_task_that_does_not_end_leaves_no_handler_behind)
{
    CHECK_OK(run(leave_behind, NULL));
    CHECK(is_put_back(SIGUSR1));
    CHECK(tasks_reports() > 0);
}

/* ---- really sleeping ---- */

static int
wait_really(void *arg)
{
    *(int *)arg = kolk_signal_wait(both, 2);
    return 0;
}

static void
alarm_rings(kolk_timer *timer)
{
    (void)timer;
    CHECK_INT(kill(getpid(), SIGUSR2), 0);
}

static int
send_later(void *arg)
{
    kolk_timer timer;

    kolk_timer_init(&timer, alarm_rings, NULL);
    CHECK_OK(kolk_call_later(kolk_current_loop(), &timer, KOLK_MS(5)));
    CHECK_OK(wait_really(arg));
    kolk_timer_stop(kolk_current_loop(), &timer);
    return 0;
}

TEST_TIME(a_task_sleeps_until_the_signal_comes)
{
    int signum = 0;

    CHECK_OK(tasks_run_real(send_later, &signum));
    CHECK_INT(signum, SIGUSR2);
}
