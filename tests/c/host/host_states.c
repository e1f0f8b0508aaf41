/* host_states.c - an object in each state. See host_states.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Most states need a turn that has looked around and not run yet: so the
 * first callback of a turn is where they all meet. The pool has one thread;
 * once its second job has begun, the first one has been given back.
 */
#include <string.h>
#include <unistd.h>

#include "host_states.h"

host_loop *host_states_loop;
host_object *host_states[HOST_STATES];

static struct {
    host_fn *fn;
    bool is_held; /* host_states_ref() */
    int begun;    /* jobs, atomically */
    int allowed;  /* how many may end, atomically */
} states;

static host_object *
states_new(enum host_state state, enum host_kind kind)
{
    host_object *self = host_new(host_states_loop, kind, '\0', NULL);

    host_states[state] = self;
    return self;
}

/* A job of the pool, the third one aside: waits until it may end. */
static int
states_job(void *arg)
{
    int number = __atomic_add_fetch(&states.begun, 1, __ATOMIC_SEQ_CST);

    (void)arg;
    while (__atomic_load_n(&states.allowed, __ATOMIC_SEQ_CST) < number) {
        (void)usleep(100);
    }
    return 0;
}

void
host_states_release(void)
{
    __atomic_store_n(&states.allowed, HOST_STATES, __ATOMIC_SEQ_CST);
}

/* At the end of the test, also of one that has failed. */
static void
states_release_all(void *object)
{
    (void)object;
    host_states_release();
}

static void
states_start_timers(void)
{
    kolk_time now = kolk_now(host_states_loop->loop);

    CHECK_OK(host_call_at(states_new(HOST_TIMER_FAR, HOST_TIMER),
                          kolk_time_add(now, KOLK_S(1000))));
    CHECK_OK(
        host_call_at(states_new(HOST_TIMER_NEVER, HOST_TIMER), KOLK_NEVER));
    CHECK_OK(host_call_at(states_new(HOST_TIMER_DUE, HOST_TIMER), now));
}

static void
states_start_descriptors(void)
{
    int idle[2], found[2];

    test_socketpair(idle);
    test_socketpair(found);
    CHECK_INT(write(found[1], "x", 1), 1);
    CHECK_OK(host_watch(states_new(HOST_READER_IDLE, HOST_READER), idle[0]));
    CHECK_OK(host_watch(states_new(HOST_READER_FOUND, HOST_READER), found[0]));
    test_socketpair(idle);
    test_socketpair(found);
    CHECK_INT(write(found[1], "x", 1), 1);
    CHECK_OK(host_recv(states_new(HOST_OP_PENDING, HOST_OP), idle[0]));
    CHECK_OK(host_recv(states_new(HOST_OP_ENDED, HOST_OP), found[0]));
}

static void
states_start_jobs(void)
{
    test_later(states_release_all, NULL);
    CHECK_OK(kolk_loop_set_pool_threads(host_states_loop->loop, 1));
    for (int state = HOST_JOB_BACK; state <= HOST_JOB_QUEUED; state++) {
        CHECK_OK(host_work(states_new((enum host_state)state, HOST_OP),
                           states_job, NULL));
    }
}

/* The first callback of the turn. */
static int
states_first(host_object *self)
{
    kolk_inbox *inbox = kolk_loop_inbox(self->loop->loop);

    CHECK_OK(host_soon(states_new(HOST_READY, HOST_HANDLE)));
    CHECK_OK(host_step_end(states_new(HOST_STEP_END, HOST_HANDLE)));
    CHECK_OK(host_turn_end(states_new(HOST_TURN_END, HOST_HANDLE)));
    CHECK_OK(host_push(inbox, states_new(HOST_INBOX, HOST_HANDLE)));
    __atomic_store_n(&states.allowed, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&states.begun, __ATOMIC_SEQ_CST) < 2) {
        (void)usleep(100);
    }
    for (int i = 0; i < HOST_STATES; i++) {
        host_unref(host_states[i]); /* the loop's from here on */
    }
    return states.fn(self);
}

int
host_states_run(host_fn *fn)
{
    states.fn = fn;
    host_states_loop = host_loop_new();
    kolk_loop_set_poll_interval(host_states_loop->loop, 0);
    host_soon_new(host_states_loop, '\0', states_first);
    states_start_timers();
    states_start_descriptors();
    states_start_jobs();
    return host_run(host_states_loop);
}

void
host_states_ref(void)
{
    for (int i = 0; i < HOST_STATES; i++) {
        host_ref(host_states[i]);
    }
    states.is_held = true;
}

void
host_states_end(void)
{
    host_states_release();
    for (int i = 0; i < HOST_STATES && states.is_held; i++) {
        host_unref(host_states[i]);
    }
    host_loop_unref(host_states_loop);
}
