/* descriptor.h - what a loop knows of each descriptor number.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "loop/poller.h"

enum { KOLK__CHUNK_SIZE = 256 };

/* Streams, of which a short read takes all there is. */
enum {
    KOLK__STREAM_NONE,
    KOLK__STREAM_UNIX,
    KOLK__STREAM_TCP,
};

/* Who owns a descriptor, as a transport does, and hears of each change. Nobody
 * else watches it then; the registration is edge-triggered, for everything,
 * and stays. Nothing stands in a ring, so that a message costs no more than a
 * call through this table. */
typedef struct kolk__listener kolk__listener;
typedef struct kolk__listener_ops {
    /* epoll has found `events`; what is known of readiness is up to date. Runs
     * at dispatch, so it queues what is to be done, and calls nothing of the
     * user's. */
    void (*event)(kolk_loop *loop, kolk__listener *listener, uint32_t events);
    /* The descriptor has been closed behind its owner's back: the number is
     * another file's now, and not the owner's to close. */
    void (*revoked)(kolk_loop *loop, kolk__listener *listener);
} kolk__listener_ops;

struct kolk__listener {
    const kolk__listener_ops *ops;
};

struct kolk__descriptor {
    kolk__listener *listener; /* the owner, or NULL */

    /* the registration with epoll */
    uint32_t mask;       /* what is asked for; 0: not registered */
    uint32_t generation; /* events of an earlier one are not ours */
    bool is_edge;        /* edge-triggered */
    bool ready_in;       /* reading may be tried; false only if `is_edge` and
                          * not `is_closing` */
    bool ready_out;      /* writing; the same, if not `is_broken` */
    bool is_closing;     /* the other side has ended or failed: sticky */
    bool is_broken;      /* both sides have, or it has failed: sticky */
    uint8_t stream;

    bool no_ring; /* the ring cannot wait for it */

    /* who waits; the first of a direction is in the kernel's hands */
    kolk_link readers, writers;
    kolk_link polls;
    kolk_link files; /* operations that do not wait for readiness */
    kolk_link watches;

    /* debug mode: which file was registered */
    dev_t device;
    ino_t inode;
};

/* What is known of `fd`, or NULL. */
static inline struct kolk__descriptor *
kolk__descriptor_find(const kolk__poller *poller, int fd)
{
    size_t chunk = (unsigned)fd / KOLK__CHUNK_SIZE;

    if (KOLK_UNLIKELY(chunk >= poller->chunk_count)
        || KOLK_UNLIKELY(poller->chunks[chunk] == NULL)) {
        return NULL;
    }
    return &poller->chunks[chunk][(unsigned)fd % KOLK__CHUNK_SIZE];
}

/* Could reading (else writing) succeed, as far as is known? */
static inline bool
kolk__descriptor_may_try(const struct kolk__descriptor *desc, bool reading)
{
    return reading ? desc->ready_in : desc->ready_out;
}

/* Trying has shown that it is not ready. Only where an event tells when it is
 * again is that remembered: not where the end is still to be read. Whoever has
 * ended its own stream may still be slow to read ours. */
static inline void
kolk__descriptor_not_ready(struct kolk__descriptor *desc, bool reading)
{
    if (KOLK_UNLIKELY(!desc->is_edge
                      || (reading ? desc->is_closing : desc->is_broken))) {
        return;
    }
    if (reading) {
        desc->ready_in = false;
    } else {
        desc->ready_out = false;
    }
}

/* What is known of `fd`, with room made for it; NULL if there is no memory. */
struct kolk__descriptor *kolk__descriptor_get(kolk__poller *poller, int fd);

/* Makes epoll ask for what is needed now. Returns 0 or -errno, and then the
 * registration is as it was. */
int kolk__descriptor_update(kolk_loop *loop, int fd,
                            struct kolk__descriptor *desc);

/* An operation of `desc` goes to sleep: is the number still the same file? For
 * debug mode. */
void kolk__descriptor_verify(kolk_loop *loop, int fd,
                             struct kolk__descriptor *desc);

/* Makes `listener`, whose table is set, the owner of `fd`, and registers it. An
 * event follows if it is readable, and nothing is known to be until then.
 * Where epoll knows no such file, as with some devices, it counts as ready
 * always. `*out` stays where it is. Returns 0; -EBUSY if somebody else watches
 * or owns it; -ENOMEM, -ENOSPC, -EBADF. */
int kolk__descriptor_listen(kolk_loop *loop, int fd, kolk__listener *listener,
                            struct kolk__descriptor **out);

/* Ends that, and operations that wait, before `fd` is closed. */
void kolk__descriptor_unlisten(kolk_loop *loop, int fd,
                               struct kolk__descriptor *desc);

/* `fd`, which has an owner, is about to be used for something that only a new
 * file is used for. Unless epoll still knows the owner's, that one has been
 * closed. */
void kolk__descriptor_doubt(kolk_loop *loop, int fd,
                            struct kolk__descriptor *desc);

/* `fd` was given out by the kernel just now: what is known is of another file.
 */
void kolk__descriptor_reset(kolk_loop *loop, int fd);

/* Forgets a registration before the descriptor is closed. */
void kolk__descriptor_unregister(kolk_loop *loop, int fd,
                                 struct kolk__descriptor *desc);

/* Wakes whoever waits for one of `events`, which epoll has found. */
void kolk__descriptor_event(kolk_loop *loop, int fd,
                            struct kolk__descriptor *desc, uint32_t events);

/* Calls `fn` for each number that the table has room for. Stops at a result
 * other than 0 and returns it. */
int kolk__descriptor_each(kolk_loop *loop,
                          int (*fn)(kolk_loop *loop, int fd,
                                    struct kolk__descriptor *desc, void *arg),
                          void *arg);

void kolk__descriptors_free(kolk__poller *poller);

/* ---- watch.c ---- */

/* Runs the watches of `desc` that wait for one of `found`; `broken`: all. */
void kolk__watches_fire(kolk_loop *loop, struct kolk__descriptor *desc,
                        unsigned found, bool broken);

/* Takes all watches out, and drops them. */
void kolk__watches_drop(kolk_loop *loop, struct kolk__descriptor *desc);
