/* server_accept.c - taking connections, and what keeps a server from it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A socket's watch is epoll's and level-triggered, so nothing is lost by
 * leaving connections for the next turn. At each event a batch of them is
 * taken. A batch that the queue has filled makes the next one twice as large,
 * an empty queue makes it as large as what was there. A batch of one has to be
 * filled several times in a row: so a server that gets one connection at a time
 * makes one call for it, and only now and then a second one to hear that there
 * are no more. A flood leaves every turn some room for the rest.
 *
 * Out of descriptors or memory, connections stay in the kernel's queue. It is
 * said once, until one was accepted again, and accepting is tried again after a
 * pause, or as soon as a connection of this server's has gone. At the limit of
 * connections the sockets are not watched once an event has shown that somebody
 * waits.
 */
#include <errno.h>

#include "base/sys.h"
#include "net/server.h"

enum {
    ACCEPT_BATCH_MAX = 100,
    ACCEPT_FULL = 8, /* batches of one in a row, before they grow */
    ACCEPT_PAUSE_MS = 100,
    ACCEPT_PAUSE_MAX_MS = 1000,
};

/* ---- watching ---- */

void
kolk__server_unwatch(kolk_server *server)
{
    server->is_watching = false;
    for (kolk_link *link = server->sockets.next; link != &server->sockets;
         link = link->next) {
        kolk_watch_stop(server->loop, &kolk__server_socket_of(link)->watch);
    }
}

int
kolk__server_watch(kolk_server *server)
{
    for (kolk_link *link = server->sockets.next; link != &server->sockets;
         link = link->next) {
        kolk_watch *watch = &kolk__server_socket_of(link)->watch;
        int err = kolk_watch_start(server->loop, watch, KOLK_READABLE);

        if (err < 0) {
            kolk__server_unwatch(server);
            return err;
        }
    }
    server->is_watching = true;
    return 0;
}

/* ---- what keeps it from accepting ---- */

/* May it take one more connection? */
static bool
accept_is_allowed(const kolk_server *server)
{
    size_t taken =
        server->count > server->tasks ? server->count : server->tasks;

    return server->is_serving
           && (server->options.limit == 0 || taken < server->options.limit);
}

/* Accepting is not possible just now: waits, and says so once. */
static void
accept_failed(kolk_server *server, int err)
{
    const kolk_time longest = KOLK_MS(ACCEPT_PAUSE_MAX_MS);
    kolk_time pause = server->pause;

    kolk__server_unwatch(server);
    server->pause = 2 * pause < longest ? 2 * pause : longest;
    /* In the loop's own thread, starting a timer cannot fail. */
    (void)!kolk_call_later(server->loop, &server->timer, pause);
    if (!server->is_reported) {
        server->is_reported = true;
        kolk__report(server->loop, err, NULL,
                     "a server cannot accept connections, and lets them wait");
    }
}

void
kolk__server_resume(kolk_server *server)
{
    if (server->is_watching || !accept_is_allowed(server)) {
        return;
    }
    kolk_timer_stop(server->loop, &server->timer);
    int err = kolk__server_watch(server);
    if (err < 0) {
        accept_failed(server, err);
    }
}

static void
accept_pause_over(kolk_timer *timer)
{
    kolk__server_resume(KOLK_CONTAINER_OF(timer, kolk_server, timer));
}

void
kolk__server_accept_init(kolk_server *server)
{
    server->pause = KOLK_MS(ACCEPT_PAUSE_MS);
    kolk_timer_init(&server->timer, accept_pause_over, NULL);
}

/* ---- taking connections ---- */

/* Has only this connection failed, and not the accepting of others? Linux hands
 * on what went wrong with it in the network before. */
static bool
accept_is_skipped(int err)
{
    switch (-err) {
    case EINTR:
    case ECONNABORTED:
    case EPERM: /* by a firewall */
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* Takes one connection. Returns its descriptor or an error. */
static inline int
accept_one(const struct kolk__server_socket *self, kolk_address *peer)
{
    peer->size = sizeof peer->storage;
    int fd = kolk__sys.accept4(self->fd, (struct sockaddr *)&peer->storage,
                               &peer->size, SOCK_NONBLOCK | SOCK_CLOEXEC);

    return KOLK_LIKELY(fd >= 0) ? fd : -errno;
}

/* Hands a connection over. */
static void
accept_give(kolk_server *server, int fd, const kolk_address *peer)
{
    kolk__descriptor_reset(server->loop, fd);
    server->is_reported = false;
    server->pause = KOLK_MS(ACCEPT_PAUSE_MS);
    server->count++;
    server->ops->accepted(server, fd, peer);
}

/* Ends a batch early, after so many connections. The kernel looks for a free
 * descriptor first, and for a connection then. So only at the first call, which
 * an event has caused, does it mean anything that there is none; if somebody
 * waits, another event follows. */
static void
accept_stop(struct kolk__server_socket *self, unsigned taken, int err)
{
    self->batch = taken > 0 ? taken : 1;
    self->full = 0;
    if (taken == 0 && err != -EAGAIN) {
        accept_failed(self->server, err);
    }
}

/* Takes up to a batch of connections. */
static void
accept_batch(struct kolk__server_socket *self)
{
    kolk_server *server = self->server;
    unsigned most = (unsigned)server->options.backlog;
    unsigned taken = 0;

    most = most < ACCEPT_BATCH_MAX ? most : ACCEPT_BATCH_MAX;
    while (taken < self->batch) {
        kolk_address peer;
        int fd = accept_one(self, &peer);

        if (fd >= 0) {
            accept_give(server, fd, &peer);
        } else if (!accept_is_skipped(fd)) {
            accept_stop(self, taken, fd);
            return;
        }
        taken++;
        /* The user's function may have closed the server, or broken the run
         * off. */
        if (!accept_is_allowed(server) || server->loop->broken) {
            return;
        }
    }
    if (taken > 1 || ++self->full >= ACCEPT_FULL) {
        self->batch = 2 * taken < most ? 2 * taken : most;
    }
}

void
kolk__server_ready(kolk_watch *watch)
{
    struct kolk__server_socket *self =
        KOLK_CONTAINER_OF(watch, struct kolk__server_socket, watch);
    kolk_server *server = self->server;

    if (!accept_is_allowed(server)) {
        kolk__server_unwatch(server); /* until a connection goes */
        return;
    }
    (void)kolk_server_ref(server);
    accept_batch(self);
    kolk_server_unref(server);
}
