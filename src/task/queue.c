/* queue.c - queues between tasks. See kolk/queue.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Items are copied: into the queue's own memory, or, when a getter waits,
 * straight into that getter's. A task that waits has left a pointer to its
 * item in its coroutine's `object`, so whoever comes from the other side does
 * the whole exchange at once, and the woken task does not look at the queue
 * again.
 *
 * Invariant: getters wait only while there is no item, putters only while
 * there is no room. So nobody who need not wait can overtake one who does.
 *
 * Items are kept in a power of two of slots: a ring for FIFO, its back end for
 * LIFO, a binary heap in an array for priorities, where the order of arrival
 * stands behind each item to tell equal ones apart.
 */
#include <kolk/queue.h>

#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "task/park.h"

enum { QUEUE_FIRST_SLOTS = 4 };

struct kolk_queue {
    /* who waits */
    kolk_link getters; /* object: where the item goes */
    kolk_link putters; /* object: the item */
    kolk_link joiners;

    /* what is inside */
    char *slots;
    size_t capacity; /* slots: 0, or a power of two */
    size_t head;     /* FIFO: the slot of the oldest item */
    size_t count;
    uint64_t seq;      /* priority: counts arrivals */
    size_t unfinished; /* put, and not yet done */

    /* what was asked for */
    size_t item_size;
    size_t slot_size; /* bytes from one slot to the next */
    size_t maxsize;   /* SIZE_MAX: no bound */
    kolk_compare_fn *compare;
    kolk_queue_order order;
    bool is_shutdown;
};

/* ---- slots ---- */

/* A copy that needs no call for the commonest size, a pointer's. */
static inline void
queue_copy(const kolk_queue *queue, void *to, const void *from)
{
    if (KOLK_LIKELY(queue->item_size == sizeof(uint64_t))) {
        memcpy(to, from, sizeof(uint64_t));
    } else {
        memcpy(to, from, queue->item_size);
    }
}

static inline char *
queue_slot(const kolk_queue *queue, size_t index)
{
    return queue->slots + index * queue->slot_size;
}

/* The slot `index` places behind the head. */
static inline char *
queue_ring_slot(const kolk_queue *queue, size_t index)
{
    return queue_slot(queue, (queue->head + index) & (queue->capacity - 1));
}

/* Doubles the slots. The part of a ring that had wrapped goes behind the rest
 * again. */
static __attribute__((noinline)) int
queue_grow(kolk_queue *queue)
{
    size_t capacity =
        queue->capacity == 0 ? QUEUE_FIRST_SLOTS : 2 * queue->capacity;

    if (capacity > SIZE_MAX / 2 / queue->slot_size) {
        return -ENOMEM;
    }
    char *slots = kolk__sys.realloc(queue->slots, capacity * queue->slot_size);
    if (slots == NULL) {
        return -ENOMEM;
    }
    queue->slots = slots;
    memcpy(queue_slot(queue, queue->capacity), slots,
           queue->head * queue->slot_size);
    queue->capacity = capacity;
    return 0;
}

/* ---- priorities ---- */

static uint64_t *
queue_slot_seq(const kolk_queue *queue, char *slot)
{
    return (uint64_t *)(void *)(slot + queue->slot_size - sizeof(uint64_t));
}

/* Does the item of `a`, which arrived `seq`th, come out before slot `b`'s? */
static bool
queue_is_before(const kolk_queue *queue, const void *a, uint64_t seq, char *b)
{
    int order = queue->compare(a, b);

    return order < 0 || (order == 0 && seq < *queue_slot_seq(queue, b));
}

/* The place for a new item that arrives last: parents that come after it move
 * down. */
static __attribute__((noinline)) void
queue_heap_push(kolk_queue *queue, const void *item)
{
    uint64_t seq = ++queue->seq;
    size_t hole = queue->count;

    while (hole > 0) {
        char *parent = queue_slot(queue, (hole - 1) / 2);

        if (!queue_is_before(queue, item, seq, parent)) {
            break;
        }
        memcpy(queue_slot(queue, hole), parent, queue->slot_size);
        hole = (hole - 1) / 2;
    }
    char *slot = queue_slot(queue, hole);
    memcpy(slot, item, queue->item_size);
    *queue_slot_seq(queue, slot) = seq;
}

