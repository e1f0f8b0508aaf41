/* serve.c - servers with a task for each connection. See kolk/server.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * The server counts connections, which are transports; this file counts their
 * tasks, which may go on for a while after, and which its limit is for as well:
 * a peer that resets its connections must not get one task after the other. A
 * task holds its server, so the
 * last to leave finds everything still there. Connections stand in a ring by a
 * struct on their task's stack: what ends the server early goes through it.
 */
#include <errno.h>
#include <netinet/in.h>

#include <kolk/sync.h> /* joiners */

#include "await/stream.h"
#include "base/sys.h"
#include "net/server.h"

/* What a server of kolk_serve() has beside itself; it is the server's user. */
struct serve {
    kolk_serve_options options;
    kolk_serve_fn *fn;
    void *arg;
    struct kolk__context *context; /* of whoever began it */
    kolk_link connections;         /* tasks that have begun */
    bool is_closed;                /* and no connection is left */
    bool is_ending;                /* whoever has not begun ends at once */
    kolk_waiters joiners;
};

/* A connection, copied onto its task's stack. */
struct serve_connection {
    kolk_server *server; /* a reference */
    kolk_stream *stream;
    kolk_task *task;
    kolk_link link; /* in serve.connections */
};

static struct serve *
serve_of(const kolk_server *server)
{
    return server->user;
}

static void
serve_wake_joiners(kolk_server *server)
{
    struct serve *serve = serve_of(server);

    while (serve->is_closed && server->tasks == 0
           && serve->joiners.ring.next != NULL
           && kolk__waiters_wake_first(&serve->joiners.ring, 0) != NULL) {
    }
}

/* ---- a connection ---- */

/* Is `result` an affair of this connection only, as a peer that has gone is? */
static bool
connection_is_excused(const kolk_stream *stream, int result)
{
    static const int excuses[] = {-ECANCELED,   -ECONNRESET,     -EPIPE,
                                  -ESHUTDOWN,   -KOLK_EOF,       -KOLK_ETLS,
                                  -KOLK_ELIMIT, -KOLK_ETRUNCATED};

    for (size_t i = 0; i < sizeof excuses / sizeof *excuses; i++) {
        if (result == excuses[i]) {
            return true;
        }
    }
    return result >= 0 || result == kolk__stream_error(stream);
}

static int
connection_serve(const struct serve *serve, kolk_stream *stream)
{
    if (serve->is_ending) {
        return -ECANCELED;
    }
    if (serve->options.tls != NULL) {
        kolk_tls_start start = {.handshake_timeout =
                                    serve->options.handshake_timeout};
        int err =
            kolk_stream_start_tls_server(stream, serve->options.tls, &start);

        if (err < 0) {
            return err;
        }
    }
    return serve->fn(stream, serve->arg);
}

/* Gives `coro`, which the loop has spawned, the values of whoever serves. */
static void
connection_inherit(const struct serve *serve, kolk__coro *coro)
{
    struct kolk__context *context = coro->context;

    coro->context = kolk__context_ref(serve->context);
    kolk__context_unref(context);
}

/* The body of a connection's task. */
static int
connection_run(void *arg)
{
    struct serve_connection *self = arg;
    kolk_server *server = self->server;
    struct serve *serve = serve_of(server);

    connection_inherit(serve, kolk__current_coro());
    self->task = kolk_current_task();
    kolk__ring_push(&serve->connections, &self->link);
    int result = connection_serve(serve, self->stream);
    bool is_excused = connection_is_excused(self->stream, result);
    /* What could not be sent is the peer's loss, who has gone. */
    (void)kolk_stream_close(self->stream);
    kolk__ring_unlink(&self->link);
    server->tasks--;
    serve_wake_joiners(server);
    kolk__server_resume(server);
    kolk_server_unref(server);
    return is_excused ? 0 : result;
}

