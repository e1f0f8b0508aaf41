/* timer_heap.h - a pairing heap of timers, by deadline and order of start.
 *
 * SPDX-License-Identifier: MIT
 *
 * A tree in which no timer comes before its parent. It is made of the timers'
 * own fields: call.pointer is the first child, link.next the next sibling,
 * link.prev the sibling before, or for the first one the parent. The root has
 * neither. call.word is the order of start. They stand in the call, so that
 * starting a timer writes no more than 64 bytes: with a million of them, memory
 * is what that costs.
 *
 * Pushing is constant; taking out the first timer or any other is logarithmic
 * over a sequence of operations, though one alone may take linear time. Nothing
 * recurses: a tree may be as deep as it has nodes.
 */
#pragma once

#include <kolk/timer.h>

/* The first child, or NULL. */
static inline kolk_timer *
heap_child(const kolk_timer *timer)
{
    return timer->call.pointer;
}

static inline bool
heap_is_before(const kolk_timer *a, const kolk_timer *b)
{
    return a->deadline < b->deadline
           || (a->deadline == b->deadline && a->call.word < b->call.word);
}

static inline kolk_timer *
heap_next(const kolk_timer *timer)
{
    return (kolk_timer *)timer->call.link.next;
}

static inline kolk_timer *
heap_prev(const kolk_timer *timer)
{
    return (kolk_timer *)timer->call.link.prev;
}

/* Makes the later one of two roots a child of the other, which it returns. */
static inline kolk_timer *
heap_meld(kolk_timer *a, kolk_timer *b)
{
    if (heap_is_before(b, a)) {
        kolk_timer *first = b;
        b = a;
        a = first;
    }
    b->call.link.next = (kolk_link *)heap_child(a);
    b->call.link.prev = (kolk_link *)a;
    if (heap_child(a) != NULL) {
        heap_child(a)->call.link.prev = (kolk_link *)b;
    }
    a->call.pointer = b;
    return a;
}

/* Makes one heap of a list of siblings: pairs from the first to the last, and
 * the pairs from the last to the first. Without the pairs, taking out the
 * first timer would take linear time again and again. */
static inline kolk_timer *
heap_meld_all(kolk_timer *list)
{
    kolk_timer *pairs = NULL;

    while (list != NULL) {
        kolk_timer *pair = list;
        kolk_timer *second = heap_next(list);

        list = NULL;
        if (second != NULL) {
            list = heap_next(second);
            pair = heap_meld(pair, second);
        }
        pair->call.link.next = (kolk_link *)pairs;
        pairs = pair;
    }
    kolk_timer *root = pairs;
    if (root != NULL) {
        pairs = heap_next(root);
        while (pairs != NULL) {
            kolk_timer *next = heap_next(pairs);

            root = heap_meld(root, pairs);
            pairs = next;
        }
        root->call.link.next = root->call.link.prev = NULL;
    }
    return root;
}

static inline void
kolk__heap_push(kolk_timer **root, kolk_timer *timer)
{
    timer->call.pointer = NULL;
    if (*root != NULL) {
        timer = heap_meld(*root, timer);
    }
    timer->call.link.next = timer->call.link.prev = NULL;
    *root = timer;
}

/* Takes the first timer out, which there is. */
static inline kolk_timer *
kolk__heap_pop(kolk_timer **root)
{
    kolk_timer *timer = *root;

    *root = heap_meld_all(heap_child(timer));
    return timer;
}

static inline void
kolk__heap_remove(kolk_timer **root, kolk_timer *timer)
{
    kolk_timer *prev = heap_prev(timer);
    kolk_timer *next = heap_next(timer);

    if (prev == NULL) {
        (void)kolk__heap_pop(root);
        return;
    }
    if (heap_child(prev) == timer) {
        prev->call.pointer = next;
    } else {
        prev->call.link.next = (kolk_link *)next;
    }
    if (next != NULL) {
        next->call.link.prev = (kolk_link *)prev;
    }
    kolk_timer *orphans = heap_meld_all(heap_child(timer));
    if (orphans != NULL) {
        /* The root stays: it is before all of them. */
        (void)heap_meld(*root, orphans);
    }
}

/* The timer after `timer` in a walk over the whole heap, or NULL. */
static inline kolk_timer *
kolk__heap_walk(kolk_timer *timer)
{
    if (heap_child(timer) != NULL) {
        return heap_child(timer);
    }
    while (timer != NULL && heap_next(timer) == NULL) {
        kolk_timer *prev = heap_prev(timer);

        while (prev != NULL && heap_child(prev) != timer) {
            timer = prev;
            prev = heap_prev(timer);
        }
        timer = prev; /* the parent */
    }
    return timer != NULL ? heap_next(timer) : NULL;
}
