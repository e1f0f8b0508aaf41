/* transport_sendfile.c - files on their way into a transport. See sendfile.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * sendfile(2) moves a piece a turn, so that others get theirs. Where it cannot
 * be used (TLS, pipes, some file systems) the file is read by an operation,
 * since reading a file may wait for a disk, and written like anything else;
 * the next piece is read when the one before has been sent.
 */
#include <errno.h>

#include "base/sys.h"
#include "net/sendfile.h"

enum {
    SENDFILE_PIECE = 1024 * 1024, /* bytes of one sendfile(2) */
    SENDFILE_COPY = 128 * 1024,   /* and of one read */
};

/* ---- the end ---- */

static void
sendfile_run(kolk_call *call)
{
    kolk_sendfile *self = KOLK_CONTAINER_OF(call, kolk_sendfile, call);

    self->fn(self);
}

static void
sendfile_dropped(kolk_call *call)
{
    kolk_sendfile *self = KOLK_CONTAINER_OF(call, kolk_sendfile, call);

    if (self->dropped != NULL) {
        self->dropped(self);
    }
}

static void
sendfile_free_buffer(kolk_sendfile *self)
{
    kolk__sys.free(self->buffer);
    self->buffer = NULL;
}

/* What was written meanwhile is written now. Until all of it is, what is
 * written goes behind it. */
static void
sendfile_write_behind(kolk_transport *transport, kolk__chunks *behind)
{
    kolk__filter *filter = transport->filter;

    while (filter != NULL && transport->write_error != -ESHUTDOWN
           && !kolk__chunks_are_empty(behind)) {
        struct iovec piece;
        kolk_link done;

        kolk__ring_init(&done);
        (void)kolk__chunks_gather(behind, &piece, 1);
        int err = filter->ops->write(filter, transport, &piece, 1);
        kolk__chunks_consume(behind, piece.iov_len, &done);
        kolk__chunks_release(&done);
        if (err < 0) {
            kolk__transport_lose(transport, err);
        }
    }
    if (filter == NULL) {
        kolk__chunks_splice(&transport->queue, behind);
    }
    transport->into = &transport->queue;
    kolk__chunks_drop(behind);
}

void
kolk__sendfile_end(kolk_transport *transport, int result)
{
    kolk_sendfile *self = transport->sendfile;
    kolk__chunks *behind = self->behind;

    transport->sendfile = NULL;
    self->transport = NULL;
    self->behind = NULL;
    self->result = result;
    if (kolk_op_is_pending(&self->op)) {
        kolk_op_cancel(transport->loop, &self->op); /* its end is ours */
    } else {
        sendfile_free_buffer(self);
        kolk__ready_push(transport->loop, &self->call);
    }
    sendfile_write_behind(transport, behind);
    kolk__sys.free(behind);
    if (transport->write_error != -ESHUTDOWN) {
        kolk__transport_go_on(transport);
    }
}

/* ---- by reading and writing ---- */

/* Writes a piece that was read. */
static void
sendfile_write(kolk_transport *transport, kolk_sendfile *self, size_t size)
{
    struct iovec piece = {.iov_base = self->buffer, .iov_len = size};
    kolk__filter *filter = transport->filter;
    int err = filter != NULL ? filter->ops->write(filter, transport, &piece, 1)
                             : kolk__chunks_copy(&transport->queue,
                                                 transport->net, &piece, size);

    if (err < 0) {
        kolk__sendfile_end(transport, err);
        return;
    }
    self->offset += (int64_t)size;
    self->left -= size;
    self->sent += size;
    if (self->progress != NULL) {
        self->progress(self);
    }
    if (transport->sendfile != self) {
        return;
    }
    if (self->left == 0) {
        kolk__sendfile_end(transport, 0);
    } else {
        kolk__transport_go_on(transport);
    }
}

static void
sendfile_has_read(kolk_op *op)
{
    kolk_sendfile *self = KOLK_CONTAINER_OF(op, kolk_sendfile, op);
    kolk_transport *transport = self->transport;

    if (transport == NULL) { /* has ended meanwhile */
        sendfile_free_buffer(self);
        self->fn(self);
        return;
    }
    transport->refs++;
    if (op->result > 0) {
        sendfile_write(transport, self, (size_t)op->result);
    } else {
        kolk__sendfile_end(transport, op->result);
    }
    kolk_transport_unref(transport);
}

static void
sendfile_read_dropped(kolk_op *op)
{
    kolk_sendfile *self = KOLK_CONTAINER_OF(op, kolk_sendfile, op);

    sendfile_free_buffer(self);
    sendfile_dropped(&self->call);
}

static void
sendfile_step_copying(kolk_transport *transport, kolk_sendfile *self)
{
    kolk__filter *filter = transport->filter;

    if (kolk_op_is_pending(&self->op)
        || (filter != NULL && filter->ops->waiting(filter) > 0)) {
        return;
    }
    if (self->buffer == NULL) {
        self->buffer = kolk__sys.malloc(SENDFILE_COPY);
        if (self->buffer == NULL) {
            kolk__sendfile_end(transport, -ENOMEM);
            return;
        }
    }
    size_t size = self->left < SENDFILE_COPY ? self->left : SENDFILE_COPY;
    int err = kolk_op_pread(transport->loop, &self->op, self->fd, self->buffer,
                            size, self->offset);
    if (err < 0) {
        kolk__sendfile_end(transport, err);
    }
}

