/* turn.c - running the loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * kolk__loop_turn() is the loop: look around, run what was ready when that
 * began, then what was put off to the end of the turn.
 *
 * Looking around (the clock, the kernel, the timers) costs more than a short
 * callback. So while work is ready it happens about once in `poll_interval`,
 * and reading the clock to know that is itself spread over some steps, the
 * budget, which follows how long they are. With an interval of 0, or a clock
 * of the user's, the loop looks in every turn, and polls where a descriptor or
 * an operation is waited for: nobody else could tell the difference.
 */
#include "loop/loop.h"

#include <errno.h>

#include "base/sys.h"
#include "loop/poller.h"

enum {
    TURN_BUDGET_MAX = 62, /* 0, 2, 6, 14, 30, 62 */
    TURN_PAUSE_MS = 10,   /* after a poll that failed */
};

/* ---- running what is ready ---- */

/* The innermost run's work that was put off to the end of the step. */
static void
turn_run_step_end(kolk_loop *loop)
{
    while (!kolk__ring_is_empty(&loop->step_end)) {
        kolk_call *call = (kolk_call *)loop->step_end.next;

        kolk__call_unlink(call);
        call->fn(call);
    }
    loop->attention &= ~(uint32_t)KOLK__ATTENTION_STEP_END;
}

/* Was that the last step of the turn? */
static bool
turn_is_over(const kolk_loop *loop)
{
    return kolk__ready_first(loop) == NULL
           && kolk__ring_is_empty(&loop->turn_end);
}

/* A step has ended, and something is to be seen to. */
static void
turn_step_ended(kolk_loop *loop)
{
    if ((loop->attention & KOLK__ATTENTION_STEP_END) != 0) {
        turn_run_step_end(loop);
    }
    if ((loop->attention & KOLK__ATTENTION_JOINED) != 0 && !turn_is_over(loop)
        && kolk__turn_joined_is_due(loop)) {
        loop->net_ops->flush(loop);
    }
}

/* What was written leaves before anybody can look whether it has. */
static inline void
turn_flush(kolk_loop *loop)
{
    if (KOLK_UNLIKELY((loop->attention & KOLK__ATTENTION_JOINED) != 0)) {
        loop->net_ops->flush(loop);
    }
}

/* Runs `call` while a tracer or debug mode looks on. */
static void
turn_step_observed(kolk_loop *loop, kolk_call *call)
{
    kolk_tracer *tracer = loop->tracer;
    const kolk__task_ops *ops = loop->task_ops;
    kolk_task *task = ops != NULL ? ops->task_of(call) : NULL;
    kolk_time begin = loop->debug ? kolk_monotonic() : 0;

    if (tracer != NULL && tracer->step_begin != NULL) {
        tracer->step_begin(tracer, task, call);
    }
    call->fn(call); /* may end the call's life */
    if (tracer != NULL && tracer == loop->tracer && tracer->step_end != NULL) {
        tracer->step_end(tracer, task, call);
    }
    if (loop->debug && begin != 0) {
        kolk_time took = kolk_monotonic() - begin;

        if (took >= loop->slow_step && task != NULL) {
            ops->report_slow(loop, task, took);
        } else if (took >= loop->slow_step) {
            kolk__report(loop, 0, NULL, "a callback took %.3f ms",
                         (double)took / 1e6);
        }
    }
    if (task != NULL) {
        ops->unref(task);
    }
}

/* Runs everything that was ready when the turn began; returns early, with the
 * rest in its place, after kolk_loop_break(). */
static void
turn_run(kolk_loop *loop)
{
    uint32_t outer = loop->end;
    kolk_call *call;

    loop->end = ++loop->turn;
    while ((call = kolk__ready_first(loop)) != NULL) {
        kolk__ready_shift(loop, call);
        loop->budget--;
        if (KOLK_LIKELY((loop->attention & ~(uint32_t)KOLK__ATTENTION_JOINED)
                        == 0)) {
            call->fn(call);
        } else {
            turn_step_observed(loop, call);
        }
        if (KOLK_UNLIKELY(loop->attention != 0)) {
            turn_step_ended(loop);
            if (loop->broken) {
                break;
            }
        }
    }
    loop->end = outer;
}

