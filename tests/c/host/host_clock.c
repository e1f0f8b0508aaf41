/* host_clock.c - the host's own clock: deadlines, what is due, how long to
 * sleep.
 *
 * SPDX-License-Identifier: MIT
 *
 * The language counts in its own time, which the loop has to take as it is: it
 * stands still, jumps, goes back, and runs fast.
 */
#include <poll.h>

#include "host.h"

static struct {
    kolk_clock clock;
    kolk_time now;
    kolk_time asked;   /* the deadline that the delay was last asked for */
    kolk_time real;    /* where the fast clock began */
    int speed;         /* of the fast clock */
    host_loop *raises; /* an exception, the next time it is read */
} host_time;

static kolk_time
clock_now(kolk_clock *clock)
{
    (void)clock;
    CHECK(host_lock_is_mine());
    if (host_time.raises != NULL) {
        host_time.raises->raised = HOST_EXCEPTION;
        kolk_loop_break(host_time.raises->loop);
        host_time.raises = NULL;
    }
    return host_time.now;
}

/* Where the loop would sleep, time comes to the deadline. */
static kolk_time
clock_delay(kolk_clock *clock, kolk_time deadline)
{
    (void)clock;
    CHECK(host_lock_is_mine());
    host_time.asked = deadline;
    host_time.now = deadline;
    return 0;
}

static host_loop *
clock_loop_new(kolk_time now)
{
    host_loop *loop = host_loop_new();

    host_time.now = now;
    host_time.clock = (kolk_clock){.now = clock_now, .delay = clock_delay};
    kolk_loop_set_clock(loop->loop, &host_time.clock);
    return loop;
}

/* A timer 'a', 'b'... at `deadline`. */
static void
clock_at(host_loop *loop, char name, kolk_time deadline, host_fn *fn)
{
    host_object *timer = host_new(loop, HOST_TIMER, name, fn);

    CHECK_OK(host_call_at(timer, deadline));
    CHECK_INT(host_timer_of(timer)->deadline, deadline);
    host_unref(timer);
}

TEST(timers_follow_the_hosts_clock)
{
    host_begin();
    host_loop *loop = clock_loop_new(KOLK_S(100));

    clock_at(loop, 'c', KOLK_S(300), host_stop);
    clock_at(loop, 'a', KOLK_S(100), NULL);
    clock_at(loop, 'b', KOLK_S(100) + 1, NULL);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "abc");
    CHECK_INT(host_time.now, KOLK_S(300));
    CHECK_INT(host_time.asked, KOLK_S(300));
    CHECK_INT(kolk_loop_turn_time(loop->loop), KOLK_S(300));
    CHECK_INT(kolk_now(loop->loop), KOLK_S(300));
    CHECK_INT(host_calls.pairs, 0); /* it never slept */
    host_loop_unref(loop);
    host_end();
}

TEST(a_delay_counts_from_the_hosts_clock)
{
    host_begin();
    host_loop *loop = clock_loop_new(-KOLK_S(5));
    host_object *timer = host_new(loop, HOST_TIMER, 'a', host_stop);

    CHECK_OK(kolk_call_later(loop->loop, host_timer_of(timer), KOLK_S(1)));
    CHECK_INT(host_timer_of(timer)->deadline, -KOLK_S(4));
    kolk_timer_stop(loop->loop, host_timer_of(timer));
    host_unref(timer);
    host_loop_unref(loop);
    host_end();
}

static int
clock_jump(host_object *self)
{
    (void)self;
    host_time.now += KOLK_S(1000);
    return 0;
}

TEST(a_jump_forward_makes_timers_due_in_order)
{
    host_begin();
    host_loop *loop = clock_loop_new(0);

    for (int i = 0; i < 8; i++) {
        clock_at(loop, (char)('h' - i), KOLK_S(800 - 100 * i), NULL);
    }
    clock_at(loop, 'z', KOLK_S(2000), NULL);
    host_soon_new(loop, 'j', clock_jump);
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "j");
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "jabcdefgh");
    host_loop_unref(loop);
    host_end();
}

