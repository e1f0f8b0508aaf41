/* host_push.c - lending costs no memory, and can be taken back at any time.
 *
 * SPDX-License-Identifier: MIT
 */
#include <unistd.h>

#include "host_states.h"

/* ---- without an allocation ---- */

static struct {
    host_loop *loop;
    host_object *handle, *timer, *reader, *op;
    int fds[2];  /* for the reader */
    int ends[2]; /* for the operation */
} push;

static void
push_open(void)
{
    push.loop = host_loop_new();
    push.handle = host_new(push.loop, HOST_HANDLE, '\0', NULL);
    push.timer = host_new(push.loop, HOST_TIMER, '\0', NULL);
    push.reader = host_new(push.loop, HOST_READER, '\0', NULL);
    push.op = host_new(push.loop, HOST_OP, '\0', NULL);
    test_pipe(push.fds);
    test_socketpair(push.ends);
}

static void
push_close(void)
{
    host_unref(push.handle);
    host_unref(push.timer);
    host_unref(push.reader);
    host_unref(push.op);
    host_loop_unref(push.loop);
}

/* Runs turns until `object` has run `runs` times. */
static void
push_run_until(const host_object *object, int runs)
{
    while (object->runs < runs && kit_failures() == 0) {
        CHECK_OK(host_run_once(push.loop));
    }
}

/* Lends each object in each way, and lets it run. */
static void
push_all(void)
{
    kolk_inbox *inbox = kolk_loop_inbox(push.loop->loop);
    int runs = push.handle->runs;

    CHECK_OK(host_soon(push.handle));
    push_run_until(push.handle, ++runs);
    CHECK_OK(host_turn_end(push.handle));
    push_run_until(push.handle, ++runs);
    CHECK_OK(host_step_end(push.handle));
    push_run_until(push.handle, ++runs);
    CHECK_OK(host_push(inbox, push.handle));
    push_run_until(push.handle, ++runs);
    CHECK_OK(host_call_at(push.timer, kolk_now(push.loop->loop)));
    push_run_until(push.timer, push.timer->runs + 1);
    CHECK_OK(host_watch(push.reader, push.fds[0]));
    push_run_until(push.reader, push.reader->runs + 1);
    host_cancel(push.reader);
    CHECK_OK(host_recv(push.op, push.ends[0]));
    CHECK_INT(write(push.ends[1], "x", 1), 1);
    push_run_until(push.op, push.op->runs + 1);
    CHECK_INT(host_op_of(push.op)->result, 1);
}

TEST(objects_are_lent_without_an_allocation)
{
    host_begin();
    push_open();
    size_t count = test_count(1000);
    CHECK_INT(write(push.fds[1], "x", 1), 1);
    push_all(); /* the loop's own memory, which it keeps */
    int allocations = host_allocations();
    CHECK(allocations > 0);
    for (size_t i = 0; i < count; i++) {
        push_all();
    }
    CHECK_INT(host_allocations(), allocations);
    push_close();
    host_end();
}

TEST(objects_are_taken_back_without_an_allocation)
{
    host_begin();
    push_open();
    size_t count = test_count(1000);
    kolk_inbox *inbox = kolk_loop_inbox(push.loop->loop);
    CHECK_OK(host_watch(push.reader, push.fds[0])); /* its number is known */
    int allocations = host_allocations();
    for (size_t i = 0; i < count; i++) {
        CHECK_OK(host_soon(push.handle));
        host_cancel(push.handle);
        CHECK_OK(host_turn_end(push.handle));
        host_cancel(push.handle);
        CHECK_OK(host_push(inbox, push.handle));
        host_cancel(push.handle);
        CHECK_OK(host_call_at(push.timer, (kolk_time)i * KOLK_S(1)));
        host_cancel(push.timer);
        CHECK_OK(host_watch(push.reader, push.fds[0]));
        host_cancel(push.reader);
    }
    CHECK_INT(host_allocations(), allocations);
    CHECK_OK(host_run_once(push.loop));
    CHECK_INT(push.handle->runs + push.timer->runs + push.reader->runs, 0);
    push_close();
    host_end();
}

/* ---- taken back ---- */

static int
push_cancel_all(host_object *self)
{
    (void)self;
    host_states_ref();
    for (int i = 0; i < HOST_STATES; i++) {
        host_cancel(host_states[i]);
        CHECK_INT(host_states[i]->is_lent, host_states[i]->kind == HOST_OP);
    }
    CHECK_INT(host_collect(), 0);
    host_states_release();
    return 0;
}