/* What these calls put off in turn has a later stamp, and is the next turn's.
 * They stay in the loop's ring until they run, so that a visit sees them, and
 * a run that is broken off leaves them. */
static void
turn_run_end(kolk_loop *loop)
{
    uint32_t last = loop->turn_ends++;

    while (!kolk__ring_is_empty(&loop->turn_end) && !loop->broken) {
        kolk_call *call = (kolk_call *)loop->turn_end.next;

        if ((int32_t)(call->turn - last) > 0) {
            break;
        }
        kolk__call_unlink(call);
        call->fn(call);
        turn_run_step_end(loop);
    }
}

/* ---- looking around ---- */

/* Reads the clock: is it time to look around? Adapts how many turns may pass
 * until it is read for this the next time. */
static bool
turn_budget_renew(kolk_loop *loop)
{
    kolk_time now = kolk_monotonic();
    kolk_time since = now - loop->looked;

    if (since > loop->poll_interval / 2) {
        loop->budget_full /= 4;
    } else if (since < loop->poll_interval / 8
               && loop->budget_full < TURN_BUDGET_MAX) {
        loop->budget_full = loop->budget_full * 2 + 2;
    }
    loop->budget = loop->budget_full;
    loop->looked = now;
    return now - loop->polled >= loop->poll_interval;
}

/* Does the loop look around in every turn? */
static bool
turn_looks_always(const kolk_loop *loop)
{
    return loop->poll_interval == 0 || loop->clock != NULL;
}

/* Is it time to look around although work is ready? */
static bool
turn_look_is_due(kolk_loop *loop)
{
    if (turn_looks_always(loop)) {
        return true;
    }
    if (loop->look_is_due) {
        loop->look_is_due = false;
        return true;
    }
    return loop->budget <= 0 && turn_budget_renew(loop);
}

bool
kolk__turn_renew(kolk_loop *loop)
{
    if (turn_looks_always(loop) || loop->look_is_due
        || atomic_load_explicit(&loop->inbox->full, memory_order_relaxed)) {
        return false;
    }
    loop->look_is_due = turn_budget_renew(loop);
    return !loop->look_is_due;
}

/* Could nothing but another thread or a signal ever wake the loop? */
static bool
turn_is_hopeless(const kolk_loop *loop)
{
    return loop->timers.count == 0 && loop->poller->watched == 0
           && loop->poller->pending == 0 && loop->poller->listening == 0
           && loop->guest == NULL && !kolk__inbox_is_shared(loop->inbox);
}

/* How long the loop may sleep: real nanoseconds. */
static kolk_time
turn_delay(kolk_loop *loop)
{
    kolk_time deadline =
        loop->timers.count != 0 ? kolk__timers_next(loop) : KOLK_NEVER;

    if (loop->task_ops != NULL) {
        loop->task_ops->trim(loop);
    }
    if (deadline == KOLK_NEVER) {
        if (loop->debug && loop->task_ops != NULL && turn_is_hopeless(loop)) {
            loop->task_ops->report_deadlock(loop); /* may stop the loop */
        }
        return loop->stopping || loop->broken
                       || !kolk__ring_is_empty(&loop->ready)
                   ? 0
                   : KOLK_NEVER;
    }
    kolk_time delay = kolk__loop_delay(loop, deadline);

    return loop->broken ? 0 : delay; /* the clock may break off */
}

/* A poll that fails is no reason to stop: timers and calls go on. The pause
 * keeps a lasting failure from taking the whole processor. */
static void
turn_poll_failed(kolk_loop *loop, int err, kolk_time delay)
{
    kolk__report(loop, err, NULL, "waiting for events failed: %s",
                 kolk_strerror(err));
    if (delay != 0) {
        int pause = delay < KOLK_MS(TURN_PAUSE_MS) ? 1 : TURN_PAUSE_MS;
        kolk_hooks *hooks = kolk__block_begin(loop);

        (void)kolk__sys.poll(NULL, 0, pause); /* EINTR only shortens it */
        kolk__block_end(hooks);
    }
}

