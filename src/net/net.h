/* net.h - what the connections of a loop share.
 *
 * SPDX-License-Identifier: MIT
 *
 * A connection that is idle has no buffer. It reads into one of the loop's,
 * and what it writes is copied into blocks of the loop's, which come back as
 * soon as the kernel has the bytes. So a loop with 10,000 connections needs as
 * many blocks as are written to at a time, always the same ones, and they stay
 * in the cache.
 */
#pragma once

#include <kolk/transport.h>

#include "base/sys.h"
#include "loop/loop.h"

enum {
    KOLK__READ_SIZE = 256 * 1024, /* bytes of the buffer for reading */
    KOLK__WIRE_SIZE = 84 * 1024,  /* and of the one for records */
    KOLK__NET_LINE = 64,          /* ... and to align what is received */
    KOLK__BLOCK_SIZE = 4096,      /* a block for writing, all of it */
    KOLK__BLOCKS_MAX = 64,        /* free ones that are kept */
};

/* Bytes of ours that wait to be sent: a chunk as users have them, whose memory
 * is right behind it. */
typedef struct kolk__block {
    kolk_chunk chunk;
    char bytes[];
} kolk__block;

/* Gives a block back: kolk_chunk.released of those. */
void kolk__block_released(kolk_chunk *chunk);

enum { KOLK__BLOCK_BYTES = KOLK__BLOCK_SIZE - (int)sizeof(kolk__block) };

typedef struct kolk__net {
    kolk_link joined;  /* transports whose written bytes are joined */
    kolk_time since;   /* when the first step that joined has ended, or 0 */
    kolk_time looked;  /* when the clock was last looked at */
    kolk_time step;    /* how long a step takes */
    unsigned skipped;  /* steps that go without a look, after the last one */
    void *read_buffer; /* NULL: not made yet, or in use */
    void *wire_buffer; /* likewise */
    kolk_link *blocks; /* free ones, by the `next` of their chunk's link */
    unsigned block_count;
} kolk__net;

/* What the connections of `loop` share, made if there is nothing yet. Returns
 * 0 or -ENOMEM. */
int kolk__net_get(kolk_loop *loop, kolk__net **out);

/* The buffer for reading, KOLK__READ_SIZE bytes; NULL if there is no memory. A
 * nested run finds it taken, and gets another. */
static inline void *
kolk__net_take_buffer(kolk__net *net)
{
    void *buffer = net->read_buffer;

    net->read_buffer = NULL;
    return KOLK_LIKELY(buffer != NULL)
               ? buffer
               : kolk__sys.malloc(KOLK__READ_SIZE + KOLK__NET_LINE);
}

/* Where a cache line begins in one of these buffers, with as many bytes behind
 * it as the buffer is said to have. The kernel copies in and out twice as fast
 * there (measured: an echo of 16 KiB, 21 us against 12). */
static inline char *
kolk__net_align(void *buffer)
{
    return (char *)buffer + -(uintptr_t)buffer % KOLK__NET_LINE;
}

/* Keeps `buffer` in `place`, if there is none by now. */
static inline void
kolk__net_keep(void **place, void *buffer)
{
    if (KOLK_LIKELY(*place == NULL)) {
        *place = buffer;
    } else {
        kolk__sys.free(buffer);
    }
}

static inline void
kolk__net_give_buffer(kolk__net *net, void *buffer)
{
    kolk__net_keep(&net->read_buffer, buffer);
}

/* The same of the buffer for records, KOLK__WIRE_SIZE bytes. */
void *kolk__net_take_wire(kolk__net *net);
void kolk__net_give_wire(kolk__net *net, void *buffer);

/* A new block, its chunk prepared; NULL if there is no memory. */
kolk__block *kolk__net_new_block(kolk__net *net);

/* One of the free ones, empty, or NULL. */
static inline kolk__block *
kolk__net_free_block(kolk__net *net)
{
    kolk_link *link = net->blocks;

    if (KOLK_UNLIKELY(link == NULL)) {
        return NULL;
    }
    kolk__block *block = KOLK_CONTAINER_OF(link, kolk__block, chunk.link);
    net->blocks = link->next;
    net->block_count--;
    block->chunk.size = block->chunk.sent = 0;
    return block;
}

/* A block, empty, of KOLK__BLOCK_BYTES; NULL if there is no memory. */
static inline kolk__block *
kolk__net_take_block(kolk__net *net)
{
    kolk__block *block = kolk__net_free_block(net);

    return block != NULL ? block : kolk__net_new_block(net);
}

static inline void
kolk__net_give_block(kolk__net *net, kolk__block *block)
{
    if (KOLK_UNLIKELY(net->block_count >= KOLK__BLOCKS_MAX)) {
        kolk__sys.free(block);
        return;
    }
    block->chunk.link.next = net->blocks;
    net->blocks = &block->chunk.link;
    net->block_count++;
}
