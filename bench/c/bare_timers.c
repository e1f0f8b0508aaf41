/* bare_timers.c - what do starting, cancelling and firing one of N timers
 * cost?
 *
 * SPDX-License-Identifier: MIT
 *
 * A hierarchical timing wheel: levels of 64 slots, a tick of 65 us at the
 * bottom. Starting and cancelling link and unlink, nothing else. When a tick
 * has passed, its slot is sorted by the nanoseconds that the wheel does not
 * see, so that timers fire in the exact order of their deadlines and, where
 * these are equal, in the order they were started: moving a slot down a level
 * and the sort both keep that order.
 */
#include "bench.h"

#include <stdbool.h>

enum {
    WHEEL_TICK_BITS = 16, /* of a deadline in nanoseconds */
    WHEEL_LEVEL_BITS = 6,
    WHEEL_SLOTS = 1 << WHEEL_LEVEL_BITS,
    WHEEL_LEVELS = 8,
    WHEEL_DIGIT_BITS = 8, /* one pass of the sort; two make a tick */
    WHEEL_DIGITS = 1 << WHEEL_DIGIT_BITS,
};

struct bare_timer {
    struct bare_timer *next;
    struct bare_timer *prev;
    int64_t deadline;
    void (*fn)(struct bare_timer *timer);
};

static struct {
    struct bare_timer slots[WHEEL_LEVELS][WHEEL_SLOTS]; /* heads of rings */
    int64_t tick;                                       /* the last one run */
    struct bare_timer **due; /* room for two copies of the fullest slot */
    size_t room;             /* in each */
} wheel;

static long timers_fired;
static int64_t timers_last; /* deadline of the one that fired last */

static void
wheel_open(size_t timers)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        for (int i = 0; i < WHEEL_SLOTS; i++) {
            struct bare_timer *head = &wheel.slots[level][i];
            head->next = head->prev = head;
        }
    }
    wheel.tick = bench_wall() >> WHEEL_TICK_BITS;
    wheel.room = timers;
    wheel.due = bench_calloc(2 * timers, sizeof *wheel.due);
}

/* Links `timer` into the slot of `tick`, which is not before wheel.tick. */
static inline void
wheel_link(struct bare_timer *timer, int64_t tick)
{
    int highest = 63 - __builtin_clzll((uint64_t)(tick ^ wheel.tick) | 1);
    int level = highest / WHEEL_LEVEL_BITS;
    int64_t slot = tick >> (level * WHEEL_LEVEL_BITS) & (WHEEL_SLOTS - 1);
    struct bare_timer *head = &wheel.slots[level][slot];

    timer->next = head;
    timer->prev = head->prev;
    head->prev->next = timer;
    head->prev = timer;
}

static inline void
wheel_start(struct bare_timer *timer)
{
    int64_t tick = timer->deadline >> WHEEL_TICK_BITS;

    wheel_link(timer, tick > wheel.tick ? tick : wheel.tick + 1);
}

static inline void
wheel_cancel(struct bare_timer *timer)
{
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
}

/* Stable sort of `count` timers by one digit of their deadlines. */
static void
wheel_sort_digit(struct bare_timer **from, struct bare_timer **to, size_t count,
                 int shift)
{
    size_t place[WHEEL_DIGITS] = {0};
    size_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        place[from[i]->deadline >> shift & (WHEEL_DIGITS - 1)]++;
    }
    for (int i = 0; i < WHEEL_DIGITS; i++) {
        size_t here = place[i];
        place[i] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++) {
        to[place[from[i]->deadline >> shift & (WHEEL_DIGITS - 1)]++] = from[i];
    }
}

static void
wheel_fire(struct bare_timer *head)
{
    size_t count = 0;

    for (struct bare_timer *t = head->next; t != head; t = t->next) {
        wheel.due[count++] = t;
    }
    head->next = head->prev = head;
    wheel_sort_digit(wheel.due, wheel.due + wheel.room, count, 0);
    wheel_sort_digit(wheel.due + wheel.room, wheel.due, count,
                     WHEEL_DIGIT_BITS);
    for (size_t i = 0; i < count; i++) {
        wheel.due[i]->fn(wheel.due[i]);
    }
}

/* Moves the timers of one slot to the levels below it. */
static void
wheel_cascade(struct bare_timer *head)
{
    struct bare_timer *timer = head->next;

    head->next = head->prev = head;
    while (timer != head) {
        struct bare_timer *next = timer->next;
        wheel_link(timer, timer->deadline >> WHEEL_TICK_BITS);
        timer = next;
    }
}

static void
wheel_advance(int64_t now)
{
    int64_t last = now >> WHEEL_TICK_BITS;

    /* A tick is run when it is over, so no timer is early. */
    while (wheel.tick < last - 1) {
        int64_t tick = ++wheel.tick;
        for (int level = WHEEL_LEVELS - 1; level > 0; level--) {
            int shift = level * WHEEL_LEVEL_BITS;
            if ((tick & ((INT64_C(1) << shift) - 1)) == 0) {
                wheel_cascade(
                    &wheel.slots[level][tick >> shift & (WHEEL_SLOTS - 1)]);
            }
        }
        wheel_fire(&wheel.slots[0][tick & (WHEEL_SLOTS - 1)]);
    }
}

static void
timers_fire(struct bare_timer *timer)
{
    if (timer->deadline < timers_last) {
        bench_die("timers out of order", EINVAL);
    }
    timers_last = timer->deadline;
    timers_fired++;
}

/* Starts all timers, each due `delay` to `delay + spread` from now. */
static double
timers_start(struct bare_timer *timers, long count, int64_t delay,
             uint64_t spread)
{
    uint64_t random = 1;
    int64_t start = bench_cpu();
    int64_t now = bench_wall() + delay;

    for (long i = 0; i < count; i++) {
        timers[i].deadline = now + (int64_t)(bench_random(&random) % spread);
        timers[i].fn = timers_fire;
        wheel_start(&timers[i]);
    }
    return (double)(bench_cpu() - start) / (double)count;
}

static double
timers_cancel(struct bare_timer *timers, long count)
{
    int64_t start = bench_cpu();

    for (long i = 0; i < count; i++) {
        wheel_cancel(&timers[i]);
    }
    return (double)(bench_cpu() - start) / (double)count;
}

/* Sleeps until every timer is due, then fires them. */
static double
timers_expire(struct bare_timer *timers, long count)
{
    (void)timers_start(timers, count, BENCH_TIMER_SPREAD, BENCH_TIMER_SPREAD);
    bench_sleep(3 * BENCH_TIMER_SPREAD);
    int64_t start = bench_cpu();
    wheel_advance(bench_wall());
    double each = (double)(bench_cpu() - start) / (double)count;
    if (timers_fired != count) {
        bench_die("timers that did not fire", EINVAL);
    }
    return each;
}

int
main(int argc, char **argv)
{
    long count = bench_size(argc, argv, 1, 1000000);
    struct bare_timer *timers = bench_calloc((size_t)count, sizeof *timers);

    wheel_open((size_t)count);
    (void)timers_start(timers, count, BENCH_TIMER_FAR, BENCH_TIMER_FAR);
    (void)timers_cancel(timers, count); /* caches and pages are warm now */
    bench_print("timer_insert", count,
                timers_start(timers, count, BENCH_TIMER_FAR, BENCH_TIMER_FAR));
    bench_print("timer_cancel", count, timers_cancel(timers, count));
    bench_print("timer_fire", count, timers_expire(timers, count));
    free(wheel.due);
    free(timers);
    return 0;
}
