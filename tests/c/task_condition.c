/* task_condition.c - conditions: no notification is lost, the lock is held.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>

static kolk_lock lock;
static kolk_condition condition;

static void
condition_reset(void)
{
    lock = (kolk_lock)KOLK_LOCK_INIT;
    condition = (kolk_condition)KOLK_CONDITION_INIT;
}

static int
condition_wait_and_note(void *arg)
{
    const char *letter = arg;

    CHECK_OK(kolk_lock_acquire(&lock));
    if (CHECK_OK(kolk_condition_wait(&condition, &lock))) {
        tasks_note(*letter);
    }
    CHECK_OK(kolk_lock_release(&lock));
    return 0;
}

static int
condition_notify_some(void *arg)
{
    kolk_task *last = NULL;

    (void)arg;
    for (const char *letter = "abcde"; *letter != '\0'; letter++) {
        last = tasks_spawn(condition_wait_and_note, (void *)letter);
    }
    tasks_pass(3);
    CHECK(!kolk_lock_is_locked(&lock)); /* the wait has let it go */
    CHECK_OK(kolk_lock_acquire(&lock));
    kolk_condition_notify(&condition, 2);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), ""); /* they have to take the lock first */
    CHECK_OK(kolk_lock_release(&lock));
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "ab");
    kolk_condition_notify_all(&condition); /* also without the lock */
    return last != NULL ? kolk_await(last) : 0;
}

TEST(a_condition_wakes_who_waits_longest)
{
    condition_reset();
    tasks_run(condition_notify_some, NULL);
    CHECK_STR(tasks_notes(), "abcde");
    CHECK(!kolk_lock_is_locked(&lock));
}

static int
condition_misuse(void *arg)
{
    (void)arg;
    CHECK_ERR(kolk_condition_wait(&condition, &lock), -KOLK_EMISUSE);
    kolk_condition_notify(&condition, 3); /* nobody is there */
    CHECK_OK(kolk_lock_acquire(&lock));
    CHECK_OK(kolk_task_cancel(kolk_current_task()));
    CHECK_ERR(kolk_condition_wait(&condition, &lock), -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    CHECK_OK(kolk_lock_release(&lock));
    return 0;
}

TEST(a_condition_asks_for_the_lock_and_keeps_it_when_refused)
{
    condition_reset();
    CHECK_ERR(kolk_condition_wait(&condition, &lock), -KOLK_EMISUSE);
    tasks_run(condition_misuse, NULL);
}

/* ---- taking the lock again ---- */

static int
condition_wait_cancelled(void *arg)
{
    int *err = arg;

    CHECK_OK(kolk_lock_acquire(&lock));
    *err = kolk_condition_wait(&condition, &lock);
    tasks_note('r');
    CHECK_OK(kolk_lock_release(&lock)); /* holds it, whatever came */
    return 0;
}

static int
condition_hold_the_lock(void *arg)
{
    kolk_task *waiter = tasks_spawn(condition_wait_cancelled, arg);

    if (waiter == NULL) {
        return 0;
    }
    tasks_pass(2);
    CHECK_OK(kolk_lock_acquire(&lock));
    CHECK_OK(kolk_task_cancel(waiter));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(kolk_task_cancel(waiter)); /* no hurry helps */
        tasks_pass(2);
    }
    CHECK_STR(tasks_notes(), "");
    kolk_condition_notify_all(&condition); /* it does not wait for this */
    CHECK_OK(kolk_lock_release(&lock));
    CHECK_OK(kolk_await(waiter));
    return 0;
}

TEST(retaking_a_conditions_lock_is_uninterruptible)
{
    static int err;

    condition_reset();
    tasks_run(condition_hold_the_lock, &err);
    CHECK_ERR(err, -ECANCELED);
    CHECK_STR(tasks_notes(), "r");
}

static int
condition_notify_then_cancel(void *arg)
{
    kolk_task *waiter = tasks_spawn(condition_wait_cancelled, arg);

    if (waiter == NULL) {
        return 0;
    }
    tasks_pass(2);
    CHECK_OK(kolk_lock_acquire(&lock));
    kolk_condition_notify(&condition, 1);
    tasks_pass(2); /* turns later it still waits, now for the lock */
    CHECK_OK(kolk_task_cancel(waiter));
    CHECK_OK(kolk_lock_release(&lock));
    CHECK_OK(kolk_await(waiter));
    return 0;
}

TEST(a_notified_task_that_waits_for_the_lock_is_not_cancelled)
{
    static int err;

    condition_reset();
    err = -EAGAIN;
    tasks_run(condition_notify_then_cancel, &err);
    CHECK_OK(err);
}

/* ---- in every order ---- */

static void
condition_race_begin(struct race *race)
{
    (void)race;
    condition_reset();
}

static int
condition_race_wait(struct race *race, int who)
{
    CHECK_OK(kolk_lock_acquire(&lock));
    int err = kolk_condition_wait(&condition, &lock);

    CHECK_OK(kolk_lock_release(&lock)); /* so it has the lock again */
    if (who == RACE_SECOND && race->is_woken && !race->has_won) {
        tasks_note('s'); /* the notification went to the second */
    }
    return err;
}

static void
condition_race_wake(struct race *race)
{
    (void)race;
    kolk_condition_notify(&condition, 1);
}

/* The notification was the first one's only if it came first. */
static void
condition_race_end(struct race *race)
{
    tasks_pass(2);
    bool second_is_done = race->tasks[RACE_SECOND] != NULL
                          && kolk_future_is_done(race->tasks[RACE_SECOND]);

    CHECK_INT(second_is_done, race->is_woken && !race->has_won);
    kolk_condition_notify_all(&condition);
}

static int
condition_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = condition_race_begin,
        .wait = condition_race_wait,
        .wake = condition_race_wake,
        .end = condition_race_end,
    };
    static struct race condition_race = {.kind = &kind};

    (void)arg;
    race_run(&condition_race);
    return 0;
}

TEST(a_condition_loses_no_notification_to_a_cancellation)
{
    tasks_run(condition_race_run, NULL);
}

/* The same with the lock held by the task that notifies, for a while. */
static void
condition_race_before(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_lock_acquire(&lock));
}

static void
condition_race_after(struct race *race)
{
    (void)race;
    tasks_pass(3);
    CHECK_OK(kolk_lock_release(&lock));
}

static int
condition_race_run_held(void *arg)
{
    static const struct race_kind kind = {
        .begin = condition_race_begin,
        .wait = condition_race_wait,
        .before = condition_race_before,
        .wake = condition_race_wake,
        .after = condition_race_after,
        .end = condition_race_end,
    };
    static struct race condition_race = {.kind = &kind};

    (void)arg;
    race_run(&condition_race);
    return 0;
}

TEST(a_condition_loses_no_notification_given_under_the_lock)
{
    tasks_run(condition_race_run_held, NULL);
}
