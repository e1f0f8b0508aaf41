/* kolk/watch.h - a callback whenever a descriptor is ready.
 *
 * SPDX-License-Identifier: MIT
 *
 * Watches are level-triggered and are epoll's on every backend: as long as the
 * descriptor is ready, the callback runs once in every turn. Several watches
 * may share a descriptor, with one another and with operations.
 */
#pragma once

#include <kolk/call.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_watch kolk_watch;
typedef void kolk_watch_fn(kolk_watch *watch);

/* What to wait for, and what was found. Errors and hang-ups count as both, so
 * that whoever waits gets to see them. */
enum {
    KOLK_READABLE = 1,
    KOLK_WRITABLE = 2,
    KOLK_PRIORITY = 4, /* out-of-band data (POLLPRI) */
    /* With others: this watch alone is no reason to ask the kernel while work
     * is ready. What it waits for is found when the loop looks anyway. */
    KOLK_BACKGROUND = 8,
};

struct kolk_watch {
    kolk_call call; /* private: its place in the ready queue */
    kolk_watch_fn *fn;
    kolk_watch_fn *dropped; /* runs once when the loop closes, or NULL */
    int fd;                 /* borrowed; never closed by the loop */
    unsigned events;        /* asked for; 0 while stopped; read only */
    unsigned ready;         /* found; valid while fn runs */

    /* private to descriptor.c */
    kolk_link link;
    void *reserved[2];
};

/* Prepares `watch` on `fd`. `dropped` may be NULL: it is called, once, if the
 * loop is closed while the watch is started. Thread-safe. */
KOLK_API void kolk_watch_init(kolk_watch *watch, int fd, kolk_watch_fn *fn,
                              kolk_watch_fn *dropped);

/* Runs the watch's function in every turn that finds its descriptor ready for
 * any of `events`, until it is stopped. Starting a started watch replaces its
 * events. The loop borrows `watch`; its function may stop or free it. Stop it
 * before the descriptor is closed.
 *
 * Returns 0; -EBADF, -EPERM (a regular file or directory: always ready),
 * -ENOMEM, -ENOSPC; -EBUSY (a transport owns it); -EINVAL for no events;
 * -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int
kolk_watch_start(kolk_loop *loop, kolk_watch *watch, unsigned events);

/* Stops `watch`; its function does not run again, even if it was queued. A
 * no-op if it is not started. Cannot fail. */
KOLK_API void kolk_watch_stop(kolk_loop *loop, kolk_watch *watch);

#ifdef __cplusplus
}
#endif
