/* uring.h - the ring of a loop, shared by its two files.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <errno.h>

#include "base/sys.h"
#include "loop/op.h"

/* user_data of our own requests; no operation has such an address. */
enum {
    KOLK__URING_CANCEL = 1, /* the answer to it tells nothing */
    KOLK__URING_EPOLL = 2,  /* the epoll descriptor, polled */
    KOLK__URING_LOOK = 3,   /* look at the epoll set */
    KOLK__URING_OURS_END = 8,
};

struct kolk__uring {
    struct io_uring ring;
    size_t flying;    /* operations that are prepared or in the kernel */
    int error;        /* the ring is lost; 0: it is not */
    unsigned stalls;  /* entries refused for now, in a row */
    int epoll_events; /* that the last wait has found by itself */
    bool is_plain;    /* the last wait was epoll's */
    bool is_armed;    /* the ring polls the epoll descriptor */
    bool is_hot;      /* the epoll set has to be looked at */
    bool is_owing;    /* a cancel request found no room */
};

/* The operation whose address `user_data` is. */
static inline kolk_op *
kolk__uring_op(uint64_t user_data)
{
    union {
        uintptr_t number;
        kolk_op *op;
    } address = {.number = (uintptr_t)user_data};

    return address.op;
}

/* Does `err` mean that the ring will take no more? */
static inline bool
kolk__uring_is_fatal(int err)
{
    return err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY
           && err != -ETIME;
}

/* ---- uring_submit.c ---- */

/* Room for a request, or NULL. */
struct io_uring_sqe *kolk__uring_request(struct kolk__uring *uring);

int kolk__uring_submit(kolk_loop *loop, kolk_op *op);
void kolk__uring_cancel(kolk_loop *loop, kolk_op *op);
