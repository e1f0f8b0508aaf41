/* gather.c - waiting for several futures at once. See kolk/gather.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Gathering and waiting are one wait with a different end. Each future that is
 * not done gets a done callback; whichever of them sees that the wait is over
 * wakes the task, once. A request to cancel that comes after the last future
 * was done, and before its callback has run, came too late: so the interrupts
 * look at the futures, not at what the callbacks have seen.
 */
#include <kolk/gather.h>

#include <errno.h>

#include "base/sys.h"
#include "task/park.h"

struct gather_child {
    kolk_call call; /* a done callback of `future` */
    struct gather *gather;
    kolk_future *future; /* borrowed */
};

/* Not on the task's stack: a task that is dropped with its loop leaves its
 * callbacks behind. */
struct gather {
    kolk__coro *coro;
    kolk_future *const *futures;
    size_t n;
    kolk_wait_mode mode;
    kolk_future *failed; /* the first that did, or NULL */
    size_t pending;      /* callbacks that have not run */
    bool is_settled;     /* the task has been woken */
    bool is_cancelled;   /* and so are the futures */
    kolk_timer timer;
    struct gather_child children[];
};

/* ---- is it over? ---- */

/* Is there nothing to wait for? Sets `*failed` to the first failure if it is
 * NULL. */
static bool
gather_is_over(kolk_future *const futures[], size_t n, kolk_wait_mode mode,
               kolk_future **failed)
{
    size_t done = 0;

    for (size_t i = 0; i < n; i++) {
        done += kolk__future_is_done(futures[i]);
        if (kolk__future_is_done(futures[i]) && futures[i]->result < 0
            && *failed == NULL) {
            *failed = futures[i];
        }
    }
    return done == n || (mode == KOLK_FIRST_COMPLETED && done > 0)
           || (mode == KOLK_FIRST_ERROR && *failed != NULL);
}

static void
gather_settle(struct gather *gather, int result)
{
    gather->is_settled = true;
    kolk__wake(gather->coro, result);
}

static void
gather_child_done(kolk_call *call)
{
    struct gather_child *child =
        KOLK_CONTAINER_OF(call, struct gather_child, call);
    struct gather *gather = child->gather;
    bool has_failed = child->future->result < 0;

    gather->pending--;
    if (gather->is_settled) {
        return;
    }
    if (has_failed && gather->failed == NULL) {
        gather->failed = child->future;
    }
    if (gather->pending == 0 || gather->mode == KOLK_FIRST_COMPLETED
        || (gather->mode == KOLK_FIRST_ERROR && has_failed)) {
        gather_settle(gather, gather->is_cancelled ? -ECANCELED : 0);
    }
}

static void
gather_expire(kolk_timer *timer)
{
    struct gather *gather = KOLK_CONTAINER_OF(timer, struct gather, timer);

    if (!gather->is_settled) {
        gather_settle(gather, 0);
    }
}

/* ---- cancellation ---- */

/* From here on, the wait is for all. */
static void
gather_cancel(struct gather *gather)
{
    gather->is_cancelled = true;
    gather->mode = KOLK_ALL_COMPLETED;
    for (size_t i = 0; i < gather->n; i++) {
        (void)kolk_future_cancel(gather->futures[i]); /* or it is done */
    }
}

static void
gather_interrupt(kolk__coro *coro)
{
    struct gather *gather = coro->object;

    if (gather_is_over(gather->futures, gather->n, gather->mode,
                       &gather->failed)) {
        gather_settle(gather, 0);
    } else {
        gather_cancel(gather);
    }
}

static void
gather_wait_interrupt(kolk__coro *coro)
{
    struct gather *gather = coro->object;
    bool is_over = gather_is_over(gather->futures, gather->n, gather->mode,
                                  &gather->failed);

    gather_settle(gather, is_over ? 0 : -ECANCELED);
}

/* ---- the wait ---- */

/* The current coroutine if it may wait for `futures`. */
static kolk__coro *
gather_waiter(kolk_future *const futures[], size_t n)
{
    kolk__coro *coro = kolk__coro_or_misuse("gathering outside a task");

    for (size_t i = 0; coro != NULL && i < n; i++) {
        if (futures[i]->loop != coro->loop || futures[i] == coro->task) {
            (void)kolk__misuse(coro->loop,
                               "gathering oneself, or another loop's future");
            return NULL;
        }
    }
    return coro;
}

