/* open.c - making a loop, setting it up, closing it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Closing goes from what may still run to what is only memory: tasks come to
 * their end, threads and the kernel let go of every buffer, nodes go back to
 * whoever lent them. The struct itself stays until the last future is gone,
 * because a handle may be given up later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kolk/debug.h>

#include "base/sys.h"
#include "loop/handle.h"
#include "loop/loop.h"
#include "loop/poller.h"
#include "loop/signal.h"

enum { OPEN_STACK_SIZE = 128 * 1024 };

__thread kolk__thread kolk__this_thread;

static int
open_backend(const kolk_loop_options *options, kolk_backend *out)
{
    const char *name = getenv("KOLK_BACKEND");

    if (options != NULL && options->backend != KOLK_BACKEND_DEFAULT) {
        *out = options->backend;
    } else if (name == NULL || *name == '\0') {
        *out = KOLK_BACKEND_DEFAULT;
    } else if (strcmp(name, "epoll") == 0) {
        *out = KOLK_BACKEND_EPOLL;
    } else if (strcmp(name, "io_uring") == 0) {
        *out = KOLK_BACKEND_URING;
    } else {
        return -EINVAL;
    }
    return 0;
}

static bool
open_debug(const kolk_loop_options *options)
{
    const char *value = getenv("KOLK_DEBUG");

    if (options != NULL && options->debug != KOLK_DEFAULT) {
        return options->debug == KOLK_ON;
    }
    return value != NULL && strcmp(value, "1") == 0;
}

/* In the child, a loop that runs ends its run as soon as the callback that
 * forked returns, no call takes this thread for the loop's, and no signal wakes
 * a loop of the parent's. */
static void
open_forked(void)
{
    kolk_loop *loop = kolk__this_thread.loop;

    if (loop != NULL) {
        kolk_loop_break(loop);
        kolk__this_thread.loop = NULL;
    }
    kolk__signals_forked();
}

/* How long written bytes may be joined by others; negative: not at all. */
static kolk_time
open_write_delay(void)
{
    const char *value = getenv("KOLK_WRITE");

    return value != NULL && strcmp(value, "now") == 0 ? -1 : KOLK_US(100);
}

static void
open_init(kolk_loop *loop, const kolk_loop_options *options)
{
    kolk__ring_init(&loop->ready);
    kolk__ring_init(&loop->step_end);
    kolk__ring_init(&loop->turn_end);
    kolk__ring_init(&loop->handles);
    kolk__ring_init(&loop->signals);
    loop->refs = 1;
    loop->generation = kolk__generation;
    loop->poll_interval = KOLK_US(20);
    loop->write_delay = open_write_delay();
    loop->slow_step = KOLK_MS(100);
    loop->stack_size = options != NULL && options->stack_size != 0
                           ? options->stack_size
                           : OPEN_STACK_SIZE;
    loop->turn_time = kolk_monotonic();
    kolk__timers_init(&loop->timers, loop->turn_time);
}

int
kolk_loop_open_version(int version, const kolk_loop_options *options,
                       kolk_loop **out)
{
    kolk_backend backend;

    /* Before 1.0, any minor version may change the layout of nodes. */
    if (version / 100 != KOLK_VERSION / 100) {
        return -KOLK_EVERSION;
    }
    int err = open_backend(options, &backend);
    if (err < 0) {
        return err;
    }
    kolk__fork_set_hook(open_forked);
    err = kolk__fork_watch();
    if (err < 0) {
        return err;
    }
    kolk_loop *loop = kolk__sys.calloc(1, sizeof *loop);
    if (loop == NULL) {
        return -ENOMEM;
    }
    open_init(loop, options);
    loop->asked = backend;
    err = kolk__inbox_open(&loop->inbox);
    if (err < 0) {
        goto free_loop;
    }
    err = kolk__poller_open(loop);
    if (err < 0) {
        goto close_inbox;
    }
    kolk_loop_set_debug(loop, open_debug(options));
    *out = loop;
    return 0;

close_inbox:
    kolk_inbox_unref(loop->inbox);
free_loop:
    kolk__sys.free(loop);
    return err;
}

void
kolk__loop_free(kolk_loop *loop)
{
    if (loop->task_ops != NULL) {
        loop->task_ops->free(loop);
    }
    kolk__sys.free(loop);
}

static bool
open_tasks_are_done(kolk_loop *loop)
{
    return !loop->task_ops->cancel_all(loop);
}

/* Gives back every node that is lent; afterwards nothing can be lent. What is
 * not back yet stays where a visit sees it. */
