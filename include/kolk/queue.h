/* kolk/queue.h - queues between the tasks of one loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * A queue copies items of one fixed size in and out. Getters and putters are
 * served first come, first served. An item goes straight to the getter that
 * waits longest; an item that was handed over is returned, even if its getter
 * is cancelled in the same turn.
 */
#pragma once

#include <kolk/task.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_queue kolk_queue;

/* < 0 if item `a` comes out before `b`, 0 if they are equal, else > 0. */
typedef int kolk_compare_fn(const void *a, const void *b);

typedef enum kolk_queue_order {
    KOLK_FIFO,
    KOLK_LIFO,
    KOLK_PRIORITY_ORDER, /* least first; equal items first in, first out */
} kolk_queue_order;

typedef struct kolk_queue_options {
    size_t item_size; /* bytes; at least 1 */
    size_t maxsize;   /* items; 0: no bound */
    kolk_queue_order order;
    kolk_compare_fn *compare; /* for KOLK_PRIORITY_ORDER, else NULL */
} kolk_queue_options;

/* A queue, yours to free. Returns 0, -ENOMEM, -EINVAL. */
KOLK_API KOLK_MUST_CHECK int kolk_queue_new(const kolk_queue_options *options,
                                            kolk_queue **out);

/* Frees the queue and the items in it; NULL is a no-op. Returns 0;
 * -KOLK_EMISUSE while tasks wait for it (shut it down first). */
KOLK_API int kolk_queue_free(kolk_queue *queue);

/* Copies `item` in, waiting for room. Returns 0; -ESHUTDOWN; -ENOMEM.
 * Cancellation: returns -ECANCELED, and the item is not in. */
KOLK_API KOLK_MUST_CHECK int kolk_queue_put(kolk_queue *queue,
                                            const void *item);

/* Copies the next item out, waiting for one. Returns 0; -ESHUTDOWN once the
 * queue is shut down and empty.
 * Cancellation: returns -ECANCELED, and no item was taken. */
KOLK_API KOLK_MUST_CHECK int kolk_queue_get(kolk_queue *queue, void *item);

/* kolk_queue_put() that never waits: -EAGAIN when full. Also from callbacks. */
KOLK_API KOLK_MUST_CHECK int kolk_queue_try_put(kolk_queue *queue,
                                                const void *item);

/* kolk_queue_get() that never waits: -EAGAIN when empty. Also from
 * callbacks. */
KOLK_API KOLK_MUST_CHECK int kolk_queue_try_get(kolk_queue *queue, void *item);

/* Says that the work on one item is done. Returns 0; -KOLK_EMISUSE when called
 * more often than items were put. */
KOLK_API int kolk_queue_task_done(kolk_queue *queue);

/* Waits until the work on every item that was put is done. Returns 0.
 * Cancellation: returns -ECANCELED. */
KOLK_API KOLK_MUST_CHECK int kolk_queue_join(kolk_queue *queue);

/* Ends the queue: putters get -ESHUTDOWN, getters the items that are left and
 * then -ESHUTDOWN. `immediate` throws the items away, as done. */
KOLK_API void kolk_queue_shutdown(kolk_queue *queue, bool immediate);

/* Items inside. */
KOLK_API size_t kolk_queue_size(const kolk_queue *queue);

KOLK_API bool kolk_queue_is_empty(const kolk_queue *queue);
KOLK_API bool kolk_queue_is_full(const kolk_queue *queue);

#ifdef __cplusplus
}
#endif
