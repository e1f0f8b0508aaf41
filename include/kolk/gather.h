/* kolk/gather.h - waiting for several futures or tasks at once.
 *
 * SPDX-License-Identifier: MIT
 *
 * The arrays hold borrowed handles of the current loop; the same future may
 * stand in them twice. These calls allocate memory in proportion to `n`.
 */
#pragma once

#include <kolk/future.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Waits for all of `futures`, and writes their results in argument order.
 * `results` may be NULL.
 *
 * Returns 0 once all have succeeded. At the first error it returns that error
 * at once; the siblings go on, and `results` has -EAGAIN for those that are
 * not done. -ENOMEM.
 * Cancellation: the futures are cancelled and waited for, uninterruptibly;
 * returns -ECANCELED with every result written. */
KOLK_API KOLK_MUST_CHECK int kolk_gather(kolk_future *const futures[], size_t n,
                                         int results[]);

/* kolk_gather() with return_exceptions: errors are results like others, so it
 * returns 0 when all are done. Cancellation: as kolk_gather(). */
KOLK_API KOLK_MUST_CHECK int kolk_gather_all(kolk_future *const futures[],
                                             size_t n, int results[]);

typedef enum kolk_wait_mode {
    KOLK_FIRST_COMPLETED, /* any of them */
    KOLK_FIRST_ERROR,     /* any that failed or was cancelled; else all */
    KOLK_ALL_COMPLETED,
} kolk_wait_mode;

/* Waits until `mode` holds or `deadline` (absolute; KOLK_NEVER: no bound) has
 * passed, and leaves the futures alone. Ask kolk_future_is_done() of each.
 * Returns how many are done; -ENOMEM.
 * Cancellation: returns -ECANCELED; the futures go on. */
KOLK_API KOLK_MUST_CHECK int kolk_wait(kolk_future *const futures[], size_t n,
                                       kolk_wait_mode mode, kolk_time deadline);

/* Futures in the order in which they get done. */
typedef struct kolk_as_completed kolk_as_completed;

/* An iteration over `futures`, yours: free it. Returns 0 or -ENOMEM. */
KOLK_API KOLK_MUST_CHECK int kolk_as_completed_new(kolk_future *const futures[],
                                                   size_t n,
                                                   kolk_as_completed **out);

/* Waits for the next one that is done: returns 1 and its index in `*index`, 0
 * when all have been handed out.
 * Cancellation: returns -ECANCELED; nothing is lost, the iteration can go on.
 */
KOLK_API KOLK_MUST_CHECK int
kolk_as_completed_next(kolk_as_completed *iteration, size_t *index);

/* Frees the iteration, also one that has not come to its end; NULL is a
 * no-op. The futures are left alone. */
KOLK_API void kolk_as_completed_free(kolk_as_completed *iteration);

#ifdef __cplusplus
}
#endif
