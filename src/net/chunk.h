/* chunk.h - bytes that wait to be sent.
 *
 * SPDX-License-Identifier: MIT
 *
 * A queue of chunks: those that users lend, and blocks of ours with copies,
 * which are chunks as well, so that there is one kind of member. None of them
 * is empty.
 */
#pragma once

#include "net/net.h"

typedef struct kolk__chunks {
    kolk_link ring;
    size_t bytes; /* that have not been sent */
} kolk__chunks;

static inline void
kolk__chunks_init(kolk__chunks *self)
{
    kolk__ring_init(&self->ring);
    self->bytes = 0;
}

static inline bool
kolk__chunks_are_empty(const kolk__chunks *self)
{
    return self->bytes == 0;
}

/* Puts `chunk` at the end. */
static inline void
kolk__chunks_push(kolk__chunks *self, kolk_chunk *chunk)
{
    kolk__ring_push(&self->ring, &chunk->link);
    self->bytes += chunk->size;
}

/* The block at the end to which copies can be added, with its room in `*room`.
 * Without one there is no room. */
static inline kolk__block *
kolk__chunks_last(const kolk__chunks *self, size_t *room)
{
    const kolk_link *ring = &self->ring;
    kolk_chunk *last = KOLK_CONTAINER_OF(ring->prev, kolk_chunk, link);

    if (kolk__ring_is_bare(ring) || last->released != kolk__block_released) {
        *room = 0;
        return NULL;
    }
    *room = KOLK__BLOCK_BYTES - last->size;
    return KOLK_CONTAINER_OF(last, kolk__block, chunk);
}

/* A block at the end with room for `size` bytes, at most KOLK__BLOCK_BYTES; the
 * caller fills it, and counts them. NULL where one would have to be made. */
static inline kolk__block *
kolk__chunks_reserve(kolk__chunks *self, kolk__net *net, size_t size)
{
    size_t room;
    kolk__block *block = kolk__chunks_last(self, &room);

    if (size > room) {
        block = kolk__net_free_block(net);
        if (KOLK_LIKELY(block != NULL)) {
            kolk__ring_push(&self->ring, &block->chunk.link);
        }
    }
    return block;
}

/* Puts copies of `pieces`, `size` bytes together, at the end. Returns 0, or
 * -ENOMEM and nothing has changed. */
int kolk__chunks_copy(kolk__chunks *self, kolk__net *net,
                      const struct iovec *pieces, size_t size);

/* The same before `place`, a link of the ring. */
int kolk__chunks_copy_before(kolk__chunks *self, kolk__net *net,
                             kolk_link *place, const struct iovec *pieces,
                             size_t size);

/* Writes what comes first to `pieces`, `max` of them at most; how many. */
int kolk__chunks_gather(const kolk__chunks *self, struct iovec *pieces,
                        int max);

/* `sent` bytes have left: chunks that are done move to `ring`. */
void kolk__chunks_consume(kolk__chunks *self, size_t sent, kolk_link *ring);

/* Calls `released` of each in `ring`; may run anything of the user's. */
void kolk__chunks_release(kolk_link *ring);

/* Releases everything; what is put in meanwhile stays. */
void kolk__chunks_drop(kolk__chunks *self);

/* Moves everything of `from` to the end. */
void kolk__chunks_splice(kolk__chunks *self, kolk__chunks *from);

/* ---- memory of the caller's, for the length of a call ---- */

enum { KOLK__DIRECT_MAX = 16 }; /* pieces */

typedef struct kolk__direct {
    kolk_chunk chunks[KOLK__DIRECT_MAX];
    int count;
} kolk__direct;

/* Puts `pieces`, KOLK__DIRECT_MAX of them at most, at the end of `self`. */
void kolk__direct_push(kolk__chunks *self, kolk__direct *direct,
                       const struct iovec *pieces, int count);

/* Replaces what is left of them by copies. Returns 0; or -ENOMEM, and then
 * they are just taken out. `*sent`: has any of them left? */
KOLK_MUST_CHECK int kolk__direct_settle(kolk__chunks *self, kolk__net *net,
                                        kolk__direct *direct, bool *sent);
