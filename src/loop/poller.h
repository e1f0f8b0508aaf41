/* poller.h - the kernel side of a loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * A backend is a `const` table of functions in a file named after it:
 * poller_epoll.c, poller_uring.c. Readiness (descriptor.c, over epoll) is there
 * on every backend: watches are epoll's always. Completion is optional: where
 * `submit` is NULL or refuses, op.c runs the operation over readiness, or in
 * the thread pool.
 *
 * A poll is two steps. `wait` sleeps, and calls the host's hooks right around
 * the system call, which touches nothing but the kernel's event buffer.
 * `dispatch` then queues what the events woke; it runs nothing of the user's.
 * All calls come from the loop's thread.
 */
#pragma once

#include <sys/epoll.h>

#include "loop/loop.h"

typedef struct kolk__poller_ops {
    const char *name;

    /* Sleeps for `delay` nanoseconds at most (0: not at all; KOLK_NEVER: until
     * woken); may wake earlier. Returns how many events its buffer holds, or
     * -errno; EINTR is no error and no event. */
    int (*wait)(kolk_loop *loop, kolk_time delay);

    /* Queues what those events woke. */
    void (*dispatch)(kolk_loop *loop, int events);

    /* The descriptor that is readable when `wait` would find an event; for
     * guest mode. Work that is prepared but not submitted is submitted; -EAGAIN
     * if the kernel would not have it just now. */
    int (*fileno)(kolk_loop *loop);

    /* Completion; NULL: none. `submit` returns 0, or -EOPNOTSUPP and op.c does
     * it otherwise. After `cancel` the operation ends by itself, soon. */
    int (*submit)(kolk_loop *loop, kolk_op *op);
    void (*cancel)(kolk_loop *loop, kolk_op *op);
    /* Waits until `op`, which is in the ring, has ended. */
    void (*settle)(kolk_loop *loop, kolk_op *op);
} kolk__poller_ops;

enum { KOLK__POLLER_EVENTS = 256 };

struct kolk__poller {
    const kolk__poller_ops *ops;
    int epoll_fd;
    int timer_fd;      /* poller_epoll.c; -1 until it is needed */
    size_t watched;    /* watches that are started, not in the background */
    size_t background; /* and those that are */
    size_t pending;    /* operations started and not ended, of every kind */
    size_t jobs;       /* of those, in thread pools */
    size_t listening;  /* listeners of descriptors */
    struct kolk__descriptor **chunks; /* descriptor.c */
    size_t chunk_count;
    kolk_link others;          /* operations without a descriptor */
    struct kolk__uring *uring; /* poller_uring.c; NULL until it is needed */
    struct epoll_event events[KOLK__POLLER_EVENTS]; /* `wait` and `dispatch` */
};

/* Opens the backend that was asked for, or epoll, and sets loop->poller and
 * loop->why; watches the inbox. Returns 0 or -errno. */
int kolk__poller_open(kolk_loop *loop);

/* Cancels every operation, and returns when the kernel and the pools have let
 * go of their buffers. Then they have ended, and are in the ready queue or in
 * the inbox. */
void kolk__poller_settle(kolk_loop *loop);

/* Gives each watch back through its `dropped`, and closes the poller; nothing
 * that a child of the loop's process must not do. */
void kolk__poller_close(kolk_loop *loop);

/* Shows the watches, and the operations that have not ended. */
int kolk__poller_visit(kolk_loop *loop, kolk_visitor *visitor);

/* Is `call` inside a watch or an operation: which, for kolk_loop_visit(). */
kolk_watch *kolk__watch_of(kolk_call *call);
kolk_op *kolk__op_of(kolk_call *call);

/* ---- poller_epoll.c ---- */

extern const kolk__poller_ops kolk__poller_epoll
    __attribute__((visibility("hidden")));

/* Events that are no descriptor's: data.u64. */
#define KOLK__EVENT_INBOX UINT64_MAX
#define KOLK__EVENT_TIMER (UINT64_MAX - 1)

int kolk__epoll_wait(kolk_loop *loop, kolk_time delay);
/* Does not sleep, and EINTR is an error: nothing has been seen. */
int kolk__epoll_look(kolk_loop *loop);
void kolk__epoll_dispatch(kolk_loop *loop, int events);

/* ---- poller_uring.c ---- */

extern const kolk__poller_ops kolk__poller_uring
    __attribute__((visibility("hidden")));

/* Closes the ring, if one was made; operations have ended. */
void kolk__uring_close(kolk_loop *loop);
