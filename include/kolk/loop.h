/* kolk/loop.h - the event loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * One turn of a loop: poll; queue what is ready; move due timers to the ready
 * queue; run exactly what was in the ready queue when the run began. So what a
 * callback schedules waits for the next turn, and cannot starve descriptors.
 * This order is asyncio's, and part of the interface.
 *
 * A loop runs in one thread at a time: it may be made in one, run in a second,
 * and run again in a third.
 */
#pragma once

#include <kolk/future.h>
#include <kolk/op.h>
#include <kolk/task.h>
#include <kolk/timer.h>
#include <kolk/watch.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kolk_backend {
    KOLK_BACKEND_DEFAULT, /* as KOLK_BACKEND in the environment says, or epoll
                           */
    KOLK_BACKEND_EPOLL,
    KOLK_BACKEND_URING, /* operations by io_uring, or epoll if it is refused */
} kolk_backend;

typedef enum kolk_switch {
    KOLK_DEFAULT, /* as the environment says */
    KOLK_ON,
    KOLK_OFF,
} kolk_switch;

typedef struct kolk_loop_options {
    kolk_backend backend;
    kolk_switch debug; /* kolk/debug.h; default: KOLK_DEBUG=1 is on */
    size_t stack_size; /* of tasks, bytes; 0: 128 KiB */
} kolk_loop_options;

/* A loop, yours to close; `options` may be NULL. Returns 0; -ENOMEM, -EMFILE,
 * -ENFILE; -EINVAL for a KOLK_BACKEND nobody knows; -KOLK_EVERSION if the
 * library does not fit this header. */
#define kolk_loop_open(options, out)                                           \
    kolk_loop_open_version(KOLK_VERSION, (options), (out))
KOLK_API KOLK_MUST_CHECK int
kolk_loop_open_version(int version, const kolk_loop_options *options,
                       kolk_loop **out);

/* Closes a loop that does not run: cancels its tasks and runs them to their
 * end, waits until the kernel and the default pool have let go of every
 * buffer, gives each node back through its `dropped`, exactly once, and frees
 * the loop. A task that does not obey is dropped, with a report.
 *
 * Returns 0; -KOLK_EMISUSE while it runs, and then nothing has changed. In a
 * child of the loop's process only descriptors and memory are let go. */
KOLK_API int kolk_loop_close(kolk_loop *loop);

/* Runs turns until kolk_loop_stop(). Returns 0; -EINTR after
 * kolk_loop_break(); -KOLK_EMISUSE inside a task, on a loop that runs in
 * another thread, or where another loop runs; -KOLK_EFORK. May be nested in a
 * callback of the same loop: the inner run sees all that is queued. */
KOLK_API KOLK_MUST_CHECK int kolk_run_forever(kolk_loop *loop);

/* Runs turns until `future` (or task) is done, and returns its result; -EINTR
 * if the loop was stopped or broken off before. Else as kolk_run_forever(). */
KOLK_API KOLK_MUST_CHECK int kolk_run_until(kolk_loop *loop,
                                            kolk_future *future);

/* Runs one turn without blocking; for a loop that is driven by another one,
 * whose thread this may be. Returns 1 if there is more to run at once, else 0;
 * -EINTR after kolk_loop_break(); -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_run_once(kolk_loop *loop);

/* A descriptor, borrowed, that is readable whenever kolk_run_once() has
 * something to do: ready work, a due deadline, an event. For the poll of
 * another loop. Returns it or an error (-EMFILE, -ENOMEM). */
KOLK_API KOLK_MUST_CHECK int kolk_loop_fileno(kolk_loop *loop);

/* Ends the innermost run after this turn; outside of a run, the next run ends
 * after its first turn, which does not block. */
KOLK_API void kolk_loop_stop(kolk_loop *loop);

/* Ends the innermost run after the callback or step that runs now; the rest of
 * the turn stays queued, in order. From a hook, a clock or the error handler:
 * before the next one. No-op outside of a run. */
KOLK_API void kolk_loop_break(kolk_loop *loop);

/* Does `loop` run, in any thread? Thread-safe. */
KOLK_API bool kolk_loop_is_running(const kolk_loop *loop);

/* The loop that runs in this thread, borrowed, or NULL. */
KOLK_API kolk_loop *kolk_current_loop(void);

/* The time on the loop's clock (NULL: the current loop's, or the monotonic
 * clock outside of one). Reads the clock. */
