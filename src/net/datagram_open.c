/* datagram_open.c - opening datagram sockets. See kolk/datagram.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <netinet/in.h>

#include "base/sys.h"
#include "loop/op.h" /* a number that had another file */
#include "net/datagram.h"
#include "net/net.h"

enum { OPEN_HIGH = 64 * 1024, OPEN_LOW = 16 * 1024 };

/* The family of the addresses; 0 if there are none, or an error. */
static int
open_family(const kolk_datagram_options *options)
{
    const kolk_address *local = &options->local, *remote = &options->remote;

    if (local->size != 0 && remote->size != 0
        && local->storage.ss_family != remote->storage.ss_family) {
        return -EINVAL;
    }
    return local->size != 0    ? local->storage.ss_family
           : remote->size != 0 ? remote->storage.ss_family
                               : 0;
}

static int
open_set(int fd, int level, int name)
{
    int on = 1;

    return kolk__sys.setsockopt(fd, level, name, &on, sizeof on) < 0 ? -errno
                                                                     : 0;
}

/* Without these, what ICMP says of a socket that is not connected is lost, and
 * of several errors all but the last. */
static int
open_ask_for_errors(int fd, int family)
{
    int err = 0;

    if (family == AF_INET6) {
        err = open_set(fd, IPPROTO_IPV6, IPV6_RECVERR);
    }
    if (err == 0 && (family == AF_INET || family == AF_INET6)) {
        err = open_set(fd, IPPROTO_IP, IP_RECVERR);
    }
    return err;
}

static int
open_bind(int fd, const kolk_address *local, kolk__unix_file *file)
{
    if (local->storage.ss_family == AF_UNIX) {
        return kolk__unix_bind(fd, local, 0, file);
    }
    return kolk__sys.bind(fd, (const struct sockaddr *)&local->storage,
                          local->size)
                   < 0
               ? -errno
               : 0;
}

static int
open_connect(int fd, const kolk_address *remote)
{
    return kolk__sys.connect(fd, (const struct sockaddr *)&remote->storage,
                             remote->size)
                   < 0
               ? -errno
               : 0;
}

/* Makes `fd` what the options ask for. If it fails, `*file` is to be removed.
 */
static int
open_set_up(int fd, int family, const kolk_datagram_options *options,
            kolk__unix_file *file)
{
    int err = open_ask_for_errors(fd, family);

    if (err == 0 && options->reuse_port) {
        err = open_set(fd, SOL_SOCKET, SO_REUSEPORT);
    }
    if (err == 0 && options->broadcast) {
        err = open_set(fd, SOL_SOCKET, SO_BROADCAST);
    }
    if (err == 0 && options->local.size != 0) {
        err = open_bind(fd, &options->local, file);
    }
    if (err == 0 && options->remote.size != 0) {
        err = open_connect(fd, &options->remote);
    }
    return err;
}

/* Whom it is connected to, if anybody: 0 or an error. */
static int
open_find_peer(kolk_datagram *self, const kolk_address *remote)
{
    kolk_address found = {.size = sizeof found.storage};

    if (remote->size != 0) {
        self->peer = *remote;
        self->is_connected = true;
        return 0;
    }
    if (kolk__sys.getpeername(self->watch.fd, (struct sockaddr *)&found.storage,
                              &found.size)
        < 0) {
        return errno == ENOTCONN ? 0 : -errno;
    }
    self->peer = found;
    self->is_connected = true;
    return 0;
}

static kolk_datagram *
open_new(kolk_loop *loop, int fd, int family,
         const kolk_datagram_options *options)
{
    kolk_datagram *self = kolk__sys.calloc(1, sizeof *self);

    if (self == NULL) {
        return NULL;
    }
    self->loop = loop;
    kolk__loop_ref(loop);
    self->refs = 2; /* the caller's and the loop's */
    self->family = family;
    self->queue_limit =
        options->queue != 0 ? options->queue : KOLK__DATAGRAM_QUEUE;
    self->is_borrowed = options->borrowed;
    self->batch = 1;
    self->high = OPEN_HIGH;
    self->low = OPEN_LOW;
    kolk__ring_init(&self->queue);
    kolk__datagram_init(self, fd);
    return self;
}

static void
open_free_new(kolk_datagram *self)
{
    self->refs = 1;
    kolk_datagram_unref(self);
}

/* Opens over `fd`, which is set up. */
static int
open_over_set_up(kolk_loop *loop, int fd, int family,
                 const kolk_datagram_options *options,
                 kolk_datagram_protocol *protocol, kolk_datagram **out)
{
    kolk_datagram *self = open_new(loop, fd, family, options);

    if (self == NULL) {
        return -ENOMEM;
    }
    self->protocol = protocol;
    int err = open_find_peer(self, &options->remote);
    if (err == 0) {
        err = kolk__datagram_watch(self);
    }
    if (err < 0) {
        open_free_new(self);
        return err;
    }
    kolk__handle_open(loop, &self->handle, &kolk__datagram_handle);
    *out = self;
    return 0;
}

/* Sets `fd` up, and opens over it; on error it stays the caller's. */
static int
open_over(kolk_loop *loop, int fd, int family,
          const kolk_datagram_options *options,
          kolk_datagram_protocol *protocol, kolk_datagram **out)
{
    kolk__unix_file file = {.path = ""};
    kolk__net *net;
    int err = kolk__net_get(loop, &net); /* it will be there for receiving */

    if (err == 0) {
        err = open_set_up(fd, family, options, &file);
    }
    if (err == 0) {
        err = open_over_set_up(loop, fd, family, options, protocol, out);
    }
    if (err < 0) {
        kolk__unix_remove(&file);
        return err;
    }
    (*out)->file = file;
    return 0;
}

int
kolk_datagram_open(kolk_loop *loop, const kolk_datagram_options *options,
                   kolk_datagram_protocol *protocol, kolk_datagram **out)
{
    int err = kolk__loop_check(loop, "kolk_datagram_open()");

    if (err < 0) {
        return err;
    }
    int family = open_family(options);
    if (family <= 0) {
        return -EINVAL;
    }
    int fd =
        kolk__sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    kolk__op_forget_former(loop, fd);
    err = open_over(loop, fd, family, options, protocol, out);
    if (err < 0) {
        (void)kolk__sys.close(fd); /* nothing was sent */
    }
    return err;
}

/* Is `fd` a datagram socket, of which family? Or an error. */
static int
open_check_fd(int fd)
{
    int type = 0, family = 0;
    socklen_t size = sizeof type;

    if (kolk__sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0
        || kolk__sys.getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size)
               < 0) {
        return -errno;
    }
    return type == SOCK_DGRAM ? family : -EINVAL;
}

int
kolk_datagram_open_fd(kolk_loop *loop, int fd,
                      const kolk_datagram_options *options,
                      kolk_datagram_protocol *protocol, kolk_datagram **out)
{
    static const kolk_datagram_options none;
    int err = kolk__loop_check(loop, "kolk_datagram_open_fd()");

    if (err < 0) {
        return err;
    }
    options = options != NULL ? options : &none;
    int family = open_check_fd(fd);
    if (family < 0) {
        return family;
    }
    int asked = open_family(options);
    if (asked < 0 || (asked != 0 && asked != family)) {
        return -EINVAL;
    }
    int flags = kolk__sys.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || kolk__sys.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    return open_over(loop, fd, family, options, protocol, out);
}