static void
turn_poll(kolk_loop *loop, kolk_time delay)
{
    const kolk__poller_ops *ops = loop->poller->ops;
    kolk_tracer *tracer = loop->tracer;

    if (delay != 0 && !kolk__inbox_sleep(loop->inbox)) {
        delay = 0;
    }
    if (KOLK_UNLIKELY(tracer != NULL) && tracer->poll_begin != NULL) {
        tracer->poll_begin(tracer, delay);
    }
    int events = ops->wait(loop, delay);
    kolk__inbox_awake(loop->inbox);
    if (KOLK_UNLIKELY(tracer != NULL) && tracer->poll_end != NULL) {
        tracer->poll_end(tracer, events);
    }
    if (events > 0) {
        ops->dispatch(loop, events);
    } else if (KOLK_UNLIKELY(events < 0)) {
        turn_poll_failed(loop, events, delay);
    }
}

/* Queues what has become ready since the last look. */
static void
turn_look(kolk_loop *loop, bool may_block)
{
    bool is_idle = kolk__ring_is_empty(&loop->ready);
    kolk_time delay = 0;

    if (!is_idle && !turn_look_is_due(loop)) {
        return;
    }
    if (is_idle && may_block && kolk__ring_is_empty(&loop->turn_end)) {
        delay = turn_delay(loop);
    }
    if (delay != 0 || loop->poller->watched != 0 || loop->poller->pending != 0
        || loop->poller->listening != 0
        || (is_idle && loop->poller->background != 0)) {
        turn_poll(loop, delay);
    }
    if (loop->timers.count != 0 || loop->clock == NULL) {
        loop->turn_time = kolk__loop_time(loop);
    }
    if (loop->clock == NULL) {
        loop->polled = loop->turn_time;
    }
    if (loop->timers.count != 0) {
        kolk__timers_collect(loop, loop->turn_time);
    }
}

void
kolk__loop_turn(kolk_loop *loop, bool may_block)
{
    if (KOLK_UNLIKELY((loop->attention & KOLK__ATTENTION_STEP_END) != 0)) {
        turn_run_step_end(loop); /* of the step that runs this nested */
    }
    turn_flush(loop);
    kolk__inbox_drain(loop);
    turn_look(loop, may_block);
    kolk__inbox_drain(loop);
    if (KOLK_LIKELY(!loop->broken)) {
        turn_run(loop);
    }
    if (KOLK_LIKELY(!loop->broken)) {
        turn_run_end(loop);
    }
    turn_flush(loop);
}

/* ---- runs ---- */

/* What a run puts back when it ends. */
struct turn_outer {
    kolk_loop *loop;
    const void *thread;
    bool stopping;
};

static int
turn_enter(kolk_loop *loop, struct turn_outer *outer, bool as_guest)
{
    kolk_loop *here = kolk__this_thread.loop;
    int err = kolk__loop_check(loop, "running a loop");

    if (err < 0) {
        return err;
    }
    if (here != NULL && here->current != NULL) {
        return kolk__misuse(loop, "running a loop inside a task");
    }
    if (here != NULL && here != loop && !as_guest) {
        return kolk__misuse(loop, "running a loop where another one runs");
    }
    *outer = (struct turn_outer){here, loop->thread, loop->stopping};
    if (loop->runs++ > 0) {
        loop->stopping = false; /* that was said to the outer run */
    }
    loop->guest_idle = false;
    kolk__this_thread.loop = loop;
    __atomic_store_n(&loop->thread, &kolk__this_thread, __ATOMIC_RELAXED);
    kolk__inbox_awake(loop->inbox);
    if (loop->debug && loop->task_ops != NULL && loop->runs == 1) {
        loop->task_ops->watch_overflow(loop);
    }
    return 0;
}

/* The same for a run that the user asks for. While a closing loop waits for
 * its jobs, another thread may have the host's lock. */
static int
turn_begin(kolk_loop *loop, struct turn_outer *outer, bool as_guest)
{
    if (KOLK_UNLIKELY(loop->closing) && loop->runs == 0
        && loop->generation == kolk__generation) {
        return -ESHUTDOWN;
    }
    return turn_enter(loop, outer, as_guest);
}

