/* timer.c - the loop's deadlines.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is far off lies in a hierarchical timing wheel: a level has 64 slots,
 * each 64 times as wide as those of the level below. A timer's level is that
 * of the highest digit, base 64, in which its slot number differs from the
 * wheel's base. So starting and stopping are a few instructions on a ring, and
 * that is all that ever happens to most timeouts. What the base has reached is
 * in a pairing heap, ordered by (deadline, start), which knows the nanoseconds
 * that the wheel does not see. Both are made of fields of the timers, so
 * starting one cannot fail for want of memory.
 *
 * The invariant: heap <= base < wheel, in slot numbers. Within the wheel a
 * lower level comes before a higher one, and no slot at or before the base's
 * digit is in use. So the first slot is the lowest set bit of the lowest level
 * in use, and the base may move to any place before it without touching a
 * timer. It moves forward only: if the clock goes back, new timers are before
 * the base and simply go to the heap. A clock that is replaced moves it too.
 *
 * Collecting enters slots one by one and empties the heap after each, so the
 * heap stays as small as a slot. A timer that has become due is in the ready
 * queue, by its call. Until then the call's `state` says that a timer has it,
 * and its `turn`, which nobody else needs yet, where the timer is.
 */
#include "loop/loop.h"
#include "loop/timer_heap.h" /* what is due soon */

enum {
    TIMER_SLOT_BITS = 10, /* of a deadline in nanoseconds */
    TIMER_DIGIT_BITS = 6,
    TIMER_DIGIT_MASK = KOLK__WHEEL_SLOTS - 1,

    /* Where a timer waits: the number of a ring, or the heap. */
    TIMER_NEVER = KOLK__WHEEL_LEVELS * KOLK__WHEEL_SLOTS, /* the last ring */
    TIMER_HEAP,

    /* More timers in a slot than this are not worth a look at each. */
    TIMER_CROWD = 32,
    /* How far ahead of the timer that runs others are fetched. */
    TIMER_TRAIL = 8,
};

/* Flips the sign, so that slot numbers are ordered as unsigned numbers. */
#define TIMER_SIGN (UINT64_C(1) << 63)

static inline uint64_t
timer_slot(kolk_time deadline)
{
    return ((uint64_t)deadline ^ TIMER_SIGN) >> TIMER_SLOT_BITS;
}

static inline kolk_time
timer_slot_begin(uint64_t slot)
{
    return (kolk_time)((slot << TIMER_SLOT_BITS) ^ TIMER_SIGN);
}

static inline uint32_t
timer_state(const kolk_timer *timer)
{
    return __atomic_load_n(&timer->call.state, __ATOMIC_RELAXED);
}

static inline void
timer_set_state(kolk_timer *timer, uint32_t state)
{
    __atomic_store_n(&timer->call.state, state, __ATOMIC_RELAXED);
}

/* Notes that `timer` waits in ring `place`, or in the heap. */
static inline void
timer_set_place(kolk_timer *timer, uint32_t place)
{
    timer->call.turn = place;
    timer_set_state(timer, KOLK__CALL_TIMER);
}

/* ---- the wheel ---- */

/* Notes that `ring` is empty. */
static inline void
wheel_clear(kolk__timers *timers, uint32_t ring)
{
    timers->used[ring / KOLK__WHEEL_SLOTS] &=
        ~(UINT64_C(1) << ring % KOLK__WHEEL_SLOTS);
}

static inline void
wheel_push(kolk__timers *timers, kolk_timer *timer, uint32_t ring)
{
    timer_set_place(timer, ring);
    timers->used[ring / KOLK__WHEEL_SLOTS] |= UINT64_C(1)
                                              << ring % KOLK__WHEEL_SLOTS;
    kolk__ring_push(&timers->slots[ring], &timer->call.link);
}

