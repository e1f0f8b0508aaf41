/* transport_write.c - writing to a transport: joining, or sending at once.
 *
 * SPDX-License-Identifier: MIT
 *
 * Small writes are copied, and wait for the end of the turn. A big one goes out
 * at once, together with what stands before it, straight from the caller's
 * memory, and only what the kernel did not take is copied. So does a small one
 * of which it is known that nothing would join it.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "loop/op.h"
#include "net/transport.h"

/* Turns with one write, before it is believed that there will be no other. */
enum { WRITE_ALONE = 8 };

/* Are the loop's writes joined at all? */
static inline bool
write_is_joined(const kolk_loop *loop)
{
    return KOLK_LIKELY((loop->attention & KOLK__ATTENTION_JOINED) != 0)
           || (loop->write_delay >= 0 && loop->runs > 0);
}

/* After bytes were added to where there are `bytes` now: they leave now or when
 * the turn ends. */
static inline void
write_join(kolk_transport *transport, size_t bytes, bool leaves_now)
{
    kolk_loop *loop = transport->loop;

    if (leaves_now || bytes >= transport->flush_at || !write_is_joined(loop)) {
        kolk__transport_flush(transport);
    } else if (transport->is_joined) {
        transport->alone = 0;
    } else if (transport->out->desc->ready_out) {
        transport->is_joined = true;
        kolk__ring_push(&transport->net->joined, &transport->joined);
        loop->attention |= KOLK__ATTENTION_JOINED;
    }
}

/* The same for a queue; and the protocol is told if they are too many. */
static inline void
write_added(kolk_transport *transport, const kolk__chunks *queue,
            bool leaves_now)
{
    write_join(transport, queue->bytes, leaves_now);
    if (KOLK_UNLIKELY(queue->bytes > transport->high)) {
        kolk__transport_check_marks(transport);
    }
}

void
kolk__transport_join(kolk_transport *transport, size_t bytes)
{
    write_join(transport, bytes, false);
}

/* Sends at once, and copies what the kernel does not take. */
static int
write_directly(kolk_transport *transport, const struct iovec *pieces, int count)
{
    kolk__chunks *queue = &transport->queue;
    kolk__direct direct;
    bool sent;

    transport->refs++;
    kolk__direct_push(queue, &direct, pieces, count);
    kolk__transport_flush(transport);
    int err = kolk__direct_settle(queue, transport->net, &direct, &sent);
    if (err == 0 && !kolk__chunks_are_empty(queue)) {
        write_added(transport, queue, false);
    } else if (err < 0 && sent) {
        kolk__transport_lose(transport, err); /* the stream has a hole */
    }
    kolk_transport_unref(transport);
    return err;
}

/* May a write go to the kernel from inside the call? */
static bool
write_may_go(const kolk_transport *transport)
{
    return transport->out->desc->ready_out && !transport->is_sending;
}

/* The same for one piece that nothing stands before. */
static __attribute__((noinline)) int
write_at_once(kolk_transport *transport, const void *data, size_t size)
{
    struct iovec piece = {.iov_base = kolk__op_buffer(data), .iov_len = size};
    ssize_t result = kolk__side_write_one(transport->out, &piece);

    if (KOLK_LIKELY(result == (ssize_t)size)) {
        return 0;
    }
    if (result < 0 && result != -EAGAIN) {
        kolk__transport_write_failed(transport, (int)result);
        return 0; /* it is told as that of a joined write is */
    }
    transport->refs++;
    if (result > 0) {
        piece.iov_base = (char *)piece.iov_base + result;
        piece.iov_len -= (size_t)result;
    }
    int err = write_directly(transport, &piece, 1);
    if (err < 0 && result > 0) {
        kolk__transport_lose(transport, err); /* the stream has a hole */
    }
    kolk_transport_unref(transport);
    return err;
}

/* Is there nothing that bytes for the wire would have to wait for, or be put
 * behind? */
static bool
write_wire_is_free(const kolk_transport *transport)
{
    return transport->into == &transport->queue
           && kolk__chunks_are_empty(&transport->queue)
           && write_may_go(transport);
}

/* May one piece of the user's leave as it is? */
static bool
write_is_free(const kolk_transport *transport)
{
    return transport->filter == NULL && write_wire_is_free(transport);
}

/* A write in a turn in which nothing else is ready. Is it the only one? In the
 * last turns that were like that, it was. */
static bool
write_is_single(kolk_transport *transport)
{
    uint32_t turn = transport->loop->turn;

    if (transport->alone_turn == turn) {
        transport->alone = 0; /* it was not */
        return false;
    }
    transport->alone_turn = turn;
    if (transport->alone < WRITE_ALONE) {
        transport->alone++;
        return false;
    }
    return true;
}

/* A small write, the first since the loop has sent all: shall it leave as it
 * is? Not if other connections' bytes may leave along with it. */
