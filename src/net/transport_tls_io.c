/* transport_tls_io.c - TLS on a transport: reading and writing.
 *
 * SPDX-License-Identifier: MIT
 *
 * A read takes what the engine has, and if that is nothing receives once, as
 * much as there is, and has the plain text put where the protocol wants it. A
 * write is kept until the turn ends, so that small ones leave as one record; a
 * big one is made into records at once, from the caller's memory. Records are
 * sent from where they were made, or from memory that is shared: only what the
 * kernel does not take is copied, and no more are made until that has left.
 */
#include <errno.h>
#include <string.h>

#include "loop/op.h"
#include "net/transport_tls.h"

enum {
    IO_SIZE_MAX = 1 << 30,
    IO_RECORD = 16 * 1024,      /* plain text of a record */
    IO_RECORD_ROOM = 17 * 1024, /* what one takes at most */
    IO_RECORDS = 67 * 1024,     /* room for records; the rest is for */
    IO_PLAIN = KOLK__WIRE_SIZE - IO_RECORDS, /* small pieces, joined */
    IO_QUEUE_MAX = 16 * 1024,   /* records on the wire's queue before more
                                 * are made */
    IO_ANSWERS_MAX = 64 * 1024, /* that are not taken, before reading stops */
    IO_EMPTY_MAX = 1024 * 1024, /* bytes received without any plain text */
    IO_PIECES = 16,
};

_Static_assert(IO_PLAIN >= IO_RECORD, "a record's plain text has room");

/* ---- failing ---- */

void
kolk__tls_set_end(kolk__tls *self, int end)
{
    self->has_end = true;
    self->filter.holds = true; /* the end, which is to be told */
    self->end = end;
}

/* The engine has said `error`. Whoever reads is told in its place; what waits
 * to be written never leaves, so if nobody reads the pump will say so. */
static void
io_engine_failed(kolk__tls *self, int error)
{
    self->is_dead = true;
    self->error = self->engine->ops->error(self->engine);
    kolk__tls_set_end(self, error);
    if (!kolk__chunks_are_empty(&self->backlog)) {
        kolk__transport_join(self->transport, self->backlog.bytes);
    }
}

/* That nobody takes it any more is no news beside what has happened. */
void
kolk__tls_say_last(kolk__tls *self)
{
    kolk_transport *transport = self->transport;
    int before = transport->failure;

    kolk__tls_answer(self);
    kolk__transport_flush(transport);
    transport->failure = before;
}

void
kolk__tls_fail(kolk__tls *self, int error)
{
    if (!self->is_dead) {
        io_engine_failed(self, error);
    }
    kolk__tls_say_last(self);
    kolk__transport_lose(self->transport, error);
}

/* ---- records that have come ---- */

/* Copies them, into the engine, and what it does not take beside it. */
static void
input_feed(kolk__tls *self, const void *data, size_t size)
{
    int taken = 0;

    if (self->is_dead) {
        return;
    }
    if (kolk__bytes_size(&self->rest) == 0) {
        taken = self->engine->ops->feed(self->engine, data, size);
    }
    if (taken >= 0 && (size_t)taken < size) {
        int err = kolk__bytes_push(&self->rest, (const char *)data + taken,
                                   size - (size_t)taken);
        taken = err < 0 ? err : taken;
    }
    if (taken < 0) {
        io_engine_failed(self, taken);
    }
}

void
kolk__tls_input_begin(kolk__tls *self, const void *data, size_t size)
{
    if (self->engine->ops->lend == NULL || kolk__bytes_size(&self->rest) > 0) {
        input_feed(self, data, size);
        return;
    }
    self->loan = (kolk_tls_loan){.in = data, .in_size = size};
    self->is_lent = true;
    self->engine->ops->lend(self->engine, &self->loan);
}

void
kolk__tls_input_end(kolk__tls *self)
{
    if (self->is_lent) {
        self->is_lent = false;
        self->engine->ops->lend(self->engine, NULL);
        if (self->loan.in_size > 0) {
            input_feed(self, self->loan.in, self->loan.in_size);
        }
    }
}

bool
kolk__tls_input_again(kolk__tls *self)
{
    size_t size = kolk__bytes_size(&self->rest);

    if (size == 0 || self->is_dead) {
        return false;
    }
    int taken = self->engine->ops->feed(self->engine,
                                        kolk__bytes_data(&self->rest), size);
    if (taken < 0) {
        io_engine_failed(self, taken);
        return false;
    }
    kolk__bytes_skip(&self->rest, (size_t)taken);
    return taken > 0;
}