/* Puts `timer`, which has a deadline, where it belongs. */
static inline void
wheel_put(kolk__timers *timers, kolk_timer *timer)
{
    uint64_t slot = timer_slot(timer->deadline);

    if (slot <= timers->base) {
        timer_set_place(timer, TIMER_HEAP);
        kolk__heap_push(&timers->due, timer);
        return;
    }
    unsigned level = (63u - (unsigned)__builtin_clzll(slot ^ timers->base))
                     / TIMER_DIGIT_BITS;
    uint32_t digit =
        (uint32_t)(slot >> level * TIMER_DIGIT_BITS) & TIMER_DIGIT_MASK;
    wheel_push(timers, timer, level * KOLK__WHEEL_SLOTS + digit);
}

static inline void
wheel_remove(kolk__timers *timers, kolk_timer *timer)
{
    uint32_t ring = timer->call.turn;

    kolk__ring_unlink(&timer->call.link);
    if (kolk__ring_is_empty(&timers->slots[ring])) {
        wheel_clear(timers, ring);
    }
}

/* The ring of the first slot in use, and in `*begin` the slot of level 0 that
 * it begins with; TIMER_NEVER if there is none. */
static uint32_t
wheel_first(const kolk__timers *timers, uint64_t *begin)
{
    for (uint32_t level = 0; level < KOLK__WHEEL_LEVELS; level++) {
        if (timers->used[level] != 0) {
            uint32_t digit = (uint32_t)__builtin_ctzll(timers->used[level]);
            unsigned shift = level * TIMER_DIGIT_BITS;
            uint64_t above = timers->base >> shift >> TIMER_DIGIT_BITS;

            *begin = (above << TIMER_DIGIT_BITS | digit) << shift;
            return level * KOLK__WHEEL_SLOTS + digit;
        }
    }
    return TIMER_NEVER;
}

/* Are there too many timers in `ring` to look at each? */
static bool
wheel_is_crowded(const kolk_link *ring)
{
    const kolk_link *link = ring->next;

    for (int i = 0; i < TIMER_CROWD && link != ring; i++) {
        link = link->next;
    }
    return link != ring;
}

/* For a node that is needed soon: where its links are, and its deadline. */
static inline void
timer_prefetch(const kolk_timer *timer)
{
    __builtin_prefetch(&timer->call, 1);
    __builtin_prefetch(&timer->deadline, 1);
}

/* Moves what is in the ring of `head`, which is not empty, to where it belongs
 * now. Works from both ends, because a walk along a ring waits for memory at
 * every step, and two walks wait at the same time; order does not matter. */
static void
wheel_spread(kolk__timers *timers, kolk_link *head)
{
    kolk_link *first = head->next;
    kolk_link *last = head->prev;

    kolk__ring_init(head);
    while (first != last) {
        kolk_timer *timer = (kolk_timer *)first;

        first = first->next;
        timer_prefetch((kolk_timer *)first);
        wheel_put(timers, timer);
        if (first == last) {
            break;
        }
        timer = (kolk_timer *)last;
        last = last->prev;
        timer_prefetch((kolk_timer *)last);
        wheel_put(timers, timer);
    }
    wheel_put(timers, (kolk_timer *)first);
}

/* Moves the base to the first slot in use and the timers of that slot to where
 * they belong then; `until` is the latest place for the base. Returns whether
 * there may be more to do. */
static bool
wheel_advance(kolk__timers *timers, uint64_t until)
{
    uint64_t begin;
    uint32_t ring = wheel_first(timers, &begin);

    if (ring == TIMER_NEVER || begin > until) {
        timers->base = until;
        return false;
    }
    kolk_link *head = &timers->slots[ring];
    timers->base = begin;
    if (!wheel_is_crowded(head)) {
        /* A few need not go down level by level: the heap sorts them. */
        unsigned shift = ring / KOLK__WHEEL_SLOTS * TIMER_DIGIT_BITS;
        uint64_t end = begin + (UINT64_C(1) << shift) - 1;

        timers->base = end < until ? end : until;
    }
    wheel_clear(timers, ring);
    wheel_spread(timers, head);
    return timers->base < until;
}

/* ---- the timers of a loop ---- */

