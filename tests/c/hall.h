/* hall.h - a server that remembers who came in, for tests.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each connection is a guest: kept until hall_leave() closes it, or given to a
 * transport whose protocol throws away what comes. Halls are static, because a
 * server tells that it is closed when its loop is, at the end of a test.
 */
#pragma once

#include "kit_sys.h"
#include "places.h"

#include <kolk/server.h>

enum { HALL_GUESTS_MAX = 512, HALLS_MAX = 4 };

struct hall {
    kolk_server *server; /* a reference, or NULL */
    kolk_loop *loop;
    int guests[HALL_GUESTS_MAX]; /* their sockets; -1: left */
    size_t came;
    kolk_address peer; /* of the last one */
    int closes;
    int lost; /* transports */

    /* what each guest does to it */
    bool opens;       /* becomes a transport */
    bool stops;       /* the loop */
    bool breaks;      /* the run */
    size_t closes_at; /* closes the server when so many have come */
    bool unrefs;      /* the reference, when it closes */
    void (*on_lost)(struct hall *self);
};

static struct hall halls[HALLS_MAX];

static inline void hall_lost(kolk_protocol *protocol, kolk_transport *transport,
                             int error);

static inline void
hall_data(kolk_protocol *protocol, kolk_transport *transport, const void *data,
          size_t size)
{
    (void)protocol, (void)transport, (void)data, (void)size;
}

static const kolk_protocol_ops hall_protocol_ops = {
    .data_received = hall_data, .connection_lost = hall_lost};

/* A guest's protocol knows the hall by its own address. */
static struct {
    kolk_protocol protocol;
    struct hall *hall;
} hall_protocols[HALLS_MAX];

static inline void
hall_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    for (int i = 0; i < HALLS_MAX; i++) {
        struct hall *hall = &halls[i];

        if (protocol == &hall_protocols[i].protocol) {
            (void)transport, (void)error;
            hall->lost++;
            if (hall->on_lost != NULL) {
                hall->on_lost(hall);
            }
        }
    }
}

/* Gives the connection to a transport, which keeps itself alive. */
static inline void
hall_open(struct hall *self, kolk_server *server, int fd)
{
    kolk_transport_options options = {.server = server};
    kolk_protocol *protocol = &hall_protocols[self - halls].protocol;
    kolk_transport *transport;

    protocol->ops = &hall_protocol_ops;
    int err =
        kolk_transport_open(self->loop, fd, &options, protocol, &transport);
    if (err < 0) {
        CHECK_OK(err);
        (void)kolk__sys.close(fd);
        kolk_server_release(server);
        return;
    }
    kolk_transport_unref(transport);
}

static inline void
hall_accepted(kolk_server *server, int fd, const kolk_address *peer)
{
    struct hall *self = kolk_server_owner(server);

    self->peer = *peer;
    if (self->opens) {
        self->guests[self->came++ % HALL_GUESTS_MAX] = -1;
        hall_open(self, server, fd);
    } else {
        self->guests[self->came++ % HALL_GUESTS_MAX] = fd;
    }
    if (self->closes_at != 0 && self->came == self->closes_at) {
        kolk_server_close(server);
        if (self->unrefs) {
            self->server = NULL;
            kolk_server_unref(server);
        }
    }
    if (self->stops) {
        kolk_loop_stop(self->loop);
    }
    if (self->breaks) {
        kolk_loop_break(self->loop);
    }
}

static inline void
hall_closed(kolk_server *server)
{
    struct hall *self = kolk_server_owner(server);

    CHECK(!kolk_server_is_serving(server));
    self->closes++;
}

static const kolk_server_ops hall_ops = {.accepted = hall_accepted,
                                         .closed = hall_closed};

/* Guest number `i` leaves. */
static inline void
hall_leave(struct hall *self, size_t i)
{
    if (i < self->came && self->guests[i] >= 0) {
        (void)kolk__sys.close(self->guests[i]);
        self->guests[i] = -1;
        kolk_server_release(self->server);
    }
}

/* At the end of the test, before its loop is closed. */
static inline void
hall_fini(void *hall)
{
    struct hall *self = hall;

    for (size_t i = 0; i < HALL_GUESTS_MAX && i < self->came; i++) {
        if (self->guests[i] >= 0) {
            (void)kolk__sys.close(self->guests[i]);
        }
    }
    kolk_server_unref(self->server);
    self->server = NULL;
}

/* Hall number `i`, with a server without sockets. */
static inline struct hall *
hall_new(int i, kolk_loop *loop, const kolk_server_options *options)
{
    struct hall *self = &halls[i];

    *self = (struct hall){.loop = loop};
    CHECK_OK(kolk_server_new(loop, options, &hall_ops, self, &self->server));
    test_later(hall_fini, self);
    return self;
}

/* Its server, listening on a port of `host`, whose address is returned. */
static inline kolk_address
hall_listen(struct hall *self, const char *host)
{
    kolk_address address = place_parse(host, 0);
    int fd = kolk_server_bind(self->server, &address);

    CHECK_OK(fd);
    CHECK_OK(kolk_server_start(self->server));
    CHECK_INT(
        getsockname(fd, (struct sockaddr *)&address.storage, &address.size), 0);
    return address;
}

/* Somebody knocks; returns the socket, closed at the end of the test. */
static inline int
hall_knock(const kolk_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    test_own(fd);
    CHECK_INT(
        connect(fd, (const struct sockaddr *)&address->storage, address->size),
        0);
    return fd;
}

/* Does anybody listen there? */
static inline bool
hall_answers(const kolk_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    int result =
        connect(fd, (const struct sockaddr *)&address->storage, address->size);
    (void)close(fd);
    return result == 0;
}

/* Runs turns until so many have come, or nothing happens any more. */
static inline void
hall_wait(struct hall *self, size_t came)
{
    for (int i = 0; self->came < came && i < 1000 && kit_failures() == 0; i++) {
        CHECK_OK(kolk_run_once(self->loop));
    }
    CHECK_INT(self->came, came);
}
