/* host_close.c - a closed loop gives everything back, once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host_states.h"

static kolk_inbox *close_inbox;

/* The end of a step cannot be put off; all else is still lent. */
static int
close_break(host_object *self)
{
    (void)self;
    host_states_ref();
    host_states_release(); /* closing waits for jobs */
    return HOST_EXCEPTION;
}

TEST(what_is_lent_comes_back_once_in_every_state)
{
    host_begin();
    CHECK_INT(host_states_run(close_break), HOST_EXCEPTION);
    host_loop_close(host_states_loop);
    for (int i = 0; i < HOST_STATES; i++) {
        CHECK_INT(host_states[i]->drops, i != HOST_STEP_END);
        CHECK_INT(host_states[i]->runs, i == HOST_STEP_END);
        CHECK(!host_states[i]->is_lent);
    }
    host_states_end();
    host_end();
}

static int
close_break_unheld(host_object *self)
{
    (void)self;
    host_states_release();
    return HOST_EXCEPTION;
}

/* The loop has the only references, so `dropped` frees the object. */
TEST(what_comes_back_may_be_freed_at_once)
{
    host_begin();
    CHECK_INT(host_states_run(close_break_unheld), HOST_EXCEPTION);
    CHECK_INT(host_count(), HOST_STATES); /* the end of the step is gone */
    host_loop_close(host_states_loop);
    CHECK_INT(host_count(), 1);
    host_states_end();
    host_end();
}

/* ---- a `dropped` that goes on using the loop ---- */

static int
close_push_again(host_object *self)
{
    static char byte;

    switch (self->kind) {
    case HOST_HANDLE:
        CHECK_ERR(host_soon(self), -ESHUTDOWN);
        CHECK_ERR(host_step_end(self), -ESHUTDOWN);
        CHECK_ERR(host_turn_end(self), -ESHUTDOWN);
        CHECK_ERR(host_push(close_inbox, self), -ESHUTDOWN);
        CHECK_ERR(host_push(kolk_loop_inbox(self->loop->loop), self),
                  -ESHUTDOWN);
        break;
    case HOST_TIMER:
        CHECK_ERR(host_call_at(self, 0), -ESHUTDOWN);
        break;
    case HOST_READER:
        CHECK_ERR(host_watch(self, host_watch_of(self)->fd), -ESHUTDOWN);
        break;
    default:
        CHECK_ERR(host_recv(self, 0), -ESHUTDOWN);
        CHECK_ERR(host_work(self, NULL, &byte), -ESHUTDOWN);
        break;
    }
    host_cancel(self); /* a no-op */
    return 0;
}

static int
close_break_and_push_again(host_object *self)
{
    close_inbox = kolk_inbox_ref(kolk_loop_inbox(self->loop->loop));
    for (int i = 0; i < HOST_STATES; i++) {
        host_states[i]->on_drop = close_push_again;
    }
    return close_break(self);
}

TEST(what_comes_back_cannot_be_lent_again)
{
    host_begin();
    CHECK_INT(host_states_run(close_break_and_push_again), HOST_EXCEPTION);
    host_loop_close(host_states_loop);
    kolk_inbox_unref(close_inbox);
    for (int i = 0; i < HOST_STATES; i++) {
        CHECK_INT(host_states[i]->drops, i != HOST_STEP_END);
    }
    host_states_end();
    host_end();
}

/* The loop's own reference to its inbox may be the last one. */
TEST(what_comes_back_finds_the_inbox_closed)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *handle = host_new(loop, HOST_HANDLE, '\0', NULL);

    CHECK_OK(host_soon(handle));
    close_inbox = kolk_loop_inbox(loop->loop);
    handle->on_drop = close_push_again;
    host_loop_close(loop);
    CHECK_INT(handle->drops, 1);
    host_unref(handle);
    host_loop_unref(loop);
    host_end();
}

static int
close_cancel_all(host_object *self)
{
    (void)self;
    for (int i = 0; i < HOST_STATES; i++) {
        if (host_states[i]->kind != HOST_OP) {
            host_cancel(host_states[i]);
        }
    }
    return 0;
}

static int
close_break_and_cancel(host_object *self)
{
    host_states[HOST_TURN_END]->on_drop = close_cancel_all;
    host_states[HOST_READY]->on_drop = close_cancel_all;
    return close_break(self);
}

