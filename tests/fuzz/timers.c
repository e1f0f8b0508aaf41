/* timers.c - sequences of timer operations against a sorted array.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input is a program: each step starts, stops or moves timers, moves the
 * clock, forwards or backwards, or runs what is due. Callbacks start and stop
 * timers as well. The model is an array ordered by (deadline, start), and the
 * order in which timers have become due; after each step the loop must agree
 * with it. The loop is only as much of one as timers need.
 */
#include "loop/loop.h"

#include <stdlib.h>
#include <string.h>

enum {
    FUZZ_TIMERS = 128, /* more than the wheel looks at one by one */
    FUZZ_LOOK = 32,    /* as many are looked at */
    FUZZ_WAKES = 2 * KOLK__WHEEL_LEVELS, /* until a sleeper has fired one */
};

struct fuzz_timer {
    kolk_timer timer;
    uint8_t then;  /* what its callback does */
    bool is_shown; /* by kolk__timers_each() */
};

static struct {
    const uint8_t *at, *end;
    kolk_clock clock;
    kolk_time now;

    /* the model: indices of timers */
    uint8_t pending[FUZZ_TIMERS]; /* by (deadline, start) */
    size_t pending_count;
    uint8_t due[FUZZ_TIMERS]; /* in the order in which they run */
    size_t due_count;
} fuzz;

static kolk_loop fuzz_loop;
static struct fuzz_timer fuzz_timers[FUZZ_TIMERS];

static void
fuzz_check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- input ---- */

static uint8_t
fuzz_byte(void)
{
    return (uint8_t)(fuzz.at < fuzz.end ? *fuzz.at++ : 0);
}

static kolk_time
fuzz_delay(void)
{
    uint8_t shift = fuzz_byte() % 56;

    return (kolk_time)((uint64_t)fuzz_byte() << shift);
}

static kolk_time
fuzz_time(void)
{
    static const kolk_time extremes[] = {
        KOLK_NEVER, KOLK_NEVER - 1, INT64_MIN, INT64_MIN + 1, 0, -1, 1,
    };
    uint8_t kind = fuzz_byte();

    switch (kind % 8) {
    case 0:
        return extremes[fuzz_byte() % (sizeof extremes / sizeof *extremes)];
    case 1:
        return fuzz_timers[fuzz_byte() % FUZZ_TIMERS].timer.deadline;
    case 2: { /* the past */
        kolk_time delay = fuzz_delay();
        return fuzz.now < INT64_MIN + delay ? INT64_MIN : fuzz.now - delay;
    }
    default:
        return kolk_time_add(fuzz.now, fuzz_delay());
    }
}

static kolk_time
fuzz_now(kolk_clock *clock)
{
    (void)clock;
    return fuzz.now;
}

/* ---- the model ---- */

static kolk_time
fuzz_deadline(size_t place)
{
    return fuzz_timers[fuzz.pending[place]].timer.deadline;
}

/* Takes `index` out of `list`; returns whether it was in. */
static bool
fuzz_take(uint8_t *list, size_t *count, uint8_t index)
{
    uint8_t *found = memchr(list, index, *count);

    if (found == NULL) {
        return false;
    }
    memmove(found, found + 1, (size_t)(list + *count - found) - 1);
    --*count;
    return true;
}

static bool
fuzz_model_stop(uint8_t index)
{
    return fuzz_take(fuzz.pending, &fuzz.pending_count, index)
           || fuzz_take(fuzz.due, &fuzz.due_count, index);
}

static void
fuzz_model_start(uint8_t index, kolk_time deadline)
{
    size_t place = fuzz.pending_count++;

    while (place > 0 && fuzz_deadline(place - 1) > deadline) {
        fuzz.pending[place] = fuzz.pending[place - 1];
        place--;
    }
    fuzz.pending[place] = index;
}

