/* kolk/datagram.h - datagrams: UDP and Unix.
 *
 * SPDX-License-Identifier: MIT
 *
 * Errors of one datagram (too big, refused by the other side's ICMP) are told
 * and end nothing: the socket goes on.
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
    /* One datagram, in memory of the loop's, valid during the call. Of an
     * unbound Unix sender `from` is unnamed. */
    void (*datagram_received)(kolk_datagram_protocol *protocol,
                              kolk_datagram *datagram, const void *data,
                              size_t size, const kolk_address *from);
    /* A datagram could not be sent or received: `error` is negative. */
    void (*error_received)(kolk_datagram_protocol *protocol,
                           kolk_datagram *datagram, int error);
    void (*pause_writing)(kolk_datagram_protocol *protocol,
                          kolk_datagram *datagram);
    void (*resume_writing)(kolk_datagram_protocol *protocol,
                           kolk_datagram *datagram);
    /* As a transport's. */
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
    size_t queue;        /* received datagrams kept for kolk_datagram_recv();
                          * when full, the kernel keeps them; 0: 16 */
} kolk_datagram_options;

/* ---- life ---- */

/* A datagram socket of the family of the addresses, bound, connected. A Unix
 * path that a dead socket has left is taken over, one with a live owner is
 * -EADDRINUSE. Returns 0; -EINVAL without any address or with two families;
 * the error of a system call. `protocol` may be NULL: then it is for tasks.
 * `*out` is a reference, as a transport's. */
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_open(kolk_loop *loop, const kolk_datagram_options *options,
                   kolk_datagram_protocol *protocol, kolk_datagram **out);

/* The same over a datagram socket that exists, owned from now on. */
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
 * does not take now is copied and sent later, in order. Returns 0; -EINVAL for
 * an address where there is none to give or none given; -ENOMEM, -ESHUTDOWN.
 * Errors of sending go to error_received(). */
KOLK_API KOLK_MUST_CHECK int kolk_datagram_send(kolk_datagram *datagram,
                                                const void *data, size_t size,
                                                const kolk_address *to);
KOLK_API size_t kolk_datagram_buffer_size(const kolk_datagram *datagram);
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_set_write_limits(kolk_datagram *datagram, size_t high,
                               size_t low);

/* ---- about it ---- */

KOLK_API void kolk_datagram_set_protocol(kolk_datagram *datagram,
                                         kolk_datagram_protocol *protocol);
KOLK_API kolk_datagram_protocol *
kolk_datagram_protocol_of(const kolk_datagram *datagram);
KOLK_API kolk_loop *kolk_datagram_loop(const kolk_datagram *datagram);
KOLK_API int kolk_datagram_fileno(const kolk_datagram *datagram);
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_peername(const kolk_datagram *datagram, kolk_address *out);
KOLK_API KOLK_MUST_CHECK int
kolk_datagram_sockname(const kolk_datagram *datagram, kolk_address *out);

/* ---- awaited by the current task, without a protocol ---- */

/* Waits for the next datagram and copies it: its size, which is more than
 * `size` if it was cut; `from` may be NULL. Errors of earlier sends
 * (-ECONNREFUSED, -EMSGSIZE) are returned once each, and the socket goes on;
 * -ESHUTDOWN once it is closed.
 * Cancellation: returns -ECANCELED, and no datagram was taken. */
KOLK_API KOLK_MUST_CHECK int kolk_datagram_recv(kolk_datagram *datagram,
                                                void *buffer, size_t size,
                                                kolk_address *from);

/* Sends one, waiting while more than the high mark is waiting. Returns 0 or
 * the error of this or an earlier datagram. */
KOLK_API KOLK_MUST_CHECK int kolk_datagram_send_wait(kolk_datagram *datagram,
                                                     const void *data,
                                                     size_t size,
                                                     const kolk_address *to);

#ifdef __cplusplus
}
#endif
