/* switch_to.h - leaving one coroutine for another, or for the loop's stack.
 *
 * SPDX-License-Identifier: MIT
 *
 * Inline, because this is the path that every wait takes: park.c uses it for
 * waits, task.c for a coroutine's end.
 */
#pragma once

#include "coro/switch.h"
#include "task/ahead.h"
#include "task/task.h"

/* Saves this stack in `*from` and goes on in `next`, or on the loop's own
 * stack if that is NULL. Returns when somebody comes back, unless it `ends`
 * here. */
static inline __attribute__((always_inline)) void
kolk__switch_to(kolk_loop *loop, void **from, kolk__fiber *self,
                kolk__coro *next, bool ends)
{
    loop->current = next;
    if (next != NULL) {
        kolk__announce_switch(self, &next->fiber, ends);
        kolk__switch(from, next->sp);
    } else {
        kolk__announce_switch(self, &loop->task_state->fiber, ends);
        kolk__switch(from, loop->main_sp);
    }
    kolk__announce_arrival(self);
}

/* Where to go when the caller has to look: its parent, if this was a first
 * step inside of it, else the loop. */
kolk__coro *kolk__coro_leave_slow(kolk__coro *coro, bool ends);

/* The task to run next without going back to the loop, or NULL. */
static inline kolk__coro *
kolk__coro_next(kolk_loop *loop)
{
    kolk_call *call = kolk__ready_first(loop);

    if (call == NULL) {
        /* The end of the turn; what is left belongs to the next. */
        if (kolk__ring_is_empty(&loop->ready)
            || ((kolk_call *)loop->ready.next)->fn != kolk__task_step
            || !kolk__turn_follow(loop)) {
            return NULL;
        }
        call = (kolk_call *)loop->ready.next;
    } else if (call->fn != kolk__task_step) {
        return NULL;
    }
    kolk__ready_shift(loop, call);
    loop->budget--;
    kolk__coro *coro = KOLK_CONTAINER_OF(call, kolk__coro, call);
    kolk__ahead_fetch(loop, coro);
    return coro;
}

/* The same while bytes that were written are joined, and nothing else is to be
 * seen to: within the turn, unless they have to leave now. */
static inline kolk__coro *
kolk__coro_next_joined(kolk_loop *loop)
{
    return kolk__ready_first(loop) == NULL || kolk__turn_joined_is_due(loop)
               ? NULL
               : kolk__coro_next(loop);
}

/* Lets others run; returns when `coro`, the current one, is stepped again.
 * Inlined where tasks wait, because a call would cost as much as the rest. */
static inline __attribute__((always_inline)) void
kolk__coro_leave(kolk__coro *coro)
{
    /* Not coro->loop: which coroutine this is was itself loaded just now, and
     * the next switch would wait for one load after the other. */
    kolk_loop *loop = kolk__this_thread.loop;
    kolk__coro *next = KOLK_LIKELY(loop->attention == 0) ? kolk__coro_next(loop)
                       : loop->attention == KOLK__ATTENTION_JOINED
                           ? kolk__coro_next_joined(loop)
                           : kolk__coro_leave_slow(coro, false);

    if (KOLK_UNLIKELY(next == coro)) {
        return; /* it was alone, and is next */
    }
    kolk__switch_to(loop, &coro->sp, &coro->fiber, next, false);
}

/* The body of kolk__park(), see park.h. */
static inline __attribute__((always_inline)) int
kolk__park_here(kolk__coro *coro, const char *reason,
                kolk__interrupt_fn *interrupt, void *object)
{
    coro->is_parked = true;
    coro->reason = reason;
    coro->interrupt = interrupt;
    coro->object = object;
    coro->steps_ahead = 0;
    kolk__coro_leave(coro);
    coro->interrupt = NULL;
    return coro->wake_result;
}
