/* loop_timer.c - timers: never early, gone when stopped, given back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alarm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* ---- when ---- */

TEST(a_timer_never_fires_early)
{
    static const kolk_time deadlines[] = {
        1,
        999,
        1023,
        1024,
        1025,
        KOLK_US(65),
        KOLK_MS(1),
        KOLK_MS(50) + 7,
        KOLK_S(3),
        KOLK_S(86400) + 1,
        KOLK_S(86400) * 3650 + 999999999,
    };
    kolk_loop *loop = test_loop_open();
    static struct alarm a;

    alarm_init(&a, loop, 'a');
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        alarm_set(&a, deadlines[i]);
        test_advance(loop, deadlines[i] - 1);
        CHECK_INT(a.rings, (int)i);
        test_advance(loop, deadlines[i]);
        CHECK_INT(a.rings, (int)i + 1);
        CHECK_INT(a.rang, deadlines[i]);
    }
}

static size_t alarms_left;

static void
alarm_count_down(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);

    alarm_ring(timer);
    if (--alarms_left == 0) {
        kolk_loop_stop(self->loop);
    }
}

TEST_TIME(a_timer_never_fires_early_on_the_real_clock)
{
    enum { COUNT = 200 };
    static struct alarm alarms[COUNT];
    kolk_loop *loop = test_real_loop_open();

    alarms_left = COUNT;
    for (int i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i], loop, 'a');
        alarms[i].timer.fn = alarm_count_down;
        CHECK_OK(kolk_call_later(loop, &alarms[i].timer,
                                 KOLK_US(i % 50) * (i % 50) + i));
    }
    CHECK_OK(kolk_run_forever(loop));
    for (int i = 0; i < COUNT; i++) {
        CHECK_INT(alarms[i].rings, 1);
        CHECK(alarms[i].rang >= alarms[i].timer.deadline);
    }
}

TEST(a_past_deadline_fires_in_the_next_turn_not_inside_the_call)
{
    static const kolk_time past[] = {INT64_MIN, INT64_MIN + 1, -1, 0};
    kolk_loop *loop = test_loop_open();
    static struct alarm a;

    alarm_init(&a, loop, 'a');
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        alarm_set(&a, past[i]);
        CHECK_INT(a.rings, (int)i);
        CHECK_OK(kolk_run_once(loop));
        CHECK_INT(a.rings, (int)i + 1);
    }
}

TEST(a_negative_delay_is_none)
{
    static const kolk_time delays[] = {0, -1, -KOLK_S(10), INT64_MIN};
    kolk_loop *loop = test_loop_open();
    static struct alarm a;

    test_advance(loop, KOLK_MS(5));
    alarm_init(&a, loop, 'a');
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        CHECK_OK(kolk_call_later(loop, &a.timer, delays[i]));
        CHECK_INT(a.timer.deadline, KOLK_MS(5));
        CHECK_OK(kolk_run_once(loop));
        CHECK_INT(a.rings, (int)i + 1);
    }
}

TEST(an_infinite_delay_never_fires)
{
    static struct manual manual;
    kolk_loop *loop = manual_loop_open(&manual, KOLK_S(1));
    static struct alarm a, b;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    CHECK_OK(kolk_call_later(loop, &a.timer, KOLK_NEVER));
    CHECK_INT(a.timer.deadline, KOLK_NEVER);
    CHECK_OK(kolk_call_later(loop, &b.timer, KOLK_NEVER - 1)); /* overflows */
    CHECK_INT(b.timer.deadline, KOLK_NEVER);
    manual.now = KOLK_NEVER;
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "");
    CHECK(kolk_timer_is_pending(&a.timer));

    /* It can be stopped, and moved. */
    kolk_timer_stop(loop, &a.timer);
    CHECK(!kolk_timer_is_pending(&a.timer));
    alarm_set(&b, 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "b");
}

TEST(huge_delays_do_not_overflow)
{
    static struct manual manual;
    kolk_loop *loop = manual_loop_open(&manual, INT64_MIN);
    static struct alarm a, b, c;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_init(&c, loop, 'c');
    alarm_set(&a, KOLK_NEVER - 1);
    alarm_set(&b, 0);
    alarm_set(&c, -1);
    manual.now = -2;
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "");
    manual.now = 0;
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "cb");
    manual.now = KOLK_NEVER - 2;
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "cb");
    manual.now = KOLK_NEVER - 1;
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "cba");
}