/* The first of the two children of `parent` in a heap of `count`, or `count`
 * if it has none. */
static size_t
queue_heap_child(const kolk_queue *queue, size_t parent, size_t count)
{
    size_t left = 2 * parent + 1;

    if (left + 1 >= count) {
        return left < count ? left : count;
    }
    char *slot = queue_slot(queue, left + 1);
    bool is_right = queue_is_before(queue, slot, *queue_slot_seq(queue, slot),
                                    queue_slot(queue, left));
    return is_right ? left + 1 : left;
}

/* The root leaves; the last item goes to where children, moving up, leave
 * room for it. */
static __attribute__((noinline)) void
queue_heap_pop(kolk_queue *queue, void *item)
{
    size_t count = queue->count - 1;
    size_t hole = 0, child;
    char *last = queue_slot(queue, count);
    uint64_t seq = *queue_slot_seq(queue, last);

    memcpy(item, queue_slot(queue, 0), queue->item_size);
    while ((child = queue_heap_child(queue, hole, count)) < count) {
        char *slot = queue_slot(queue, child);

        if (queue_is_before(queue, last, seq, slot)) {
            break;
        }
        memcpy(queue_slot(queue, hole), slot, queue->slot_size);
        hole = child;
    }
    if (hole != count) {
        memcpy(queue_slot(queue, hole), last, queue->slot_size);
    }
}

/* ---- items in and out ---- */

/* Copies `item` in, for which maxsize has room. Fails without memory. */
static inline int
queue_push(kolk_queue *queue, const void *item)
{
    if (KOLK_UNLIKELY(queue->count == queue->capacity)) {
        int err = queue_grow(queue);

        if (err < 0) {
            return err;
        }
    }
    if (queue->order != KOLK_PRIORITY_ORDER) {
        queue_copy(queue, queue_ring_slot(queue, queue->count), item);
    } else {
        queue_heap_push(queue, item);
    }
    queue->count++;
    queue->unfinished++;
    return 0;
}

/* Copies the next item out; there is one. */
static inline void
queue_pop(kolk_queue *queue, void *item)
{
    if (KOLK_LIKELY(queue->order == KOLK_FIFO)) {
        queue_copy(queue, item, queue_slot(queue, queue->head));
        queue->head = (queue->head + 1) & (queue->capacity - 1);
    } else if (queue->order == KOLK_LIFO) {
        queue_copy(queue, item, queue_slot(queue, queue->count - 1));
    } else {
        queue_heap_pop(queue, item);
    }
    queue->count--;
}

/* Puts `item` where it belongs if nobody has to wait for that: 0; -EAGAIN when
 * full; -ESHUTDOWN; -ENOMEM. */
static inline int
queue_offer(kolk_queue *queue, const void *item)
{
    if (KOLK_UNLIKELY(queue->is_shutdown)) {
        return -ESHUTDOWN;
    }
    kolk__coro *getter = kolk__waiters_first(&queue->getters);
    if (getter != NULL) {
        queue_copy(queue, getter->object, item);
        queue->unfinished++;
        kolk__call_unlink(&getter->call);
        kolk__wake(getter, 0);
        return 0;
    }
    return queue->count < queue->maxsize ? queue_push(queue, item) : -EAGAIN;
}

/* Takes an item if nobody has to wait for one, and lets the putter that waits
 * longest have its room: 0; -EAGAIN when empty; -ESHUTDOWN. */
static inline int
queue_fetch(kolk_queue *queue, void *item)
{
    if (queue->count == 0) {
        return queue->is_shutdown ? -ESHUTDOWN : -EAGAIN;
    }
    queue_pop(queue, item);
    kolk__coro *putter = kolk__waiters_first(&queue->putters);
    if (putter != NULL) {
        /* Into the slot that has just become free: cannot fail. */
        (void)!queue_push(queue, putter->object);
        kolk__call_unlink(&putter->call);
        kolk__wake(putter, 0);
    }
    return 0;
}

static void
queue_wake_all(kolk_link *ring, int result)
{
    while (kolk__waiters_wake_first(ring, result) != NULL) {
    }
}

/* Lets `coro`, the current one, wait in `ring`; the other side uses `object`.
 */
