/* kolk/transport.h - a connection, with callbacks.
 *
 * SPDX-License-Identifier: MIT
 *
 * A transport owns a descriptor that carries a stream of bytes: a TCP or Unix
 * socket, one or both ends of pipes, a terminal. It reads into memory of yours
 * or of the loop's, and calls a protocol of yours; it takes what you write,
 * sends it when the kernel lets it, and says when there is too much of it. TLS
 * goes in between (kolk/tls.h) without a change to either side. Tasks use
 * kolk/stream.h, which stands on this.
 *
 * Writes are joined: what is written in one turn of the loop leaves by one
 * system call, at the end of the turn, before the loop polls; or, in a longer
 * turn, at the end of a callback or step about 100 us after the one that wrote
 * (kolk_loop_set_write_delay()). It leaves earlier where somebody could see
 * the difference: when 64 KiB have gathered, or 8 KiB in one write; before the
 * size of the buffer is told; before abort, close, end of stream, sendfile,
 * TLS; before a nested run; and at once when no turn of this loop runs. And it
 * leaves at once if it is all that happens in a turn, as it was before.
 * KOLK_WRITE=now in the environment sends each write at once. A child of the
 * process sends nothing that was joined before the fork, the parent does.
 */
#pragma once

#include <sys/uio.h>

#include <kolk/address.h>
#include <kolk/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_transport kolk_transport;
typedef struct kolk_protocol kolk_protocol;
typedef struct kolk_server kolk_server;

/* What a transport tells. All but connection_lost may be NULL. Each may call
 * anything of the transport's, close and kolk_transport_set_protocol()
 * included. */
typedef struct kolk_protocol_ops {
    /* Where the next bytes shall go: sets `*buffer` and returns its size.
     * Asked right before each read: data_received() follows with its start, or
     * nothing does, where nothing was there after all; then it is asked anew
     * before the next. NULL, or a result of 0: the loop's own memory, valid
     * during data_received(). `hint` is how much may come. */
    size_t (*get_buffer)(kolk_protocol *protocol, kolk_transport *transport,
                         size_t hint, void **buffer);

    /* `size` bytes, at least one, have come. */
    void (*data_received)(kolk_protocol *protocol, kolk_transport *transport,
                          const void *data, size_t size);

    /* In place of the two above, for who takes bytes when it likes: there is
     * something for kolk_transport_try_read(), which has said -EAGAIN before
     * (or was never called). Told once; again after the next -EAGAIN. */
    void (*readable)(kolk_protocol *protocol, kolk_transport *transport);

    /* The other side will send no more. True: this side goes on writing until
     * it closes. False, or NULL: the transport closes. Not called where
     * `readable` is used; try_read says 0 there. */
    bool (*eof_received)(kolk_protocol *protocol, kolk_transport *transport);

    /* More than the high mark is waiting to be sent; and: no more than the
     * low mark is. */
    void (*pause_writing)(kolk_protocol *protocol, kolk_transport *transport);
    void (*resume_writing)(kolk_protocol *protocol, kolk_transport *transport);

    /* The last call: the descriptor is closed, or about to be when this
     * returns; all written chunks have been released. `error` is 0 after
     * close or an end of stream; -ECANCELED after abort; else what went wrong
     * (-ECONNRESET, -EPIPE, -ETIMEDOUT, -KOLK_ETLS...); -ESHUTDOWN when the
     * loop was closed. Called exactly once, from the loop, never inside a
     * call of yours, kolk_loop_close() aside. */
    void (*connection_lost)(kolk_protocol *protocol, kolk_transport *transport,
                            int error);
} kolk_protocol_ops;

/* Embed one in your own struct; recover the struct with KOLK_CONTAINER_OF(). */
struct kolk_protocol {
    const kolk_protocol_ops *ops;
};

typedef struct kolk_transport_options {
    int write_fd;        /* another descriptor to write to, owned too, as of a
                          * pair of pipes; 0: the same */
    bool read_only;      /* as the reading end of a pipe is */
    bool write_only;     /* reads only to see the other end close */
    bool paused;         /* read only after kolk_transport_resume_reading() */
    bool borrowed;       /* the descriptors stay yours: connection_lost() is
                          * told when they may be closed */
    kolk_server *server; /* that accepted it; counted there until it is lost */
} kolk_transport_options;

/* ---- life ---- */