static struct manual *alarm_clock;

static void
alarm_work_long(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);

    alarm_clock->now += KOLK_MS(50);
    CHECK_OK(kolk_call_later(self->loop, &self->other->timer, KOLK_MS(10)));
}

TEST(a_delay_counts_from_the_clock_not_from_the_turn)
{
    static struct manual manual;
    kolk_loop *loop = manual_loop_open(&manual, 0);
    static struct alarm a, b;

    alarm_clock = &manual;
    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    a.timer.fn = alarm_work_long;
    a.other = &b;
    alarm_set(&a, 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(b.timer.deadline, KOLK_MS(60));
    manual.now = KOLK_MS(60) - 1;
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "");
    manual.now = KOLK_MS(60);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "b");
}

static void
alarm_ring_again(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);

    self->rings++;
    CHECK_OK(kolk_call_later(self->loop, timer, 0));
}

TEST(a_zero_timer_restarted_in_its_callback_runs_once_a_turn)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a;

    alarm_init(&a, loop, 'a');
    a.timer.fn = alarm_ring_again;
    CHECK_OK(kolk_call_later(loop, &a.timer, 0));
    for (int turn = 1; turn <= 10; turn++) {
        CHECK_OK(kolk_run_once(loop));
        CHECK_INT(a.rings, turn);
    }
}

static void
alarm_stop_loop(kolk_watch *watch)
{
    kolk_loop *loop = kolk_current_loop();

    kolk_watch_stop(loop, watch);
    kolk_loop_stop(loop);
}

TEST(a_zero_timer_restarted_in_its_callback_does_not_starve_descriptors)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a;
    kolk_watch watch;
    int fds[2];

    test_socketpair(fds); /* writable at once */
    alarm_init(&a, loop, 'a');
    a.timer.fn = alarm_ring_again;
    CHECK_OK(kolk_call_later(loop, &a.timer, 0));
    CHECK_OK(kolk_run_once(loop));
    kolk_watch_init(&watch, fds[0], alarm_stop_loop, NULL);
    CHECK_OK(kolk_watch_start(loop, &watch, KOLK_WRITABLE));
    CHECK_OK(kolk_run_forever(loop));
    CHECK(a.rings <= 3);
}

/* ---- stopping and moving ---- */

TEST(a_stopped_timer_never_fires)
{
    static const kolk_time deadlines[] = {
        -1,        0, 1, KOLK_US(500), KOLK_MS(3), KOLK_S(20), KOLK_S(100000),
        KOLK_NEVER};
    kolk_loop *loop = test_loop_open();
    static struct alarm a;

    alarm_init(&a, loop, 'a');
    kolk_timer_stop(loop, &a.timer); /* a no-op */
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        alarm_set(&a, deadlines[i]);
        kolk_timer_stop(loop, &a.timer);
        CHECK(!kolk_timer_is_pending(&a.timer));
        kolk_timer_stop(loop, &a.timer);
    }
    test_advance(loop, KOLK_S(200000));
    CHECK_STR(alarms_rung, "");
}

static void
alarm_ring_and_stop_other(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);

    alarm_ring(timer);
    CHECK(kolk_timer_is_pending(&self->other->timer));
    kolk_timer_stop(self->loop, &self->other->timer);
    CHECK(!kolk_timer_is_pending(&self->other->timer));
}

TEST(a_timer_that_is_due_and_queued_can_be_stopped)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a, b, c;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_init(&c, loop, 'c');
    a.timer.fn = alarm_ring_and_stop_other;
    a.other = &b;
    alarm_set(&a, KOLK_MS(1));
    alarm_set(&b, KOLK_MS(1));
    alarm_set(&c, KOLK_MS(1));
    test_advance(loop, KOLK_MS(2));
    CHECK_STR(alarms_rung, "ac");
}

static void
alarm_ring_and_move_other(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);

    alarm_ring(timer);
    alarm_set(self->other, KOLK_MS(9));
}

