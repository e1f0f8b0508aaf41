/* ring.h - doubly linked rings: every list of the library.
 *
 * SPDX-License-Identifier: MIT
 *
 * A ring is a head, a kolk_link of its own, and the links of its members. A
 * member leaves without knowing its ring, in constant time. A link in no ring
 * has NULL pointers; that of an empty head points to itself, or is zero as
 * long as nothing was ever pushed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <kolk/base.h>

static inline void
kolk__ring_init(kolk_link *head)
{
    head->next = head->prev = head;
}

static inline bool
kolk__ring_is_empty(const kolk_link *head)
{
    return head->next == head || head->next == NULL;
}

/* The same for a head that has been initialised. */
static inline bool
kolk__ring_is_bare(const kolk_link *head)
{
    return head->next == head;
}

/* Puts `link` before `place`; before the head is the end of the ring. */
static inline void
kolk__ring_push(kolk_link *place, kolk_link *link)
{
    kolk_link *last = place->prev;

    link->next = place;
    link->prev = last;
    last->next = link;
    place->prev = link;
}

static inline bool
kolk__link_is_linked(const kolk_link *link)
{
    return link->next != NULL;
}

/* Takes `link` out of its ring. Its pointers go stale; callers that ask
 * kolk__link_is_linked() use kolk__ring_remove(). */
static inline void
kolk__ring_unlink(kolk_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

/* Takes `link` out of its ring, if it is in one. */
static inline void
kolk__ring_remove(kolk_link *link)
{
    if (link->next != NULL) {
        kolk__ring_unlink(link);
        link->next = link->prev = NULL;
    }
}

/* Moves all of `from` to the end of `to`. */
static inline void
kolk__ring_splice(kolk_link *to, kolk_link *from)
{
    if (kolk__ring_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    kolk__ring_init(from);
}
