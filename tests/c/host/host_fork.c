/* host_fork.c - a process that forks where its loop runs.
 *
 * SPDX-License-Identifier: MIT
 *
 * In the child each call on the parent's loop is an error or does nothing, and
 * the parent notices nothing. What a child finds wrong is its exit status.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_states.h"

static struct {
    pid_t pid; /* of the child; 0 in it */
    int wrong; /* what the child has found */
    int (*checks)(kolk_loop *loop);
    kolk_future *future; /* the parent's, or NULL */
    kolk_task *task;
} child;

/* In a child: counts what does not hold, and says what it was. */
#define EXPECT(condition) fork_expect((condition), __LINE__, #condition)

static bool
fork_expect(bool holds, int line, const char *text)
{
    if (!holds) {
        child.wrong++;
        (void)fprintf(stderr, "in the child, line %d: %s\n", line, text);
    }
    return holds;
}

/* Forks; the child tries every call on `loop`, and goes on. */
static int
fork_and_try(kolk_loop *loop)
{
    (void)fflush(NULL);
    child.pid = fork();
    return child.pid == 0 ? child.checks(loop) : 0;
}

/* In the parent: was the child content? Ends the child. */
static void
fork_wait(void)
{
    int status = -1;

    if (child.pid == 0) {
        _exit(child.wrong != 0);
    }
    CHECK_INT(waitpid(child.pid, &status, 0), child.pid);
    CHECK_INT(status, 0);
}

/* ---- what a child tries ---- */

static void
fork_try_nodes(kolk_loop *loop)
{
    static kolk_call call;
    static kolk_timer timer;
    static kolk_watch watch;
    static kolk_op op;
    static char buffer[8];

    kolk_call_init(&call, NULL, NULL);
    kolk_timer_init(&timer, NULL, NULL);
    kolk_watch_init(&watch, 0, NULL, NULL);
    kolk_op_init(&op, NULL, NULL);
    EXPECT(kolk_call_soon(loop, &call) == -KOLK_EFORK);
    EXPECT(kolk_step_end(loop, &call) == -KOLK_EFORK);
    EXPECT(kolk_turn_end(loop, &call) == -KOLK_EFORK);
    EXPECT(kolk_inbox_push(kolk_loop_inbox(loop), &call) == -KOLK_EFORK);
    EXPECT(kolk_call_at(loop, &timer, 0) == -KOLK_EFORK);
    EXPECT(kolk_call_later(loop, &timer, 0) == -KOLK_EFORK);
    EXPECT(kolk_watch_start(loop, &watch, KOLK_READABLE) == -KOLK_EFORK);
    EXPECT(kolk_op_recv(loop, &op, 0, buffer, 8, 0) == -KOLK_EFORK);
    EXPECT(kolk_op_poll(loop, &op, 0, KOLK_READABLE) == -KOLK_EFORK);
    EXPECT(kolk_op_pread(loop, &op, 0, buffer, 8, 0) == -KOLK_EFORK);
    EXPECT(kolk_op_close(loop, &op, 99) == -KOLK_EFORK);
    EXPECT(kolk_op_work(loop, &op, NULL, NULL, NULL) == -KOLK_EFORK);
    EXPECT(!kolk_call_is_pending(&call) && !kolk_timer_is_pending(&timer));
    EXPECT(!kolk_op_is_pending(&op) && watch.events == 0);
}

static int
fork_task(void *arg)
{
    (void)arg;
    return 0;
}

/* On a future and a task that the parent has made. */
static void
fork_try_futures(void)
{
    static kolk_call call;

    if (child.future != NULL) {
        kolk_call_init(&call, NULL, NULL);
        EXPECT(kolk_future_add_done_callback(child.future, &call)
               == -KOLK_EFORK);
        EXPECT(kolk_future_set_result(child.future, 1, NULL) == -KOLK_EFORK);
        EXPECT(kolk_future_set_result_threadsafe(child.future, 1, NULL)
               == -KOLK_EFORK);
        EXPECT(kolk_future_cancel(child.future) == -KOLK_EFORK);
        EXPECT(kolk_task_cancel(child.task) == -KOLK_EFORK);
        EXPECT(kolk_run_until(kolk_future_loop(child.task), child.task)
               == -KOLK_EFORK);
    }
}