/* A transport over `fd`, which it owns from now on if the call succeeds (or
 * borrows, if told so), and makes non-blocking; of a TCP socket it also sets
 * TCP_NODELAY. That a descriptor does not block is seen by all processes that
 * share its file: the standard ones (0 to 2) get their mode back when they are
 * closed. `options` may be NULL. Reading begins in the next turn.
 * `*out` is a reference, yours to give up with kolk_transport_unref(); while
 * the connection is open the loop holds one of its own.
 *
 * Returns 0; -EBADF; -EINVAL for what is no stream (a regular file, a
 * directory, a datagram socket); -EBUSY if another transport, or a watch, has
 * it; -ENOMEM, -ENOSPC, -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_open(kolk_loop *loop, int fd,
                    const kolk_transport_options *options,
                    kolk_protocol *protocol, kolk_transport **out);

/* Takes one more reference, and returns `transport`. */
KOLK_API kolk_transport *kolk_transport_ref(kolk_transport *transport);

/* Gives one reference up; NULL is a no-op. An open connection stays open. */
KOLK_API void kolk_transport_unref(kolk_transport *transport);

/* Stops reading, sends everything that was written (under TLS also a
 * close_notify), then closes and tells the protocol. What has come by then and
 * was not read is thrown away; what comes later is answered by a reset, as of
 * any closed socket. A no-op if it closes already. */
KOLK_API void kolk_transport_close(kolk_transport *transport);

/* Closes at once: what was not sent is lost. */
KOLK_API void kolk_transport_abort(kolk_transport *transport);

/* As kolk_transport_abort(); `error`, negative, is what connection_lost() is
 * told. */
KOLK_API void kolk_transport_fail(kolk_transport *transport, int error);

/* Has it been closed, by this side or by the other, or is it closing? */
KOLK_API bool kolk_transport_is_closing(const kolk_transport *transport);

/* Gives the descriptor back without closing it, what was joined being sent
 * first: afterwards the transport is lost, with 0. Returns it; -EBUSY while
 * bytes or a file wait to be sent, or under TLS; -EOPNOTSUPP for a pair;
 * -ESHUTDOWN. */
KOLK_API KOLK_MUST_CHECK int kolk_transport_take_fd(kolk_transport *transport);

/* ---- reading ---- */

/* No more data_received(), readable() or eof_received() until it is resumed.
 * Nothing is lost. When a write fails, what had come before is told all the
 * same, right before connection_lost(). Pausing what is paused already is
 * neither error nor news. */
KOLK_API void kolk_transport_pause_reading(kolk_transport *transport);
KOLK_API void kolk_transport_resume_reading(kolk_transport *transport);
KOLK_API bool kolk_transport_is_reading(const kolk_transport *transport);

/* Takes up to `size` bytes that are there: how many; 0 at the end of the
 * stream; -EAGAIN if none are there, and then `readable` will be called;
 * or why there will be none. What came before an end or an error is given
 * first. Never waits. -EINVAL for a `size` of 0. */
KOLK_API KOLK_MUST_CHECK int kolk_transport_try_read(kolk_transport *transport,
                                                     void *buffer, size_t size);

/* ---- writing ---- */

/* A piece of memory to be written, a node of yours. */
typedef struct kolk_chunk kolk_chunk;
typedef void kolk_chunk_fn(kolk_chunk *chunk);
struct kolk_chunk {
    const void *data;
    size_t size; /* any */
    /* The transport needs `data` no more: it was sent, or never will be. May
     * run inside the call that writes it. */
    kolk_chunk_fn *released;

    /* private to transport_write.c */
    kolk_link link;
    size_t sent;
    void *reserved[2];
};

/* Writes `size` bytes, of which it takes copies where it cannot send them at
 * once: `data` is yours again. Never waits; watch pause_writing() or
 * kolk_transport_buffer_size().
 *
 * Returns 0; -EPIPE after write_eof or close; -ESHUTDOWN once the connection
 * is lost, or a write has failed (what is written then is dropped); -ENOMEM,
 * and then nothing of it was written, unless a part has left already: then the
 * connection is lost; -EINVAL for sizes that no memory has; -KOLK_EMISUSE. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_write(kolk_transport *transport, const void *data, size_t size);

/* The same for several pieces. */
KOLK_API KOLK_MUST_CHECK int kolk_transport_writev(kolk_transport *transport,
                                                   const struct iovec *pieces,
                                                   int count);

/* Writes `chunk`, which is borrowed until its `released` runs; on error it is
 * not. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_write_chunk(kolk_transport *transport, kolk_chunk *chunk);

/* Ends this side's stream once everything written has been sent (under TLS by
 * close_notify). Reading goes on; a transport that only writes to a pipe has
 * its end then. Returns 0; -EOPNOTSUPP where there is no
 * half-close; -ESHUTDOWN. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_write_eof(kolk_transport *transport);
KOLK_API bool kolk_transport_can_write_eof(const kolk_transport *transport);

/* Sends what has been joined so far, as far as the kernel takes it. */
KOLK_API void kolk_transport_flush(kolk_transport *transport);

