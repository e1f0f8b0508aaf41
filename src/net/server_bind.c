/* server_bind.c - the sockets of a server.
 *
 * SPDX-License-Identifier: MIT
 *
 * On Linux a connection has the options of the socket that it was accepted
 * from. So TCP_NODELAY and SO_KEEPALIVE are set there, once, and cost nothing
 * for each connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/sys.h"
#include "loop/descriptor.h"
#include "net/server.h"

static int
bind_set(int fd, int level, int name)
{
    static const int one = 1;

    return kolk__sys.setsockopt(fd, level, name, &one, sizeof one) < 0 ? -errno
                                                                       : 0;
}

/* What connections will have. */
static int
bind_set_inherited(const kolk_server *server, int fd, bool is_tcp)
{
    int err = is_tcp ? bind_set(fd, IPPROTO_TCP, TCP_NODELAY) : 0;

    if (err == 0 && server->options.keep_alive) {
        err = bind_set(fd, SOL_SOCKET, SO_KEEPALIVE);
    }
    return err;
}

/* Sets up a socket of the internet. An IPv6 one leaves IPv4 to another. */
static int
bind_set_inet(const kolk_server *server, int fd, int family)
{
    int err = bind_set(fd, SOL_SOCKET, SO_REUSEADDR);

    if (err == 0 && server->options.reuse_port) {
        err = bind_set(fd, SOL_SOCKET, SO_REUSEPORT);
    }
    if (err == 0 && family == AF_INET6) {
        err = bind_set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    }
    return err < 0 ? err : bind_set_inherited(server, fd, true);
}

static int
bind_socket(struct kolk__server_socket *self, const kolk_address *address)
{
    kolk_server *server = self->server;
    int family = address->storage.ss_family;

    if (family == AF_UNIX) {
        int err = bind_set_inherited(server, self->fd, false);

        return err < 0 ? err
                       : kolk__unix_bind(self->fd, address,
                                         server->options.mode, &self->file);
    }
    if (family == AF_INET || family == AF_INET6) {
        int err = bind_set_inet(server, self->fd, family);

        if (err < 0) {
            return err;
        }
    }
    return kolk__sys.bind(self->fd, (const struct sockaddr *)&address->storage,
                          address->size)
                   < 0
               ? -errno
               : 0;
}

/* ---- adding and starting ---- */

static int
bind_listen(const kolk_server *server, const struct kolk__server_socket *self)
{
    return kolk__sys.listen(self->fd, server->options.backlog) < 0 ? -errno : 0;
}

/* A new socket of a server that serves already does so, too. */
static int
bind_join(struct kolk__server_socket *self)
{
    kolk_server *server = self->server;

    if (!server->is_serving) {
        return 0;
    }
    int err = bind_listen(server, self);
    if (err == 0 && server->is_watching) {
        err = kolk_watch_start(server->loop, &self->watch, KOLK_READABLE);
    }
    return err;
}

/* 0 if the server may be changed now. */
static int
bind_check(const kolk_server *server, const char *what)
{
    int err = kolk__loop_check(server->loop, what);

    return err == 0 && server->is_closed ? -ESHUTDOWN : err;
}

int
kolk_server_bind(kolk_server *server, const kolk_address *address)
{
    int err = bind_check(server, "kolk_server_bind()");

    if (err < 0) {
        return err;
    }
    int fd = kolk__sys.socket(address->storage.ss_family,
                              SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    kolk__descriptor_reset(server->loop, fd);
    struct kolk__server_socket *self = kolk__server_socket_new(server, fd);
    if (self == NULL) {
        (void)kolk__sys.close(fd); /* nothing was written to it */
        return -ENOMEM;
    }
    err = bind_socket(self, address);
    if (err == 0) {
        err = bind_join(self);
    }
    if (err < 0) {
        kolk__server_socket_free(self);
        return err;
    }
    return fd;
}

static int
bind_get(int fd, int name)
{
    int value = 0;
    socklen_t size = sizeof value;

    return kolk__sys.getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0
               ? -errno
               : value;
}

/* Prepares a socket of somebody else's making. */
static int
bind_adopt(const kolk_server *server, int fd)
{
    int type = bind_get(fd, SO_TYPE);

    if (type < 0 || type != SOCK_STREAM) {
        return type < 0 ? type : -EINVAL;
    }
    int flags = kolk__sys.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || kolk__sys.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    return bind_set_inherited(server, fd,
                              bind_get(fd, SO_PROTOCOL) == IPPROTO_TCP);
}

int
kolk_server_add_fd(kolk_server *server, int fd)
{
    int err = bind_check(server, "kolk_server_add_fd()");

    if (err < 0) {
        return err;
    }
    err = bind_adopt(server, fd);
    if (err < 0) {
        return err;
    }
    struct kolk__server_socket *self = kolk__server_socket_new(server, fd);
    if (self == NULL) {
        return -ENOMEM;
    }
    err = bind_join(self);
    if (err < 0) {
        kolk_watch_stop(server->loop, &self->watch);
        self->fd = -1; /* is still the caller's */
        kolk__server_socket_free(self);
    }
    return err;
}

int
kolk_server_start(kolk_server *server)
{
    int err = bind_check(server, "kolk_server_start()");

    if (err < 0 || server->is_serving) {
        return err;
    }
    for (kolk_link *link = server->sockets.next; link != &server->sockets;
         link = link->next) {
        err = bind_listen(server, kolk__server_socket_of(link));
        if (err < 0) {
            return err;
        }
    }
    err = kolk__server_watch(server);
    server->is_serving = err == 0;
    return err;
}
