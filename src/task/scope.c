/* scope.c - requests to cancel, and the scopes that own them.
 *
 * SPDX-License-Identifier: MIT
 *
 * A task has a stack of open scopes. A request belongs to the task itself
 * (counted, kolk_task_cancel()) or to one scope. What a wait sees is worked out
 * whenever a request comes or goes and whenever a scope opens or closes, going
 * outwards: any request up to the nearest shield. The result is kept in
 * `is_cancelled`, so that a wait looks at one flag.
 */
#include "task/park.h"

static void
cancel_interrupt(kolk__coro *coro)
{
    kolk__interrupt_fn *interrupt = coro->interrupt;

    coro->interrupt = NULL; /* once for a wait */
    kolk__cancel_seen(coro);
    interrupt(coro);
}

/* Is a request to be seen by what runs inside of `scope`, itself included? */
static bool
cancel_is_seen_in(const kolk_scope *scope, const kolk__coro *coro)
{
    for (; scope != NULL; scope = scope->outer) {
        if (scope->kind == KOLK__SCOPE_SHIELD) {
            return false;
        }
        if (scope->requested) {
            return true;
        }
    }
    return coro->cancels > 0;
}

bool
kolk__cancel_is_outer(const kolk_scope *scope, const kolk__coro *coro)
{
    return cancel_is_seen_in(scope->outer, coro);
}

void
kolk__cancel_update(kolk__coro *coro)
{
    bool was = coro->is_cancelled;

    coro->is_cancelled = cancel_is_seen_in(coro->scope, coro);
    if (coro->is_cancelled && !was && coro->is_parked
        && coro->interrupt != NULL) {
        cancel_interrupt(coro);
    }
}

void
kolk__cancel_seen(kolk__coro *coro)
{
    kolk_scope *outermost = NULL;

    for (kolk_scope *scope = coro->scope;
         scope != NULL && scope->kind != KOLK__SCOPE_SHIELD;
         scope = scope->outer) {
        if (scope->requested) {
            outermost = scope;
        }
    }
    if (outermost != NULL) {
        outermost->seen = true;
    }
}

/* ---- the task's own requests ---- */

/* The coroutine of a task that has not ended, or NULL and an answer. */
static kolk__coro *
cancel_coro(kolk_task *task, const char *what, int *answer)
{
    *answer = kolk__loop_check(task->loop, what);
    if (*answer < 0) {
        return NULL;
    }
    if (!kolk__future_is_task(task)) {
        *answer = kolk__misuse(task->loop, what);
        return NULL;
    }
    return kolk__future_is_done(task) ? NULL : task->coro;
}

int
kolk_task_cancel(kolk_task *task)
{
    int answer;
    kolk__coro *coro = cancel_coro(task, "kolk_task_cancel()", &answer);

    if (coro == NULL) {
        return answer;
    }
    coro->cancels++;
    kolk__cancel_update(coro);
    return 1;
}

int
kolk_task_uncancel(kolk_task *task)
{
    int answer;
    kolk__coro *coro = cancel_coro(task, "kolk_task_uncancel()", &answer);

    if (coro == NULL) {
        return answer;
    }
    if (coro->cancels > 0) {
        coro->cancels--;
        kolk__cancel_update(coro);
    }
    return coro->cancels;
}

int
kolk_task_cancelling(const kolk_task *task)
{
    bool is_live = kolk__future_is_live_task(task);

    return is_live ? task->coro->cancels : 0;
}

bool
kolk_is_cancelled(void)
{
    const kolk__coro *coro = kolk__current_coro();

    return coro != NULL && coro->is_cancelled;
}

/* ---- scopes ---- */

int
kolk__scope_begin(kolk_scope *scope, uint8_t kind, const char *site,
                  const char *what)
{
    kolk__coro *coro = kolk__coro_or_misuse(what);

    *scope = (kolk_scope){.site = site, .kind = kind};
    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    scope->outer = coro->scope;
    scope->task = coro->task;
    coro->scope = scope;
    kolk__cancel_update(coro);
    return 0;
}

int
kolk__scope_end(kolk_scope *scope, const char *what)
{
    kolk__coro *coro = kolk__coro_or_misuse(what);

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (scope->task != coro->task || coro->scope != scope) {
        return kolk__misuse(coro->loop, what);
    }
    coro->scope = scope->outer;
    scope->task = NULL;
    kolk__cancel_update(coro);
    return 0;
}

void
kolk__scope_request(kolk_scope *scope)
{
    scope->requested = true;
    kolk__cancel_update(scope->task->coro);
}

/* ---- timeouts ---- */

static void
timeout_expire(kolk_timer *timer)
{
    kolk_timeout *timeout = KOLK_CONTAINER_OF(timer, kolk_timeout, timer);

    kolk__scope_request(&timeout->scope);
}

