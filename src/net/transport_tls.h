/* transport_tls.h - TLS on a transport, between the files of its driver.
 *
 * SPDX-License-Identifier: MIT
 *
 * The driver is a transport's filter and knows any engine by its table only.
 * The wire's bytes go through memory that the connections of a loop share, on
 * both ways, so that an idle connection has none. Plain text that is written
 * waits in `backlog`, until the handshake is done, and then for the end of the
 * turn or for room on the wire; records are made of it when they can leave. So
 * what a protocol has written is counted once, and mostly as plain text.
 *
 * An engine is somebody else's code, and so is what is released by sending. The
 * transport may be lost after each call of either; it stays in memory, because
 * whoever calls has a reference.
 */
#pragma once

#include <kolk/tls.h>

#include "base/bytes.h"
#include "net/transport.h"

enum { KOLK__TLS_SHAKING, KOLK__TLS_OPEN, KOLK__TLS_CLOSING };

typedef struct kolk__tls {
    kolk__filter filter;
    kolk_tls_engine *engine;
    kolk_transport *transport; /* whose filter it is */
    uint8_t state;
    bool is_server;
    bool is_dead; /* the engine: nothing but its output is of use */

    /* reading */
    bool has_end;      /* reading has come to `end` */
    bool is_wire_over; /* its end was read */
    bool is_lent;      /* `loan` */
    int end;           /* 0, or an error */
    size_t answers;    /* bytes made while reading, since all were sent */
    kolk__bytes rest;  /* records that the engine does not take yet */
    kolk_tls_loan loan;

    /* writing */
    bool is_pumping;
    int send_error; /* of a record that was to leave from where it was made */
    bool wants_end; /* close_notify behind the backlog */
    bool is_shut;   /* it was made */
    kolk__chunks backlog;

    /* the handshake */
    bool has_input;  /* of the peer's */
    bool is_entered; /* into the engine's queue */
    bool is_waiting; /* there */
    bool is_told;    /* `done` */
    bool wants_close;
    void (*done)(kolk_protocol *protocol, kolk_transport *transport,
                 int result);
    kolk_tls_turn turn;

    /* timeouts, of progress */
    kolk_timer timer;
    kolk_time shake_delay, close_delay;
    unsigned shake_periods;
    size_t taken; /* bytes from the wire, in the handshake or while closing */
    size_t seen;  /* `taken`, or bytes to be sent, when the timer was started */
    size_t close_limit;

    void *error; /* what the engine says of the one that ended it */
} kolk__tls;

/* Has the connection failed, so that nothing more can be sent? */
static inline bool
kolk__tls_is_cut(const kolk__tls *self)
{
    return self->transport->write_error == -ESHUTDOWN;
}

/* Is it lost, or about to be? */
static inline bool
kolk__tls_is_over(const kolk__tls *self)
{
    return self->transport->is_lost
           || (self->transport->todo & KOLK__DO_LOSE) != 0;
}

/* ---- transport_tls_io.c ---- */

/* Plain text that the engine has: how many bytes, -EAGAIN, or the end. */
int kolk__tls_take(kolk__tls *self, void *buffer, size_t size);

/* The same, after receiving from the wire what that has, but for about `limit`
 * bytes at most if no plain text comes of it. */
int kolk__tls_receive(kolk__tls *self, void *buffer, size_t size, size_t limit);

/* Gives records that have come to the engine, between the two: lent if it
 * borrows. */
void kolk__tls_input_begin(kolk__tls *self, const void *data, size_t size);
void kolk__tls_input_end(kolk__tls *self);

/* Gives the engine what it has not taken before; has it taken any? */
bool kolk__tls_input_again(kolk__tls *self);

/* Sends what the engine has made without being written to. */
void kolk__tls_answer(kolk__tls *self);

/* Makes records of the backlog, as long as the wire takes them, and then
 * close_notify if it is wanted. */
void kolk__tls_pump(kolk__tls *self);

/* Reading has come to its end: 0 or an error. */
void kolk__tls_set_end(kolk__tls *self, int end);

/* Sends what the engine has to say to its own failure. */
void kolk__tls_say_last(kolk__tls *self);

/* The same, and loses the connection. */
void kolk__tls_fail(kolk__tls *self, int error);

/* Entries of the filter's table. */
int kolk__tls_read(kolk__filter *filter, kolk_transport *transport,
                   void *buffer, size_t size);
int kolk__tls_write(kolk__filter *filter, kolk_transport *transport,
                    const struct iovec *pieces, int count);
void kolk__tls_flush(kolk__filter *filter, kolk_transport *transport);
void kolk__tls_drop(kolk__filter *filter);
size_t kolk__tls_waiting(const kolk__filter *filter);

/* ---- transport_tls_close.c ---- */

void kolk__tls_close(kolk__filter *filter, kolk_transport *transport);
int kolk__tls_write_eof(kolk__filter *filter, kolk_transport *transport);
void kolk__tls_sent(kolk__filter *filter, kolk_transport *transport);

/* The handshake is done, and the connection is to be closed. */
void kolk__tls_begin_close(kolk__tls *self);

/* While closing: throws away what comes, up to close_notify. */
void kolk__tls_discard(kolk__tls *self);

/* The time without progress is over, while closing. */
void kolk__tls_close_late(kolk__tls *self);
