/* task_gather.c - gathering futures: results, first error, cancellation.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>

enum { GATHER_MAX = 3 };

static kolk_future *futures[GATHER_MAX];

/* Makes new futures; false without memory. */
static bool
gather_begin(void)
{
    for (int i = 0; i < GATHER_MAX; i++) {
        futures[i] = tasks_future();
        if (futures[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void
gather_set(int index, int result)
{
    CHECK_OK(kolk_future_set_result(futures[index], result, NULL));
}

/* ---- results ---- */

static int
gather_sleep_and_return(void *arg)
{
    int number = *(const int *)arg;
    int err = kolk_sleep(KOLK_MS(100 - number));

    return err < 0 ? err : number;
}

static int
gather_three(void *arg)
{
    static const int numbers[] = {10, 20, 30};
    kolk_task *tasks[3];
    int results[3];

    (void)arg;
    for (int i = 0; i < 3; i++) {
        tasks[i] = tasks_spawn(gather_sleep_and_return, (void *)&numbers[i]);
        if (tasks[i] == NULL) {
            return 0;
        }
    }
    CHECK_OK(kolk_gather(tasks, 3, results));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(results[i], numbers[i]);
    }
    CHECK_INT(kolk_now(NULL), KOLK_MS(90));
    CHECK_OK(kolk_gather(tasks, 3, NULL)); /* all done: does not wait */
    CHECK_OK(kolk_gather(NULL, 0, NULL));
    CHECK_OK(kolk_gather_all(NULL, 0, NULL));
    return 0;
}

TEST(gather_gives_results_in_argument_order)
{
    CHECK_ERR(kolk_gather(NULL, 0, NULL), -KOLK_EMISUSE);
    tasks_run(gather_three, NULL);
}

static int
gather_same_twice(void *arg)
{
    int results[3];

    (void)arg;
    if (!gather_begin()) {
        return 0;
    }
    kolk_future *twice[] = {futures[0], futures[1], futures[0]};
    gather_set(1, 5);
    CHECK_OK(kolk_future_set_result_threadsafe(futures[0], 7, NULL));
    CHECK_OK(kolk_gather(twice, 3, results));
    CHECK_INT(results[0], 7);
    CHECK_INT(results[1], 5);
    CHECK_INT(results[2], 7);
    return 0;
}

TEST(the_same_future_may_be_gathered_twice)
{
    tasks_run(gather_same_twice, NULL);
}

static int
gather_itself(void *arg)
{
    kolk_task *me = kolk_current_task();

    (void)arg;
    CHECK_ERR(kolk_gather(&me, 1, NULL), -KOLK_EMISUSE);
    CHECK_ERR(kolk_wait(&me, 1, KOLK_ALL_COMPLETED, KOLK_NEVER), -KOLK_EMISUSE);
    return 0;
}

TEST(a_task_cannot_gather_itself)
{
    tasks_run(gather_itself, NULL);
}

/* ---- errors ---- */

static int
gather_and_note(void *arg)
{
    static int results[GATHER_MAX];
    int (*gather)(kolk_future *const[], size_t, int[]) =
        arg != NULL ? kolk_gather_all : kolk_gather;
    int err = gather(futures, GATHER_MAX, results);

    tasks_note(err == 0 ? '0' : err == -EIO ? 'i' : '?');
    for (int i = 0; i < GATHER_MAX; i++) {
        tasks_note(results[i] == -EAGAIN      ? '-'
                   : results[i] == -EIO       ? 'i'
                   : results[i] == -EPIPE     ? 'p'
                   : results[i] == -ECANCELED ? 'c'
                                              : (char)('0' + results[i]));
    }
    return err;
}

static int
gather_first_error(void *arg)
{
    (void)arg;
    if (!gather_begin()) {
        return 0;
    }
    kolk_task *task = tasks_spawn(gather_and_note, NULL);
    tasks_pass(1);
    gather_set(0, 1);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "");
    gather_set(2, -EIO);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "i1-i");
    CHECK(!kolk_future_is_done(futures[1])); /* it goes on */
    gather_set(1, -EPIPE);                   /* and nobody is surprised */
    tasks_pass(2);
    CHECK_ERR(kolk_future_result(futures[1]), -EPIPE);
    CHECK_ERR(task != NULL ? kolk_await(task) : -EIO, -EIO);
    return 0;
}

TEST(gather_returns_at_the_first_error_and_the_siblings_go_on)
{
    tasks_run(gather_first_error, NULL);
    CHECK_INT(tasks_reports(), 0); /* what it has returned counts as read */
}

static int
gather_two_errors(void *arg)
{
    (void)arg;
    if (!gather_begin()) {
        return 0;
    }
    kolk_task *task = tasks_spawn(gather_and_note, NULL);
    tasks_pass(1);
    gather_set(2, -EIO);
    gather_set(0, -EPIPE);
    gather_set(1, 2);
    CHECK_ERR(task != NULL ? kolk_await(task) : -EIO, -EIO);
    CHECK_STR(tasks_notes(), "ip2i"); /* the first by time, not by place */
    return 0;
}

TEST(the_first_error_is_the_one_that_came_first)
{
    tasks_run(gather_two_errors, NULL);
}

static int
gather_collect_all(void *arg)
{
    (void)arg;
    if (!gather_begin()) {
        return 0;
    }
    kolk_task *task = tasks_spawn(gather_and_note, "all");
    tasks_pass(1);
    gather_set(2, -EIO);
    gather_set(0, 1);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "");
    CHECK_INT(kolk_future_cancel(futures[1]), 1);
    CHECK_OK(task != NULL ? kolk_await(task) : 0);
    CHECK_STR(tasks_notes(), "01ci");
    return 0;
}