/* ---- reading ---- */

int
kolk__tls_take(kolk__tls *self, void *buffer, size_t size)
{
    const kolk_tls_engine_ops *ops = self->engine->ops;
    size_t got = 0;
    int result = -EAGAIN;

    size = size < IO_SIZE_MAX ? size : IO_SIZE_MAX;
    while (got < size && !self->has_end) {
        result = ops->read(self->engine, (char *)buffer + got, size - got);
        if (result > 0) {
            got += (size_t)result;
        } else if (result != -EAGAIN || !kolk__tls_input_again(self)) {
            break;
        }
    }
    if (self->has_end) {
        result = self->end;
    } else if (result < 0 && result != -EAGAIN) {
        io_engine_failed(self, result);
    } else if (result == 0) {
        kolk__tls_set_end(self, 0);
    } else if (result == -EAGAIN && self->is_wire_over) {
        kolk__tls_set_end(self, -KOLK_ETRUNCATED);
        result = self->end;
    }
    self->filter.holds = result != -EAGAIN;
    return got > 0 ? (int)got : result;
}

/* How much to receive at a time: what makes about `size` bytes of plain text,
 * so that not much has to be kept, but whole records. */
static size_t
io_wanted(size_t size)
{
    if (size < IO_RECORD) {
        return IO_RECORD_ROOM;
    }
    return size < IO_RECORDS - 1024 ? size + 1024 : IO_RECORDS;
}

/* What has come, or the end. */
static int
io_received(kolk__tls *self, const void *data, size_t got, void *buffer,
            size_t size)
{
    if (got == 0) {
        self->is_wire_over = true;
        if (self->state == KOLK__TLS_CLOSING) {
            /* That it says no good-bye makes no difference any more, and what
             * is left can still be sent. */
            kolk__tls_set_end(self, 0);
            return 0;
        }
        self->engine->ops->feed_eof(self->engine);
        return kolk__tls_take(self, buffer, size);
    }
    self->taken += got;
    kolk__tls_input_begin(self, data, got);
    int result = kolk__tls_take(self, buffer, size);
    kolk__tls_input_end(self);
    return result;
}

int
kolk__tls_receive(kolk__tls *self, void *buffer, size_t size, size_t limit)
{
    kolk_transport *transport = self->transport;
    void *wire = kolk__net_take_wire(transport->net);
    size_t received = 0;
    int result = -EAGAIN;

    if (wire == NULL) {
        return -ENOMEM;
    }
    while (result == -EAGAIN && !self->is_wire_over) {
        char *bytes = kolk__net_align(wire);
        int got = kolk__transport_recv(transport, bytes, io_wanted(size));

        if (got < 0) {
            result = got;
            break;
        }
        received += (size_t)got;
        result = io_received(self, bytes, (size_t)got, buffer, size);
        if (result == -EAGAIN && received > limit) {
            result = -KOLK_ELIMIT;
        }
    }
    kolk__net_give_wire(transport->net, wire);
    return result;
}

/* Has the other end let so many answers pile up that it may send no more before
 * it takes them? */
static bool
io_is_held(const kolk__tls *self)
{
    return self->answers > IO_ANSWERS_MAX
           && !kolk__transport_is_sent(self->transport);
}

int
kolk__tls_read(kolk__filter *filter, kolk_transport *transport, void *buffer,
               size_t size)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);
    int result = -EAGAIN;

    if (self->state == KOLK__TLS_SHAKING || io_is_held(self)) {
        return -EAGAIN;
    }
    if (filter->holds) {
        result = kolk__tls_take(self, buffer, size);
    }
    if (result == -EAGAIN) {
        result = kolk__tls_receive(self, buffer, size, IO_EMPTY_MAX);
    }
    kolk__tls_answer(self);
    if (kolk__tls_is_cut(self) && transport->failure == 0) {
        return transport->error != 0 ? transport->error : -ESHUTDOWN;
    }
    if (result < 0 && result != -EAGAIN) {
        kolk__tls_say_last(self);
    } else if (!kolk__chunks_are_empty(&self->backlog)) {
        kolk__transport_join(transport, self->backlog.bytes);
    }
    return result;
}

/* ---- records to be sent ---- */

/* Puts bytes on the wire's queue. Without memory there is a hole. */
static void
io_put(kolk__tls *self, const void *data, size_t size, bool now)
{
    kolk_transport *transport = self->transport;

    if (!kolk__tls_is_cut(self)) {
        int err = kolk__transport_put(transport, data, size, now);

        if (err < 0) {
            kolk__transport_lose(transport, err);
        }
    }
}

