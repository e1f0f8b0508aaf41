/* task_lock.c - locks and semaphores: fair, and right in every order.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>

/* ---- lock ---- */

static kolk_lock lock;

static int
lock_hold_and_note(void *arg)
{
    const char *letter = arg;

    if (CHECK_OK(kolk_lock_acquire(&lock))) {
        tasks_note(*letter);
        tasks_pass(1);
        CHECK_OK(kolk_lock_release(&lock));
    }
    return 0;
}

static int
lock_queue_up(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_lock_acquire(&lock));
    kolk_task *last = NULL;
    for (const char *letter = "abcd"; *letter != '\0'; letter++) {
        last = tasks_spawn(lock_hold_and_note, (void *)letter);
    }
    tasks_pass(2);
    CHECK_STR(tasks_notes(), "");
    CHECK_OK(kolk_lock_release(&lock));
    return last != NULL ? kolk_await(last) : 0;
}

TEST(a_lock_goes_to_who_waits_longest)
{
    lock = (kolk_lock)KOLK_LOCK_INIT;
    tasks_run(lock_queue_up, NULL);
    CHECK_STR(tasks_notes(), "abcd");
    CHECK(!kolk_lock_is_locked(&lock));
}

static int
lock_try_to_overtake(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_lock_acquire(&lock));
    kolk_task *waiter = tasks_spawn(lock_hold_and_note, "w");
    tasks_pass(2);
    CHECK_OK(kolk_lock_release(&lock));
    /* Nobody runs between the two calls, and yet it is the other one's. */
    CHECK(kolk_lock_is_locked(&lock));
    CHECK_ERR(kolk_lock_try_acquire(&lock), -EBUSY);
    CHECK_OK(kolk_lock_acquire(&lock));
    tasks_note('m');
    CHECK_OK(kolk_lock_release(&lock));
    return waiter != NULL ? kolk_await(waiter) : 0;
}

TEST(nobody_overtakes_a_task_that_waits_for_a_lock)
{
    lock = (kolk_lock)KOLK_LOCK_INIT;
    tasks_run(lock_try_to_overtake, NULL);
    CHECK_STR(tasks_notes(), "wm");
}

static int
lock_release_a_foreign_one(void *arg)
{
    (void)arg;
    CHECK_ERR(kolk_lock_release(&lock), -KOLK_EMISUSE);
    return 0;
}

static int
lock_misuse(void *arg)
{
    (void)arg;
    CHECK_ERR(kolk_lock_release(&lock), -KOLK_EMISUSE);
    CHECK_OK(kolk_lock_acquire(&lock));
    CHECK_ERR(kolk_lock_acquire(&lock), -KOLK_EMISUSE);
    CHECK_ERR(kolk_lock_try_acquire(&lock), -EBUSY);
    kolk_task *other = tasks_spawn(lock_release_a_foreign_one, NULL);
    CHECK_OK(other != NULL ? kolk_await(other) : 0);
    CHECK(kolk_lock_is_locked(&lock));
    CHECK_OK(kolk_lock_release(&lock));
    CHECK_OK(kolk_lock_try_acquire(&lock));
    CHECK_OK(kolk_lock_release(&lock));
    return 0;
}

TEST(a_lock_refuses_all_but_its_owner)
{
    lock = (kolk_lock)KOLK_LOCK_INIT;
    CHECK_ERR(kolk_lock_acquire(&lock), -KOLK_EMISUSE);
    CHECK_ERR(kolk_lock_try_acquire(&lock), -KOLK_EMISUSE);
    CHECK_ERR(kolk_lock_release(&lock), -KOLK_EMISUSE);
    tasks_run(lock_misuse, NULL);
}

static int
lock_while_cancelled(void *arg)
{
    (void)arg;
    CHECK_OK(kolk_task_cancel(kolk_current_task()));
    CHECK_OK(kolk_lock_acquire(&lock)); /* need not wait */
    CHECK_OK(kolk_lock_release(&lock));
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(a_pending_request_does_not_keep_a_free_lock_away)
{
    lock = (kolk_lock)KOLK_LOCK_INIT;
    tasks_run(lock_while_cancelled, NULL);
}

/* ---- a lock in every order ---- */

static void
lock_race_begin(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_lock_acquire(&lock));
}

static int
lock_race_wait(struct race *race, int who)
{
    int err = kolk_lock_acquire(&lock);

    (void)race;
    (void)who;
    if (err == 0) {
        CHECK_OK(kolk_lock_release(&lock)); /* so it was the owner */
    }
    return err;
}

static void
lock_race_wake(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_lock_release(&lock));
}

static void
lock_race_end(struct race *race)
{
    if (!race->is_woken) {
        CHECK_OK(kolk_lock_release(&lock));
    }
}

static void
lock_race_check(struct race *race)
{
    (void)race;
    CHECK(!kolk_lock_is_locked(&lock));
}

static int
lock_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = lock_race_begin,
        .wait = lock_race_wait,
        .wake = lock_race_wake,
        .end = lock_race_end,
        .check = lock_race_check,
    };
    static struct race lock_race = {.kind = &kind};

    (void)arg;
    race_run(&lock_race);
    return 0;
}

