/* host_visit.c - the collector sees what the loop holds.
 *
 * SPDX-License-Identifier: MIT
 *
 * Every collection checks that each object that is lent is shown once, with
 * its kind, and no other: see host_collect.c.
 */
#include "host_states.h"

/* ---- every state ---- */

static int
visit_all(host_object *self)
{
    CHECK_INT(host_collect(), 0);
    for (int i = 0; i < HOST_STATES; i++) {
        CHECK_INT(host_states[i]->shown, 1);
        CHECK_INT(host_states[i]->refs, 1);
    }
    CHECK_INT(self->shown, 0); /* it runs, so it is not lent */
    host_states_ref();
    return HOST_EXCEPTION;
}

TEST(each_lent_object_is_shown_once_in_every_state)
{
    host_begin();
    CHECK_INT(host_states_run(visit_all), HOST_EXCEPTION);
    CHECK_INT(host_collect(), 0); /* between two runs */
    CHECK_INT(host_states[HOST_STEP_END]->runs, 1);
    for (int i = 0; i < HOST_STATES; i++) {
        CHECK_INT(host_states[i]->shown, i != HOST_STEP_END);
    }
    host_states_end();
    host_end();
}

/* A collection may come in any callback, so also in those that end a turn or a
 * step, with others behind them. */
TEST(a_callback_at_the_end_of_a_turn_sees_those_behind_it)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *ends[4];

    for (int i = 0; i < 4; i++) {
        ends[i] = host_new(loop, HOST_HANDLE, 'e', host_collects);
        CHECK_OK(host_turn_end(ends[i]));
        host_unref(ends[i]);
    }
    host_soon_new(loop, 'a', NULL);
    CHECK_OK(host_run_once(loop));
    CHECK_STR(host_notes, "aeeee");
    CHECK_INT(loop->collected, 0);
    host_loop_unref(loop);
    host_end();
}

static int
visit_end_step(host_object *self)
{
    for (int i = 0; i < 4; i++) {
        host_object *end =
            host_new(self->loop, HOST_HANDLE, 's', host_collects);
        CHECK_OK(host_step_end(end));
        host_unref(end);
    }
    return 0;
}

TEST(a_callback_at_the_end_of_a_step_sees_those_behind_it)
{
    host_begin();
    host_loop *loop = host_loop_new();

    host_soon_new(loop, 'a', visit_end_step);
    host_soon_new(loop, 'b', NULL);
    CHECK_OK(host_run_once(loop));
    CHECK_STR(host_notes, "assssb");
    CHECK_INT(loop->collected, 0);
    host_loop_unref(loop);
    host_end();
}

/* ---- timers near and far ---- */

static kolk_time visit_time;

static kolk_time
visit_now(kolk_clock *clock)
{
    (void)clock;
    return visit_time;
}

TEST(each_timer_is_shown_wherever_it_waits)
{
    static kolk_clock clock = {.now = visit_now};
    host_object *timers[62];
    host_begin();
    host_loop *loop = host_loop_new();
    kolk_loop_set_clock(loop->loop, &clock);
    for (int i = 0; i < 62; i++) { /* in every level of whatever holds them */
        timers[i] = host_new(loop, HOST_TIMER, '\0', NULL);
        CHECK_OK(host_call_at(timers[i], (kolk_time)1 << i));
    }
    CHECK_INT(host_collect(), 0);
    for (int i = 0; i < 62; i += 3) {
        host_cancel(timers[i]);
    }
    for (int i = 0; i < 62; i++) {
        visit_time = (kolk_time)1 << i;
        CHECK_OK(host_run_once(loop));
        CHECK_INT(timers[i]->runs, i % 3 != 0);
        CHECK_INT(host_collect(), 0);
    }
    for (int i = 0; i < 62; i++) {
        CHECK(!timers[i]->is_lent);
        CHECK_OK(host_call_at(timers[i], visit_time + ((kolk_time)1 << i)));
    }
    host_loop_close(loop);
    for (int i = 0; i < 62; i++) {
        CHECK_INT(timers[i]->drops, 1);
        host_unref(timers[i]);
    }
    host_loop_unref(loop);
    host_end();
}

/* ---- others on the same loop ---- */

static int
visit_sleeper(void *arg)
{
    (void)arg;
    int err = kolk_sleep(KOLK_US(100));
    return err < 0 ? err : kolk_checkpoint();
}

/* Tasks and what they wait by belong to the library. */
TEST_TIME(the_collector_runs_beside_tasks)
{
    host_begin();
    host_loop *loop = host_loop_new();
    kolk_task *tasks[3];

    for (int i = 0; i < 3; i++) {
        CHECK_OK(
            kolk_spawn_with(loop->loop, NULL, visit_sleeper, NULL, &tasks[i]));
    }
    for (int i = 0; i < 3; i++) {
        while (!kolk_future_is_done(tasks[i])) {
            host_soon_new(loop, '\0', host_collects);
            CHECK_OK(host_run_once(loop));
        }
        CHECK_OK(host_run_until(loop, tasks[i]));
        kolk_future_unref(tasks[i]);
    }
    CHECK_INT(loop->collected, 0);
    host_loop_unref(loop);
    host_end();
}

/* ---- garbage ---- */

/* A loop that only its own handles and timers refer to. */
TEST(a_loop_that_nothing_reaches_is_collected_with_all_it_holds)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *reader = host_new(loop, HOST_READER, 'r', NULL);
    host_object *op = host_new(loop, HOST_OP, 'p', NULL);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(host_watch(reader, fds[0]));
    CHECK_OK(host_recv(op, fds[1]));
    host_set_argument(reader, op);
    host_unref(reader);
    host_unref(op);
    host_soon_new(loop, 'a', NULL);
    host_later_new(loop, KOLK_S(1000), NULL);
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_count(), 5);
    CHECK_INT(host_collect(), 5);
    CHECK_STR(host_notes, "");
    host_end();
}

TEST(a_handle_out_of_reach_lives_while_the_loop_holds_it)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *lent = host_new(loop, HOST_HANDLE, 'a', NULL);
    host_object *lost = host_new(loop, HOST_HANDLE, 'b', NULL);

    host_set_argument(lent, lent);
    host_set_argument(lost, lost);
    CHECK_OK(host_soon(lent));
    host_unref(lent);
    host_unref(lost);
    CHECK_INT(host_collect(), 1);
    CHECK_OK(host_run_once(loop));
    CHECK_STR(host_notes, "a");
    CHECK_INT(host_collect(), 1);
    host_loop_unref(loop);
    host_end();
}

/* ---- a visit that ends early ---- */

struct visit_two {
    kolk_visitor visitor;
    int count;
};

static int
visit_until_two(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    struct visit_two *self =
        KOLK_CONTAINER_OF(visitor, struct visit_two, visitor);

    (void)kind, (void)node;
    return ++self->count == 2 ? -EINTR : 0;
}

static int
visit_in_part(host_object *self)
{
    struct visit_two two = {.visitor.fn = visit_until_two};

    CHECK_ERR(kolk_loop_visit(self->loop->loop, &two.visitor), -EINTR);
    CHECK_INT(two.count, 2);
    CHECK_INT(host_collect(), 0);
    return HOST_EXCEPTION;
}

TEST(a_visitor_may_end_the_visit)
{
    host_begin();
    CHECK_INT(host_states_run(visit_in_part), HOST_EXCEPTION);
    host_states_end();
    host_end();
}
