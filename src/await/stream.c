/* stream.c - the life of a stream. See kolk/stream.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A stream that is freed leaves its transport to itself: the transport goes on
 * sending, holds itself as long as it does, and tells nobody. So a stream's
 * memory never has to wait for the other side.
 */
#include "await/stream.h"

#include <errno.h>

#include "base/sys.h"

/* ---- waiting ---- */

int
kolk__stream_park(kolk_stream *stream, kolk__stream_wait **place,
                  kolk__stream_wait *wait, const char *reason,
                  kolk__interrupt_fn *interrupt)
{
    return kolk__stream_park_here(stream, place, wait, reason, interrupt);
}

/* Has any task an interest in the stream, beside the current one? */
static bool
stream_is_waited_for(const kolk_stream *stream)
{
    return stream->reader != NULL || stream->closer != NULL
           || !kolk__ring_is_empty(&stream->drainers);
}

static void
stream_dismiss_one(kolk__stream_wait *wait)
{
    if (wait != NULL) {
        wait->is_gone = true;
        kolk__stream_wake(wait, -ECANCELED);
    }
}

/* Tells everybody who waits that the stream has gone. */
static void
stream_dismiss(kolk_stream *stream)
{
    stream_dismiss_one(stream->reader);
    stream_dismiss_one(stream->closer);
    while (kolk__waiters_wake_first(&stream->drainers, -ECANCELED) != NULL) {
    }
}

/* ---- what the transport tells ---- */

/* At dispatch: straight to the ready queue. */
static void
stream_readable(kolk__transport_waiter *waiter)
{
    kolk_stream *stream = KOLK_CONTAINER_OF(waiter, kolk_stream, waiter);

    kolk__stream_wake(stream->reader, 0);
}

static kolk_stream *
stream_of(kolk_protocol *protocol)
{
    return KOLK_CONTAINER_OF(protocol, kolk_stream, protocol);
}

static void
stream_wake_drainers(kolk_stream *stream)
{
    int error = kolk__stream_error(stream);

    while (kolk__waiters_wake_first(&stream->drainers, error) != NULL) {
    }
}

static void
stream_pause_writing(kolk_protocol *protocol, kolk_transport *transport)
{
    (void)transport;
    stream_of(protocol)->is_full = true;
}

static void
stream_resume_writing(kolk_protocol *protocol, kolk_transport *transport)
{
    kolk_stream *stream = stream_of(protocol);

    (void)transport;
    stream->is_full = false;
    stream_wake_drainers(stream);
}

/* Who reads is woken to take what is left, and to learn of the end. */
static void
stream_connection_lost(kolk_protocol *protocol, kolk_transport *transport,
                       int error)
{
    kolk_stream *stream = stream_of(protocol);

    (void)transport, (void)error;
    stream->is_lost = true;
    stream->is_full = false;
    if (stream->loop->task_state == NULL
        || stream->loop->task_state->count == 0) {
        /* The loop is being closed, and tasks that did not end were dropped:
         * nobody waits any more. */
        stream->reader = stream->closer = NULL;
        return;
    }
    kolk__stream_wake(stream->reader, 0);
    kolk__stream_wake(stream->closer, 0);
    stream_wake_drainers(stream);
}

const kolk_protocol_ops kolk__stream_ops = {
    .pause_writing = stream_pause_writing,
    .resume_writing = stream_resume_writing,
    .connection_lost = stream_connection_lost,
};

/* ---- a transport that is left to itself ---- */

static void
stream_nobody_lost(kolk_protocol *protocol, kolk_transport *transport,
                   int error)
{
    (void)protocol, (void)transport, (void)error;
}

static const kolk_protocol_ops stream_nobody_ops = {
    .connection_lost = stream_nobody_lost,
};

static kolk_protocol stream_nobody = {.ops = &stream_nobody_ops};

/* ---- life ---- */

int
kolk__stream_new(kolk_loop *loop, int fd, const kolk_stream_options *options,
                 kolk_stream **out)
{
    static const kolk_stream_options nothing_special;

    if (options == NULL) {
        options = &nothing_special;
    }
    kolk_stream *stream = kolk__sys.calloc(1, sizeof *stream);
    if (stream == NULL) {
        return -ENOMEM;
    }
    stream->protocol.ops = &kolk__stream_ops;
    stream->limit = options->limit != 0 ? options->limit : KOLK__STREAM_LIMIT;
    if (stream->limit > INT_MAX) {
        stream->limit = INT_MAX; /* sizes are returned as an int */
    }
    stream->waiter.wake = stream_readable;
    kolk__ring_init(&stream->drainers);
    int err = kolk_transport_open(loop, fd, &options->transport,
                                  &stream->protocol, &stream->transport);
    if (err < 0) {
        kolk__sys.free(stream);
        return err;
    }
    stream->loop = loop;
    kolk__loop_ref(loop);
    *out = stream;
    return 0;
}

