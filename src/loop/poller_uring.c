/* poller_uring.c - operations by io_uring, readiness by epoll.
 *
 * SPDX-License-Identifier: MIT
 *
 * One wait sees both: the ring polls the epoll descriptor, with one request
 * that lasts. That tells that something has happened there, not that something
 * is still the case: as long as a level-triggered event stood in the last look
 * at the epoll set, the next wait looks again, and does not sleep (`is_hot`).
 * While the ring has nothing to do, the wait is epoll's own.
 *
 * What is prepared is submitted by the wait, so a turn enters the kernel once.
 */
#ifdef KOLK_HAVE_URING

#include "loop/uring.h"

enum {
    URING_STALLS_MAX = 1000, /* of 1 ms: then the ring counts as lost */
    URING_TRIES = 8,         /* where nothing is waited for */
};

/* `fn` may end operations. Nothing of the user's runs, so the links of those
 * that have left the ring still lead on. */
static void
uring_each_in(kolk_loop *loop, kolk_link *ring,
              void (*fn)(kolk_loop *loop, kolk_op *op))
{
    kolk_link *link = ring->next;

    while (link != ring) {
        kolk_op *op = KOLK_CONTAINER_OF(link, kolk_op, link);

        link = link->next;
        if (op->state == KOLK__OP_IN_RING) {
            fn(loop, op);
        }
    }
}

struct uring_each {
    void (*fn)(kolk_loop *loop, kolk_op *op);
};

static int
uring_each_descriptor(kolk_loop *loop, int fd, struct kolk__descriptor *desc,
                      void *arg)
{
    const struct uring_each *each = arg;

    (void)fd;
    uring_each_in(loop, &desc->readers, each->fn);
    uring_each_in(loop, &desc->writers, each->fn);
    uring_each_in(loop, &desc->files, each->fn);
    return 0;
}

/* For every operation that is in the ring. */
static void
uring_each(kolk_loop *loop, void (*fn)(kolk_loop *loop, kolk_op *op))
{
    struct uring_each each = {fn};

    (void)kolk__descriptor_each(loop, uring_each_descriptor, &each);
    uring_each_in(loop, &loop->poller->others, fn);
}

static void
uring_cancel_again(kolk_loop *loop, kolk_op *op)
{
    if ((op->marks & KOLK__OP_CANCELLING) != 0) {
        kolk__uring_cancel(loop, op); /* one too many finds nothing */
    }
}

static void
uring_pay(kolk_loop *loop)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (KOLK_UNLIKELY(uring->is_owing)) {
        uring->is_owing = false;
        uring_each(loop, uring_cancel_again);
    }
}

static void
uring_arm(kolk_loop *loop, struct kolk__uring *uring)
{
    struct io_uring_sqe *sqe = kolk__uring_request(uring);

    if (sqe != NULL) {
        io_uring_prep_poll_multishot(sqe, loop->poller->epoll_fd, POLLIN);
        sqe->user_data = KOLK__URING_EPOLL;
        uring->is_armed = true;
    }
    uring->is_hot = true; /* what has happened before is not told */
}

/* ---- completions ---- */

/* `lost`: what a completion says that is the loss of the ring, else 0. */
static void
uring_complete(kolk_loop *loop, uint64_t user_data, int result, unsigned flags,
               int lost)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (user_data == KOLK__URING_EPOLL) {
        uring->is_hot = true;
        uring->is_armed = (flags & IORING_CQE_F_MORE) != 0;
    } else if (user_data == KOLK__URING_LOOK) {
        uring->is_hot = true;
    } else if (user_data >= KOLK__URING_OURS_END
               && user_data != LIBURING_UDATA_TIMEOUT) {
        uring->flying--;
        if (lost != 0 && result == -ECANCELED) {
            result = lost;
        }
        kolk__op_completed(loop, kolk__uring_op(user_data), result);
    }
}

/* Each completion leaves the queue before it is acted upon, which may come
 * back to here. */
