/* datagram.h - what the files about datagrams share.
 *
 * SPDX-License-Identifier: MIT
 *
 * A datagram socket is watched, level-triggered, on every backend, from its
 * opening to its end: a datagram costs one receive, as no second call has to
 * find out that there is no more, and epoll_ctl() is called only where what is
 * waited for changes, which is when the kernel takes no more of what is sent,
 * and when nobody takes what is received.
 *
 * Errors go through a short queue, and one place tells them. So no callback is
 * called from inside of another, and where there is no protocol a task finds
 * them.
 */
#pragma once

#include <kolk/datagram.h>

#include "loop/handle.h"
#include "loop/loop.h"
#include "net/unix_socket.h"

enum {
    KOLK__DATAGRAM_ERRORS = 32, /* that wait to be told */
    KOLK__DATAGRAM_QUEUE = 16,  /* kolk_datagram_options.queue */
};

enum kolk__datagram_state {
    KOLK__DATAGRAM_OPEN,
    KOLK__DATAGRAM_CLOSING, /* sends what is queued */
    KOLK__DATAGRAM_ENDING,  /* the last callback is due */
    KOLK__DATAGRAM_GONE,
};

/* Who is told where there is no protocol: await/datagram.c, for tasks. */
typedef struct kolk__datagram_reader kolk__datagram_reader;
typedef struct kolk__datagram_reader_ops {
    /* One datagram, in memory of the loop's. */
    void (*received)(kolk__datagram_reader *reader, const void *data,
                     size_t size, const kolk_address *from);
    /* There is something for kolk__datagram_take_error(). */
    void (*failed)(kolk__datagram_reader *reader);
    /* No more than the low mark is waiting. */
    void (*resumed)(kolk__datagram_reader *reader);
    /* It is closed; may be told again. */
    void (*closed)(kolk__datagram_reader *reader);
    /* The datagram's memory is freed. */
    void (*free)(kolk__datagram_reader *reader);
} kolk__datagram_reader_ops;

struct kolk__datagram_reader {
    const kolk__datagram_reader_ops *ops;
    bool is_full; /* takes no more for now */
};

struct kolk_datagram {
    kolk_loop *loop; /* holds a reference */
    kolk__handle handle;
    size_t refs; /* one is the loop's until the end */
    enum kolk__datagram_state state;
    int result; /* what connection_lost() is told */

    /* who is told: the protocol if there is one */
    kolk_datagram_protocol *protocol;
    kolk__datagram_reader *reader;
    size_t queue_limit; /* the reader's */

    /* the socket */
    kolk_watch watch;  /* its fd is -1 once closed */
    kolk_timer retry;  /* in place of an event that cannot be had */
    kolk_time delay;   /* of the next retry; 0: a short one */
    kolk_call later;   /* the end, or errors that have to wait */
    bool is_unwatched; /* the watch has failed, and waits for the retry */
    int family;
    bool is_connected;
    bool is_borrowed;  /* whose descriptor others close */
    kolk_address peer; /* size 0: none */
    kolk__unix_file file;

    /* receiving: datagram_receive.c */
    unsigned batch;    /* datagrams to ask for in a turn */
    unsigned streak;   /* turns in which all of them were there */
    unsigned failures; /* in a row, with nothing received in between */
    bool is_deaf;      /* not before the next retry */

    /* errors, oldest first: datagram_receive.c */
    int errors[KOLK__DATAGRAM_ERRORS];
    unsigned error_first;
    unsigned error_count;
    bool is_telling;
    bool is_overflown; /* errors are reported to the loop for now */

    /* sending: datagram_send.c */
    kolk_link queue;
    size_t buffered; /* bytes in it, as they are counted */
    size_t high, low;
    bool is_paused;
    bool is_timed; /* no event tells when to go on: the timer does */
};

/* May callbacks follow? Not after the end, nor in a child process. */
static inline bool
kolk__datagram_is_alive(const kolk_datagram *self)
{
    return self->state < KOLK__DATAGRAM_ENDING
           && self->loop->generation == kolk__generation;
}

/* ---- datagram.c ---- */

extern const kolk__handle_ops kolk__datagram_handle
    __attribute__((visibility("hidden")));

/* Prepares what the loop calls. */
void kolk__datagram_init(kolk_datagram *self, int fd);

/* Makes the loop watch for what is waited for now. Returns 0 or an error. */
int kolk__datagram_watch(kolk_datagram *self);

/* The same; what cannot be watched is an error, and tried again later. */
void kolk__datagram_update(kolk_datagram *self);

/* Tries again in a while, a longer one each time, `longest` at most. */
void kolk__datagram_retry(kolk_datagram *self, kolk_time longest);

/* Ends everything; connection_lost() follows. */
void kolk__datagram_finish(kolk_datagram *self, int result);

/* A system call has failed with `error`. If the descriptor has been closed by
 * somebody else, the socket ends, without closing what may be another file by
 * now; returns false then. */
bool kolk__datagram_check_fd(kolk_datagram *self, int error);

/* Sets the reader, for as long as the datagram lives. */
void kolk__datagram_attach(kolk_datagram *self, kolk__datagram_reader *reader);

/* ---- datagram_receive.c ---- */

/* Does anybody take what is received? */
bool kolk__datagram_receives(const kolk_datagram *self);

/* Receives and hands over what is there, a bounded number; `expected` or more
 * are said to be. */
void kolk__datagram_receive(kolk_datagram *self, size_t expected);

/* Empties the socket's error queue, and puts what ICMP has said of earlier
 * datagrams into that of errors. Returns whether there was anything. */
bool kolk__datagram_read_errors(kolk_datagram *self);

/* Puts `error` into that queue. */
void kolk__datagram_push_error(kolk_datagram *self, int error);

/* Tells the errors of the queue. */
void kolk__datagram_tell(kolk_datagram *self);

/* Takes the oldest error out of it; 0 if there is none. */
int kolk__datagram_take_error(kolk_datagram *self);

/* ---- datagram_send.c ---- */

/* kolk_datagram_send(), but for what sending it has come to, which is written
 * to `*error` (0, or why it could not be sent). */
int kolk__datagram_send(kolk_datagram *self, const void *data, size_t size,
                        const kolk_address *to, int *error);

/* Sends what is queued, as far as the kernel takes it. */
void kolk__datagram_flush(kolk_datagram *self);

/* Drops what is queued. */
void kolk__datagram_drop_queue(kolk_datagram *self);
