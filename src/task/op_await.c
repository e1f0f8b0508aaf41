/* op_await.c - operations, awaited by the current task.
 *
 * SPDX-License-Identifier: MIT
 *
 * What can be done at once is done at once, by one direct system call, without
 * a look at the ready queue. Else the operation waits, on the task's stack, and
 * ends by waking the task in the place of queueing a callback.
 *
 * A request to cancel asks the operation to end; the task still waits for that,
 * so that nobody writes to its stack once it has gone on.
 */
#include <errno.h>

#include <kolk/pool.h>

#include "base/sys.h"
#include "loop/op.h"
#include "task/park.h"

struct op_await {
    kolk_op op;
    kolk__coro *coro;
    bool is_parked;
};

static void
await_ended(kolk_op *op)
{
    struct op_await *await = KOLK_CONTAINER_OF(op, struct op_await, op);

    if (await->is_parked) {
        kolk__wake(await->coro, op->result);
    }
}

static void
await_interrupt(kolk__coro *coro)
{
    struct op_await *await = coro->object;

    kolk__op_cancel(coro->loop, &await->op);
}

/* Waits for an operation that has been started. */
static int
await_park(kolk__coro *coro, struct op_await *await, const char *reason,
           kolk__interrupt_fn *interrupt)
{
    if (await->op.state == KOLK__OP_ENDED) {
        return await->op.result;
    }
    await->coro = coro;
    await->is_parked = true;
    return kolk__park(coro, reason, interrupt, await);
}

/* ---- sockets, pipes, terminals ---- */

static int
await_wait(kolk__coro *coro, struct op_await *await,
           struct kolk__descriptor *desc, const char *reason)
{
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        int result = kolk__op_try_last(coro->loop, &await->op);

        return result == KOLK__OP_NOT_READY ? kolk__wait_refused(coro) : result;
    }
    int err = kolk__op_wait(coro->loop, &await->op, desc);
    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    return await_park(coro, await, reason, await_interrupt);
}

/* `await` has its operation's arguments. `what` is said of misuse, `reason` of
 * the wait. */
static int
await_socket(struct op_await *await, const char *what, const char *reason)
{
    kolk__coro *coro = kolk__coro_or_misuse(what);
    struct kolk__descriptor *desc;

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (KOLK_UNLIKELY(await->op.fd < 0)) {
        return -EBADF;
    }
    await->is_parked = false;
    int result = kolk__op_try(coro->loop, &await->op, &desc);
    if (result == KOLK__OP_NOT_READY) {
        return await_wait(coro, await, desc, reason);
    }
    kolk__be_fair(coro);
    return result;
}

/* Sets what an operation on a socket reads; its call is not used. */
static inline void
await_fill(struct op_await *await, enum kolk__op_kind kind, int fd,
           const void *buffer, size_t size, unsigned extra)
{
    kolk_op *op = &await->op;

    op->kind = (uint8_t)kind;
    op->state = KOLK__OP_IDLE;
    op->marks = 0;
    op->fd = fd;
    op->buffer = kolk__op_buffer(buffer);
    op->size = size < KOLK__OP_SIZE_MAX ? size : KOLK__OP_SIZE_MAX;
    op->extra = extra;
    op->ended = await_ended;
}

/* ---- the short way ---- */

/* The descriptor `fd` if it is one that most messages come by: epoll tells of
 * every change, nobody waits in the direction of `ring`, and what is known is
 * as `ready` says. Else NULL, and the long way knows what to do. */
static inline struct kolk__descriptor *
await_known(const kolk_loop *loop, int fd, bool reading, bool ready)
{
    struct kolk__descriptor *desc = kolk__descriptor_find(loop->poller, fd);

    if (KOLK_LIKELY(desc != NULL && desc->is_edge && !desc->is_closing
                    && kolk__descriptor_may_try(desc, reading) == ready
                    && kolk__ring_is_empty(reading ? &desc->readers
                                                   : &desc->writers))) {
        return desc;
    }
    return NULL;
}

