/* kolk/lookup.h - names to addresses, and back, without blocking the loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * Names go to the system's resolver, in the loop's thread pool. What is an
 * address already, zones included, needs no thread. Errors of the resolver are
 * KOLK_ERESOLVE and above: kolk_error_name() names them ("EAI_NONAME"),
 * kolk_strerror() explains them.
 */
#pragma once

#include <netdb.h>

#include <kolk/address.h>
#include <kolk/call.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_lookup kolk_lookup;
typedef void kolk_lookup_fn(kolk_lookup *lookup);

/* One question, a node of yours. */
struct kolk_lookup {
    kolk_lookup_fn *fn;
    kolk_lookup_fn *dropped; /* runs instead of fn when the loop closes */
    int result;              /* 0 or an error; once ended */
    /* what was found, yours to free with freeaddrinfo(); NULL on error */
    struct addrinfo *addresses;

    /* private to lookup.c */
    void *job; /* lives on if it is cancelled, and frees itself */
    void *reserved[2];
};

/* Prepares `lookup` to end with `fn`. `dropped` may be NULL. Thread-safe. */
KOLK_API void kolk_lookup_init(kolk_lookup *lookup, kolk_lookup_fn *fn,
                               kolk_lookup_fn *dropped);

/* Starts getaddrinfo(3); all arguments are copied, each may be NULL as there.
 * Returns 0, and `fn` runs once, later; or an error, and nothing was started:
 * -EALREADY, -ENOMEM, -EAGAIN (no thread), -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int
kolk_lookup_start(kolk_loop *loop, kolk_lookup *lookup, const char *host,
                  const char *service, const struct addrinfo *hints);

/* Ends `lookup` with -ECANCELED; its function still runs, later. What a thread
 * has begun goes on, and is thrown away; kolk_loop_close() waits for it, as for
 * every job of the pool. A no-op if it has ended. */
KOLK_API void kolk_lookup_cancel(kolk_loop *loop, kolk_lookup *lookup);

/* Has `lookup` been started, and its function not run yet? */
KOLK_API bool kolk_lookup_is_pending(const kolk_lookup *lookup);

/* getaddrinfo(3), awaited by the current task. `*out` is yours to free with
 * freeaddrinfo(). Returns 0 or an error.
 * Cancellation: returns -ECANCELED at once. */
KOLK_API KOLK_MUST_CHECK int kolk_getaddrinfo(const char *host,
                                              const char *service,
                                              const struct addrinfo *hints,
                                              struct addrinfo **out);

/* getnameinfo(3), awaited: writes the name of `address` to `host` and
 * `service`, each of so many bytes, or NULL and 0. `flags` are NI_...; with
 * NI_NUMERICHOST and NI_NUMERICSERV it needs no thread. Returns 0 or an error.
 * Cancellation: returns -ECANCELED at once; nothing is written then. */
KOLK_API KOLK_MUST_CHECK int kolk_getnameinfo(const kolk_address *address,
                                              char *host, size_t host_size,
                                              char *service,
                                              size_t service_size, int flags);

/* The EAI_... code of getaddrinfo(3) that `error`, a negative error, stands
 * for; 0 if it is none. Thread-safe. */
KOLK_API int kolk_resolve_code(int error);

#ifdef __cplusplus
}
#endif
