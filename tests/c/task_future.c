/* task_future.c - results: set once, from anywhere, told in order.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include <errno.h>
#include <pthread.h>

/* ---- done callbacks ---- */

struct future_call {
    kolk_call call;
    char letter;
};

static void
future_call_note(kolk_call *call)
{
    tasks_note(KOLK_CONTAINER_OF(call, struct future_call, call)->letter);
}

static void
future_call_drop(kolk_call *call)
{
    (void)call;
    tasks_note('d');
}

static int
future_wait_and_note(void *arg)
{
    CHECK_INT(kolk_await(arg), 5);
    tasks_note('t');
    return 0;
}

static int
future_callbacks(void *arg)
{
    static struct future_call calls[4];
    kolk_future *future = tasks_future();

    (void)arg;
    if (future == NULL) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        calls[i].letter = (char)('a' + i);
        kolk_call_init(&calls[i].call, future_call_note, future_call_drop);
    }
    CHECK_OK(kolk_future_add_done_callback(future, &calls[0].call));
    CHECK_OK(kolk_future_add_done_callback(future, &calls[1].call));
    CHECK_ERR(kolk_future_add_done_callback(future, &calls[1].call), -EALREADY);
    (void)tasks_spawn(future_wait_and_note, future);
    tasks_pass(1);
    CHECK_OK(kolk_future_add_done_callback(future, &calls[2].call));
    kolk_call_cancel(kolk_current_loop(), &calls[1].call);
    CHECK_OK(kolk_future_set_result(future, 5, calls));
    CHECK_STR(tasks_notes(), ""); /* nothing runs inside the call */
    tasks_pass(1);
    CHECK_STR(tasks_notes(), "atc");
    CHECK_OK(kolk_future_add_done_callback(future, &calls[3].call));
    CHECK_STR(tasks_notes(), "atc");
    tasks_pass(1);
    CHECK_STR(tasks_notes(), "atcd");
    CHECK_PTR(kolk_future_value(future), calls);
    CHECK_PTR(kolk_future_loop(future), kolk_current_loop());
    return 0;
}

TEST(done_callbacks_go_through_the_ready_queue_in_order)
{
    kolk_future *future;

    CHECK_ERR(kolk_future_new(NULL, &future), -KOLK_EMISUSE);
    tasks_run(future_callbacks, NULL);
}

static int
future_freed(void *arg)
{
    static struct future_call call;
    kolk_future *future;

    (void)arg;
    kolk_call_init(&call.call, future_call_note, future_call_drop);
    if (CHECK_OK(kolk_future_new(NULL, &future))) {
        CHECK_OK(kolk_future_add_done_callback(future, &call.call));
        kolk_future_unref(future);
    }
    CHECK_STR(tasks_notes(), "d");
    kolk_future_unref(NULL);
    return 0;
}

TEST(a_future_that_is_freed_gives_its_callbacks_back)
{
    tasks_run(future_freed, NULL);
}

/* ---- results ---- */

static int
future_results(void *arg)
{
    kolk_future *future = tasks_future();

    (void)arg;
    if (future == NULL) {
        return 0;
    }
    CHECK(!kolk_future_is_done(future));
    CHECK_ERR(kolk_future_result(future), -EAGAIN);
    CHECK_PTR(kolk_future_value(future), NULL);
    CHECK_OK(kolk_future_set_result(future, 3, NULL));
    CHECK_ERR(kolk_future_set_result(future, 4, NULL), -EALREADY);
    CHECK_INT(kolk_future_cancel(future), 0);
    CHECK(kolk_future_is_done(future));
    CHECK(!kolk_future_is_cancelled(future));
    CHECK_INT(kolk_future_result(future), 3);

    kolk_future *other = tasks_future();
    CHECK(other != NULL && kolk_future_cancel(other) == 1);
    CHECK(other != NULL && kolk_future_is_cancelled(other));
    CHECK(other != NULL && kolk_await(other) == -ECANCELED);
    CHECK_ERR(kolk_future_set_result(kolk_current_task(), 1, NULL),
              -KOLK_EMISUSE);
    CHECK_ERR(kolk_task_cancel(future), -KOLK_EMISUSE);
    CHECK_ERR(kolk_await(kolk_current_task()), -KOLK_EMISUSE);
    return 0;
}

TEST(a_future_has_one_result)
{
    tasks_run(future_results, NULL);
}