/* Returns 0, or why the run was broken off. */
static int
turn_leave(kolk_loop *loop, const struct turn_outer *outer)
{
    int err = loop->broken ? -EINTR : 0;

    if (loop->generation != kolk__generation) {
        /* The child of a fork: it stays broken off, up to the outermost run,
         * and nothing of the parent's is touched. */
        return -KOLK_EFORK;
    }
    loop->broken = false;
    loop->runs--;
    loop->stopping = loop->runs > 0 && outer->stopping;
    loop->attention &=
        ~(uint32_t)(KOLK__ATTENTION_BREAK | KOLK__ATTENTION_STOP);
    if (loop->stopping) {
        loop->attention |= KOLK__ATTENTION_STOP;
    }
    kolk__this_thread.loop = outer->loop;
    __atomic_store_n(&loop->thread, outer->thread, __ATOMIC_RELAXED);
    if (loop->runs == 0) {
        /* From here on, other threads have to announce what they push. */
        atomic_store(&loop->inbox->asleep, true);
        loop->guest_idle = loop->guest != NULL;
        kolk__guest_update(loop);
    }
    return err;
}

int
kolk_run_forever(kolk_loop *loop)
{
    struct turn_outer outer;
    int err = turn_begin(loop, &outer, false);

    if (err < 0) {
        return err;
    }
    do {
        kolk__loop_turn(loop, !loop->stopping);
    } while (!loop->stopping && !loop->broken);
    return turn_leave(loop, &outer);
}

int
kolk_run_once(kolk_loop *loop)
{
    struct turn_outer outer;
    int err = turn_begin(loop, &outer, true);

    if (err < 0) {
        return err;
    }
    kolk__loop_turn(loop, false);
    err = turn_leave(loop, &outer);
    return err < 0 ? err : !kolk__ring_is_empty(&loop->ready);
}

/* The call that ends kolk_run_until(). */
struct turn_until {
    kolk_call call;
    kolk_loop *loop;
};

static void
turn_until_done(kolk_call *call)
{
    struct turn_until *until = KOLK_CONTAINER_OF(call, struct turn_until, call);

    kolk_loop_stop(until->loop);
}

int
kolk_run_until(kolk_loop *loop, kolk_future *future)
{
    struct turn_until until = {.loop = loop};
    int err = kolk__loop_check(loop, "kolk_run_until()");

    if (err < 0) {
        return err;
    }
    if (kolk_future_loop(future) != loop) {
        return kolk__misuse(loop, "kolk_run_until() of another loop's future");
    }
    kolk_call_init(&until.call, turn_until_done, NULL);
    err = kolk_future_add_done_callback(future, &until.call);
    if (err < 0) {
        return err;
    }
    err = kolk_run_forever(loop);
    if (kolk_call_is_pending(&until.call)) {
        kolk_call_cancel(loop, &until.call);
        return err < 0 ? err : -EINTR;
    }
    return err < 0 ? err : kolk_future_result(future);
}

bool
kolk__loop_settle(kolk_loop *loop, bool (*done)(kolk_loop *loop))
{
    struct turn_outer outer = {.loop = NULL};
    int patience = 1000; /* turns of work that make no sleep necessary */
    bool is_done = done(loop);

    if (is_done || turn_enter(loop, &outer, true) < 0) {
        return is_done;
    }
    while (!is_done && patience > 0) {
        if (!kolk__ring_is_empty(&loop->ready)) {
            patience--;
        } else if (kolk__timers_next(loop) == KOLK_NEVER
                   && loop->poller->pending == 0) {
            break;
        }
        kolk__loop_turn(loop, true);
        is_done = done(loop);
    }
    (void)turn_leave(loop, &outer); /* closing: nobody asks */
    return is_done;
}

void
kolk_loop_stop(kolk_loop *loop)
{
    loop->stopping = true;
    loop->attention |= KOLK__ATTENTION_STOP;
}

void
kolk_loop_break(kolk_loop *loop)
{
    if (loop->runs > 0) {
        loop->broken = true;
        loop->attention |= KOLK__ATTENTION_BREAK;
    }
}

bool
kolk_loop_is_running(const kolk_loop *loop)
{
    return __atomic_load_n(&loop->thread, __ATOMIC_RELAXED) != NULL;
}

kolk_loop *
kolk_current_loop(void)
{
    return kolk__this_thread.loop;
}
