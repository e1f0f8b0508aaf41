/* secure.h - a transport with TLS by toy engines, and its other end.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "talker.h"
#include "toy.h"

struct secure {
    kolk_loop *loop;
    struct talker *talker; /* its trace has 'h' where the handshake ended */
    toy *toy;              /* of the transport */
    toy_peer *peer;
    kolk_tls_start start; /* what it begins with */
};

/* What `done` was told. */
static struct {
    int calls;
    int result;
} secure_done;

static inline void
secure_note(kolk_protocol *protocol, kolk_transport *transport, int result)
{
    struct talker *talker = talker_of(protocol);

    CHECK(transport == talker->transport);
    secure_done.calls++;
    secure_done.result = result;
    CHECK_INT(secure_done.calls, 1);
    talker_note(talker, 'h');
}

/* The connection ends before what belongs to it. */
static inline void
secure_fini(void *object)
{
    struct secure *self = object;
    struct talker *talker = self->talker;

    talker->on = NULL;
    if (talker->transport != NULL && talker->losses == 0) {
        kolk_transport_abort(talker->transport);
        for (int i = 0; i < 10 && talker->losses == 0; i++) {
            (void)!kolk_run_once(self->loop);
        }
    }
    free(self);
}

/* A transport in plain text, with a peer. The engine is the test's until it is
 * started. */
static inline struct secure *
secure_open(kolk_loop *loop, bool is_server)
{
    struct secure *self = calloc(1, sizeof *self);
    int fds[2];

    if (self == NULL) {
        abort();
    }
    self->loop = loop;
    self->talker = talker_new(loop);
    test_later(secure_fini, self);
    test_socketpair(fds);
    self->peer = toy_peer_new(fds[1], !is_server);
    self->start.is_server = is_server;
    self->start.done = secure_note;
    CHECK_OK(talker_open(self->talker, fds[0], NULL));
    return self;
}

/* Starts TLS. */
static inline int
secure_start(struct secure *self)
{
    toy *engine = toy_new(self->start.is_server);
    int err = kolk_transport_start_tls(self->talker->transport, &engine->engine,
                                       &self->start);

    if (err < 0) {
        engine->engine.ops->free(&engine->engine);
    } else {
        self->toy = engine;
    }
    return err;
}

/* One that has shaken hands. */
static inline struct secure *
secure_new(kolk_loop *loop, bool is_server)
{
    struct secure *self = secure_open(loop, is_server);

    CHECK_OK(secure_start(self));
    toy_peer_shake(self->peer, loop);
    CHECK_STR(self->talker->trace, "h");
    CHECK_INT(secure_done.result, 0);
    return self;
}

static inline int
secure_write(struct secure *self, const char *text)
{
    return kolk_transport_write(self->talker->transport, text, strlen(text));
}

/* For loops that wait for something: false, and the test ends, if the
 * connection is lost or there is no end to it. */
static inline bool
secure_goes_on(const struct secure *self)
{
    static int steps;

    return CHECK_INT(self->talker->losses, 0) && CHECK(++steps < 100000);
}

/* What the peer has heard, as a string; or what came instead. */
static inline const char *
secure_heard(struct secure *self)
{
    static char text[4096];
    int result = toy_peer_hear(self->peer, text, sizeof text);

    return result > 0                   ? text
           : result == 0                ? "(end)"
           : result == -EAGAIN          ? ""
           : result == -KOLK_ETLS       ? "(bad)"
           : result == TOY_ERROR        ? "(alert)"
           : result == -KOLK_ETRUNCATED ? "(cut)"
                                        : "(error)";
}
