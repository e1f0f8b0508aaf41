/* loop_turn.c - the order of a turn, and how runs end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "notes.h"

#include <string.h>

/* ---- order ---- */

TEST(calls_run_first_in_first_out)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, c;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_soon(&c, loop, 'c');
    CHECK_STR(notes, "");
    test_settle(loop);
    CHECK_STR(notes, "abc");
}

TEST(a_call_queued_by_a_callback_waits_for_the_next_turn)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, next;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_init(&next, loop, 'n');
    a.then_soon = &next;
    CHECK_INT(kolk_run_once(loop), 1);
    CHECK_STR(notes, "ab");
    CHECK_INT(kolk_run_once(loop), 0);
    CHECK_STR(notes, "abn");
}

TEST(a_second_push_of_a_queued_call_is_refused)
{
    kolk_loop *loop = test_loop_open();
    static struct note a;

    note_soon(&a, loop, 'a');
    CHECK_ERR(kolk_call_soon(loop, &a.call), -EALREADY);
    CHECK_ERR(kolk_step_end(loop, &a.call), -EALREADY);
    CHECK_ERR(kolk_turn_end(loop, &a.call), -EALREADY);
    test_settle(loop);
    CHECK_STR(notes, "a");
    CHECK_OK(kolk_call_soon(loop, &a.call));
    test_settle(loop);
    CHECK_STR(notes, "aa");
}

TEST(a_cancelled_call_does_not_run_and_can_be_queued_again)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    kolk_call_cancel(loop, &a.call);
    CHECK(!kolk_call_is_pending(&a.call));
    CHECK(kolk_call_is_pending(&b.call));
    CHECK_OK(kolk_call_soon(loop, &a.call));
    test_settle(loop);
    CHECK_STR(notes, "ba");
}

TEST(a_call_cancelled_by_an_earlier_one_of_its_turn_does_not_run)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, c;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_soon(&c, loop, 'c');
    a.then_cancel = &b;
    test_settle(loop);
    CHECK_STR(notes, "ac");
}

TEST(what_ends_a_step_runs_before_the_next_one)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, end;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_init(&end, loop, 'e');
    a.then_step_end = &end;
    test_settle(loop);
    CHECK_STR(notes, "aeb");
}

TEST(what_ends_a_turn_runs_after_its_last_step_and_before_the_next_turn)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, end, next;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_init(&end, loop, 'e');
    note_init(&next, loop, 'n');
    a.then_turn_end = &end;
    end.then_soon = &next;
    CHECK_INT(kolk_run_once(loop), 1);
    CHECK_STR(notes, "abe");
    test_settle(loop);
    CHECK_STR(notes, "aben");
}

/* ---- fairness ---- */

/* Queues itself again and again, until it is told to stop. */
static struct {
    kolk_call call;
    kolk_loop *loop;
    size_t turns, most;
} spinner;

static void
spinner_run(kolk_call *call)
{
    if (++spinner.turns < spinner.most
        && CHECK_OK(kolk_call_soon(spinner.loop, call))) {
        return;
    }
    kolk_loop_stop(spinner.loop);
}

static void
spinner_start(kolk_loop *loop, size_t most)
{
    spinner.loop = loop;
    spinner.most = most;
    kolk_call_init(&spinner.call, spinner_run, NULL);
    CHECK_OK(kolk_call_soon(loop, &spinner.call));
}

static void
spinner_stop(kolk_watch *watch)
{
    CHECK_INT(watch->ready, KOLK_READABLE);
    spinner.most = 0;
}

TEST(calls_that_queue_themselves_do_not_starve_a_descriptor)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_watch watch;
    int fds[2];

    test_pipe(fds);
    kolk_watch_init(&watch, fds[0], spinner_stop, NULL);
    CHECK_OK(kolk_watch_start(loop, &watch, KOLK_READABLE));
    CHECK_INT(write(fds[1], "x", 1), 1);
    spinner_start(loop, 100000000);
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(spinner.most, 0);
    kolk_watch_stop(loop, &watch);
}

static void
spinner_stop_by_timer(kolk_timer *timer)
{
    (void)timer;
    spinner.most = 0;
}

TEST_TIME(calls_that_queue_themselves_do_not_starve_a_timer)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_timer timer;

    kolk_timer_init(&timer, spinner_stop_by_timer, NULL);
    CHECK_OK(kolk_call_later(loop, &timer, KOLK_US(100)));
    spinner_start(loop, 2000000000);
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(spinner.most, 0);
}

static int
yielder(void *arg)
{
    (void)arg;
    while (spinner.most > 0 && kolk_checkpoint() == 0) {
        spinner.turns++;
    }
    kolk_loop_stop(kolk_current_loop());
    return 0;
}

