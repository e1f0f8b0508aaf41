/* op.c - operations: how they wait, end, and are cancelled. See op.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * kolk__op_serve() is what everything comes back to: it takes the first
 * operation of a direction as far as it goes without waiting, then the next.
 * It runs when an event has come, and when the first one has left its ring.
 *
 * Where the backend completes operations, the first of a direction is
 * submitted to it, sends only after a direct call has said "not ready". Where
 * it does not, or cannot for this descriptor, the system call is made directly
 * and again when epoll says so.
 */
#include "loop/op.h"

#include <errno.h>

#include "base/sys.h"

/* ---- the callback ---- */

static void
op_leave(kolk_op *op)
{
    if (op->state == KOLK__OP_JOB) {
        kolk__ring_unlink(&op->link);
        op->loop->poller->pending--;
        kolk__pool_release(op);
    }
    op->state = KOLK__OP_IDLE;
}

static bool
op_is_giving(const kolk_op *op)
{
    return (op->kind == KOLK__OP_ACCEPT || op->kind == KOLK__OP_OPEN)
           && op->result >= 0;
}

static void
op_run(kolk_call *call)
{
    kolk_op *op = KOLK_CONTAINER_OF(call, kolk_op, call);

    if (op->state == KOLK__OP_JOB && op_is_giving(op)) {
        kolk__descriptor_reset(op->loop, op->result);
    }
    op_leave(op);
    op->fn(op);
}

/* The loop is closed. Nobody will ever ask for a descriptor that the kernel
 * has handed over. */
static void
op_drop(kolk_call *call)
{
    kolk_op *op = KOLK_CONTAINER_OF(call, kolk_op, call);

    op_leave(op);
    if (op_is_giving(op)) {
        (void)kolk__sys.close(op->result); /* nothing was written to it */
    }
    if (op->dropped != NULL) {
        op->dropped(op);
    }
}

kolk_op *
kolk__op_of(kolk_call *call)
{
    return call->fn == op_run ? KOLK_CONTAINER_OF(call, kolk_op, call) : NULL;
}

void
kolk_op_init(kolk_op *op, kolk_op_fn *fn, kolk_op_fn *dropped)
{
    *op = (kolk_op){.fn = fn, .dropped = dropped};
    kolk_call_init(&op->call, op_run, op_drop);
}

void
kolk__op_init_awaited(kolk_op *op, kolk_op_fn *ended)
{
    kolk_op_init(op, ended, NULL);
    op->ended = ended;
}

bool
kolk_op_is_pending(const kolk_op *op)
{
    return op->state != KOLK__OP_IDLE;
}

int
kolk__op_check(kolk_loop *loop, const kolk_op *op, int fd, const char *what)
{
    int err = kolk__loop_check(loop, what);

    if (err < 0) {
        return err;
    }
    if (op->state != KOLK__OP_IDLE) {
        return -EALREADY;
    }
    return fd < 0 ? -EBADF : 0;
}

void
kolk__op_end(kolk_loop *loop, kolk_op *op, int result)
{
    op->result = result;
    op->state = KOLK__OP_ENDED;
    loop->poller->pending--;
    if (op_is_giving(op)) {
        kolk__descriptor_reset(loop, result);
    }
    if (op->ended != NULL) {
        op->ended(op);
    } else {
        kolk__ready_push(loop, &op->call);
    }
}

/* ---- in the kernel's hands ---- */

void
kolk__op_announce(kolk_loop *loop)
{
    if (KOLK_UNLIKELY(loop->guest_idle)) {
        kolk__guest_update(loop);
    }
}

void
kolk__op_in_ring(kolk_loop *loop, kolk_op *op)
{
    op->state = KOLK__OP_IN_RING;
    kolk__op_announce(loop); /* may lose the ring, and end `op` */
}

/* Has a receive into `op` taken all there was? Only plain calls on streams
 * tell. */
static inline bool
op_has_drained(const kolk_op *op, const struct kolk__descriptor *desc,
               ssize_t result)
{
    return result > 0 && (size_t)result < op->size && op->extra == 0
           && desc->stream != KOLK__STREAM_NONE;
}

static int
op_perform_slow(kolk_op *op, struct kolk__descriptor *desc)
{
    int result = kolk__op_perform(op);

    if (result == KOLK__OP_NOT_READY) {
        op->marks |= KOLK__OP_TRIED;
        if (op->kind != KOLK__OP_POLL) {
            kolk__descriptor_not_ready(desc, kolk__op_is_reading(op));
        }
    } else if (op->kind <= KOLK__OP_RECV && op->kind != KOLK__OP_ACCEPT
               && op_has_drained(op, desc, result)) {
        kolk__descriptor_not_ready(desc, true);
    }
    return result;
}

/* Makes the system call, and notes what it tells of readiness. What most
 * messages take is here. */
