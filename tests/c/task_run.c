/* task_run.c - whole programs, and coroutines run for other threads.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <kolk/inbox.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

/* ---- kolk_run() ---- */

static int
run_left_behind(void *arg)
{
    int err = kolk_sleep(KOLK_S(1000));

    *(int *)arg = err;
    return err;
}

static int
run_main(void *arg)
{
    CHECK_ERR(kolk_run(run_main, NULL), -KOLK_EMISUSE);
    if (!CHECK_OK(kolk_spawn(run_left_behind, arg, NULL))) {
        return 0;
    }
    CHECK_OK(kolk_checkpoint());
    return 17;
}

TEST(a_program_ends_with_its_main_task_and_cancels_the_rest)
{
    static int left;

    left = 0;
    CHECK_INT(kolk_run(run_main, &left), 17);
    CHECK_ERR(left, -ECANCELED);
    CHECK_PTR(kolk_current_loop(), NULL);
}

static int
run_fail(void *arg)
{
    (void)arg;
    return -EIO;
}

TEST(a_program_returns_its_main_tasks_error)
{
    CHECK_ERR(kolk_run(run_fail, NULL), -EIO);
}

static int
run_from_task(void *arg)
{
    kolk_loop *loop = kolk_current_loop();

    (void)arg;
    CHECK_ERR(kolk_run_forever(loop), -KOLK_EMISUSE);
    CHECK_ERR(kolk_run_once(loop), -KOLK_EMISUSE);
    CHECK_ERR(kolk_loop_close(loop), -KOLK_EMISUSE);
    return 0;
}

TEST(a_task_cannot_run_or_close_a_loop)
{
    CHECK_OK(kolk_run(run_from_task, NULL));
}

/* ---- kolk_inbox_run() ---- */

struct run_there {
    kolk_inbox *inbox;
    kolk_task_fn *fn;
    pthread_t thread;
    sem_t begun;
    int number;
    int result;
};

static void *
run_thread(void *arg)
{
    struct run_there *there = arg;

    there->result = kolk_inbox_run(there->inbox, there->fn, there);
    kolk_inbox_unref(there->inbox);
    return NULL;
}

/* Starts a thread that runs `fn` on the current loop. */
static bool
run_start(struct run_there *there, kolk_task_fn *fn, int number)
{
    *there = (struct run_there){.fn = fn, .number = number, .result = -EAGAIN};
    (void)sem_init(&there->begun, 0, 0);
    there->inbox = kolk_inbox_ref(kolk_loop_inbox(kolk_current_loop()));
    int err = pthread_create(&there->thread, NULL, run_thread, there);
    if (!CHECK_INT(err, 0)) {
        kolk_inbox_unref(there->inbox);
        return false;
    }
    return true;
}

enum { RUN_THREADS = 4 };

static struct run_there run_there[RUN_THREADS];
static int run_started, run_ended;

static int
run_number(void *arg)
{
    struct run_there *there = arg;

    CHECK(kolk_current_task() != NULL);
    tasks_pass(2);
    run_ended++;
    return there->number;
}

static int
run_for_threads(void *arg)
{
    kolk_inbox *inbox = kolk_loop_inbox(kolk_current_loop());

    (void)arg;
    CHECK_ERR(kolk_inbox_run(inbox, run_number, NULL), -KOLK_EMISUSE);
    while (run_started < RUN_THREADS
           && run_start(&run_there[run_started], run_number, run_started)) {
        run_started++;
    }
    /* Where calls are made to fail, not every thread gets its coroutine. */
    for (int i = 0; run_ended < run_started && i < 5000; i++) {
        if (kolk_sleep(KOLK_MS(1)) < 0 || (test_is_hard() && i > 20)) {
            break;
        }
    }
    tasks_pass(3); /* the coroutines' ends are told */
    return 0;
}

TEST(other_threads_may_run_coroutines_and_get_their_results)
{
    run_started = run_ended = 0;
    tasks_run_real(run_for_threads, NULL);
    for (int i = 0; i < run_started; i++) {
        CHECK_INT(pthread_join(run_there[i].thread, NULL), 0);
        CHECK_INT(run_there[i].result, i);
    }
}

/* ---- a loop that closes meanwhile ---- */

static int
run_for_ever(void *arg)
{
    struct run_there *there = arg;

    (void)sem_post(&there->begun);
    return kolk_sleep(KOLK_S(1000));
}

static int
run_slowly(void *arg)
{
    int err = kolk_sleep(KOLK_S(1000));
    KOLK_SHIELD(shield);

    (void)arg;
    CHECK_OK(kolk_sleep(KOLK_MS(1)));
    return err;
}

static int
run_one_thread(void *arg)
{
    struct run_there *there = arg;

    CHECK_OK(kolk_spawn(run_slowly, NULL, NULL)); /* closing takes its time */
    if (!run_start(there, run_for_ever, 0)) {
        there->inbox = NULL;
        return 0;
    }
    for (int i = 0; sem_trywait(&there->begun) != 0 && i < 5000; i++) {
        if (kolk_sleep(KOLK_MS(1)) < 0 || (test_is_hard() && i > 20)) {
            break;
        }
    }
    return 0;
}

TEST(a_blocked_thread_is_told_when_the_loop_closes)
{
    static struct run_there there;

    tasks_run_real(run_one_thread, &there);
    if (there.inbox != NULL) {
        CHECK_INT(pthread_join(there.thread, NULL), 0);
        CHECK_ERR(there.result, -ESHUTDOWN);
    }
}

static int
run_never(void *arg)
{
    (void)arg;
    CHECK(false);
    return 0;
}

TEST(a_thread_that_waits_for_a_loop_that_never_runs_is_told)
{
    static struct run_there there;
    kolk_loop *loop = test_loop_open();

    there = (struct run_there){.fn = run_never,
                               .inbox = kolk_inbox_ref(kolk_loop_inbox(loop))};
    CHECK_INT(pthread_create(&there.thread, NULL, run_thread, &there), 0);
    test_loop_close(loop); /* before or after the push: both are told */
    CHECK_INT(pthread_join(there.thread, NULL), 0);
    CHECK_ERR(there.result, -ESHUTDOWN);
}

TEST(a_thread_that_comes_after_the_loop_is_told_at_once)
{
    kolk_loop *loop = test_loop_open();
    kolk_inbox *inbox = kolk_inbox_ref(kolk_loop_inbox(loop));

    test_loop_close(loop);
    CHECK_ERR(kolk_inbox_run(inbox, run_never, NULL), -ESHUTDOWN);
    kolk_inbox_unref(inbox);
}