/* Tasks hand over to each other without going back to the loop. */
TEST(tasks_that_only_yield_do_not_starve_a_descriptor)
{
    kolk_loop *loop = test_real_loop_open();
    static kolk_watch watch;
    int fds[2];

    test_pipe(fds);
    spinner.most = 1;
    kolk_watch_init(&watch, fds[0], spinner_stop, NULL);
    CHECK_OK(kolk_watch_start(loop, &watch, KOLK_READABLE));
    CHECK_OK(kolk_spawn_with(loop, NULL, yielder, NULL, NULL));
    CHECK_OK(kolk_spawn_with(loop, NULL, yielder, NULL, NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_OK(kolk_run_forever(loop));
    CHECK_INT(spinner.most, 0);
    kolk_watch_stop(loop, &watch);
}

/* ---- how runs end ---- */

TEST(stop_ends_the_run_after_the_turn)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, next;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_init(&next, loop, 'n');
    a.then_stop = true;
    b.then_soon = &next;
    CHECK_OK(kolk_run_forever(loop));
    CHECK_STR(notes, "ab");
    CHECK(kolk_call_is_pending(&next.call));
}

TEST(stop_before_a_run_lets_one_turn_pass)
{
    kolk_loop *loop = test_loop_open();
    static struct note a;

    note_soon(&a, loop, 'a');
    kolk_loop_stop(loop);
    CHECK_OK(kolk_run_forever(loop));
    CHECK_STR(notes, "a");
}

TEST(break_ends_the_run_at_once_and_leaves_the_rest_in_order)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, c, next;

    note_soon(&a, loop, 'a');
    note_soon(&b, loop, 'b');
    note_soon(&c, loop, 'c');
    note_init(&next, loop, 'n');
    a.then_soon = &next;
    a.then_break = true;
    CHECK_ERR(kolk_run_forever(loop), -EINTR);
    CHECK_STR(notes, "a");
    a.then_break = false;
    test_settle(loop);
    CHECK_STR(notes, "abcn");
}

static void
run_nested(kolk_call *call)
{
    struct note *self = KOLK_CONTAINER_OF(call, struct note, call);

    note_add('(');
    self->result = kolk_run_forever(self->loop);
    note_add(')');
}

TEST(a_nested_run_sees_all_that_was_queued_and_ends_by_itself)
{
    kolk_loop *loop = test_loop_open();
    static struct note outer, b, c;

    note_init(&outer, loop, 'o');
    outer.call.fn = run_nested;
    CHECK_OK(kolk_call_soon(loop, &outer.call));
    note_soon(&b, loop, 'b');
    note_soon(&c, loop, 'c');
    b.then_stop = true;
    CHECK_INT(kolk_run_once(loop), 0);
    CHECK_OK(outer.result);
    CHECK_STR(notes, "(bc)");
}

/* What was said to the outer run is not taken by the inner one. */
TEST(a_stop_before_a_nested_run_ends_the_outer_one)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, outer, b, next;

    note_soon(&a, loop, 'a');
    a.then_stop = true;
    note_init(&outer, loop, 'o');
    outer.call.fn = run_nested;
    CHECK_OK(kolk_call_soon(loop, &outer.call));
    note_soon(&b, loop, 'b');
    note_init(&next, loop, 'n');
    b.then_soon = &next;
    next.then_stop = true;
    CHECK_OK(kolk_run_forever(loop));
    CHECK_STR(notes, "a(bn)");
}

static int
run_inside_task(void *arg)
{
    kolk_loop *loop = arg;

    CHECK_ERR(kolk_run_forever(loop), -KOLK_EMISUSE);
    CHECK_ERR(kolk_loop_close(loop), -KOLK_EMISUSE);
    return 0;
}

TEST(a_loop_does_not_run_inside_a_task)
{
    kolk_loop *loop = test_loop_open();
    kolk_task *task;

    CHECK_OK(kolk_spawn_with(loop, NULL, run_inside_task, loop, &task));
    CHECK_OK(kolk_run_until(loop, task));
    kolk_task_detach(task);
}

static void
run_other(kolk_call *call)
{
    struct note *self = KOLK_CONTAINER_OF(call, struct note, call);

    self->result = kolk_run_forever(self->loop);
}

TEST(one_loop_runs_in_a_thread)
{
    kolk_loop *loop = test_loop_open();
    kolk_loop *other = test_loop_open();
    static struct note a;

    note_init(&a, other, 'a');
    a.call.fn = run_other;
    CHECK_OK(kolk_call_soon(loop, &a.call));
    CHECK_PTR(kolk_current_loop(), NULL);
    CHECK_OK(kolk_run_once(loop));
    CHECK_ERR(a.result, -KOLK_EMISUSE);
    CHECK_PTR(kolk_current_loop(), NULL);
}

TEST(run_until_says_when_it_was_stopped_before)
{
    kolk_loop *loop = test_loop_open();
    static struct note a;
    kolk_future *future;

    CHECK_OK(kolk_future_new(loop, &future));
    note_soon(&a, loop, 'a');
    a.then_stop = true;
    int result = kolk_run_until(loop, future);
    kolk_future_unref(future);
    CHECK_ERR(result, -EINTR);
}

TEST(a_closed_loop_gives_calls_back_once)
{
    kolk_loop *loop = test_loop_open();
    static struct note a, b, c;

    note_soon(&a, loop, 'a');
    note_init(&b, loop, 'b');
    CHECK_OK(kolk_turn_end(loop, &b.call));
    note_init(&c, loop, 'c');
    CHECK_OK(kolk_inbox_push(kolk_loop_inbox(loop), &c.call));
    test_loop_close(loop);
    CHECK_STR(notes, "");
    CHECK_INT(a.drops, 1);
    CHECK_INT(b.drops, 1);
    CHECK_INT(c.drops, 1);
}

TEST(loops_open_and_close_without_growth)
{
    size_t count = test_count(2000);

    for (size_t i = 0; i < count; i++) {
        kolk_loop *loop = test_real_loop_open();
        CHECK_OK(kolk_run_once(loop));
        test_loop_close(loop);
    }
}

TEST(a_header_of_another_version_is_refused)
{
    kolk_loop *loop;

    CHECK_ERR(kolk_loop_open_version(KOLK_VERSION + 100, NULL, &loop),
              -KOLK_EVERSION);
}
