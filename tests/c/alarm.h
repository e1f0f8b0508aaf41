/* alarm.h - timers that note when they rang, for tests.
 *
 * SPDX-License-Identifier: MIT
 *
 * Alarms are static, and so are clocks: the loop may be closed after the test's
 * function has been left.
 */
#pragma once

#include "kit.h"

#include <string.h>

struct alarm {
    kolk_timer timer;
    kolk_loop *loop;
    char name;
    int rings;
    kolk_time rang;      /* on the loop's clock */
    struct alarm *other; /* what it does to that one, its test says */
};

/* The names of the alarms that rang, in this order. */
static char alarms_rung[64];

static inline void
alarm_ring(kolk_timer *timer)
{
    struct alarm *self = KOLK_CONTAINER_OF(timer, struct alarm, timer);
    size_t length = strlen(alarms_rung);

    CHECK(!kolk_timer_is_pending(timer));
    CHECK(kolk_now(self->loop) >= timer->deadline);
    self->rings++;
    self->rang = kolk_now(self->loop);
    if (length < sizeof alarms_rung - 1) {
        alarms_rung[length] = self->name;
    }
}

static inline void
alarm_init(struct alarm *self, kolk_loop *loop, char name)
{
    *self = (struct alarm){.loop = loop, .name = name};
    kolk_timer_init(&self->timer, alarm_ring, NULL);
}

static inline void
alarm_set(struct alarm *self, kolk_time deadline)
{
    CHECK_OK(kolk_call_at(self->loop, &self->timer, deadline));
    CHECK(kolk_timer_is_pending(&self->timer));
    CHECK_INT(self->timer.deadline, deadline);
}

/* A clock that stands where the test puts it. */
struct manual {
    kolk_clock clock;
    kolk_time now;
};

static inline kolk_time
manual_now(kolk_clock *clock)
{
    return KOLK_CONTAINER_OF(clock, struct manual, clock)->now;
}

static inline kolk_time
manual_delay(kolk_clock *clock, kolk_time deadline)
{
    (void)clock;
    (void)deadline;
    return 0;
}

static inline kolk_loop *
manual_loop_open(struct manual *manual, kolk_time now)
{
    kolk_loop *loop = test_real_loop_open();

    *manual = (struct manual){
        .clock = {.now = manual_now, .delay = manual_delay}, .now = now};
    kolk_loop_set_clock(loop, &manual->clock);
    return loop;
}