/* How many bytes wait to be sent; flushes first. Under TLS, bytes of plain
 * text and of records together. */
KOLK_API size_t kolk_transport_buffer_size(kolk_transport *transport);

/* Marks of pause_writing() and resume_writing(), in bytes; 64 and 16 KiB at
 * first. Returns 0, or -EINVAL unless `low` <= `high`. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_set_write_limits(kolk_transport *transport, size_t high,
                                size_t low);
KOLK_API void kolk_transport_write_limits(const kolk_transport *transport,
                                          size_t *high, size_t *low);

/* How long written bytes may wait to be joined by others, in nanoseconds of the
 * monotonic clock, for each transport of `loop`; 100 us at first. 0: until the
 * end of the callback or step; negative: not at all. */
KOLK_API void kolk_loop_set_write_delay(kolk_loop *loop, kolk_time delay);

/* ---- files ---- */

typedef struct kolk_sendfile kolk_sendfile;
typedef void kolk_sendfile_fn(kolk_sendfile *sendfile);

/* A file on its way into a transport, a node of yours. */
struct kolk_sendfile {
    kolk_sendfile_fn *fn;
    /* Called as bytes leave; may be NULL. */
    kolk_sendfile_fn *progress;
    kolk_sendfile_fn *dropped; /* runs instead of fn when the loop closes */
    int result;                /* 0 or an error; once ended */
    uint64_t sent;             /* bytes that have left so far */

    /* private to transport_sendfile.c */
    kolk_call call;
    kolk_op op;
    kolk_transport *transport;
    int fd;
    int64_t offset;
    uint64_t left;
    void *buffer;
    void *behind;    /* what is written meanwhile */
    bool is_copying; /* reads and writes */
    void *reserved[2];
};

/* Prepares `sendfile` to end with `fn`. `progress`, `dropped` may be NULL. */
KOLK_API void kolk_sendfile_init(kolk_sendfile *sendfile, kolk_sendfile_fn *fn,
                                 kolk_sendfile_fn *progress,
                                 kolk_sendfile_fn *dropped);

/* Writes `count` bytes (UINT64_MAX: all that is left) of the regular file `fd`
 * from `offset` on, behind what was written before, by sendfile(2) where that
 * is possible, else (TLS, some file systems) by reading and writing. Other
 * writes wait until it has ended: they are queued behind it. The file's own
 * position is not used. `fd` is borrowed until it has ended.
 *
 * Ends with 0, also at an earlier end of the file (`sent` says how much), or
 * with an error. Returns 0, or an error and nothing was started: -EALREADY
 * (another one runs), -EINVAL (no regular file), -ENOMEM, -ESHUTDOWN,
 * -EPIPE. */
KOLK_API KOLK_MUST_CHECK int kolk_transport_sendfile(kolk_transport *transport,
                                                     kolk_sendfile *sendfile,
                                                     int fd, int64_t offset,
                                                     uint64_t count);

/* Ends it with -ECANCELED before the next piece is sent; its function still
 * runs, later. The stream is then cut at `sent` bytes. */
KOLK_API void kolk_sendfile_cancel(kolk_sendfile *sendfile);

/* ---- about it ---- */

/* The protocol that is told from now on, borrowed until the connection is lost
 * or it is replaced. */
KOLK_API void kolk_transport_set_protocol(kolk_transport *transport,
                                          kolk_protocol *protocol);
KOLK_API kolk_protocol *
kolk_transport_protocol(const kolk_transport *transport);

/* The loop that it belongs to; borrowed. */
KOLK_API kolk_loop *kolk_transport_loop(const kolk_transport *transport);

/* The descriptor, borrowed; -EBADF once it is closed. Whoever has it could
 * look: from now on each write is sent at once. */
KOLK_API int kolk_transport_fileno(kolk_transport *transport);

/* The address of the other end, and of this one. Return 0; -ENOTCONN,
 * -ENOTSOCK. The peer's is remembered after the connection is lost. */
KOLK_API KOLK_MUST_CHECK int
kolk_transport_peername(const kolk_transport *transport, kolk_address *out);
KOLK_API KOLK_MUST_CHECK int
kolk_transport_sockname(const kolk_transport *transport, kolk_address *out);

#ifdef __cplusplus
}
#endif
