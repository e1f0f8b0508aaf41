/* task_scope.c - timeouts and shields.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- timeouts ---- */

static int
scope_simple(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_MS(10)));
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_INT(kolk_timeout_end(&timeout, 42), 42);
    CHECK_OK(kolk_sleep(KOLK_MS(10))); /* it is over, and asks nothing */

    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_MS(20)));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK_INT(kolk_now(NULL), KOLK_MS(20));
    CHECK(kolk_timeout_is_expired(&timeout));
    CHECK(kolk_is_cancelled());
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ETIMEDOUT);
    CHECK(!kolk_is_cancelled());
    CHECK_OK(kolk_checkpoint());
    CHECK_ERR(kolk_timeout_end(&timeout, 0), -KOLK_EMISUSE);
    CHECK_ERR(kolk_timeout_reschedule(&timeout, 0), -KOLK_EMISUSE);
    return 0;
}

TEST(a_timeout_cancels_what_is_inside_and_nothing_else)
{
    kolk_timeout timeout;

    CHECK_ERR(kolk_timeout_begin(&timeout, 0), -KOLK_EMISUSE);
    CHECK_ERR(kolk_timeout_end(&timeout, 0), -KOLK_EMISUSE);
    tasks_run(scope_simple, NULL);
}

static int
scope_other_results(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    CHECK_OK(kolk_timeout_begin(&timeout, 0));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&timeout, -EIO), -EIO);
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_NEVER));
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ECANCELED);
    return 0;
}

TEST(a_timeout_leaves_every_other_result_alone)
{
    tasks_run(scope_other_results, NULL);
}

static int
scope_nested(void *arg)
{
    kolk_timeout outer, inner;

    (void)arg;
    CHECK_OK(kolk_timeout_begin(&outer, KOLK_MS(20)));
    CHECK_OK(kolk_timeout_begin(&inner, KOLK_MS(10)));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&outer, 0), -KOLK_EMISUSE); /* not innermost */
    CHECK_ERR(kolk_timeout_end(&inner, -ECANCELED), -ETIMEDOUT);
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK_INT(kolk_now(NULL), KOLK_MS(20));
    CHECK_ERR(kolk_timeout_end(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

TEST(timeouts_nest_and_the_inner_one_may_come_first)
{
    tasks_run(scope_nested, NULL);
}

/* Both are due when the wait ends; `inner_first` says in which order. */
static int
scope_outermost(void *arg)
{
    const bool *inner_first = arg;
    kolk_timeout outer, inner;
    kolk_time late = KOLK_MS(10);

    CHECK_OK(kolk_timeout_begin(&outer, *inner_first ? KOLK_NEVER : late));
    CHECK_OK(kolk_timeout_begin(&inner, late));
    CHECK_OK(kolk_timeout_reschedule(&outer, late));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK(kolk_timeout_is_expired(&inner));
    CHECK(kolk_timeout_is_expired(&outer));
    CHECK_ERR(kolk_timeout_end(&inner, -ECANCELED), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

TEST(of_two_timeouts_in_one_turn_the_outermost_counts)
{
    static const bool orders[] = {false, true};

    tasks_run(scope_outermost, (void *)&orders[0]);
    tasks_run(scope_outermost, (void *)&orders[1]);
}

static int
scope_rescheduled(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_NEVER));
    CHECK_OK(kolk_timeout_reschedule(&timeout, KOLK_MS(10)));
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_OK(kolk_timeout_reschedule(&timeout, KOLK_MS(30)));
    CHECK_OK(kolk_sleep(KOLK_MS(15)));
    CHECK_OK(kolk_timeout_reschedule(&timeout, KOLK_NEVER));
    CHECK_OK(kolk_sleep(KOLK_MS(100)));
    CHECK_OK(kolk_timeout_reschedule(&timeout, 0)); /* already past */
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK_INT(kolk_now(NULL), KOLK_MS(120));
    CHECK_ERR(kolk_timeout_reschedule(&timeout, KOLK_S(9)), -ETIMEDOUT);
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ETIMEDOUT);
    return 0;
}

TEST(a_timeout_can_be_rescheduled_until_it_expires)
{
    tasks_run(scope_rescheduled, NULL);
}

static int
scope_cancelled_outside(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_MS(1)));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    /* The task's own request is further out than any scope. */
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ECANCELED);
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(a_timeout_does_not_swallow_a_cancellation_from_outside)
{
    tasks_run(scope_cancelled_outside, NULL);
}

