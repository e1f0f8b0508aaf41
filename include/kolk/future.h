/* kolk/future.h - a result that is not there yet.
 *
 * SPDX-License-Identifier: MIT
 *
 * A future is pending until somebody sets its result, once. A task is a
 * future too: its result is what its function returns, and every call of this
 * header takes a task.
 *
 * Done callbacks, and tasks that wait, always go through the ready queue:
 * nothing of theirs runs inside the call that sets the result.
 */
#pragma once

#include <kolk/call.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_future kolk_future;

/* A pending future of `loop` (NULL: the current loop), yours: give it up with
 * kolk_future_unref(). Returns 0, -ENOMEM, -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_future_new(kolk_loop *loop,
                                             kolk_future **out);

/* Takes one more reference, and returns `future`. */
KOLK_API kolk_future *kolk_future_ref(kolk_future *future);

/* Gives one reference up; NULL is a no-op. A task whose last reference goes
 * runs on; an error that nobody has read, and nobody can read any more, is
 * reported to the loop's error handler. References may be given up after the
 * loop is closed, in the thread that closed it. */
KOLK_API void kolk_future_unref(kolk_future *future);

/* Sets the result of a plain future: `result` >= 0, or a negative error;
 * `value` travels along, for kolk_future_value().
 * Returns 0; -EALREADY if it is done; -KOLK_EMISUSE for a task. */
KOLK_API KOLK_MUST_CHECK int kolk_future_set_result(kolk_future *future,
                                                    int result, void *value);

/* kolk_future_set_result() from any thread: the result is set in the loop's
 * next turn. The caller holds a reference, taken in the loop's thread; the
 * library takes its own until the result has arrived.
 * Returns 0; -EALREADY if a thread has set it before; -ESHUTDOWN once the loop
 * is closed; -KOLK_EMISUSE for a task; -KOLK_EFORK. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int
kolk_future_set_result_threadsafe(kolk_future *future, int result, void *value);

/* Cancels: a plain future ends at once with -ECANCELED, a task gets a request
 * (kolk_task_cancel()). Returns 1 if there was something to cancel, 0 if it
 * was done. */
KOLK_API int kolk_future_cancel(kolk_future *future);

/* Has the result been set? */
KOLK_API bool kolk_future_is_done(const kolk_future *future);

/* Is it done, with -ECANCELED? */
KOLK_API bool kolk_future_is_cancelled(const kolk_future *future);

/* The result, which then counts as read; -EAGAIN while it is pending. */
KOLK_API int kolk_future_result(kolk_future *future);

/* What was set along with the result; NULL before that, and for tasks. */
KOLK_API void *kolk_future_value(const kolk_future *future);

/* The loop that it belongs to; borrowed. */
KOLK_API kolk_loop *kolk_future_loop(const kolk_future *future);

/* Queues `call` (as kolk_call_soon() does) once `future` is done; right away
 * if it is. Callbacks run in the order they were added. The future borrows
 * `call`; kolk_call_cancel() takes it back. If the future is freed while
 * pending, `call` is given back through its `dropped`.
 * Returns 0; -EALREADY; -ESHUTDOWN, -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_future_add_done_callback(kolk_future *future,
                                                           kolk_call *call);

/* Waits for `future` and returns its result.
 *
 * Cancellation: cancels the future (a task: requests its end), waits until it
 * is done, uninterruptibly, and returns its result, most often -ECANCELED. The
 * request stays pending. kolk_shield_begin() keeps a request away from it. */
KOLK_API KOLK_MUST_CHECK int kolk_await(kolk_future *future);

/* Waits until `future` is done, and leaves it alone otherwise: 0 once it is
 * done (its result is not read), else why the wait ended.
 * Cancellation: returns -ECANCELED; the future goes on. */
KOLK_API KOLK_MUST_CHECK int kolk_join(kolk_future *future);

#ifdef __cplusplus
}
#endif
