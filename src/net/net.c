/* net.c - what the connections of a loop share. See net.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net/net.h"

#include "base/sys.h"
#include "net/transport.h"

enum { NET_STEPS_MAX = 8 }; /* between two looks at the clock */

/* ---- buffers ---- */

void *
kolk__net_take_wire(kolk__net *net)
{
    void *buffer = net->wire_buffer;

    net->wire_buffer = NULL;
    return buffer != NULL ? buffer
                          : kolk__sys.malloc(KOLK__WIRE_SIZE + KOLK__NET_LINE);
}

void
kolk__net_give_wire(kolk__net *net, void *buffer)
{
    kolk__net_keep(&net->wire_buffer, buffer);
}

void
kolk__block_released(kolk_chunk *chunk)
{
    kolk__net_give_block(chunk->reserved[0],
                         KOLK_CONTAINER_OF(chunk, kolk__block, chunk));
}

kolk__block *
kolk__net_new_block(kolk__net *net)
{
    kolk__block *block = kolk__sys.malloc(KOLK__BLOCK_SIZE);

    if (block != NULL) {
        block->chunk = (kolk_chunk){
            .data = block->bytes,
            .released = kolk__block_released,
            .reserved = {net},
        };
    }
    return block;
}

/* ---- joined bytes ---- */

/* How many steps like the latest ones pass until what is joined will be `left`
 * older? */
static unsigned
net_steps(const kolk__net *net, kolk_time left)
{
    kolk_time steps = left / net->step;

    return steps < NET_STEPS_MAX ? (unsigned)steps : NET_STEPS_MAX;
}

/* How old is what is joined? The age counts from the end of the step that has
 * joined first, so that this step costs one look at the clock and not two. The
 * next look is when the bound will have come, if steps stay as long as they
 * were, and soon in any case. */
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
    } else {
        net->step = (now - net->looked) / (net->skipped + 1) + 1;
    }
    kolk_time left = loop->write_delay - (now - net->since);
    net->looked = now;
    net->skipped = left > 0 ? net_steps(net, left) : 0;
    loop->joined_steps = net->skipped;
    return left <= 0;
}

/* A chunk that is released may write again, so it goes on until all is out. A
 * child of the loop's process sends nothing: the bytes are the parent's. */
static void
net_flush(kolk_loop *loop)
{
    kolk__net *net = loop->net;

    while (!kolk__ring_is_bare(&net->joined)
           && loop->generation == kolk__generation) {
        kolk_transport *transport =
            KOLK_CONTAINER_OF(net->joined.next, kolk_transport, joined);

        kolk__transport_flush(transport);
    }
    net->since = 0;
    loop->joined_steps = 0;
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
        net->step = KOLK_S(1); /* nothing is known yet */
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
    loop->joined_steps = 0;
    if ((loop->attention & KOLK__ATTENTION_JOINED) != 0) {
        net_flush(loop);
    }
}
