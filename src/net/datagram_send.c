/* datagram_send.c - datagrams that go out. See net/datagram.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A datagram goes out at once unless others wait; then it waits behind them.
 * One that cannot be sent at all is an error, and the next one is sent.
 *
 * Nothing tells when the receiver of a Unix datagram has room again unless the
 * socket is connected to it: the kernel says that sending is possible, and it
 * is not. There, and wherever an event was in vain, a timer takes its place.
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "net/datagram.h"

enum {
    SEND_BATCH_MAX = 64, /* in one turn */
    SEND_TRIES = 4,      /* of one datagram, as earlier ones have failed */
    /* What a datagram counts for besides its bytes: empty ones take memory,
     * too. */
    SEND_OVERHEAD = 8,
};

static const kolk_time SEND_RETRY_MAX = KOLK_MS(10);

/* One that waits. */
struct send_item {
    kolk_link link; /* in kolk_datagram.queue */
    size_t size;
    socklen_t to_size; /* 0: to the connected address */
    char bytes[];      /* the address, then the datagram */
};

/* ---- sending one ---- */

/* The receiver of a connected Unix socket had gone; there may be another one
 * by now. Returns 0 or why not. */
static int
send_connect_again(kolk_datagram *self)
{
    if (self->peer.size <= sizeof self->peer.storage.ss_family) {
        return -ENOTCONN; /* it had no name */
    }
    return kolk__sys.connect(self->watch.fd,
                             (const struct sockaddr *)&self->peer.storage,
                             self->peer.size)
                   < 0
               ? -errno
               : 0;
}

/* Is `*error`, of an attempt to send, that of an earlier datagram? Then it is
 * in the queue of errors. */
static bool
send_failed_earlier(kolk_datagram *self, int *error)
{
    if (self->family != AF_UNIX) {
        unsigned before = self->error_count;

        return kolk__datagram_read_errors(self) && self->error_count > before;
    }
    if (*error == -ECONNRESET) { /* what the other side had not received */
        kolk__datagram_push_error(self, *error);
        return true;
    }
    if (*error == -ENOTCONN && self->is_connected) {
        *error = send_connect_again(self);
        return *error == 0;
    }
    return false;
}

/* Returns 0, -EAGAIN if the kernel takes none now, or why it will never take
 * this one. */
static int
send_now(kolk_datagram *self, const void *data, size_t size, const void *to,
         socklen_t to_size)
{
    int error, tries = 0;

    do {
        ssize_t result;

        do {
            result = kolk__sys.sendto(self->watch.fd, data, size,
                                      MSG_DONTWAIT | MSG_NOSIGNAL, to, to_size);
        } while (result < 0 && errno == EINTR);
        if (result >= 0) {
            return 0;
        }
        error = -errno;
    } while (error != -EAGAIN && ++tries < SEND_TRIES
             && send_failed_earlier(self, &error));
    return error;
}

/* ---- the queue ---- */

static struct send_item *
send_first(const kolk_datagram *self)
{
    return kolk__ring_is_empty(&self->queue)
               ? NULL
               : KOLK_CONTAINER_OF(self->queue.next, struct send_item, link);
}

static void
send_remove(kolk_datagram *self, struct send_item *item)
{
    kolk__ring_unlink(&item->link);
    self->buffered -= item->size + SEND_OVERHEAD;
    kolk__sys.free(item);
}

void
kolk__datagram_drop_queue(kolk_datagram *self)
{
    struct send_item *item;

    while ((item = send_first(self)) != NULL) {
        send_remove(self, item);
    }
}

static int
send_enqueue(kolk_datagram *self, const void *data, size_t size,
             const kolk_address *to)
{
    socklen_t to_size = to != NULL ? to->size : 0;
    struct send_item *item;

    if (size > SIZE_MAX / 2) {
        return -ENOMEM;
    }
    item = kolk__sys.malloc(sizeof *item + to_size + size);
    if (item == NULL) {
        return -ENOMEM;
    }
    item->size = size;
    item->to_size = to_size;
    if (to != NULL) {
        memcpy(item->bytes, &to->storage, to_size);
    }
    if (size > 0) {
        memcpy(item->bytes + to_size, data, size);
    }
    self->buffered += size + SEND_OVERHEAD;
    kolk__ring_push(&self->queue, &item->link);
    return 0;
}

/* Does no event tell when to go on? */
static bool
send_is_blind(const kolk_datagram *self)
{
    return self->family == AF_UNIX && !self->is_connected;
}