/* Gives `stream` to a task of its own. */
static int
connection_spawn(kolk_server *server, kolk_stream *stream)
{
    struct serve *serve = serve_of(server);
    struct serve_connection connection = {.server = server, .stream = stream};
    kolk_spawn_options options = {.name = "connection",
                                  .stack_size = serve->options.stack_size,
                                  .arg_size = sizeof connection};
    int err = kolk_spawn_with(server->loop, &options, connection_run,
                              &connection, NULL);

    if (err == 0) {
        (void)kolk_server_ref(server);
        server->tasks++;
    }
    return err;
}

static void
serve_accepted(kolk_server *server, int fd, const kolk_address *peer)
{
    const struct serve *serve = serve_of(server);
    kolk_stream_options options = {.limit = serve->options.stream_limit,
                                   .transport.server = server};
    kolk_stream *stream;

    (void)peer;
    int err = kolk__stream_new(server->loop, fd, &options, &stream);
    if (err < 0) {
        (void)kolk__sys.close(fd); /* nothing was written to it */
        kolk_server_release(server);
    } else {
        err = connection_spawn(server, stream);
        if (err < 0) {
            kolk_stream_abort(stream);
        }
    }
    if (err < 0) {
        kolk__report(server->loop, err, NULL, "a connection is not served: %s",
                     kolk_strerror(err));
    }
}

static void
serve_closed(kolk_server *server)
{
    serve_of(server)->is_closed = true;
    serve_wake_joiners(server);
}

static const kolk_server_ops serve_ops = {
    .accepted = serve_accepted,
    .closed = serve_closed,
};

/* ---- beginning ---- */

static void
serve_fini(kolk_server *server)
{
    struct serve *serve = serve_of(server);

    kolk__context_unref(serve->context);
    kolk_tls_context_unref(serve->options.tls);
    kolk__sys.free(serve);
}

static int
serve_new(const kolk_serve_options *options, kolk_serve_fn *fn, void *arg,
          kolk_server **out)
{
    static const kolk_serve_options nothing_special;
    kolk__coro *coro = kolk__coro_or_misuse("serving outside a task");
    struct serve *serve;

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    serve = kolk__sys.calloc(1, sizeof *serve);
    if (serve == NULL) {
        return -ENOMEM;
    }
    serve->options = options != NULL ? *options : nothing_special;
    serve->fn = fn;
    serve->arg = arg;
    kolk__ring_init(&serve->connections);
    int err = kolk_server_new(coro->loop, &serve->options.server, &serve_ops,
                              serve, out);
    if (err < 0) {
        kolk__sys.free(serve);
        return err;
    }
    if (serve->options.tls != NULL) {
        (void)kolk_tls_context_ref(serve->options.tls);
    }
    serve->context = kolk__context_ref(coro->context);
    (*out)->fini = serve_fini;
    return 0;
}

/* Listens, unless that is to come later. On error the server is freed. */
static int
serve_start(kolk_server *server, int err, kolk_server **out)
{
    if (err >= 0 && !serve_of(server)->options.server.not_started) {
        err = kolk_server_start(server);
    }
    if (err < 0) {
        kolk_server_unref(server);
        return err;
    }
    *out = server;
    return 0;
}

static void
serve_set_port(kolk_address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons(port);
    } else if (address->storage.ss_family == AF_INET) {
        ((struct sockaddr_in *)&address->storage)->sin_port = htons(port);
    }
}

/* Binds to one of several addresses. Where any port will do, those that follow
 * get the first one's if it is free there, so that a name has one port. */
static int
serve_bind(kolk_server *server, const struct addrinfo *info)
{
    kolk_address address;
    int err = kolk_address_copy(info->ai_addr, info->ai_addrlen, &address);
    int port = kolk_server_port(server);

    if (err < 0) {
        return err;
    }
    if (port > 0 && kolk_address_port(&address) == 0) {
        serve_set_port(&address, (uint16_t)port);
        err = kolk_server_bind(server, &address);
        if (err != -EADDRINUSE) {
            return err;
        }
        serve_set_port(&address, 0);
    }
    return kolk_server_bind(server, &address);
}