/* ---- blocks that close themselves ---- */

static int
scope_return_early(void *arg)
{
    KOLK_TIMEOUT(timeout, KOLK_MS(10));

    (void)arg;
    int err = kolk_sleep(KOLK_MS(5));
    if (err == 0) {
        return 3; /* leaves the scope */
    }
    return kolk_timeout_end(&timeout, err);
}

static int
scope_return_unread(void *arg)
{
    KOLK_TIMEOUT(timeout, KOLK_MS(10));

    (void)arg;
    return kolk_sleep(KOLK_S(1)); /* nobody asks the timeout */
}

static int
scope_return_read(void *arg)
{
    KOLK_TIMEOUT(timeout, KOLK_MS(10));

    (void)arg;
    return kolk_timeout_end(&timeout, kolk_sleep(KOLK_S(1)));
}

static int
scope_leave(void *arg)
{
    CHECK_INT(scope_return_early(arg), 3);
    CHECK_OK(kolk_sleep(KOLK_S(1)));
    CHECK_ERR(scope_return_read(arg), -ETIMEDOUT);
    CHECK_INT(tasks_reports(), 0);
    CHECK_ERR(scope_return_unread(arg), -ECANCELED);
    CHECK_INT(tasks_reports(), 1);
    CHECK_ERR(tasks_last_error(), -ETIMEDOUT);
    CHECK(strstr(tasks_last_report(), "task_scope.c:") != NULL);
    CHECK_OK(kolk_checkpoint()); /* its request went with it */
    return 0;
}

TEST(leaving_a_block_closes_its_timeout_and_reports_an_unread_failure)
{
    tasks_run(scope_leave, NULL);
    CHECK_INT(scope_return_early(NULL), -KOLK_EMISUSE); /* not in a task */
}

/* ---- a task that ends with a scope open ---- */

static int scope_begun; /* the line */

static int
scope_forget(void *arg)
{
    static kolk_timeout timeout;

    (void)arg;
    scope_begun = __LINE__ + 1;
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_S(1)));
    return 5;
}

/* Does the last report name this line? */
static bool
scope_is_named(int line)
{
    char place[64];

    (void)snprintf(place, sizeof place, "task_scope.c:%d", line);
    return strstr(tasks_last_report(), place) != NULL;
}

static int
scope_forgotten(void *arg)
{
    kolk_task *task;

    (void)arg;
    int spawned = __LINE__ + 1;
    int err = kolk_spawn(scope_forget, NULL, &task);
    if (!CHECK_OK(err)) {
        return 0;
    }
    CHECK_INT(kolk_await(tasks_keep(task)), 5);
    CHECK_INT(tasks_reports(), 1);
    CHECK_ERR(tasks_last_error(), -KOLK_EMISUSE);
    CHECK(scope_is_named(spawned));
    CHECK(scope_is_named(scope_begun));
    CHECK_OK(kolk_sleep(KOLK_S(2))); /* its timer is gone */
    return 0;
}

TEST(a_scope_open_at_the_end_of_its_task_is_reported_with_both_places)
{
    tasks_run(scope_forgotten, NULL);
}

/* ---- shields ---- */

