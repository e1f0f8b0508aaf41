/* datagram.c - datagram sockets: what they wait for, how they end.
 * See kolk/datagram.h and net/datagram.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * The loop holds one reference from the opening to the last callback, which
 * runs from the ready queue, after the descriptor has been closed.
 */
#include "net/datagram.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/sys.h"

/* ---- what is waited for ---- */

static unsigned
datagram_needs(const kolk_datagram *self)
{
    unsigned events = 0;

    if (kolk__datagram_receives(self)) {
        events |= KOLK_READABLE;
    }
    if (!kolk__ring_is_empty(&self->queue) && !self->is_timed) {
        events |= KOLK_WRITABLE;
    }
    return events;
}

int
kolk__datagram_watch(kolk_datagram *self)
{
    unsigned events = datagram_needs(self);

    if (events == self->watch.events) {
        return 0;
    }
    if (events != 0) {
        return kolk_watch_start(self->loop, &self->watch, events);
    }
    kolk_watch_stop(self->loop, &self->watch);
    return 0;
}

/* The watch stays as it was, unless that would find what nobody waits for, in
 * every turn. Whoever waits to receive has to know if it is not watched for; in
 * the next turn, because here nobody expects to be called. */
static void
datagram_watch_failed(kolk_datagram *self, int error)
{
    if ((self->watch.events & ~datagram_needs(self)) != 0) {
        kolk_watch_stop(self->loop, &self->watch);
    }
    self->is_unwatched = true;
    kolk__datagram_retry(self, KOLK_S(1));
    if (kolk__datagram_receives(self)
        && (self->watch.events & KOLK_READABLE) == 0) {
        kolk__datagram_push_error(self, error);
        if (!kolk_call_is_pending(&self->later)) {
            kolk__ready_push(self->loop, &self->later);
        }
    }
}

void
kolk__datagram_update(kolk_datagram *self)
{
    if (!kolk__datagram_is_alive(self) || self->is_unwatched) {
        return;
    }
    int err = kolk__datagram_watch(self);
    if (err < 0) {
        datagram_watch_failed(self, err);
    }
}

void
kolk__datagram_retry(kolk_datagram *self, kolk_time longest)
{
    const kolk_time shortest = KOLK_US(50);

    if (kolk_timer_is_pending(&self->retry)) {
        return;
    }
    self->delay = self->delay < shortest ? shortest : 2 * self->delay;
    self->delay = self->delay > longest ? longest : self->delay;
    /* Fails only where the loop is not this process's any more. */
    (void)!kolk_call_later(self->loop, &self->retry, self->delay);
}

static void
datagram_retry(kolk_timer *timer)
{
    kolk_datagram *self = KOLK_CONTAINER_OF(timer, kolk_datagram, retry);

    kolk_datagram_ref(self);
    self->is_deaf = self->is_unwatched = false;
    if (!kolk__ring_is_empty(&self->queue)) {
        kolk__datagram_flush(self);
    }
    kolk__datagram_update(self);
    kolk_datagram_unref(self);
}

static void
datagram_ready(kolk_watch *watch)
{
    kolk_datagram *self = KOLK_CONTAINER_OF(watch, kolk_datagram, watch);
    unsigned ready = watch->ready;

    kolk_datagram_ref(self);
    if ((ready & KOLK_READABLE) != 0 && kolk__datagram_receives(self)) {
        kolk__datagram_receive(self, 1);
    }
    if ((ready & KOLK_WRITABLE) != 0 && kolk__datagram_is_alive(self)) {
        kolk__datagram_flush(self);
    }
    kolk_datagram_unref(self);
}

/* ---- the end ---- */

/* In a child process the file is the parent's, and so is what epoll knows. */
static void
datagram_close_fd(kolk_datagram *self)
{
    int fd = self->watch.fd;

    if (self->loop->generation == kolk__generation) {
        kolk__unix_remove(&self->file);
    }
    if (fd >= 0) {
        kolk_forget(self->loop, fd);
        if (!self->is_borrowed) {
            (void)kolk__sys.close(fd); /* the number is free, in any case */
        }
    }
    self->watch.fd = -1;
}

/* Takes everything of it out of the loop. */
static void
datagram_detach(kolk_datagram *self)
{
    kolk_watch_stop(self->loop, &self->watch);
    kolk_timer_stop(self->loop, &self->retry);
    kolk_call_cancel(self->loop, &self->later);
    kolk__datagram_drop_queue(self);
}

/* The last callback. */
static void
datagram_end(kolk_datagram *self)
{
    kolk_datagram_protocol *protocol = self->protocol;

    self->state = KOLK__DATAGRAM_GONE;
    kolk__handle_close(&self->handle);
    datagram_close_fd(self);
    if (self->reader != NULL) {
        self->reader->ops->closed(self->reader);
    }
    if (protocol != NULL) {
        protocol->ops->connection_lost(protocol, self, self->result);
    }
    kolk_datagram_unref(self);
}

static void
datagram_later(kolk_call *call)
{
    kolk_datagram *self = KOLK_CONTAINER_OF(call, kolk_datagram, later);

    if (self->state == KOLK__DATAGRAM_ENDING) {
        datagram_end(self);
    } else {
        kolk__datagram_tell(self);
    }
}

