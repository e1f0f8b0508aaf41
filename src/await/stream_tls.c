/* stream_tls.c - TLS on a stream that has begun in plain text. See
 * kolk/stream.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * The boundary between plain text and TLS is the call: what a task has taken
 * before was plain text, and what is in the buffer goes to the handshake, so
 * that nobody can slip something in front of it that is then taken for
 * protected.
 */
#include "await/stream.h"

#include <errno.h>

static void
tls_interrupt(kolk__coro *coro)
{
    const kolk_stream *stream = coro->object;

    kolk_transport_abort(stream->transport);
    kolk__wake(coro, -ECANCELED);
}

/* The handshake is done, or has failed; the stream may have gone meanwhile. */
static void
tls_done(kolk_protocol *protocol, kolk_transport *transport, int result)
{
    (void)transport;
    if (protocol->ops == &kolk__stream_ops) {
        kolk_stream *stream =
            KOLK_CONTAINER_OF(protocol, kolk_stream, protocol);

        kolk__stream_wake(stream->reader, result);
    }
}

/* Starts TLS by `engine`, which is given away, and waits. */
static int
tls_start(kolk_stream *stream, kolk_tls_engine *engine,
          const kolk_tls_start *options, bool is_server)
{
    kolk__coro *coro = kolk__this_thread.loop->current;
    kolk__stream_wait wait;
    kolk_tls_start start = *options;

    start.is_server = is_server;
    start.received = kolk__read_buffer_data(&stream->buffer);
    start.received_size = kolk__read_buffer_size(&stream->buffer);
    start.done = tls_done;
    int err = kolk_transport_start_tls(stream->transport, engine, &start);
    if (err < 0) {
        engine->ops->free(engine);
        return kolk__stream_write_error(stream, err);
    }
    kolk__read_buffer_fini(stream->loop, &stream->buffer);
    if (coro->is_cancelled) {
        kolk_transport_abort(stream->transport);
        return kolk__wait_refused(coro);
    }
    return kolk__stream_park(stream, &stream->reader, &wait, "TLS handshake",
                             tls_interrupt);
}

/* An engine for a client, set up as `tls` says. */
static int
tls_client_engine(const kolk_tls_client *tls, const char *host,
                  kolk_tls_engine **out)
{
    kolk_tls_context *context;
    kolk_tls_engine *engine = NULL;
    int err = 0;

    if (tls->context != NULL) {
        context = kolk_tls_context_ref(tls->context);
    } else {
        err = kolk_tls_context_new(NULL, &context);
    }
    if (err < 0) {
        return err;
    }
    err = kolk_tls_engine_new(context, tls->name != NULL ? tls->name : host,
                              &engine);
    kolk_tls_context_unref(context); /* the engine has its own reference */
    if (err == 0 && tls->session != NULL) {
        err = kolk_tls_session_set(engine, tls->session);
        if (err < 0) {
            engine->ops->free(engine);
        }
    }
    if (err == 0) {
        *out = engine;
    }
    return err;
}

int
kolk__stream_start_client(kolk_stream *stream, const kolk_tls_client *tls,
                          const char *host)
{
    kolk_tls_engine *engine = NULL;
    int err = kolk__stream_read_begin(stream, "starting TLS outside a task");

    if (err == 0) {
        err = tls_client_engine(tls, host, &engine);
    }
    return engine == NULL ? err : tls_start(stream, engine, &tls->start, false);
}

int
kolk_stream_start_tls(kolk_stream *stream, const kolk_tls_client *tls)
{
    return kolk__stream_start_client(stream, tls, NULL);
}

int
kolk_stream_start_tls_server(kolk_stream *stream, kolk_tls_context *context,
                             const kolk_tls_start *start)
{
    static const kolk_tls_start nothing_special;
    kolk_tls_engine *engine = NULL;
    int err = kolk__stream_read_begin(stream, "starting TLS outside a task");

    if (err == 0) {
        err = kolk_tls_engine_new(context, NULL, &engine);
    }
    if (engine == NULL) {
        return err;
    }
    return tls_start(stream, engine, start != NULL ? start : &nothing_special,
                     true);
}