static int
scope_shield(void *arg)
{
    kolk_shield shield;
    kolk_timeout timeout;
    kolk_task *me = kolk_current_task();

    (void)arg;
    CHECK_INT(kolk_task_cancel(me), 1);
    CHECK_OK(kolk_shield_begin(&shield));
    CHECK(!kolk_is_cancelled());
    CHECK_OK(kolk_sleep(KOLK_MS(5)));
    CHECK_INT(kolk_task_cancel(me), 1); /* not seen either */
    CHECK_OK(kolk_checkpoint());
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_MS(10)));
    CHECK_ERR(kolk_sleep(KOLK_S(1)), -ECANCELED); /* but what is inside is */
    CHECK_ERR(kolk_shield_end(&shield), -KOLK_EMISUSE);
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ETIMEDOUT);
    CHECK_OK(kolk_shield_end(&shield));
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(me), 1);
    CHECK_INT(kolk_task_uncancel(me), 0);
    return 0;
}

TEST(a_shield_keeps_requests_away_until_it_ends)
{
    kolk_shield shield;

    CHECK_ERR(kolk_shield_begin(&shield), -KOLK_EMISUSE);
    tasks_run(scope_shield, NULL);
}

static int
scope_shield_wait(void *arg)
{
    KOLK_SHIELD(shield);

    (void)arg;
    int err = kolk_sleep(KOLK_S(1));
    tasks_note(err == 0 ? 's' : 'e');
    CHECK_OK(kolk_shield_end(&shield));
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    return 0;
}

static int
scope_cancel_shielded(void *arg)
{
    kolk_task *task = tasks_spawn(scope_shield_wait, NULL);

    (void)arg;
    tasks_pass(1);
    if (task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_join(task));
    CHECK_INT(kolk_now(NULL), KOLK_S(1));
    return 0;
}

TEST(a_request_does_not_end_a_shielded_wait)
{
    tasks_run(scope_cancel_shielded, NULL);
    CHECK_STR(tasks_notes(), "s");
}

static int
scope_outer_timeout_shielded(void *arg)
{
    kolk_timeout timeout;

    (void)arg;
    CHECK_OK(kolk_timeout_begin(&timeout, KOLK_MS(1)));
    {
        KOLK_SHIELD(shield);
        CHECK_OK(kolk_sleep(KOLK_MS(5)));
        CHECK(kolk_timeout_is_expired(&timeout));
    }
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    CHECK_ERR(kolk_timeout_end(&timeout, -ECANCELED), -ETIMEDOUT);
    return 0;
}

TEST(a_shield_keeps_timeouts_from_outside_away)
{
    tasks_run(scope_outer_timeout_shielded, NULL);
}

/* ---- wait_for ---- */

static int
scope_sleep_task(void *arg)
{
    (void)arg;
    int err = kolk_sleep(KOLK_MS(10));
    return err < 0 ? err : 8;
}

static int
scope_wait_for(void *arg)
{
    (void)arg;
    kolk_task *task = tasks_spawn(scope_sleep_task, NULL);
    CHECK_INT(task != NULL ? kolk_wait_for(task, KOLK_MS(20)) : 8, 8);
    CHECK_INT(kolk_now(NULL), KOLK_MS(10));
    CHECK_INT(task != NULL ? kolk_wait_for(task, 0) : 8, 8); /* done */

    task = tasks_spawn(scope_sleep_task, NULL);
    CHECK_ERR(task != NULL ? kolk_wait_for(task, KOLK_MS(5)) : -ETIMEDOUT,
              -ETIMEDOUT);
    CHECK_INT(kolk_now(NULL), KOLK_MS(15));
    CHECK(task == NULL || kolk_future_is_cancelled(task));

    kolk_future *future = tasks_future();
    CHECK_ERR(future != NULL ? kolk_wait_for(future, -1) : -ETIMEDOUT,
              -ETIMEDOUT);
    CHECK_OK(kolk_checkpoint());
    return 0;
}

TEST(wait_for_gives_the_result_or_cancels)
{
    tasks_run(scope_wait_for, NULL);
}
