/* host_thread.c - loops that move between threads, and other threads' part.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <unistd.h>

#include "host.h"

/* ---- a loop on the move ---- */

/* Long enough for the first thread to have ended before. */
#define MOVE_DELAY KOLK_MS(300)

static struct {
    host_loop *loop;
    int result;
    int fds[4][2]; /* the task's, the operation's, the reader's, to stop by */
    int slept, received;
} move;

static void *
move_run(void *arg)
{
    (void)arg;
    host_lock_take();
    move.result = host_run(move.loop);
    host_lock_give();
    return NULL;
}

/* Runs the loop in a thread of its own, which then ends. */
static int
move_run_in_thread(void)
{
    pthread_t thread;

    move.result = 1;
    CHECK_INT(pthread_create(&thread, NULL, move_run, NULL), 0);
    host_lock_give();
    CHECK_INT(pthread_join(thread, NULL), 0);
    host_lock_take();
    return move.result;
}

static int
move_receiver(void *arg)
{
    char byte;

    (void)arg;
    move.received = kolk_recv(move.fds[0][0], &byte, 1, 0);
    return 0;
}

static int
move_sleeper(void *arg)
{
    kolk_time begin = kolk_now(NULL);

    (void)arg;
    int err = kolk_sleep(MOVE_DELAY);
    move.slept = kolk_now(NULL) - begin >= MOVE_DELAY;
    return err;
}

static int
move_read(host_object *self)
{
    host_cancel(self);
    return 0;
}

/* Lends a timer, a reader and an operation, which nobody else holds. */
static void
move_lend(void)
{
    host_object *timer = host_new(move.loop, HOST_TIMER, 't', NULL);
    host_object *reader = host_new(move.loop, HOST_READER, 'r', move_read);
    host_object *op = host_new(move.loop, HOST_OP, 'o', NULL);

    CHECK_OK(host_call_at(timer, kolk_now(move.loop->loop) + MOVE_DELAY));
    CHECK_OK(host_watch(reader, move.fds[2][0]));
    CHECK_OK(host_recv(op, move.fds[1][0]));
    host_unref(timer);
    host_unref(reader);
    host_unref(op);
}

/* Made here, suspended in a second thread, continued in a third. */
TEST_TIME(what_waits_goes_with_its_loop_from_thread_to_thread)
{
    kolk_task *tasks[2];
    host_begin();
    move.loop = host_loop_new();
    for (int i = 0; i < 3; i++) {
        test_socketpair(move.fds[i]);
    }
    CHECK_OK(
        kolk_spawn_with(move.loop->loop, NULL, move_receiver, NULL, &tasks[0]));
    CHECK_OK(
        kolk_spawn_with(move.loop->loop, NULL, move_sleeper, NULL, &tasks[1]));
    move_lend();
    host_later_new(move.loop, KOLK_MS(2), host_stop);
    CHECK_OK(move_run_in_thread());
    CHECK_STR(host_notes, "");
    CHECK_INT(host_collect(), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(write(move.fds[i][1], "x", 1), 1);
    }
    host_later_new(move.loop, MOVE_DELAY + KOLK_MS(40), host_stop);
    CHECK_OK(move_run_in_thread());
    CHECK_INT(move.received, 1);
    CHECK(move.slept);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(host_run_until(move.loop, tasks[i]), 0); /* and here again */
        kolk_future_unref(tasks[i]);
    }
    CHECK(host_notes[0] != '\0' && host_notes[1] != '\0');
    CHECK_INT(host_count(), 1); /* all three have run, and are gone */
    host_loop_unref(move.loop);
    host_end();
}

static int
move_counter(void *arg)
{
    int *count = arg;

    while (kolk_checkpoint() == 0) {
        (*count)++;
    }
    return 0;
}

TEST(a_task_goes_on_wherever_its_loop_runs)
{
    static int count;
    kolk_task *task;
    host_begin();
    size_t moves = test_count(100);
    move.loop = host_loop_new();
    CHECK_OK(
        kolk_spawn_with(move.loop->loop, NULL, move_counter, &count, &task));
    for (size_t i = 0; i < moves; i++) {
        int before = count;
        host_soon_new(move.loop, '\0', host_collects);
        host_soon_new(move.loop, '\0', host_stop);
        CHECK_OK(i % 2 != 0 ? host_run(move.loop) : move_run_in_thread());
        CHECK(i == 0 || count > before);
    }
    host_loop_close(move.loop);
    kolk_future_unref(task);
    host_loop_unref(move.loop);
    host_end();
}

/* ---- another thread that has the lock ---- */

static struct {
    host_loop *loop;
    host_object *handle;
    int results[6];
} intruder;

