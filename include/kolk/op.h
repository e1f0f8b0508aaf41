/* kolk/op.h - operations: asynchronous system calls.
 *
 * SPDX-License-Identifier: MIT
 *
 * One operation is one system call that may take its time. It is started with
 * a node of yours and ends with one callback, or is awaited by a task, which
 * needs no node. Both forms do the same on every backend.
 *
 * Descriptors: sockets, pipes and terminals may be of either mode on
 * io_uring but have to be non-blocking (O_NONBLOCK) for epoll. The loop
 * remembers a descriptor that an operation had to wait for: close such a one
 * with kolk_close() or kolk_op_close(), or call kolk_forget() before close(2).
 *
 * Buffers are borrowed until the operation has ended, cancelled or not.
 * Cancelling waits until the kernel has let go of the buffer; what completed
 * first is the result. Operations of one direction of a descriptor are served
 * in the order they were started.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <kolk/call.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_op kolk_op;
typedef void kolk_op_fn(kolk_op *op);

struct kolk_op {
    kolk_call call; /* private: its place in the ready queue */
    kolk_op_fn *fn;
    kolk_op_fn *dropped; /* runs instead of fn when the loop closes, or NULL */
    int result;          /* what the call returned, or -errno; once ended */

    /* private to op.c, the pollers and pool.c */
    kolk_link link; /* in a ring of its descriptor or of the poller */
    int fd;
    uint8_t kind;
    uint8_t state;
    uint8_t marks;
    bool is_queued; /* in the pool's queue; guarded by its lock */
    unsigned extra; /* the call's flags or events */
    void *buffer;
    size_t size;
    union {
        int64_t offset;
        socklen_t *length;
        int (*work)(void *arg);
    };
    kolk_loop *loop;          /* of a job, for the loop's thread */
    struct kolk_pool *pool;   /* of a job; holds a reference */
    struct kolk_inbox *inbox; /* of a job; holds a reference until it ends */
    kolk_op_fn *ended;        /* runs instead of queueing the call, or NULL */
};

/* Prepares `op` to end with `fn`. `dropped` may be NULL: it is called, once,
 * if the loop is closed before the operation has ended. Thread-safe. */
KOLK_API void kolk_op_init(kolk_op *op, kolk_op_fn *fn, kolk_op_fn *dropped);

/* Asks that `op` ends soon. Its function still runs, once, with the result of
 * the call if that came first, else with -ECANCELED. A no-op if it has ended.
 */
KOLK_API void kolk_op_cancel(kolk_loop *loop, kolk_op *op);

/* Has `op` been started, and its function not run yet? */
KOLK_API bool kolk_op_is_pending(const kolk_op *op);

/* ---- started with a node ----
 *
 * All return 0, or an error and then nothing was started: -EALREADY (pending),
 * -ENOMEM, -EBADF, -ENOSPC, -KOLK_EMISUSE, -KOLK_EFORK. Arguments and results
 * are those of the system call of the same name; pointers are borrowed until
 * the operation has ended. */

KOLK_API KOLK_MUST_CHECK int kolk_op_connect(kolk_loop *loop, kolk_op *op,
                                             int fd,
                                             const struct sockaddr *address,
                                             socklen_t size);
/* `flags` as for accept4(2), to which SOCK_CLOEXEC and SOCK_NONBLOCK are
 * added. `address` and `size` may be NULL. A connection accepted by an
 * operation that is then dropped is closed. */
KOLK_API KOLK_MUST_CHECK int kolk_op_accept(kolk_loop *loop, kolk_op *op,
                                            int fd, struct sockaddr *address,
                                            socklen_t *size, int flags);

/* MSG_NOSIGNAL is added to the flags of both sends. A write to what nobody
 * reads any more raises SIGPIPE, as write(2) does. */
KOLK_API KOLK_MUST_CHECK int kolk_op_read(kolk_loop *loop, kolk_op *op, int fd,
                                          void *buffer, size_t size);
KOLK_API KOLK_MUST_CHECK int kolk_op_write(kolk_loop *loop, kolk_op *op, int fd,
                                           const void *buffer, size_t size);
KOLK_API KOLK_MUST_CHECK int kolk_op_recv(kolk_loop *loop, kolk_op *op, int fd,
                                          void *buffer, size_t size, int flags);
KOLK_API KOLK_MUST_CHECK int kolk_op_send(kolk_loop *loop, kolk_op *op, int fd,
                                          const void *buffer, size_t size,
                                          int flags);
