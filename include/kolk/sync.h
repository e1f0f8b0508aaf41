/* kolk/sync.h - locks, events, conditions, semaphores, barriers for tasks.
 *
 * SPDX-License-Identifier: MIT
 *
 * For the tasks of one loop, never across threads. All are plain memory: zero
 * bytes, or the static initialiser, is ready for use, and nothing has to be
 * freed. They are first in, first out: whoever waits longest is served next,
 * and nobody overtakes. What was granted to a task that is cancelled in the
 * same turn stays granted: the call returns success, and the request stays
 * pending.
 */
#pragma once

#include <kolk/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tasks that wait, in order. */
typedef struct kolk_waiters {
    kolk_link ring; /* private; zero until the first one waits */
} kolk_waiters;

/* ---- lock ---- */

typedef struct kolk_lock {
    /* private to sync.c */
    kolk_waiters waiters;
    kolk_task *owner;
} kolk_lock;

#define KOLK_LOCK_INIT                                                         \
    {                                                                          \
        {{NULL, NULL}}, NULL                                                   \
    }

/* Waits until the lock is the current task's. Returns 0; -KOLK_EMISUSE if the
 * task holds it already or outside of a task.
 * Cancellation: returns -ECANCELED and holds nothing. */
KOLK_API KOLK_MUST_CHECK int kolk_lock_acquire(kolk_lock *lock);

/* Takes the lock if it is free: 0 or -EBUSY. Never waits. */
KOLK_API KOLK_MUST_CHECK int kolk_lock_try_acquire(kolk_lock *lock);

/* Hands the lock to the task that waits longest, or frees it. Returns 0;
 * -KOLK_EMISUSE if the current task does not hold it. Never waits. */
KOLK_API int kolk_lock_release(kolk_lock *lock);

KOLK_API bool kolk_lock_is_locked(const kolk_lock *lock);

/* ---- event ---- */

typedef struct kolk_event {
    /* private to sync.c */
    kolk_waiters waiters;
    bool set;
} kolk_event;

#define KOLK_EVENT_INIT                                                        \
    {                                                                          \
        {{NULL, NULL}}, false                                                  \
    }

/* Sets the event and wakes every task that waits for it. Never waits. */
KOLK_API void kolk_event_set(kolk_event *event);

/* From now on, tasks wait again. */
KOLK_API void kolk_event_clear(kolk_event *event);

KOLK_API bool kolk_event_is_set(const kolk_event *event);

/* Waits until the event is set; does not wait if it is. Returns 0.
 * Cancellation: returns -ECANCELED. */
KOLK_API KOLK_MUST_CHECK int kolk_event_wait(kolk_event *event);

/* ---- condition ---- */

typedef struct kolk_condition {
    /* private to sync.c */
    kolk_waiters waiters;
} kolk_condition;

#define KOLK_CONDITION_INIT                                                    \
    {                                                                          \
        {                                                                      \
            {                                                                  \
                NULL, NULL                                                     \
            }                                                                  \
        }                                                                      \
    }

/* Releases `lock`, waits to be notified, and takes the lock again, whatever
 * the outcome. Test your predicate in a loop. Returns 0; -KOLK_EMISUSE if the
 * current task does not hold the lock.
 * Cancellation: returns -ECANCELED, with the lock held; taking the lock again
 * is uninterruptible. A notification that came first is not lost: the call
 * returns 0. */
KOLK_API KOLK_MUST_CHECK int kolk_condition_wait(kolk_condition *condition,
                                                 kolk_lock *lock);

/* Wakes up to `n` waiting tasks, longest first; the caller should hold the
 * lock. Never waits. */
KOLK_API void kolk_condition_notify(kolk_condition *condition, size_t n);

KOLK_API void kolk_condition_notify_all(kolk_condition *condition);

/* ---- semaphore ---- */

typedef struct kolk_semaphore {
    /* private to sync.c */
    kolk_waiters waiters;
    size_t value;
    size_t bound;
} kolk_semaphore;

/* `n` may be taken at once; any number may be released. */
#define KOLK_SEMAPHORE_INIT(n)                                                 \
    {                                                                          \
        {{NULL, NULL}}, (n), SIZE_MAX                                          \
    }

/* `n` may be taken at once; releasing more than were taken is misuse. */
#define KOLK_BOUNDED_SEMAPHORE_INIT(n)                                         \
    {                                                                          \
        {{NULL, NULL}}, (n), (n)                                               \
    }

/* Waits until one can be taken, and takes it. Returns 0.
 * Cancellation: returns -ECANCELED and has taken none. */
KOLK_API KOLK_MUST_CHECK int kolk_semaphore_acquire(kolk_semaphore *semaphore);

/* Takes one if nobody has to wait for it: 0 or -EBUSY. Never waits. */
KOLK_API KOLK_MUST_CHECK int
kolk_semaphore_try_acquire(kolk_semaphore *semaphore);

/* Gives one back, to the task that waits longest if there is one. Returns 0;
 * -KOLK_EMISUSE past the bound. Never waits. */
KOLK_API int kolk_semaphore_release(kolk_semaphore *semaphore);

/* How many could be taken now. */
KOLK_API size_t kolk_semaphore_value(const kolk_semaphore *semaphore);

/* ---- barrier ---- */

typedef struct kolk_barrier {
    /* private to sync.c */
    kolk_waiters waiters;
    size_t parties;
    size_t waiting;
    bool broken;
} kolk_barrier;

/* Lets tasks through `n` (at least 1) at a time. */
#define KOLK_BARRIER_INIT(n)                                                   \
    {                                                                          \
        {{NULL, NULL}}, (n), 0, false                                          \
    }

/* Waits until all the parties have come. Returns a different number from 0 to
 * parties - 1 to each; -KOLK_EBROKEN once the barrier is broken.
 * Cancellation: returns -ECANCELED; the others go on waiting, for one more to
 * take this one's place. */
KOLK_API KOLK_MUST_CHECK int kolk_barrier_wait(kolk_barrier *barrier);

/* Breaks the barrier: tasks that wait, and all to come, get -KOLK_EBROKEN. */
KOLK_API void kolk_barrier_abort(kolk_barrier *barrier);

/* Makes the barrier new; tasks that wait get -KOLK_EBROKEN. */
KOLK_API void kolk_barrier_reset(kolk_barrier *barrier);

KOLK_API bool kolk_barrier_is_broken(const kolk_barrier *barrier);

#ifdef __cplusplus
}
#endif
