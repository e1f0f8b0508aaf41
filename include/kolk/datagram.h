/* kolk/datagram.h - datagrams: UDP and Unix.
 *
 * SPDX-License-Identifier: MIT
 *
 * Errors of one datagram (too big, refused by the other side's ICMP, a receiver
 * that is gone) are told and end nothing: the socket goes on.
 */
#pragma once

#include <kolk/address.h>
#include <kolk/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_datagram kolk_datagram;
typedef struct kolk_datagram_protocol kolk_datagram_protocol;

/* asyncio's DatagramProtocol. All but connection_lost may be NULL. */
typedef struct kolk_datagram_protocol_ops {
    /* One datagram, whole, maybe of 0 bytes, in memory of the loop's, valid
     * during the call. Of an unbound Unix sender `from` is unnamed. */
    void (*datagram_received)(kolk_datagram_protocol *protocol,
                              kolk_datagram *datagram, const void *data,
                              size_t size, const kolk_address *from);
    /* A datagram could not be sent (-ECONNREFUSED, -EMSGSIZE, -EPERM,
     * -ENOBUFS, of Unix sockets -ENOENT...) or received (-ENOMEM; -EMSGSIZE
     * for one of a Unix socket above 256 KiB). Each error is told once, also
     * what ICMP says of a socket that is not connected. May run inside
     * kolk_datagram_send(), but never inside of another callback of the same
     * socket's errors. */
    void (*error_received)(kolk_datagram_protocol *protocol,
                           kolk_datagram *datagram, int error);
    /* More than the high mark is waiting to be sent, told inside the call that
     * sends; and: no more than the low mark is. */
    void (*pause_writing)(kolk_datagram_protocol *protocol,
                          kolk_datagram *datagram);
    void (*resume_writing)(kolk_datagram_protocol *protocol,
                           kolk_datagram *datagram);
    /* The last call, as a transport's: 0 after close, -ECANCELED after abort,
     * -ESHUTDOWN when the loop was closed, -EBADF if the descriptor has been
     * closed by somebody else. */
    void (*connection_lost)(kolk_datagram_protocol *protocol,
                            kolk_datagram *datagram, int error);
} kolk_datagram_protocol_ops;

struct kolk_datagram_protocol {
    const kolk_datagram_protocol_ops *ops;
};

typedef struct kolk_datagram_options {
    kolk_address local;  /* to bind to; size 0: none */
    kolk_address remote; /* to connect to; size 0: none */
    bool reuse_port;     /* SO_REUSEPORT */
    bool broadcast;      /* SO_BROADCAST */
    bool borrowed;       /* kolk_datagram_open_fd(): the descriptor stays
                          * yours, as a transport's */
    size_t queue;        /* received datagrams kept for kolk_datagram_recv();
                          * when full, the kernel keeps them; 0: 16 */
} kolk_datagram_options;

/* ---- life ---- */

/* A datagram socket of the family of the addresses, bound, connected. A Unix
 * path that a dead socket has left is taken over, one with a live owner is
 * -EADDRINUSE; the socket's own file is removed when it closes. Returns 0;
 * -EINVAL without any address or with two families; the error of a system call.
 * `protocol` may be NULL: then it is for tasks.
 * `*out` is a reference, as a transport's. */
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_open(kolk_loop *loop, const kolk_datagram_options *options,
                   kolk_datagram_protocol *protocol, kolk_datagram **out);

/* The same over a datagram socket that exists, owned from now on (or borrowed)
 * if the call succeeds; `options`, which are applied to it, may be NULL, or
 * without an address. Returns also -ENOTSOCK, -EINVAL for another kind of
 * socket or addresses of another family. */
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_open_fd(kolk_loop *loop, int fd,
                      const kolk_datagram_options *options,
                      kolk_datagram_protocol *protocol, kolk_datagram **out);

KOLK_API kolk_datagram *kolk_datagram_ref(kolk_datagram *datagram);
KOLK_API void kolk_datagram_unref(kolk_datagram *datagram);

/* Closes once everything is sent; at once. As transports do. */
KOLK_API void kolk_datagram_close(kolk_datagram *datagram);
KOLK_API void kolk_datagram_abort(kolk_datagram *datagram);
KOLK_API bool kolk_datagram_is_closing(const kolk_datagram *datagram);

/* ---- sending ---- */

/* Sends one datagram, `to` NULL: to the connected address. What the kernel
 * does not take now is copied and sent later, in order; also where a Unix
 * receiver's queue is full. Returns 0; -EINVAL for an address where there is
 * none to give or none given; -ENOMEM, -ESHUTDOWN. Errors of sending go to
 * error_received(); without a protocol, to the next awaited call. */
KOLK_API KOLK_MUST_CHECK int kolk_datagram_send(kolk_datagram *datagram,
                                                const void *data, size_t size,
                                                const kolk_address *to);

/* How much waits to be sent: bytes, and 8 more for each datagram, so that empty
 * ones count too. */
KOLK_API size_t kolk_datagram_buffer_size(const kolk_datagram *datagram);

/* Marks of pause_writing() and resume_writing(), in the same measure; 64 and 16
 * KiB at first. Returns 0, or -EINVAL unless `low` <= `high`. */
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_set_write_limits(kolk_datagram *datagram, size_t high,
                               size_t low);

/* ---- about it ---- */

/* The protocol that is told from now on; NULL: tasks receive. */
KOLK_API void kolk_datagram_set_protocol(kolk_datagram *datagram,
                                         kolk_datagram_protocol *protocol);
KOLK_API kolk_datagram_protocol *
kolk_datagram_protocol_of(const kolk_datagram *datagram);
KOLK_API kolk_loop *kolk_datagram_loop(const kolk_datagram *datagram);

/* The descriptor, borrowed; -EBADF once it is closed. */
KOLK_API int kolk_datagram_fileno(const kolk_datagram *datagram);

/* The address that it is connected to, remembered to the end, or -ENOTCONN; and
 * its own, or -EBADF once it is closed. */
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_peername(const kolk_datagram *datagram, kolk_address *out);
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_sockname(const kolk_datagram *datagram, kolk_address *out);

/* ---- awaited by the current task, without a protocol ----
 *
 * Several tasks may wait: first come, first served. Errors of datagrams that
 * were sent before (-ECONNREFUSED, -EMSGSIZE) are returned once each, in
 * order, by whichever of these calls comes next. 32 are kept; one more, while
 * nobody asks, goes to the loop's error handler. -KOLK_EMISUSE on a socket with
 * a protocol, or of another loop. */

/* Waits for the next datagram and copies it: its size, which is more than
 * `size` if it was cut; `from` may be NULL. Returns the error of an earlier
 * datagram, and the socket goes on; -ESHUTDOWN once it is closed, for what was
 * received and not taken by then is dropped; -ENOMEM.
 * Cancellation: returns -ECANCELED, and no datagram was taken. */
KOLK_API KOLK_MUST_CHECK int kolk_datagram_recv(kolk_datagram *datagram,
                                                void *buffer, size_t size,
                                                kolk_address *from);

/* Sends one. If more than the high mark is waiting, waits first until no more
 * than the low mark is, then for its turn. Returns 0; else this one was not
 * sent: its own error, or that of an earlier datagram, as a send(2) returns
 * it; -ESHUTDOWN; -EINVAL, -ENOMEM.
 * Cancellation: returns -ECANCELED, and it was not sent. */
KOLK_API KOLK_MUST_CHECK int kolk_datagram_send_wait(kolk_datagram *datagram,
                                                     const void *data,
                                                     size_t size,
                                                     const kolk_address *to);

#ifdef __cplusplus
}
#endif
