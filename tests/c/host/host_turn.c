/* host_turn.c - exceptions, ends of steps and turns, and nested runs.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "host.h"
#include "reports.h"

/* ---- exceptions ---- */

TEST(an_exception_ends_the_run_and_the_rest_waits_in_order)
{
    host_begin();
    host_loop *loop = host_loop_new();

    host_soon_new(loop, 'a', NULL);
    host_soon_new(loop, 'b', host_raise);
    host_soon_new(loop, 'c', NULL);
    host_soon_new(loop, 'd', host_stop);
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_STR(host_notes, "ab");
    host_soon_new(loop, 'e', NULL);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "abcde");
    host_loop_unref(loop);
    host_end();
}

TEST(each_callback_may_raise)
{
    host_begin();
    host_loop *loop = host_loop_new();

    for (int i = 0; i < 26; i++) {
        host_soon_new(loop, (char)('a' + i), host_raise);
    }
    for (size_t ran = 1; ran <= 26; ran++) {
        CHECK_INT(host_run(loop), HOST_EXCEPTION);
        CHECK_INT(strlen(host_notes), ran);
    }
    CHECK_STR(host_notes, "abcdefghijklmnopqrstuvwxyz");
    host_loop_unref(loop);
    host_end();
}

static int
turn_raise_once(host_object *self)
{
    return self->runs == 1 ? HOST_EXCEPTION : 0;
}

/* What ends the turn comes after what is left of it. */
TEST(an_exception_in_a_step_puts_the_end_of_the_turn_off)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *end = host_new(loop, HOST_HANDLE, 'e', host_stop);

    host_soon_new(loop, 'a', host_raise);
    host_soon_new(loop, 'b', NULL);
    CHECK_OK(host_turn_end(end));
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_STR(host_notes, "a");
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "abe");
    host_unref(end);
    host_loop_unref(loop);
    host_end();
}

TEST(an_exception_at_the_end_of_a_turn_leaves_the_others_in_order)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *ends[3];

    for (int i = 0; i < 3; i++) {
        host_fn *fn = i == 0 ? turn_raise_once : i == 2 ? host_stop : NULL;
        ends[i] = host_new(loop, HOST_HANDLE, (char)('a' + i), fn);
        CHECK_OK(host_turn_end(ends[i]));
        host_unref(ends[i]);
    }
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_STR(host_notes, "a");
    CHECK_INT(host_collect(), 0);
    host_soon_new(loop, 'n', NULL);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "anbc");
    host_loop_unref(loop);
    host_end();
}

static int
turn_end_again(host_object *self)
{
    return self->runs < 3 ? host_turn_end(self) : 0;
}

TEST(what_the_end_of_a_turn_puts_off_waits_for_the_end_of_the_next)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *end = host_new(loop, HOST_HANDLE, 'e', turn_end_again);

    CHECK_OK(host_turn_end(end));
    for (int turn = 1; turn <= 3; turn++) {
        host_soon_new(loop, 'a', NULL);
        CHECK_OK(host_run_once(loop));
        CHECK_INT(end->runs, turn);
    }
    CHECK_STR(host_notes, "aeaeae");
    host_unref(end);
    host_loop_unref(loop);
    host_end();
}

/* ---- exceptions that do not come from a callback ---- */

static host_loop *turn_loop;

static void
turn_raise_in_handler(void)
{
    turn_loop->raised = HOST_EXCEPTION;
    kolk_loop_break(turn_loop->loop);
}

/* A handler of errors, a hook and a clock are code of the language too. */
TEST(an_exception_of_the_error_handler_comes_before_the_next_callback)
{
    host_begin();
    host_loop *loop = host_loop_new();

    turn_loop = loop;
    reports_watch(loop->loop);
    reports.then = turn_raise_in_handler;
    host_later_new(loop, 0, host_stop);
    host_later_new(loop, 0, NULL);
    host_object *reader = host_new(loop, HOST_READER, 'r', NULL);
    int fds[2];
    test_pipe(fds);
    CHECK_OK(host_watch(reader, fds[0]));
    host_table_fail_wait(ENOMEM);
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_INT(reports.count, 1);
    host_soon_new(loop, 'a', NULL);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "a");
    host_cancel(reader);
    host_unref(reader);
    host_loop_unref(loop);
    host_end();
}

/* ---- ends of steps ---- */