/* Sends at once. Returns KOLK__OP_NOT_READY if that takes the long way. */
static inline int
await_send_now(kolk__coro *coro, int fd, const void *buffer, size_t size,
               int flags)
{
    struct kolk__descriptor *desc =
        await_known(kolk__this_thread.loop, fd, false, true);

    if (KOLK_UNLIKELY(desc == NULL || size > KOLK__OP_SIZE_MAX)) {
        return KOLK__OP_NOT_READY;
    }
    int result = (int)kolk__sys.send(fd, buffer, size,
                                     flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    if (KOLK_UNLIKELY(result < 0)) {
        if (errno == EAGAIN) {
            kolk__descriptor_not_ready(desc, false);
        }
        if (errno == EAGAIN || errno == EINTR) {
            return KOLK__OP_NOT_READY;
        }
        result = -errno;
    }
    kolk__be_fair(coro);
    return result;
}

/* Waits at once for what is known not to be there, and receives it. Returns
 * KOLK__OP_NOT_READY if that takes the long way. */
static inline int
await_recv_later(kolk__coro *coro, struct op_await *await)
{
    kolk_loop *loop = kolk__this_thread.loop;
    struct kolk__descriptor *desc =
        await_known(loop, await->op.fd, true, false);

    if (KOLK_UNLIKELY(desc == NULL || coro->is_cancelled || loop->debug
                      || loop->poller->ops->submit != NULL)) {
        return KOLK__OP_NOT_READY;
    }
    kolk__op_wait_settled(loop, &await->op, &desc->readers);
    await->coro = coro;
    await->is_parked = true;
    return kolk__park(coro, "recv", await_interrupt, await);
}

int
kolk_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct op_await await;

    await_fill(&await, KOLK__OP_CONNECT, fd, address, size, 0);
    if (fd >= 0 && kolk__this_thread.loop != NULL) {
        kolk__op_forget_former(kolk__this_thread.loop, fd);
    }
    return await_socket(&await, "kolk_connect() outside a task", "connect");
}

int
kolk_accept(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    struct op_await await;

    await_fill(&await, KOLK__OP_ACCEPT, fd, address, 0, (unsigned)flags);
    await.op.length = size;
    int result = await_socket(&await, "kolk_accept() outside a task", "accept");
    if (result >= 0) {
        kolk__descriptor_reset(kolk__this_thread.loop, result);
    }
    return result;
}

int
kolk_read(int fd, void *buffer, size_t size)
{
    struct op_await await;

    await_fill(&await, KOLK__OP_READ, fd, buffer, size, 0);
    return await_socket(&await, "kolk_read() outside a task", "read");
}

int
kolk_write(int fd, const void *buffer, size_t size)
{
    struct op_await await;

    await_fill(&await, KOLK__OP_WRITE, fd, buffer, size, 0);
    return await_socket(&await, "kolk_write() outside a task", "write");
}

int
kolk_recv(int fd, void *buffer, size_t size, int flags)
{
    kolk__coro *coro = kolk__current_coro();
    struct op_await await;

    await_fill(&await, KOLK__OP_RECV, fd, buffer, size, (unsigned)flags);
    if (KOLK_LIKELY(coro != NULL)) {
        int result = await_recv_later(coro, &await);

        if (result != KOLK__OP_NOT_READY) {
            return result;
        }
    }
    return await_socket(&await, "kolk_recv() outside a task", "recv");
}

int
kolk_send(int fd, const void *buffer, size_t size, int flags)
{
    kolk__coro *coro = kolk__current_coro();
    struct op_await await;

    if (KOLK_LIKELY(coro != NULL)) {
        int result = await_send_now(coro, fd, buffer, size, flags);

        if (result != KOLK__OP_NOT_READY) {
            return result;
        }
    }
    await_fill(&await, KOLK__OP_SEND, fd, buffer, size, (unsigned)flags);
    return await_socket(&await, "kolk_send() outside a task", "send");
}

int
kolk_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct op_await await;

    await_fill(&await, KOLK__OP_RECVMSG, fd, message, 0, (unsigned)flags);
    return await_socket(&await, "kolk_recvmsg() outside a task", "recvmsg");
}

