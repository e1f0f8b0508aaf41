/* datagram.c - datagrams, awaited by tasks. See kolk/datagram.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A socket without a protocol gets a reader with the first call of a task:
 * until then the kernel keeps what comes. What comes while a task waits is
 * copied into that task's memory at once, by whoever has received it, and the
 * woken task does not look at the queue again; else into the queue, and when
 * that is full the kernel keeps the rest. A task that finds the queue empty
 * then fetches the next ones itself, without a turn of the loop in between.
 *
 * Sending is done for a task that waits, in its place, too: first come, first
 * sent, and no more than the marks allow.
 *
 * Invariant: receivers wait only while there is neither a datagram nor an
 * error to be had, senders only while writing is paused.
 */
#include <kolk/datagram.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/sys.h"
#include "net/datagram.h"
#include "task/park.h"

/* What tasks and a socket have in common. */
struct mailbox {
    kolk__datagram_reader reader;
    kolk_datagram *datagram; /* borrowed: it frees this */
    kolk_link receivers;     /* object: struct mailbox_receive */
    kolk_link senders;       /* object: struct mailbox_send */
    kolk_link items;         /* what nobody has waited for */
    size_t count;
};

/* A received datagram. */
struct mailbox_item {
    kolk_link link;
    kolk_address from;
    size_t size;
    char bytes[];
};

/* Where a task wants its datagram. */
struct mailbox_receive {
    void *buffer;
    size_t size;
    kolk_address *from; /* or NULL */
};

/* What a task wants to send. */
struct mailbox_send {
    const void *data;
    size_t size;
    const kolk_address *to;
};

static struct mailbox *
mailbox_of(kolk__datagram_reader *reader)
{
    return KOLK_CONTAINER_OF(reader, struct mailbox, reader);
}

/* ---- what the socket tells ---- */

/* Copies a datagram to where a task wants it; returns its size, which may be
 * more than is copied. */
static int
mailbox_copy(const struct mailbox_receive *to, const void *data, size_t size,
             const kolk_address *from)
{
    size_t copied = size < to->size ? size : to->size;

    if (copied > 0) {
        memcpy(to->buffer, data, copied);
    }
    if (to->from != NULL) {
        *to->from = *from;
    }
    return (int)size;
}

/* Keeps a datagram for later. */
static int
mailbox_keep(struct mailbox *self, const void *data, size_t size,
             const kolk_address *from)
{
    struct mailbox_item *item = kolk__sys.malloc(sizeof *item + size);

    if (item == NULL) {
        return -ENOMEM;
    }
    item->from = *from;
    item->size = size;
    memcpy(item->bytes, data, size);
    kolk__ring_push(&self->items, &item->link);
    self->count++;
    self->reader.is_full = self->count >= self->datagram->queue_limit;
    return 0;
}

static void
mailbox_received(kolk__datagram_reader *reader, const void *data, size_t size,
                 const kolk_address *from)
{
    struct mailbox *self = mailbox_of(reader);
    kolk__coro *coro = kolk__waiters_first(&self->receivers);

    if (coro != NULL) {
        kolk__wake_linked(coro, mailbox_copy(coro->object, data, size, from));
    } else if (mailbox_keep(self, data, size, from) < 0) {
        kolk__datagram_push_error(self->datagram, -ENOMEM);
    }
}

static void
mailbox_failed(kolk__datagram_reader *reader)
{
    struct mailbox *self = mailbox_of(reader);
    kolk__coro *coro;

    while (self->datagram->error_count > 0
           && (coro = kolk__waiters_first(&self->receivers)) != NULL) {
        kolk__wake_linked(coro, kolk__datagram_take_error(self->datagram));
    }
}

static void
mailbox_resumed(kolk__datagram_reader *reader)
{
    struct mailbox *self = mailbox_of(reader);
    kolk__coro *coro;

    while (!self->datagram->is_paused
           && (coro = kolk__waiters_first(&self->senders)) != NULL) {
        const struct mailbox_send *wanted = coro->object;
        int error;
        int err = kolk__datagram_send(self->datagram, wanted->data,
                                      wanted->size, wanted->to, &error);

        kolk__wake_linked(coro, err < 0 ? err : error);
    }
}

static void
mailbox_drop_items(struct mailbox *self)
{
    while (!kolk__ring_is_empty(&self->items)) {
        struct mailbox_item *item =
            KOLK_CONTAINER_OF(self->items.next, struct mailbox_item, link);

        kolk__ring_unlink(&item->link);
        kolk__sys.free(item);
    }
    self->count = 0;
}