/* Takes every pending timer out, into `ring`. */
static void
timers_take_all(kolk__timers *timers, kolk_link *ring)
{
    kolk__ring_init(ring);
    while (timers->due != NULL) {
        kolk_timer *timer = kolk__heap_pop(&timers->due);

        kolk__ring_push(ring, &timer->call.link);
    }
    for (uint32_t i = 0; i <= TIMER_NEVER; i++) {
        kolk__ring_splice(ring, &timers->slots[i]);
        timers->used[i / KOLK__WHEEL_SLOTS] = 0;
    }
}

void
kolk__timers_init(kolk__timers *timers, kolk_time now)
{
    *timers = (kolk__timers){.base = timer_slot(now)};
    for (uint32_t i = 0; i <= TIMER_NEVER; i++) {
        kolk__ring_init(&timers->slots[i]);
    }
}

/* Puts `timer`, which is nowhere, where it belongs. */
static inline void
timers_put(kolk__timers *timers, kolk_timer *timer)
{
    if (KOLK_LIKELY(timer->deadline != KOLK_NEVER)) {
        wheel_put(timers, timer);
    } else {
        wheel_push(timers, timer, TIMER_NEVER);
    }
}

void
kolk__timers_rebase(kolk__timers *timers, kolk_time now)
{
    kolk_link ring;

    timers_take_all(timers, &ring);
    timers->base = timer_slot(now);
    for (kolk_link *link = ring.next; link != &ring;) {
        kolk_timer *timer = (kolk_timer *)link;

        link = link->next;
        timers_put(timers, timer);
    }
}

/* The timers that a collection has queued last. */
struct timers_trail {
    kolk_timer *last[TIMER_TRAIL];
    unsigned count;
};

/* Queues what is in the heap and due. Each timer's child is set to the one
 * that runs some steps after it: see timer_run(). */
static void
timers_fire(kolk_loop *loop, kolk_time now, struct timers_trail *trail)
{
    kolk__timers *timers = &loop->timers;

    while (timers->due != NULL && timers->due->deadline <= now) {
        kolk_timer *timer = kolk__heap_pop(&timers->due);
        kolk_timer **earlier = &trail->last[trail->count++ % TIMER_TRAIL];

        if (*earlier != NULL) {
            (*earlier)->call.pointer = timer;
        }
        *earlier = timer;
        timer->call.pointer = NULL;
        timers->count--;
        kolk__ready_push(loop, &timer->call);
    }
}

void
kolk__timers_collect(kolk_loop *loop, kolk_time now)
{
    kolk__timers *timers = &loop->timers;
    struct timers_trail trail = {.count = 0};
    uint64_t until = timer_slot(now);
    bool more = timers->base < until;

    timers_fire(loop, now, &trail);
    while (more) {
        more = wheel_advance(timers, until);
        timers_fire(loop, now, &trail);
    }
}

kolk_time
kolk__timers_next(kolk_loop *loop)
{
    const kolk__timers *timers = &loop->timers;
    uint64_t begin;

    if (timers->due != NULL) {
        return timers->due->deadline;
    }
    uint32_t ring = wheel_first(timers, &begin);
    if (ring == TIMER_NEVER) {
        return KOLK_NEVER;
    }
    const kolk_link *head = &timers->slots[ring];
    if (wheel_is_crowded(head)) {
        return timer_slot_begin(begin);
    }
    kolk_time first = KOLK_NEVER;
    for (const kolk_link *link = head->next; link != head; link = link->next) {
        const kolk_timer *timer = (const kolk_timer *)link;

        first = timer->deadline < first ? timer->deadline : first;
    }
    return first;
}

int
kolk__timers_each(kolk_loop *loop, int (*fn)(kolk_timer *timer, void *arg),
                  void *arg)
{
    kolk__timers *timers = &loop->timers;
    int result = 0;

    for (kolk_timer *timer = timers->due; timer != NULL && result == 0;
         timer = kolk__heap_walk(timer)) {
        result = fn(timer, arg);
    }
    for (uint32_t i = 0; i <= TIMER_NEVER && result == 0; i++) {
        const kolk_link *head = &timers->slots[i];

        for (kolk_link *link = head->next; link != head && result == 0;
             link = link->next) {
            result = fn((kolk_timer *)link, arg);
        }
    }
    return result;
}

