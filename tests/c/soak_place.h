/* soak_place.h - servers that echo, and clients that leave them in every way.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "soak.h"

#include <netinet/in.h>

/* Addresses of this machine that are served, so that connections which have
 * just been closed do not use up the ports of one. */
enum { SERVED = 8 };

enum ending {
    CLOSED,      /* by the client */
    ABORTED,     /* by the client */
    RESET,       /* by the client: the server reads an error */
    HALF_CLOSED, /* the client reads to the end */
    LEFT,        /* closed by the server */
    LEFT_RESET,  /* reset by the server */
};

struct place {
    kolk_server *servers[SERVED];
    char services[SERVED][8];
    char path[64]; /* abstract */
    size_t path_size;
    bool is_unix;
    kolk_tls_client *tls; /* each connection has TLS; or NULL */
    kolk_tls_context *server_tls;
};

static struct place place;

/* ---- the other side ---- */

/* Closing it will reset the connection. */
static inline void
hurry(kolk_stream *stream)
{
    struct linger linger = {.l_onoff = 1};
    int fd = kolk_transport_fileno(kolk_stream_transport(stream));

    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
}

/* Echoes; at a 'q' or 'r' it leaves. */
static inline int
serve(kolk_stream *stream, void *arg)
{
    char block[64];
    int size;

    (void)arg;
    while ((size = kolk_stream_read(stream, block, sizeof block)) > 0) {
        if (block[0] == 'q' || block[0] == 'r') {
            if (block[0] == 'r') {
                hurry(stream);
            }
            break;
        }
        if (kolk_stream_write(stream, block, (size_t)size) < 0) {
            break;
        }
    }
    return 0;
}

static inline void
serve_end(void *unused)
{
    (void)unused;
    for (int i = 0; i < SERVED; i++) {
        kolk_server_unref(place.servers[i]);
    }
}

static inline bool
serve_tcp(void)
{
    kolk_serve_options options = {.tls = place.server_tls};
    char host[16];

    test_later(serve_end, NULL);
    for (int i = 0; i < SERVED; i++) {
        (void)snprintf(host, sizeof host, "127.0.0.%d", i + 1);
        if (!CHECK_OK(kolk_serve(host, "0", &options, serve, NULL,
                                 &place.servers[i]))) {
            return false;
        }
        (void)snprintf(place.services[i], sizeof place.services[i], "%d",
                       kolk_server_port(place.servers[i]) % 65536);
    }
    return true;
}

static inline bool
serve_unix(void)
{
    int size = snprintf(place.path + 1, sizeof place.path - 1, "kolk-soak-%ld",
                        (long)getpid());

    test_later(serve_end, NULL);
    place.is_unix = true;
    place.path_size = 1 + (size_t)size;
    return CHECK_OK(kolk_serve_unix(place.path, place.path_size, NULL, serve,
                                    NULL, &place.servers[0]));
}

static inline void
serve_stop(void)
{
    for (int i = 0; i < SERVED && place.servers[i] != NULL; i++) {
        kolk_server_close(place.servers[i]);
        CHECK_OK(kolk_server_join(place.servers[i]));
    }
}

/* ---- this side ---- */

static inline int
enter(size_t number, kolk_stream **out)
{
    char host[16];

    if (place.is_unix) {
        return kolk_open_unix_connection(place.path, place.path_size, NULL,
                                         out);
    }
    (void)snprintf(host, sizeof host, "127.0.0.%zu", number % SERVED + 1);
    return kolk_open_connection(host, place.services[number % SERVED], NULL,
                                place.tls, out);
}

/* The server has left: nothing more comes, or it was reset. */
static inline void
read_end(kolk_stream *stream, bool may_be_reset)
{
    char byte;
    int size = kolk_stream_read(stream, &byte, 1);

    CHECK(size == 0 || (may_be_reset && size == -ECONNRESET));
}

static inline void
leave(kolk_stream *stream, enum ending ending)
{
    switch (ending) {
    case RESET:
        hurry(stream);
        kolk_stream_abort(stream);
        return;
    case ABORTED:
        kolk_stream_abort(stream);
        return;
    case HALF_CLOSED:
        CHECK_OK(kolk_stream_write_eof(stream));
        read_end(stream, false);
        break;
    case LEFT:
        CHECK_OK(kolk_stream_write(stream, "q", 1));
        read_end(stream, false);
        break;
    case LEFT_RESET:
        CHECK_OK(kolk_stream_write(stream, "r", 1));
        read_end(stream, true);
        break;
    default:
        break;
    }
    (void)kolk_stream_close(stream); /* of one that was reset, an error */
}

static inline void
visit(size_t number, void *arg)
{
    char block[32] = {0};
    kolk_stream *stream;

    if (!CHECK_OK(enter(number, &stream))) {
        return;
    }
    CHECK_OK(kolk_stream_write(stream, "hello", 5));
    CHECK_OK(kolk_stream_read_exactly(stream, block, 5, NULL));
    CHECK_STR(block, "hello");
    leave(stream, *(enum ending *)arg);
}
