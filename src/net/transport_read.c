/* transport_read.c - a transport's reading: pulled, and pushed to a protocol.
 *
 * SPDX-License-Identifier: MIT
 *
 * One receive a message, and none to find out that there is no more: what is
 * known of the descriptor tells. In push form a connection is read once a
 * turn; where more is there it comes up again in the next one, so that a flood
 * on one does not keep the others waiting.
 *
 * When a write has failed, what the kernel still holds is read first, and the
 * failure comes in the place of "there is nothing".
 */
#include <errno.h>

#include "net/transport.h"

enum { READ_SMALL = 4096 }; /* where there is no memory for the buffer */

static const size_t READ_MAX = 0x7ffff000; /* of one system call */

/* ---- pulling ---- */

static inline __attribute__((always_inline)) int
read_wire(kolk_transport *transport, void *buffer, size_t size)
{
    kolk__side *side = &transport->in;

    if (KOLK_UNLIKELY(!side->desc->ready_in)) {
        return transport->failure != 0 ? transport->failure : -EAGAIN;
    }
    ssize_t result =
        kolk__side_read(side, buffer, size < READ_MAX ? size : READ_MAX);
    if (KOLK_UNLIKELY(result <= 0) && transport->failure != 0) {
        return transport->failure;
    }
    return (int)result;
}

int
kolk__transport_recv(kolk_transport *transport, void *buffer, size_t size)
{
    return read_wire(transport, buffer, size);
}

int
kolk__transport_read_failed(kolk_transport *transport, int result)
{
    if (result == -EAGAIN) {
        transport->is_told = false;
    } else if (result == 0) {
        transport->is_ended = true;
        kolk__transport_reading_changed(transport);
    } else {
        kolk__transport_lose(transport, result);
    }
    return result;
}

static inline __attribute__((always_inline)) int
read_some(kolk_transport *transport, void *buffer, size_t size)
{
    kolk__filter *filter = transport->filter;
    int result = KOLK_LIKELY(filter == NULL)
                     ? read_wire(transport, buffer, size)
                     : filter->ops->read(filter, transport, buffer, size);

    return KOLK_LIKELY(result > 0)
               ? result
               : kolk__transport_read_failed(transport, result);
}

int
kolk_transport_try_read(kolk_transport *transport, void *buffer, size_t size)
{
    int err = kolk__loop_check(transport->loop, "kolk_transport_try_read()");

    if (KOLK_UNLIKELY(err < 0)) {
        return err;
    }
    if (KOLK_UNLIKELY(transport->is_ended || transport->is_closing)) {
        return transport->is_ended     ? 0
               : transport->error != 0 ? transport->error
                                       : -ESHUTDOWN;
    }
    if (KOLK_UNLIKELY(size == 0)) {
        return -EINVAL; /* 0 would mean the end */
    }
    return read_some(transport, buffer, size);
}

/* ---- pushing ---- */

static void
read_ended(kolk_transport *transport)
{
    kolk_protocol *protocol = transport->protocol;

    if (protocol->ops->eof_received == NULL
        || !protocol->ops->eof_received(protocol, transport)) {
        kolk_transport_close(transport);
    }
}

/* Comes up again if there may be more. */
static inline void
read_go_on(kolk_transport *transport)
{
    if (transport->reads && kolk__transport_may_read(transport)) {
        kolk__transport_queue(transport, KOLK__DO_READ);
    }
}

/* Inlined, as each message comes by here. */
static inline __attribute__((always_inline)) void
read_push_into(kolk_transport *transport, void *buffer, size_t size)
{
    int result = read_some(transport, buffer, size);

    if (KOLK_LIKELY(result > 0)) {
        kolk_protocol *protocol = transport->protocol;

        protocol->ops->data_received(protocol, transport, buffer,
                                     (size_t)result);
        read_go_on(transport);
    } else if (result == 0) {
        read_ended(transport);
    }
}

static __attribute__((noinline)) void
read_push_without_memory(kolk_transport *transport)
{
    char small[READ_SMALL];

    read_push_into(transport, small, sizeof small);
}

