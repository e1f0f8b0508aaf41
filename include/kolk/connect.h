/* kolk/connect.h - connections to names: lookup, happy eyeballs, sockets.
 *
 * SPDX-License-Identifier: MIT
 *
 * A name may have several addresses, some of which do not answer. They are
 * tried as RFC 8305 says: address families take turns, the next one starts
 * when the one before has failed or has not answered within a delay, and the
 * first that connects wins.
 */
#pragma once

#include <kolk/lookup.h>
#include <kolk/timer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_connect_options {
    int family;          /* AF_UNSPEC, AF_INET, AF_INET6 */
    int flags;           /* AI_... of the lookup */
    int protocol;        /* IPPROTO_...; 0: any */
    kolk_time delay;     /* until the next address is tried as well; 0: 250 ms;
                          * KOLK_NEVER: only when the one before has failed */
    unsigned interleave; /* addresses of the first family before they take
                          * turns; 0: 1 */
    bool in_order;       /* as the lookup gave them; families take no turns */
    const char *local_host; /* to bind to before, looked up; NULL: none */
    const char *local_service;
    const kolk_address *local; /* the same as addresses, for
                                * kolk_connector_start_to() */
    size_t local_count;
} kolk_connect_options;

typedef struct kolk_connector kolk_connector;
typedef void kolk_connector_fn(kolk_connector *connector);

/* An address that was tried, and how that came out. */
typedef struct kolk_attempt {
    kolk_address address;
    int error;     /* negative */
    bool is_local; /* `address` is one that could not be bound to */
} kolk_attempt;

/* One connection in the making, a node of yours. */
struct kolk_connector {
    kolk_connector_fn *fn;
    kolk_connector_fn *dropped; /* runs instead of fn when the loop closes */
    /* a connected socket, non-blocking and close-on-exec, yours; or an error:
     * of the lookup, or of the last address that failed */
    int result;
    kolk_address peer; /* that it is connected to */
    /* what failed before that, in order; until kolk_connector_fini() */
    const kolk_attempt *attempts;
    size_t attempt_count;

    /* private to connect.c */
    void *race;
    void *reserved[2];
};

/* Prepares `connector` to end with `fn`. `dropped` may be NULL.
 * Thread-safe. */
KOLK_API void kolk_connector_init(kolk_connector *connector,
                                  kolk_connector_fn *fn,
                                  kolk_connector_fn *dropped);

/* Frees the list of attempts. It may be started again, before as well as after
 * that. */
KOLK_API void kolk_connector_fini(kolk_connector *connector);

/* Starts connecting to `host` and `service`, stream sockets; TCP ones have
 * TCP_NODELAY set. `options` may be NULL; everything is copied. Returns 0, and
 * `fn` runs once, later; or an error, and nothing was started: -EALREADY,
 * -ENOMEM, -EAGAIN (no thread for the lookup), -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int
kolk_connector_start(kolk_loop *loop, kolk_connector *connector,
                     const char *host, const char *service,
                     const kolk_connect_options *options);

/* The same with addresses that are known: the first `count` of `addresses`,
 * bound before to the first of the local ones that is of the same family and
 * works. A Unix socket whose server has a full queue is tried again, with
 * pauses, until it takes the connection. -EINVAL for no addresses. */
KOLK_API KOLK_MUST_CHECK int
kolk_connector_start_to(kolk_loop *loop, kolk_connector *connector,
                        const kolk_address *addresses, size_t count,
                        const kolk_connect_options *options);

/* Ends it with -ECANCELED; its function still runs, later, with the socket if
 * that came first. Whenever it runs, every other socket is closed. A no-op if
 * it has ended. */
KOLK_API void kolk_connector_cancel(kolk_loop *loop, kolk_connector *connector);

/* Has it been started, and its function not run yet? */
KOLK_API bool kolk_connector_is_pending(const kolk_connector *connector);

/* Connects to `host` and `service`, awaited by the current task: a connected
 * socket, non-blocking and close-on-exec, yours; or an error. `options` may be
 * NULL. Cancellation: every socket is closed, and -ECANCELED returned. */
KOLK_API KOLK_MUST_CHECK int
kolk_connect_to(const char *host, const char *service,
                const kolk_connect_options *options);

/* The same to a Unix socket (kolk_address_unix()). A server whose queue is
 * full is tried again, with pauses, until it takes the connection. */
KOLK_API KOLK_MUST_CHECK int kolk_connect_unix(const char *path, size_t size);

#ifdef __cplusplus
}
#endif
