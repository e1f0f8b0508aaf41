/* kolk/pool.h - blocking work in threads.
 *
 * SPDX-License-Identifier: MIT
 *
 * A pool runs jobs in a bounded number of threads, first come, first served;
 * threads start as jobs come. Each loop has a default one, made at its first
 * use and closed with the loop; it also serves file operations where the
 * kernel cannot. The threads block every signal.
 */
#pragma once

#include <kolk/op.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_pool kolk_pool;

/* Blocking work; runs in a thread of the pool. Returns a result >= 0 or a
 * negative error. */
typedef int kolk_work_fn(void *arg);

typedef struct kolk_pool_options {
    unsigned threads; /* at most; 0: the processors + 4, at most 32 */
    const char *name; /* of the threads, cut to 12 bytes; NULL: "kolk" */
} kolk_pool_options;

/* A pool for any number of loops, yours to close; `options` may be NULL.
 * Returns 0, -ENOMEM. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int kolk_pool_open(const kolk_pool_options *options,
                                            kolk_pool **out);

/* Refuses new jobs, waits up to `delay` nanoseconds for those that are queued
 * or running, and frees the pool. Blocks the calling thread.
 *
 * Returns 0; -ETIMEDOUT if a job still runs: jobs not begun end with
 * -ECANCELED, and the rest of the pool is freed by its last thread.
 * Thread-safe, but not from one of its own jobs (-KOLK_EMISUSE). */
KOLK_API int kolk_pool_close(kolk_pool *pool, kolk_time delay);

/* The loop's default pool, borrowed. NULL if it could not be made. */
KOLK_API kolk_pool *kolk_loop_pool(kolk_loop *loop);

/* How many threads the loop's default pool may have; before its first use.
 * Returns 0 or -KOLK_EMISUSE. */
KOLK_API int kolk_loop_set_pool_threads(kolk_loop *loop, unsigned threads);

/* Closes the default pool as kolk_pool_close() does; the next use makes a new
 * one. What kolk_loop_close() does with no bound. */
KOLK_API int kolk_loop_close_pool(kolk_loop *loop, kolk_time delay);

/* Runs `fn(arg)` in `pool` (NULL: the default one); the operation's result is
 * what it returns. Cancelling a job that has not begun ends it; one that has
 * begun runs to its end.
 * Returns 0; -EAGAIN or -ENOMEM when not even one thread can be had;
 * -ESHUTDOWN. */
KOLK_API KOLK_MUST_CHECK int kolk_op_work(kolk_loop *loop, kolk_op *op,
                                          kolk_pool *pool, kolk_work_fn *fn,
                                          void *arg);

/* asyncio.to_thread: runs `fn(arg)` in the loop's default pool and returns its
 * result. Cancellation: a job not begun is taken back (-ECANCELED); one that
 * has begun is waited for, and its result returned. */
KOLK_API KOLK_MUST_CHECK int kolk_to_thread(kolk_work_fn *fn, void *arg);

/* run_in_executor: the same in `pool` (NULL: the default one). */
KOLK_API KOLK_MUST_CHECK int kolk_run_in_pool(kolk_pool *pool, kolk_work_fn *fn,
                                              void *arg);

/* The same with memory handed over: `free_fn(arg)` runs when the job has ended
 * or will not run, in whichever thread that is, and cancelling returns
 * -ECANCELED at once. If the call fails before the job is queued, `free_fn`
 * has run too. */
KOLK_API KOLK_MUST_CHECK int kolk_run_in_pool_give(kolk_pool *pool,
                                                   kolk_work_fn *fn, void *arg,
                                                   void (*free_fn)(void *arg));

#ifdef __cplusplus
}
#endif
