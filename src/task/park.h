/* park.h - how a task waits: the one way, for everything that can be awaited.
 *
 * SPDX-License-Identifier: MIT
 *
 *     kolk__coro *coro = kolk__current_coro();   // NULL: misuse
 *     if (coro->is_cancelled) {
 *         return kolk__wait_refused(coro);       // -ECANCELED
 *     }
 *     kolk__call_link(&lock->waiters.ring, &coro->call);
 *     return kolk__park(coro, "lock", kolk__interrupt_wait, NULL);
 *
 * and the other side, once what it waits for is there:
 *
 *     kolk__waiters_wake_first(ring, result);
 *
 * What a wake-up grants (a lock, an item) is granted at the moment of the
 * wake-up, not when the task runs; a request that comes in between stays
 * pending and takes nothing away.
 */
#pragma once

#include <errno.h>

#include "task/ahead.h"
#include "task/task.h"

/* Waits until somebody wakes `coro`, the current one, and returns the result
 * given there. `reason` is static. When a request to cancel comes, `interrupt`
 * is called (in the context of whoever cancels), once; it has to see to it that
 * the wake-up comes. NULL: uninterruptible. `object` is kept in the coroutine
 * for `interrupt`. */
int kolk__park(kolk__coro *coro, const char *reason,
               kolk__interrupt_fn *interrupt, void *object);

/* Puts `coro`, the current one, at the back of the ready queue. */
void kolk__yield(kolk__coro *coro);

/* The interrupt of plain waits: takes the coroutine out of the ring that it
 * waits in, and wakes it with -ECANCELED. */
void kolk__interrupt_wait(kolk__coro *coro);

/* Tells those who want to hear of a wake-up: a tracer, a guest's host. */
void kolk__wake_told(kolk__coro *coro);

/* Does anybody? */
static inline bool
kolk__wake_is_heard(const kolk_loop *loop)
{
    return KOLK_UNLIKELY(loop->guest_idle)
           || KOLK_UNLIKELY((loop->attention & KOLK__ATTENTION_TRACE) != 0);
}

/* Queues `coro`, which is parked and in no ring; its wait returns `result`. */
static inline void
kolk__wake(kolk__coro *coro, int result)
{
    kolk_loop *loop = coro->loop;

    coro->wake_result = result;
    coro->is_parked = false;
    kolk__ready_push_inside(loop, &coro->call);
    kolk__ahead_note(loop, coro);
    if (kolk__wake_is_heard(loop)) {
        kolk__wake_told(coro);
    }
}

/* The same for one that waits in a ring. */
static inline void
kolk__wake_linked(kolk__coro *coro, int result)
{
    kolk_loop *loop = coro->loop;

    coro->wake_result = result;
    coro->is_parked = false;
    kolk__ready_move_inside(loop, &coro->call);
    kolk__ahead_note(loop, coro);
    if (kolk__wake_is_heard(loop)) {
        kolk__wake_told(coro);
    }
}

/* Sets the result of `future`, which has none, and queues everything that
 * waits for it. */
static inline void
kolk__future_finish(kolk_future *future, int result)
{
    kolk_link *waiters = &future->waiters;

    future->result = result;
    future->bits |= KOLK__FUTURE_DONE;
    while (waiters->next != waiters) {
        kolk_call *call = (kolk_call *)waiters->next;

        if (KOLK_LIKELY(call->fn == kolk__task_step)) {
            kolk__wake_linked(kolk__coro_of(call), 0);
        } else {
            kolk__ready_move(future->loop, call);
        }
    }
}

/* The coroutine that waits longest in `ring`, or NULL. */
static inline kolk__coro *
kolk__waiters_first(const kolk_link *ring)
{
    return kolk__ring_is_empty(ring) ? NULL
                                     : kolk__coro_of((kolk_call *)ring->next);
}

/* Wakes the coroutine that waits longest in `ring`, and returns it; or NULL. */
static inline kolk__coro *
kolk__waiters_wake_first(kolk_link *ring, int result)
{
    kolk__coro *coro = kolk__waiters_first(ring);

    if (coro != NULL) {
        kolk__wake_linked(coro, result);
    }
    return coro;
}

/* Puts `coro`, the current one, at the end of `ring`, which may be zero. */
static inline void
kolk__waiters_push(kolk_link *ring, kolk__coro *coro)
{
    if (ring->next == NULL) {
        kolk__ring_init(ring);
    }
    kolk__call_link(ring, &coro->call);
}

/* For a call that would have to wait while a request is pending. */
static inline int
kolk__wait_refused(kolk__coro *coro)
{
    kolk__cancel_seen(coro);
    return -ECANCELED;
}

/* The current coroutine, or NULL after saying that `what` is for tasks. */
static inline kolk__coro *
kolk__coro_or_misuse(const char *what)
{
    kolk__coro *coro = kolk__current_coro();

    if (KOLK_UNLIKELY(coro == NULL)) {
        (void)kolk__misuse(kolk__this_thread.loop, what);
    }
    return coro;
}

/* A task that never has to wait must not keep the others from running: after
 * so many calls since its last wait it lets them. */
static inline void
kolk__be_fair(kolk__coro *coro)
{
    if (KOLK_UNLIKELY(++coro->steps_ahead % 64 == 0)) {
        kolk__yield(coro);
    }
}
