/* net.c - what the connections of a loop share. See net.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net/net.h"

#include "base/sys.h"
#include "net/transport.h"

/* ---- buffers ---- */

/* Takes what is in `place`, or makes one of `size` bytes. */
static inline void *
net_take(void **place, size_t size)
{
    void *buffer = *place;

    *place = NULL;
    return KOLK_LIKELY(buffer != NULL) ? buffer : kolk__sys.malloc(size);
}

static inline void
net_give(void **place, void *buffer)
{
    if (KOLK_LIKELY(*place == NULL)) {
        *place = buffer;
    } else {
        kolk__sys.free(buffer);
    }
}

void *
kolk__net_take_buffer(kolk__net *net)
{
    return net_take(&net->read_buffer, KOLK__READ_SIZE);
}

void
kolk__net_give_buffer(kolk__net *net, void *buffer)
{
    net_give(&net->read_buffer, buffer);
}

void *
kolk__net_take_wire(kolk__net *net)
{
    return net_take(&net->wire_buffer, KOLK__WIRE_SIZE);
}

void
kolk__net_give_wire(kolk__net *net, void *buffer)
{
    net_give(&net->wire_buffer, buffer);
}

kolk__block *
kolk__net_take_block(kolk__net *net)
{
    kolk_link *link = net->blocks;

    if (KOLK_UNLIKELY(link == NULL)) {
        return kolk__sys.malloc(KOLK__BLOCK_SIZE);
    }
    net->blocks = link->next;
    net->block_count--;
    return KOLK_CONTAINER_OF(link, kolk__block, chunk.link);
}

void
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

/* ---- joined bytes ---- */

/* The age counts from the end of the step that has joined first, so that a
 * step costs one look at the clock and not two. */
static bool
net_is_due(kolk_loop *loop)
{
    kolk__net *net = loop->net;

    if (loop->write_delay <= 0) {
        return true;
    }
    kolk_time now = kolk_monotonic();
    if (net->since == 0) {
        net->since = now;
        return false;
    }
    return now - net->since >= loop->write_delay;
}

/* A chunk that is released may write again, so it goes on until all is out. A
 * child of the loop's process sends nothing: the bytes are the parent's. */
static void
net_flush(kolk_loop *loop)
{
    kolk__net *net = loop->net;

    while (!kolk__ring_is_empty(&net->joined)
           && loop->generation == kolk__generation) {
        kolk_transport *transport =
            KOLK_CONTAINER_OF(net->joined.next, kolk_transport, joined);

        kolk__transport_flush(transport);
    }
    net->since = 0;
    loop->attention &= ~(uint32_t)KOLK__ATTENTION_JOINED;
}

/* ---- life ---- */

static void
net_free(kolk_loop *loop)
{
    kolk__net *net = loop->net;

    while (net->blocks != NULL) {
        kolk__sys.free(kolk__net_take_block(net));
    }
    kolk__sys.free(net->read_buffer);
    kolk__sys.free(net->wire_buffer);
    kolk__sys.free(net);
    loop->net = NULL;
    loop->net_ops = NULL;
}

static const kolk__net_ops net_ops = {
    .is_due = net_is_due,
    .flush = net_flush,
    .free = net_free,
};

int
kolk__net_get(kolk_loop *loop, kolk__net **out)
{
    if (loop->net == NULL) {
        kolk__net *net = kolk__sys.calloc(1, sizeof *net);

        if (net == NULL) {
            return -ENOMEM;
        }
        kolk__ring_init(&net->joined);
        loop->net = net;
        loop->net_ops = &net_ops;
    }
    *out = loop->net;
    return 0;
}

void
kolk_loop_set_write_delay(kolk_loop *loop, kolk_time delay)
{
    loop->write_delay = delay;
}
