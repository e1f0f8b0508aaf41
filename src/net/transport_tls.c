/* transport_tls.c - TLS on a transport: beginning, the handshake, its end.
 *
 * SPDX-License-Identifier: MIT
 *
 * From kolk_transport_start_tls() on every byte of the wire is the engine's. In
 * the handshake the driver hears of the wire and the protocol of nothing, so
 * no byte that came in plain text can be taken for one that was protected, nor
 * the other way round. A pause of the user's does not hold the handshake up.
 *
 * The timeout is about progress: it counts anew when something has come, though
 * not for ever, because a byte now and then is no handshake either. A server's
 * handshake asks for its turn when the first bytes have come, so that those
 * who connect and say nothing take nobody's place; the time does not run while
 * it waits for that.
 */
#include "net/transport_tls.h"

#include <errno.h>

#include "base/sys.h"

enum {
    TLS_SHAKE_PERIODS = 10,       /* timeouts, with progress in each */
    TLS_SHAKE_MAX = 1024 * 1024,  /* bytes of a handshake */
    TLS_CLOSE_LIMIT = 256 * 1024, /* by default */
};

static const kolk__filter_ops tls_ops;

static kolk__tls *
tls_of(const kolk_transport *transport)
{
    kolk__filter *filter = transport->filter;

    return filter != NULL && filter->ops == &tls_ops
               ? KOLK_CONTAINER_OF(filter, kolk__tls, filter)
               : NULL;
}

/* ---- the end of the handshake ---- */

static void
tls_leave(kolk__tls *self)
{
    if (self->is_entered) {
        self->is_entered = false;
        self->engine->ops->leave(self->engine);
        kolk_call_cancel(self->transport->loop, &self->turn.call);
    }
}

static void
tls_tell(kolk__tls *self, int result)
{
    if (!self->is_told) {
        self->is_told = true;
        tls_leave(self);
        kolk_timer_stop(self->transport->loop, &self->timer);
        if (self->done != NULL) {
            self->done(self->transport->protocol, self->transport, result);
        }
    }
}

static void
tls_shaken(kolk__tls *self)
{
    kolk_transport *transport = self->transport;

    self->state = KOLK__TLS_OPEN;
    self->filter.holds = true; /* more may have come with the last of it */
    tls_tell(self, 0);
    if (kolk__tls_is_over(self)) {
        return;
    }
    if (self->wants_close) {
        kolk__tls_begin_close(self);
    } else if (!transport->is_closing) {
        kolk__transport_drive(transport, false);
        kolk__transport_wake_reader(transport);
        kolk__transport_go_on(transport);
        if (transport->is_pausing) {
            kolk__transport_check_marks(transport);
        }
    }
}

/* ---- its turn ---- */

static void
tls_start_timer(kolk__tls *self)
{
    /* Fails only for a loop that this thread does not run. */
    (void)!kolk_call_later(self->transport->loop, &self->timer,
                           self->shake_delay);
}

static void tls_shake(kolk__tls *self);

static void
tls_turn_has_come(kolk_call *call)
{
    kolk__tls *self = KOLK_CONTAINER_OF(call, kolk__tls, turn.call);
    kolk_transport *transport = kolk_transport_ref(self->transport);

    self->is_waiting = false;
    tls_start_timer(self);
    tls_shake(self);
    kolk_transport_unref(transport);
}

/* May the handshake go on? */
static bool
tls_may_shake(kolk__tls *self)
{
    const kolk_tls_engine_ops *ops = self->engine->ops;

    if (self->is_server && self->has_input && !self->is_entered
        && ops->enter != NULL) {
        self->is_entered = true;
        self->turn.loop = self->transport->loop;
        if (ops->enter(self->engine, &self->turn) == -EAGAIN) {
            self->is_waiting = true;
            kolk_timer_stop(self->transport->loop, &self->timer);
        }
    }
    return !self->is_waiting;
}

/* ---- the handshake ---- */

/* Lets the engine go on with what it has. */
static int
shake_step(kolk__tls *self)
{
    int result = -EAGAIN;

    if (self->has_end) {
        return self->end; /* it has refused what came */
    }
    if (tls_may_shake(self)) {
        do {
            result = self->engine->ops->handshake(self->engine);
        } while (result == -EAGAIN && kolk__tls_input_again(self));
    }
    return result;
}

/* Some of the peer's bytes have come, or its end. */
static int
shake_received(kolk__tls *self, const void *data, size_t size)
{
    int result;

    if (size == 0) {
        self->is_wire_over = true;
        self->engine->ops->feed_eof(self->engine);
        result = shake_step(self);
        return result == -EAGAIN && !self->is_waiting ? -ECONNRESET : result;
    }
    self->has_input = true;
    self->taken += size;
    if (self->taken > TLS_SHAKE_MAX) {
        return -KOLK_ELIMIT;
    }
    kolk__tls_input_begin(self, data, size);
    result = shake_step(self);
    kolk__tls_input_end(self);
    return result;
}

/* Reads the wire until the handshake is done or nothing is there. */
static int
shake_receive(kolk__tls *self)
{
    kolk_transport *transport = self->transport;
    void *wire = kolk__net_take_wire(transport->net);
    int result = wire != NULL ? -EAGAIN : -ENOMEM;

    while (result == -EAGAIN && !self->is_waiting && !self->is_wire_over) {
        int got = kolk__transport_recv(transport, wire, KOLK__WIRE_SIZE);

        result = got < 0 ? got : shake_received(self, wire, (size_t)got);
        if (got == -EAGAIN) {
            break;
        }
    }
    if (wire != NULL) {
        kolk__net_give_wire(transport->net, wire);
    }
    return result;
}

