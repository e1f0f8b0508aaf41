/* task_wait.c - waiting for some of several futures, and one after another.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>

enum { WAIT_MAX = 3 };

static kolk_future *futures[WAIT_MAX];

static bool
wait_begin(void)
{
    for (int i = 0; i < WAIT_MAX; i++) {
        futures[i] = tasks_future();
        if (futures[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void
wait_set(int index, int result)
{
    CHECK_OK(kolk_future_set_result(futures[index], result, NULL));
}

/* Sets the results of the futures 0, 1, 2 at 10, 20, 30 ms; 1 fails. */
static int
wait_set_slowly(void *arg)
{
    (void)arg;
    for (int i = 0; i < WAIT_MAX; i++) {
        CHECK_OK(kolk_sleep(KOLK_MS(10)));
        wait_set(i, i == 1 ? -EIO : i);
    }
    return 0;
}

/* ---- kolk_wait() ---- */

struct wait_case {
    kolk_wait_mode mode;
    kolk_time deadline;
    int done;
    kolk_time when;
};

static int
wait_for_some(void *arg)
{
    const struct wait_case *wanted = arg;

    if (!wait_begin() || tasks_spawn(wait_set_slowly, NULL) == NULL) {
        return 0;
    }
    CHECK_INT(kolk_wait(futures, WAIT_MAX, wanted->mode, wanted->deadline),
              wanted->done);
    CHECK_INT(kolk_now(NULL), wanted->when);
    CHECK_OK(kolk_sleep(KOLK_MS(50)));
    CHECK_INT(kolk_wait(futures, WAIT_MAX, wanted->mode, 0), WAIT_MAX);
    CHECK_ERR(kolk_future_result(futures[1]), -EIO);
    return 0;
}

TEST(wait_ends_when_its_mode_holds_or_time_is_up)
{
    static const struct wait_case cases[] = {
        {KOLK_FIRST_COMPLETED, KOLK_NEVER, 1, KOLK_MS(10)},
        {KOLK_FIRST_ERROR, KOLK_NEVER, 2, KOLK_MS(20)},
        {KOLK_ALL_COMPLETED, KOLK_NEVER, 3, KOLK_MS(30)},
        {KOLK_FIRST_COMPLETED, KOLK_MS(5), 0, KOLK_MS(5)},
        {KOLK_FIRST_ERROR, KOLK_MS(15), 1, KOLK_MS(15)},
        {KOLK_ALL_COMPLETED, KOLK_MS(25), 2, KOLK_MS(25)},
        {KOLK_ALL_COMPLETED, 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tasks_run(wait_for_some, (void *)&cases[i]);
        CHECK_INT(tasks_reports(), 0);
    }
}

static int
wait_leaves_errors(void *arg)
{
    kolk_future *future;

    (void)arg;
    CHECK_INT(kolk_wait(NULL, 0, KOLK_ALL_COMPLETED, KOLK_NEVER), 0);
    if (CHECK_OK(kolk_future_new(NULL, &future))) {
        CHECK_OK(kolk_future_set_result(future, -EIO, NULL));
        CHECK_INT(kolk_wait(&future, 1, KOLK_FIRST_ERROR, KOLK_NEVER), 1);
        kolk_future_unref(future);
    }
    return 0;
}

TEST(wait_reads_no_results)
{
    tasks_run(wait_leaves_errors, NULL);
    CHECK_INT(tasks_reports(), 1);
}

static int
wait_refused(void *arg)
{
    (void)arg;
    if (!wait_begin()) {
        return 0;
    }
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(kolk_wait(futures, 2, KOLK_ALL_COMPLETED, KOLK_NEVER),
              -ECANCELED);
    CHECK(!kolk_future_is_done(futures[0]));
    wait_set(0, 0);
    CHECK_INT(kolk_wait(futures, 2, KOLK_FIRST_COMPLETED, KOLK_NEVER), 1);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    return 0;
}

TEST(wait_under_a_pending_request_does_not_wait)
{
    tasks_run(wait_refused, NULL);
}

static void
wait_race_begin(struct race *race)
{
    (void)race;
    (void)wait_begin();
}

static int
wait_race_wait(struct race *race, int who)
{
    (void)race;
    (void)who;
    return kolk_wait(futures, WAIT_MAX, KOLK_FIRST_COMPLETED, KOLK_NEVER);
}

static void
wait_race_wake(struct race *race)
{
    (void)race;
    wait_set(1, 5);
}

static void
wait_race_end(struct race *race)
{
    if (!race->is_woken) {
        wait_race_wake(race);
    }
    CHECK(!kolk_future_is_done(futures[0])); /* left alone */
}

static int
wait_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = wait_race_begin,
        .wait = wait_race_wait,
        .wake = wait_race_wake,
        .end = wait_race_end,
    };
    static struct race wait_race = {.kind = &kind};

    (void)arg;
    race_run(&wait_race);
    return 0;
}

TEST(wait_is_right_in_every_order)
{
    tasks_run(wait_race_run, NULL);
}

/* ---- as completed ---- */