int
kolk_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct op_await await;

    await_fill(&await, KOLK__OP_SENDMSG, fd, message, 0, (unsigned)flags);
    return await_socket(&await, "kolk_sendmsg() outside a task", "sendmsg");
}

int
kolk_poll(int fd, unsigned events)
{
    struct op_await await;

    events &= KOLK_READABLE | KOLK_WRITABLE | KOLK_PRIORITY;
    if (events == 0) {
        return -EINVAL;
    }
    await_fill(&await, KOLK__OP_POLL, fd, NULL, 0, events);
    return await_socket(&await, "kolk_poll() outside a task", "poll");
}

/* ---- files and blocking work ---- */

/* The current coroutine, if it may wait; else NULL and why in `*err`. */
static kolk__coro *
await_begin(struct op_await *await, const char *what, int *err)
{
    kolk__coro *coro = kolk__coro_or_misuse(what);

    if (coro == NULL) {
        *err = -KOLK_EMISUSE;
        return NULL;
    }
    if (coro->is_cancelled) {
        *err = kolk__wait_refused(coro);
        return NULL;
    }
    kolk__op_init_awaited(&await->op, await_ended);
    await->is_parked = false;
    return coro;
}

/* What the start of the operation has come to. */
static int
await_end(kolk__coro *coro, struct op_await *await, int err, const char *reason)
{
    return err < 0 ? err : await_park(coro, await, reason, await_interrupt);
}

int
kolk_open(const char *path, int flags, mode_t mode)
{
    struct op_await await;
    int err;
    kolk__coro *coro = await_begin(&await, "kolk_open() outside a task", &err);

    if (coro == NULL) {
        return err;
    }
    err = kolk_op_open(coro->loop, &await.op, path, flags, mode);
    return await_end(coro, &await, err, "open");
}

int
kolk_pread(int fd, void *buffer, size_t size, int64_t offset)
{
    struct op_await await;
    int err;
    kolk__coro *coro = await_begin(&await, "kolk_pread() outside a task", &err);

    if (coro == NULL) {
        return err;
    }
    err = kolk_op_pread(coro->loop, &await.op, fd, buffer, size, offset);
    return await_end(coro, &await, err, "pread");
}

int
kolk_pwrite(int fd, const void *buffer, size_t size, int64_t offset)
{
    struct op_await await;
    int err;
    kolk__coro *coro =
        await_begin(&await, "kolk_pwrite() outside a task", &err);

    if (coro == NULL) {
        return err;
    }
    err = kolk_op_pwrite(coro->loop, &await.op, fd, buffer, size, offset);
    return await_end(coro, &await, err, "pwrite");
}

int
kolk_fsync(int fd)
{
    struct op_await await;
    int err;
    kolk__coro *coro = await_begin(&await, "kolk_fsync() outside a task", &err);

    if (coro == NULL) {
        return err;
    }
    err = kolk_op_fsync(coro->loop, &await.op, fd);
    return await_end(coro, &await, err, "fsync");
}

int
kolk_close(int fd)
{
    struct op_await await;
    int result;
    kolk__coro *coro = kolk__coro_or_misuse("kolk_close() outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (fd < 0) {
        return -EBADF;
    }
    kolk__op_init_awaited(&await.op, await_ended);
    await.is_parked = false;
    if (!kolk__op_close_begin(coro->loop, &await.op, fd, &result)) {
        return result;
    }
    return await_park(coro, &await, "close", NULL);
}

int
kolk_run_in_pool(kolk_pool *pool, kolk_work_fn *fn, void *arg)
{
    struct op_await await;
    int err;
    kolk__coro *coro =
        await_begin(&await, "kolk_run_in_pool() outside a task", &err);

    if (coro == NULL) {
        return err;
    }
    err = kolk_op_work(coro->loop, &await.op, pool, fn, arg);
    return await_end(coro, &await, err, "thread pool");
}

int
kolk_to_thread(kolk_work_fn *fn, void *arg)
{
    return kolk_run_in_pool(NULL, fn, arg);
}
