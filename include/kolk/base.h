/* kolk/base.h - what every other header stands on: visibility, time, errors.
 *
 * SPDX-License-Identifier: MIT
 *
 * Conventions of the whole library, stated once:
 *
 *  - Results are `>= 0` or a negative error: `-errno`, or one of the KOLK_E...
 *    codes below. `errno` itself is never the channel and never crosses an
 *    awaiting call.
 *  - Time is `kolk_time`: nanoseconds, absolute on the kolk_now() clock unless
 *    the name says `delay`.
 *  - Objects come first, inputs next, `out` last; `out` is written only on
 *    success. A returned pointer is borrowed; a `T **out` is yours.
 *  - Everything belongs to the loop's thread unless the comment says
 *    `Thread-safe.`
 *  - A call that starts something either fails, and its callback never runs,
 *    or succeeds, and its callback runs exactly once, later, on the loop's
 *    thread, never inside the call.
 *  - An awaiting call may be made by a task only. "Cancellation" in its
 *    comment says what a cancel request does to it; where nothing is said, a
 *    pending request makes it return -ECANCELED as soon as it would wait.
 *  - Wrong use returns -KOLK_EMISUSE; in debug mode it says what was misused
 *    and aborts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KOLK_VERSION_MAJOR 0
#define KOLK_VERSION_MINOR 2
#define KOLK_VERSION_PATCH 0
#define KOLK_VERSION                                                           \
    (KOLK_VERSION_MAJOR * 10000 + KOLK_VERSION_MINOR * 100 + KOLK_VERSION_PATCH)

#define KOLK_API __attribute__((visibility("default")))
#define KOLK_MUST_CHECK __attribute__((warn_unused_result))

/* The struct that embeds `pointer` as its member `member`. */
#define KOLK_CONTAINER_OF(pointer, type, member)                               \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define KOLK__STRING(x) #x
#define KOLK__STRING_OF(x) KOLK__STRING(x)
/* Where this line stands, as a string literal "file:line". */
#define KOLK_HERE __FILE__ ":" KOLK__STRING_OF(__LINE__)

/* A place in a doubly linked ring; nodes embed it, heads too. */
typedef struct kolk_link kolk_link;
struct kolk_link {
    kolk_link *next, *prev; /* private */
};

/* Nanoseconds. Absolute times are those of kolk_now(). */
typedef int64_t kolk_time;

#define KOLK_NEVER INT64_MAX
#define KOLK_US(n) ((kolk_time)((n) * (kolk_time)1000))
#define KOLK_MS(n) ((kolk_time)((n) * (kolk_time)1000000))
#define KOLK_S(n) ((kolk_time)((n) * (kolk_time)1000000000))

/* Errors that errno lacks. Used negated, as errno's values are. */
enum {
    KOLK_EMISUSE = 10001,    /* the caller broke the contract of the call */
    KOLK_EFORK = 10002,      /* the loop belongs to a parent process */
    KOLK_EVERSION = 10003,   /* header and library do not fit together */
    KOLK_EBROKEN = 10004,    /* the barrier is broken */
    KOLK_EOF = 10005,        /* the stream ended before what was asked for */
    KOLK_ELIMIT = 10006,     /* more than the limit allows */
    KOLK_ETLS = 10007,       /* TLS failed; its engine says why */
    KOLK_ETRUNCATED = 10008, /* the stream ended without TLS's close_notify */
    KOLK_ENOTLS = 10009,     /* the library was built without TLS */
    /* errors of getaddrinfo(3) begin here: kolk/lookup.h */
    KOLK_ERESOLVE = 10100,
};

/* A short English text for `error`, a negative code of any kolk call or 0.
 * The text is static. Thread-safe. */
KOLK_API const char *kolk_strerror(int error);

/* The symbolic name of `error` ("ECANCELED", "KOLK_EMISUSE"), or "?" for a
 * code that has none. The text is static. Thread-safe. */
KOLK_API const char *kolk_error_name(int error);

/* KOLK_VERSION of the library that is loaded. Thread-safe. */
KOLK_API int kolk_version(void);

/* The monotonic clock, in nanoseconds; what loops use until
 * kolk_loop_set_clock() says otherwise. Thread-safe. */
KOLK_API kolk_time kolk_monotonic(void);

/* `time + delay`, without overflow: a sum out of range, an infinite or a
 * negative delay give KOLK_NEVER or `time`. Thread-safe. */
static inline kolk_time
kolk_time_add(kolk_time time, kolk_time delay)
{
    if (delay <= 0) {
        return time;
    }
    return time > KOLK_NEVER - delay ? KOLK_NEVER : time + delay;
}

#ifdef __cplusplus
}
#endif