/* Takes any pending timer out, or returns NULL. */
static kolk_timer *
timers_take(kolk__timers *timers)
{
    kolk_timer *timer;
    uint64_t begin;

    if (timers->count == 0) {
        return NULL;
    }
    if (timers->due != NULL) {
        timer = kolk__heap_pop(&timers->due);
    } else {
        timer = (kolk_timer *)timers->slots[wheel_first(timers, &begin)].next;
        wheel_remove(timers, timer);
    }
    timers->count--;
    timer_set_state(timer, KOLK__CALL_IDLE);
    return timer;
}

void
kolk__timers_drop(kolk_loop *loop)
{
    kolk_timer *timer;

    while ((timer = timers_take(&loop->timers)) != NULL) {
        if (timer->dropped != NULL) {
            timer->dropped(timer); /* may free it, and stop others */
        }
    }
}

/* ---- a timer ---- */

static void
timer_run(kolk_call *call)
{
    kolk_timer *timer = KOLK_CONTAINER_OF(call, kolk_timer, call);

    if (heap_child(timer) != NULL) {
        /* When very many are due at once, the queue is a walk through memory
         * that waits at every step. By now that one may have been stopped and
         * freed, which does no harm: nothing but the cache is touched. */
        timer_prefetch(heap_child(timer));
    }
    timer->fn(timer);
}

static void
timer_drop(kolk_call *call)
{
    kolk_timer *timer = KOLK_CONTAINER_OF(call, kolk_timer, call);

    if (timer->dropped != NULL) {
        timer->dropped(timer);
    }
}

kolk_timer *
kolk__timer_of(kolk_call *call)
{
    return call->fn == timer_run ? KOLK_CONTAINER_OF(call, kolk_timer, call)
                                 : NULL;
}

void
kolk_timer_init(kolk_timer *timer, kolk_timer_fn *fn, kolk_timer_fn *dropped)
{
    *timer = (kolk_timer){.fn = fn, .dropped = dropped};
    kolk_call_init(&timer->call, timer_run, timer_drop);
}

static inline void
timer_start(kolk_loop *loop, kolk_timer *timer, kolk_time deadline)
{
    if (timer_state(timer) != KOLK__CALL_IDLE) {
        kolk_timer_stop(loop, timer);
    }
    timer->deadline = deadline;
    timer->call.word = ++loop->timers.seq;
    loop->timers.count++;
    timers_put(&loop->timers, timer);
    if (KOLK_UNLIKELY(loop->guest_idle)) {
        kolk__guest_update(loop);
    }
}

int
kolk_call_at(kolk_loop *loop, kolk_timer *timer, kolk_time deadline)
{
    int err = kolk__loop_check(loop, "kolk_call_at()");

    if (err < 0) {
        return err;
    }
    timer_start(loop, timer, deadline);
    return 0;
}

int
kolk_call_later(kolk_loop *loop, kolk_timer *timer, kolk_time delay)
{
    int err = kolk__loop_check(loop, "kolk_call_later()");

    if (err < 0) {
        return err;
    }
    timer_start(loop, timer, kolk_time_add(kolk_now(loop), delay));
    return 0;
}

void
kolk_timer_stop(kolk_loop *loop, kolk_timer *timer)
{
    kolk__timers *timers = &loop->timers;
    uint32_t state = timer_state(timer);

    if (state == KOLK__CALL_LINKED) {
        kolk__call_unlink(&timer->call); /* due, and queued */
    } else if (state == KOLK__CALL_TIMER) {
        timers->count--;
        if (timer->call.turn == TIMER_HEAP) {
            kolk__heap_remove(&timers->due, timer);
        } else {
            wheel_remove(timers, timer);
        }
        timer_set_state(timer, KOLK__CALL_IDLE);
    }
}

bool
kolk_timer_is_pending(const kolk_timer *timer)
{
    return timer_state(timer) != KOLK__CALL_IDLE;
}