/* Binds to every address that this machine has of them. */
static int
serve_bind_all(kolk_server *server, const struct addrinfo *info)
{
    int result = -EADDRNOTAVAIL;

    for (; info != NULL; info = info->ai_next) {
        int err = serve_bind(server, info);

        if (err >= 0) {
            result = 0;
        } else if (err != -EADDRNOTAVAIL && err != -EAFNOSUPPORT) {
            return err;
        }
    }
    return result;
}

int
kolk_serve(const char *host, const char *service,
           const kolk_serve_options *options, kolk_serve_fn *fn, void *arg,
           kolk_server **out)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    kolk_server *server = NULL;

    if (options != NULL) {
        hints.ai_family = options->server.family;
    }
    int err = kolk_getaddrinfo(host, service, &hints, &found);
    if (err < 0) {
        return err;
    }
    err = serve_new(options, fn, arg, &server);
    if (err == 0) {
        err = serve_start(server, serve_bind_all(server, found), out);
    }
    kolk__sys.freeaddrinfo(found);
    return err;
}

int
kolk_serve_unix(const char *path, size_t size,
                const kolk_serve_options *options, kolk_serve_fn *fn, void *arg,
                kolk_server **out)
{
    kolk_address address;
    kolk_server *server = NULL;
    int err = kolk_address_unix(path, size, &address);

    if (err < 0) {
        return err;
    }
    err = serve_new(options, fn, arg, &server);
    if (err < 0) {
        return err;
    }
    return serve_start(server, kolk_server_bind(server, &address), out);
}

/* ---- ending ---- */

/* Cancels the tasks of the connections that are left, and aborts these. */
static void
serve_end(kolk_server *server)
{
    struct serve *serve = serve_of(server);

    serve->is_ending = true;
    for (kolk_link *link = serve->connections.next; link != &serve->connections;
         link = link->next) {
        struct serve_connection *connection =
            KOLK_CONTAINER_OF(link, struct serve_connection, link);

        (void)kolk_task_cancel(connection->task); /* it has not ended */
    }
    kolk_server_abort_clients(server);
}

static int
serve_wait(kolk_server *server, kolk__coro *coro, kolk__interrupt_fn *interrupt)
{
    struct serve *serve = serve_of(server);
    int result = 0;

    while ((!serve->is_closed || server->tasks > 0) && result == 0) {
        kolk__waiters_push(&serve->joiners.ring, coro);
        result = kolk__park(coro, "server", interrupt, NULL);
    }
    return result;
}

/* Waits for the end. Cancelled, it makes one; `closes`: also of a server that
 * is not closed. */
static int
serve_join(kolk_server *server, const char *what, bool closes)
{
    kolk__coro *coro = kolk__coro_or_misuse(what);

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (server->ops != &serve_ops) {
        return kolk__misuse(coro->loop, what);
    }
    (void)kolk_server_ref(server);
    bool is_over = serve_of(server)->is_closed && server->tasks == 0;
    int result = is_over ? 0
                 : coro->is_cancelled
                     ? kolk__wait_refused(coro)
                     : serve_wait(server, coro, kolk__interrupt_wait);
    if (result < 0 && (closes || server->is_closed)) {
        kolk_server_close(server);
        serve_end(server);
        (void)serve_wait(server, coro, NULL); /* not to be interrupted */
    }
    kolk_server_unref(server);
    return result;
}

int
kolk_serve_forever(kolk_server *server)
{
    return serve_join(server, "kolk_serve_forever() without kolk_serve()",
                      true);
}

int
kolk_server_join(kolk_server *server)
{
    return serve_join(server, "kolk_server_join() without kolk_serve()", false);
}
