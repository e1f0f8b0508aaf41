/* host_lend.c - objects in the hands of a loop. See host.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each callback of a node finds the object around it and goes through
 * host_ran(), each `dropped` through host_dropped(): there the reference that
 * the loop had comes back.
 */
#include "host_heap.h"

/* The loop's reference has come back. */
static void
host_return(host_object *self)
{
    self->is_lent = false;
    host_unref(self);
}

/* A start returned `err`: does the loop hold one more reference? */
static int
host_lend(host_object *self, int err)
{
    if (err == 0 && !self->is_lent) {
        self->is_lent = true;
        host_ref(self);
    }
    return err;
}

/* The loop runs `self`. */
static void
host_ran(host_object *self)
{
    CHECK(host_lock_is_mine() && self->is_lent && self->loop->loop != NULL);
    host_ref(self); /* against what the function does */
    if (self->kind != HOST_READER && self->kind != HOST_SIGNAL
        && self->kind != HOST_SERVER && self->kind != HOST_SOCKET
        && self->kind != HOST_TRANSPORT) {
        host_return(self);
    }
    self->runs++;
    host_note(self->name);
    int err = self->fn != NULL ? self->fn(self) : 0;
    if (err < 0) {
        self->loop->raised = err;
        kolk_loop_break(self->loop->loop);
    }
    host_unref(self);
}

/* The loop is closed and gives `self` back. */
static void
host_dropped(host_object *self)
{
    CHECK(host_lock_is_mine() && self->is_lent);
    host_ref(self);
    host_return(self);
    self->drops++;
    if (self->on_drop != NULL) {
        CHECK_OK(self->on_drop(self));
    }
    host_unref(self);
}

/* ---- nodes, and the objects around them ---- */

