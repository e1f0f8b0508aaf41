/* sync.c - locks, events, conditions, semaphores, barriers. See kolk/sync.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever makes something free hands it to the task that waits longest, at
 * that moment: nothing is ever free while somebody waits for it. So there is
 * no state between "woken" and "has it" in which a cancellation could lose a
 * wake-up, and no newcomer can overtake.
 *
 * A task that has been woken does not look at the primitive again, so its
 * memory may go as soon as nobody waits any more.
 */
#include <kolk/sync.h>

#include "task/park.h"

/* Wakes all of `ring` with `result`. */
static void
sync_wake_all(kolk_link *ring, int result)
{
    while (kolk__waiters_wake_first(ring, result) != NULL) {
    }
}

/* ---- lock: has an owner while anybody waits ---- */

int
kolk_lock_acquire(kolk_lock *lock)
{
    kolk__coro *coro = kolk__coro_or_misuse("a lock outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (lock->owner == NULL) {
        lock->owner = coro->task;
        return 0;
    }
    if (KOLK_UNLIKELY(lock->owner == coro->task)) {
        return kolk__misuse(coro->loop, "taking a lock twice");
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&lock->waiters.ring, coro);
    return kolk__park(coro, "lock", kolk__interrupt_wait, NULL);
}

int
kolk_lock_try_acquire(kolk_lock *lock)
{
    kolk__coro *coro = kolk__coro_or_misuse("a lock outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (lock->owner != NULL) {
        return -EBUSY;
    }
    lock->owner = coro->task;
    return 0;
}

static void
lock_hand_over(kolk_lock *lock)
{
    kolk__coro *next = kolk__waiters_wake_first(&lock->waiters.ring, 0);

    lock->owner = next != NULL ? next->task : NULL;
}

int
kolk_lock_release(kolk_lock *lock)
{
    kolk__coro *coro = kolk__coro_or_misuse("a lock outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (KOLK_UNLIKELY(lock->owner != coro->task)) {
        return kolk__misuse(coro->loop, "releasing a lock of another task");
    }
    lock_hand_over(lock);
    return 0;
}

bool
kolk_lock_is_locked(const kolk_lock *lock)
{
    return lock->owner != NULL;
}

/* ---- event: nobody waits while it is set ---- */

void
kolk_event_set(kolk_event *event)
{
    event->set = true;
    sync_wake_all(&event->waiters.ring, 0);
}

void
kolk_event_clear(kolk_event *event)
{
    event->set = false;
}

bool
kolk_event_is_set(const kolk_event *event)
{
    return event->set;
}

int
kolk_event_wait(kolk_event *event)
{
    kolk__coro *coro = kolk__coro_or_misuse("waiting outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (event->set) {
        return 0;
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&event->waiters.ring, coro);
    return kolk__park(coro, "event", kolk__interrupt_wait, NULL);
}

/* ---- condition ---- */

/* A wait, on its task's stack. Its result is settled by what ends the wait for
 * the condition; the task is woken only when it also has the lock. */
struct condition_wait {
    kolk_lock *lock;
    int result;
};

/* `coro`, parked and in no ring, gets the lock now or waits for it. */
static void
condition_settle(kolk__coro *coro, int result)
{
    struct condition_wait *wait = coro->object;
    kolk_lock *lock = wait->lock;

    wait->result = result;
    coro->interrupt = NULL; /* taking the lock again is uninterruptible */
    if (lock->owner == NULL) {
        lock->owner = coro->task;
        kolk__wake(coro, 0);
    } else {
        coro->reason = "lock";
        kolk__waiters_push(&lock->waiters.ring, coro);
    }
}

static void
condition_interrupt(kolk__coro *coro)
{
    kolk__call_unlink(&coro->call);
    condition_settle(coro, -ECANCELED);
}

int
kolk_condition_wait(kolk_condition *condition, kolk_lock *lock)
{
    kolk__coro *coro = kolk__coro_or_misuse("waiting outside a task");
    struct condition_wait wait = {.lock = lock};

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (lock->owner != coro->task) {
        return kolk__misuse(coro->loop, "kolk_condition_wait() without lock");
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    lock_hand_over(lock);
    kolk__waiters_push(&condition->waiters.ring, coro);
    (void)kolk__park(coro, "condition", condition_interrupt, &wait);
    return wait.result;
}

void
kolk_condition_notify(kolk_condition *condition, size_t n)
{
    kolk_link *ring = &condition->waiters.ring;

    for (; n > 0 && !kolk__ring_is_empty(ring); n--) {
        kolk__coro *coro = kolk__waiters_first(ring);

        kolk__call_unlink(&coro->call);
        condition_settle(coro, 0);
    }
}

void
kolk_condition_notify_all(kolk_condition *condition)
{
    kolk_condition_notify(condition, SIZE_MAX);
}

/* ---- semaphore: nobody waits while its value is above 0 ---- */

int
kolk_semaphore_acquire(kolk_semaphore *semaphore)
{
    kolk__coro *coro = kolk__coro_or_misuse("waiting outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (semaphore->value > 0) {
        semaphore->value--;
        return 0;
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&semaphore->waiters.ring, coro);
    return kolk__park(coro, "semaphore", kolk__interrupt_wait, NULL);
}

int
kolk_semaphore_try_acquire(kolk_semaphore *semaphore)
{
    if (semaphore->value == 0) {
        return -EBUSY;
    }
    semaphore->value--;
    return 0;
}

int
kolk_semaphore_release(kolk_semaphore *semaphore)
{
    /* A bound of 0 comes from zero bytes, and is none. */
    if (semaphore->bound != 0 && semaphore->value >= semaphore->bound) {
        return kolk__misuse(kolk__this_thread.loop,
                            "releasing a semaphore past its bound");
    }
    if (kolk__waiters_wake_first(&semaphore->waiters.ring, 0) == NULL) {
        semaphore->value++;
    }
    return 0;
}

size_t
kolk_semaphore_value(const kolk_semaphore *semaphore)
{
    return semaphore->value;
}

/* ---- barrier: fewer wait than would let it open ---- */

static void
barrier_interrupt(kolk__coro *coro)
{
    kolk_barrier *barrier = coro->object;

    barrier->waiting--;
    kolk__interrupt_wait(coro);
}

/* Lets all who wait through, each with its number. */
static void
barrier_open(kolk_barrier *barrier)
{
    for (int i = 0; kolk__waiters_wake_first(&barrier->waiters.ring, i) != NULL;
         i++) {
    }
    barrier->waiting = 0;
}

int
kolk_barrier_wait(kolk_barrier *barrier)
{
    kolk__coro *coro = kolk__coro_or_misuse("waiting outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (barrier->broken) {
        return -KOLK_EBROKEN;
    }
    if (barrier->waiting + 1 >= barrier->parties) {
        int last = (int)barrier->waiting;

        barrier_open(barrier);
        return last;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    barrier->waiting++;
    kolk__waiters_push(&barrier->waiters.ring, coro);
    return kolk__park(coro, "barrier", barrier_interrupt, barrier);
}

static void
barrier_break(kolk_barrier *barrier, bool stays_broken)
{
    barrier->broken = stays_broken;
    barrier->waiting = 0;
    sync_wake_all(&barrier->waiters.ring, -KOLK_EBROKEN);
}

void
kolk_barrier_abort(kolk_barrier *barrier)
{
    barrier_break(barrier, true);
}

void
kolk_barrier_reset(kolk_barrier *barrier)
{
    barrier_break(barrier, false);
}

bool
kolk_barrier_is_broken(const kolk_barrier *barrier)
{
    return barrier->broken;
}