TEST(a_lock_is_not_stuck_when_its_next_owner_is_cancelled)
{
    lock = (kolk_lock)KOLK_LOCK_INIT;
    tasks_run(lock_race_run, NULL);
}

/* ---- semaphore ---- */

static kolk_semaphore semaphore;

static int
semaphore_take_and_note(void *arg)
{
    const char *letter = arg;

    if (CHECK_OK(kolk_semaphore_acquire(&semaphore))) {
        tasks_note(*letter);
        tasks_pass(2);
        CHECK_OK(kolk_semaphore_release(&semaphore));
    }
    return 0;
}

static int
semaphore_queue_up(void *arg)
{
    (void)arg;
    kolk_task *last = NULL;
    for (const char *letter = "abcdef"; *letter != '\0'; letter++) {
        last = tasks_spawn(semaphore_take_and_note, (void *)letter);
    }
    tasks_pass(1);
    CHECK_STR(tasks_notes(), "ab");
    CHECK_INT(kolk_semaphore_value(&semaphore), 0);
    return last != NULL ? kolk_await(last) : 0;
}

TEST(a_semaphore_lets_n_in_and_the_rest_in_order)
{
    semaphore = (kolk_semaphore)KOLK_SEMAPHORE_INIT(2);
    tasks_run(semaphore_queue_up, NULL);
    CHECK_STR(tasks_notes(), "abcdef");
    CHECK_INT(kolk_semaphore_value(&semaphore), 2);
}

static int
semaphore_try_to_overtake(void *arg)
{
    (void)arg;
    kolk_task *waiter = tasks_spawn(semaphore_take_and_note, "w");
    tasks_pass(2);
    CHECK_OK(kolk_semaphore_release(&semaphore));
    CHECK_INT(kolk_semaphore_value(&semaphore), 0);
    CHECK_ERR(kolk_semaphore_try_acquire(&semaphore), -EBUSY);
    CHECK_OK(kolk_semaphore_acquire(&semaphore));
    tasks_note('m');
    return waiter != NULL ? kolk_await(waiter) : 0;
}

TEST(a_released_semaphore_is_the_waiters_at_once)
{
    semaphore = (kolk_semaphore)KOLK_SEMAPHORE_INIT(0);
    tasks_run(semaphore_try_to_overtake, NULL);
    CHECK_STR(tasks_notes(), "wm");
}

TEST(a_bounded_semaphore_refuses_to_be_released_too_often)
{
    semaphore = (kolk_semaphore)KOLK_BOUNDED_SEMAPHORE_INIT(2);
    CHECK_ERR(kolk_semaphore_release(&semaphore), -KOLK_EMISUSE);
    CHECK_OK(kolk_semaphore_try_acquire(&semaphore));
    CHECK_OK(kolk_semaphore_release(&semaphore));
    CHECK_ERR(kolk_semaphore_release(&semaphore), -KOLK_EMISUSE);
    CHECK_INT(kolk_semaphore_value(&semaphore), 2);
}

TEST(a_semaphore_of_zero_bytes_is_one_without_a_bound)
{
    semaphore = (kolk_semaphore){0};
    CHECK_ERR(kolk_semaphore_acquire(&semaphore), -KOLK_EMISUSE);
    CHECK_ERR(kolk_semaphore_try_acquire(&semaphore), -EBUSY);
    CHECK_OK(kolk_semaphore_release(&semaphore));
    CHECK_OK(kolk_semaphore_try_acquire(&semaphore));
}

/* ---- a semaphore in every order ---- */

static void
semaphore_race_begin(struct race *race)
{
    (void)race;
    semaphore = (kolk_semaphore)KOLK_BOUNDED_SEMAPHORE_INIT(1);
    CHECK_OK(kolk_semaphore_acquire(&semaphore));
}

static int
semaphore_race_wait(struct race *race, int who)
{
    int err = kolk_semaphore_acquire(&semaphore);

    (void)race;
    (void)who;
    if (err == 0) {
        CHECK_OK(kolk_semaphore_release(&semaphore));
    }
    return err;
}

static void
semaphore_race_wake(struct race *race)
{
    (void)race;
    CHECK_OK(kolk_semaphore_release(&semaphore));
}

static void
semaphore_race_end(struct race *race)
{
    if (!race->is_woken) {
        semaphore_race_wake(race);
    }
}

static void
semaphore_race_check(struct race *race)
{
    (void)race;
    CHECK_INT(kolk_semaphore_value(&semaphore), 1);
}

static int
semaphore_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = semaphore_race_begin,
        .wait = semaphore_race_wait,
        .wake = semaphore_race_wake,
        .end = semaphore_race_end,
        .check = semaphore_race_check,
    };
    static struct race semaphore_race = {.kind = &kind};

    (void)arg;
    race_run(&semaphore_race);
    return 0;
}

TEST(a_semaphore_is_not_stuck_when_its_next_taker_is_cancelled)
{
    tasks_run(semaphore_race_run, NULL);
}
