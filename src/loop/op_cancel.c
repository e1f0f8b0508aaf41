/* op_cancel.c - ending operations that nobody wants any more.
 *
 * SPDX-License-Identifier: MIT
 *
 * What only waits for readiness is ended at once. What the kernel's ring or a
 * thread has begun ends by itself, with its own result if that came first,
 * because until then its buffer is in use.
 */
#include <errno.h>

#include "loop/op.h"

static void
cancel_job(kolk_loop *loop, kolk_op *op)
{
    if (kolk__pool_take(op)) {
        kolk__ring_unlink(&op->link);
        kolk__pool_release(op);
        kolk__op_end(loop, op, -ECANCELED);
    }
}

void
kolk__op_cancel(kolk_loop *loop, kolk_op *op)
{
    struct kolk__descriptor *desc;

    if (op->kind == KOLK__OP_CLOSE) {
        return;
    }
    switch (op->state) {
    case KOLK__OP_WAITING:
    case KOLK__OP_BEHIND:
        desc = kolk__descriptor_find(loop->poller, op->fd);
        kolk__ring_unlink(&op->link);
        kolk__op_end(loop, op, -ECANCELED);
        if (op->kind != KOLK__OP_POLL) {
            kolk__op_serve(loop, desc, kolk__op_ring(desc, op));
        }
        break;
    case KOLK__OP_IN_RING:
        if ((op->marks & KOLK__OP_CANCELLING) == 0) {
            op->marks |= KOLK__OP_CANCELLING;
            loop->poller->ops->cancel(loop, op);
            kolk__op_announce(loop);
        }
        break;
    case KOLK__OP_JOB:
        cancel_job(loop, op);
        break;
    default: /* idle, or ended with what came first */
        break;
    }
}

void
kolk_op_cancel(kolk_loop *loop, kolk_op *op)
{
    if (op->state != KOLK__OP_IDLE && op->state != KOLK__OP_ENDED
        && kolk__loop_check(loop, "kolk_op_cancel()") == 0) {
        kolk__op_cancel(loop, op);
    }
}

void
kolk__op_cancel_ring(kolk_loop *loop, kolk_link *ring)
{
    kolk_link *link = ring->prev;

    /* From the end, so that none comes to be the first and begins. */
    while (link != ring) {
        kolk_op *op = KOLK_CONTAINER_OF(link, kolk_op, link);

        link = link->prev;
        kolk__op_cancel(loop, op);
    }
    /* What is left is with the kernel or a thread. Jobs stay in the ring until
     * they have come back through the inbox; while one operation is waited
     * for, others may leave. */
    link = ring->next;
    while (link != ring) {
        kolk_op *op = KOLK_CONTAINER_OF(link, kolk_op, link);

        if (op->state == KOLK__OP_IN_RING) {
            loop->poller->ops->settle(loop, op);
            link = ring->next;
        } else {
            if (op->state == KOLK__OP_JOB) {
                kolk__pool_settle(op);
            }
            link = link->next;
        }
    }
}

void
kolk_forget(kolk_loop *loop, int fd)
{
    if (fd < 0 || loop->poller == NULL
        || kolk__loop_check(loop, "kolk_forget()") < 0) {
        return;
    }
    struct kolk__descriptor *desc = kolk__descriptor_find(loop->poller, fd);
    if (desc == NULL) {
        return;
    }
    kolk__op_cancel_ring(loop, &desc->readers);
    kolk__op_cancel_ring(loop, &desc->writers);
    kolk__op_cancel_ring(loop, &desc->polls);
    kolk__op_cancel_ring(loop, &desc->files);
    if (desc->listener != NULL) {
        return; /* the registration is its owner's */
    }
    if (kolk__ring_is_empty(&desc->watches)) {
        kolk__descriptor_unregister(loop, fd, desc);
    } else {
        /* If it fails, too much is registered, and mended at the next event. */
        (void)kolk__descriptor_update(loop, fd, desc);
    }
}