static void
uring_reap(kolk_loop *loop, int lost)
{
    struct io_uring *ring = &loop->poller->uring->ring;
    const struct io_uring_cqe *cqe;

    while (io_uring_cq_ready(ring) > 0) {
        cqe = &ring->cq.cqes[*ring->cq.khead & *ring->cq.kring_mask];
        uint64_t user_data = cqe->user_data;
        int result = cqe->res;
        unsigned flags = cqe->flags;

        io_uring_cq_advance(ring, 1);
        uring_complete(loop, user_data, result, flags, lost);
    }
}

/* ---- losing the ring ---- */

static void
uring_end_lost(kolk_loop *loop, kolk_op *op)
{
    kolk__op_completed(loop, op, loop->poller->uring->error);
}

/* What the kernel has not taken has not begun. */
static void
uring_undo_prepared(kolk_loop *loop)
{
    struct kolk__uring *uring = loop->poller->uring;
    const struct io_uring_sq *sq = &uring->ring.sq;
    unsigned count = io_uring_sq_ready(&uring->ring);
    unsigned head = *sq->khead;

    for (unsigned i = head; i != head + count; i++) {
        uint64_t user_data = sq->sqes[i & *sq->kring_mask].user_data;

        if (user_data >= KOLK__URING_OURS_END) {
            uring->flying--;
            kolk__op_not_begun(loop, kolk__uring_op(user_data));
        }
    }
}

static int
uring_try_all(kolk_loop *loop, int fd, struct kolk__descriptor *desc, void *arg)
{
    (void)loop, (void)fd, (void)arg;
    desc->ready_in = desc->ready_out = true;
    return 0;
}

/* From here on, operations are epoll's, also those that the kernel has not
 * taken. It is asked to let go of the buffers of those that it has; in case it
 * does not, the ring stays until the loop is closed. */
static void
uring_lose(kolk_loop *loop)
{
    struct kolk__uring *uring = loop->poller->uring;
    int err = uring->error;
    struct io_uring_sync_cancel_reg everything = {
        .fd = -1,
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        .timeout = {.tv_sec = 1},
    };

    loop->poller->ops = &kolk__poller_epoll;
    loop->why = "io_uring failed while it was in use";
    (void)kolk__descriptor_each(loop, uring_try_all, NULL);
    uring_undo_prepared(loop);
    if (uring->flying > 0) {
        (void)kolk__sys.io_uring_register_sync_cancel(&uring->ring,
                                                      &everything);
        uring_reap(loop, err);
        uring_each(loop, uring_end_lost);
    }
    kolk__report(loop, err, NULL, "io_uring failed, epoll takes over");
}

/* ---- waiting ---- */

static bool
uring_must_enter(struct io_uring *ring)
{
    unsigned flags = IO_URING_READ_ONCE(*ring->sq.kflags);

    return io_uring_sq_ready(ring) > 0
           || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Submits, and waits for a completion. Returns 0 or an error. */
static int
uring_enter(kolk_loop *loop, kolk_time delay)
{
    struct kolk__uring *uring = loop->poller->uring;
    struct __kernel_timespec timeout = {.tv_sec = delay / KOLK_S(1),
                                        .tv_nsec = delay % KOLK_S(1)};
    struct io_uring *ring = &uring->ring;
    struct io_uring_cqe *cqe;
    int err = 0;

    if (delay != 0) {
        kolk_hooks *hooks = kolk__block_begin(loop);

        err = kolk__sys.io_uring_submit_and_wait_timeout(
            ring, &cqe, 1, delay == KOLK_NEVER ? NULL : &timeout, NULL);
        kolk__block_end(hooks);
    } else if (!uring->is_hot || uring_must_enter(ring)) {
        /* Or a storm of signals would keep everything from being submitted. */
        int tries = URING_TRIES;
        do {
            err = kolk__sys.io_uring_submit_and_get_events(ring);
        } while (err == -EINTR && --tries > 0);
    }
    return err < 0 && err != -EINTR && err != -ETIME ? err : 0;
}

/* The kernel has no memory for requests, or wants completions to be taken
 * first. Waits a little for what epoll knows. */
static int
uring_stall(kolk_loop *loop, int err, kolk_time delay)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (++uring->stalls > URING_STALLS_MAX) {
        uring->error = err;
        return 1;
    }
    int count = kolk__epoll_wait(loop, delay < KOLK_MS(1) ? delay : KOLK_MS(1));
    uring->epoll_events = count > 0 ? count : 0;
    uring->is_hot = true;
    return count;
}

