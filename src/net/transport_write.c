/* transport_write.c - a transport's writing: joining, sending, marks, the end.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is written stands in one queue of chunks, of users and of our own
 * blocks, and leaves by one system call. Small writes are copied into blocks
 * and wait for the end of the turn; a big one goes out at once, together with
 * what stands before it, straight from the caller's memory, and only what the
 * kernel did not take is copied.
 *
 * Chunks that have been sent are taken out of the queue and counted before any
 * is released, because that runs functions of users, which may write, close,
 * or let go of the transport.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/sys.h"
#include "loop/op.h"
#include "net/transport.h"

enum {
    WRITE_BIG = 8 * 1024,     /* bytes that are not copied before a try */
    WRITE_ENOUGH = 64 * 1024, /* joined bytes that leave at once */
    WRITE_PIECES = 64,        /* chunks of one system call */
};

/* ---- our own chunks ---- */

/* A block of the loop's. */
static void
write_block_released(kolk_chunk *chunk)
{
    kolk__net_give_block(chunk->reserved[0],
                         KOLK_CONTAINER_OF(chunk, kolk__block, chunk));
}

/* A block of its own size. */
static void
write_large_released(kolk_chunk *chunk)
{
    kolk__sys.free(KOLK_CONTAINER_OF(chunk, kolk__block, chunk));
}

static void
write_block_fill(kolk_transport *transport, kolk__block *block,
                 kolk_chunk_fn *released)
{
    block->chunk = (kolk_chunk){
        .data = block->bytes,
        .released = released,
        .reserved = {transport->net},
    };
}

/* Where copies can be added: the last block, and its room in `*room`. */
static kolk__block *
write_last(const kolk_transport *transport, size_t *room)
{
    const kolk_link *ring = &transport->chunks;
    kolk_chunk *last = KOLK_CONTAINER_OF(ring->prev, kolk_chunk, link);

    if (kolk__ring_is_empty(ring) || last->released != write_block_released) {
        *room = 0;
        return NULL;
    }
    *room = KOLK__BLOCK_BYTES - last->size;
    return KOLK_CONTAINER_OF(last, kolk__block, chunk);
}

/* Puts empty blocks for `size` bytes into `ring`. Returns 0 or -ENOMEM. */
static int
write_take_blocks(kolk_transport *transport, kolk_link *ring, size_t size)
{
    bool is_large = size > (size_t)2 * KOLK__BLOCK_BYTES;
    size_t each = is_large ? size : KOLK__BLOCK_BYTES;

    for (size_t taken = 0; taken < size; taken += each) {
        kolk__block *block = is_large ? kolk__sys.malloc(sizeof *block + each)
                                      : kolk__net_take_block(transport->net);

        if (block == NULL) {
            return -ENOMEM;
        }
        write_block_fill(transport, block,
                         is_large ? write_large_released
                                  : write_block_released);
        kolk__ring_push(ring, &block->chunk.link);
    }
    return 0;
}

/* Where bytes are copied from. */
struct write_source {
    const struct iovec *piece;
    size_t skip; /* of it */
};

/* Adds `size` bytes to `chunk`, a block's. */
static void
write_copy_into(kolk_chunk *chunk, struct write_source *source, size_t size)
{
    kolk__block *block = KOLK_CONTAINER_OF(chunk, kolk__block, chunk);

    while (size > 0) {
        const struct iovec *piece = source->piece;
        size_t left = piece->iov_len - source->skip;
        size_t part = left < size ? left : size;

        memcpy(block->bytes + chunk->size,
               (const char *)piece->iov_base + source->skip, part);
        chunk->size += part;
        size -= part;
        source->skip += part;
        if (part == left) {
            source->piece++;
            source->skip = 0;
        }
    }
}

static void
write_release(kolk_link *ring)
{
    while (!kolk__ring_is_empty(ring)) {
        kolk_chunk *chunk = KOLK_CONTAINER_OF(ring->next, kolk_chunk, link);

        kolk__ring_unlink(&chunk->link);
        chunk->released(chunk);
    }
}

/* Puts a copy of `size` bytes of `source` before `place` in the queue. Returns
 * 0, or -ENOMEM and nothing has changed. */
static int
write_copy_before(kolk_transport *transport, kolk_link *place,
                  struct write_source *source, size_t size)
{
    kolk_link fresh;

