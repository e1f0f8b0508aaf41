/* server.c - a server's life, and the connections that it counts.
 *
 * SPDX-License-Identifier: MIT
 *
 * See kolk/server.h for what it does and net/server.h for what it is made of.
 * A connection is counted from the moment it was accepted, until its transport
 * says that it has gone or its owner releases it.
 */
#include "net/server.h"

#include <errno.h>

#include "base/sys.h"

enum { SERVER_BACKLOG = 100 };

/* ---- sockets ---- */

struct kolk__server_socket *
kolk__server_socket_new(kolk_server *server, int fd)
{
    struct kolk__server_socket *self = kolk__sys.calloc(1, sizeof *self);

    if (self != NULL) {
        self->server = server;
        self->fd = fd;
        self->batch = 1;
        kolk_watch_init(&self->watch, fd, kolk__server_ready, NULL);
        kolk__ring_push(&server->sockets, &self->link);
    }
    return self;
}

void
kolk__server_socket_close(struct kolk__server_socket *self)
{
    kolk_server *server = self->server;
    bool is_parents = server->loop->generation != kolk__generation;

    if (self->fd < 0) {
        return;
    }
    kolk_watch_stop(server->loop, &self->watch);
    if (!server->options.keep_path && !is_parents) {
        kolk__unix_remove(&self->file);
    }
    kolk_forget(server->loop, self->fd);
    (void)kolk__sys.close(self->fd); /* nothing was written to it */
    self->fd = -1;
}

void
kolk__server_socket_free(struct kolk__server_socket *self)
{
    kolk__server_socket_close(self);
    kolk__ring_unlink(&self->link);
    kolk__sys.free(self);
}

size_t
kolk_server_fds(const kolk_server *server, int *fds, size_t size)
{
    size_t count = 0;

    for (kolk_link *link = server->sockets.next; link != &server->sockets;
         link = link->next) {
        int fd = kolk__server_socket_of(link)->fd;

        if (fd >= 0 && count < size) {
            fds[count] = fd;
        }
        count += fd >= 0;
    }
    return count;
}

int
kolk_server_port(const kolk_server *server)
{
    kolk_address address = {.size = sizeof address.storage};
    int fd = -1;

    if (kolk_server_fds(server, &fd, 1) == 0) {
        return -EBADF;
    }
    if (kolk__sys.getsockname(fd, (struct sockaddr *)&address.storage,
                              &address.size)
        < 0) {
        return -errno;
    }
    return kolk_address_port(&address);
}

/* ---- the end ---- */

/* The last that the user hears. */
static void
server_tell(kolk_server *server)
{
    server->is_told = true;
    kolk__handle_close(&server->handle);
    if (server->ops->closed != NULL) {
        server->ops->closed(server);
    }
    kolk_server_unref(server); /* the loop's */
}

static void
server_run(kolk_call *call)
{
    server_tell(KOLK_CONTAINER_OF(call, kolk_server, call));
}

/* Sees whether it has come to its end. When the loop is closed, that is when
 * the last transport has gone: nobody else can tell any more. */
static void
server_check_end(kolk_server *server)
{
    if (!server->is_closed || server->is_told) {
        return;
    }
    if (server->is_dropped) {
        if (kolk__ring_is_empty(&server->owner.transports)) {
            server_tell(server);
        }
    } else if (server->count == 0 && !kolk_call_is_pending(&server->call)) {
        kolk__ready_push(server->loop, &server->call);
    }
}

/* Closes the sockets. */
static void
server_shut(kolk_server *server)
{
    server->is_closed = true;
    server->is_serving = false;
    server->is_watching = false;
    kolk_timer_stop(server->loop, &server->timer);
    for (kolk_link *link = server->sockets.next; link != &server->sockets;
         link = link->next) {
        kolk__server_socket_close(kolk__server_socket_of(link));
    }
}

void
kolk_server_close(kolk_server *server)
{
    if (server->is_closed) {
        return;
    }
    int err = kolk__loop_check(server->loop, "kolk_server_close()");
    if (err == 0 || err == -KOLK_EFORK) {
        server_shut(server);
        server_check_end(server);
    }
}

static void *
server_node(kolk__handle *handle)
{
    return KOLK_CONTAINER_OF(handle, kolk_server, handle);
}