/* ---- by sendfile(2) ---- */

static bool
sendfile_is_impossible(ssize_t result)
{
    return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP
           || result == -EPERM;
}

static void
sendfile_moved(kolk_transport *transport, kolk_sendfile *self, size_t size)
{
    self->offset += (int64_t)size;
    self->left -= size;
    self->sent += size;
    if (self->progress != NULL) {
        self->progress(self);
    }
    if (transport->sendfile == self) {
        if (self->left == 0) {
            kolk__sendfile_end(transport, 0);
        } else {
            kolk__transport_queue(transport, KOLK__DO_WRITE);
        }
    }
}

void
kolk__sendfile_step(kolk_transport *transport)
{
    kolk_sendfile *self = transport->sendfile;

    if (!self->is_copying) {
        size_t size = self->left < SENDFILE_PIECE ? self->left : SENDFILE_PIECE;
        ssize_t result =
            kolk__side_sendfile(transport->out, self->fd, self->offset, size);

        if (result > 0) {
            sendfile_moved(transport, self, (size_t)result);
            return;
        }
        if (result == -EAGAIN) {
            return;
        }
        if (result == -EPIPE || result == -ECONNRESET) {
            kolk__transport_write_failed(transport, (int)result);
            return;
        }
        if (!sendfile_is_impossible(result)) {
            kolk__sendfile_end(transport, (int)result);
            return;
        }
        self->is_copying = true;
    }
    sendfile_step_copying(transport, self);
}

/* ---- the calls ---- */

void
kolk_sendfile_init(kolk_sendfile *sendfile, kolk_sendfile_fn *fn,
                   kolk_sendfile_fn *progress, kolk_sendfile_fn *dropped)
{
    *sendfile = (kolk_sendfile){
        .fn = fn, .progress = progress, .dropped = dropped, .fd = -1};
    kolk_call_init(&sendfile->call, sendfile_run, sendfile_dropped);
    kolk_op_init(&sendfile->op, sendfile_has_read, sendfile_read_dropped);
}

static int
sendfile_check(const kolk_transport *transport, const kolk_sendfile *sendfile,
               int fd, int64_t offset)
{
    int err = kolk__loop_check(transport->loop, "kolk_transport_sendfile()");
    struct stat info;

    if (err < 0) {
        return err;
    }
    if (transport->write_error != 0) {
        return transport->write_error;
    }
    if (transport->into != &transport->queue || sendfile->transport != NULL
        || kolk_call_is_pending(&sendfile->call)
        || kolk_op_is_pending(&sendfile->op)) {
        return -EALREADY;
    }
    if (kolk__sys.fstat(fd, &info) < 0) {
        return -errno;
    }
    return S_ISREG(info.st_mode) && offset >= 0 ? 0 : -EINVAL;
}

int
kolk_transport_sendfile(kolk_transport *transport, kolk_sendfile *sendfile,
                        int fd, int64_t offset, uint64_t count)
{
    int err = sendfile_check(transport, sendfile, fd, offset);

    if (err < 0) {
        return err;
    }
    kolk__chunks *behind = kolk__sys.malloc(sizeof *behind);
    if (behind == NULL) {
        return -ENOMEM;
    }
    kolk__chunks_init(behind);
    sendfile->behind = behind;
    sendfile->transport = transport;
    sendfile->fd = fd;
    sendfile->offset = offset;
    sendfile->left = count;
    sendfile->sent = 0;
    sendfile->is_copying =
        transport->filter != NULL || transport->out->kind != KOLK__SIDE_SOCKET;
    transport->sendfile = sendfile;
    transport->into = behind;
    kolk__transport_go_on(transport);
    return 0;
}

void
kolk_sendfile_cancel(kolk_sendfile *sendfile)
{
    kolk_transport *transport = sendfile->transport;

    if (transport != NULL
        && kolk__loop_check(transport->loop, "kolk_sendfile_cancel()") == 0) {
        kolk__sendfile_end(transport, -ECANCELED);
    }
}

void
kolk__sendfile_drop(kolk_transport *transport)
{
    kolk_sendfile *self = transport->sendfile;
    kolk__chunks *behind = self->behind;
    bool is_child = transport->loop->generation != kolk__generation;

    transport->sendfile = NULL;
    transport->into = &transport->queue;
    self->transport = NULL;
    self->behind = NULL;
    self->result = -ESHUTDOWN;
    kolk__chunks_splice(&transport->queue, behind);
    kolk__sys.free(behind);
    /* What the kernel has read is in the ready queue and dropped there. In a
     * child it is nowhere. */
    if (!kolk_op_is_pending(&self->op) || is_child) {
        sendfile_free_buffer(self);
        sendfile_dropped(&self->call);
    }
}
