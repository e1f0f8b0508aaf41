/* kolk/scope.h - timeouts and shields: blocks that own a request to cancel.
 *
 * SPDX-License-Identifier: MIT
 *
 * A scope covers what its task does between begin and end, and closes in
 * reverse order of opening. Its own cancel request is seen only inside it, and
 * is gone after its end; of several, the outermost counts. `kolk_x x` variables
 * live in the task's frame; KOLK_TIMEOUT() and its like declare one and close
 * it when the block is left, by return or break too:
 *
 *     KOLK_TIMEOUT(timeout, KOLK_S(5));
 *     int err = fetch(url);
 *     return kolk_timeout_end(&timeout, err);
 *
 * A scope closed by leaving its block, with a failure that nobody has read,
 * reports it to the loop's error handler. A task that ends with a scope open is
 * a defect, reported with both places.
 */
#pragma once

#include <kolk/task.h>
#include <kolk/timer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What every scope begins with. */
typedef struct kolk_scope kolk_scope;
struct kolk_scope {
    /* private to scope.c */
    kolk_scope *outer;
    kolk_task *task; /* NULL while closed */
    const char *site;
    uint8_t kind;
    bool requested; /* its own cancel request is pending */
    bool seen;      /* ... and a wait has returned -ECANCELED for it */
    void *reserved[2];
};

typedef struct kolk_timeout {
    kolk_scope scope; /* private */
    kolk_timer timer; /* private */
} kolk_timeout;

typedef struct kolk_shield {
    kolk_scope scope; /* private */
} kolk_shield;

/* From now on, what the current task does has to be done by `deadline`
 * (absolute; KOLK_NEVER: no bound until it is rescheduled): past it, waits
 * return -ECANCELED until the scope ends. Returns 0; -KOLK_EMISUSE outside of
 * a task. Never waits. */
KOLK_API KOLK_MUST_CHECK int kolk_timeout_begin_at(const char *site,
                                                   kolk_timeout *timeout,
                                                   kolk_time deadline);
#define kolk_timeout_begin(timeout, deadline)                                  \
    kolk_timeout_begin_at(KOLK_HERE, (timeout), (deadline))

/* Ends the scope. `result` is what the block came to: -ECANCELED turns into
 * -ETIMEDOUT if this timeout caused it; all else is returned as it is.
 * -KOLK_EMISUSE if it is not the task's innermost open scope. Never waits. */
KOLK_API KOLK_MUST_CHECK int kolk_timeout_end(kolk_timeout *timeout,
                                              int result);

/* Moves the deadline of an open timeout. Returns 0; -ETIMEDOUT if it has
 * expired; -KOLK_EMISUSE if it is closed. Never waits. */
KOLK_API KOLK_MUST_CHECK int kolk_timeout_reschedule(kolk_timeout *timeout,
                                                     kolk_time deadline);

/* Has the deadline passed while the scope was open? */
KOLK_API bool kolk_timeout_is_expired(const kolk_timeout *timeout);

/* Closes the scope if it is open; what KOLK_TIMEOUT() does on leaving. */
KOLK_API void kolk_timeout_leave(kolk_timeout *timeout);

/* Declares `name`, a timeout `delay` nanoseconds from now, over the rest of
 * the block. */
#define KOLK_TIMEOUT(name, delay)                                              \
    kolk_timeout name __attribute__((cleanup(kolk_timeout_leave)));            \
    kolk__timeout_open(KOLK_HERE, &name, (delay))

/* For clean-up: until the end of this scope, requests from outside of it are
 * not seen; they stay pending. Returns 0; -KOLK_EMISUSE outside of a task.
 * Never waits. */
KOLK_API KOLK_MUST_CHECK int kolk_shield_begin_at(const char *site,
                                                  kolk_shield *shield);
#define kolk_shield_begin(shield) kolk_shield_begin_at(KOLK_HERE, (shield))

/* Ends the scope. Returns 0, or -KOLK_EMISUSE if it is not the task's
 * innermost open scope. Never waits. */
KOLK_API int kolk_shield_end(kolk_shield *shield);

/* Closes the scope if it is open; what KOLK_SHIELD() does on leaving. */
KOLK_API void kolk_shield_leave(kolk_shield *shield);

/* Declares `name`, a shield over the rest of the block. */
#define KOLK_SHIELD(name)                                                      \
    kolk_shield name __attribute__((cleanup(kolk_shield_leave)));              \
    kolk__shield_open(KOLK_HERE, &name)

/* asyncio.wait_for: kolk_await() with at most `delay` nanoseconds to go, then
 * the future is cancelled and waited for.
 * Returns its result, or -ETIMEDOUT. Cancellation: as kolk_await(). */
KOLK_API KOLK_MUST_CHECK int kolk_wait_for(kolk_future *future,
                                           kolk_time delay);

/* private: begin, or leave the scope closed so that its end says so */
KOLK_API void kolk__timeout_open(const char *site, kolk_timeout *timeout,
                                 kolk_time delay);
KOLK_API void kolk__shield_open(const char *site, kolk_shield *shield);

#ifdef __cplusplus
}
#endif