TEST(a_timer_that_is_due_and_queued_can_be_moved)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a, b;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    a.timer.fn = alarm_ring_and_move_other;
    a.other = &b;
    alarm_set(&a, KOLK_MS(1));
    alarm_set(&b, KOLK_MS(1));
    test_advance(loop, KOLK_MS(8));
    CHECK_STR(alarms_rung, "a");
    test_advance(loop, KOLK_MS(9));
    CHECK_STR(alarms_rung, "ab");
}

TEST(starting_a_pending_timer_moves_it)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a, b;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_set(&a, KOLK_MS(1));
    alarm_set(&b, KOLK_S(50));
    alarm_set(&a, KOLK_S(10)); /* later */
    alarm_set(&b, KOLK_MS(2)); /* sooner */
    test_advance(loop, KOLK_S(9));
    CHECK_STR(alarms_rung, "b");
    test_advance(loop, KOLK_S(60));
    CHECK_STR(alarms_rung, "ba");
    CHECK_INT(a.rang, KOLK_S(10));
}

static void
alarm_free(kolk_timer *timer)
{
    free(KOLK_CONTAINER_OF(timer, struct alarm, timer));
    alarms_left--;
}

TEST(a_callback_may_free_its_timer)
{
    kolk_loop *loop = test_loop_open();

    for (int i = 0; i < 100; i++) {
        struct alarm *a = malloc(sizeof *a);

        if (!CHECK(a != NULL)) {
            return;
        }
        alarm_init(a, loop, 'a');
        kolk_timer_init(&a->timer, alarm_free, alarm_free);
        alarm_set(a, KOLK_MS(1));
        alarms_left++;
    }
    test_advance(loop, KOLK_MS(1));
    CHECK_INT(alarms_left, 0);
}

/* ---- closing, and other threads ---- */

static void
alarm_dropped(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);

    CHECK(!kolk_timer_is_pending(timer));
    self->rings++;
    CHECK_ERR(kolk_call_at(self->loop, timer, 0), -ESHUTDOWN);
    if (self->other != NULL) {
        kolk_timer_stop(self->loop, &self->other->timer);
    }
}

TEST(closing_the_loop_drops_each_pending_timer_once)
{
    static const kolk_time deadlines[] = {-1, 0, 5, KOLK_S(1), KOLK_NEVER};
    enum { COUNT = sizeof deadlines / sizeof *deadlines };
    kolk_loop *loop = test_loop_open();
    static struct alarm alarms[COUNT], stopped, silent;

    alarm_init(&stopped, loop, 's');
    kolk_timer_init(&stopped.timer, alarm_ring, alarm_dropped);
    alarm_init(&silent, loop, 'q');
    alarm_set(&silent, 1);
    for (int i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i], loop, 'a');
        kolk_timer_init(&alarms[i].timer, alarm_ring, alarm_dropped);
        alarms[i].other = &stopped;
        alarm_set(&alarms[i], deadlines[i]);
    }
    alarm_set(&stopped, KOLK_S(2)); /* by the first that is dropped */
    test_loop_close(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_INT(alarms[i].rings, 1);
    }
    CHECK_INT(stopped.rings, 0);
    CHECK(!kolk_timer_is_pending(&silent.timer));
    CHECK_STR(alarms_rung, "");
}

static int alarm_result;

static void *
alarm_set_by_thread(void *timer)
{
    struct alarm *self = timer;

    alarm_result = kolk_call_at(self->loop, &self->timer, 0);
    return NULL;
}

static void
alarm_ask_thread(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);
    pthread_t thread;

    if (CHECK_INT(
            pthread_create(&thread, NULL, alarm_set_by_thread, self->other),
            0)) {
        CHECK_INT(pthread_join(thread, NULL), 0);
    }
}

TEST(another_thread_cannot_start_a_timer_of_a_running_loop)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a, b;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    a.timer.fn = alarm_ask_thread;
    a.other = &b;
    alarm_set(&a, 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(alarm_result, -KOLK_EMISUSE);
    CHECK(!kolk_timer_is_pending(&b.timer));
}
