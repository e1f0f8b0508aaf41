/* op.h - what the files about operations share.
 *
 * SPDX-License-Identifier: MIT
 *
 * An operation goes: idle, then started (waiting, behind others, in the ring,
 * or a job of a thread pool), then ended, then idle again when its function
 * has run. While it is started it stands in one ring, by its `link`: that of
 * its descriptor, or `poller->others` if it has none. When it has ended it
 * stands in the ready queue, by its `call`.
 *
 * A direction of a descriptor is served in order: only the first operation of
 * its ring is in the kernel's hands.
 */
#pragma once

#include <limits.h>

#include "loop/descriptor.h"
#include "loop/poller.h"

enum kolk__op_kind {
    /* the direction of reading */
    KOLK__OP_ACCEPT,
    KOLK__OP_READ,
    KOLK__OP_RECV,
    KOLK__OP_RECVMSG,
    /* the direction of writing */
    KOLK__OP_CONNECT,
    KOLK__OP_WRITE,
    KOLK__OP_SEND,
    KOLK__OP_SENDMSG,
    /* readiness */
    KOLK__OP_POLL,
    /* files: by the ring or in a thread */
    KOLK__OP_OPEN,
    KOLK__OP_PREAD,
    KOLK__OP_PWRITE,
    KOLK__OP_FSYNC,
    KOLK__OP_CLOSE,
    /* in a thread */
    KOLK__OP_WORK,
};

enum kolk__op_state {
    KOLK__OP_IDLE,
    KOLK__OP_BEHIND,  /* others of its direction come first */
    KOLK__OP_WAITING, /* for readiness */
    KOLK__OP_IN_RING, /* submitted to io_uring */
    KOLK__OP_JOB,     /* given to a thread pool */
    KOLK__OP_ENDED,
};

/* kolk_op.marks */
enum {
    KOLK__OP_TRIED = 1,      /* its call has just said "not ready" */
    KOLK__OP_CONNECTING = 2, /* connect(2) has begun */
    KOLK__OP_CANCELLING = 4,
};

/* What a call that is not ready returns inside the library; -EAGAIN is a
 * result that connect(2) may have. */
enum { KOLK__OP_NOT_READY = INT_MIN };

/* The most that one system call moves. */
#define KOLK__OP_SIZE_MAX ((size_t)0x7ffff000)

/* `buffer` for a field that serves both directions. */
static inline void *
kolk__op_buffer(const void *buffer)
{
    union {
        const void *from;
        void *to;
    } either = {.from = buffer};

    return either.to;
}

static inline bool
kolk__op_is_reading(const kolk_op *op)
{
    return op->kind <= KOLK__OP_RECVMSG;
}

static inline bool
kolk__op_is_file(const kolk_op *op)
{
    return op->kind >= KOLK__OP_OPEN;
}

/* The ring that `op` waits in. */
static inline kolk_link *
kolk__op_ring(struct kolk__descriptor *desc, const kolk_op *op)
{
    if (op->kind == KOLK__OP_POLL) {
        return &desc->polls;
    }
    return kolk__op_is_reading(op) ? &desc->readers : &desc->writers;
}

/* ---- op_perform.c ---- */

/* Makes the system call, which does not wait unless it is one on a file.
 * Returns its result or KOLK__OP_NOT_READY. Any thread. */
int kolk__op_perform(kolk_op *op);

/* ---- op.c ---- */

/* The start of an operation on a socket, pipe or terminal, whose fields are
 * set: does at once what can be done at once. Returns the call's result, or
 * KOLK__OP_NOT_READY, and then kolk__op_wait() follows, with what `out` has
 * received. */
int kolk__op_try(kolk_loop *loop, kolk_op *op, struct kolk__descriptor **out);

/* The same for who may not wait: tries although the ring would do it, or what
 * was last known was "not ready". */
int kolk__op_try_last(kolk_loop *loop, kolk_op *op);

/* Lets `op` wait: from here on it ends by itself. Returns 0 or -ENOMEM. */
int kolk__op_wait(kolk_loop *loop, kolk_op *op, struct kolk__descriptor *desc);

/* The same where that is known to be settled: its descriptor is edge-triggered
 * and not ready, and `ring`, the direction, is empty. */
static inline void
kolk__op_wait_settled(kolk_loop *loop, kolk_op *op, kolk_link *ring)
{
    kolk__ring_push(ring, &op->link);
    op->state = KOLK__OP_WAITING;
    loop->poller->pending++;
}

/* kolk_op_init() for an operation that is awaited. */
void kolk__op_init_awaited(kolk_op *op, kolk_op_fn *ended);

/* Checks that `op` may be started on `fd`: 0 or an error. */
int kolk__op_check(kolk_loop *loop, const kolk_op *op, int fd,
                   const char *what);

/* Ends `op`, which is counted as pending and in no ring. */
void kolk__op_end(kolk_loop *loop, kolk_op *op, int result);

/* Serves `ring`, a direction of `desc`, as far as it goes without waiting. */
void kolk__op_serve(kolk_loop *loop, struct kolk__descriptor *desc,
                    kolk_link *ring);

/* The kernel's ring has taken `op`. */
void kolk__op_in_ring(kolk_loop *loop, kolk_op *op);

/* The kernel's ring gives `op` back, and has not begun it. */
void kolk__op_not_begun(kolk_loop *loop, kolk_op *op);

/* The kernel's ring says that `op` has come to `result`. */
void kolk__op_completed(kolk_loop *loop, kolk_op *op, int result);

/* Something has been prepared for the ring. The next wait submits it, but the
 * host of a guest has to be woken for that wait to come. */
void kolk__op_announce(kolk_loop *loop);

/* ---- op_cancel.c ---- */

/* Cancels `op` if that takes no waiting, else asks for it. */
void kolk__op_cancel(kolk_loop *loop, kolk_op *op);

/* Cancels all of `ring`, and returns when the kernel and the pools have let go
 * of their buffers. Runs nothing of the user's. */
void kolk__op_cancel_ring(kolk_loop *loop, kolk_link *ring);

/* ---- op_socket.c ---- */

/* A socket that is to be connected is a new one: what is known of its number
 * is of a file that has been closed. */
void kolk__op_forget_former(kolk_loop *loop, int fd);

/* ---- op_file.c ---- */

/* Starts an operation on a file or job, whose fields are set. Returns 0 or an
 * error. */
int kolk__op_file_start(kolk_loop *loop, kolk_op *op);

/* The same after the ring gave it back without having done it. */
void kolk__op_file_restart(kolk_loop *loop, kolk_op *op);

/* Ends what is pending on `fd`, and closes it: at once, with `*result` being
 * what that came to, or, returning true, by `op`, which has been started. */
bool kolk__op_close_begin(kolk_loop *loop, kolk_op *op, int fd, int *result);

/* ---- pool.c ---- */

/* Makes `op` a job of `pool`; NULL: the loop's own. `op` is linked, its call
 * idle. Returns 0; -EAGAIN, -ENOMEM, -ESHUTDOWN. */
int kolk__pool_push(kolk_pool *pool, kolk_loop *loop, kolk_op *op);

/* Takes a job back that has not begun. Returns whether it could. */
bool kolk__pool_take(kolk_op *op);

/* Has the job left the queue? */
bool kolk__pool_has_begun(kolk_op *op);

/* Waits until the job has been handed to the loop's inbox. */
void kolk__pool_settle(kolk_op *op);

/* Gives up what the job held on to, once it has come back or been taken back.
 */
void kolk__pool_release(kolk_op *op);
