/* future.c - results that are not there yet. See kolk/future.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * What waits for a future, tasks and done callbacks alike, is a ring of calls;
 * finishing queues them all, in order. A plain future has room for a call of
 * its own, by which its result travels through the inbox from other threads
 * without an allocation.
 */
#include <errno.h>

#include <kolk/debug.h> /* where a task was spawned */

#include "base/sys.h"
#include "task/park.h"
#include "task/switch_to.h"

enum {
    PLAIN_OPEN,    /* nobody has sent a result from a thread */
    PLAIN_SENT,    /* somebody has, and it keeps the future alive */
    PLAIN_ARRIVED, /* ... or the loop was closed before */
};

struct future_plain {
    kolk_future future;

    /* from other threads: whoever claims it may write the rest */
    atomic_int claim;
    int result;
    void *value;
    kolk_inbox *inbox; /* a reference */
    kolk_call call;
};

static struct future_plain *
future_plain_of(kolk_future *future)
{
    return KOLK_CONTAINER_OF(future, struct future_plain, future);
}

/* ---- life ---- */

/* The result that another thread sent has arrived. References are counted in
 * the loop's thread only, so until here the state stood for one. */
static void
future_arrive(kolk_call *call)
{
    struct future_plain *plain =
        KOLK_CONTAINER_OF(call, struct future_plain, call);

    kolk_future_ref(&plain->future);
    atomic_store(&plain->claim, PLAIN_ARRIVED);
    /* Set or cancelled on the loop's side meanwhile: that was first. */
    (void)!kolk_future_set_result(&plain->future, plain->result, plain->value);
    kolk_future_unref(&plain->future);
}

/* The loop was closed before the result arrived. */
static void
future_arrive_dropped(kolk_call *call)
{
    struct future_plain *plain =
        KOLK_CONTAINER_OF(call, struct future_plain, call);

    kolk_future_ref(&plain->future);
    atomic_store(&plain->claim, PLAIN_ARRIVED);
    kolk_future_unref(&plain->future);
}

/* Is a result on its way, which will look for the future? */
static bool
future_is_expected(kolk_future *future)
{
    return !kolk__future_is_task(future)
           && atomic_load(&future_plain_of(future)->claim) == PLAIN_SENT;
}

int
kolk_future_new(kolk_loop *loop, kolk_future **out)
{
    if (loop == NULL) {
        loop = kolk__this_thread.loop;
    }
    if (loop == NULL) {
        return kolk__misuse(NULL, "kolk_future_new() without a loop");
    }
    int err = kolk__loop_check(loop, "kolk_future_new()");
    if (err < 0) {
        return err;
    }
    struct future_plain *plain = kolk__sys.calloc(1, sizeof *plain);
    if (plain == NULL) {
        return -ENOMEM;
    }
    kolk__ring_init(&plain->future.waiters);
    plain->future.loop = loop;
    plain->future.bits = KOLK__FUTURE_REF;
    kolk_call_init(&plain->call, future_arrive, future_arrive_dropped);
    plain->inbox = kolk_inbox_ref(loop->inbox);
    kolk__loop_ref(loop);
    *out = &plain->future;
    return 0;
}

kolk_future *
kolk_future_ref(kolk_future *future)
{
    future->bits += KOLK__FUTURE_REF;
    return future;
}

static void
future_report_unread(kolk_future *future)
{
    const char *site = kolk_task_site(future);

    kolk__report(future->loop, future->result, future,
                 "nobody read the error of a %s%s%s",
                 kolk__future_is_task(future) ? "task" : "future",
                 *site != '\0' ? " spawned at " : "", site);
}

/* A task without an error to report or a name to free. */
static inline bool
future_is_plain_task(const kolk_future *future)
{
    return KOLK_LIKELY(kolk__future_is_task(future) && future->result >= 0
                       && future->obituary == NULL);
}

/* The future is freed: tasks do not wait for it in vain, callbacks go back. */
static void
future_drop_waiters(kolk_future *future)
{
    while (!kolk__ring_is_empty(&future->waiters)) {
        kolk_call *call = (kolk_call *)future->waiters.next;

        if (call->fn == kolk__task_step) {
            kolk__wake_linked(kolk__coro_of(call), -ECANCELED);
        } else {
            kolk__call_drop(call);
        }
    }
}

static __attribute__((noinline)) void
future_free(kolk_future *future)
{
    future_drop_waiters(future);
    if (KOLK_UNLIKELY(future->result < 0 && future->result != -ECANCELED)
        && (future->bits & KOLK__FUTURE_READ) == 0) {
        /* The handler may look at it, and not keep it. */
        future->bits += KOLK__FUTURE_REF;
        future_report_unread(future);
    }
    if (kolk__future_is_task(future)) {
        if (KOLK_UNLIKELY(future->obituary != NULL)) {
            kolk__sys.free(future->obituary);
        }
        kolk__record_free(future);
        return;
    }
    struct future_plain *plain = future_plain_of(future);
    kolk_loop *loop = future->loop;
    kolk_inbox_unref(plain->inbox);
    kolk__sys.free(plain);
    kolk__loop_unref(loop);
}

