/* serving.h - a server of kolk_serve(), and raw sockets that knock at it.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "peer.h"

/* A server, and what its handlers have seen. */
static struct {
    kolk_server *server;
    int begun, ended;
    int last;   /* what the last handler's reading came to */
    void *seen; /* what a handler's task has of another's */
} hall;

/* Gives the server up at the end of the test, wherever that is. */
static inline void
hall_leave(void *unused)
{
    (void)unused;
    kolk_server_unref(hall.server);
}

/* A socket that is connected to the server. */
static inline int
hall_enter(void)
{
    kolk_address address;
    int fds[1];

    CHECK_INT(kolk_server_fds(hall.server, fds, 1), 1);
    address.size = sizeof address.storage;
    CHECK_INT(
        getsockname(fds[0], (struct sockaddr *)&address.storage, &address.size),
        0);
    return peer_connect(&address);
}

static inline int
echo_serve(kolk_stream *stream, void *arg)
{
    char block[64];
    int n;

    hall.begun++;
    while ((n = kolk_stream_read(stream, block, sizeof block)) > 0) {
        n = kolk_stream_write(stream, block, (size_t)n);
        if (n < 0) {
            break;
        }
    }
    hall.ended++;
    hall.last = n;
    return arg != NULL ? *(int *)arg : n;
}

/* Serves on a free port of this machine; false after a failed check. */
static inline bool
hall_open(const kolk_serve_options *options, kolk_serve_fn *fn, void *arg)
{
    int err = kolk_serve("127.0.0.1", "0", options, fn, arg, &hall.server);

    if (err == 0) {
        test_later(hall_leave, NULL);
    }
    return CHECK_OK(err);
}

/* Lets `count` turns pass. */
static inline void
turns(int count)
{
    while (count-- > 0 && kolk_checkpoint() == 0) {
    }
}
