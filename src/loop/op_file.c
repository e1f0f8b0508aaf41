/* op_file.c - operations on regular files: by the ring, else in a thread.
 *
 * SPDX-License-Identifier: MIT
 *
 * A regular file is always ready, and a call on it waits for the disk all the
 * same. Such operations have no order among them. They stand in the ring of
 * their descriptor, so that it is not closed, and its number given to another
 * file, while a thread is about to use it.
 */
#include <errno.h>

#include "base/sys.h"
#include "loop/op.h"

static int
file_begin(kolk_loop *loop, kolk_op *op)
{
    const kolk__poller_ops *ops = loop->poller->ops;

    if (op->kind != KOLK__OP_WORK && ops->submit != NULL
        && ops->submit(loop, op) == 0) {
        kolk__op_in_ring(loop, op);
        return 0;
    }
    return kolk__pool_push(op->pool, loop, op);
}

int
kolk__op_file_start(kolk_loop *loop, kolk_op *op)
{
    kolk_link *ring = &loop->poller->others;

    if (op->fd >= 0) {
        struct kolk__descriptor *desc =
            kolk__descriptor_get(loop->poller, op->fd);

        if (desc == NULL) {
            return -ENOMEM;
        }
        ring = &desc->files;
    }
    kolk__ring_push(ring, &op->link);
    loop->poller->pending++;
    int err = file_begin(loop, op);
    if (err < 0) {
        kolk__ring_unlink(&op->link);
        loop->poller->pending--;
        op->state = KOLK__OP_IDLE;
    }
    return err;
}

void
kolk__op_file_restart(kolk_loop *loop, kolk_op *op)
{
    int err = file_begin(loop, op);

    if (err < 0) {
        if (op->kind == KOLK__OP_CLOSE) {
            err = kolk__op_perform(op);
        }
        kolk__ring_unlink(&op->link);
        kolk__op_end(loop, op, err);
    }
}

static void
file_fill(kolk_op *op, enum kolk__op_kind kind, int fd, const void *buffer,
          size_t size)
{
    op->kind = (uint8_t)kind;
    op->marks = 0;
    op->fd = fd;
    op->buffer = kolk__op_buffer(buffer);
    op->size = size < KOLK__OP_SIZE_MAX ? size : KOLK__OP_SIZE_MAX;
    op->extra = 0;
    op->offset = 0;
    op->pool = NULL;
}

int
kolk_op_open(kolk_loop *loop, kolk_op *op, const char *path, int flags,
             mode_t mode)
{
    int err = kolk__op_check(loop, op, 0, "kolk_op_open()");

    if (err < 0) {
        return err;
    }
    file_fill(op, KOLK__OP_OPEN, -1, path, mode);
    op->extra = (unsigned)flags;
    return kolk__op_file_start(loop, op);
}

int
kolk_op_pread(kolk_loop *loop, kolk_op *op, int fd, void *buffer, size_t size,
              int64_t offset)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_pread()");

    if (err < 0) {
        return err;
    }
    if (offset < 0) {
        return -EINVAL; /* to the ring, -1 would mean the file's position */
    }
    file_fill(op, KOLK__OP_PREAD, fd, buffer, size);
    op->offset = offset;
    return kolk__op_file_start(loop, op);
}

int
kolk_op_pwrite(kolk_loop *loop, kolk_op *op, int fd, const void *buffer,
               size_t size, int64_t offset)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_pwrite()");

    if (err < 0) {
        return err;
    }
    if (offset < 0) {
        return -EINVAL;
    }
    file_fill(op, KOLK__OP_PWRITE, fd, buffer, size);
    op->offset = offset;
    return kolk__op_file_start(loop, op);
}

int
kolk_op_fsync(kolk_loop *loop, kolk_op *op, int fd)
{
    int err = kolk__op_check(loop, op, fd, "kolk_op_fsync()");

    if (err < 0) {
        return err;
    }
    file_fill(op, KOLK__OP_FSYNC, fd, NULL, 0);
    return kolk__op_file_start(loop, op);
}

int
kolk_op_work(kolk_loop *loop, kolk_op *op, kolk_pool *pool, kolk_work_fn *fn,
             void *arg)
{
    int err = kolk__op_check(loop, op, 0, "kolk_op_work()");

    if (err < 0) {
        return err;
    }
    file_fill(op, KOLK__OP_WORK, -1, arg, 0);
    op->work = fn;
    op->pool = pool;
    return kolk__op_file_start(loop, op);
}

/* ---- closing ---- */

/* Closing a file may wait for a disk or a server; closing anything else is
 * over before a thread would have been woken. */
static bool
file_is_regular(int fd)
{
    struct stat info;

    return kolk__sys.fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

bool
kolk__op_close_begin(kolk_loop *loop, kolk_op *op, int fd, int *result)
{
    const struct kolk__descriptor *desc =
        kolk__descriptor_find(loop->poller, fd);
    bool is_known = desc != NULL && desc->mask != 0; /* and no regular file */

    if (desc != NULL && desc->listener != NULL) {
        *result = -EBUSY;
        return false;
    }
    kolk_forget(loop, fd);
    file_fill(op, KOLK__OP_CLOSE, fd, NULL, 0);
    if (!is_known && file_is_regular(fd)
        && kolk__op_file_start(loop, op) == 0) {
        return true;
    }
    *result = kolk__op_perform(op);
    return false;
}

int
kolk_op_close(kolk_loop *loop, kolk_op *op, int fd)
{
    int result;
    int err = kolk__op_check(loop, op, fd, "kolk_op_close()");

    if (err < 0) {
        return err;
    }
    if (!kolk__op_close_begin(loop, op, fd, &result)) {
        loop->poller->pending++;
        kolk__op_end(loop, op, result);
    }
    return 0;
}