TEST(gather_all_collects_errors_as_results)
{
    tasks_run(gather_collect_all, NULL);
    CHECK_INT(tasks_reports(), 0);
}

static int
gather_unread(void *arg)
{
    kolk_future *future;

    (void)arg;
    if (CHECK_OK(kolk_future_new(NULL, &future))) {
        CHECK_OK(kolk_future_set_result(future, -EIO, NULL));
        CHECK_OK(kolk_gather_all(&future, 1, NULL));
        kolk_future_unref(future);
    }
    return 0;
}

TEST(an_error_that_gather_had_no_place_for_was_not_read)
{
    tasks_run(gather_unread, NULL);
    CHECK_INT(tasks_reports(), 1);
    CHECK_ERR(tasks_last_error(), -EIO);
}

/* ---- cancelling ---- */

static int
gather_be_stubborn(void *arg)
{
    (void)arg;
    int err = kolk_sleep(KOLK_S(100));
    kolk_shield shield;

    CHECK_OK(kolk_shield_begin(&shield));
    CHECK_OK(kolk_sleep(KOLK_S(1))); /* cleaning up takes its time */
    CHECK_OK(kolk_shield_end(&shield));
    tasks_note('s');
    return err == -ECANCELED ? 6 : err;
}

static int
gather_cancel_children(void *arg)
{
    (void)arg;
    if (!gather_begin()) {
        return 0;
    }
    futures[1] = tasks_spawn(gather_be_stubborn, NULL);
    gather_set(2, 2);
    kolk_task *task = tasks_spawn(gather_and_note, arg);
    tasks_pass(2);
    if (futures[1] == NULL || task == NULL) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK(kolk_future_is_cancelled(futures[0]));
    CHECK_OK(kolk_sleep(KOLK_MS(500)));
    CHECK_INT(kolk_task_cancel(task), 1); /* does not hurry it */
    CHECK(!kolk_future_is_done(task));
    CHECK_ERR(kolk_await(task), -ECANCELED);
    CHECK_INT(kolk_now(NULL), KOLK_S(1));
    return 0;
}

TEST(cancelling_a_gather_cancels_the_children_and_waits_for_them)
{
    tasks_run(gather_cancel_children, NULL);
    CHECK_STR(tasks_notes(), "s?c62");
}

TEST(cancelling_a_gather_all_cancels_the_children_and_waits_for_them)
{
    tasks_run(gather_cancel_children, "all");
    CHECK_STR(tasks_notes(), "s?c62");
}

static int
gather_cancelled_before(void *arg)
{
    int results[GATHER_MAX];

    (void)arg;
    if (!gather_begin()) {
        return 0;
    }
    gather_set(2, 2);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_OK(kolk_gather(futures + 2, 1, results)); /* need not wait */
    CHECK_ERR(kolk_gather(futures, GATHER_MAX, results), -ECANCELED);
    CHECK_ERR(results[0], -ECANCELED);
    CHECK_ERR(results[1], -ECANCELED);
    CHECK_INT(results[2], 2);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(a_gather_under_a_pending_request_cancels_at_once)
{
    tasks_run(gather_cancelled_before, NULL);
}

/* ---- in every order ---- */

static void
gather_race_begin(struct race *race)
{
    (void)race;
    if (gather_begin()) {
        gather_set(0, 1);
        gather_set(1, 1);
    }
}

static int
gather_race_wait(struct race *race, int who)
{
    (void)race;
    return who == RACE_FIRST ? kolk_gather(futures, GATHER_MAX, NULL)
                             : kolk_join(futures[2]);
}

/* Too late if the first has been cancelled: its futures are, too. */
static void
gather_race_wake(struct race *race)
{
    int err = kolk_future_set_result(futures[2], 1, NULL);

    CHECK_INT(err, race->has_won ? 0 : -EALREADY);
}

static void
gather_race_end(struct race *race)
{
    (void)race;
}

static int
gather_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = gather_race_begin,
        .wait = gather_race_wait,
        .wake = gather_race_wake,
        .end = gather_race_end,
    };
    static struct race gather_race = {.kind = &kind};

    (void)arg;
    race_run(&gather_race);
    return 0;
}

TEST(a_gather_that_is_complete_is_not_cancelled)
{
    tasks_run(gather_race_run, NULL);
}
