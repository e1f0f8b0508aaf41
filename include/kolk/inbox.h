/* kolk/inbox.h - the one door into a loop for other threads.
 *
 * SPDX-License-Identifier: MIT
 *
 * Other threads hold the inbox, never the loop: it is reference-counted and
 * outlives its loop, so a thread that comes too late gets an error instead of
 * touching memory or a descriptor that belongs to somebody else by now.
 */
#pragma once

#include <kolk/call.h>
#include <kolk/task.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_inbox kolk_inbox;

/* The inbox of `loop`, borrowed; take a reference for another thread. */
KOLK_API kolk_inbox *kolk_loop_inbox(kolk_loop *loop);

/* Takes one more reference to `inbox`, and returns it. Thread-safe. */
KOLK_API kolk_inbox *kolk_inbox_ref(kolk_inbox *inbox);

/* Gives one reference up; the last one frees the inbox. Thread-safe. */
KOLK_API void kolk_inbox_unref(kolk_inbox *inbox);

/* call_soon_threadsafe: hands `call` to the loop, which runs it in its own
 * thread, and wakes the loop. Calls of one thread run in the order of their
 * pushes. The loop borrows `call` until it runs or is dropped.
 *
 * Returns 0; -EALREADY if it is queued already; -ESHUTDOWN once the loop is
 * closed; -KOLK_EFORK in a child of the loop's process. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int kolk_inbox_push(kolk_inbox *inbox,
                                             kolk_call *call);

/* Wakes the loop up for a turn, and does nothing else. Thread-safe, and the
 * only call of this library that a signal handler may make. */
KOLK_API void kolk_inbox_wake(kolk_inbox *inbox);

/* run_coroutine_threadsafe(...).result(): spawns `fn(arg)` as a task on the
 * loop and blocks the calling thread until it has ended.
 *
 * Returns the task's result; -ESHUTDOWN if the loop is or gets closed before
 * that; -ENOMEM; -KOLK_EMISUSE on the loop's own thread. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int kolk_inbox_run(kolk_inbox *inbox, kolk_task_fn *fn,
                                            void *arg);

#ifdef __cplusplus
}
#endif
