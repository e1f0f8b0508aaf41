/* kit_loop.c - the loops of a test, and their virtual clock.
 *
 * SPDX-License-Identifier: MIT
 *
 * A virtual clock moves only where its loop would sleep. The loop asks it how
 * long to sleep; the clock first says 0, so that the loop polls if it has
 * anything to poll for, and jumps to the deadline only if nothing was found.
 * So what is ready always comes before what is late, as it does for a program
 * that is quick enough.
 */
#include "kit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct kit_loop {
    kolk_loop *loop;
    struct kit_loop *next;

    /* the virtual clock */
    kolk_clock clock;
    kolk_time now;
    bool is_virtual;
    bool is_frozen; /* it does not jump */
    bool is_asked;  /* the loop has had its chance to poll */

    /* test_advance() */
    kolk_timer timer;
};

static pthread_mutex_t kit_loops_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kit_loop *kit_loops; /* guarded by kit_loops_lock */
static _Thread_local bool kit_is_closing;
static _Thread_local int kit_found; /* by polls since a clock was asked */

/* ---- the clock ---- */

static kolk_time
kit_clock_now(kolk_clock *clock)
{
    return KOLK_CONTAINER_OF(clock, struct kit_loop, clock)->now;
}

static kolk_time
kit_clock_delay(kolk_clock *clock, kolk_time deadline)
{
    struct kit_loop *self = KOLK_CONTAINER_OF(clock, struct kit_loop, clock);

    if (deadline == KOLK_NEVER) {
        return KOLK_NEVER;
    }
    if (deadline > self->now && !self->is_frozen) {
        if (self->is_asked && kit_found == 0) {
            self->now = deadline;
        }
        self->is_asked = self->now < deadline;
    }
    kit_found = 0;
    return 0;
}

void
kit_polled(int events)
{
    kit_found += events > 0 ? events : 0;
}

/* ---- opening and closing ---- */

static kolk_loop *
kit_loop_open(const kolk_loop_options *options, bool is_virtual)
{
    struct kit_loop *self = calloc(1, sizeof *self);

    int err = self != NULL ? kolk_loop_open(options, &self->loop) : -ENOMEM;
    if (err < 0) {
        free(self);
        CHECK_OK(err);
        return NULL;
    }
    self->is_virtual = is_virtual;
    self->clock = (kolk_clock){.now = kit_clock_now, .delay = kit_clock_delay};
    if (is_virtual) {
        kolk_loop_set_clock(self->loop, &self->clock);
    }
    pthread_mutex_lock(&kit_loops_lock);
    self->next = kit_loops;
    kit_loops = self;
    pthread_mutex_unlock(&kit_loops_lock);
    return self->loop;
}

kolk_loop *
test_loop_open(void)
{
    return kit_loop_open(NULL, true);
}

kolk_loop *
test_real_loop_open(void)
{
    return kit_loop_open(NULL, false);
}

kolk_loop *
test_loop_open_with(const kolk_loop_options *options)
{
    return kit_loop_open(options, true);
}

kolk_loop *
test_real_loop_open_with(const kolk_loop_options *options)
{
    return kit_loop_open(options, false);
}

/* The kit's part of `loop`, taken off the list if `take`; NULL if it has none.
 */
static struct kit_loop *
kit_loop_find(kolk_loop *loop, bool take)
{
    struct kit_loop **at = &kit_loops;

    pthread_mutex_lock(&kit_loops_lock);
    while (*at != NULL && (*at)->loop != loop) {
        at = &(*at)->next;
    }
    struct kit_loop *self = *at;
    if (self != NULL && take) {
        *at = self->next;
    }
    pthread_mutex_unlock(&kit_loops_lock);
    return self;
}

void
test_loop_close(kolk_loop *loop)
{
    struct kit_loop *self = kit_loop_find(loop, true);

    if (!CHECK(self != NULL)) {
        return;
    }
    kit_is_closing = true;
    int err = kolk_loop_close(loop);
    kit_is_closing = false;
    free(self);
    CHECK_OK(err);
}

void
kit_loops_fini(void)
{
    while (kit_loops != NULL) {
        test_loop_close(kit_loops->loop);
    }
}

/* ---- running ---- */

void
test_settle(kolk_loop *loop)
{
    struct kit_loop *self = kit_loop_find(loop, false);
    int more;

    if (!CHECK(self != NULL)) {
        return;
    }
    self->is_frozen = true;
    do {
        more = kolk_run_once(loop);
    } while (more > 0);
    self->is_frozen = false;
    CHECK_OK(more);
}

static void
kit_advance_end(kolk_timer *timer)
{
    struct kit_loop *self = KOLK_CONTAINER_OF(timer, struct kit_loop, timer);

    kolk_loop_stop(self->loop);
}

void
test_advance(kolk_loop *loop, kolk_time to)
{
    struct kit_loop *self = kit_loop_find(loop, false);

    if (!CHECK(self != NULL) || !CHECK(self->is_virtual)) {
        return;
    }
    if (to > self->now) {
        kolk_timer_init(&self->timer, kit_advance_end, NULL);
        CHECK_OK(kolk_call_at(loop, &self->timer, to));
        do { /* a callback may stop the loop */
            CHECK_OK(kolk_run_forever(loop));
        } while (kolk_timer_is_pending(&self->timer) && kit_failures() == 0);
        kolk_timer_stop(loop, &self->timer);
    }
    test_settle(loop);
}

/* ---- where a check has failed ---- */

bool
kit_in_library(void)
{
    return kit_is_closing || kolk_current_task() != NULL
           || kolk_current_loop() != NULL;
}

void
kit_interrupt(void)
{
    kolk_task *task = kolk_current_task();
    kolk_loop *loop = kolk_current_loop();

    if (task != NULL) {
        (void)kolk_task_cancel(task);
    } else if (loop != NULL) {
        kolk_loop_stop(loop);
    }
}