/* Into the loop's memory. */
static inline __attribute__((always_inline)) void
read_push_shared(kolk_transport *transport)
{
    kolk__net *net = transport->net;
    void *buffer = kolk__net_take_buffer(net);

    if (KOLK_LIKELY(buffer != NULL)) {
        read_push_into(transport, kolk__net_align(buffer), KOLK__READ_SIZE);
        kolk__net_give_buffer(net, buffer);
    } else {
        read_push_without_memory(transport);
    }
}

/* Into the protocol's memory, if it has some. */
static __attribute__((noinline)) void
read_push_own(kolk_transport *transport)
{
    kolk_protocol *protocol = transport->protocol;
    void *buffer = NULL;
    size_t size = protocol->ops->get_buffer(protocol, transport,
                                            KOLK__READ_SIZE, &buffer);

    if (!transport->reads) {
        return; /* it has paused or closed */
    }
    if (size != 0 && buffer != NULL) {
        read_push_into(transport, buffer, size);
    } else {
        read_push_shared(transport);
    }
}

/* What is not pushed into the loop's memory. */
static __attribute__((noinline)) void
read_ready_otherwise(kolk_transport *transport)
{
    kolk_protocol *protocol = transport->protocol;

    if (kolk__transport_is_driven(transport)) {
        transport->filter->ops->readable(transport->filter, transport);
    } else if (!transport->reads) {
        return; /* since it was queued */
    } else if (transport->mode == KOLK__MODE_PUSH) {
        read_push_own(transport);
    } else if (transport->mode == KOLK__MODE_PULL && !transport->is_told) {
        transport->is_told = true;
        protocol->ops->readable(protocol, transport);
    }
}

void
kolk__transport_read_ready(kolk_transport *transport)
{
    if (KOLK_LIKELY(transport->pushes
                    && transport->protocol->ops->get_buffer == NULL)) {
        read_push_shared(transport);
    } else {
        read_ready_otherwise(transport);
    }
}

/* ---- whether it reads ---- */

void
kolk__transport_reading_changed(kolk_transport *transport)
{
    /* A pause does not keep back what comes before the end of a connection
     * that has failed. */
    bool reads = !transport->is_ended && !transport->is_closing
                 && !transport->only_writes
                 && (!transport->is_paused || transport->failure != 0);

    transport->reads = reads;
    transport->reads_wire =
        reads && transport->filter == NULL && transport->failure == 0;
    transport->pushes = reads && transport->mode == KOLK__MODE_PUSH
                        && !kolk__transport_is_driven(transport);
    if (!transport->is_lost && kolk__transport_may_read(transport)
        && kolk__transport_hears(transport)) {
        kolk__transport_queue(transport, KOLK__DO_READ);
    }
}

void
kolk__transport_set_filter(kolk_transport *transport, kolk__filter *filter)
{
    transport->filter = filter;
    kolk__transport_reading_changed(transport);
}

void
kolk__transport_drive(kolk_transport *transport, bool drives)
{
    transport->filter->drives = drives;
    kolk__transport_reading_changed(transport);
}

void
kolk_transport_pause_reading(kolk_transport *transport)
{
    transport->is_paused = true;
    if (transport->failure == 0) {
        kolk__transport_stop_reading(transport);
    }
}

void
kolk_transport_resume_reading(kolk_transport *transport)
{
    if (transport->is_paused
        && kolk__loop_check(transport->loop, "kolk_transport_resume_reading()")
               == 0) {
        transport->is_paused = false;
        kolk__transport_reading_changed(transport);
    }
}

bool
kolk_transport_is_reading(const kolk_transport *transport)
{
    return transport->reads;
}

void
kolk__transport_set_mode(kolk_transport *transport)
{
    const kolk_protocol_ops *ops = transport->protocol->ops;

    transport->is_told = false;
    transport->mode = ops->readable != NULL        ? KOLK__MODE_PULL
                      : ops->data_received != NULL ? KOLK__MODE_PUSH
                                                   : KOLK__MODE_SILENT;
}

void
kolk_transport_set_protocol(kolk_transport *transport, kolk_protocol *protocol)
{
    transport->protocol = protocol;
    kolk__transport_set_mode(transport);
    if (kolk__loop_check(transport->loop, "kolk_transport_set_protocol()")
        == 0) {
        kolk__transport_reading_changed(transport);
    }
}