static void
fork_try_runs(kolk_loop *loop)
{
    kolk_future *future;

    EXPECT(kolk_run_forever(loop) == -KOLK_EFORK);
    EXPECT(kolk_run_once(loop) == -KOLK_EFORK);
    EXPECT(kolk_loop_fileno(loop) == -KOLK_EFORK);
    EXPECT(kolk_future_new(loop, &future) == -KOLK_EFORK);
    EXPECT(kolk_spawn_with(loop, NULL, fork_task, NULL, NULL) == -KOLK_EFORK);
    EXPECT(kolk_inbox_run(kolk_loop_inbox(loop), fork_task, NULL)
           == -KOLK_EFORK);
    EXPECT(kolk_current_loop() == NULL);
    EXPECT(kolk_current_task() == NULL);
    kolk_inbox_wake(kolk_loop_inbox(loop));
    kolk_forget(loop, 0);
}

/* A loop of the child's own works as any other. */
static void
fork_try_own(void)
{
    kolk_loop *loop;
    kolk_task *task;

    if (EXPECT(kolk_loop_open(NULL, &loop) == 0)) {
        EXPECT(kolk_spawn_with(loop, NULL, fork_task, NULL, &task) == 0);
        EXPECT(kolk_run_until(loop, task) == 0);
        kolk_future_unref(task);
        EXPECT(kolk_loop_close(loop) == 0);
    }
}

static int
fork_try_all(kolk_loop *loop)
{
    fork_try_nodes(loop);
    fork_try_runs(loop);
    fork_try_futures();
    fork_try_own();
    return 0;
}

/* Looks at what the parent has lent, and takes it back. */
static int
fork_cancel_all(kolk_loop *loop)
{
    (void)loop;
    EXPECT(host_collect() == 0);
    for (int i = 0; i < HOST_STATES; i++) {
        host_cancel(host_states[i]);
        EXPECT(host_states[i]->is_lent == (host_states[i]->kind == HOST_OP));
    }
    return 0;
}

/* ---- where the parent forks ---- */

/* Runs what the parent has lent to its end, and checks that all came. */
static void
fork_parent_goes_on(void)
{
    host_object *pending = host_states[HOST_OP_PENDING];

    fork_wait();
    host_states_release();
    host_cancel(host_states[HOST_READER_FOUND]);
    host_cancel(host_states[HOST_READER_IDLE]);
    host_cancel(pending);
    while (pending->is_lent || host_states[HOST_JOB_QUEUED]->is_lent) {
        CHECK_OK(host_run_once(host_states_loop));
        host_pause();
    }
    for (int i = 0; i < HOST_STATES; i++) {
        bool waits = i == HOST_TIMER_FAR || i == HOST_TIMER_NEVER
                     || i == HOST_READER_IDLE || i == HOST_READER_FOUND;
        CHECK_INT(host_states[i]->runs, !waits);
    }
    CHECK_INT(host_op_of(pending)->result, -ECANCELED);
    host_states_end();
    host_end();
}

static int
fork_in_callback(host_object *self)
{
    host_states_ref();
    (void)fork_and_try(self->loop->loop);
    return child.pid == 0 ? 0 : HOST_EXCEPTION;
}

/* The child's run ends with the callback. */
static void
fork_run_states(int (*checks)(kolk_loop *loop))
{
    host_begin();
    child.checks = checks;
    int err = host_states_run(fork_in_callback);
    if (child.pid == 0) {
        EXPECT(err == -KOLK_EFORK);
        EXPECT(host_states[HOST_READY]->runs == 0);
        EXPECT(kolk_run_once(host_states_loop->loop) == -KOLK_EFORK);
        _exit(child.wrong != 0);
    }
    CHECK_INT(err, HOST_EXCEPTION);
    fork_parent_goes_on();
}

TEST_TIME(a_child_of_a_callback_can_do_nothing_to_the_loop)
{
    fork_run_states(fork_try_all);
}