static inline int
op_perform(kolk_op *op, struct kolk__descriptor *desc)
{
    int flags = (int)op->extra | MSG_DONTWAIT;
    ssize_t result;

    if (op->kind == KOLK__OP_RECV) {
        result = kolk__sys.recv(op->fd, op->buffer, op->size, flags);
        if (op_has_drained(op, desc, result)) {
            kolk__descriptor_not_ready(desc, true);
        }
    } else if (op->kind == KOLK__OP_SEND) {
        flags |= MSG_NOSIGNAL;
        result = kolk__sys.send(op->fd, op->buffer, op->size, flags);
    } else {
        return op_perform_slow(op, desc);
    }
    if (KOLK_LIKELY(result >= 0)) {
        return (int)result;
    }
    if (errno != EAGAIN) {
        return errno == EINTR ? op_perform_slow(op, desc) : -errno;
    }
    op->marks |= KOLK__OP_TRIED;
    kolk__descriptor_not_ready(desc, op->kind == KOLK__OP_RECV);
    return KOLK__OP_NOT_READY;
}

/* Shall the kernel's ring do `op`? */
static bool
op_goes_to_ring(const kolk_loop *loop, const struct kolk__descriptor *desc,
                const kolk_op *op)
{
    return loop->poller->ops->submit != NULL && !desc->no_ring
           && op->kind != KOLK__OP_POLL
           && (op->marks & KOLK__OP_CONNECTING) == 0;
}

static bool
op_is_send(const kolk_op *op)
{
    return op->kind == KOLK__OP_SEND || op->kind == KOLK__OP_SENDMSG;
}

/* Lets epoll tell when to try again. Returns KOLK__OP_NOT_READY or an error. */
static int
op_wait_readiness(kolk_loop *loop, struct kolk__descriptor *desc, kolk_op *op)
{
    bool was_edge = desc->is_edge;

    op->state = KOLK__OP_WAITING;
    if (KOLK_UNLIKELY(loop->debug)) {
        kolk__descriptor_verify(loop, op->fd, desc);
    }
    int err = kolk__descriptor_update(loop, op->fd, desc);
    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (KOLK_UNLIKELY(!was_edge) && op->kind != KOLK__OP_POLL) {
        /* It was not ready right before; if it is now, an event follows. */
        kolk__descriptor_not_ready(desc, kolk__op_is_reading(op));
    }
    return KOLK__OP_NOT_READY;
}

/* Takes `op`, the first of its direction, as far as it goes. Returns its
 * result, or KOLK__OP_NOT_READY: then it will be heard of. */
static int
op_step(kolk_loop *loop, struct kolk__descriptor *desc, kolk_op *op)
{
    bool is_reading = kolk__op_is_reading(op);
    bool is_tried = (op->marks & KOLK__OP_TRIED) != 0;

    op->marks &= (uint8_t)~KOLK__OP_TRIED;
    if (op_goes_to_ring(loop, desc, op)) {
        if (op_is_send(op) && !is_tried) {
            int result = op_perform(op, desc);
            if (result != KOLK__OP_NOT_READY) {
                return result;
            }
            is_tried = true;
        }
        if (loop->poller->ops->submit(loop, op) == 0) {
            kolk__op_in_ring(loop, op);
            return KOLK__OP_NOT_READY;
        }
    }
    if (!is_tried
        && (op->kind == KOLK__OP_POLL
            || kolk__descriptor_may_try(desc, is_reading))) {
        int result = op_perform(op, desc);
        op->marks &= (uint8_t)~KOLK__OP_TRIED;
        if (result != KOLK__OP_NOT_READY) {
            return result;
        }
    }
    return op_wait_readiness(loop, desc, op);
}

void
kolk__op_serve(kolk_loop *loop, struct kolk__descriptor *desc, kolk_link *ring)
{
    while (!kolk__ring_is_empty(ring)) {
        kolk_op *op = KOLK_CONTAINER_OF(ring->next, kolk_op, link);

        int result = KOLK__OP_NOT_READY;

        if (KOLK_LIKELY(op->state == KOLK__OP_WAITING && desc->is_edge)) {
            if (kolk__descriptor_may_try(desc, kolk__op_is_reading(op))) {
                result = op_perform(op, desc);
            }
        } else if (op->state != KOLK__OP_IN_RING) {
            result = op_step(loop, desc, op);
        }
        if (result == KOLK__OP_NOT_READY) {
            op->marks &= (uint8_t)~KOLK__OP_TRIED;
            return;
        }
        kolk__ring_unlink(&op->link);
        kolk__op_end(loop, op, result);
    }
}

/* ---- starting ---- */

