/* host_tls.c - a host that brings its own TLS.
 *
 * SPDX-License-Identifier: MIT
 *
 * The language has an engine, which is code of the language: each call of its
 * table needs the lock, and its errors are objects of the language that the
 * library must hand on without looking. Stacks and tasks are not needed for
 * any of it.
 */
#include "host.h"
#include "toy.h"

#include <stdlib.h>
#include <string.h>

/* An engine of the language. */
typedef struct host_engine {
    kolk_tls_engine engine;
    toy *inner;
    int calls;
} host_engine;

static int engines; /* that there are */

/* What every entry of the table begins with. */
static kolk_tls_engine *
engine_enter(const kolk_tls_engine *engine)
{
    host_engine *self = KOLK_CONTAINER_OF(engine, host_engine, engine);

    CHECK(host_lock_is_mine());
    self->calls++;
    return &self->inner->engine;
}

static int
engine_feed(kolk_tls_engine *engine, const void *data, size_t size)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->feed(inner, data, size);
}

static void
engine_feed_eof(kolk_tls_engine *engine)
{
    kolk_tls_engine *inner = engine_enter(engine);

    inner->ops->feed_eof(inner);
}

static size_t
engine_output(kolk_tls_engine *engine, void *buffer, size_t size)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->output(inner, buffer, size);
}

static size_t
engine_output_size(const kolk_tls_engine *engine)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->output_size(inner);
}

static int
engine_handshake(kolk_tls_engine *engine)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->handshake(inner);
}

static int
engine_read(kolk_tls_engine *engine, void *buffer, size_t size)
{
    kolk_tls_engine *inner = engine_enter(engine);

    CHECK_INT(host_collect(), 0); /* such code may run the collector */
    return inner->ops->read(inner, buffer, size);
}

static int
engine_write(kolk_tls_engine *engine, const void *data, size_t size)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->write(inner, data, size);
}

static int
engine_shutdown(kolk_tls_engine *engine)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->shutdown(inner);
}

static void *
engine_error(kolk_tls_engine *engine)
{
    kolk_tls_engine *inner = engine_enter(engine);

    return inner->ops->error(inner);
}

static void
engine_free(kolk_tls_engine *engine)
{
    kolk_tls_engine *inner = engine_enter(engine);

    inner->ops->free(inner);
    free(KOLK_CONTAINER_OF(engine, host_engine, engine));
    engines--;
}

static const kolk_tls_engine_ops engine_ops = {
    .feed = engine_feed,
    .feed_eof = engine_feed_eof,
    .output = engine_output,
    .output_size = engine_output_size,
    .handshake = engine_handshake,
    .read = engine_read,
    .write = engine_write,
    .shutdown = engine_shutdown,
    .error = engine_error,
    .free = engine_free,
};

/* ---- a connection ---- */

static struct {
    kolk_protocol protocol;
    kolk_transport *transport;
    host_loop *loop;
    toy_peer *peer;
    host_engine *engine;
    char got[64];
    size_t size;
    int shaken; /* the result, or 1 */
    int error;
    int losses;
    bool raises; /* at data */
} wire;

static void
wire_received(kolk_protocol *protocol, kolk_transport *transport,
              const void *data, size_t size)
{
    CHECK(host_lock_is_mine() && protocol == &wire.protocol
          && transport == wire.transport);
    CHECK(wire.size + size < sizeof wire.got);
    memcpy(wire.got + wire.size, data, size);
    wire.size += size;
    if (wire.raises) {
        wire.loop->raised = HOST_EXCEPTION;
        kolk_loop_break(wire.loop->loop);
    } else {
        kolk_loop_stop(wire.loop->loop);
    }
}

static void
wire_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    (void)protocol;
    CHECK(host_lock_is_mine() && transport == wire.transport);
    CHECK_INT(++wire.losses, 1);
    wire.error = error;
    if (kolk_loop_is_running(wire.loop->loop)) {
        kolk_loop_stop(wire.loop->loop);
    }
}