void
kolk__tls_answer(kolk__tls *self)
{
    const kolk_tls_engine_ops *ops = self->engine->ops;
    char bytes[4096];
    size_t size;

    if (ops->output_size(self->engine) == 0) {
        return;
    }
    while ((size = ops->output(self->engine, bytes, sizeof bytes)) > 0) {
        self->answers += size;
        io_put(self, bytes, size, false);
    }
}

/* Moves what the engine has to send behind what it has written to the loan. */
static void
records_gather(kolk__tls *self)
{
    const kolk_tls_engine_ops *ops = self->engine->ops;
    kolk_tls_loan *loan = &self->loan;
    size_t size;

    while (loan->out_size > 0
           && (size = ops->output(self->engine, loan->out, loan->out_size))
                  > 0) {
        loan->out = (char *)loan->out + size;
        loan->out_size -= size;
    }
}

/* Copies the first of the backlog, as much as one record takes; how much. */
static size_t
records_join(const kolk__chunks *backlog, char *plain)
{
    struct iovec pieces[IO_PIECES];
    int count = kolk__chunks_gather(backlog, pieces, IO_PIECES);
    size_t size = 0;

    for (int i = 0; i < count && size < IO_RECORD; i++) {
        size_t room = IO_RECORD - size, length = pieces[i].iov_len;

        length = length < room ? length : room;
        memcpy(plain + size, pieces[i].iov_base, length);
        size += length;
    }
    return size;
}

/* Writes the first of the backlog: a big piece as it is, small ones joined.
 * Returns 0, -EAGAIN, or the engine's error. */
static int
records_write(kolk__tls *self, char *plain)
{
    const kolk_link *ring = &self->backlog.ring;
    const kolk_chunk *first = KOLK_CONTAINER_OF(ring->next, kolk_chunk, link);
    const char *data = (const char *)first->data + first->sent;
    size_t size = first->size - first->sent;
    kolk_link done;

    if (size < IO_RECORD && ring->next != ring->prev) {
        size = records_join(&self->backlog, plain);
        data = plain;
    }
    size = size < KOLK__WRITE_ENOUGH ? size : KOLK__WRITE_ENOUGH;
    int taken = self->engine->ops->write(self->engine, data, size);
    if (taken <= 0) {
        return taken < 0 ? taken : -EAGAIN;
    }
    kolk__ring_init(&done);
    kolk__chunks_consume(&self->backlog, (size_t)taken, &done);
    kolk__chunks_release(&done); /* copies, or the caller's own memory */
    return 0;
}

/* Sends the one record that will be made, from the engine's memory. */
static size_t
records_send(kolk_tls_loan *loan, const void *data, size_t size)
{
    kolk__tls *self = KOLK_CONTAINER_OF(loan, kolk__tls, loan);
    bool is_first = loan->out_size == IO_RECORDS && self->send_error == 0;
    int result =
        is_first ? kolk__transport_send(self->transport, data, size) : 0;

    if (result < 0) {
        self->send_error = result;
    }
    return result > 0 ? (size_t)result : 0;
}

/* Makes records as many as there is room for, and sends them. One by itself
 * leaves from where it was made; several are gathered, and leave together. */
static int
records_make(kolk__tls *self, char *wire)
{
    kolk_tls_engine *engine = self->engine;
    int err = 0;

    self->send_error = 0;
    self->loan = (kolk_tls_loan){
        .out = wire,
        .out_size = IO_RECORDS,
        .send = self->backlog.bytes <= IO_RECORD ? records_send : NULL,
    };
    if (engine->ops->lend != NULL) {
        engine->ops->lend(engine, &self->loan);
    }
    while (err == 0 && self->loan.out_size >= IO_RECORD_ROOM
           && !kolk__chunks_are_empty(&self->backlog)) {
        err = records_write(self, wire + IO_RECORDS);
        records_gather(self);
    }
    if (engine->ops->lend != NULL) {
        engine->ops->lend(engine, NULL);
    }
    if (self->send_error < 0) {
        kolk__transport_write_failed(self->transport, self->send_error);
    }
    while (self->loan.out_size < IO_RECORDS) {
        io_put(self, wire, IO_RECORDS - self->loan.out_size, true);
        self->loan.out = wire;
        self->loan.out_size = IO_RECORDS;
        records_gather(self);
    }
    return err;
}

