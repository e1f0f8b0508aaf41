/* transport_send.c - a transport's sending: the queue, marks, the stream's end.
 *
 * SPDX-License-Identifier: MIT
 *
 * The queue leaves by as few system calls as possible, until the kernel
 * refuses; an event then tells when to go on. Chunks that have been sent are
 * taken out and counted before any is released, because that runs functions of
 * users, which may write, close, or let go of the transport.
 */
#include <errno.h>

#include "base/sys.h"
#include "loop/op.h"
#include "net/sendfile.h"
#include "net/transport.h"

enum { SEND_PIECES = 128 }; /* chunks of one system call */

/* ---- the queue ---- */

/* Everything has been sent, and something else is to follow. */
static void
send_follow(kolk_transport *transport)
{
    kolk__filter *filter = transport->filter;

    if (transport->sendfile != NULL) {
        kolk__transport_queue(transport, KOLK__DO_WRITE);
        return;
    }
    if (transport->ends_after && !transport->has_ended) {
        kolk__transport_end_wire(transport);
    }
    if (transport->is_finishing) {
        kolk__transport_lose(transport, 0);
    } else if (filter != NULL) {
        filter->ops->sent(filter, transport);
    }
}

static inline void
send_drained(kolk_transport *transport)
{
    if (KOLK_UNLIKELY(transport->write_error != 0 /* it is to end */
                      || transport->sendfile != NULL
                      || transport->filter != NULL)) {
        send_follow(transport);
    }
}

/* What the last write of several has come to: `result` bytes, or an error. */
static void
send_settle(kolk_transport *transport, ssize_t result)
{
    if (result < 0 && result != -EAGAIN) {
        kolk__transport_write_failed(transport, (int)result);
    } else if (kolk__chunks_are_empty(&transport->queue)) {
        send_drained(transport);
    } else if (transport->out->desc->ready_out && !transport->is_joined) {
        kolk__transport_queue(transport, KOLK__DO_WRITE);
    }
}

/* Sends until all is out or the kernel refuses. What is released may write:
 * that leaves later, since it could go on for ever, one inside the other. */
static void
send_all(kolk_transport *transport)
{
    kolk__chunks *queue = &transport->queue;
    struct iovec pieces[SEND_PIECES];
    kolk_link done;
    ssize_t result = 0;

    kolk__ring_init(&done);
    transport->is_sending = true;
    transport->refs++;
    while (result >= 0 && !kolk__chunks_are_empty(queue)
           && transport->out->desc->ready_out) {
        int count = kolk__chunks_gather(queue, pieces, SEND_PIECES);

        result = count == 1 ? kolk__side_write_one(transport->out, pieces)
                            : kolk__side_write(transport->out, pieces, count);
        if (result > 0) {
            kolk__chunks_consume(queue, (size_t)result, &done);
        }
    }
    kolk__chunks_release(&done);
    transport->is_sending = false;
    send_settle(transport, result);
    kolk_transport_unref(transport);
}

/* Is one block, for a socket, all there is? */
static inline bool
send_is_plain(const kolk_transport *transport, const kolk_chunk *chunk)
{
    return chunk->link.next == &transport->queue.ring && chunk->sent == 0
           && chunk->released == kolk__block_released
           && transport->out->desc->ready_out
           && transport->out->kind == KOLK__SIDE_SOCKET;
}

static __attribute__((noinline)) void
send_block_failed(kolk_transport *transport, int err)
{
    if (err == EINTR) {
        send_all(transport);
    } else {
        send_settle(transport, kolk__side_write_failed(transport->out, err));
    }
}

/* The same as send_all() for what most messages are. */
static inline void
send_block(kolk_transport *transport, kolk_chunk *chunk)
{
    ssize_t result = kolk__side_send(transport->out, chunk->data, chunk->size);

    if (KOLK_UNLIKELY(result < 0)) {
        send_block_failed(transport, errno);
        return;
    }
    if (KOLK_UNLIKELY((size_t)result < chunk->size)) {
        chunk->sent = (size_t)result;
        transport->queue.bytes -= chunk->sent;
        send_all(transport);
        return;
    }
    kolk__chunks_init(&transport->queue);
    kolk__net_give_block(transport->net,
                         KOLK_CONTAINER_OF(chunk, kolk__block, chunk));
    send_drained(transport);
}

void
kolk__transport_flush(kolk_transport *transport)
{
    if (transport->is_joined) {
        transport->is_joined = false;
        kolk__ring_unlink(&transport->joined);
    }
    if (KOLK_UNLIKELY(transport->filter != NULL)) {
        transport->filter->ops->flush(transport->filter, transport);
    }
    if (kolk__chunks_are_empty(&transport->queue) || transport->is_sending) {
        return;
    }
    kolk_chunk *first =
        KOLK_CONTAINER_OF(transport->queue.ring.next, kolk_chunk, link);
    if (KOLK_LIKELY(send_is_plain(transport, first))) {
        send_block(transport, first);
    } else {
        send_all(transport);
    }
}

void
kolk__transport_go_on(kolk_transport *transport)
{
    kolk__transport_flush(transport);
    if (kolk__chunks_are_empty(&transport->queue) && !transport->is_sending) {
        send_drained(transport);
    }
}

void
kolk_transport_flush(kolk_transport *transport)
{
    if (kolk__loop_check(transport->loop, "kolk_transport_flush()") == 0) {
        kolk__transport_flush(transport);
    }
}

