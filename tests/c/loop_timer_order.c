/* loop_timer_order.c - timers fire by deadline, and equals as they started.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alarm.h"

TEST(equal_deadlines_fire_in_start_order)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a, b, c;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_init(&c, loop, 'c');
    alarm_set(&b, KOLK_MS(50));
    alarm_set(&a, KOLK_MS(50));
    alarm_set(&c, KOLK_MS(10));
    kolk_timer_stop(loop, &c.timer);
    test_advance(loop, KOLK_MS(49));
    CHECK_STR(alarms_rung, "");
    alarm_set(&c, KOLK_MS(50)); /* elsewhere in the wheel than the others */
    test_advance(loop, KOLK_MS(50));
    CHECK_STR(alarms_rung, "bac");

    /* Past deadlines are no exception. */
    alarm_set(&c, KOLK_MS(1));
    alarm_set(&b, KOLK_MS(1));
    alarm_set(&a, 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "bacacb");
}

TEST(a_timer_moved_to_its_own_deadline_fires_behind_its_equals)
{
    kolk_loop *loop = test_loop_open();
    static struct alarm a, b;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_set(&a, KOLK_MS(5));
    alarm_set(&b, KOLK_MS(5));
    alarm_set(&a, KOLK_MS(5));
    test_advance(loop, KOLK_MS(5));
    CHECK_STR(alarms_rung, "ba");
}

enum { ALARMS_MAX = 20000 };

static struct alarm alarms[ALARMS_MAX];
static struct alarm *alarms_last; /* that rang */
static size_t alarms_count;       /* that rang */

static void
alarm_ring_in_order(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);
    struct alarm *last = alarms_last;

    CHECK(kolk_now(self->loop) >= timer->deadline);
    if (last != NULL) {
        CHECK(last->timer.deadline < timer->deadline
              || (last->timer.deadline == timer->deadline && last < self));
    }
    alarms_last = self;
    alarms_count++;
}

static size_t
alarms_scaled(void)
{
    size_t count = test_count(ALARMS_MAX);

    return count < ALARMS_MAX ? count : ALARMS_MAX;
}

/* Starts many timers, each up to `spread` from now and at a multiple of
 * `grain`, stops every third, and lets the rest fire. */
static void
alarms_check_order(kolk_time spread, kolk_time grain)
{
    kolk_loop *loop = test_loop_open();
    size_t count = alarms_scaled();
    uint64_t random = 1;

    alarms_last = NULL;
    alarms_count = 0;
    for (size_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        kolk_time delay = (kolk_time)((random >> 1) % (uint64_t)spread);

        alarm_init(&alarms[i], loop, 'a');
        alarms[i].timer.fn = alarm_ring_in_order;
        alarm_set(&alarms[i], delay - delay % grain);
    }
    for (size_t i = 0; i < count; i += 3) {
        kolk_timer_stop(loop, &alarms[i].timer);
        CHECK(!kolk_timer_is_pending(&alarms[i].timer));
    }
    test_advance(loop, spread);
    CHECK_INT(alarms_count, count - (count + 2) / 3);
    test_loop_close(loop);
}

TEST(timers_fire_by_deadline_whatever_the_order_of_their_starts)
{
    alarms_check_order(KOLK_S(100), 1);
    alarms_check_order(KOLK_MS(1), 1);         /* a crowd */
    alarms_check_order(KOLK_S(60), KOLK_S(1)); /* many equals */
    alarms_check_order(KOLK_NEVER - 1, 1);     /* centuries */
}

TEST(timers_due_at_once_fire_by_deadline)
{
    static struct manual manual;
    kolk_loop *loop = manual_loop_open(&manual, 0);

    for (int i = 0; i < 4; i++) {
        alarm_init(&alarms[i], loop, (char)('a' + i));
    }
    alarm_set(&alarms[0], KOLK_S(100));
    alarm_set(&alarms[1], KOLK_MS(1));
    alarm_set(&alarms[2], KOLK_S(99999999));
    alarm_set(&alarms[3], KOLK_S(1));
    manual.now = KOLK_S(1000000000);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "bdac");
}

TEST(a_clock_that_goes_back_keeps_deadlines_and_order)
{
    static struct manual manual;
    kolk_loop *loop = manual_loop_open(&manual, KOLK_S(1000));
    static struct alarm a, b, c;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_init(&c, loop, 'c');
    alarm_set(&a, KOLK_S(2000));
    CHECK_OK(kolk_run_once(loop));
    manual.now = KOLK_S(1);
    alarm_set(&b, KOLK_S(20));
    alarm_set(&c, KOLK_S(10));
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "");
    manual.now = KOLK_S(10);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "c");
    manual.now = KOLK_S(2000);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "cba");
}

TEST(a_new_clock_keeps_what_is_pending)
{
    static struct manual manual;
    kolk_loop *loop = test_real_loop_open();
    static struct alarm a, b, c;

    alarm_init(&a, loop, 'a');
    alarm_init(&b, loop, 'b');
    alarm_init(&c, loop, 'c');
    alarm_set(&c, KOLK_NEVER);
    alarm_set(&a, KOLK_MS(2));
    alarm_set(&b, KOLK_MS(1)); /* all but one due long ago */
    manual = (struct manual){.clock = {.now = manual_now}};
    kolk_loop_set_clock(loop, &manual.clock);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "");
    manual.now = KOLK_MS(2);
    CHECK_OK(kolk_run_once(loop));
    CHECK_STR(alarms_rung, "ba");
    CHECK(kolk_timer_is_pending(&c.timer));
}

TEST(many_timers_in_the_past_leave_from_the_middle)
{
    kolk_loop *loop = test_loop_open();
    size_t count = alarms_scaled();

    for (size_t i = 0; i < count; i++) {
        alarm_init(&alarms[i], loop, 'a');
        alarm_set(&alarms[i], -(kolk_time)(i * 7919 % count));
    }
    for (size_t i = 0; i < count; i++) {
        struct alarm *alarm = &alarms[(i + count / 2) % count];

        if (alarm != &alarms[0]) {
            kolk_timer_stop(loop, &alarm->timer);
        }
    }
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(alarms[0].rings, 1);
    CHECK_INT(kolk_run_once(loop), 0);
    CHECK_INT(strlen(alarms_rung), 1);
}