int
kolk_stream_open(int fd, const kolk_stream_options *options, kolk_stream **out)
{
    kolk_loop *loop = kolk__this_thread.loop;

    if (loop == NULL) {
        return kolk__misuse(NULL, "kolk_stream_open() without a loop");
    }
    return kolk__stream_new(loop, fd, options, out);
}

int
kolk_stream_pair(kolk_stream *out[2])
{
    kolk_loop *loop = kolk__this_thread.loop;
    kolk_stream *streams[2];
    int fds[2];

    if (loop == NULL) {
        return kolk__misuse(NULL, "kolk_stream_pair() without a loop");
    }
    if (kolk__sys.socketpair(AF_UNIX,
                             SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)
        < 0) {
        return -errno;
    }
    int err = kolk__stream_new(loop, fds[0], NULL, &streams[0]);
    if (err < 0) {
        goto close_both;
    }
    err = kolk__stream_new(loop, fds[1], NULL, &streams[1]);
    if (err < 0) {
        goto abort_first;
    }
    out[0] = streams[0];
    out[1] = streams[1];
    return 0;

abort_first:
    kolk_stream_abort(streams[0]);
    fds[0] = -1;
close_both:
    if (fds[0] >= 0) {
        (void)kolk__sys.close(fds[0]);
    }
    (void)kolk__sys.close(fds[1]);
    return err;
}

/* Frees the struct; the transport is on its own. */
static void
stream_delete(kolk_stream *stream)
{
    kolk_loop *loop = stream->loop;

    if (stream->lent != NULL) {
        *stream->lent = NULL;
    }
    kolk__transport_wait_end(stream->transport);
    kolk_transport_set_protocol(stream->transport, &stream_nobody);
    kolk_transport_unref(stream->transport);
    kolk__read_buffer_fini(loop, &stream->buffer);
    kolk__sys.free(stream);
    kolk__loop_unref(loop);
}

/* Before the stream is freed by somebody who may not do so while others wait.
 */
static void
stream_check_unused(kolk_stream *stream, const char *what)
{
    if (KOLK_UNLIKELY(stream_is_waited_for(stream))) {
        (void)kolk__misuse(stream->loop, what);
        stream_dismiss(stream);
    }
}

void
kolk_stream_free(kolk_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    stream_check_unused(stream, "kolk_stream_free() while tasks wait");
    kolk_transport_close(stream->transport);
    stream_delete(stream);
}

void
kolk_stream_abort(kolk_stream *stream)
{
    stream_dismiss(stream);
    kolk_transport_abort(stream->transport);
    stream_delete(stream);
}

/* ---- closing, and waiting for that ---- */

/* A request to cancel a close makes it an abort, which ends soon. */
static void
stream_interrupt_close(kolk__coro *coro)
{
    const kolk_stream *stream = coro->object;

    kolk_transport_abort(stream->transport);
}

/* A close that must not wait. */
static int
stream_close_now(kolk_stream *stream, kolk__coro *coro)
{
    if (kolk_transport_buffer_size(stream->transport) == 0) {
        kolk_stream_free(stream); /* nothing is left to wait for */
        return 0;
    }
    kolk_stream_abort(stream);
    return kolk__wait_refused(coro);
}

int
kolk_stream_close(kolk_stream *stream)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_stream_close() outside a "
                                            "task");
    kolk__stream_wait wait;

    if (coro == NULL) {
        kolk_stream_free(stream);
        return -KOLK_EMISUSE;
    }
    stream_check_unused(stream, "kolk_stream_close() while tasks wait");
    if (!stream->is_lost) {
        if (coro->is_cancelled) {
            return stream_close_now(stream, coro);
        }
        kolk_transport_close(stream->transport);
        int result = kolk__stream_park(stream, &stream->closer, &wait,
                                       "stream close", stream_interrupt_close);
        if (wait.is_gone) {
            return result; /* somebody else has aborted it */
        }
    }
    int error = kolk__stream_error(stream);
    stream_delete(stream);
    return error;
}

/* ---- the rest ---- */

kolk_transport *
kolk_stream_transport(const kolk_stream *stream)
{
    return stream->transport;
}