static void
fuzz_model_collect(void)
{
    while (fuzz.pending_count > 0 && fuzz_deadline(0) <= fuzz.now
           && fuzz_deadline(0) != KOLK_NEVER) {
        uint8_t index = fuzz.pending[0];

        (void)fuzz_take(fuzz.pending, &fuzz.pending_count, index);
        fuzz.due[fuzz.due_count++] = index;
    }
}

/* ---- both ---- */

static void
fuzz_stop(uint8_t index)
{
    struct fuzz_timer *self = &fuzz_timers[index];

    fuzz_check(fuzz_model_stop(index) == kolk_timer_is_pending(&self->timer));
    kolk_timer_stop(&fuzz_loop, &self->timer);
    fuzz_check(!kolk_timer_is_pending(&self->timer));
}

static void
fuzz_start(uint8_t index, kolk_time deadline)
{
    struct fuzz_timer *self = &fuzz_timers[index];

    (void)fuzz_model_stop(index);
    fuzz_check(kolk_call_at(&fuzz_loop, &self->timer, deadline) == 0);
    fuzz_check(self->timer.deadline == deadline);
    fuzz_model_start(index, deadline);
}

static void
fuzz_start_later(uint8_t index, kolk_time delay)
{
    struct fuzz_timer *self = &fuzz_timers[index];

    (void)fuzz_model_stop(index);
    fuzz_check(kolk_call_later(&fuzz_loop, &self->timer, delay) == 0);
    fuzz_check(self->timer.deadline == kolk_time_add(fuzz.now, delay));
    fuzz_model_start(index, self->timer.deadline);
}

static void
fuzz_collect(void)
{
    kolk__timers_collect(&fuzz_loop, fuzz.now);
    fuzz_model_collect();
    fuzz_check(kolk__timers_next(&fuzz_loop) > fuzz.now
               || fuzz.now == KOLK_NEVER);
}

/* Runs the first `count` of what is due. */
static void
fuzz_run(size_t count)
{
    while (count > 0 && !kolk__ring_is_empty(&fuzz_loop.ready)) {
        kolk_call *call = (kolk_call *)fuzz_loop.ready.next;

        kolk__call_unlink(call);
        call->fn(call);
        count--;
    }
}

static void
fuzz_fn(kolk_timer *timer)
{
    struct fuzz_timer *self =
        KOLK_CONTAINER_OF(timer, struct fuzz_timer, timer);
    uint8_t index = (uint8_t)(self - fuzz_timers);

    fuzz_check(fuzz.due_count > 0 && fuzz.due[0] == index);
    fuzz_check(!kolk_timer_is_pending(timer));
    (void)fuzz_take(fuzz.due, &fuzz.due_count, index);
    switch (self->then % 8) {
    case 0:
        fuzz_start(index, fuzz.now);
        break;
    case 1:
        fuzz_stop((uint8_t)((index + 1) % FUZZ_TIMERS));
        break;
    case 2:
        fuzz_start((uint8_t)((index + 1) % FUZZ_TIMERS), timer->deadline);
        break;
    default:
        break;
    }
}

static void
fuzz_dropped(kolk_timer *timer)
{
    struct fuzz_timer *self =
        KOLK_CONTAINER_OF(timer, struct fuzz_timer, timer);
    uint8_t index = (uint8_t)(self - fuzz_timers);

    fuzz_check(!kolk_timer_is_pending(timer));
    fuzz_check(fuzz_take(fuzz.pending, &fuzz.pending_count, index));
    if (self->then % 8 == 1) {
        fuzz_stop((uint8_t)((index + 1) % FUZZ_TIMERS));
    }
}

/* Sleeps until a timer fires, as a loop would. */
static void
fuzz_sleep(void)
{
    size_t due = fuzz.due_count;

    for (int wakes = 0; fuzz.due_count == due; wakes++) {
        kolk_time next = kolk__timers_next(&fuzz_loop);

        if (next == KOLK_NEVER) {
            return;
        }
        fuzz_check(wakes < FUZZ_WAKES);
        fuzz.now = next > fuzz.now ? next : fuzz.now;
        fuzz_collect();
    }
}

