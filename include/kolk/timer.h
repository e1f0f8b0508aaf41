/* kolk/timer.h - a callback at a deadline.
 *
 * SPDX-License-Identifier: MIT
 *
 * Deadlines are exact nanoseconds and a timer never fires early. Equal
 * deadlines fire in the order they were started. A stopped timer leaves at
 * once; starting and stopping allocate nothing and take constant time.
 */
#pragma once

#include <kolk/call.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_timer kolk_timer;
typedef void kolk_timer_fn(kolk_timer *timer);

struct kolk_timer {
    kolk_call call;     /* private: its place in the ready queue once due */
    kolk_time deadline; /* absolute, on kolk_now(loop); read only */
    kolk_timer_fn *fn;
    /* Runs instead of fn when the loop closes, or NULL. */
    kolk_timer_fn *dropped;
};

/* Prepares `timer` to run `fn`. `dropped` may be NULL: it is called, once, if
 * the loop is closed while the timer is pending. Either may restart or free
 * the timer. Thread-safe. */
KOLK_API void kolk_timer_init(kolk_timer *timer, kolk_timer_fn *fn,
                              kolk_timer_fn *dropped);

/* Runs the timer's function once `deadline` has passed. A deadline already
 * past runs in the next turn, never inside this call. Starting a pending timer
 * moves it. KOLK_NEVER waits until it is stopped or moved.
 *
 * The loop borrows `timer` until it fires or is stopped. Returns 0, or
 * -KOLK_EMISUSE from a thread that does not run the loop; -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_call_at(kolk_loop *loop, kolk_timer *timer,
                                          kolk_time deadline);

/* kolk_call_at() for `delay` nanoseconds from now; a negative delay is 0. */
KOLK_API KOLK_MUST_CHECK int kolk_call_later(kolk_loop *loop, kolk_timer *timer,
                                             kolk_time delay);

/* Stops `timer`, also one that is due and queued; a no-op if it is not
 * pending. Constant time. Cannot fail. */
KOLK_API void kolk_timer_stop(kolk_loop *loop, kolk_timer *timer);

/* Will `timer` still run? */
KOLK_API bool kolk_timer_is_pending(const kolk_timer *timer);

#ifdef __cplusplus
}
#endif
