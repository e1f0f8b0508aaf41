/* kolk/call.h - a callback that runs once, as soon as the loop gets to it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A call is a node of yours, embedded in a struct of yours, so that scheduling
 * it allocates nothing. The loop borrows it from kolk_call_soon() until it
 * runs, is cancelled, or is given back by kolk_loop_close().
 */
#pragma once

#include <kolk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_loop kolk_loop;
typedef struct kolk_call kolk_call;
typedef void kolk_call_fn(kolk_call *call);

struct kolk_call {
    kolk_link link; /* private */
    kolk_call_fn *fn;
    /* Runs instead of fn when the loop closes, or NULL. */
    kolk_call_fn *dropped;

    /* private to call.c */
    uint32_t turn;  /* the turn that runs it */
    uint32_t state; /* which list holds it */

    /* reserved: the library's own nodes keep something of theirs here */
    uint64_t word;
    void *pointer;
};

/* Prepares `call` to run `fn`. `dropped` may be NULL: it is called, once, if
 * the loop is closed while it still holds the call. Either may reuse or free
 * the call. Thread-safe. */
KOLK_API void kolk_call_init(kolk_call *call, kolk_call_fn *fn,
                             kolk_call_fn *dropped);

/* Queues `call` behind all that is ready. Calls run first in, first out; one
 * queued by a callback runs in the next turn, never in this one.
 *
 * Returns 0; -EALREADY if it is queued somewhere already (nothing changes);
 * -KOLK_EMISUSE from a thread that does not run the loop while another does
 * (use kolk_inbox_push()); -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_call_soon(kolk_loop *loop, kolk_call *call);

/* Takes `call` out of whichever list of `loop` holds it, its inbox and the
 * done callbacks of a future included; a no-op if none does. It will not run,
 * nor be dropped. O(1). Cannot fail. */
KOLK_API void kolk_call_cancel(kolk_loop *loop, kolk_call *call);

/* Is `call` held by a loop, an inbox or a future? */
KOLK_API bool kolk_call_is_pending(const kolk_call *call);

/* Queues `call` to run when the callback or task step that runs now has ended,
 * before the next one starts; outside of one, as kolk_call_soon().
 * Returns as kolk_call_soon(). */
KOLK_API KOLK_MUST_CHECK int kolk_step_end(kolk_loop *loop, kolk_call *call);

/* Queues `call` to run at the end of this turn, before the loop polls; outside
 * of a turn, at the end of the next. What it queues runs in the next turn.
 * Returns as kolk_call_soon(). */
KOLK_API KOLK_MUST_CHECK int kolk_turn_end(kolk_loop *loop, kolk_call *call);

#ifdef __cplusplus
}
#endif
