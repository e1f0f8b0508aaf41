/* kolk/task.h - coroutines that run side by side.
 *
 * SPDX-License-Identifier: MIT
 *
 * A task runs a C function on a stack of its own. It runs until it waits; then
 * the next one runs, in the same thread. Nothing else of the loop happens
 * between two waits, so plain data shared by tasks needs no lock as long as no
 * wait stands in the middle of its use.
 *
 * Cancellation is level-triggered: while a request is pending, each call that
 * would wait returns -ECANCELED at once, and what has completed is returned
 * all the same. A task obeys by returning. Requests are counted, and stay
 * until they are taken back by kolk_task_uncancel() or by the scope that made
 * them (kolk/scope.h).
 *
 * A task's handle is a kolk_future; kolk_await(), kolk_join() and the like take
 * it.
 */
#pragma once

#include <kolk/future.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A task is a future whose result is what its function returns. */
typedef struct kolk_future kolk_task;

/* The body of a task. Returns its result: >= 0, or a negative error. An error
 * that nobody reads goes to the loop's error handler, -ECANCELED aside. */
typedef int kolk_task_fn(void *arg);

typedef struct kolk_spawn_options {
    const char *name;  /* copied, cut to KOLK_TASK_NAME_MAX; NULL: "task-N" */
    size_t stack_size; /* bytes of address space; 0: the loop's default */
    size_t arg_size;   /* > 0: so many bytes at `arg` are copied onto the new
                        * stack, and the task gets the copy */
    bool eager;        /* run to the first wait now, inside the call */
} kolk_spawn_options;

enum { KOLK_TASK_NAME_MAX = 47 };

/* Makes a task of `fn(arg)` and queues its first step, behind all that is
 * ready. `loop` may be NULL: the current one; `options` may be NULL. `*out` is
 * a handle, yours to give up with kolk_task_detach() or kolk_future_unref();
 * `out` may be NULL: the task is detached from the start. `site` is where,
 * "file:line", static: use the macros.
 *
 * The task inherits a snapshot of the caller's context (kolk/context.h). With
 * `eager`, the caller must be a task, which goes on when the new one waits or
 * ends.
 *
 * Returns 0; -ENOMEM, -EAGAIN (no memory for a stack); -EINVAL (a stack of
 * less than 16 KiB); -ESHUTDOWN (the loop is closing); -KOLK_EMISUSE,
 * -KOLK_EFORK. */
KOLK_API KOLK_MUST_CHECK int kolk_spawn_at(const char *site, kolk_loop *loop,
                                           const kolk_spawn_options *options,
                                           kolk_task_fn *fn, void *arg,
                                           kolk_task **out);

/* On the current loop, with the default options. */
#define kolk_spawn(fn, arg, out)                                               \
    kolk_spawn_at(KOLK_HERE, NULL, NULL, (fn), (arg), (out))

/* On `loop` (NULL: the current one), with `options` (NULL: the default). */
#define kolk_spawn_with(loop, options, fn, arg, out)                           \
    kolk_spawn_at(KOLK_HERE, (loop), (options), (fn), (arg), (out))

/* On the current loop, running to its first wait before the call returns. */
#define kolk_spawn_eager(fn, arg, out)                                         \
    kolk_spawn_at(KOLK_HERE, NULL, &kolk_eager, (fn), (arg), (out))

/* Options with nothing but `eager` set. */
KOLK_API extern const kolk_spawn_options kolk_eager;

/* A whole program: opens a loop, runs `fn(arg)` as its main task, then cancels
 * the tasks that are left, waits for them, and closes the loop. Returns the
 * main task's result or the error that kept it from running.
 * -KOLK_EMISUSE where a loop runs already.
 *
 * Ctrl-C: in the main thread, if SIGINT has its default disposition, the first
 * SIGINT requests that the main task ends, so that its clean-up runs; if it
 * then ends with -ECANCELED, this returns -EINTR. A second SIGINT ends the
 * process at once. While anybody waits for SIGINT (kolk/signal.h), it is told
 * in their place. The disposition is put back when the main task has ended. */
KOLK_API KOLK_MUST_CHECK int kolk_run_at(const char *site, kolk_task_fn *fn,
                                         void *arg);
#define kolk_run(fn, arg) kolk_run_at(KOLK_HERE, (fn), (arg))

/* The task that runs now, borrowed; NULL outside of one. */
KOLK_API kolk_task *kolk_current_task(void);

/* Writes up to `size` tasks of `loop` that have not ended, borrowed, oldest
 * first, and returns how many there are. */
KOLK_API size_t kolk_all_tasks(kolk_loop *loop, kolk_task **tasks, size_t size);

/* The task's name, borrowed until it is set again or the task has been freed;
 * "" for a plain future, or when the task has ended and nothing kept it. */
KOLK_API const char *kolk_task_name(const kolk_task *task);

/* Names `task`: a copy, cut to KOLK_TASK_NAME_MAX bytes. A no-op once it has
 * ended. */
KOLK_API void kolk_task_set_name(kolk_task *task, const char *name);

/* Gives up a handle: the task goes on by itself, and an error of its goes to
 * the loop's error handler unless another handle is left to read it. */
KOLK_API void kolk_task_detach(kolk_task *task);

/* Requests that `task` ends: its waits return -ECANCELED from now on. Counted.
 * A task that has not begun runs up to its first wait, so that it can let go
 * of what it was given. A task may cancel itself. Returns 1, or 0 if it has
 * ended; -KOLK_EMISUSE for a plain future or from another thread. */
KOLK_API int kolk_task_cancel(kolk_task *task);

/* Takes one request of kolk_task_cancel() back; returns how many are left. */
KOLK_API int kolk_task_uncancel(kolk_task *task);

/* How many requests of kolk_task_cancel() are pending. */
KOLK_API int kolk_task_cancelling(const kolk_task *task);

/* Would a wait of the current task return -ECANCELED now? */
KOLK_API bool kolk_is_cancelled(void);

/* asyncio.sleep(0): lets everything that is ready run once, then goes on.
 * Returns 0 or -ECANCELED; -KOLK_EMISUSE outside of a task. */
KOLK_API KOLK_MUST_CHECK int kolk_checkpoint(void);

/* Waits for `delay` nanoseconds; 0 or less is kolk_checkpoint().
 * Returns 0 or -ECANCELED; -KOLK_EMISUSE outside of a task. */
KOLK_API KOLK_MUST_CHECK int kolk_sleep(kolk_time delay);

/* Waits until `deadline`, absolute on the loop's clock. As kolk_sleep(). */
KOLK_API KOLK_MUST_CHECK int kolk_sleep_until(kolk_time deadline);

#ifdef __cplusplus
}
#endif