static int
push_stop_when_ended(host_object *self)
{
    (void)self;
    for (int i = 0; i < HOST_STATES; i++) {
        if (host_states[i]->is_lent) {
            return 0;
        }
    }
    kolk_loop_stop(host_states_loop->loop);
    return 0;
}

static int
push_cancel_all_and_wait(host_object *self)
{
    for (int i = HOST_OP_PENDING; i < HOST_STATES; i++) {
        host_states[i]->fn = push_stop_when_ended;
    }
    return push_cancel_all(self);
}

TEST(objects_can_be_taken_back_in_every_state)
{
    host_begin();
    CHECK_OK(host_states_run(push_cancel_all_and_wait));
    for (int i = 0; i < HOST_STATES; i++) {
        CHECK_INT(host_states[i]->runs, host_states[i]->kind == HOST_OP);
        CHECK_INT(host_states[i]->drops, 0);
    }
    CHECK_INT(host_op_of(host_states[HOST_OP_PENDING])->result, -ECANCELED);
    CHECK_INT(host_op_of(host_states[HOST_OP_ENDED])->result, 1);
    CHECK_INT(host_op_of(host_states[HOST_JOB_BACK])->result, 0);
    CHECK_INT(host_op_of(host_states[HOST_JOB_BEGUN])->result, 0);
    CHECK_INT(host_op_of(host_states[HOST_JOB_QUEUED])->result, -ECANCELED);
    host_states_end();
    host_end();
}

static int
push_lend_again(host_object *self)
{
    kolk_inbox *inbox = kolk_loop_inbox(self->loop->loop);

    for (int i = HOST_READY; i <= HOST_INBOX; i++) {
        CHECK_ERR(host_soon(host_states[i]), -EALREADY);
        CHECK_ERR(host_turn_end(host_states[i]), -EALREADY);
        CHECK_ERR(host_step_end(host_states[i]), -EALREADY);
        CHECK_ERR(host_push(inbox, host_states[i]), -EALREADY);
    }
    for (int i = HOST_OP_PENDING; i < HOST_STATES; i++) {
        CHECK_ERR(host_recv(host_states[i], 0), -EALREADY);
    }
    host_states_ref();
    host_states_release();
    CHECK_INT(host_collect(), 0);
    return HOST_EXCEPTION;
}

TEST(a_lent_object_refuses_to_be_lent_again)
{
    host_begin();
    CHECK_INT(host_states_run(push_lend_again), HOST_EXCEPTION);
    host_states_end();
    host_end();
}

/* ---- in its own callback ---- */

/* `self` goes when this returns: the loop had the last reference. */
static int
push_cancel_self(host_object *self)
{
    host_cancel(self);
    return 0;
}

TEST(an_object_may_be_freed_by_its_own_callback)
{
    host_begin();
    push_open();
    CHECK_OK(host_watch(push.reader, push.fds[0]));
    CHECK_INT(write(push.fds[1], "x", 1), 1);
    push.reader->fn = push.timer->fn = push.handle->fn = push_cancel_self;
    CHECK_OK(host_call_at(push.timer, 0));
    CHECK_OK(host_soon(push.handle));
    host_unref(push.reader);
    host_unref(push.timer);
    host_unref(push.handle);
    while (host_count() > 2) {
        CHECK_OK(host_run_once(push.loop));
    }
    host_unref(push.op);
    host_loop_unref(push.loop);
    host_end();
}

/* Each takes back its argument, which stands behind it. */
static int
push_cancel_argument(host_object *self)
{
    host_cancel(self->argument);
    host_set_argument(self, NULL);
    return 0;
}

TEST(an_object_may_take_back_and_free_the_next)
{
    host_begin();
    host_loop *loop = host_loop_new();

    for (int i = 0; i < 5; i++) {
        enum host_kind kind = i % 2 != 0 ? HOST_TIMER : HOST_HANDLE;
        host_object *next = host_new(loop, kind, 'x', NULL);
        host_object *self =
            host_new(loop, kind, (char)('a' + i), push_cancel_argument);
        host_set_argument(self, next);
        CHECK_OK(kind == HOST_TIMER ? host_call_at(self, 0) : host_soon(self));
        CHECK_OK(kind == HOST_TIMER ? host_call_at(next, 0) : host_soon(next));
        host_unref(self);
        host_unref(next);
    }
    while (host_count() > 1) {
        CHECK_OK(host_run_once(loop));
    }
    CHECK_STR(host_notes, "acebd");
    host_loop_unref(loop);
    host_end();
}
