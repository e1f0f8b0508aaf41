/* chunk.c - bytes that wait to be sent. See chunk.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Small copies share a block of the loop's; what is more than two of those gets
 * one of its own size.
 */
#include "net/chunk.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "loop/op.h"

/* ---- blocks ---- */

/* Of a block of its own size. */
static void
chunk_large_released(kolk_chunk *chunk)
{
    kolk__sys.free(KOLK_CONTAINER_OF(chunk, kolk__block, chunk));
}

static kolk__block *
chunk_new_large(size_t size)
{
    kolk__block *block = kolk__sys.malloc(sizeof *block + size);

    if (block != NULL) {
        block->chunk = (kolk_chunk){.data = block->bytes,
                                    .released = chunk_large_released};
    }
    return block;
}

/* Puts empty blocks for `size` bytes into `ring`. Returns 0 or -ENOMEM. */
static int
chunk_take_blocks(kolk__net *net, kolk_link *ring, size_t size)
{
    bool is_large = size > (size_t)2 * KOLK__BLOCK_BYTES;
    size_t each = is_large ? size : KOLK__BLOCK_BYTES;

    for (size_t taken = 0; taken < size; taken += each) {
        kolk__block *block =
            is_large ? chunk_new_large(each) : kolk__net_take_block(net);

        if (block == NULL) {
            return -ENOMEM;
        }
        kolk__ring_push(ring, &block->chunk.link);
    }
    return 0;
}

/* ---- copying ---- */

/* Where bytes are copied from. */
struct chunk_source {
    const struct iovec *piece;
    size_t skip; /* of it */
};

/* Adds `size` bytes to `block`. */
static void
chunk_fill(kolk__block *block, struct chunk_source *source, size_t size)
{
    while (size > 0) {
        const struct iovec *piece = source->piece;
        size_t left = piece->iov_len - source->skip;
        size_t part = left < size ? left : size;

        if (part > 0) { /* an empty one may be NULL */
            memcpy(block->bytes + block->chunk.size,
                   (const char *)piece->iov_base + source->skip, part);
        }
        block->chunk.size += part;
        size -= part;
        source->skip += part;
        if (part == left) {
            source->piece++;
            source->skip = 0;
        }
    }
}

int
kolk__chunks_copy_before(kolk__chunks *self, kolk__net *net, kolk_link *place,
                         const struct iovec *pieces, size_t size)
{
    struct chunk_source source = {.piece = pieces};
    kolk_link fresh;

    kolk__ring_init(&fresh);
    int err = chunk_take_blocks(net, &fresh, size);
    if (err < 0) {
        kolk__chunks_release(&fresh);
        return err;
    }
    self->bytes += size;
    while (!kolk__ring_is_empty(&fresh)) {
        kolk__block *block =
            KOLK_CONTAINER_OF(fresh.next, kolk__block, chunk.link);
        bool is_last = fresh.next == fresh.prev;
        size_t part = is_last ? size : (size_t)KOLK__BLOCK_BYTES;

        chunk_fill(block, &source, part);
        size -= part;
        kolk__ring_unlink(&block->chunk.link);
        kolk__ring_push(place, &block->chunk.link);
    }
    return 0;
}

/* What does not fit into the last block begins a new one, as its bytes need
 * not be cut then. */
int
kolk__chunks_copy(kolk__chunks *self, kolk__net *net,
                  const struct iovec *pieces, size_t size)
{
    struct chunk_source source = {.piece = pieces};
    size_t room;
    kolk__block *last = kolk__chunks_last(self, &room);

    if (size > room) {
        return kolk__chunks_copy_before(self, net, &self->ring, pieces, size);
    }
    chunk_fill(last, &source, size);
    self->bytes += size;
    return 0;
}

/* ---- sending ---- */

int
kolk__chunks_gather(const kolk__chunks *self, struct iovec *pieces, int max)
{
    const kolk_link *link = self->ring.next;
    int count = 0;

    for (; link != &self->ring && count < max; link = link->next) {
        const kolk_chunk *chunk = KOLK_CONTAINER_OF(link, kolk_chunk, link);

        pieces[count].iov_base =
            (char *)kolk__op_buffer(chunk->data) + chunk->sent;
        pieces[count++].iov_len = chunk->size - chunk->sent;
    }
    return count;
}

void
kolk__chunks_consume(kolk__chunks *self, size_t sent, kolk_link *ring)
{
    self->bytes -= sent;
    while (sent > 0) {
        kolk_chunk *chunk =
            KOLK_CONTAINER_OF(self->ring.next, kolk_chunk, link);
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

void
kolk__chunks_release(kolk_link *ring)
{
    while (!kolk__ring_is_empty(ring)) {
        kolk_chunk *chunk = KOLK_CONTAINER_OF(ring->next, kolk_chunk, link);

        kolk__ring_unlink(&chunk->link);
        chunk->released(chunk);
    }
}

void
kolk__chunks_drop(kolk__chunks *self)
{
    kolk_link all;

    kolk__ring_init(&all);
    kolk__ring_splice(&all, &self->ring);
    self->bytes = 0;
    kolk__chunks_release(&all);
}

void
kolk__chunks_splice(kolk__chunks *self, kolk__chunks *from)
{
    kolk__ring_splice(&self->ring, &from->ring);
    self->bytes += from->bytes;
    from->bytes = 0;
}

/* ---- memory of the caller's ---- */

static void
direct_released(kolk_chunk *chunk)
{
    chunk->data = NULL;
}

void
kolk__direct_push(kolk__chunks *self, kolk__direct *direct,
                  const struct iovec *pieces, int count)
{
    direct->count = 0;
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0) {
            kolk_chunk *chunk = &direct->chunks[direct->count++];

            *chunk = (kolk_chunk){.data = pieces[i].iov_base,
                                  .size = pieces[i].iov_len,
                                  .released = direct_released};
            kolk__chunks_push(self, chunk);
        }
    }
}

/* Takes those that are left out, and puts copies in their place. */
static int
direct_replace(kolk__chunks *self, kolk__net *net, kolk__direct *direct)
{
    struct iovec rest[KOLK__DIRECT_MAX] = {0};
    kolk_link *place = NULL;
    size_t size = 0;
    int count = 0;

    for (int i = 0; i < direct->count; i++) {
        kolk_chunk *chunk = &direct->chunks[i];

        if (chunk->data != NULL) {
            rest[count].iov_base =
                (char *)kolk__op_buffer(chunk->data) + chunk->sent;
            rest[count].iov_len = chunk->size - chunk->sent;
            size += rest[count++].iov_len;
            place = chunk->link.next;
            kolk__ring_unlink(&chunk->link);
        }
    }
    self->bytes -= size;
    return kolk__chunks_copy_before(self, net, place, rest, size);
}

int
kolk__direct_settle(kolk__chunks *self, kolk__net *net, kolk__direct *direct,
                    bool *sent)
{
    bool is_left = false;

    *sent = false;
    for (int i = 0; i < direct->count; i++) {
        const kolk_chunk *chunk = &direct->chunks[i];

        *sent = *sent || chunk->data == NULL || chunk->sent > 0;
        is_left = is_left || chunk->data != NULL;
    }
    return is_left ? direct_replace(self, net, direct) : 0;
}