static int
future_unread(void *arg)
{
    kolk_future *future;

    (void)arg;
    if (CHECK_OK(kolk_future_new(NULL, &future))) {
        CHECK_OK(kolk_future_set_result(future, -EIO, NULL));
        CHECK_OK(kolk_join(future)); /* does not read it */
        kolk_future_unref(future);
    }
    CHECK_INT(tasks_reports(), 1);
    return 0;
}

TEST(an_error_of_a_future_that_nobody_reads_is_reported)
{
    tasks_run(future_unread, NULL);
}

TEST(a_handle_may_be_given_up_after_the_loop)
{
    kolk_loop *loop = test_loop_open();
    kolk_future *future;

    CHECK_OK(kolk_future_new(loop, &future));
    test_loop_close(loop);
    CHECK(!kolk_future_is_done(future));
    CHECK_ERR(kolk_future_set_result(future, 1, NULL), -ESHUTDOWN);
    kolk_future_unref(future);
}

/* ---- from other threads ---- */

struct future_thread {
    kolk_future *future;
    int err;
};

static void *
future_set_there(void *arg)
{
    struct future_thread *self = arg;

    self->err = kolk_future_set_result_threadsafe(self->future, 7, self);
    return NULL;
}

static int
future_from_thread(void *arg)
{
    static struct future_thread there;
    pthread_t thread;

    (void)arg;
    there.future = tasks_future();
    if (there.future == NULL) {
        return 0;
    }
    if (!CHECK_INT(pthread_create(&thread, NULL, future_set_there, &there),
                   0)) {
        return 0;
    }
    CHECK_INT(kolk_await(there.future), 7);
    CHECK_PTR(kolk_future_value(there.future), &there);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(there.err);
    CHECK_ERR(kolk_future_set_result_threadsafe(there.future, 8, NULL),
              -EALREADY);
    CHECK_ERR(kolk_future_set_result_threadsafe(kolk_current_task(), 8, NULL),
              -KOLK_EMISUSE);
    return 0;
}

TEST(a_thread_may_set_a_result)
{
    tasks_run_real(future_from_thread, NULL);
}