KOLK_API KOLK_MUST_CHECK int kolk_op_recvmsg(kolk_loop *loop, kolk_op *op,
                                             int fd, struct msghdr *message,
                                             int flags);
KOLK_API KOLK_MUST_CHECK int kolk_op_sendmsg(kolk_loop *loop, kolk_op *op,
                                             int fd,
                                             const struct msghdr *message,
                                             int flags);
/* Ends when `fd` is ready for any of `events` (KOLK_READABLE...), with those
 * that are. */
KOLK_API KOLK_MUST_CHECK int kolk_op_poll(kolk_loop *loop, kolk_op *op, int fd,
                                          unsigned events);

/* Regular files: openat(2) relative to the working directory (O_CLOEXEC is
 * added), pread(2), pwrite(2), fsync(2). By the ring, else by the loop's
 * thread pool, where cancelling waits for a call that has begun. */
KOLK_API KOLK_MUST_CHECK int kolk_op_open(kolk_loop *loop, kolk_op *op,
                                          const char *path, int flags,
                                          mode_t mode);
KOLK_API KOLK_MUST_CHECK int kolk_op_pread(kolk_loop *loop, kolk_op *op, int fd,
                                           void *buffer, size_t size,
                                           int64_t offset);
KOLK_API KOLK_MUST_CHECK int kolk_op_pwrite(kolk_loop *loop, kolk_op *op,
                                            int fd, const void *buffer,
                                            size_t size, int64_t offset);
KOLK_API KOLK_MUST_CHECK int kolk_op_fsync(kolk_loop *loop, kolk_op *op,
                                           int fd);

/* Forgets what the loop knows of `fd`, and closes it. Operations on it that
 * are pending end with -ECANCELED. Cannot be cancelled. Ends with -EBUSY, and
 * closes nothing, if a transport has it. */
KOLK_API KOLK_MUST_CHECK int kolk_op_close(kolk_loop *loop, kolk_op *op,
                                           int fd);

/* Forgets what `loop` knows of `fd`, so that close(2), or handing it to
 * somebody else, is safe. Operations on it that are pending end with
 * -ECANCELED, watches and transports stay. */
KOLK_API void kolk_forget(kolk_loop *loop, int fd);

/* ---- awaited by the current task ----
 *
 * Return what the operation would: >= 0, or a negative error. An awaited call
 * that need not wait does not; after some dozens of these in one step it lets
 * the others run first.
 *
 * Cancellation: the operation is cancelled, and its buffer taken back before
 * the call returns, uninterruptibly; what completed first is returned. */

KOLK_API KOLK_MUST_CHECK int
kolk_connect(int fd, const struct sockaddr *address, socklen_t size);
KOLK_API KOLK_MUST_CHECK int kolk_accept(int fd, struct sockaddr *address,
                                         socklen_t *size, int flags);
KOLK_API KOLK_MUST_CHECK int kolk_read(int fd, void *buffer, size_t size);
KOLK_API KOLK_MUST_CHECK int kolk_write(int fd, const void *buffer,
                                        size_t size);
KOLK_API KOLK_MUST_CHECK int kolk_recv(int fd, void *buffer, size_t size,
                                       int flags);
KOLK_API KOLK_MUST_CHECK int kolk_send(int fd, const void *buffer, size_t size,
                                       int flags);
KOLK_API KOLK_MUST_CHECK int kolk_recvmsg(int fd, struct msghdr *message,
                                          int flags);
KOLK_API KOLK_MUST_CHECK int kolk_sendmsg(int fd, const struct msghdr *message,
                                          int flags);
KOLK_API KOLK_MUST_CHECK int kolk_poll(int fd, unsigned events);
KOLK_API KOLK_MUST_CHECK int kolk_open(const char *path, int flags,
                                       mode_t mode);
KOLK_API KOLK_MUST_CHECK int kolk_pread(int fd, void *buffer, size_t size,
                                        int64_t offset);
KOLK_API KOLK_MUST_CHECK int kolk_pwrite(int fd, const void *buffer,
                                         size_t size, int64_t offset);
KOLK_API KOLK_MUST_CHECK int kolk_fsync(int fd);

/* Closes `fd`; uninterruptible, and done even when a request is pending. */
KOLK_API int kolk_close(int fd);

#ifdef __cplusplus
}
#endif
