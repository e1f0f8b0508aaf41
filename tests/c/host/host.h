/* host.h - a language with a lock and a garbage collector that stands on kolk.
 *
 * SPDX-License-Identifier: MIT
 *
 * It is to the loop what an interpreter would be, and sees the public header
 * only. Its objects are counted and have the loop's nodes inside. One lock is
 * held by whoever runs code of the language; the loop's hooks let it go while
 * the loop sleeps. A collector finds cycles, for which it has to know what the
 * loop holds.
 *
 * An object that is lent belongs to the loop too, as one reference of it. Its
 * own references to the loop object and to its argument make the cycles.
 *
 * Everything here is guarded by the host's lock.
 */
#pragma once

#include <signal.h>

#include "kit.h"

enum host_kind {
    HOST_HANDLE,
    HOST_TIMER,
    HOST_READER,
    HOST_OP,
    HOST_SIGNAL,
    HOST_LOOKUP,
    HOST_CONNECTOR,
    HOST_SERVER,
    HOST_SOCKET,
    HOST_TRANSPORT,
    HOST_CHILD,
    HOST_LOOP,
};

typedef struct host_object host_object;
typedef struct host_loop host_loop;

/* Code of the language: returns 0, or an exception, a negative number. */
typedef int host_fn(host_object *self);

struct host_object {
    enum host_kind kind;
    char name; /* noted when it runs; 0: not noted */
    int refs;
    bool is_lent;
    int runs, drops;
    host_fn *fn;           /* NULL: does nothing */
    host_fn *on_drop;      /* NULL: nothing */
    host_loop *loop;       /* a reference; NULL for loops */
    host_object *argument; /* a reference, or NULL */

    /* the heap, and the collector */
    host_object *next, *previous;
    int unexplained; /* references that no object is known to have */
    int shown;       /* how often loops have shown it */
    bool is_alive;
};

typedef struct host_handle {
    host_object object;
    kolk_call call;
} host_handle;

typedef struct host_timer {
    host_object object;
    kolk_timer timer;
} host_timer;

typedef struct host_reader {
    host_object object;
    kolk_watch watch;
} host_reader;

typedef struct host_op {
    host_object object;
    kolk_op op;
    char buffer[16];
} host_op;

typedef struct host_signal {
    host_object object;
    kolk_signal signal;
} host_signal;

typedef struct host_lookup {
    host_object object;
    kolk_lookup lookup;
} host_lookup;

typedef struct host_connector {
    host_object object;
    kolk_connector connector;
} host_connector;

typedef struct host_server {
    host_object object;
    kolk_server *server; /* borrowed from the loop while it is lent */
    int fd;              /* the last connection */
} host_server;

/* A datagram socket, lent while it is open. */
typedef struct host_socket {
    host_object object;
    kolk_datagram_protocol protocol;
    kolk_datagram *datagram; /* a reference; NULL until it is opened */
    int error;               /* what it was told last */
} host_socket;

/* A connection, lent while it is open. */
typedef struct host_transport {
    host_object object;
    kolk_protocol protocol;
    kolk_transport *transport; /* a reference; NULL until it is opened */
    size_t received;
    int error; /* why it was lost */
} host_transport;

/* A child process, lent while it runs. */
typedef struct host_child {
    host_object object;
    kolk_process *process; /* a reference; NULL until it is spawned */
} host_child;

struct host_loop {
    host_object object;
    kolk_loop *loop; /* NULL once it is closed */
    kolk_hooks hooks;
    int raised;    /* the exception that broke the run off, or 0 */
    int collected; /* by a callback that collects */
};

/* ---- a test's begin and end ---- */

/* The test's thread becomes one of the language, holding the lock. */
void host_begin(void);

/* Collects, and checks that no object is left, that the loop has slept without
 * the lock only, and done everything else with it. */
void host_end(void);

/* A signal has come: what the loop sleeps in next, or does now, raises. */
extern volatile sig_atomic_t host_signalled;

/* ---- the lock ---- */

void host_lock_take(void);
void host_lock_give(void);
bool host_lock_is_mine(void);

/* Blocks the thread for a moment, without the lock. */
void host_pause(void);

/* ---- objects ---- */

/* A loop, on the real clock, with the hooks set; yours. */
host_loop *host_loop_new(void);

/* An object on `loop`; yours. */
host_object *host_new(host_loop *loop, enum host_kind kind, char name,
                      host_fn *fn);