#define HOST_NODE(kind, member)                                                \
    static void host_##kind##_ran(kolk_##member *node)                         \
    {                                                                          \
        host_ran(&KOLK_CONTAINER_OF(node, host_##kind, member)->object);       \
    }                                                                          \
    static void host_##kind##_dropped(kolk_##member *node)                     \
    {                                                                          \
        host_dropped(&KOLK_CONTAINER_OF(node, host_##kind, member)->object);   \
    }                                                                          \
    kolk_##member *host_##member##_of(host_object *self)                       \
    {                                                                          \
        return &((host_##kind *)self)->member;                                 \
    }

HOST_NODE(handle, call)
HOST_NODE(timer, timer)
HOST_NODE(reader, watch)
HOST_NODE(op, op)
HOST_NODE(signal, signal)
HOST_NODE(lookup, lookup)
HOST_NODE(connector, connector)

static void
host_server_accepted(kolk_server *server, int fd, const kolk_address *peer)
{
    host_server *self = kolk_server_owner(server);

    (void)peer;
    self->fd = fd;
    host_ran(&self->object);
}

static void
host_server_closed(kolk_server *server)
{
    host_server *self = kolk_server_owner(server);

    self->server = NULL;
    host_dropped(&self->object);
}

static const kolk_server_ops host_server_ops = {
    .accepted = host_server_accepted, .closed = host_server_closed};

/* ---- sockets, whose protocol is in the object ---- */

static host_object *
host_object_of_protocol(kolk_datagram_protocol *protocol)
{
    return &KOLK_CONTAINER_OF(protocol, host_socket, protocol)->object;
}

static void
host_socket_received(kolk_datagram_protocol *protocol, kolk_datagram *datagram,
                     const void *data, size_t size, const kolk_address *from)
{
    (void)datagram, (void)data, (void)size, (void)from;
    host_ran(host_object_of_protocol(protocol));
}

static void
host_socket_failed(kolk_datagram_protocol *protocol, kolk_datagram *datagram,
                   int error)
{
    host_socket *self = KOLK_CONTAINER_OF(protocol, host_socket, protocol);

    (void)datagram;
    self->error = error;
    host_ran(&self->object);
}

static void
host_socket_lost(kolk_datagram_protocol *protocol, kolk_datagram *datagram,
                 int error)
{
    host_socket *self = KOLK_CONTAINER_OF(protocol, host_socket, protocol);

    (void)datagram;
    self->error = error;
    host_dropped(&self->object);
}

static const kolk_datagram_protocol_ops host_socket_ops = {
    .datagram_received = host_socket_received,
    .error_received = host_socket_failed,
    .connection_lost = host_socket_lost,
};

kolk_datagram *
host_datagram_of(host_object *self)
{
    return ((host_socket *)self)->datagram;
}

int
host_open(host_object *socket, const kolk_datagram_options *options)
{
    host_socket *self = (host_socket *)socket;

    return host_lend(socket,
                     kolk_datagram_open(socket->loop->loop, options,
                                        &self->protocol, &self->datagram));
}

static host_object *
host_object_of_datagram(const kolk_datagram *datagram)
{
    kolk_datagram_protocol *protocol = kolk_datagram_protocol_of(datagram);

    return protocol != NULL && protocol->ops == &host_socket_ops
               ? host_object_of_protocol(protocol)
               : NULL;
}

/* ---- connections ---- */

static void
host_transport_received(kolk_protocol *protocol, kolk_transport *transport,
                        const void *data, size_t size)
{
    host_transport *self =
        KOLK_CONTAINER_OF(protocol, host_transport, protocol);

    (void)transport, (void)data;
    self->received += size;
    host_ran(&self->object);
}

static void
host_transport_lost(kolk_protocol *protocol, kolk_transport *transport,
                    int error)
{
    host_transport *self =
        KOLK_CONTAINER_OF(protocol, host_transport, protocol);

    (void)transport;
    self->error = error;
    host_dropped(&self->object);
}

static const kolk_protocol_ops host_transport_ops = {
    .data_received = host_transport_received,
    .connection_lost = host_transport_lost,
};

kolk_transport *
host_transport_of(host_object *self)
{
    return ((host_transport *)self)->transport;
}

int
host_open_fd(host_object *transport, int fd)
{
    host_transport *self = (host_transport *)transport;

    return host_lend(transport,
                     kolk_transport_open(transport->loop->loop, fd, NULL,
                                         &self->protocol, &self->transport));
}

static host_object *
host_object_of_transport(const kolk_transport *transport)
{
    kolk_protocol *protocol = kolk_transport_protocol(transport);

    return protocol != NULL && protocol->ops == &host_transport_ops
               ? &KOLK_CONTAINER_OF(protocol, host_transport, protocol)->object
               : NULL;
}

/* ---- children ---- */

static void
host_child_exited(kolk_process *process)
{
    host_ran(&((host_child *)kolk_process_owner(process))->object);
}

static void
host_child_dropped(kolk_process *process)
{
    host_dropped(&((host_child *)kolk_process_owner(process))->object);
}

static const kolk_process_ops host_child_ops = {.exited = host_child_exited,
                                                .dropped = host_child_dropped};

kolk_process *
host_process_of(host_object *child)
{
    return ((host_child *)child)->process;
}

int
host_spawn(host_object *child, const char *text)
{
    host_child *self = (host_child *)child;
    kolk_process_options options = {.shell = text,
                                    .input = {KOLK_STDIO_PIPE, 0}};

    host_thread.inside++; /* it may block, and lets the lock go then */
    int err = kolk_process_spawn(child->loop->loop, &options, &host_child_ops,
                                 self, &self->process);
    host_thread.inside--;
    return host_lend(child, err);
}

/* ---- which object it is ---- */

/* Others use the loop too, and the library itself: a node is the host's if its
 * function is. */
#define HOST_OWN(kind, member, node)                                           \
    (((kolk_##member *)(node))->fn == host_##kind##_ran                        \
         ? &KOLK_CONTAINER_OF(node, host_##kind, member)->object               \
         : NULL)

host_object *
host_object_of(kolk_node_kind kind, void *node)
{
    switch (kind) {
    case KOLK_NODE_CALL:
        return HOST_OWN(handle, call, node);
    case KOLK_NODE_TIMER:
        return HOST_OWN(timer, timer, node);
    case KOLK_NODE_WATCH:
        return HOST_OWN(reader, watch, node);
    case KOLK_NODE_SIGNAL:
        return HOST_OWN(signal, signal, node);
    case KOLK_NODE_LOOKUP:
        return HOST_OWN(lookup, lookup, node);
    case KOLK_NODE_CONNECTOR:
        return HOST_OWN(connector, connector, node);
    case KOLK_NODE_SERVER:
        return kolk_server_has_ops(node, &host_server_ops)
                   ? &((host_server *)kolk_server_owner(node))->object
                   : NULL;
    case KOLK_NODE_DATAGRAM:
        return host_object_of_datagram(node);
    case KOLK_NODE_PROCESS:
        return kolk_process_has_ops(node, &host_child_ops)
                   ? &((host_child *)kolk_process_owner(node))->object
                   : NULL;
    case KOLK_NODE_TRANSPORT:
        return host_object_of_transport(node);
    case KOLK_NODE_OP:
        return HOST_OWN(op, op, node);
    default:
        return NULL; /* no node of a kind that this host uses */
    }
}

static void
host_init_node(host_object *self)
{
    switch (self->kind) {
    case HOST_HANDLE:
        kolk_call_init(host_call_of(self), host_handle_ran,
                       host_handle_dropped);
        break;
    case HOST_TIMER:
        kolk_timer_init(host_timer_of(self), host_timer_ran,
                        host_timer_dropped);
        break;
    case HOST_READER:
        kolk_watch_init(host_watch_of(self), -1, host_reader_ran,
                        host_reader_dropped);
        break;
    case HOST_SIGNAL:
        kolk_signal_init(host_signal_of(self), host_signal_ran,
                         host_signal_dropped);
        break;
    case HOST_LOOKUP:
        kolk_lookup_init(host_lookup_of(self), host_lookup_ran,
                         host_lookup_dropped);
        break;
    case HOST_CONNECTOR:
        kolk_connector_init(host_connector_of(self), host_connector_ran,
                            host_connector_dropped);
        break;
    case HOST_SOCKET:
        ((host_socket *)self)->protocol.ops = &host_socket_ops;
        break;
    case HOST_TRANSPORT:
        ((host_transport *)self)->protocol.ops = &host_transport_ops;
        break;
    case HOST_OP:
        kolk_op_init(host_op_of(self), host_op_ran, host_op_dropped);
        break;
    default:
        break; /* it has no node */
    }
}

host_object *
host_new(host_loop *loop, enum host_kind kind, char name, host_fn *fn)
{
    static const size_t sizes[] = {
        [HOST_HANDLE] = sizeof(host_handle),
        [HOST_TIMER] = sizeof(host_timer),
        [HOST_READER] = sizeof(host_reader),
        [HOST_OP] = sizeof(host_op),
        [HOST_SIGNAL] = sizeof(host_signal),
        [HOST_LOOKUP] = sizeof(host_lookup),
        [HOST_CONNECTOR] = sizeof(host_connector),
        [HOST_SERVER] = sizeof(host_server),
        [HOST_SOCKET] = sizeof(host_socket),
        [HOST_TRANSPORT] = sizeof(host_transport),
        [HOST_CHILD] = sizeof(host_child),
    };
    host_object *self = host_alloc(kind, sizes[kind]);

    self->name = name;
    self->fn = fn;
    self->loop = loop;
    host_ref(&loop->object);
    host_init_node(self);
    return self;
}

/* ---- lending ---- */

int
host_soon(host_object *handle)
{
    return host_lend(handle,
                     kolk_call_soon(handle->loop->loop, host_call_of(handle)));
}

int
host_step_end(host_object *handle)
{
    return host_lend(handle,
                     kolk_step_end(handle->loop->loop, host_call_of(handle)));
}

int
host_turn_end(host_object *handle)
{
    return host_lend(handle,
                     kolk_turn_end(handle->loop->loop, host_call_of(handle)));
}

int
host_push(kolk_inbox *inbox, host_object *handle)
{
    return host_lend(handle, kolk_inbox_push(inbox, host_call_of(handle)));
}

int
host_when_done(kolk_future *future, host_object *handle)
{
    return host_lend(
        handle, kolk_future_add_done_callback(future, host_call_of(handle)));
}

int
host_call_at(host_object *timer, kolk_time deadline)
{
    return host_lend(
        timer, kolk_call_at(timer->loop->loop, host_timer_of(timer), deadline));
}

int
host_watch(host_object *reader, int fd)
{
    kolk_watch *watch = host_watch_of(reader);

    watch->fd = fd;
    return host_lend(
        reader, kolk_watch_start(reader->loop->loop, watch, KOLK_READABLE));
}

int
host_listen(host_object *signal, int signum)
{
    return host_lend(signal, kolk_signal_start(signal->loop->loop,
                                               host_signal_of(signal), signum));
}

int
host_recv(host_object *op, int fd)
{
    host_op *self = (host_op *)op;

    return host_lend(op, kolk_op_recv(op->loop->loop, &self->op, fd,
                                      self->buffer, sizeof self->buffer, 0));
}

int
host_work(host_object *op, kolk_work_fn *fn, void *arg)
{
    return host_lend(
        op, kolk_op_work(op->loop->loop, host_op_of(op), NULL, fn, arg));
}

int
host_look_up(host_object *lookup, const char *host, const char *service)
{
    return host_lend(lookup, kolk_lookup_start(lookup->loop->loop,
                                               host_lookup_of(lookup), host,
                                               service, NULL));
}

int
host_connect(host_object *connector, const char *host, const char *service)
{
    return host_lend(connector,
                     kolk_connector_start(connector->loop->loop,
                                          host_connector_of(connector), host,
                                          service, NULL));
}

/* Once it serves, the loop has the only reference to the server. */
int
host_serve(host_object *server, const kolk_address *address)
{
    host_server *self = (host_server *)server;
    int err = kolk_server_new(server->loop->loop, NULL, &host_server_ops, self,
                              &self->server);

    if (err < 0) {
        return err;
    }
    err = kolk_server_bind(self->server, address);
    if (err >= 0) {
        err = kolk_server_start(self->server);
    }
    kolk_server_unref(self->server);
    return host_lend(server, err);
}

void
host_cancel(host_object *self)
{
    kolk_loop *loop = self->loop->loop;

    switch (self->kind) {
    case HOST_HANDLE:
        kolk_call_cancel(loop, host_call_of(self));
        break;
    case HOST_TIMER:
        kolk_timer_stop(loop, host_timer_of(self));
        break;
    case HOST_READER:
        kolk_watch_stop(loop, host_watch_of(self));
        break;
    case HOST_SIGNAL:
        kolk_signal_stop(host_signal_of(self));
        break;
    case HOST_LOOKUP:
        kolk_lookup_cancel(loop, host_lookup_of(self));
        return;
    case HOST_CONNECTOR:
        kolk_connector_cancel(loop, host_connector_of(self));
        return;
    case HOST_SERVER:
        kolk_server_close(((host_server *)self)->server);
        return;
    case HOST_SOCKET:
        kolk_datagram_abort(host_datagram_of(self));
        return;
    case HOST_TRANSPORT:
        kolk_transport_abort(host_transport_of(self));
        return;
    default:
        kolk_op_cancel(loop, host_op_of(self));
        return;
    }
    if (self->is_lent) {
        host_return(self);
    }
}

void
host_soon_new(host_loop *loop, char name, host_fn *fn)
{
    host_object *self = host_new(loop, HOST_HANDLE, name, fn);

    CHECK_OK(host_soon(self));
    host_unref(self);
}

void
host_later_new(host_loop *loop, kolk_time delay, host_fn *fn)
{
    host_object *self = host_new(loop, HOST_TIMER, '\0', fn);

    CHECK_OK(host_call_at(self, kolk_now(loop->loop) + delay));
    host_unref(self);
}
