/* run.c - whole programs, and running a coroutine from another thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>

#include "loop/signal.h"
#include "task/park.h"

/* A program's main task, and what SIGINT does to it. */
struct run_main {
    kolk_call interrupt;
    kolk_task *task;
    bool is_interrupted;
};

static void
run_interrupt(kolk_call *call)
{
    struct run_main *main = KOLK_CONTAINER_OF(call, struct run_main, interrupt);

    main->is_interrupted = true;
    (void)kolk_task_cancel(main->task); /* 0: it has just ended */
}

/* Runs `task` to its end, which SIGINT may bring about. Returns its result. */
static int
run_until(kolk_loop *loop, kolk_task *task)
{
    struct run_main main = {.task = task};

    kolk_call_init(&main.interrupt, run_interrupt, NULL);
    bool listens = kolk__interrupt_begin(loop, &main.interrupt);
    int result = kolk_run_until(loop, task);
    if (listens && loop->generation == kolk__generation) {
        kolk__interrupt_end(loop);
        kolk_call_cancel(loop, &main.interrupt);
    }
    return main.is_interrupted && result == -ECANCELED ? -EINTR : result;
}

int
kolk_run_at(const char *site, kolk_task_fn *fn, void *arg)
{
    kolk_loop *loop;
    kolk_task *task;

    if (kolk__this_thread.loop != NULL) {
        return kolk__misuse(kolk__this_thread.loop,
                            "kolk_run() where a loop runs");
    }
    int err = kolk_loop_open(NULL, &loop);
    if (err < 0) {
        return err;
    }
    err = kolk_spawn_at(site, loop, NULL, fn, arg, &task);
    if (err >= 0) {
        err = run_until(loop, task);
        kolk_future_unref(task);
    }
    (void)kolk_loop_close(loop); /* it does not run, so it closes */
    return err;
}

/* A thread that waits for a task of the loop's. It stands on that thread's
 * stack; the thread does not return before `is_done`. */
struct run_there {
    kolk_call start; /* through the inbox */
    kolk_call done;  /* the task's done callback */
    kolk_task *task;
    kolk_task_fn *fn;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int result;   /* guarded by lock */
    bool is_done; /* guarded by lock */
};

static void
run_there_finish(struct run_there *there, int result)
{
    pthread_mutex_lock(&there->lock);
    there->result = result;
    there->is_done = true;
    /* Under the lock: afterwards the waiting thread may be gone. */
    pthread_cond_signal(&there->changed);
    pthread_mutex_unlock(&there->lock);
}

static void
run_there_done(kolk_call *call)
{
    struct run_there *there = KOLK_CONTAINER_OF(call, struct run_there, done);
    kolk_task *task = there->task;
    int result = kolk_future_result(task);

    if (result == -ECANCELED && task->loop->closing) {
        result = -ESHUTDOWN; /* it is the closing that has cancelled it */
    }
    kolk_future_unref(task);
    run_there_finish(there, result);
}

static void
run_there_start(kolk_call *call)
{
    struct run_there *there = KOLK_CONTAINER_OF(call, struct run_there, start);
    int err = kolk_spawn(there->fn, there->arg, &there->task);

    if (err >= 0) {
        err = kolk_future_add_done_callback(there->task, &there->done);
    }
    if (err < 0) {
        run_there_finish(there, err);
    }
}

static void
run_there_dropped(kolk_call *call)
{
    struct run_there *there = KOLK_CONTAINER_OF(call, struct run_there, start);

    run_there_finish(there, -ESHUTDOWN);
}

static void
run_there_done_dropped(kolk_call *call)
{
    struct run_there *there = KOLK_CONTAINER_OF(call, struct run_there, done);
    kolk_task *task = there->task;

    kolk_future_unref(task);
    run_there_finish(there, -ESHUTDOWN);
}

int
kolk_inbox_run(kolk_inbox *inbox, kolk_task_fn *fn, void *arg)
{
    struct run_there there = {.fn = fn, .arg = arg};
    kolk_loop *here = kolk__this_thread.loop;

    if (here != NULL && here->inbox == inbox) {
        return kolk__misuse(here, "kolk_inbox_run() on the loop's own thread");
    }
    kolk_call_init(&there.start, run_there_start, run_there_dropped);
    kolk_call_init(&there.done, run_there_done, run_there_done_dropped);
    (void)pthread_mutex_init(&there.lock, NULL); /* Linux: cannot fail */
    (void)pthread_cond_init(&there.changed, NULL);
    int err = kolk_inbox_push(inbox, &there.start);
    if (err == 0) {
        pthread_mutex_lock(&there.lock);
        while (!there.is_done) {
            pthread_cond_wait(&there.changed, &there.lock);
        }
        err = there.result;
        pthread_mutex_unlock(&there.lock);
    }
    (void)pthread_cond_destroy(&there.changed);
    (void)pthread_mutex_destroy(&there.lock);
    return err;
}