    kolk__ring_init(&fresh);
    int err = write_take_blocks(transport, &fresh, size);
    if (err < 0) {
        write_release(&fresh);
        return err;
    }
    while (!kolk__ring_is_empty(&fresh)) {
        kolk_chunk *chunk = KOLK_CONTAINER_OF(fresh.next, kolk_chunk, link);
        bool is_last = fresh.next == fresh.prev;
        size_t part = is_last ? size : (size_t)KOLK__BLOCK_BYTES;

        write_copy_into(chunk, source, part);
        size -= part;
        kolk__ring_unlink(&chunk->link);
        kolk__ring_push(place, &chunk->link);
    }
    return 0;
}

/* Puts a copy at the end of the queue; the same. What does not fit into the
 * last block begins a new one, as its bytes need not be cut then. */
static int
write_copy(kolk_transport *transport, const struct iovec *pieces, size_t size)
{
    struct write_source source = {.piece = pieces};
    size_t room;
    kolk__block *last = write_last(transport, &room);
    int err = 0;

    if (size <= room) {
        write_copy_into(&last->chunk, &source, size);
    } else {
        err = write_copy_before(transport, &transport->chunks, &source, size);
    }
    transport->waiting += err < 0 ? 0 : size;
    return err;
}

/* ---- sending ---- */

/* Takes `sent` bytes off the queue; chunks that are done go to `ring`. */
static void
write_consume(kolk_transport *transport, size_t sent, kolk_link *ring)
{
    transport->waiting -= sent;
    while (sent > 0) {
        kolk_chunk *chunk =
            KOLK_CONTAINER_OF(transport->chunks.next, kolk_chunk, link);
        size_t left = chunk->size - chunk->sent;

        if (sent < left) {
            chunk->sent += sent;
            return;
        }
        sent -= left;
        kolk__ring_unlink(&chunk->link);
        kolk__ring_push(ring, &chunk->link);
    }
}

/* Sends the first chunks by one system call: how many bytes, or an error. */
static ssize_t
write_once(kolk_transport *transport)
{
    struct iovec pieces[WRITE_PIECES];
    int count = 0;

    for (kolk_link *link = transport->chunks.next;
         link != &transport->chunks && count < WRITE_PIECES;
         link = link->next) {
        kolk_chunk *chunk = KOLK_CONTAINER_OF(link, kolk_chunk, link);

        pieces[count++] = (struct iovec){
            .iov_base = (char *)kolk__op_buffer(chunk->data) + chunk->sent,
            .iov_len = chunk->size - chunk->sent,
        };
    }
    return kolk__side_write(transport->out, pieces, count);
}

/* Everything has been sent. */
static void
write_drained(kolk_transport *transport)
{
    kolk__filter *filter = transport->filter;

    if (transport->ends_after && !transport->has_ended) {
        kolk__transport_end_wire(transport);
    }
    if (transport->is_finishing) {
        kolk__transport_lose(transport, 0);
    } else if (filter != NULL) {
        filter->ops->sent(filter, transport);
    }
}

/* Sends until all is out or the kernel refuses. What is released meanwhile may
 * write: that is joined, and does not send from inside of this. */
static void
write_send(kolk_transport *transport)
{
    kolk_link done;
    ssize_t result = 0;

    kolk__ring_init(&done);
    transport->is_sending = true;
    (void)kolk_transport_ref(transport);
    while (result >= 0 && !kolk__ring_is_empty(&transport->chunks)
           && transport->out->desc->ready_out) {
        result = write_once(transport);
        if (result > 0) {
            write_consume(transport, (size_t)result, &done);
        }
    }
    write_release(&done);
    transport->is_sending = false;
    if (result < 0 && result != -EAGAIN) {
        kolk__transport_write_failed(transport, (int)result);
    } else if (kolk__ring_is_empty(&transport->chunks)) {
        write_drained(transport);
    }
    kolk_transport_unref(transport);
}

