/* transport.h - a transport's struct, and what others build on it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Reading is by pulling: kolk_transport_try_read() makes one receive, into
 * memory of whoever calls it, and remembers from the result whether there is
 * more. Callbacks (data_received) are a thin layer upon that. At dispatch, an
 * event only queues the transport's call, or wakes the task that waits; bytes
 * are received when that runs, so that those of many connections do not push
 * each other out of the cache.
 *
 * Writing is one queue of chunks: those of users, and blocks of ours with
 * copies (net/net.h). Bytes that were joined go out when the turn ends.
 *
 * The one `call` of a transport does everything that comes from the loop;
 * `todo` says what. The loop holds a reference while the connection is open,
 * and whoever calls a function of the user's holds one meanwhile: everything
 * may have changed afterwards.
 *
 * For its neighbours there are three parts here: waiting, for tasks
 * (src/await); a filter, for TLS; an owner, for servers.
 */
#pragma once

#include <kolk/transport.h>

#include "loop/handle.h"
#include "net/chunk.h"
#include "net/side.h"

/* ---- waiting for bytes, for a task ---- */

/* Somebody who waits until reading may be tried. `wake` is called once, at
 * dispatch or from whatever ends the connection, and no more after
 * kolk__transport_wait_end(). It queues the task, and calls nothing of the
 * user's; the task then calls kolk_transport_try_read() itself, which says
 * -EAGAIN if it was for nothing. */
typedef struct kolk__transport_waiter kolk__transport_waiter;
struct kolk__transport_waiter {
    void (*wake)(kolk__transport_waiter *waiter);
};

/* ---- a filter between the wire and the protocol: TLS ---- */

typedef struct kolk__filter kolk__filter;
typedef struct kolk__filter_ops {
    /* Stands for kolk__transport_recv() where the protocol's bytes are read:
     * how many; 0 at the end of the stream; -EAGAIN; an error, which ends the
     * connection. */
    int (*read)(kolk__filter *filter, kolk_transport *transport, void *buffer,
                size_t size);
    /* Takes all of these bytes, by copying, or returns an error and has taken
     * none. They may wait until kolk__transport_join() has them flushed. */
    int (*write)(kolk__filter *filter, kolk_transport *transport,
                 const struct iovec *pieces, int count);
    /* Gives the wire what waits to be joined. */
    void (*flush)(kolk__filter *filter, kolk_transport *transport);
    /* The wire takes nothing more: drops what was to be given to it. */
    void (*drop)(kolk__filter *filter);
    /* Ends the protocol's stream behind what was written. */
    int (*write_eof)(kolk__filter *filter, kolk_transport *transport);
    /* kolk_transport_close(): nothing more is read or written by the protocol.
     * Sends what is left and calls kolk__transport_finish() in the end. */
    void (*close)(kolk__filter *filter, kolk_transport *transport);
    /* The wire may be read; only while `filter->drives`. */
    void (*readable)(kolk__filter *filter, kolk_transport *transport);
    /* Everything on the wire's queue has been sent, and no file is on its way.
     */
    void (*sent)(kolk__filter *filter, kolk_transport *transport);
    /* Bytes that the filter holds and has not given to the wire. */
    size_t (*waiting)(const kolk__filter *filter);
    /* The connection is lost, or the loop is being closed; the protocol is
     * told right after this. Stops timers. */
    void (*lost)(kolk__filter *filter, kolk_transport *transport, int error);
    /* With the last reference to the transport. */
    void (*free)(kolk__filter *filter);
} kolk__filter_ops;

struct kolk__filter {
    const kolk__filter_ops *ops;
    /* The filter is told of the wire, and the protocol of nothing: during a
     * handshake, while closing. To end that: kolk__transport_drive(). */
    bool drives;
    /* Reading may succeed without the wire. */
    bool holds;
};

/* ---- the owner of a number of transports ---- */

/* A kolk_server begins with one, and keeps count of connections by itself, from
 * the moment it accepts them. */
typedef struct kolk__transport_owner kolk__transport_owner;
struct kolk__transport_owner {
    kolk_link transports; /* open ones, by kolk_transport.sibling */
    /* One of them is lost, its descriptor closed, and no more in the ring. Not
     * called for a transport that could not be opened. */
    void (*gone)(kolk__transport_owner *owner);
};

/* ---- the struct ---- */

/* kolk_transport.todo */
enum {
    KOLK__DO_READ = 1,
    KOLK__DO_WRITE = 2,
    KOLK__DO_HANG_UP = 4, /* the reader of a pipe has closed it */
    KOLK__DO_RESUME = 8,  /* tell that writing may go on */
    KOLK__DO_REVOKE = 16, /* a descriptor was closed behind our back */
    KOLK__DO_LOSE = 32,
};