static int
turn_end_step(host_object *self)
{
    host_object *end = host_new(self->loop, HOST_HANDLE, 'e', NULL);

    CHECK_OK(host_step_end(end));
    host_unref(end);
    return 0;
}

static int
turn_end_step_and_raise(host_object *self)
{
    (void)turn_end_step(self);
    return HOST_EXCEPTION;
}

TEST(the_end_of_a_step_comes_before_the_next_one)
{
    host_begin();
    host_loop *loop = host_loop_new();

    host_soon_new(loop, 'a', turn_end_step);
    host_soon_new(loop, 'b', turn_end_step);
    host_later_new(loop, 0, turn_end_step);
    host_later_new(loop, 0, host_stop);
    CHECK_OK(host_run(loop));
    CHECK(strcmp(host_notes, "aebee") == 0);
    host_loop_unref(loop);
    host_end();
}

TEST(a_step_that_raises_has_its_end)
{
    host_begin();
    host_loop *loop = host_loop_new();

    host_soon_new(loop, 'a', turn_end_step_and_raise);
    host_soon_new(loop, 'b', NULL);
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_STR(host_notes, "ae");
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "aeb");
    host_loop_unref(loop);
    host_end();
}

/* ---- tasks beside the host ---- */

static int
turn_task(void *arg)
{
    host_loop *loop = arg;
    host_object *end = host_new(loop, HOST_HANDLE, 'e', NULL);

    for (int i = 0; i < 2; i++) {
        host_note('k');
        CHECK_OK(host_step_end(end));
        CHECK_OK(kolk_checkpoint());
    }
    host_unref(end);
    host_note('x');
    loop->raised = HOST_EXCEPTION;
    kolk_loop_break(loop->loop);
    return 0;
}

/* Their steps end, and break runs off, as callbacks do. */
TEST(the_step_of_a_task_has_an_end_too)
{
    kolk_task *task;
    host_begin();
    host_loop *loop = host_loop_new();
    CHECK_OK(kolk_spawn_with(loop->loop, NULL, turn_task, loop, &task));
    host_object *other = host_new(loop, HOST_HANDLE, 'b', NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(host_soon(other));
        CHECK_INT(host_run_once(loop), i == 2 ? HOST_EXCEPTION : 1);
    }
    CHECK_STR(host_notes, "kebkebx");
    CHECK_INT(host_collect(), 0);
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "kebkebxb");
    CHECK_INT(kolk_future_result(task), 0);
    kolk_future_unref(task);
    host_unref(other);
    host_loop_unref(loop);
    host_end();
}

/* ---- nested runs ---- */

static int
turn_run_nested(host_object *self)
{
    host_note('(');
    int err = host_run(self->loop);
    host_note(')');
    return err;
}

TEST(an_exception_in_a_nested_run_goes_through_both)
{
    host_begin();
    host_loop *loop = host_loop_new();

    host_soon_new(loop, 'a', turn_run_nested);
    host_soon_new(loop, 'b', NULL);
    host_soon_new(loop, 'c', host_raise);
    host_soon_new(loop, 'd', NULL);
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_STR(host_notes, "a(bc)");
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "a(bc)d");
    host_loop_unref(loop);
    host_end();
}

static int
turn_end_step_and_nest(host_object *self)
{
    (void)turn_end_step(self);
    return turn_run_nested(self);
}

/* What a step has put off, bytes to be sent perhaps, is not slept over. */
TEST(a_nested_run_begins_with_what_the_step_has_put_off)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *timer = host_new(loop, HOST_TIMER, 't', host_stop);

    host_soon_new(loop, 'a', turn_end_step_and_nest);
    CHECK_OK(host_call_at(timer, kolk_now(loop->loop) + KOLK_US(100)));
    host_unref(timer);
    CHECK_OK(host_run_once(loop));
    CHECK_STR(host_notes, "a(et)");
    host_loop_unref(loop);
    host_end();
}

TEST(a_nested_run_at_the_end_of_a_turn_runs_what_stands_behind)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *ends[3];

    for (int i = 0; i < 3; i++) {
        host_fn *fn = i == 0 ? turn_run_nested : i == 1 ? host_stop : NULL;
        ends[i] = host_new(loop, HOST_HANDLE, (char)('a' + i), fn);
        CHECK_OK(host_turn_end(ends[i]));
        host_unref(ends[i]);
    }
    CHECK_OK(host_run_once(loop));
    CHECK_STR(host_notes, "a(bc)");
    host_loop_unref(loop);
    host_end();
}