/* Waits for the moment to go on with the queue. */
static void
send_wait(kolk_datagram *self, bool was_in_vain)
{
    self->is_timed = was_in_vain || send_is_blind(self);
    if (self->is_timed) {
        kolk__datagram_retry(self, SEND_RETRY_MAX);
    }
    kolk__datagram_update(self);
}

/* Tells that a mark was passed. */
static void
send_check_marks(kolk_datagram *self)
{
    kolk_datagram_protocol *protocol = self->protocol;

    if (!self->is_paused && self->buffered > self->high) {
        self->is_paused = true;
        if (protocol != NULL && protocol->ops->pause_writing != NULL) {
            protocol->ops->pause_writing(protocol, self);
        }
    } else if (self->is_paused && self->buffered <= self->low) {
        self->is_paused = false;
        if (protocol != NULL && protocol->ops->resume_writing != NULL) {
            protocol->ops->resume_writing(protocol, self);
        } else if (protocol == NULL && self->reader != NULL) {
            self->reader->ops->resumed(self->reader);
        }
    }
}

/* Sends the first of the queue. Returns -EAGAIN if the kernel takes none. */
static int
send_first_now(kolk_datagram *self, struct send_item *item)
{
    int error = send_now(self, item->bytes + item->to_size, item->size,
                         item->to_size > 0 ? item->bytes : NULL, item->to_size);

    if (error != -EAGAIN) {
        send_remove(self, item);
    }
    if (error < 0 && error != -EAGAIN && kolk__datagram_check_fd(self, error)) {
        kolk__datagram_push_error(self, error);
    }
    kolk__datagram_tell(self);
    return error;
}

void
kolk__datagram_flush(kolk_datagram *self)
{
    struct send_item *item;
    int count = 0;

    kolk_datagram_ref(self);
    while (count < SEND_BATCH_MAX && kolk__datagram_is_alive(self)
           && (item = send_first(self)) != NULL
           && send_first_now(self, item) != -EAGAIN) {
        count++;
    }
    if (count > 0) {
        self->delay = 0;
    }
    if (kolk__datagram_is_alive(self)) {
        bool is_empty = kolk__ring_is_empty(&self->queue);

        if (!is_empty) {
            send_wait(self, count == 0);
        }
        kolk__datagram_update(self);
        if (is_empty && self->state == KOLK__DATAGRAM_CLOSING) {
            kolk__datagram_finish(self, 0);
        } else {
            send_check_marks(self);
        }
    }
    kolk_datagram_unref(self);
}

/* ---- the interface ---- */

static int
send_check(kolk_datagram *self, const kolk_address *to)
{
    int err = kolk__loop_check(self->loop, "kolk_datagram_send()");

    if (err < 0) {
        return err;
    }
    if (self->state != KOLK__DATAGRAM_OPEN) {
        return -ESHUTDOWN;
    }
    return (to != NULL) == self->is_connected ? -EINVAL : 0;
}

int
kolk__datagram_send(kolk_datagram *self, const void *data, size_t size,
                    const kolk_address *to, int *error)
{
    to = to != NULL && to->size != 0 ? to : NULL;
    int err = send_check(self, to);

    *error = 0;
    if (err < 0) {
        return err;
    }
    if (kolk__ring_is_empty(&self->queue)) {
        err = to != NULL ? send_now(self, data, size, &to->storage, to->size)
                         : send_now(self, data, size, NULL, 0);
        if (err != -EAGAIN) {
            *error = err;
            (void)kolk__datagram_check_fd(self, err); /* said to all */
            return 0;
        }
        err = send_enqueue(self, data, size, to);
        if (err == 0) {
            send_wait(self, false);
        }
    } else {
        err = send_enqueue(self, data, size, to);
    }
    if (err == 0) {
        send_check_marks(self);
    }
    return err;
}

int
kolk_datagram_send(kolk_datagram *datagram, const void *data, size_t size,
                   const kolk_address *to)
{
    int error;

    kolk_datagram_ref(datagram);
    int err = kolk__datagram_send(datagram, data, size, to, &error);
    if (error < 0) {
        kolk__datagram_push_error(datagram, error);
    }
    kolk__datagram_tell(datagram);
    kolk_datagram_unref(datagram);
    return err;
}

size_t
kolk_datagram_buffer_size(const kolk_datagram *datagram)
{
    return datagram->buffered;
}

int
kolk_datagram_set_write_limits(kolk_datagram *datagram, size_t high, size_t low)
{
    if (low > high) {
        return -EINVAL;
    }
    datagram->high = high;
    datagram->low = low;
    if (kolk__datagram_is_alive(datagram)) {
        send_check_marks(datagram);
    }
    return 0;
}