static __attribute__((noinline)) bool
write_leaves(kolk_transport *transport)
{
    return kolk__ready_first(transport->loop) == NULL
           && write_is_free(transport)
           && (!write_is_joined(transport->loop) || write_is_single(transport));
}

int
kolk__transport_put(kolk_transport *transport, const void *data, size_t size,
                    bool now)
{
    struct iovec piece = {.iov_base = kolk__op_buffer(data), .iov_len = size};

    if (now && write_may_go(transport)) {
        return write_directly(transport, &piece, 1);
    }
    int err =
        kolk__chunks_copy(&transport->queue, transport->net, &piece, size);
    if (err == 0) {
        write_added(transport, &transport->queue, false);
    }
    return err;
}

int
kolk__transport_send(kolk_transport *transport, const void *data, size_t size)
{
    struct iovec piece = {.iov_base = kolk__op_buffer(data), .iov_len = size};

    if (!write_wire_is_free(transport)) {
        return 0;
    }
    ssize_t result = kolk__side_write_one(transport->out, &piece);
    return result == -EAGAIN ? 0 : (int)result;
}

/* ---- the calls ---- */

/* Writes to the wire, or behind a file that is on its way. */
static int
write_pieces(kolk_transport *transport, const struct iovec *pieces, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        if (__builtin_add_overflow(size, pieces[i].iov_len, &size)
            || size > SSIZE_MAX) {
            return -EINVAL;
        }
    }
    if (size == 0) {
        return 0;
    }
    if (size >= KOLK__WRITE_BIG && count == 1 && write_is_free(transport)) {
        return write_at_once(transport, pieces->iov_base, size);
    }
    if (size >= KOLK__WRITE_BIG && count <= KOLK__DIRECT_MAX
        && transport->into == &transport->queue && write_may_go(transport)) {
        return write_directly(transport, pieces, count);
    }
    int err = kolk__chunks_copy(transport->into, transport->net, pieces, size);
    if (err == 0) {
        write_added(transport, transport->into, false);
    }
    return err;
}

/* May something be written now? */
static inline int
write_check(const kolk_transport *transport, const char *what)
{
    int err = kolk__loop_check(transport->loop, what);

    return KOLK_UNLIKELY(err < 0) ? err : transport->write_error;
}

int
kolk_transport_writev(kolk_transport *transport, const struct iovec *pieces,
                      int count)
{
    kolk__filter *filter = transport->filter;
    int err = write_check(transport, "kolk_transport_writev()");

    if (err < 0) {
        return err;
    }
    if (count < 0) {
        return -EINVAL;
    }
    if (filter == NULL || transport->into != &transport->queue) {
        return write_pieces(transport, pieces, count);
    }
    err = filter->ops->write(filter, transport, pieces, count);
    if (err == 0) {
        kolk__transport_check_marks(transport);
    }
    return err;
}

static __attribute__((noinline)) int
write_otherwise(kolk_transport *transport, const void *data, size_t size)
{
    struct iovec piece = {.iov_base = kolk__op_buffer(data), .iov_len = size};

    return kolk_transport_writev(transport, &piece, 1);
}

int
kolk_transport_write(kolk_transport *transport, const void *data, size_t size)
{
    kolk__chunks *queue = transport->into;
    int err = write_check(transport, "kolk_transport_write()");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (size > KOLK__BLOCK_BYTES || size == 0
        || KOLK_UNLIKELY(transport->filter != NULL)) {
        return write_otherwise(transport, data, size);
    }
    if (KOLK_UNLIKELY((transport->loop->attention & KOLK__ATTENTION_JOINED)
                      == 0)
        && write_leaves(transport)) {
        return write_at_once(transport, data, size);
    }
    kolk__block *block = kolk__chunks_reserve(queue, transport->net, size);
    if (KOLK_UNLIKELY(block == NULL)) {
        return write_otherwise(transport, data, size);
    }
    memcpy(block->bytes + block->chunk.size, data, size);
    block->chunk.size += size;
    queue->bytes += size;
    write_added(transport, queue, false);
    return 0;
}

/* Under a filter nothing is borrowed for long. */
static int
write_chunk_filtered(kolk_transport *transport, kolk_chunk *chunk)
{
    int err = kolk_transport_write(transport, chunk->data, chunk->size);

    if (err == 0) {
        chunk->released(chunk);
    }
    return err;
}

int
kolk_transport_write_chunk(kolk_transport *transport, kolk_chunk *chunk)
{
    int err = write_check(transport, "kolk_transport_write_chunk()");

    if (err < 0) {
        return err;
    }
    if (transport->filter != NULL) {
        return write_chunk_filtered(transport, chunk);
    }
    size_t size = chunk->size;
    chunk->sent = 0;
    if (size == 0) {
        chunk->released(chunk);
        return 0;
    }
    transport->refs++; /* what is released may be the last reference */
    kolk__chunks_push(transport->into, chunk);
    write_added(transport, transport->into, size >= KOLK__WRITE_BIG);
    kolk_transport_unref(transport);
    return 0;
}