static void *
intruder_run(void *arg)
{
    kolk_loop *loop = intruder.loop->loop;
    kolk_inbox *inbox = kolk_loop_inbox(loop);

    (void)arg;
    host_lock_take();
    while (host_calls.pairs == 0) {
        host_pause();
    }
    intruder.results[0] = host_soon(intruder.handle);
    intruder.results[1] = host_turn_end(intruder.handle);
    intruder.results[2] = kolk_run_once(loop);
    intruder.results[3] = kolk_loop_close(loop);
    intruder.results[4] = host_collect();
    intruder.results[5] = host_push(inbox, intruder.handle);
    host_lock_give();
    return NULL;
}

static void
intruder_join(pthread_t thread)
{
    host_lock_give();
    CHECK_INT(pthread_join(thread, NULL), 0);
    host_lock_take();
}

TEST(a_sleeping_loop_is_changed_through_its_inbox_only)
{
    pthread_t thread;
    host_begin();
    host_loop *loop = host_loop_new();
    intruder.loop = loop;
    intruder.handle = host_new(loop, HOST_HANDLE, 'i', host_stop);
    CHECK_INT(pthread_create(&thread, NULL, intruder_run, NULL), 0);
    CHECK_OK(host_run(loop));
    intruder_join(thread);
    for (int i = 0; i < 4; i++) {
        CHECK_ERR(intruder.results[i], -KOLK_EMISUSE);
    }
    CHECK_INT(intruder.results[4], 0);
    CHECK_OK(intruder.results[5]);
    CHECK_STR(host_notes, "i");
    host_unref(intruder.handle);
    host_loop_unref(loop);
    host_end();
}

static int
visitor_task(void *arg)
{
    CHECK(host_lock_is_mine());
    host_note('k');
    return *(int *)arg;
}

/* Waits without the lock, as for anything that blocks. */
static void *
visitor_run(void *arg)
{
    kolk_inbox *inbox = kolk_loop_inbox(intruder.loop->loop);
    int seven = 7;

    (void)arg;
    intruder.results[0] = kolk_inbox_run(inbox, visitor_task, &seven);
    host_lock_take();
    intruder.results[1] = host_push(inbox, intruder.handle);
    host_lock_give();
    return NULL;
}

TEST(another_thread_waits_for_a_coroutine_of_the_loop)
{
    pthread_t thread;
    host_begin();
    intruder.loop = host_loop_new();
    intruder.handle = host_new(intruder.loop, HOST_HANDLE, 'i', host_stop);
    CHECK_INT(pthread_create(&thread, NULL, visitor_run, NULL), 0);
    CHECK_OK(host_run(intruder.loop));
    intruder_join(thread);
    CHECK_INT(intruder.results[0], 7);
    CHECK_OK(intruder.results[1]);
    CHECK_STR(host_notes, "ki");
    host_unref(intruder.handle);
    host_loop_unref(intruder.loop);
    host_end();
}

/* A job that ends when the other thread has had its turn. */
static int
intruder_job(void *arg)
{
    host_lock_take();
    host_note('j');
    while (intruder.results[5] == 1) {
        host_pause();
    }
    host_lock_give();
    (void)arg;
    return 0;
}

static void *
intruder_run_closing(void *arg)
{
    kolk_loop *loop = intruder.loop->loop;

    (void)arg;
    host_lock_take();
    while (host_calls.pairs == 0) {
        host_pause();
    }
    intruder.results[0] = kolk_run_once(loop);
    intruder.results[1] = kolk_run_forever(loop);
    intruder.results[2] = kolk_loop_close(loop);
    intruder.results[3] = host_collect();
    intruder.results[4] = host_soon(intruder.handle);
    intruder.results[5] = 0;
    host_lock_give();
    return NULL;
}

TEST(a_loop_that_waits_for_its_jobs_to_close_runs_no_more)
{
    pthread_t thread;
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *op = host_new(loop, HOST_OP, 'x', NULL);
    intruder.loop = loop;
    intruder.results[5] = 1;
    intruder.handle = host_new(loop, HOST_HANDLE, 'x', NULL);
    CHECK_OK(host_work(op, intruder_job, NULL));
    while (host_notes[0] == '\0') { /* it has begun */
        host_pause();
    }
    CHECK_INT(pthread_create(&thread, NULL, intruder_run_closing, NULL), 0);
    host_loop_close(loop);
    intruder_join(thread);
    CHECK_ERR(intruder.results[0], -ESHUTDOWN);
    CHECK_ERR(intruder.results[1], -ESHUTDOWN);
    CHECK_ERR(intruder.results[2], -KOLK_EMISUSE);
    CHECK_INT(intruder.results[3], 0);
    CHECK_INT(intruder.handle->drops, 1);
    CHECK_INT(op->drops, 1);
    CHECK_STR(host_notes, "j");
    host_unref(op);
    host_unref(intruder.handle);
    host_loop_unref(loop);
    host_end();
}