TEST(a_thread_that_comes_after_the_loop_is_told)
{
    kolk_loop *loop = test_loop_open();
    struct future_thread there;
    pthread_t thread;

    CHECK_OK(kolk_future_new(loop, &there.future));
    test_loop_close(loop);
    CHECK_INT(pthread_create(&thread, NULL, future_set_there, &there), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_ERR(there.err, -ESHUTDOWN);
    kolk_future_unref(there.future);
}

TEST(a_result_on_its_way_is_let_go_with_the_loop)
{
    kolk_loop *loop = test_loop_open();
    struct future_thread there;

    CHECK_OK(kolk_future_new(loop, &there.future));
    (void)future_set_there(&there);
    kolk_future_unref(there.future); /* the inbox has its own reference */
    CHECK_OK(there.err);
    test_loop_close(loop);
}

static int
future_let_go_too_early(void *arg)
{
    static struct future_call call;
    kolk_future *future;

    (void)arg;
    call.letter = 'a';
    kolk_call_init(&call.call, future_call_note, future_call_drop);
    if (!CHECK_OK(kolk_future_new(NULL, &future))) {
        return 0;
    }
    CHECK_OK(kolk_future_add_done_callback(future, &call.call));
    CHECK_OK(kolk_future_set_result_threadsafe(future, 1, NULL));
    kolk_future_unref(future); /* nobody else has one */
    CHECK_STR(tasks_notes(), "");
    tasks_pass(3);
    return 0;
}

TEST(a_result_on_its_way_keeps_its_future)
{
    tasks_run(future_let_go_too_early, NULL);
    CHECK_STR(tasks_notes(), "a");
}

static int
future_set_twice(void *arg)
{
    kolk_future *future = tasks_future();

    (void)arg;
    if (future == NULL) {
        return 0;
    }
    CHECK_OK(kolk_future_set_result_threadsafe(future, 1, NULL));
    CHECK_OK(kolk_future_set_result(future, 2, NULL)); /* was first */
    tasks_pass(3);
    CHECK_INT(kolk_future_result(future), 2);
    return 0;
}

TEST(the_loops_own_result_may_come_before_a_threads)
{
    tasks_run(future_set_twice, NULL);
}

/* ---- join, await and wait_for in every order ---- */

static kolk_future *raced;

static void
future_race_begin(struct race *race)
{
    (void)race;
    raced = tasks_future();
}

static int
future_race_join(struct race *race, int who)
{
    (void)race;
    (void)who;
    return kolk_join(raced);
}

static void
future_race_set(struct race *race)
{
    (void)race;
    if (!kolk_future_is_done(raced)) {
        CHECK_OK(kolk_future_set_result(raced, 7, NULL));
    }
}

static int
future_race_run_join(void *arg)
{
    static const struct race_kind kind = {
        .begin = future_race_begin,
        .wait = future_race_join,
        .wake = future_race_set,
        .end = future_race_set,
    };
    static struct race join_race = {.kind = &kind};

    (void)arg;
    race_run(&join_race);
    return 0;
}

TEST(join_is_right_in_every_order_and_leaves_the_future_alone)
{
    tasks_run(future_race_run_join, NULL);
}

static int
future_race_await(struct race *race, int who)
{
    (void)race;
    return who == RACE_FIRST ? kolk_await(raced) : kolk_join(raced);
}

static void
future_race_check_result(struct race *race)
{
    CHECK_INT(kolk_future_result(raced), race->has_won ? 7 : -ECANCELED);
    CHECK_INT(race->inner >= 0 ? race->inner : 7, 7);
}

static int
future_race_run_await(void *arg)
{
    static const struct race_kind kind = {
        .begin = future_race_begin,
        .wait = future_race_await,
        .wake = future_race_set,
        .end = future_race_set,
        .check = future_race_check_result,
    };
    static struct race await_race = {.kind = &kind};

    (void)arg;
    race_run(&await_race);
    return 0;
}

TEST(await_is_right_in_every_order_and_cancels_the_future)
{
    tasks_run(future_race_run_await, NULL);
}

static int
future_race_wait_for(struct race *race, int who)
{
    (void)race;
    return who == RACE_FIRST ? kolk_wait_for(raced, KOLK_NEVER)
                             : kolk_join(raced);
}

static int
future_race_run_wait_for(void *arg)
{
    static const struct race_kind kind = {
        .has_scope = true,
        .begin = future_race_begin,
        .wait = future_race_wait_for,
        .wake = future_race_set,
        .end = future_race_set,
        .check = future_race_check_result,
    };
    static struct race wait_for_race = {.kind = &kind};

    (void)arg;
    race_run(&wait_for_race);
    return 0;
}

TEST(wait_for_swallows_no_cancellation_and_loses_no_result)
{
    tasks_run(future_race_run_wait_for, NULL);
}

/* The same for a task that has acquired something when it is asked to stop. */
static kolk_lock lock;

static int
future_acquire(void *arg)
{
    (void)arg;
    return kolk_lock_acquire(&lock);
}

static int
future_wait_for_lock(void *arg)
{
    kolk_task *task = tasks_spawn(future_acquire, NULL);

    (void)arg;
    if (task == NULL) {
        return 0;
    }
    int err = kolk_wait_for(task, KOLK_MS(10));
    tasks_note(err == 0 ? 'g' : err == -ETIMEDOUT ? 't' : 'e');
    CHECK_INT(kolk_future_result(task), err == 0 ? 0 : -ECANCELED);
    return 0;
}

static int
future_hold_lock(void *arg)
{
    kolk_time until = *(const kolk_time *)arg;

    CHECK_OK(kolk_lock_acquire(&lock));
    kolk_task *waiter = tasks_spawn(future_wait_for_lock, NULL);
    CHECK_OK(kolk_sleep_until(until));
    CHECK_OK(kolk_lock_release(&lock));
    return waiter != NULL ? kolk_await(waiter) : 0;
}

TEST(wait_for_leaks_nothing_that_was_acquired)
{
    static const kolk_time times[] = {KOLK_MS(10) - 1, KOLK_MS(10),
                                      KOLK_MS(10) + 1};

    for (int i = 0; i < 3; i++) {
        lock = (kolk_lock)KOLK_LOCK_INIT;
        tasks_run(future_hold_lock, (void *)&times[i]);
        bool was_granted = tasks_notes()[0] == 'g';
        CHECK(was_granted || tasks_notes()[0] == 't');
        CHECK_INT(kolk_lock_is_locked(&lock), was_granted);
    }
}