/* kolk_transport.mode, by what the protocol has. */
enum {
    KOLK__MODE_PUSH,   /* data_received */
    KOLK__MODE_PULL,   /* readable */
    KOLK__MODE_SILENT, /* neither: it is read by a task, which waits */
};

struct kolk_transport {
    /* reading */
    kolk__side in;
    kolk_protocol *protocol;
    kolk__filter *filter; /* or NULL */
    kolk__transport_waiter *reader;
    kolk_loop *loop; /* a reference */
    kolk__net *net;
    uint8_t todo;
    uint8_t mode;
    bool reads;      /* not paused, ended, closing, or only for writing */
    bool pushes;     /* and into data_received, with no filter that drives */
    bool reads_wire; /* reads, with no filter, and no failure to be told */
    bool is_told;    /* that there is something to read, since -EAGAIN */
    bool is_paused;  /* by the user */
    bool is_ended;   /* the end of the stream was read */

    /* life */
    bool is_closing;
    bool is_finishing; /* and lost as soon as everything has been sent */
    bool is_lost;
    bool only_reads;
    bool only_writes; /* what comes is thrown away */
    bool is_borrowed; /* whose descriptors others close */
    unsigned refs;
    int error;   /* what connection_lost() is told */
    int failure; /* of a write: told after what is left to be read, or 0 */
    kolk_call call;
    kolk__handle handle;
    kolk__transport_owner *owner; /* or NULL */
    kolk_link sibling;

    /* writing */
    kolk__side *out;     /* &in or &other */
    int write_error;     /* 0, or why nothing can be written any more */
    bool is_joined;      /* in the loop's ring */
    bool is_pausing;     /* pause_writing() was told */
    bool ends_after;     /* shut down when everything has been sent */
    bool has_ended;      /* it has been */
    bool is_sending;     /* a flush is going on */
    uint8_t alone;       /* turns, up to some, in which one write was all that
                          * happened */
    uint32_t alone_turn; /* the last of them */
    kolk__chunks queue;
    kolk__chunks *into; /* `queue`, or what is written behind a sendfile */
    size_t high, low;
    size_t flush_at; /* joined bytes that are enough; 0: whoever has the
                      * descriptor could look */
    kolk_link joined;
    kolk_sendfile *sendfile;
    kolk__side other; /* of a pair */

    /* the address of the other end, as far as it is short */
    uint8_t peer_size; /* 0: none */
    unsigned char peer[28];
    kolk_address *long_peer; /* or NULL */
};

/* ---- transport.c ---- */

/* One that is in nothing yet, with a reference for the user and one for the
 * loop; or NULL. */
kolk_transport *kolk__transport_new(kolk_loop *loop, kolk__net *net,
                                    kolk_protocol *protocol);

extern const kolk__listener_ops kolk__transport_listener
    __attribute__((visibility("hidden")));
extern const kolk__listener_ops kolk__transport_listener_other
    __attribute__((visibility("hidden")));
extern const kolk__handle_ops kolk__transport_handle
    __attribute__((visibility("hidden")));

void kolk__transport_free(kolk_transport *transport);

/* kolk_transport_unref() */
static inline void
kolk__transport_release(kolk_transport *transport)
{
    if (KOLK_UNLIKELY(--transport->refs == 0)) {
        kolk__transport_free(transport);
    }
}

/* The connection is over: drops what waits to be sent, and tells the protocol,
 * later. The first error stays. */
void kolk__transport_lose(kolk_transport *transport, int error);

/* kolk_transport_close() without the filter: sends what is left, and is lost
 * with 0 then. Reading is over. */
void kolk__transport_finish(kolk_transport *transport);

/* Puts `todo` on the list of what the call has to do. */
static inline void
kolk__transport_queue(kolk_transport *transport, unsigned todo)
{
    transport->todo |= (uint8_t)todo;
    if (!kolk__call_is_linked(&transport->call)) {
        kolk__ready_push(transport->loop, &transport->call);
    }
}

/* Takes `side` from the poller, before it is closed. */
void kolk__side_unlisten(kolk_transport *transport, kolk__side *side);

/* ---- transport_read.c ---- */

/* Receives from the wire: as kolk_transport_try_read(), except that what it
 * says does not change the transport. */
int kolk__transport_recv(kolk_transport *transport, void *buffer, size_t size);

/* A read of the protocol's has come to `result`, 0 or an error, which it
 * returns. */
int kolk__transport_read_failed(kolk_transport *transport, int result);

/* kolk_transport_try_read() by who knows that the loop is the right one and
 * `size` not 0. What most messages take is here. */
static inline int
kolk__transport_read(kolk_transport *transport, void *buffer, size_t size)
{
    kolk__side *side = &transport->in;

    if (KOLK_UNLIKELY(!transport->reads_wire || !side->desc->ready_in)) {
        return kolk_transport_try_read(transport, buffer, size);
    }
    ssize_t result = kolk__side_read(side, buffer, size);
    return KOLK_LIKELY(result > 0)
               ? (int)result
               : kolk__transport_read_failed(transport, (int)result);
}