TEST(a_jump_back_makes_nothing_due)
{
    host_begin();
    host_loop *loop = clock_loop_new(KOLK_S(1000));

    clock_at(loop, 'b', KOLK_S(1001), NULL);
    host_time.now = 0;
    CHECK_INT(host_run_once(loop), 0);
    clock_at(loop, 'a', KOLK_S(1), NULL);
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "");
    host_time.now = KOLK_S(1);
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "a");
    host_time.now = KOLK_S(1001);
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "ab");
    host_loop_unref(loop);
    host_end();
}

/* A program that puts another clock in, with timers pending on the old one. */
TEST(timers_move_to_a_clock_that_is_put_in_late)
{
    host_begin();
    host_loop *loop = host_loop_new();
    kolk_time now = kolk_now(loop->loop);

    clock_at(loop, 'a', now + KOLK_S(50), NULL);
    clock_at(loop, 'b', now + KOLK_S(60), host_stop);
    host_time.now = now + KOLK_S(55);
    host_time.clock = (kolk_clock){.now = clock_now, .delay = clock_delay};
    kolk_loop_set_clock(loop->loop, &host_time.clock);
    CHECK_INT(host_run_once(loop), 0);
    CHECK_STR(host_notes, "a");
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "ab");
    host_loop_unref(loop);
    host_end();
}

TEST(an_exception_of_the_clock_comes_before_the_next_callback)
{
    host_begin();
    host_loop *loop = clock_loop_new(0);

    clock_at(loop, 'a', 0, NULL);
    host_soon_new(loop, 'b', host_stop);
    host_time.raises = loop;
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    CHECK_STR(host_notes, "");
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "ba");
    host_loop_unref(loop);
    host_end();
}

/* ---- a clock that runs fast ---- */

static kolk_time
fast_now(kolk_clock *clock)
{
    (void)clock;
    return (kolk_monotonic() - host_time.real) * host_time.speed;
}

static kolk_time
fast_delay(kolk_clock *clock, kolk_time deadline)
{
    return (deadline - fast_now(clock)) / host_time.speed + 1;
}

static host_loop *
fast_loop_new(int speed)
{
    host_loop *loop = host_loop_new();

    host_time.real = kolk_monotonic();
    host_time.speed = speed;
    host_time.clock = (kolk_clock){.now = fast_now, .delay = fast_delay};
    kolk_loop_set_clock(loop->loop, &host_time.clock);
    return loop;
}

/* Ten minutes of it are 60 ms. */
TEST_TIME(the_loop_sleeps_as_long_as_the_hosts_clock_says)
{
    host_begin();
    host_loop *loop = fast_loop_new(10000);

    host_later_new(loop, KOLK_S(600), host_stop);
    CHECK_OK(host_run(loop));
    CHECK(fast_now(NULL) >= KOLK_S(600));
    CHECK(host_calls.pairs > 0);
    host_loop_unref(loop);
    host_end();
}

TEST_TIME(a_guest_follows_the_hosts_clock)
{
    host_begin();
    host_loop *loop = fast_loop_new(10000);
    host_object *timer = host_new(loop, HOST_TIMER, 't', NULL);
    struct pollfd fd = {.fd = kolk_loop_fileno(loop->loop), .events = POLLIN};

    CHECK_OK(fd.fd);
    CHECK_OK(host_call_at(timer, fast_now(NULL) + KOLK_S(600)));
    while (timer->runs == 0) {
        CHECK_INT(poll(&fd, 1, 10000), 1); /* far less than 600 s */
        CHECK_OK(host_run_once(loop));
    }
    CHECK_INT(poll(&fd, 1, 0), 0);
    host_unref(timer);
    host_loop_unref(loop);
    host_end();
}
