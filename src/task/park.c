/* park.c - switching between tasks. See park.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A task that waits hands over to the next ready task directly, from stack to
 * stack, as long as nothing else stands between the two: another callback, the
 * end of a turn that has to look around, or somebody who observes each step.
 * All of these belong on the loop's own stack, to which it then switches.
 */
#include "task/park.h"

#include "coro/switch.h"
#include "task/switch_to.h"

void
kolk__wake_told(kolk__coro *coro)
{
    kolk_loop *loop = coro->loop;
    kolk_tracer *tracer = loop->tracer;
    kolk__coro *waker = loop->current;

    if (loop->guest_idle) {
        kolk__guest_update(loop);
    }
    if (tracer != NULL && tracer->wake != NULL) {
        tracer->wake(tracer, coro->task, waker != NULL ? waker->task : NULL);
    }
}

int
kolk__park(kolk__coro *coro, const char *reason, kolk__interrupt_fn *interrupt,
           void *object)
{
    return kolk__park_here(coro, reason, interrupt, object);
}

/* The body of kolk__yield(). */
static inline __attribute__((always_inline)) void
park_yield(kolk__coro *coro)
{
    kolk_loop *loop = kolk__this_thread.loop;

    kolk__ready_push_inside(loop, &coro->call);
    kolk__ahead_note(loop, coro);
    kolk__coro_leave(coro);
}

void
kolk__yield(kolk__coro *coro)
{
    park_yield(coro);
}

void
kolk__interrupt_wait(kolk__coro *coro)
{
    kolk__wake_linked(coro, -ECANCELED);
}

int
kolk_checkpoint(void)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_checkpoint() outside a task");

    if (KOLK_UNLIKELY(coro == NULL)) {
        return -KOLK_EMISUSE;
    }
    if (KOLK_UNLIKELY(coro->is_cancelled)) {
        return kolk__wait_refused(coro);
    }
    park_yield(coro);
    return 0;
}

/* ---- sleeping ---- */

struct park_sleep {
    kolk_timer timer;
    kolk__coro *coro;
};

static void
park_sleep_over(kolk_timer *timer)
{
    struct park_sleep *sleep =
        KOLK_CONTAINER_OF(timer, struct park_sleep, timer);

    kolk__wake(sleep->coro, 0);
}

static void
park_sleep_interrupt(kolk__coro *coro)
{
    struct park_sleep *sleep = coro->object;

    kolk_timer_stop(coro->loop, &sleep->timer);
    kolk__wake(coro, -ECANCELED);
}

int
kolk_sleep_until(kolk_time deadline)
{
    kolk__coro *coro = kolk__coro_or_misuse("sleeping outside a task");
    struct park_sleep sleep;

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    sleep.coro = coro;
    kolk_timer_init(&sleep.timer, park_sleep_over, NULL);
    int err = kolk_call_at(coro->loop, &sleep.timer, deadline);
    if (err < 0) {
        return err;
    }
    return kolk__park(coro, "sleep", park_sleep_interrupt, &sleep);
}

int
kolk_sleep(kolk_time delay)
{
    if (delay <= 0) {
        return kolk_checkpoint();
    }
    return kolk_sleep_until(kolk_time_add(kolk_now(NULL), delay));
}