static int
uring_wait(kolk_loop *loop, kolk_time delay)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (uring == NULL) {
        return kolk__epoll_wait(loop, delay);
    }
    struct io_uring *ring = &uring->ring;
    uring->epoll_events = 0;
    uring->is_plain = uring->flying == 0;
    if (uring->error != 0) {
        return 1;
    }
    if (uring->is_plain) {
        int count = kolk__epoll_wait(loop, delay);
        uring->epoll_events = count > 0 ? count : 0;
        return count < 0 ? count : count + (int)io_uring_cq_ready(ring);
    }
    uring_pay(loop);
    if (!uring->is_armed) {
        uring_arm(loop, uring);
    }
    if (uring->is_hot || io_uring_cq_ready(ring) > 0) {
        delay = 0;
    }
    int err = uring_enter(loop, delay);
    if (kolk__uring_is_fatal(err)) {
        uring->error = err;
        return 1;
    }
    if (err < 0 && io_uring_cq_ready(ring) == 0) {
        return uring_stall(loop, err, delay);
    }
    uring->stalls = 0;
    return (int)io_uring_cq_ready(ring) + uring->is_hot;
}

static void
uring_dispatch(kolk_loop *loop, int events)
{
    kolk__poller *poller = loop->poller;
    struct kolk__uring *uring = poller->uring;

    if (uring == NULL) {
        kolk__epoll_dispatch(loop, events);
        return;
    }
    kolk__epoll_dispatch(loop, uring->epoll_events);
    uring_reap(loop, 0);
    if (uring->error != 0) {
        uring_lose(loop);
    } else if (uring->is_plain) {
        uring->is_hot = true; /* the ring may have told of it already */
    } else if (uring->is_hot) {
        int count = kolk__epoll_look(loop);

        kolk__epoll_dispatch(loop, count > 0 ? count : 0);
        uring->is_hot =
            count < 0 || count == KOLK__POLLER_EVENTS
            || (count > 0 && poller->watched + poller->background > 0);
    }
}

static void
uring_settle(kolk_loop *loop, kolk_op *op)
{
    struct kolk__uring *uring = loop->poller->uring;

    while (op->state == KOLK__OP_IN_RING) {
        uring_pay(loop);
        kolk_hooks *hooks = kolk__block_begin(loop);
        int err = kolk__sys.io_uring_submit_and_wait(&uring->ring, 1);
        if (err == -EAGAIN || err == -EBUSY) {
            (void)kolk__sys.poll(NULL, 0, 1); /* EINTR only shortens it */
            err = ++uring->stalls > URING_STALLS_MAX ? -EIO : 0;
        }
        kolk__block_end(hooks);
        uring_reap(loop, 0);
        if (kolk__uring_is_fatal(err)) {
            uring->error = err;
            uring_lose(loop);
        }
    }
}

static int
uring_fileno(kolk_loop *loop)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (uring == NULL || uring->error != 0 || uring->flying == 0) {
        return loop->poller->epoll_fd;
    }
    uring_pay(loop);
    if (!uring->is_armed) {
        uring_arm(loop, uring);
    }
    struct io_uring_sqe *sqe =
        uring->is_hot ? kolk__uring_request(uring) : NULL;
    if (sqe != NULL) {
        io_uring_prep_nop(sqe); /* a completion, at once */
        sqe->user_data = KOLK__URING_LOOK;
    }
    int err = kolk__sys.io_uring_submit(&uring->ring);
    if (kolk__uring_is_fatal(err)) {
        uring->error = err;
        uring_lose(loop);
        return loop->poller->epoll_fd;
    }
    return err < 0 ? -EAGAIN : uring->ring.ring_fd;
}

const kolk__poller_ops kolk__poller_uring = {
    .name = "io_uring",
    .wait = uring_wait,
    .dispatch = uring_dispatch,
    .fileno = uring_fileno,
    .submit = kolk__uring_submit,
    .cancel = kolk__uring_cancel,
    .settle = uring_settle,
};

#endif