static void
tls_shake(kolk__tls *self)
{
    int result = shake_step(self);

    if (result == -EAGAIN && !self->is_waiting) {
        result = shake_receive(self);
    }
    kolk__tls_answer(self);
    if (result == 0 && !kolk__tls_is_over(self)) {
        tls_shaken(self);
    } else if (result < 0 && result != -EAGAIN) {
        kolk__tls_fail(self, result);
    }
}

static void
tls_readable(kolk__filter *filter, kolk_transport *transport)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);

    (void)transport;
    if (kolk__tls_is_over(self)) {
        return;
    }
    if (self->state == KOLK__TLS_SHAKING) {
        tls_shake(self);
    } else {
        kolk__tls_discard(self);
    }
}

/* ---- time ---- */

static void
tls_timer_fired(kolk_timer *timer)
{
    kolk__tls *self = KOLK_CONTAINER_OF(timer, kolk__tls, timer);

    if (self->state == KOLK__TLS_CLOSING) {
        kolk__tls_close_late(self);
    } else if (self->taken > self->seen
               && ++self->shake_periods < TLS_SHAKE_PERIODS) {
        self->seen = self->taken;
        tls_start_timer(self);
    } else {
        kolk__transport_lose(self->transport, -ETIMEDOUT);
    }
}

/* ---- life ---- */

static void
tls_lost(kolk__filter *filter, kolk_transport *transport, int error)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);

    kolk_timer_stop(transport->loop, &self->timer);
    kolk__bytes_clear(&self->rest);
    kolk__chunks_drop(&self->backlog);
    tls_tell(self, error != 0 ? error : -ECANCELED);
}

static void
tls_free(kolk__filter *filter)
{
    kolk__tls *self = KOLK_CONTAINER_OF(filter, kolk__tls, filter);

    self->engine->ops->free(self->engine);
    kolk__sys.free(self);
}

static const kolk__filter_ops tls_ops = {
    .read = kolk__tls_read,
    .write = kolk__tls_write,
    .flush = kolk__tls_flush,
    .drop = kolk__tls_drop,
    .write_eof = kolk__tls_write_eof,
    .close = kolk__tls_close,
    .readable = tls_readable,
    .sent = kolk__tls_sent,
    .waiting = kolk__tls_waiting,
    .lost = tls_lost,
    .free = tls_free,
};

/* ---- beginning ---- */

static int
start_check(const kolk_transport *transport)
{
    int err = kolk__loop_check(transport->loop, "kolk_transport_start_tls()");

    if (err < 0) {
        return err;
    }
    if (transport->filter != NULL) {
        return -EALREADY;
    }
    if (transport->only_reads || transport->only_writes) {
        return -EOPNOTSUPP;
    }
    if (transport->is_closing || transport->failure != 0) {
        return -ESHUTDOWN;
    }
    if (transport->write_error != 0) {
        return transport->write_error;
    }
    return transport->sendfile != NULL ? -EBUSY : 0;
}

static kolk_time
start_delay(kolk_time wanted, kolk_time otherwise)
{
    return wanted != 0 ? wanted : otherwise;
}

static kolk__tls *
start_new(kolk_transport *transport, kolk_tls_engine *engine,
          const kolk_tls_start *start)
{
    kolk__tls *self = kolk__sys.calloc(1, sizeof *self);

    if (self == NULL) {
        return NULL;
    }
    self->filter = (kolk__filter){.ops = &tls_ops, .drives = true};
    self->engine = engine;
    self->transport = transport;
    self->is_server = start->is_server;
    self->done = start->done;
    self->shake_delay = start_delay(start->handshake_timeout, KOLK_S(60));
    self->close_delay = start_delay(start->shutdown_timeout, KOLK_S(30));
    self->close_limit =
        start->shutdown_limit != 0 ? start->shutdown_limit : TLS_CLOSE_LIMIT;
    kolk__chunks_init(&self->backlog);
    kolk_timer_init(&self->timer, tls_timer_fired, NULL);
    kolk_call_init(&self->turn.call, tls_turn_has_come, NULL);
    return self;
}

int
kolk_transport_start_tls(kolk_transport *transport, kolk_tls_engine *engine,
                         const kolk_tls_start *start)
{
    static const kolk_tls_start nothing_special;

    start = start != NULL ? start : &nothing_special;
    int err = start_check(transport);
    if (err == 0 && transport->is_joined) {
        kolk__transport_flush(transport); /* would have left by itself */
        err = start_check(transport);
    }
    if (err < 0) {
        return err;
    }
    kolk__tls *self = start_new(transport, engine, start);
    if (self == NULL) {
        return -ENOMEM;
    }
    if (start->received_size > 0) {
        self->has_input = true;
        /* The driver's own memory, since the caller's is lent no longer. */
        err = kolk__bytes_push(&self->rest, start->received,
                               start->received_size);
        if (err < 0) {
            kolk__sys.free(self);
            return err;
        }
    }
    kolk__transport_set_filter(transport, &self->filter);
    tls_start_timer(self);
    kolk__transport_queue(transport, KOLK__DO_READ);
    return 0;
}

/* ---- about it ---- */

kolk_tls_engine *
kolk_transport_tls(const kolk_transport *transport)
{
    const kolk__tls *self = tls_of(transport);

    return self != NULL ? self->engine : NULL;
}

void *
kolk_transport_tls_error(const kolk_transport *transport)
{
    const kolk__tls *self = tls_of(transport);

    return self != NULL ? self->error : NULL;
}