static void
mailbox_closed(kolk__datagram_reader *reader)
{
    struct mailbox *self = mailbox_of(reader);

    while (kolk__waiters_wake_first(&self->receivers, -ESHUTDOWN) != NULL) {
    }
    while (kolk__waiters_wake_first(&self->senders, -ESHUTDOWN) != NULL) {
    }
    mailbox_drop_items(self);
}

static void
mailbox_free(kolk__datagram_reader *reader)
{
    struct mailbox *self = mailbox_of(reader);

    mailbox_drop_items(self);
    kolk__sys.free(self);
}

static const kolk__datagram_reader_ops mailbox_reader = {
    .received = mailbox_received,
    .failed = mailbox_failed,
    .resumed = mailbox_resumed,
    .closed = mailbox_closed,
    .free = mailbox_free,
};

/* ---- the interface ---- */

/* The reader of `datagram`, made if there is none; NULL without memory. */
static struct mailbox *
mailbox_get(kolk_datagram *datagram)
{
    if (datagram->reader != NULL) {
        return mailbox_of(datagram->reader);
    }
    struct mailbox *self = kolk__sys.calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->reader.ops = &mailbox_reader;
    self->datagram = datagram;
    kolk__ring_init(&self->receivers);
    kolk__ring_init(&self->senders);
    kolk__ring_init(&self->items);
    kolk__datagram_attach(datagram, &self->reader);
    return self;
}

/* What both calls begin with: the reader, or NULL and in `*err` what they
 * return. */
static struct mailbox *
mailbox_begin(kolk_datagram *datagram, const kolk__coro *coro, const char *what,
              int *err)
{
    if (coro == NULL) {
        *err = -KOLK_EMISUSE;
        return NULL;
    }
    if (coro->loop != datagram->loop || datagram->protocol != NULL) {
        *err = kolk__misuse(coro->loop, what);
        return NULL;
    }
    *err = kolk__datagram_take_error(datagram);
    if (*err < 0) {
        return NULL;
    }
    if (datagram->state != KOLK__DATAGRAM_OPEN) {
        *err = -ESHUTDOWN;
        return NULL;
    }
    *err = -ENOMEM;
    return mailbox_get(datagram);
}

/* Takes the oldest datagram, if there is one now: its size, or -EAGAIN. */
static int
mailbox_fetch(struct mailbox *self, const struct mailbox_receive *to)
{
    if (kolk__ring_is_empty(&self->items)) {
        if (!self->reader.is_full) {
            return -EAGAIN;
        }
        self->reader.is_full = false;
        kolk__datagram_receive(self->datagram, self->datagram->queue_limit);
        int error = kolk__datagram_take_error(self->datagram);
        if (error < 0 || kolk__ring_is_empty(&self->items)) {
            return error < 0 ? error : -EAGAIN;
        }
    }
    struct mailbox_item *item =
        KOLK_CONTAINER_OF(self->items.next, struct mailbox_item, link);
    int size = mailbox_copy(to, item->bytes, item->size, &item->from);

    kolk__ring_unlink(&item->link);
    kolk__sys.free(item);
    self->count--;
    return size;
}

int
kolk_datagram_recv(kolk_datagram *datagram, void *buffer, size_t size,
                   kolk_address *from)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_datagram_recv() outside a task");
    struct mailbox_receive wanted = {buffer, size, from};
    int result;
    struct mailbox *self = mailbox_begin(
        datagram, coro,
        "kolk_datagram_recv() with a protocol, or on another loop", &result);

    if (self == NULL) {
        return result;
    }
    result = mailbox_fetch(self, &wanted);
    if (result != -EAGAIN) {
        kolk__be_fair(coro);
        return result;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&self->receivers, coro);
    return kolk__park(coro, "datagram recv", kolk__interrupt_wait, &wanted);
}

int
kolk_datagram_send_wait(kolk_datagram *datagram, const void *data, size_t size,
                        const kolk_address *to)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_datagram_send_wait() outside a task");
    struct mailbox_send wanted = {data, size, to};
    int err, error;
    struct mailbox *self = mailbox_begin(
        datagram, coro,
        "kolk_datagram_send_wait() with a protocol, or on another loop", &err);

    if (self == NULL) {
        return err;
    }
    if (datagram->is_paused || !kolk__ring_is_empty(&self->senders)) {
        if (coro->is_cancelled) {
            return kolk__wait_refused(coro);
        }
        kolk__waiters_push(&self->senders, coro);
        return kolk__park(coro, "datagram send", kolk__interrupt_wait, &wanted);
    }
    err = kolk__datagram_send(datagram, data, size, to, &error);
    kolk__datagram_tell(datagram); /* of earlier ones */
    kolk__be_fair(coro);
    return err < 0 ? err : error;
}