void
kolk__transport_write_ready(kolk_transport *transport)
{
    kolk__transport_flush(transport);
    if (transport->sendfile != NULL && transport->out->desc->ready_out
        && kolk__chunks_are_empty(&transport->queue)) {
        kolk__sendfile_step(transport);
    }
    if (transport->is_pausing) {
        kolk__transport_check_marks(transport);
    }
}

void
kolk__transport_drop_chunks(kolk_transport *transport, int error)
{
    if (transport->sendfile != NULL) {
        kolk__sendfile_end(transport, error);
    }
    kolk__chunks_drop(&transport->queue);
}

void
kolk__transport_write_failed(kolk_transport *transport, int error)
{
    bool was_pausing = transport->is_pausing;

    if (transport->is_closing || transport->is_ended || transport->only_writes
        || transport->in.fd < 0) {
        kolk__transport_lose(transport, error);
        return;
    }
    transport->write_error = -ESHUTDOWN;
    transport->failure = error;
    transport->in.desc->ready_in = true; /* the event may still be on its way */
    kolk__transport_drop_chunks(transport, error);
    if (transport->filter != NULL) {
        transport->filter->ops->drop(transport->filter);
    }
    kolk__transport_reading_changed(transport);
    kolk__transport_wake_reader(transport);
    if (was_pausing && transport->mode != KOLK__MODE_PUSH) {
        kolk__transport_queue(transport, KOLK__DO_RESUME);
    }
}

/* ---- marks ---- */

/* Bytes in every queue. */
static size_t
send_waiting(const kolk_transport *transport)
{
    const kolk__filter *filter = transport->filter;
    size_t waiting = transport->queue.bytes;

    if (transport->into != &transport->queue) {
        waiting += transport->into->bytes;
    }
    return waiting + (filter != NULL ? filter->ops->waiting(filter) : 0);
}

void
kolk__transport_check_marks(kolk_transport *transport)
{
    kolk_protocol *protocol = transport->protocol;
    size_t waiting = send_waiting(transport);

    if (transport->is_closing) {
        return;
    }
    if (!transport->is_pausing && waiting > transport->high) {
        transport->is_pausing = true;
        if (protocol->ops->pause_writing != NULL) {
            protocol->ops->pause_writing(protocol, transport);
        }
    } else if (transport->is_pausing && waiting <= transport->low) {
        transport->is_pausing = false;
        if (protocol->ops->resume_writing != NULL) {
            protocol->ops->resume_writing(protocol, transport);
        }
    }
}

size_t
kolk_transport_buffer_size(kolk_transport *transport)
{
    kolk_transport_flush(transport);
    return send_waiting(transport);
}

int
kolk_transport_set_write_limits(kolk_transport *transport, size_t high,
                                size_t low)
{
    if (low > high) {
        return -EINVAL;
    }
    transport->high = high;
    transport->low = low;
    if (transport->flush_at != 0) {
        transport->flush_at =
            high < KOLK__WRITE_ENOUGH ? high + 1 : KOLK__WRITE_ENOUGH;
    }
    if (kolk__loop_check(transport->loop, "kolk_transport_set_write_limits()")
        == 0) {
        kolk__transport_check_marks(transport);
    }
    return 0;
}

void
kolk_transport_write_limits(const kolk_transport *transport, size_t *high,
                            size_t *low)
{
    *high = transport->high;
    *low = transport->low;
}

/* ---- the end of the stream ---- */

/* Does closing the writing descriptor alone end the stream? */
static bool
send_ends_by_closing(const kolk_transport *transport)
{
    return transport->out->kind == KOLK__SIDE_PIPE && !transport->is_borrowed
           && (transport->only_writes || transport->out == &transport->other);
}

bool
kolk_transport_can_write_eof(const kolk_transport *transport)
{
    return !transport->only_reads
           && (transport->filter != NULL
               || transport->out->kind == KOLK__SIDE_SOCKET
               || send_ends_by_closing(transport));
}

void
kolk__transport_end_wire(kolk_transport *transport)
{
    kolk__side *out = transport->out;

    transport->has_ended = true;
    if (out->kind == KOLK__SIDE_SOCKET && out->fd >= 0) {
        /* Fails for a connection that is gone already, which reading tells. */
        (void)kolk__sys.shutdown(out->fd, SHUT_WR);
    }
    if (out == &transport->other && !transport->is_borrowed) {
        kolk__side_unlisten(transport, out);
        kolk__side_close(out);
    } else if (transport->only_writes && out->kind != KOLK__SIDE_SOCKET) {
        kolk__transport_finish(transport);
    }
}

void
kolk__transport_end_write(kolk_transport *transport)
{
    transport->ends_after = true;
    kolk__transport_flush(transport);
    if (kolk__transport_is_sent(transport) && !transport->has_ended) {
        kolk__transport_end_wire(transport);
    }
}

int
kolk_transport_write_eof(kolk_transport *transport)
{
    kolk__filter *filter = transport->filter;
    int err = kolk__loop_check(transport->loop, "kolk_transport_write_eof()");

    if (err < 0) {
        return err;
    }
    if (!kolk_transport_can_write_eof(transport)) {
        return -EOPNOTSUPP;
    }
    if (transport->write_error != 0) {
        /* It ends, or has ended, already. */
        return transport->write_error == -EPIPE ? 0 : transport->write_error;
    }
    transport->write_error = -EPIPE;
    if (filter != NULL) {
        return filter->ops->write_eof(filter, transport);
    }
    kolk__transport_end_write(transport);
    return 0;
}