KOLK_API kolk_time kolk_now(kolk_loop *loop);

/* The time at which this turn looked at the clock. Reads no clock. */
KOLK_API kolk_time kolk_loop_turn_time(const kolk_loop *loop);

/* While work is ready, the loop looks at its timers and polls about once in
 * `delay` nanoseconds; 20 us at first. Reading the clock costs more than a
 * short step, so it is read at the first end of a turn after some steps, 62 at
 * most, fewer when steps get longer. 0: the loop looks in every turn. */
KOLK_API void kolk_loop_set_poll_interval(kolk_loop *loop, kolk_time delay);

/* What runs: "epoll" or "io_uring", and in `*why` (may be NULL) why it is that
 * one. Both texts are static. */
KOLK_API const char *kolk_loop_backend(const kolk_loop *loop, const char **why);

/* ---- errors ---- */

/* Something that went wrong where no caller could be told. */
typedef struct kolk_report {
    int error;           /* a negative code, or 0 for a warning */
    const char *message; /* one line, without its end; valid during the call */
    kolk_task *task;     /* whose it is, borrowed, or NULL */
} kolk_report;

typedef struct kolk_error_handler kolk_error_handler;
struct kolk_error_handler {
    void (*fn)(kolk_error_handler *handler, kolk_loop *loop,
               const kolk_report *report);
};

/* Hands reports to `handler`, borrowed until it is replaced; NULL: to standard
 * error, which is also the default. It runs on the loop's thread. */
KOLK_API void kolk_loop_set_error_handler(kolk_loop *loop,
                                          kolk_error_handler *handler);

/* Hands `report` to the loop's error handler. */
KOLK_API void kolk_loop_report(kolk_loop *loop, const kolk_report *report);

/* ---- for hosts: programs that drive the loop from another language ---- */

typedef struct kolk_hooks kolk_hooks;
struct kolk_hooks {
    void (*before_block)(kolk_hooks *hooks); /* let the host's lock go */
    void (*after_block)(kolk_hooks *hooks);  /* take it again */
};

/* Calls `hooks` right around each system call that may block, and around
 * nothing else; in between, nothing of the loop's is touched. Borrowed until
 * replaced; NULL: none. */
KOLK_API void kolk_loop_set_hooks(kolk_loop *loop, kolk_hooks *hooks);

typedef struct kolk_clock kolk_clock;
struct kolk_clock {
    /* The time now; may jump, the loop makes no use of its being steady. */
    kolk_time (*now)(kolk_clock *clock);
    /* How many real nanoseconds to sleep at most for `deadline` to come; NULL:
     * the difference to now. A virtual clock moves itself and says 0. */
    kolk_time (*delay)(kolk_clock *clock, kolk_time deadline);
};

/* The clock of deadlines, of the test whether they are due, and of the poll's
 * bound. Borrowed until replaced; NULL: the monotonic clock. */
KOLK_API void kolk_loop_set_clock(kolk_loop *loop, kolk_clock *clock);

typedef enum kolk_node_kind {
    KOLK_NODE_CALL,
    KOLK_NODE_TIMER,
    KOLK_NODE_WATCH,
    KOLK_NODE_OP,
    /* what is open, and refers to something of yours */
    KOLK_NODE_TRANSPORT,
    KOLK_NODE_DATAGRAM,
    KOLK_NODE_SERVER,
    KOLK_NODE_PROCESS,
    KOLK_NODE_SIGNAL,
    KOLK_NODE_LOOKUP,
    KOLK_NODE_CONNECTOR,
} kolk_node_kind;

typedef struct kolk_visitor kolk_visitor;
struct kolk_visitor {
    /* `node` is a pointer to what `kind` says: kolk_call, kolk_timer,
     * kolk_watch, kolk_op, kolk_transport and so on. A result other than 0
     * ends the visit. */
    int (*fn)(kolk_visitor *visitor, kolk_node_kind kind, void *node);
};

/* Shows every node that is lent to the loop, once, for tracing; the visitor
 * must not change anything. Others may use the loop too, and so does the
 * library (a task that sleeps has a timer): a node is yours if its `fn` is.
 * Calls that another thread holds in the inbox are shown under its lock.
 * Returns 0, or what ended the visit. Any thread may call it while the loop is
 * between the hooks, if it has the lock that these let go. */
KOLK_API int kolk_loop_visit(kolk_loop *loop, kolk_visitor *visitor);

#ifdef __cplusplus
}
#endif