void
kolk_future_unref(kolk_future *future)
{
    if (future == NULL) {
        return;
    }
    future->bits -= KOLK__FUTURE_REF;
    if (future->bits >= KOLK__FUTURE_REF) {
        return;
    }
    if (future_is_plain_task(future)) {
        kolk__record_free(future); /* it has ended: nobody waits */
    } else if (!future_is_expected(future)) {
        future_free(future);
    }
}

/* ---- the result ---- */

int
kolk_future_set_result(kolk_future *future, int result, void *value)
{
    int err = kolk__loop_check(future->loop, "kolk_future_set_result()");

    if (err < 0) {
        return err;
    }
    if (kolk__future_is_task(future)) {
        return kolk__misuse(future->loop, "setting the result of a task");
    }
    if (kolk__future_is_done(future)) {
        return -EALREADY;
    }
    future->value = value;
    kolk__future_finish(future, result);
    return 0;
}

int
kolk_future_set_result_threadsafe(kolk_future *future, int result, void *value)
{
    int open = PLAIN_OPEN;

    if (kolk__future_is_task(future)) {
        return -KOLK_EMISUSE;
    }
    struct future_plain *plain = future_plain_of(future);
    if (!atomic_compare_exchange_strong(&plain->claim, &open, PLAIN_SENT)) {
        return -EALREADY;
    }
    plain->result = result;
    plain->value = value;
    int err = kolk_inbox_push(plain->inbox, &plain->call);
    if (err < 0) {
        atomic_store(&plain->claim, PLAIN_OPEN);
    }
    return err;
}

int
kolk_future_cancel(kolk_future *future)
{
    if (kolk__future_is_done(future)) {
        return 0;
    }
    if (kolk__future_is_task(future)) {
        return kolk_task_cancel(future);
    }
    int err = kolk__loop_check(future->loop, "kolk_future_cancel()");
    if (err < 0) {
        return err;
    }
    kolk__future_finish(future, -ECANCELED);
    return 1;
}

bool
kolk_future_is_done(const kolk_future *future)
{
    return kolk__future_is_done(future);
}

bool
kolk_future_is_cancelled(const kolk_future *future)
{
    return kolk__future_is_done(future) && future->result == -ECANCELED;
}

int
kolk_future_result(kolk_future *future)
{
    if (!kolk__future_is_done(future)) {
        return -EAGAIN;
    }
    future->bits |= KOLK__FUTURE_READ;
    return future->result;
}

void *
kolk_future_value(const kolk_future *future)
{
    return (future->bits & (KOLK__FUTURE_TASK | KOLK__FUTURE_DONE))
                   == KOLK__FUTURE_DONE
               ? future->value
               : NULL;
}

kolk_loop *
kolk_future_loop(const kolk_future *future)
{
    return future->loop;
}

int
kolk_future_add_done_callback(kolk_future *future, kolk_call *call)
{
    int err = kolk__loop_check(future->loop, "kolk_future_add_done_callback()");

    if (err < 0) {
        return err;
    }
    if (kolk_call_is_pending(call)) {
        return -EALREADY;
    }
    if (kolk__future_is_done(future)) {
        kolk__ready_push(future->loop, call);
    } else {
        kolk__call_link(&future->waiters, call);
    }
    return 0;
}

/* ---- waiting ---- */

static const char *
future_reason(const kolk_future *future)
{
    return kolk__future_is_task(future) ? "task" : "future";
}

/* The current coroutine if it may wait for `future`. */
static kolk__coro *
future_waiter(kolk_future *future)
{
    kolk__coro *coro = kolk__coro_or_misuse("awaiting outside a task");

    if (coro != NULL && (future->loop != coro->loop || future == coro->task)) {
        (void)kolk__misuse(coro->loop,
                           "awaiting oneself, or another loop's future");
        return NULL;
    }
    return coro;
}

int
kolk_join(kolk_future *future)
{
    kolk__coro *coro = future_waiter(future);

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (kolk__future_is_done(future)) {
        return 0;
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__call_link(&future->waiters, &coro->call);
    return kolk__park(coro, future_reason(future), kolk__interrupt_wait, NULL);
}

/* The wait goes on; it is the future that ends it. */
static void
future_await_interrupt(kolk__coro *coro)
{
    (void)kolk_future_cancel(coro->object); /* not done, or nobody waited */
}

int
kolk_await(kolk_future *future)
{
    kolk__coro *coro = future_waiter(future);

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (!kolk__future_is_done(future) && coro->is_cancelled) {
        kolk__cancel_seen(coro);
        (void)kolk_future_cancel(future);
        if (!kolk__future_is_done(future)) {
            kolk__call_link(&future->waiters, &coro->call);
            (void)kolk__park(coro, future_reason(future), NULL, NULL);
        }
    } else if (!kolk__future_is_done(future)) {
        kolk__call_link(&future->waiters, &coro->call);
        (void)kolk__park_here(coro, future_reason(future),
                              future_await_interrupt, future);
    }
    future->bits |= KOLK__FUTURE_READ;
    return future->result;
}
