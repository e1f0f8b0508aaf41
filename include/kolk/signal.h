/* kolk/signal.h - signals, on the loop and awaited.
 *
 * SPDX-License-Identifier: MIT
 *
 * Several loops, and several nodes and tasks of each, may wait for the same
 * signal; all are told. While anybody waits for a signal, the library has its
 * handler (with SA_RESTART); when the last one stops, what was there before is
 * put back. Signals of which several arrive before the loop runs count once.
 * In the child of a fork, where the loops of the parent are dead, signals do
 * what they did before.
 */
#pragma once

#include <signal.h>

#include <kolk/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_signal kolk_signal;
typedef void kolk_signal_fn(kolk_signal *signal);

/* A handler that runs on the loop, a node of yours. */
struct kolk_signal {
    kolk_signal_fn *fn;
    kolk_signal_fn *dropped; /* runs once when the loop closes, or NULL */
    int signum;              /* while it is started */

    /* private to signal.c */
    kolk_call call;
    kolk_loop *loop;
    kolk_link link;
    void *reserved[2];
};

/* Prepares `signal` to run `fn`. `dropped` may be NULL. Thread-safe. */
KOLK_API void kolk_signal_init(kolk_signal *signal, kolk_signal_fn *fn,
                               kolk_signal_fn *dropped);

/* Runs the node's function on the loop, once in a turn at most, whenever
 * `signum` arrives, until it is stopped. The loop borrows the node.
 *
 * Returns 0; -EALREADY; -EINVAL for SIGKILL, SIGSTOP, numbers that are none or
 * the C library's own, and those that tell of the program's own defects
 * (SIGSEGV, SIGBUS, SIGFPE, SIGILL); -ESHUTDOWN, -KOLK_EMISUSE, -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_signal_start(kolk_loop *loop,
                                               kolk_signal *signal, int signum);

/* Stops it; its function does not run again. A no-op if it is not started. */
KOLK_API void kolk_signal_stop(kolk_signal *signal);

KOLK_API bool kolk_signal_is_started(const kolk_signal *signal);

/* Waits for one of `count` signals and returns it; -EINVAL for none or for one
 * that kolk_signal_start() refuses, -ENOMEM. A signal that arrives between two
 * calls is not waited for, and has its former effect: start a node, or use
 * kolk_signals. Cancellation: -ECANCELED. */
KOLK_API KOLK_MUST_CHECK int kolk_signal_wait(const int *signums, size_t count);

/* Signals that a task waits for again and again: from begin to end none is
 * missed. Plain memory in the task's frame. */
typedef struct kolk_signals {
    /* private to await/signal.c */
    struct kolk__signals *state;
} kolk_signals;

/* Returns 0, or an error as kolk_signal_wait(), and then there is nothing to
 * end. Never waits. */
KOLK_API KOLK_MUST_CHECK int
kolk_signals_begin(kolk_signals *signals, const int *signums, size_t count);

/* The next one that has arrived, in the order of arrival, waiting for it if
 * there is none: its number. Cancellation: -ECANCELED; none is lost. */
KOLK_API KOLK_MUST_CHECK int kolk_signals_next(kolk_signals *signals);

/* Ends it; before the loop is closed. A no-op after an end, or a begin that has
 * failed. Never waits. */
KOLK_API void kolk_signals_end(kolk_signals *signals);

#ifdef __cplusplus
}
#endif
