/* server.h - a server's struct, and what its files share.
 *
 * SPDX-License-Identifier: MIT
 *
 * server.c is its life and its connections, server_bind.c its sockets,
 * server_accept.c takes connections from them.
 *
 * The loop holds a reference until the server is closed and its last
 * connection has gone; whoever calls a function of the user's holds one
 * meanwhile: everything may have changed afterwards. Sockets that are closed
 * stay in the ring until the server is freed, so that those who stand at one
 * find it still there.
 */
#pragma once

#include <kolk/server.h>

#include "loop/handle.h"
#include "net/transport.h"
#include "net/unix_socket.h"

/* A socket that it listens on. */
struct kolk__server_socket {
    kolk_link link; /* in kolk_server.sockets */
    kolk_server *server;
    kolk_watch watch;
    int fd;         /* -1: closed */
    unsigned batch; /* how many connections are taken at the next event */
    unsigned full;  /* batches of one in a row that were filled */
    kolk__unix_file file;
};

struct kolk_server {
    kolk__transport_owner owner; /* first: transports know this part only */
    kolk__handle handle;
    kolk_loop *loop; /* a reference */
    const kolk_server_ops *ops;
    void *user;
    /* Frees `user`, with the server; NULL: the user does. */
    void (*fini)(kolk_server *server);
    kolk_server_options options;
    unsigned refs;

    /* connections */
    size_t count;
    size_t tasks; /* that serve them, or have: await/serve.c */

    /* sockets */
    kolk_link sockets;
    bool is_serving;
    bool is_watching; /* the sockets' watches are started */

    /* what keeps it from accepting: server_accept.c */
    kolk_timer timer; /* until it is tried again */
    kolk_time pause;
    bool is_reported; /* since a connection was last accepted */

    /* the end */
    bool is_closed;
    bool is_dropped; /* the loop is closed */
    bool is_told;
    kolk_call call; /* tells that it is closed */
};

/* ---- server.c ---- */

/* A socket for its ring, which owns `fd` from now on, or NULL. */
struct kolk__server_socket *kolk__server_socket_new(kolk_server *server,
                                                    int fd);

/* Closes the socket, and removes its file if that is to be. */
void kolk__server_socket_close(struct kolk__server_socket *self);

/* The same, and frees it. */
void kolk__server_socket_free(struct kolk__server_socket *self);

/* ---- server_accept.c ---- */

/* Prepares what accepting needs. */
void kolk__server_accept_init(kolk_server *server);

/* The function of every socket's watch. */
void kolk__server_ready(kolk_watch *watch);

/* Watches every socket. Returns 0 or an error, and then watches none. */
int kolk__server_watch(kolk_server *server);

/* Watches none. */
void kolk__server_unwatch(kolk_server *server);

/* A connection has gone: goes on accepting if that is what was missing. */
void kolk__server_resume(kolk_server *server);

/* The socket `link` stands in. */
static inline struct kolk__server_socket *
kolk__server_socket_of(kolk_link *link)
{
    return KOLK_CONTAINER_OF(link, struct kolk__server_socket, link);
}