/* What comes back first may take the others back itself. */
TEST(what_comes_back_may_cancel_the_rest)
{
    host_begin();
    CHECK_INT(host_states_run(close_break_and_cancel), HOST_EXCEPTION);
    host_loop_close(host_states_loop);
    int drops = 0;
    for (int i = 0; i < HOST_STATES; i++) {
        CHECK(!host_states[i]->is_lent);
        if (host_states[i]->kind != HOST_OP) {
            drops += host_states[i]->drops;
        } else {
            CHECK_INT(host_states[i]->drops, 1);
        }
    }
    CHECK_INT(drops, 1);
    host_states_end();
    host_end();
}

static int
close_collect(host_object *self)
{
    self->loop->collected += host_collect();
    return 0;
}

static int
close_break_and_collect(host_object *self)
{
    for (int i = 0; i < HOST_STATES; i++) {
        host_states[i]->on_drop = close_collect;
    }
    return close_break(self);
}

/* A collection in the middle of closing sees what is not back yet. */
TEST(the_collector_may_run_while_a_loop_is_closed)
{
    host_begin();
    CHECK_INT(host_states_run(close_break_and_collect), HOST_EXCEPTION);
    host_loop_close(host_states_loop);
    CHECK_INT(host_states_loop->collected, 0);
    host_states_end();
    host_end();
}

/* ---- lent to a future ---- */

/* The future holds it, and gives it back when it goes itself. */
TEST(a_callback_of_a_future_comes_back_with_the_future)
{
    kolk_future *future;
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *handle = host_new(loop, HOST_HANDLE, 'a', NULL);
    CHECK_OK(kolk_future_new(loop->loop, &future));
    CHECK_OK(host_when_done(future, handle));
    CHECK_ERR(host_soon(handle), -EALREADY);
    host_loop_close(loop);
    CHECK_INT(handle->drops, 0);
    CHECK_ERR(kolk_future_set_result(future, 1, NULL), -ESHUTDOWN);
    kolk_future_unref(future);
    CHECK_INT(handle->drops, 1);
    CHECK_INT(handle->runs, 0);
    host_unref(handle);
    host_loop_unref(loop);
    host_end();
}

TEST(a_callback_of_a_future_that_is_done_comes_back_with_the_loop)
{
    kolk_future *future;
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *handle = host_new(loop, HOST_HANDLE, 'a', NULL);
    host_object *late = host_new(loop, HOST_HANDLE, 'b', NULL);
    CHECK_OK(kolk_future_new(loop->loop, &future));
    CHECK_OK(host_when_done(future, handle));
    CHECK_OK(kolk_future_set_result(future, 1, NULL));
    CHECK_INT(host_collect(), 0);
    CHECK_INT(handle->shown, 1);
    host_loop_close(loop);
    CHECK_INT(handle->drops, 1);
    CHECK_ERR(host_when_done(future, late), -ESHUTDOWN);
    kolk_future_unref(future);
    host_unref(handle);
    host_unref(late);
    host_loop_unref(loop);
    host_end();
}

/* ---- when a loop may be closed ---- */

static int
close_from_inside(host_object *self)
{
    CHECK_ERR(kolk_loop_close(self->loop->loop), -KOLK_EMISUSE);
    return 0;
}

TEST(a_loop_that_runs_is_not_closed)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *next = host_new(loop, HOST_HANDLE, 'b', host_stop);

    host_soon_new(loop, 'a', close_from_inside);
    CHECK_OK(host_soon(next));
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "ab");
    CHECK_INT(next->drops, 0);
    host_unref(next);
    host_loop_unref(loop);
    host_end();
}

static int
close_sleeper(void *arg)
{
    host_loop *loop = arg;

    CHECK_ERR(kolk_sleep(KOLK_S(1000)), -ECANCELED);
    host_soon_new(loop, 'x', NULL);
    CHECK_ERR(kolk_checkpoint(), -ECANCELED);
    return 0;
}

/* Closing runs tasks to their end, and callbacks with them. */
TEST(a_loop_with_tasks_runs_the_host_once_more)
{
    host_begin();
    host_loop *loop = host_loop_new();
    kolk_task *task;

    CHECK_OK(kolk_spawn_with(loop->loop, NULL, close_sleeper, loop, &task));
    CHECK_OK(host_run_once(loop));
    host_soon_new(loop, 'a', host_collects);
    host_later_new(loop, KOLK_S(2000), NULL);
    host_loop_close(loop);
    CHECK_INT(kolk_future_result(task), 0);
    kolk_future_unref(task);
    CHECK_INT(host_notes[0], 'a');
    CHECK_INT(host_count(), 1);
    host_loop_unref(loop);
    host_end();
}