void
kolk__datagram_finish(kolk_datagram *self, int result)
{
    if (self->state >= KOLK__DATAGRAM_ENDING) {
        return;
    }
    self->state = KOLK__DATAGRAM_ENDING;
    self->result = result;
    datagram_detach(self);
    kolk__ready_push(self->loop, &self->later);
    if (self->reader != NULL) {
        self->reader->ops->closed(self->reader);
    }
}

bool
kolk__datagram_check_fd(kolk_datagram *self, int error)
{
    if (error != -EBADF && error != -ENOTSOCK) {
        return true;
    }
    kolk__datagram_finish(self, -EBADF);
    self->watch.fd = -1;
    return false;
}

void
kolk_datagram_close(kolk_datagram *datagram)
{
    if (datagram->state != KOLK__DATAGRAM_OPEN
        || kolk__loop_check(datagram->loop, "kolk_datagram_close()") < 0) {
        return;
    }
    if (kolk__ring_is_empty(&datagram->queue)) {
        kolk__datagram_finish(datagram, 0);
        return;
    }
    datagram->state = KOLK__DATAGRAM_CLOSING;
    kolk__datagram_update(datagram);
    if (datagram->reader != NULL) {
        datagram->reader->ops->closed(datagram->reader);
    }
}

void
kolk_datagram_abort(kolk_datagram *datagram)
{
    if (datagram->state < KOLK__DATAGRAM_ENDING
        && kolk__loop_check(datagram->loop, "kolk_datagram_abort()") == 0) {
        kolk__datagram_finish(datagram, -ECANCELED);
    }
}

bool
kolk_datagram_is_closing(const kolk_datagram *datagram)
{
    return datagram->state != KOLK__DATAGRAM_OPEN;
}

kolk_datagram *
kolk_datagram_ref(kolk_datagram *datagram)
{
    datagram->refs++;
    return datagram;
}

void
kolk_datagram_unref(kolk_datagram *datagram)
{
    if (datagram == NULL || --datagram->refs > 0) {
        return;
    }
    kolk_loop *loop = datagram->loop;

    if (datagram->reader != NULL) {
        datagram->reader->ops->free(datagram->reader);
    }
    kolk__sys.free(datagram);
    kolk__loop_unref(loop);
}

void
kolk__datagram_init(kolk_datagram *self, int fd)
{
    kolk_watch_init(&self->watch, fd, datagram_ready, NULL);
    kolk_timer_init(&self->retry, datagram_retry, NULL);
    kolk_call_init(&self->later, datagram_later, NULL);
}

/* ---- what a loop has open ---- */

static void *
datagram_node(kolk__handle *handle)
{
    return KOLK_CONTAINER_OF(handle, kolk_datagram, handle);
}

static void
datagram_drop(kolk_loop *loop, kolk__handle *handle)
{
    kolk_datagram *self = KOLK_CONTAINER_OF(handle, kolk_datagram, handle);

    (void)loop;
    if (self->state != KOLK__DATAGRAM_ENDING) {
        self->result = -ESHUTDOWN;
    }
    datagram_detach(self);
    datagram_end(self);
}

const kolk__handle_ops kolk__datagram_handle = {
    .kind = KOLK_NODE_DATAGRAM,
    .node = datagram_node,
    .drop = datagram_drop,
};

/* ---- about it ---- */

void
kolk__datagram_attach(kolk_datagram *self, kolk__datagram_reader *reader)
{
    self->reader = reader;
    kolk__datagram_update(self);
}

void
kolk_datagram_set_protocol(kolk_datagram *datagram,
                           kolk_datagram_protocol *protocol)
{
    datagram->protocol = protocol;
    kolk__datagram_update(datagram);
    if (datagram->error_count > 0 && kolk__datagram_is_alive(datagram)
        && !kolk_call_is_pending(&datagram->later)) {
        kolk__ready_push(datagram->loop, &datagram->later);
    }
}

kolk_datagram_protocol *
kolk_datagram_protocol_of(const kolk_datagram *datagram)
{
    return datagram->protocol;
}

kolk_loop *
kolk_datagram_loop(const kolk_datagram *datagram)
{
    return datagram->loop;
}

int
kolk_datagram_fileno(const kolk_datagram *datagram)
{
    return datagram->watch.fd >= 0 ? datagram->watch.fd : -EBADF;
}

int
kolk_datagram_peername(const kolk_datagram *datagram, kolk_address *out)
{
    if (!datagram->is_connected) {
        return -ENOTCONN;
    }
    *out = datagram->peer;
    return 0;
}

int
kolk_datagram_sockname(const kolk_datagram *datagram, kolk_address *out)
{
    kolk_address found = {.size = sizeof found.storage};

    if (datagram->watch.fd < 0) {
        return -EBADF;
    }
    if (kolk__sys.getsockname(datagram->watch.fd,
                              (struct sockaddr *)&found.storage, &found.size)
        < 0) {
        return -errno;
    }
    *out = found;
    return 0;
}