static void
server_drop(kolk_loop *loop, kolk__handle *handle)
{
    kolk_server *server = KOLK_CONTAINER_OF(handle, kolk_server, handle);

    server_shut(server);
    kolk_call_cancel(loop, &server->call);
    kolk__handle_close(handle);
    kolk__ring_init(&handle->link); /* it is taken out once more at the end */
    server->is_dropped = true;
    server_check_end(server);
}

static const kolk__handle_ops server_handle = {
    .kind = KOLK_NODE_SERVER,
    .node = server_node,
    .drop = server_drop,
};

/* ---- connections ---- */

/* One less. */
static void
server_count_less(kolk_server *server)
{
    if (server->count > 0) {
        server->count--;
    }
    if (server->is_closed) {
        server_check_end(server);
    } else {
        kolk__server_resume(server);
    }
}

static void
server_gone(kolk__transport_owner *owner)
{
    server_count_less(KOLK_CONTAINER_OF(owner, kolk_server, owner));
}

void
kolk_server_release(kolk_server *server)
{
    server_count_less(server);
}

size_t
kolk_server_count(const kolk_server *server)
{
    return server->count;
}

bool
kolk_server_is_serving(const kolk_server *server)
{
    return server->is_serving;
}

/* Calls `fn` for each transport, which may end any of them. */
static void
server_each(kolk_server *server, void (*fn)(kolk_transport *transport))
{
    kolk_link todo;

    kolk__ring_init(&todo);
    kolk__ring_splice(&todo, &server->owner.transports);
    (void)kolk_server_ref(server);
    while (!kolk__ring_is_empty(&todo)) {
        kolk_transport *transport =
            KOLK_CONTAINER_OF(todo.next, kolk_transport, sibling);

        kolk__ring_unlink(&transport->sibling);
        kolk__ring_push(&server->owner.transports, &transport->sibling);
        fn(transport);
    }
    kolk_server_unref(server);
}

void
kolk_server_close_clients(kolk_server *server)
{
    server_each(server, kolk_transport_close);
}

void
kolk_server_abort_clients(kolk_server *server)
{
    server_each(server, kolk_transport_abort);
}

/* ---- life ---- */

int
kolk_server_new(kolk_loop *loop, const kolk_server_options *options,
                const kolk_server_ops *ops, void *owner, kolk_server **out)
{
    static const kolk_server_options nothing_special;
    int err = kolk__loop_check(loop, "kolk_server_new()");

    if (err < 0) {
        return err;
    }
    kolk_server *server = kolk__sys.calloc(1, sizeof *server);
    if (server == NULL) {
        return -ENOMEM;
    }
    server->options = options != NULL ? *options : nothing_special;
    if (server->options.backlog <= 0) {
        server->options.backlog = SERVER_BACKLOG;
    }
    server->ops = ops;
    server->user = owner;
    server->refs = 2; /* the user's and the loop's */
    server->loop = loop;
    server->owner.gone = server_gone;
    kolk__ring_init(&server->owner.transports);
    kolk__ring_init(&server->sockets);
    kolk__server_accept_init(server);
    kolk_call_init(&server->call, server_run, NULL);
    kolk__loop_ref(loop);
    kolk__handle_open(loop, &server->handle, &server_handle);
    *out = server;
    return 0;
}

static void
server_free(kolk_server *server)
{
    while (!kolk__ring_is_empty(&server->sockets)) {
        kolk__server_socket_free(kolk__server_socket_of(server->sockets.next));
    }
    if (server->fini != NULL) {
        server->fini(server);
    }
    kolk__loop_unref(server->loop);
    kolk__sys.free(server);
}

kolk_server *
kolk_server_ref(kolk_server *server)
{
    server->refs++;
    return server;
}

/* Does nobody need it but the loop? */
static bool
server_is_idle(const kolk_server *server)
{
    return server->refs == 1 && !server->is_serving && !server->is_closed
           && server->count == 0;
}

void
kolk_server_unref(kolk_server *server)
{
    if (server == NULL) {
        return;
    }
    server->refs--;
    if (server_is_idle(server)) {
        kolk__handle_close(&server->handle);
        server->refs--;
    }
    if (server->refs == 0) {
        server_free(server);
    }
}

void *
kolk_server_owner(const kolk_server *server)
{
    return server->user;
}

bool
kolk_server_has_ops(const kolk_server *server, const kolk_server_ops *ops)
{
    return server->ops == ops;
}

kolk_loop *
kolk_server_loop(const kolk_server *server)
{
    return server->loop;
}