static void
open_drop_nodes(kolk_loop *loop)
{
    kolk__inbox_close(loop->inbox, &loop->ready);
    loop->closed = true;
    kolk__calls_drop(&loop->step_end);
    kolk__calls_drop(&loop->turn_end);
    kolk__calls_drop(&loop->ready);
    kolk__timers_drop(loop);
    kolk__signals_drop(loop);
    kolk__poller_close(loop);
    kolk__calls_drop(&loop->ready);
    kolk_inbox_unref(loop->inbox);
}

int
kolk_loop_close(kolk_loop *loop)
{
    bool forked = loop->generation != kolk__generation;

    if (!forked && (loop->closing || kolk_loop_is_running(loop))) {
        return kolk__misuse(loop, "closing a loop that runs");
    }
    loop->closing = true;
    if (loop->task_ops != NULL && !forked
        && !kolk__loop_settle(loop, open_tasks_are_done)) {
        kolk__report(loop, -ECANCELED, NULL,
                     "tasks did not end when the loop was closed");
    }
    if (!forked) {
        kolk__poller_settle(loop); /* before the stacks that buffers are on */
    }
    if (loop->task_ops != NULL) {
        loop->task_ops->drop_all(loop);
    }
    kolk__handles_drop(loop);
    (void)kolk_loop_close_pool(loop, KOLK_NEVER); /* no bound: no error */
    kolk__guest_close(loop);
    open_drop_nodes(loop);
    if (loop->net_ops != NULL) {
        loop->net_ops->free(loop);
    }
    kolk__loop_unref(loop);
    return 0;
}

int
kolk__loop_check_slow(kolk_loop *loop, const char *what)
{
    if (loop->generation != kolk__generation) {
        return -KOLK_EFORK;
    }
    if (loop->closed) {
        return -ESHUTDOWN;
    }
    const void *thread = __atomic_load_n(&loop->thread, __ATOMIC_RELAXED);
    if (thread != NULL && thread != &kolk__this_thread) {
        return kolk__misuse(loop, what);
    }
    return 0;
}

/* ---- what the user sets ---- */

void
kolk_loop_set_poll_interval(kolk_loop *loop, kolk_time delay)
{
    loop->poll_interval = delay > 0 ? delay : 0;
    loop->budget = 0;
    loop->budget_full = 0;
}

void
kolk_loop_set_hooks(kolk_loop *loop, kolk_hooks *hooks)
{
    loop->hooks = hooks;
}

void
kolk_loop_set_clock(kolk_loop *loop, kolk_clock *clock)
{
    loop->clock = clock;
    loop->budget = 0;
    loop->budget_full = 0;
    loop->turn_time = kolk__loop_time(loop);
    kolk__timers_rebase(&loop->timers, loop->turn_time);
    kolk__guest_update(loop);
}

static void
open_set_attention(kolk_loop *loop, uint32_t bit, bool on)
{
    if (on) {
        loop->attention |= bit;
    } else {
        loop->attention &= ~bit;
    }
}

void
kolk_loop_set_tracer(kolk_loop *loop, kolk_tracer *tracer)
{
    loop->tracer = tracer;
    open_set_attention(loop, KOLK__ATTENTION_TRACE, tracer != NULL);
}

void
kolk_loop_set_debug(kolk_loop *loop, bool on)
{
    loop->debug = on;
    open_set_attention(loop, KOLK__ATTENTION_DEBUG, on);
}

bool
kolk_loop_is_debug(const kolk_loop *loop)
{
    return loop->debug;
}

void
kolk_loop_set_slow_step(kolk_loop *loop, kolk_time delay)
{
    loop->slow_step = delay;
}

/* ---- time ---- */

kolk_time
kolk__loop_time(kolk_loop *loop)
{
    kolk_clock *clock = loop->clock;

    return KOLK_UNLIKELY(clock != NULL) ? clock->now(clock) : kolk_monotonic();
}

kolk_time
kolk__loop_delay(kolk_loop *loop, kolk_time deadline)
{
    kolk_clock *clock = loop->clock;
    kolk_time delay = clock != NULL && clock->delay != NULL
                          ? clock->delay(clock, deadline)
                          : deadline - kolk__loop_time(loop);

    return delay > 0 ? delay : 0;
}

kolk_time
kolk_now(kolk_loop *loop)
{
    if (loop == NULL) {
        loop = kolk__this_thread.loop;
    }
    return loop != NULL ? kolk__loop_time(loop) : kolk_monotonic();
}

kolk_time
kolk_loop_turn_time(const kolk_loop *loop)
{
    return loop->turn_time;
}