/* A wait with its callbacks in place; NULL without memory. */
static struct gather *
gather_new(kolk__coro *coro, kolk_future *const futures[], size_t n,
           kolk_wait_mode mode)
{
    size_t pending = 0;

    for (size_t i = 0; i < n; i++) {
        pending += !kolk__future_is_done(futures[i]);
    }
    struct gather *gather =
        kolk__sys.malloc(sizeof *gather + pending * sizeof gather->children[0]);
    if (gather == NULL) {
        return NULL;
    }
    *gather = (struct gather){.coro = coro,
                              .futures = futures,
                              .n = n,
                              .mode = mode,
                              .pending = pending};
    kolk_timer_init(&gather->timer, gather_expire, NULL);
    for (size_t i = 0, next = 0; i < n; i++) {
        if (!kolk__future_is_done(futures[i])) {
            struct gather_child *child = &gather->children[next++];

            *child =
                (struct gather_child){.gather = gather, .future = futures[i]};
            kolk_call_init(&child->call, gather_child_done, NULL);
            kolk__call_link(&futures[i]->waiters, &child->call);
        }
    }
    return gather;
}

static void
gather_free(struct gather *gather, size_t children)
{
    for (size_t i = 0; gather->pending > 0 && i < children; i++) {
        kolk_call *call = &gather->children[i].call;

        if (kolk__call_is_linked(call)) {
            kolk__call_unlink(call);
        }
    }
    kolk_timer_stop(gather->coro->loop, &gather->timer);
    kolk__sys.free(gather);
}

/* Waits until `mode` holds for futures of which some are not done. Returns 0,
 * -ECANCELED or -ENOMEM. */
static int
gather_park(kolk__coro *coro, kolk_future *const futures[], size_t n,
            kolk_wait_mode mode, kolk_future **failed)
{
    struct gather *gather = gather_new(coro, futures, n, mode);
    kolk__interrupt_fn *interrupt = gather_interrupt;

    if (gather == NULL) {
        return -ENOMEM;
    }
    size_t children = gather->pending;
    if (coro->is_cancelled) {
        kolk__cancel_seen(coro);
        gather_cancel(gather);
        interrupt = NULL;
    }
    int err = kolk__park(coro, "gather", interrupt, gather);
    *failed = gather->failed;
    gather_free(gather, children);
    return err;
}

static int
gather_run(kolk_future *const futures[], size_t n, kolk_wait_mode mode,
           int results[])
{
    kolk__coro *coro = gather_waiter(futures, n);
    kolk_future *failed = NULL;
    int err = 0;

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (!gather_is_over(futures, n, mode, &failed)) {
        err = gather_park(coro, futures, n, mode, &failed);
    }
    for (size_t i = 0; results != NULL && i < n; i++) {
        results[i] = kolk_future_result(futures[i]);
    }
    if (err < 0 || failed == NULL || mode == KOLK_ALL_COMPLETED) {
        return err;
    }
    return kolk_future_result(failed);
}

int
kolk_gather(kolk_future *const futures[], size_t n, int results[])
{
    return gather_run(futures, n, KOLK_FIRST_ERROR, results);
}

int
kolk_gather_all(kolk_future *const futures[], size_t n, int results[])
{
    return gather_run(futures, n, KOLK_ALL_COMPLETED, results);
}

static int
gather_wait_park(kolk__coro *coro, kolk_future *const futures[], size_t n,
                 kolk_wait_mode mode, kolk_time deadline)
{
    struct gather *gather = gather_new(coro, futures, n, mode);

    if (gather == NULL) {
        return -ENOMEM;
    }
    size_t children = gather->pending;
    int err = 0;
    if (deadline != KOLK_NEVER) {
        err = kolk_call_at(coro->loop, &gather->timer, deadline);
    }
    if (err == 0) {
        err = kolk__park(coro, "wait", gather_wait_interrupt, gather);
    }
    gather_free(gather, children);
    return err;
}

int
kolk_wait(kolk_future *const futures[], size_t n, kolk_wait_mode mode,
          kolk_time deadline)
{
    kolk__coro *coro = gather_waiter(futures, n);
    kolk_future *failed = NULL;
    int done = 0;

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (!gather_is_over(futures, n, mode, &failed)) {
        int err = coro->is_cancelled
                      ? kolk__wait_refused(coro)
                      : gather_wait_park(coro, futures, n, mode, deadline);

        if (err < 0) {
            return err;
        }
    }
    for (size_t i = 0; i < n; i++) {
        done += kolk__future_is_done(futures[i]);
    }
    return done;
}