/* Is there something to make records of, and room for them? */
static bool
pump_may_go_on(const kolk__tls *self)
{
    return !kolk__chunks_are_empty(&self->backlog)
           && self->transport->queue.bytes <= IO_QUEUE_MAX
           && !kolk__tls_is_cut(self);
}

static void
pump_shut(kolk__tls *self)
{
    self->is_shut = true;
    int err = self->engine->ops->shutdown(self->engine);
    kolk__tls_answer(self);
    if (err < 0 && err != -EAGAIN) {
        kolk__tls_fail(self, err);
    }
}

/* The engine is dead: what waits to be written never leaves. */
static void
pump_nowhere(kolk__tls *self)
{
    kolk_transport *transport = self->transport;

    if (pump_may_go_on(self)) {
        self->is_pumping = true;
        transport->refs++;
        kolk__tls_fail(self, self->end);
        self->is_pumping = false;
        kolk__chunks_drop(&self->backlog);
        kolk_transport_unref(transport);
    }
}

void
kolk__tls_pump(kolk__tls *self)
{
    kolk_transport *transport = self->transport;
    int err = 0;

    if (self->is_pumping || self->is_lent || self->state == KOLK__TLS_SHAKING) {
        return;
    }
    if (self->is_dead) {
        pump_nowhere(self);
        return;
    }
    self->is_pumping = true;
    transport->refs++;
    if (pump_may_go_on(self)) {
        char *wire = kolk__net_take_wire(transport->net);

        err = wire != NULL ? 0 : -ENOMEM;
        while (err == 0 && pump_may_go_on(self)) {
            err = records_make(self, kolk__net_align(wire));
        }
        if (wire != NULL) {
            kolk__net_give_wire(transport->net, wire);
        }
    }
    self->is_pumping = false;
    if (kolk__tls_is_cut(self)) {
        kolk__chunks_drop(&self->backlog);
    } else if (err < 0 && err != -EAGAIN) {
        kolk__tls_fail(self, err);
    } else if (self->wants_end && !self->is_shut
               && kolk__chunks_are_empty(&self->backlog)
               && transport->into == &transport->queue) {
        pump_shut(self);
    }
    kolk_transport_unref(transport);
}

/* ---- writing ---- */

static size_t
plain_measure(const struct iovec *pieces, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        if (__builtin_add_overflow(size, pieces[i].iov_len, &size)
            || size > SSIZE_MAX) {
            return SIZE_MAX;
        }
    }
    return size;
}

/* From the caller's memory; what does not leave is copied. */
static int
plain_write_directly(kolk__tls *self, const struct iovec *pieces, int count)
{
    kolk_transport *transport = self->transport;
    kolk__direct direct;
    bool sent;

    transport->refs++;
    kolk__direct_push(&self->backlog, &direct, pieces, count);
    kolk__tls_pump(self);
    int err =
        kolk__direct_settle(&self->backlog, transport->net, &direct, &sent);
    if (err < 0 && sent) {
        kolk__transport_lose(transport, err); /* the stream has a hole */
    } else if (err == 0 && kolk__tls_is_cut(self) && transport->failure == 0) {
        err = -ESHUTDOWN;
    }
    kolk_transport_unref(transport);
    return err;
}

int
kolk__tls_write(kolk__filter *filter, kolk_transport *transport,
                const struct iovec *pieces, int count)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);
    size_t size = plain_measure(pieces, count);

    if (size == SIZE_MAX) {
        return -EINVAL;
    }
    if (size == 0) {
        return 0;
    }
    if (size >= KOLK__WRITE_BIG && count <= KOLK__DIRECT_MAX
        && self->state != KOLK__TLS_SHAKING && !self->is_pumping) {
        return plain_write_directly(self, pieces, count);
    }
    int err = kolk__chunks_copy(&self->backlog, transport->net, pieces, size);
    if (err == 0 && self->state != KOLK__TLS_SHAKING) {
        kolk__transport_join(transport, self->backlog.bytes);
    }
    return err;
}

void
kolk__tls_flush(kolk__filter *filter, kolk_transport *transport)
{
    (void)transport;
    kolk__tls_pump(KOLK_CONTAINER_OF(filter, kolk__tls, filter));
}

/* A pump that is at work drops it in its end. */
void
kolk__tls_drop(kolk__filter *filter)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);

    if (!self->is_pumping) {
        kolk__chunks_drop(&self->backlog);
    }
}

size_t
kolk__tls_waiting(const kolk__filter *filter)
{
    return KOLK_CONTAINER_OF(filter, kolk__tls, filter)->backlog.bytes;
}