static int
completed_in_order(void *arg)
{
    static const int order[] = {2, 0, 1};
    kolk_as_completed *iteration;
    size_t index = 99;

    (void)arg;
    if (!wait_begin()
        || !CHECK_OK(kolk_as_completed_new(futures, WAIT_MAX, &iteration))) {
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        wait_set(order[i], i);
        CHECK_INT(kolk_as_completed_next(iteration, &index), 1);
        CHECK_INT(index, order[i]);
    }
    CHECK_INT(kolk_as_completed_next(iteration, &index), 0);
    kolk_as_completed_free(iteration);

    /* All of them done from the start, one of them twice. */
    kolk_future *again[] = {futures[1], futures[0], futures[1]};
    if (!CHECK_OK(kolk_as_completed_new(again, 3, &iteration))) {
        return 0;
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(kolk_as_completed_next(iteration, &index), 1);
        CHECK_INT(index, i);
    }
    CHECK_INT(kolk_as_completed_next(iteration, &index), 0);
    kolk_as_completed_free(iteration);
    kolk_as_completed_free(NULL);
    return 0;
}

TEST(as_completed_goes_by_time)
{
    tasks_run(completed_in_order, NULL);
}

static kolk_as_completed *shared;

static int
completed_next_and_note(void *arg)
{
    size_t index = 9;
    int more = kolk_as_completed_next(shared, &index);

    (void)arg;
    tasks_note(more == 1 ? (char)('0' + index) : more == 0 ? 'n' : 'e');
    return 0;
}

static int
completed_shared(void *arg)
{
    (void)arg;
    if (!wait_begin()
        || !CHECK_OK(kolk_as_completed_new(futures, 2, &shared))) {
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        (void)tasks_spawn(completed_next_and_note, NULL);
    }
    tasks_pass(2);
    wait_set(1, 0);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "1");
    wait_set(0, 0);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "10n"); /* nothing is left for the third */
    kolk_as_completed_free(shared);
    return 0;
}

TEST(several_tasks_may_share_an_iteration)
{
    tasks_run(completed_shared, NULL);
}

static int
completed_left_early(void *arg)
{
    (void)arg;
    if (!wait_begin()
        || !CHECK_OK(kolk_as_completed_new(futures, WAIT_MAX, &shared))) {
        return 0;
    }
    wait_set(0, 0);
    kolk_task *waiter = tasks_spawn(completed_next_and_note, NULL);
    kolk_task *other = tasks_spawn(completed_next_and_note, NULL);
    tasks_pass(3);
    CHECK_STR(tasks_notes(), "0");
    kolk_as_completed_free(shared);
    CHECK(!kolk_future_is_done(futures[1]));
    wait_set(1, 0); /* nobody is told */
    CHECK_OK(waiter != NULL ? kolk_await(waiter) : 0);
    CHECK_OK(other != NULL ? kolk_await(other) : 0);
    CHECK_STR(tasks_notes(), "0n");
    return 0;
}

TEST(an_iteration_may_be_left_early)
{
    tasks_run(completed_left_early, NULL);
}

static int
completed_freed_future(void *arg)
{
    kolk_as_completed *iteration;
    kolk_future *future;
    size_t index = 9;

    (void)arg;
    if (!CHECK_OK(kolk_future_new(NULL, &future))) {
        return 0;
    }
    if (CHECK_OK(kolk_as_completed_new(&future, 1, &iteration))) {
        kolk_future_unref(future); /* nobody can set it any more */
        CHECK_INT(kolk_as_completed_next(iteration, &index), 1);
        CHECK_INT(index, 0);
        kolk_as_completed_free(iteration);
    } else {
        kolk_future_unref(future);
    }
    return 0;
}

TEST(an_iteration_does_not_wait_for_a_future_that_is_gone)
{
    tasks_run(completed_freed_future, NULL);
}

static void
completed_race_begin(struct race *race)
{
    (void)race;
    shared = NULL;
    if (wait_begin()) {
        CHECK_OK(kolk_as_completed_new(futures, 2, &shared));
    }
}

static int
completed_race_wait(struct race *race, int who)
{
    size_t index;

    (void)race;
    (void)who;
    int more = kolk_as_completed_next(shared, &index);
    return more == 1 ? (int)index : more == 0 ? -ENOENT : more;
}

/* Its callback comes a turn later, and is what wakes. */
static void
completed_race_before(struct race *race)
{
    if (race->has_won) {
        wait_set(1, 0);
        tasks_pass(1);
    }
}

static void
completed_race_wake(struct race *race)
{
    if (!race->has_won) {
        wait_set(1, 0);
    }
}

static void
completed_race_end(struct race *race)
{
    (void)race;
    wait_set(0, 0);
}

static void
completed_race_check(struct race *race)
{
    CHECK_INT(race->second, !race->has_won && race->is_woken ? 1 : 0);
    kolk_as_completed_free(shared);
    shared = NULL;
}

static int
completed_race_run(void *arg)
{
    static const struct race_kind kind = {
        .begin = completed_race_begin,
        .before = completed_race_before,
        .wait = completed_race_wait,
        .wake = completed_race_wake,
        .end = completed_race_end,
        .check = completed_race_check,
    };
    static struct race completed_race = {.kind = &kind};

    (void)arg;
    race_run(&completed_race);
    return 0;
}

TEST(a_cancelled_iteration_loses_no_future)
{
    tasks_run(completed_race_run, NULL);
    kolk_as_completed_free(shared); /* where a race was broken off */
}
