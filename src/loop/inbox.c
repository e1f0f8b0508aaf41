/* inbox.c - the door for other threads. See kolk/inbox.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A push puts its call into a ring under the lock and raises `full`, which the
 * loop looks at in every turn. Only when the loop may be asleep is the eventfd
 * written too. Both sides do "store my flag, then load the other's" with
 * sequential consistency, so at least one of them sees the other: the loop
 * stores `asleep` and then looks at `full`, a push stores `full` and then
 * looks at `asleep`.
 *
 * The eventfd is closed with the last reference, not with the loop: whoever
 * can write it holds a reference, so its number cannot belong to another file.
 * No function of a user's runs under the lock, but for a visitor's.
 */
#include "loop/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/sys.h"
#include "loop/poller.h"
#include "loop/signal.h"

int
kolk__inbox_open(kolk_inbox **out)
{
    kolk_inbox *inbox = kolk__sys.calloc(1, sizeof *inbox);

    if (inbox == NULL) {
        return -ENOMEM;
    }
    inbox->fd = kolk__sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (inbox->fd < 0) {
        int err = -errno;

        kolk__sys.free(inbox);
        return err;
    }
    (void)pthread_mutex_init(&inbox->lock, NULL); /* Linux: cannot fail */
    atomic_init(&inbox->refs, 1);
    atomic_init(&inbox->asleep, true);
    inbox->generation = kolk__generation;
    inbox->open = true;
    kolk__ring_init(&inbox->calls);
    *out = inbox;
    return 0;
}

kolk_inbox *
kolk_inbox_ref(kolk_inbox *inbox)
{
    atomic_fetch_add_explicit(&inbox->refs, 1, memory_order_relaxed);
    return inbox;
}

void
kolk_inbox_unref(kolk_inbox *inbox)
{
    if (atomic_fetch_sub_explicit(&inbox->refs, 1, memory_order_acq_rel) == 1) {
        (void)kolk__sys.close(inbox->fd); /* nothing is buffered in it */
        (void)pthread_mutex_destroy(&inbox->lock);
        kolk__sys.free(inbox);
    }
}

kolk_inbox *
kolk_loop_inbox(kolk_loop *loop)
{
    return loop->inbox;
}

bool
kolk__inbox_is_shared(const kolk_inbox *inbox)
{
    return atomic_load_explicit(&inbox->refs, memory_order_relaxed) > 1;
}

/* A counter at its maximum (EAGAIN) wakes as well as a written one, and
 * nothing else can go wrong with an eventfd of ours. */
static void
inbox_write(kolk_inbox *inbox)
{
    static const uint64_t one = 1;
    int keep = errno; /* for the signal handler's victim */

    atomic_store(&inbox->written, true);
    (void)!kolk__sys.write(inbox->fd, &one, sizeof one);
    errno = keep;
}

int
kolk_inbox_push(kolk_inbox *inbox, kolk_call *call)
{
    uint32_t idle = KOLK__CALL_IDLE;
    int err = 0;

    if (inbox->generation != kolk__generation) {
        return -KOLK_EFORK;
    }
    pthread_mutex_lock(&inbox->lock);
    if (!inbox->open) {
        err = -ESHUTDOWN;
    } else if (!__atomic_compare_exchange_n(
                   &call->state, &idle, KOLK__CALL_INBOX, false,
                   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        err = -EALREADY;
    } else {
        kolk__ring_push(&inbox->calls, &call->link);
        atomic_store(&inbox->full, true);
    }
    pthread_mutex_unlock(&inbox->lock);
    if (err == 0 && atomic_load(&inbox->asleep)) {
        inbox_write(inbox);
    }
    return err;
}

void
kolk_inbox_wake(kolk_inbox *inbox)
{
    if (inbox->generation == kolk__generation) {
        atomic_store(&inbox->full, true);
        inbox_write(inbox);
    }
}

bool
kolk__inbox_sleep(kolk_inbox *inbox)
{
    atomic_store(&inbox->asleep, true);
    if (atomic_load(&inbox->full)) {
        kolk__inbox_awake(inbox);
        return false;
    }
    return true;
}

/* In a child of the loop's process, a thread that does not exist there may
 * have the lock; and nobody else can touch the inbox. */
static void
inbox_lock(kolk_inbox *inbox)
{
    if (inbox->generation == kolk__generation) {
        pthread_mutex_lock(&inbox->lock);
    }
}

static void
inbox_unlock(kolk_inbox *inbox)
{
    if (inbox->generation == kolk__generation) {
        pthread_mutex_unlock(&inbox->lock);
    }
}

/* The calls belong to this thread from here on, and are in `ring`. */
static void
inbox_take(kolk_inbox *inbox, kolk_link *ring)
{
    inbox_lock(inbox);
    atomic_store(&inbox->full, false);
    for (kolk_link *link = inbox->calls.next; link != &inbox->calls;
         link = link->next) {
        kolk_call *call = KOLK_CONTAINER_OF(link, kolk_call, link);

        __atomic_store_n(&call->state, KOLK__CALL_LINKED, __ATOMIC_RELAXED);
    }
    kolk__ring_splice(ring, &inbox->calls);
    inbox_unlock(inbox);
}

void
kolk__inbox_drain_slow(kolk_loop *loop)
{
    kolk_inbox *inbox = loop->inbox;
    kolk_link ring;
    uint64_t count;

    /* Read before the calls are taken: what is pushed in between leaves the
     * descriptor readable, which costs a turn, not a wake-up. */
    if (atomic_exchange(&inbox->written, false)) {
        (void)!kolk__sys.read(inbox->fd, &count, sizeof count);
    }
    kolk__ring_init(&ring);
    inbox_take(inbox, &ring);
    while (!kolk__ring_is_empty(&ring)) {
        kolk_call *call = (kolk_call *)ring.next;

        kolk__call_unlink(call);
        kolk__ready_push(loop, call);
    }
    /* After `full` was lowered: a handler that comes now raises it again. */
    if (atomic_load(&inbox->signals_arrived) != 0) {
        kolk__signals_collect(loop);
    }
    if (atomic_load(&inbox->is_interrupted)) {
        kolk__interrupt_collect(loop);
    }
}

void
kolk__inbox_cancel(kolk_inbox *inbox, kolk_call *call)
{
    inbox_lock(inbox);
    if (__atomic_load_n(&call->state, __ATOMIC_RELAXED) == KOLK__CALL_INBOX) {
        kolk__call_unlink(call);
    }
    inbox_unlock(inbox);
}

void
kolk__inbox_close(kolk_inbox *inbox, kolk_link *ring)
{
    inbox_lock(inbox);
    inbox->open = false;
    inbox_unlock(inbox);
    inbox_take(inbox, ring);
}

int
kolk__inbox_visit(kolk_inbox *inbox, kolk_visitor *visitor)
{
    int result = 0;

    inbox_lock(inbox);
    for (kolk_link *link = inbox->calls.next;
         link != &inbox->calls && result == 0; link = link->next) {
        kolk_call *call = KOLK_CONTAINER_OF(link, kolk_call, link);

        if (kolk__op_of(call) == NULL) { /* those are shown by the poller */
            result = visitor->fn(visitor, KOLK_NODE_CALL, call);
        }
    }
    inbox_unlock(inbox);
    return result;
}