/* Sets `self`'s argument. */
void host_set_argument(host_object *self, host_object *argument);

void host_ref(host_object *self);
void host_unref(host_object *self);
void host_loop_unref(host_loop *self);

/* The node inside. */
kolk_call *host_call_of(host_object *self);
kolk_timer *host_timer_of(host_object *self);
kolk_watch *host_watch_of(host_object *self);
kolk_op *host_op_of(host_object *self);
kolk_datagram *host_datagram_of(host_object *self);
kolk_transport *host_transport_of(host_object *self);
kolk_signal *host_signal_of(host_object *self);
kolk_lookup *host_lookup_of(host_object *self);
kolk_connector *host_connector_of(host_object *self);

/* How many objects there are. */
int host_count(void);

/* ---- lending: 0 or the library's error ---- */

int host_soon(host_object *handle);
int host_step_end(host_object *handle);
int host_turn_end(host_object *handle);
int host_push(kolk_inbox *inbox, host_object *handle);
int host_when_done(kolk_future *future, host_object *handle);
int host_call_at(host_object *timer, kolk_time deadline);
int host_watch(host_object *reader, int fd);
int host_listen(host_object *signal, int signum);
int host_recv(host_object *op, int fd);
int host_work(host_object *op, kolk_work_fn *fn, void *arg);
int host_look_up(host_object *lookup, const char *host, const char *service);
int host_connect(host_object *connector, const char *host, const char *service);
int host_serve(host_object *server, const kolk_address *address);

/* Runs a piece of shell, whose end runs `child`. */
int host_spawn(host_object *child, const char *text);
kolk_process *host_process_of(host_object *child);

/* Opens a socket, which a datagram and an error run; it comes back as a node
 * that is dropped does. */
int host_open(host_object *socket, const kolk_datagram_options *options);

/* Opens a connection over `fd`, which data run. */
int host_open_fd(host_object *transport, int fd);

/* Takes a handle, timer, reader or signal back. All else only ends soon. */
void host_cancel(host_object *self);

/* A new handle or timer that nobody but the loop will hold. */
void host_soon_new(host_loop *loop, char name, host_fn *fn);
void host_later_new(host_loop *loop, kolk_time delay, host_fn *fn);

/* ---- running ---- */

/* Runs until it is stopped; returns 0, the exception of a callback, or the
 * library's error. */
int host_run(host_loop *self);

/* The same, which in hard mode ends after a while, since what it waits for may
 * have been made to fail. */
int host_run_or_tire(host_loop *self);

/* kolk_run_once(), and kolk_run_until(), in the same way. */
int host_run_once(host_loop *self);
int host_run_until(host_loop *self, kolk_future *future);

/* Closes the loop; the object stays. */
void host_loop_close(host_loop *self);

/* Callbacks: stops the loop; raises an exception; collects. */
int host_stop(host_object *self);
int host_raise(host_object *self);
int host_collects(host_object *self);
enum { HOST_EXCEPTION = -4711 };

/* The names of the objects that ran, in this order. */
extern char host_notes[256];
void host_note(char name);

/* ---- host_collect.c ---- */

/* Frees the objects that nothing reaches from outside; returns how many. Checks
 * that the loops show each object that is lent once, and no other. */
int host_collect(void);

/* ---- host_table.c ---- */

/* What is known of this thread. */
struct host_thread {
    int inside;      /* calls of the library that run a loop */
    bool is_blocked; /* between the hooks */
    int calls;       /* since before_block: those that may block */
};
extern _Thread_local struct host_thread host_thread;

/* What the system calls made of the lock, and how often. */
struct host_calls {
    int sleeps;        /* that may block, without the lock */
    int locked;        /* that may block, with the lock */
    int needless;      /* that may not block, between the hooks */
    int empty;         /* pairs of hooks without a call that may block */
    int pairs;         /* of hooks */
    int allocations;   /* of any thread */
    const char *which; /* the last one that was wrong */
};
extern struct host_calls host_calls;

/* Puts the watched calls into the table, before any loop is opened. */
void host_table_init(void);

/* How many allocations the library has made. */
int host_allocations(void);

/* The next wait for events fails with `err`, an errno, once. */
void host_table_fail_wait(int err);

/* From here on the kernel has no epoll_pwait2(). */
void host_table_set_old(void);