void
kolk__transport_flush(kolk_transport *transport)
{
    if (transport->is_joined) {
        transport->is_joined = false;
        kolk__ring_unlink(&transport->joined);
    }
    if (!kolk__ring_is_empty(&transport->chunks) && !transport->is_sending) {
        write_send(transport);
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
kolk__transport_drop_chunks(kolk_transport *transport)
{
    kolk_link all;

    kolk__ring_init(&all);
    kolk__ring_splice(&all, &transport->chunks);
    transport->waiting = 0;
    write_release(&all);
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
    kolk__transport_drop_chunks(transport);
    kolk__transport_reading_changed(transport);
    kolk__transport_wake_reader(transport);
    if (was_pausing && transport->mode != KOLK__MODE_PUSH) {
        kolk__transport_queue(transport, KOLK__DO_RESUME);
    }
}

/* ---- marks ---- */

static size_t
write_waiting(const kolk_transport *transport)
{
    const kolk__filter *filter = transport->filter;

    return transport->waiting
           + (filter != NULL ? filter->ops->waiting(filter) : 0);
}

void
kolk__transport_check_marks(kolk_transport *transport)
{
    kolk_protocol *protocol = transport->protocol;
    size_t waiting = write_waiting(transport);

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

void
kolk__transport_write_ready(kolk_transport *transport)
{
    kolk__transport_flush(transport);
    if (transport->is_pausing) {
        kolk__transport_check_marks(transport);
    }
}

/* After bytes were added: they leave now or when the turn ends, and the
 * protocol is told if they are too many. */
static inline void
write_added(kolk_transport *transport, bool leaves_now)
{
    kolk_loop *loop = transport->loop;

    if (leaves_now || transport->waiting >= transport->flush_at
        || loop->write_delay < 0 || loop->runs == 0 || transport->sends_now) {
        kolk__transport_flush(transport);
    } else if (!transport->is_joined && transport->out->desc->ready_out) {
        transport->is_joined = true;
        kolk__ring_push(&transport->net->joined, &transport->joined);
        loop->attention |= KOLK__ATTENTION_JOINED;
    }
    if (KOLK_UNLIKELY(transport->waiting > transport->high)) {
        kolk__transport_check_marks(transport);
    }
}

/* ---- writing from the caller's memory ---- */

enum { WRITE_DIRECT_MAX = 16 }; /* pieces */

/* Pieces of the caller's memory that stand in the queue for one call. */
struct write_direct {
    kolk_chunk chunks[WRITE_DIRECT_MAX];
    int count;
};

static void
write_direct_released(kolk_chunk *chunk)
{
    chunk->data = NULL;
}

static void
write_direct_push(kolk_transport *transport, struct write_direct *direct,
                  const struct iovec *pieces, int count)
{
    direct->count = 0;
    for (int i = 0; i < count; i++) {
        kolk_chunk *chunk = &direct->chunks[direct->count];

        if (pieces[i].iov_len > 0) {
            *chunk = (kolk_chunk){.data = pieces[i].iov_base,
                                  .size = pieces[i].iov_len,
                                  .released = write_direct_released};
            kolk__ring_push(&transport->chunks, &chunk->link);
            transport->waiting += chunk->size;
            direct->count++;
        }
    }
}

/* Replaces what is left of them by copies. Returns 0; -ENOMEM, and then they
 * are just taken out; `*sent` says whether some of them has left. */
static int
write_direct_settle(kolk_transport *transport, struct write_direct *direct,
                    bool *sent)
{
    struct iovec rest[WRITE_DIRECT_MAX];
    kolk_link *place = NULL;
    size_t size = 0;
    int count = 0;

    *sent = false;
    for (int i = 0; i < direct->count; i++) {
        kolk_chunk *chunk = &direct->chunks[i];

        *sent = *sent || chunk->data == NULL || chunk->sent > 0;
        if (chunk->data != NULL) {
            rest[count].iov_base =
                (char *)kolk__op_buffer(chunk->data) + chunk->sent;
            rest[count].iov_len = chunk->size - chunk->sent;
            size += rest[count++].iov_len;
            place = chunk->link.next;
            kolk__ring_unlink(&chunk->link);
        }
    }
    if (size == 0) {
        return 0;
    }
    struct write_source source = {.piece = rest};
    int err = write_copy_before(transport, place, &source, size);
    transport->waiting -= err < 0 ? size : 0;
    return err;
}

/* Sends at once, and copies what the kernel does not take. */
static int
write_directly(kolk_transport *transport, const struct iovec *pieces, int count)
{
    struct write_direct direct;
    bool sent;

    (void)kolk_transport_ref(transport);
    write_direct_push(transport, &direct, pieces, count);
    kolk__transport_flush(transport);
    int err = write_direct_settle(transport, &direct, &sent);
    if (err < 0 && sent) {
        kolk__transport_lose(transport, err); /* the stream has a hole */
    } else if (err == 0) {
        write_added(transport, false);
    }
    kolk_transport_unref(transport);
    return err;
}

/* ---- the calls ---- */

int
kolk__transport_sendv(kolk_transport *transport, const struct iovec *pieces,
                      int count)
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
    if (size >= WRITE_BIG && count <= WRITE_DIRECT_MAX
        && transport->out->desc->ready_out && !transport->is_sending) {
        return write_directly(transport, pieces, count);
    }
    int err = write_copy(transport, pieces, size);
    if (err == 0) {
        write_added(transport, false);
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
    if (filter == NULL) {
        return kolk__transport_sendv(transport, pieces, count);
    }
    err = filter->ops->write(filter, transport, pieces, count);
    if (err == 0) {
        kolk__transport_check_marks(transport);
    }
    return err;
}

int
kolk_transport_write(kolk_transport *transport, const void *data, size_t size)
{
    struct iovec piece = {.iov_base = kolk__op_buffer(data), .iov_len = size};
    int err = write_check(transport, "kolk_transport_write()");
    size_t room;

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (KOLK_UNLIKELY(transport->filter != NULL)) {
        return kolk_transport_writev(transport, &piece, 1);
    }
    kolk__block *last = write_last(transport, &room);
    if (size > room || size == 0) {
        return kolk__transport_sendv(transport, &piece, 1);
    }
    memcpy(last->bytes + last->chunk.size, data, size);
    last->chunk.size += size;
    transport->waiting += size;
    write_added(transport, false);
    return 0;
}

int
kolk_transport_write_chunk(kolk_transport *transport, kolk_chunk *chunk)
{
    int err = write_check(transport, "kolk_transport_write_chunk()");

    if (err < 0) {
        return err;
    }
    chunk->sent = 0;
    if (transport->filter != NULL) {
        err = kolk_transport_write(transport, chunk->data, chunk->size);
        if (err == 0) {
            chunk->released(chunk);
        }
        return err;
    }
    if (chunk->size == 0) {
        chunk->released(chunk);
        return 0;
    }
    size_t size = chunk->size;
    (void)kolk_transport_ref(transport); /* what it releases may be the last */
    kolk__ring_push(&transport->chunks, &chunk->link);
    transport->waiting += size;
    write_added(transport, size >= WRITE_BIG);
    kolk_transport_unref(transport);
    return 0;
}

/* ---- the end of the stream ---- */

bool
kolk_transport_can_write_eof(const kolk_transport *transport)
{
    if (transport->filter != NULL) {
        return true;
    }
    return !transport->only_reads
           && (transport->out->kind == KOLK__SIDE_SOCKET
               || (transport->out->kind == KOLK__SIDE_PIPE
                   && (transport->only_writes
                       || transport->out == &transport->other)));
}

void
kolk__transport_end_wire(kolk_transport *transport)
{
    kolk__side *out = transport->out;

    transport->has_ended = true;
    if (out->kind == KOLK__SIDE_SOCKET) {
        /* Fails for a connection that is gone already, which reading tells. */
        (void)kolk__sys.shutdown(out->fd, SHUT_WR);
    }
    if (out == &transport->other) {
        kolk__side_unlisten(transport, out);
        kolk__side_close(out);
    } else if (transport->only_writes) {
        kolk__transport_finish(transport);
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
        return transport->write_error == -EPIPE ? 0 : transport->write_error;
    }
    transport->write_error = -EPIPE;
    if (filter != NULL) {
        return filter->ops->write_eof(filter, transport);
    }
    kolk__transport_end_write(transport);
    return 0;
}

void
kolk__transport_end_write(kolk_transport *transport)
{
    transport->ends_after = true;
    kolk__transport_flush(transport);
    if (kolk__ring_is_empty(&transport->chunks) && !transport->has_ended) {
        kolk__transport_end_wire(transport);
    }
}

/* ---- how much waits ---- */

size_t
kolk_transport_buffer_size(kolk_transport *transport)
{
    if (kolk__loop_check(transport->loop, "kolk_transport_buffer_size()")
        == 0) {
        kolk__transport_flush(transport);
    }
    return write_waiting(transport);
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
    transport->flush_at = high < WRITE_ENOUGH ? high + 1 : WRITE_ENOUGH;
    if (!transport->is_closing
        && kolk__loop_check(transport->loop,
                            "kolk_transport_set_write_limits()")
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