static void
fuzz_step(void)
{
    uint8_t op = fuzz_byte();
    uint8_t index = fuzz_byte() % FUZZ_TIMERS;

    fuzz_timers[index].then = op / 16;
    switch (op % 16) {
    case 0:
    case 1:
        fuzz_stop(index);
        break;
    case 2:
        fuzz_start_later(index, fuzz_delay());
        break;
    case 3:
        fuzz_start_later(index, fuzz_time());
        break;
    case 4: { /* a crowd */
        kolk_time deadline = fuzz_time();
        kolk_time step = fuzz_delay();
        for (size_t i = index; i < FUZZ_TIMERS; i++) {
            fuzz_start((uint8_t)i, deadline);
            deadline = kolk_time_add(deadline, step);
        }
        break;
    }
    case 5:
        fuzz.now = kolk_time_add(fuzz.now, fuzz_delay());
        fuzz_collect();
        break;
    case 6: /* a clock that jumps */
        fuzz.now = fuzz_time();
        fuzz_collect();
        break;
    case 7: /* a new clock */
        fuzz.now = fuzz_time();
        kolk__timers_rebase(&fuzz_loop.timers, fuzz.now);
        break;
    case 8:
        fuzz_sleep();
        break;
    case 9:
        fuzz_run(index);
        break;
    default:
        fuzz_start(index, fuzz_time());
        break;
    }
}

/* ---- do they agree? ---- */

static int
fuzz_show(kolk_timer *timer, void *arg)
{
    struct fuzz_timer *self =
        KOLK_CONTAINER_OF(timer, struct fuzz_timer, timer);
    size_t *count = arg;

    fuzz_check(!self->is_shown && kolk_timer_is_pending(timer));
    self->is_shown = true;
    ++*count;
    return 0;
}

static void
fuzz_check_pending(void)
{
    size_t shown = 0;

    fuzz_check(fuzz_loop.timers.count == fuzz.pending_count);
    fuzz_check(kolk__timers_each(&fuzz_loop, fuzz_show, &shown) == 0);
    fuzz_check(shown == fuzz.pending_count);
    for (size_t i = 0; i < fuzz.pending_count; i++) {
        fuzz_check(fuzz_timers[fuzz.pending[i]].is_shown);
        fuzz_timers[fuzz.pending[i]].is_shown = false;
    }
    kolk_time next = kolk__timers_next(&fuzz_loop);
    kolk_time first = fuzz.pending_count > 0 ? fuzz_deadline(0) : KOLK_NEVER;
    fuzz_check(next <= first);
    if (fuzz.pending_count <= FUZZ_LOOK || first == KOLK_NEVER) {
        fuzz_check(next == first);
    }
}

static void
fuzz_check_due(void)
{
    const kolk_link *link = fuzz_loop.ready.next;

    for (size_t i = 0; i < fuzz.due_count; i++) {
        fuzz_check(link == &fuzz_timers[fuzz.due[i]].timer.call.link);
        link = link->next;
    }
    fuzz_check(link == &fuzz_loop.ready);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&fuzz, 0, sizeof fuzz);
    memset(&fuzz_loop, 0, sizeof fuzz_loop);
    fuzz.at = data;
    fuzz.end = data + size;
    fuzz.clock.now = fuzz_now;
    kolk__ring_init(&fuzz_loop.ready);
    fuzz_loop.thread = &kolk__this_thread;
    fuzz_loop.clock = &fuzz.clock;
    for (size_t i = 0; i < FUZZ_TIMERS; i++) {
        fuzz_timers[i].is_shown = false;
        kolk_timer_init(&fuzz_timers[i].timer, fuzz_fn, fuzz_dropped);
    }
    fuzz.now = fuzz_time();
    kolk__timers_init(&fuzz_loop.timers, fuzz.now);
    while (fuzz.at < fuzz.end) {
        fuzz_step();
        fuzz_check_pending();
        fuzz_check_due();
    }
    fuzz_run(FUZZ_TIMERS);
    kolk__timers_drop(&fuzz_loop);
    fuzz_check_pending();
    return 0;
}