static void
wire_shaken(kolk_protocol *protocol, kolk_transport *transport, int result)
{
    (void)protocol, (void)transport;
    CHECK(host_lock_is_mine());
    CHECK_INT(wire.shaken, 1);
    wire.shaken = result;
}

static const kolk_protocol_ops wire_ops = {
    .data_received = wire_received,
    .connection_lost = wire_lost,
};

static void
wire_unref(void *unused)
{
    (void)unused;
    kolk_transport_unref(wire.transport);
    wire.transport = NULL;
}

/* A transport with an engine of the language, and its peer, which have shaken
 * hands. */
static void
wire_open(void)
{
    const kolk_tls_start start = {.is_server = true, .done = wire_shaken};
    int fds[2];

    test_socketpair(fds);
    wire.protocol.ops = &wire_ops;
    wire.shaken = 1;
    wire.loop = host_loop_new();
    wire.peer = toy_peer_new(fds[1], false);
    wire.engine = calloc(1, sizeof *wire.engine);
    CHECK(wire.engine != NULL);
    wire.engine->engine.ops = &engine_ops;
    wire.engine->inner = toy_new(true);
    engines++;
    CHECK_OK(kolk_transport_open(wire.loop->loop, fds[0], NULL, &wire.protocol,
                                 &wire.transport));
    test_disown(fds[0]);
    test_later(wire_unref, NULL);
    CHECK_OK(
        kolk_transport_start_tls(wire.transport, &wire.engine->engine, &start));
    toy_peer_shake(wire.peer, wire.loop->loop);
    CHECK_INT(wire.shaken, 0);
}

/* The connection is over; the host goes. */
static void
wire_close(void)
{
    CHECK_INT(wire.losses, 1);
    wire_unref(NULL);
    CHECK_INT(engines, 0);
    host_loop_unref(wire.loop);
    host_end();
}

TEST(an_engine_of_the_language_runs_with_its_lock)
{
    char heard[64];

    host_begin();
    wire_open();
    toy_peer_say(wire.peer, "to the language");
    CHECK_OK(host_run(wire.loop));
    CHECK_STR(wire.got, "to the language");
    CHECK_OK(kolk_transport_write(wire.transport, "and back", 8));
    CHECK_OK(host_run_once(wire.loop));
    CHECK_INT(toy_peer_hear(wire.peer, heard, sizeof heard), 8);
    CHECK_STR(heard, "and back");
    CHECK(wire.engine->calls > 6);
    toy_put(wire.peer->toy, 'C', "", 0);
    (void)toy_peer_send(wire.peer);
    CHECK_OK(host_run(wire.loop));
    CHECK_INT(wire.error, 0);
    wire_close();
}

TEST(an_exception_of_the_engine_travels_untouched)
{
    host_begin();
    wire_open();
    toy_put(wire.peer->toy, 'A', "", 0);
    (void)toy_peer_send(wire.peer);
    CHECK_OK(host_run(wire.loop));
    CHECK_INT(wire.error, TOY_ERROR);
    CHECK_PTR(kolk_transport_tls_error(wire.transport), toy_trouble);
    CHECK_PTR(kolk_transport_tls(wire.transport), &wire.engine->engine);
    wire_close();
}

TEST(after_an_exception_in_a_callback_the_rest_is_still_there)
{
    host_begin();
    wire_open();
    wire.raises = true;
    toy_peer_say(wire.peer, "one ");
    CHECK_INT(host_run(wire.loop), HOST_EXCEPTION);
    toy_peer_say(wire.peer, "two ");
    CHECK_INT(host_run(wire.loop), HOST_EXCEPTION);
    CHECK_STR(wire.got, "one two ");
    wire.raises = false;
    toy_peer_say(wire.peer, "three");
    CHECK_OK(host_run(wire.loop));
    CHECK_STR(wire.got, "one two three");
    kolk_transport_abort(wire.transport);
    CHECK_OK(host_run(wire.loop));
    wire_close();
}

TEST(closing_the_loop_gives_the_connection_back)
{
    host_begin();
    wire_open();
    host_loop_close(wire.loop);
    CHECK_INT(wire.error, -ESHUTDOWN);
    wire_close();
}