static int
queue_wait(kolk_link *ring, kolk__coro *coro, const char *reason, void *object)
{
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(ring, coro);
    return kolk__park(coro, reason, kolk__interrupt_wait, object);
}

/* ---- the interface ---- */

/* Bytes of a slot. Behind an item of a priority queue stands its place in the
 * order of arrival; 16 keeps both as aligned as malloc() does. */
static size_t
queue_slot_size(const kolk_queue_options *options)
{
    size_t size = options->item_size;

    if (options->order == KOLK_PRIORITY_ORDER) {
        size = (size + sizeof(uint64_t) + 15) & ~(size_t)15;
    }
    return size;
}

int
kolk_queue_new(const kolk_queue_options *options, kolk_queue **out)
{
    bool has_priorities = options->order == KOLK_PRIORITY_ORDER;

    if (options->item_size == 0 || options->item_size > SIZE_MAX / 4
        || (unsigned)options->order > KOLK_PRIORITY_ORDER
        || has_priorities != (options->compare != NULL)) {
        return -EINVAL;
    }
    kolk_queue *queue = kolk__sys.calloc(1, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    kolk__ring_init(&queue->getters);
    kolk__ring_init(&queue->putters);
    kolk__ring_init(&queue->joiners);
    queue->item_size = options->item_size;
    queue->slot_size = queue_slot_size(options);
    queue->maxsize = options->maxsize != 0 ? options->maxsize : SIZE_MAX;
    queue->order = options->order;
    queue->compare = options->compare;
    *out = queue;
    return 0;
}

int
kolk_queue_free(kolk_queue *queue)
{
    if (queue == NULL) {
        return 0;
    }
    if (!kolk__ring_is_empty(&queue->getters)
        || !kolk__ring_is_empty(&queue->putters)
        || !kolk__ring_is_empty(&queue->joiners)) {
        return kolk__misuse(kolk__this_thread.loop,
                            "kolk_queue_free() while tasks wait");
    }
    kolk__sys.free(queue->slots);
    kolk__sys.free(queue);
    return 0;
}

int
kolk_queue_try_put(kolk_queue *queue, const void *item)
{
    return queue_offer(queue, item);
}

int
kolk_queue_put(kolk_queue *queue, const void *item)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_queue_put() outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    int err = queue_offer(queue, item);
    if (KOLK_LIKELY(err != -EAGAIN)) {
        return err;
    }
    return queue_wait(&queue->putters, coro, "queue put", (void *)item);
}

int
kolk_queue_try_get(kolk_queue *queue, void *item)
{
    return queue_fetch(queue, item);
}

int
kolk_queue_get(kolk_queue *queue, void *item)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_queue_get() outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    int err = queue_fetch(queue, item);
    if (KOLK_LIKELY(err != -EAGAIN)) {
        return err;
    }
    return queue_wait(&queue->getters, coro, "queue get", item);
}

int
kolk_queue_task_done(kolk_queue *queue)
{
    if (queue->unfinished == 0) {
        return kolk__misuse(kolk__this_thread.loop,
                            "kolk_queue_task_done() too often");
    }
    if (--queue->unfinished == 0) {
        queue_wake_all(&queue->joiners, 0);
    }
    return 0;
}

int
kolk_queue_join(kolk_queue *queue)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_queue_join() outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (queue->unfinished == 0) {
        return 0;
    }
    return queue_wait(&queue->joiners, coro, "queue join", NULL);
}

void
kolk_queue_shutdown(kolk_queue *queue, bool immediate)
{
    queue->is_shutdown = true;
    if (immediate) {
        /* An item may have been called done before it came out. */
        size_t done =
            queue->count < queue->unfinished ? queue->count : queue->unfinished;

        queue->unfinished -= done;
        queue->count = queue->head = 0;
        if (queue->unfinished == 0) {
            queue_wake_all(&queue->joiners, 0);
        }
    }
    queue_wake_all(&queue->getters, -ESHUTDOWN);
    queue_wake_all(&queue->putters, -ESHUTDOWN);
}

size_t
kolk_queue_size(const kolk_queue *queue)
{
    return queue->count;
}

bool
kolk_queue_is_empty(const kolk_queue *queue)
{
    return queue->count == 0;
}

bool
kolk_queue_is_full(const kolk_queue *queue)
{
    return queue->count >= queue->maxsize;
}
