/* kolk_timers.c - what do starting, cancelling and firing one of N timers
 * cost?
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench_kolk.h"

static long timers_count;
static long timers_fired;
static kolk_time timers_last; /* deadline of the one that fired last */

static void
timers_fire(kolk_timer *timer)
{
    if (timer->deadline < timers_last) {
        bench_die("timers out of order", EINVAL);
    }
    timers_last = timer->deadline;
    timers_fired++;
}

/* Starts all timers, each due `delay` to `delay + spread` from now. */
static double
timers_start(kolk_timer *timers, int64_t delay, uint64_t spread)
{
    kolk_loop *loop = kolk_current_loop();
    uint64_t random = 1;
    int64_t start = bench_cpu();
    kolk_time now = kolk_now(loop) + delay;

    for (long i = 0; i < timers_count; i++) {
        kolk_time due = now + (int64_t)(bench_random(&random) % spread);
        bench_ok("kolk_call_at", kolk_call_at(loop, &timers[i], due));
    }
    return (double)(bench_cpu() - start) / (double)timers_count;
}

static double
timers_cancel(kolk_timer *timers)
{
    kolk_loop *loop = kolk_current_loop();
    int64_t start = bench_cpu();

    for (long i = 0; i < timers_count; i++) {
        kolk_timer_stop(loop, &timers[i]);
    }
    return (double)(bench_cpu() - start) / (double)timers_count;
}

/* Sleeps, the thread and not the task, until every timer is due; this task's
 * own deadline comes after all of theirs. */
static double
timers_expire(kolk_timer *timers)
{
    (void)timers_start(timers, BENCH_TIMER_SPREAD, BENCH_TIMER_SPREAD);
    kolk_time end = kolk_now(NULL) + 2 * BENCH_TIMER_SPREAD;
    bench_sleep(3 * BENCH_TIMER_SPREAD);
    int64_t start = bench_cpu();
    bench_ok("kolk_sleep_until", kolk_sleep_until(end));
    double each = (double)(bench_cpu() - start) / (double)timers_count;
    if (timers_fired != timers_count) {
        bench_die("timers that did not fire", EINVAL);
    }
    return each;
}

static int
timers_main(void *unused)
{
    kolk_timer *timers = bench_calloc((size_t)timers_count, sizeof *timers);

    (void)unused;
    for (long i = 0; i < timers_count; i++) {
        kolk_timer_init(&timers[i], timers_fire, NULL);
    }
    (void)timers_start(timers, BENCH_TIMER_FAR, BENCH_TIMER_FAR);
    (void)timers_cancel(timers); /* caches and pages are warm now */
    bench_print("timer_insert", timers_count,
                timers_start(timers, BENCH_TIMER_FAR, BENCH_TIMER_FAR));
    bench_print("timer_cancel", timers_count, timers_cancel(timers));
    bench_print("timer_fire", timers_count, timers_expire(timers));
    free(timers);
    return 0;
}

int
main(int argc, char **argv)
{
    timers_count = bench_size(argc, argv, 1, 1000000);
    return bench_ok("kolk_run", kolk_run(timers_main, NULL));
}