static int
timeout_start(kolk_timeout *timeout, kolk_time deadline)
{
    kolk_loop *loop = timeout->scope.task->loop;

    if (deadline == KOLK_NEVER) {
        kolk_timer_stop(loop, &timeout->timer);
        return 0;
    }
    return kolk_call_at(loop, &timeout->timer, deadline);
}

int
kolk_timeout_begin_at(const char *site, kolk_timeout *timeout,
                      kolk_time deadline)
{
    int err = kolk__scope_begin(&timeout->scope, KOLK__SCOPE_TIMEOUT, site,
                                "kolk_timeout_begin() outside a task");

    if (err < 0) {
        return err;
    }
    kolk_timer_init(&timeout->timer, timeout_expire, NULL);
    return timeout_start(timeout, deadline);
}

int
kolk_timeout_end(kolk_timeout *timeout, int result)
{
    kolk_loop *loop = kolk__this_thread.loop;
    int err = kolk__scope_end(
        &timeout->scope, "kolk_timeout_end() of a scope that is not innermost");

    if (err < 0) {
        return err;
    }
    kolk_timer_stop(loop, &timeout->timer);
    bool is_ours = result == -ECANCELED && timeout->scope.requested
                   && !kolk__cancel_is_outer(&timeout->scope, loop->current);
    return is_ours ? -ETIMEDOUT : result;
}

int
kolk_timeout_reschedule(kolk_timeout *timeout, kolk_time deadline)
{
    if (timeout->scope.task == NULL) {
        return kolk__misuse(kolk__this_thread.loop,
                            "kolk_timeout_reschedule() of a closed scope");
    }
    if (timeout->scope.requested) {
        return -ETIMEDOUT;
    }
    return timeout_start(timeout, deadline);
}

bool
kolk_timeout_is_expired(const kolk_timeout *timeout)
{
    return timeout->scope.requested;
}

void
kolk_timeout_leave(kolk_timeout *timeout)
{
    if (timeout->scope.task == NULL) {
        return;
    }
    kolk_task *task = timeout->scope.task;
    int result = timeout->scope.seen ? -ECANCELED : 0;

    result = kolk_timeout_end(timeout, result);
    if (result == -ETIMEDOUT) {
        kolk__report(task->loop, result, task,
                     "nobody read the outcome of the timeout begun at %s",
                     timeout->scope.site);
    }
}

void
kolk__timeout_open(const char *site, kolk_timeout *timeout, kolk_time delay)
{
    kolk_time deadline = kolk_time_add(kolk_now(NULL), delay);

    /* Outside of a task the scope stays closed, and its end says so. */
    (void)!kolk_timeout_begin_at(site, timeout, deadline);
}

/* ---- shields ---- */

int
kolk_shield_begin_at(const char *site, kolk_shield *shield)
{
    return kolk__scope_begin(&shield->scope, KOLK__SCOPE_SHIELD, site,
                             "kolk_shield_begin() outside a task");
}

int
kolk_shield_end(kolk_shield *shield)
{
    return kolk__scope_end(
        &shield->scope, "kolk_shield_end() of a scope that is not innermost");
}

void
kolk_shield_leave(kolk_shield *shield)
{
    if (shield->scope.task != NULL) {
        (void)kolk_shield_end(shield); /* out of order: misuse, said there */
    }
}

void
kolk__shield_open(const char *site, kolk_shield *shield)
{
    (void)!kolk_shield_begin_at(site, shield); /* as kolk__timeout_open() */
}

/* ---- a task that ends with scopes open ---- */

void
kolk__scopes_abandoned(kolk__coro *coro)
{
    while (coro->scope != NULL) {
        kolk_scope *scope = coro->scope;

        coro->scope = scope->outer;
        if (coro->loop->generation == kolk__generation) {
            kolk__report(coro->loop, -KOLK_EMISUSE, coro->task,
                         "the task spawned at %s ended with the scope of %s "
                         "open",
                         coro->site, scope->site);
        }
        if (scope->kind == KOLK__SCOPE_TIMEOUT) {
            kolk_timeout *timeout =
                KOLK_CONTAINER_OF(scope, kolk_timeout, scope);

            kolk_timer_stop(coro->loop, &timeout->timer);
        } else if (scope->kind == KOLK__SCOPE_GROUP) {
            kolk__group_abandoned(KOLK_CONTAINER_OF(scope, kolk_group, scope));
        }
    }
}

/* ---- wait_for ---- */

int
kolk_wait_for(kolk_future *future, kolk_time delay)
{
    kolk_timeout timeout;
    kolk_time deadline = kolk_time_add(kolk_now(NULL), delay);
    int err = kolk_timeout_begin(&timeout, deadline);

    if (err < 0) {
        return err;
    }
    return kolk_timeout_end(&timeout, kolk_await(future));
}
