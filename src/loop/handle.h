/* handle.h - what a loop has open, besides nodes that are lent to it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A transport, a server, a child process stay open while nothing of theirs is
 * in any queue. The loop keeps them in one ring, shows them to visitors, and
 * lets go of them when it is closed. Each is embedded in the struct of its
 * owner, the layer above, which the loop knows nothing of.
 */
#pragma once

#include "loop/loop.h"

typedef struct kolk__handle kolk__handle;

typedef struct kolk__handle_ops {
    kolk_node_kind kind; /* what a visitor is told */
    /* What a visitor is shown; NULL: nothing, it is the library's own. */
    void *(*node)(kolk__handle *handle);
    /* The loop is being closed, and runs no more. Operations have ended; those
     * of the handle are in the ready queue, from which this takes them. Takes
     * the handle out of the ring, tells its user, once, and gives up what the
     * loop held. In a child of the loop's process it only closes descriptors
     * and frees memory. */
    void (*drop)(kolk_loop *loop, kolk__handle *handle);
} kolk__handle_ops;

struct kolk__handle {
    kolk_link link; /* in kolk_loop.handles */
    const kolk__handle_ops *ops;
};

/* Puts `handle` into the loop's ring. */
static inline void
kolk__handle_open(kolk_loop *loop, kolk__handle *handle,
                  const kolk__handle_ops *ops)
{
    handle->ops = ops;
    kolk__ring_push(&loop->handles, &handle->link);
}

/* Takes `handle` out. */
static inline void
kolk__handle_close(kolk__handle *handle)
{
    kolk__ring_unlink(&handle->link);
}

/* Drops them all; what they open meanwhile, too. */
void kolk__handles_drop(kolk_loop *loop);

int kolk__handles_visit(kolk_loop *loop, kolk_visitor *visitor);