TEST_TIME(a_child_of_a_callback_takes_back_its_copies_only)
{
    fork_run_states(fork_cancel_all);
}

/* Closing gives the child its copies back, too. */
TEST_TIME(a_child_closes_its_copy_of_the_loop)
{
    host_begin();
    child.checks = fork_try_all;
    int err = host_states_run(fork_in_callback);
    if (child.pid == 0) {
        EXPECT(err == -KOLK_EFORK);
        EXPECT(kolk_loop_close(host_states_loop->loop) == 0);
        for (int i = 0; i < HOST_STATES; i++) {
            EXPECT(i == HOST_STEP_END || host_states[i]->kind == HOST_OP
                   || host_states[i]->drops == 1);
            EXPECT(host_states[i]->drops <= 1);
        }
        _exit(child.wrong != 0);
    }
    CHECK_INT(err, HOST_EXCEPTION);
    fork_parent_goes_on();
}

TEST_TIME(a_child_made_between_two_runs_can_do_nothing_to_the_loop)
{
    host_begin();
    child.checks = fork_try_all;
    host_loop *loop = host_loop_new();
    host_object *reader = host_new(loop, HOST_READER, 'r', host_stop);
    int fds[2];
    test_socketpair(fds);
    CHECK_OK(host_watch(reader, fds[0]));
    (void)fork_and_try(loop->loop);
    if (child.pid == 0) {
        EXPECT(kolk_loop_close(loop->loop) == 0);
        EXPECT(reader->drops == 1);
    }
    fork_wait();
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "r");
    host_cancel(reader);
    host_unref(reader);
    host_loop_unref(loop);
    host_end();
}

static int
fork_in_nested_run(host_object *self)
{
    (void)fork_and_try(self->loop->loop);
    return host_stop(self);
}

static int
fork_nest(host_object *self)
{
    int err = host_run(self->loop);

    EXPECT(child.pid != 0 || err == -KOLK_EFORK);
    if (child.pid != 0) { /* not before: it would stop the nested run */
        host_later_new(self->loop, KOLK_MS(1), host_stop);
    }
    return 0;
}

TEST_TIME(a_child_of_a_nested_run_leaves_all_of_them)
{
    host_begin();
    child.checks = fork_try_all;
    host_loop *loop = host_loop_new();
    host_soon_new(loop, 'a', fork_nest);
    host_soon_new(loop, 'b', fork_in_nested_run);
    int err = host_run(loop);
    EXPECT(child.pid != 0 || err == -KOLK_EFORK);
    fork_wait();
    CHECK_OK(err);
    CHECK_STR(host_notes, "ab");
    host_loop_unref(loop);
    host_end();
}

/* ---- in a task ---- */

/* In a child, a task is nothing but a stack. */
static int
fork_try_waits(kolk_loop *loop)
{
    char byte;

    EXPECT(kolk_checkpoint() == -KOLK_EMISUSE);
    EXPECT(kolk_sleep(1) == -KOLK_EMISUSE);
    EXPECT(kolk_recv(0, &byte, 1, 0) == -KOLK_EMISUSE);
    return fork_try_all(loop);
}

static int
fork_in_task(void *arg)
{
    host_loop *loop = arg;

    (void)fork_and_try(loop->loop);
    return child.pid == 0 ? 0 : kolk_sleep(KOLK_MS(1));
}

TEST_TIME(a_child_of_a_task_can_do_nothing_to_the_loop)
{
    host_begin();
    child.checks = fork_try_waits;
    host_loop *loop = host_loop_new();
    CHECK_OK(
        kolk_spawn_with(loop->loop, NULL, fork_in_task, loop, &child.task));
    CHECK_OK(kolk_future_new(loop->loop, &child.future));
    host_soon_new(loop, 'a', NULL);
    int err = host_run_until(loop, child.task);
    EXPECT(child.pid != 0 || err == -KOLK_EFORK);
    fork_wait();
    CHECK_OK(err);
    CHECK_STR(host_notes, "a");
    kolk_future_unref(child.task);
    kolk_future_unref(child.future);
    host_loop_unref(loop);
    host_end();
}
