/* uring_submit.c - making the ring, and preparing what it shall do.
 *
 * SPDX-License-Identifier: MIT
 *
 * The ring is made at the first operation that needs it. If the kernel refuses
 * it, the loop goes on with epoll alone and says why when asked. It is not
 * bound to a thread and has no kernel thread: loops move, and a process may
 * change its rights.
 *
 * `user_data` is the operation's address. A cancel request is submitted before
 * any completion that comes after it is looked at, and requests are taken in
 * order; so it can only meet the operation that it was meant for, even if the
 * memory is used for another one later.
 */
#ifdef KOLK_HAVE_URING

#include "loop/uring.h"

enum { URING_ENTRIES = 256, URING_COMPLETIONS = 4096 };

/* ---- making the ring ---- */

static const char *
uring_why(int err)
{
    static const struct {
        int error;
        const char *why;
    } table[] = {
        {-EPERM, "io_uring was refused: EPERM"},
        {-EACCES, "io_uring was refused: EACCES"},
        {-ENOSYS, "io_uring was refused: ENOSYS"},
        {-ENOMEM, "io_uring was refused: ENOMEM"},
        {-EMFILE, "io_uring was refused: EMFILE"},
        {-ENFILE, "io_uring was refused: ENFILE"},
        {-EINVAL, "io_uring of this kernel is too old"},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].error == err) {
            return table[i].why;
        }
    }
    return "io_uring was refused";
}

/* What this file needs: pollable sockets, a wait with a bound, completions
 * that are never dropped, polls that last. Kernel 5.13 has the last of it. */
static int
uring_init(struct io_uring *ring, unsigned flags)
{
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL
                            | IORING_FEAT_EXT_ARG | IORING_FEAT_RSRC_TAGS;
    struct io_uring_params params = {
        .flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = URING_COMPLETIONS,
    };
    int err =
        kolk__sys.io_uring_queue_init_params(URING_ENTRIES, ring, &params);

    if (err == 0 && (params.features & needed) != needed) {
        kolk__sys.io_uring_queue_exit(ring);
        err = -EINVAL;
    }
    return err;
}

static struct kolk__uring *
uring_open(kolk_loop *loop)
{
    struct kolk__uring *uring = kolk__sys.calloc(1, sizeof *uring);
    int err = -ENOMEM;

    if (uring != NULL) {
        err = uring_init(&uring->ring, IORING_SETUP_SUBMIT_ALL
                                           | IORING_SETUP_COOP_TASKRUN
                                           | IORING_SETUP_TASKRUN_FLAG);
        if (err == -EINVAL) {
            err = uring_init(&uring->ring, 0);
        }
    }
    if (err < 0) {
        kolk__sys.free(uring);
        loop->poller->ops = &kolk__poller_epoll;
        loop->why = uring_why(err);
        return NULL;
    }
    uring->is_hot = true;
    loop->poller->uring = uring;
    return uring;
}

void
kolk__uring_close(kolk_loop *loop)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (uring != NULL) {
        /* Unmaps and closes, no more: right in a child of the process too. */
        kolk__sys.io_uring_queue_exit(&uring->ring);
        kolk__sys.free(uring);
        loop->poller->uring = NULL;
    }
}

/* ---- requests ---- */

struct io_uring_sqe *
kolk__uring_request(struct kolk__uring *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

    if (sqe == NULL) {
        int err = kolk__sys.io_uring_submit(&uring->ring);

        if (kolk__uring_is_fatal(err)) {
            uring->error = err;
        }
        sqe = io_uring_get_sqe(&uring->ring);
    }
    return sqe;
}

static void
uring_prepare_socket(struct io_uring_sqe *sqe, const kolk_op *op)
{
    /* With these two, the call would not be what it is over epoll. */
    int flags = (int)op->extra & ~(MSG_DONTWAIT | MSG_WAITALL);

    switch (op->kind) {
    case KOLK__OP_ACCEPT:
        io_uring_prep_accept(sqe, op->fd, op->buffer, op->length,
                             (int)op->extra | SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case KOLK__OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, op->buffer, (socklen_t)op->size);
        break;
    case KOLK__OP_RECV:
        io_uring_prep_recv(sqe, op->fd, op->buffer, op->size, flags);
        break;
    case KOLK__OP_SEND:
        io_uring_prep_send(sqe, op->fd, op->buffer, op->size,
                           flags | MSG_NOSIGNAL);
        break;
    case KOLK__OP_RECVMSG:
        io_uring_prep_recvmsg(sqe, op->fd, op->buffer, (unsigned)flags);
        break;
    default: /* KOLK__OP_SENDMSG */
        io_uring_prep_sendmsg(sqe, op->fd, op->buffer,
                              (unsigned)flags | MSG_NOSIGNAL);
        break;
    }
}

static void
uring_prepare(struct io_uring_sqe *sqe, const kolk_op *op)
{
    const uint64_t here = UINT64_MAX; /* the file's own position */
    unsigned size = (unsigned)op->size;

    switch (op->kind) {
    case KOLK__OP_READ:
        io_uring_prep_read(sqe, op->fd, op->buffer, size, here);
        break;
    case KOLK__OP_WRITE:
        io_uring_prep_write(sqe, op->fd, op->buffer, size, here);
        break;
    case KOLK__OP_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, op->buffer,
                             (int)op->extra | O_CLOEXEC, (mode_t)op->size);
        break;
    case KOLK__OP_PREAD:
        io_uring_prep_read(sqe, op->fd, op->buffer, size, (uint64_t)op->offset);
        break;
    case KOLK__OP_PWRITE:
        io_uring_prep_write(sqe, op->fd, op->buffer, size,
                            (uint64_t)op->offset);
        break;
    case KOLK__OP_FSYNC:
        io_uring_prep_fsync(sqe, op->fd, 0);
        break;
    case KOLK__OP_CLOSE:
        io_uring_prep_close(sqe, op->fd);
        break;
    default:
        uring_prepare_socket(sqe, op);
        break;
    }
}

int
kolk__uring_submit(kolk_loop *loop, kolk_op *op)
{
    struct kolk__uring *uring = loop->poller->uring;

    if (uring == NULL) {
        uring = uring_open(loop);
    }
    if (uring == NULL || uring->error != 0) {
        return -EOPNOTSUPP;
    }
    struct io_uring_sqe *sqe = kolk__uring_request(uring);
    if (sqe == NULL) {
        return -EOPNOTSUPP;
    }
    uring_prepare(sqe, op);
    sqe->user_data = (uintptr_t)op;
    uring->flying++;
    return 0;
}

void
kolk__uring_cancel(kolk_loop *loop, kolk_op *op)
{
    struct kolk__uring *uring = loop->poller->uring;
    struct io_uring_sqe *sqe = kolk__uring_request(uring);

    if (sqe == NULL) {
        uring->is_owing = true;
        return;
    }
    io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
    sqe->user_data = KOLK__URING_CANCEL;
}

#endif