/* Reading may be tried, and the protocol is to hear of it. */
void kolk__transport_read_ready(kolk_transport *transport);

/* Brings `reads` up to date, and the call to read, if there may be something.
 */
void kolk__transport_reading_changed(kolk_transport *transport);

/* Nothing is read any more, or not for now. */
static inline void
kolk__transport_stop_reading(kolk_transport *transport)
{
    transport->reads = transport->reads_wire = transport->pushes = false;
}

/* Sets `mode` by what the protocol has. */
void kolk__transport_set_mode(kolk_transport *transport);

/* Puts `filter`, which goes with the transport, between wire and protocol. */
void kolk__transport_set_filter(kolk_transport *transport,
                                kolk__filter *filter);

/* Lets the filter drive, or ends that. */
void kolk__transport_drive(kolk_transport *transport, bool drives);

/* Does a filter hear of the wire, and nobody else? */
static inline bool
kolk__transport_is_driven(const kolk_transport *transport)
{
    return KOLK_UNLIKELY(transport->filter != NULL)
           && transport->filter->drives;
}

/* May a read succeed, as far as is known? If not, kolk_transport_try_read()
 * says -EAGAIN without a system call. */
static inline bool
kolk__transport_may_read(const kolk_transport *transport)
{
    return transport->in.desc->ready_in || transport->failure != 0
           || (transport->filter != NULL && transport->filter->holds);
}

/* Is there somebody to be told, by the call, that reading may be tried? */
static inline bool
kolk__transport_hears(const kolk_transport *transport)
{
    if (KOLK_LIKELY(transport->reads) && transport->mode != KOLK__MODE_SILENT
        && !transport->is_told) {
        return true;
    }
    return kolk__transport_is_driven(transport);
}

/* Lets `waiter`, borrowed, wait; kolk_transport_try_read() has said -EAGAIN
 * right before. One at a time. */
static inline void
kolk__transport_wait(kolk_transport *transport, kolk__transport_waiter *waiter)
{
    transport->reader = waiter;
}

static inline void
kolk__transport_wait_end(kolk_transport *transport)
{
    transport->reader = NULL;
}

/* Wakes who waits, if anybody. */
static inline void
kolk__transport_wake_reader(kolk_transport *transport)
{
    kolk__transport_waiter *waiter = transport->reader;

    if (waiter != NULL) {
        transport->reader = NULL;
        waiter->wake(waiter);
    }
}

/* ---- transport_write.c ---- */

enum {
    KOLK__WRITE_ENOUGH = 64 * 1024, /* joined bytes that leave at once */
    KOLK__WRITE_BIG = 8 * 1024,     /* that are not copied before a try */
};

/* For a filter: puts bytes on the wire's queue, behind what is there and before
 * what waits for a file to end. `now`: they leave at once if they can, straight
 * from `data`. Returns 0 or -ENOMEM, and then the connection is lost if some
 * have left. */
int kolk__transport_put(kolk_transport *transport, const void *data,
                        size_t size, bool now);

/* For a filter: sends what the kernel takes of bytes that nothing stands
 * before: how many, or an error that kolk__transport_write_failed() is to be
 * told of. Calls nothing else. */
int kolk__transport_send(kolk_transport *transport, const void *data,
                         size_t size);

/* For a filter: `bytes` wait in it. It will be told to flush, now or when the
 * turn ends. */
void kolk__transport_join(kolk_transport *transport, size_t bytes);

/* ---- transport_send.c ---- */

/* Sends what it can now, and takes the transport out of the loop's ring. */
void kolk__transport_flush(kolk_transport *transport);

/* The same, and what comes when everything has been sent. */
void kolk__transport_go_on(kolk_transport *transport);

/* Has everything been sent? */
static inline bool
kolk__transport_is_sent(const kolk_transport *transport)
{
    return kolk__chunks_are_empty(&transport->queue)
           && transport->sendfile == NULL;
}

/* Writing may be tried again. */
void kolk__transport_write_ready(kolk_transport *transport);

/* Tells the protocol if the marks have been crossed. */
void kolk__transport_check_marks(kolk_transport *transport);

/* Gives back everything that waits to be sent; `error` is why. */
void kolk__transport_drop_chunks(kolk_transport *transport, int error);

/* Ends the wire's stream; everything has been sent. */
void kolk__transport_end_wire(kolk_transport *transport);

/* kolk_transport_write_eof() without the filter. */
void kolk__transport_end_write(kolk_transport *transport);

/* A write has failed: what is left to be read comes first. */
void kolk__transport_write_failed(kolk_transport *transport, int error);