int
kolk__op_try(kolk_loop *loop, kolk_op *op, struct kolk__descriptor **out)
{
    const kolk__poller *poller = loop->poller;
    struct kolk__descriptor *desc = kolk__descriptor_find(poller, op->fd);

    *out = desc;
    if (KOLK_UNLIKELY(desc == NULL)) {
        if (poller->ops->submit != NULL && !op_is_send(op)) {
            return KOLK__OP_NOT_READY;
        }
        int result = kolk__op_perform(op);
        op->marks |= result == KOLK__OP_NOT_READY ? KOLK__OP_TRIED : 0;
        return result;
    }
    if (KOLK_LIKELY(op->kind != KOLK__OP_POLL)) {
        bool is_reading = kolk__op_is_reading(op);

        if (!kolk__descriptor_may_try(desc, is_reading)
            || !kolk__ring_is_empty(is_reading ? &desc->readers
                                               : &desc->writers)) {
            return KOLK__OP_NOT_READY;
        }
        if (KOLK_UNLIKELY(poller->ops->submit != NULL)
            && op_goes_to_ring(loop, desc, op) && !op_is_send(op)) {
            return KOLK__OP_NOT_READY;
        }
    }
    return op_perform(op, desc);
}

/* Is its call sure not to block? */
static bool
op_is_nonblocking(const kolk_op *op)
{
    if (op->kind == KOLK__OP_RECV || op->kind == KOLK__OP_RECVMSG) {
        return true;
    }
    int flags = kolk__sys.fcntl(op->fd, F_GETFL, 0);

    return op->kind != KOLK__OP_CONNECT && flags >= 0
           && (flags & O_NONBLOCK) != 0;
}

int
kolk__op_try_last(kolk_loop *loop, kolk_op *op)
{
    struct kolk__descriptor *desc = kolk__descriptor_find(loop->poller, op->fd);

    if ((op->marks & KOLK__OP_TRIED) != 0
        || (desc != NULL && !kolk__ring_is_empty(kolk__op_ring(desc, op)))
        || (loop->poller->ops->submit != NULL && !op_is_nonblocking(op))) {
        return KOLK__OP_NOT_READY;
    }
    return kolk__op_perform(op);
}

/* Is `op` sure to be heard of as it is? */
static inline bool
op_is_settled(const kolk_loop *loop, const struct kolk__descriptor *desc,
              const kolk_op *op)
{
    return desc->is_edge && loop->poller->ops->submit == NULL && !loop->debug
           && op->kind != KOLK__OP_POLL
           && !kolk__descriptor_may_try(desc, kolk__op_is_reading(op));
}

int
kolk__op_wait(kolk_loop *loop, kolk_op *op, struct kolk__descriptor *desc)
{
    if (KOLK_UNLIKELY(desc == NULL)) {
        desc = kolk__descriptor_get(loop->poller, op->fd);
        if (desc == NULL) {
            return -ENOMEM;
        }
    }
    kolk_link *ring = kolk__op_ring(desc, op);
    bool is_first = kolk__ring_is_empty(ring) || op->kind == KOLK__OP_POLL;
    kolk__ring_push(ring, &op->link);
    op->state = KOLK__OP_BEHIND;
    loop->poller->pending++;
    if (KOLK_LIKELY(op_is_settled(loop, desc, op))) {
        op->state = KOLK__OP_WAITING; /* everything is as it has to be */
    } else if (is_first) {
        int result = op_step(loop, desc, op);
        if (result != KOLK__OP_NOT_READY) {
            kolk__ring_unlink(&op->link);
            kolk__op_end(loop, op, result);
        }
    }
    return 0;
}

/* ---- completions ---- */

void
kolk__op_not_begun(kolk_loop *loop, kolk_op *op)
{
    if ((op->marks & KOLK__OP_CANCELLING) != 0) {
        kolk__op_completed(loop, op, -ECANCELED);
    } else if (kolk__op_is_file(op)) {
        kolk__op_file_restart(loop, op);
    } else {
        struct kolk__descriptor *desc =
            kolk__descriptor_find(loop->poller, op->fd);

        op->state = KOLK__OP_BEHIND;
        kolk__op_serve(loop, desc, kolk__op_ring(desc, op));
    }
}

void
kolk__op_completed(kolk_loop *loop, kolk_op *op, int result)
{
    bool is_cancelling = (op->marks & KOLK__OP_CANCELLING) != 0;

    /* The kernel cancels what a thread submitted when that thread ends, and
     * nobody has asked for that. */
    bool is_undone = result == -ECANCELED || result == -EINTR;
    if (is_cancelling && is_undone) {
        result = -ECANCELED;
        is_undone = false;
    }
    if (kolk__op_is_file(op)) {
        if (is_undone) {
            kolk__op_file_restart(loop, op);
            return;
        }
        kolk__ring_unlink(&op->link);
        kolk__op_end(loop, op, result);
        return;
    }
    struct kolk__descriptor *desc = kolk__descriptor_find(loop->poller, op->fd);
    kolk_link *ring = kolk__op_ring(desc, op);
    op->state = KOLK__OP_BEHIND;
    if (result == -EAGAIN && op->kind != KOLK__OP_CONNECT) {
        desc->no_ring = true;
        is_undone = !is_cancelling;
        result = -ECANCELED;
    }
    if (is_undone) {
        op->marks |= op->kind == KOLK__OP_CONNECT ? KOLK__OP_CONNECTING : 0;
    } else {
        kolk__ring_unlink(&op->link);
        kolk__op_end(loop, op, result);
    }
    kolk__op_serve(loop, desc, ring);
}
