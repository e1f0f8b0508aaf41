/* stream.h - streams: the struct that their files share.
 *
 * SPDX-License-Identifier: MIT
 *
 * A stream is the protocol of its transport. It takes bytes when a task asks
 * for them, by kolk_transport_try_read(), straight into the memory where they
 * are wanted; a task that finds none parks, and is queued where the loop hears
 * that there are some.
 *
 * Whoever frees a stream while tasks wait in it wakes them, and they must not
 * touch it again. So each wait has a struct on its task's stack that says
 * whether the stream has gone.
 */
#pragma once

#include <limits.h>

#include <kolk/stream.h>

#include "await/read_buffer.h"
#include "net/transport.h" /* waiting */
#include "task/park.h"
#include "task/switch_to.h"

enum { KOLK__STREAM_LIMIT = 65536 };

/* A task that waits in a stream. */
typedef struct kolk__stream_wait {
    kolk__coro *coro;
    bool is_gone; /* the stream was freed */
} kolk__stream_wait;

struct kolk_stream {
    kolk_protocol protocol;    /* of `transport` */
    kolk_transport *transport; /* holds a reference */
    kolk_loop *loop;           /* holds a reference */

    /* reading: stream_read.c */
    kolk__read_buffer buffer;
    size_t limit;
    kolk__stream_wait *reader;     /* who reads, while that waits */
    kolk__transport_waiter waiter; /* ... for the transport */
    bool has_ended;                /* there is nothing more to receive */
    bool is_in_line;               /* what comes belongs to a line that is too
                                    * long, and was thrown away so far */

    /* writing: stream_write.c */
    kolk_link drainers; /* tasks that wait until less is to be sent */
    bool is_full;       /* between pause_writing() and resume_writing() */

    /* the end: stream.c */
    kolk__stream_wait *closer;
    bool is_lost;
    kolk_stream **lent; /* where whoever lends it keeps it, or NULL */
};

/* What the connection has failed with, or 0. */
static inline int
kolk__stream_error(const kolk_stream *stream)
{
    const kolk_transport *transport = stream->transport;

    return transport->failure != 0 ? transport->failure : transport->error;
}

/* Of every stream's protocol, and of nothing else. */
extern const kolk_protocol_ops kolk__stream_ops
    __attribute__((visibility("hidden")));

/* A stream over `fd`, which it owns if the call succeeds. `options` may be
 * NULL. */
int kolk__stream_new(kolk_loop *loop, int fd,
                     const kolk_stream_options *options, kolk_stream **out);

/* Lets the current task, which no request cancels, wait in `stream`, at
 * `place`, until it is woken by kolk__stream_wake(). Returns what was given
 * there, or -ECANCELED; `interrupt` is called with the stream as the object.
 * If `wait->is_gone` afterwards, so is the stream. */
int kolk__stream_park(kolk_stream *stream, kolk__stream_wait **place,
                      kolk__stream_wait *wait, const char *reason,
                      kolk__interrupt_fn *interrupt);

/* Its body, for where a call would cost too much. */
static inline __attribute__((always_inline)) int
kolk__stream_park_here(kolk_stream *stream, kolk__stream_wait **place,
                       kolk__stream_wait *wait, const char *reason,
                       kolk__interrupt_fn *interrupt)
{
    kolk__coro *coro = kolk__current_coro();

    wait->coro = coro;
    wait->is_gone = false;
    *place = wait;
    int result = kolk__park_here(coro, reason, interrupt, stream);
    if (KOLK_UNLIKELY(wait->is_gone)) {
        return -ECANCELED; /* maybe after it was woken by something else */
    }
    *place = NULL;
    return result;
}

/* Wakes who waits at `place`, if it still does. */
static inline void
kolk__stream_wake(kolk__stream_wait *wait, int result)
{
    if (wait != NULL && wait->coro->is_parked) {
        kolk__wake(wait->coro, result);
    }
}

/* ---- stream_write.c ---- */

/* What a call that writes returns for the transport's `err`. */
int kolk__stream_write_error(const kolk_stream *stream, int err);

/* ---- stream_tls.c ---- */

/* kolk_stream_start_tls() for a connection to `host`, which is what the
 * certificate has to be for unless `tls` says something else; may be NULL. */
int kolk__stream_start_client(kolk_stream *stream, const kolk_tls_client *tls,
                              const char *host);

/* ---- stream_read.c ---- */

/* Receives more into the buffer, which has less than the limit, and waits for
 * that: how many bytes, at least one; 0 at the end; or an error. What `wait`,
 * which is zero, says about the stream as above. */
int kolk__stream_fill(kolk_stream *stream, kolk__stream_wait *wait);

/* May the current task read now? Returns 0 or an error. */
static inline int
kolk__stream_read_begin(const kolk_stream *stream, const char *what)
{
    if (KOLK_UNLIKELY(kolk__coro_or_misuse(what) == NULL)) {
        return -KOLK_EMISUSE;
    }
    return KOLK_LIKELY(stream->reader == NULL) ? 0 : -EBUSY;
}

/* A call comes to `result`, maybe without having waited: lets others run once
 * in a while. */
static inline int
kolk__stream_read_end(int result)
{
    kolk__be_fair(kolk__this_thread.loop->current);
    return result;
}
