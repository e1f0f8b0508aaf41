/* call.c - calls, and the queues that hold them. See kolk/call.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A call is in one ring at a time: ready, at the end of a step or of a turn, a
 * future's done callbacks, or a task waiting for something; or it is in the
 * inbox, under that one's lock. `state` tells which of the two.
 */
#include "loop/loop.h"

#include <errno.h>

void
kolk_call_init(kolk_call *call, kolk_call_fn *fn, kolk_call_fn *dropped)
{
    *call = (kolk_call){.fn = fn, .dropped = dropped};
}

bool
kolk_call_is_pending(const kolk_call *call)
{
    return __atomic_load_n(&call->state, __ATOMIC_RELAXED) != KOLK__CALL_IDLE;
}

int
kolk_call_soon(kolk_loop *loop, kolk_call *call)
{
    int err = kolk__loop_check(loop, "kolk_call_soon()");

    if (err < 0) {
        return err;
    }
    if (kolk_call_is_pending(call)) {
        return -EALREADY;
    }
    kolk__ready_push(loop, call);
    return 0;
}

void
kolk_call_cancel(kolk_loop *loop, kolk_call *call)
{
    if (kolk__call_is_linked(call)) {
        kolk__call_unlink(call);
    } else if (kolk_call_is_pending(call)) {
        kolk__inbox_cancel(loop->inbox, call);
    }
}

int
kolk_step_end(kolk_loop *loop, kolk_call *call)
{
    int err = kolk__loop_check(loop, "kolk_step_end()");

    if (err < 0) {
        return err;
    }
    if (kolk_call_is_pending(call)) {
        return -EALREADY;
    }
    if (loop->runs == 0) {
        kolk__ready_push(loop, call);
        return 0;
    }
    kolk__call_link(&loop->step_end, call);
    loop->attention |= KOLK__ATTENTION_STEP_END;
    return 0;
}

int
kolk_turn_end(kolk_loop *loop, kolk_call *call)
{
    int err = kolk__loop_check(loop, "kolk_turn_end()");

    if (err < 0) {
        return err;
    }
    if (kolk_call_is_pending(call)) {
        return -EALREADY;
    }
    call->turn = loop->turn_ends;
    kolk__call_link(&loop->turn_end, call);
    if (KOLK_UNLIKELY(loop->guest_idle)) {
        kolk__guest_update(loop);
    }
    return 0;
}

void
kolk__call_drop(kolk_call *call)
{
    kolk__call_unlink(call);
    if (call->dropped != NULL) {
        call->dropped(call);
    }
}

void
kolk__calls_drop(kolk_link *ring)
{
    while (!kolk__ring_is_empty(ring)) {
        kolk__call_drop((kolk_call *)ring->next);
    }
}
