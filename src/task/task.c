/* task.c - the life of a task: made, stepped, ended. See kolk/task.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Spawning takes a record from a slab and a stack from the pool, puts the
 * coroutine's struct at the top of the stack and queues its first step. When
 * the function returns, the result goes to the record and the stack back to
 * the pool, while the coroutine still stands on it: nothing can take it before
 * the switch that follows. What needs the loop's own stack (a report, which is
 * foreign code; unmapping) waits in `loop->ended` for kolk__task_step().
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <kolk/debug.h>

#include "base/sys.h"
#include "coro/stack.h"
#include "task/park.h"
#include "task/switch_to.h"

const kolk_spawn_options kolk_eager = {.eager = true};

/* ---- the end ---- */

/* Remembers the name of a task whose error may have to be reported. */
static struct kolk__obituary *
task_write_obituary(kolk__coro *coro)
{
    struct kolk__obituary *obituary = kolk__sys.malloc(sizeof *obituary);

    if (obituary != NULL) { /* without memory it stays nameless */
        obituary->site = coro->site;
        (void)snprintf(obituary->name, sizeof obituary->name, "%s",
                       kolk__coro_name(coro));
    }
    return obituary;
}

/* Sets the result, and gives back all but the stack and the task's own
 * reference. */
static void
task_settle(kolk__coro *coro, int result)
{
    kolk__task_state *state = coro->loop->task_state;
    kolk_task *task = coro->task;

    kolk__ring_unlink(&coro->all);
    state->count--;
    kolk__context_unref(coro->context);
    if (KOLK_UNLIKELY((result < 0 && result != -ECANCELED)
                      || coro->loop->debug)) { /* for reports of slow steps */
        task->obituary = task_write_obituary(coro);
    } else {
        task->obituary = NULL;
    }
    kolk__future_finish(task, result);
    if (coro->group != NULL) {
        kolk__group_child_ended(coro);
    }
}

/* May the coroutine be buried while it stands on its stack? */
static bool
task_end_is_plain(const kolk__coro *coro, int result)
{
    return KOLK_LIKELY(
        result >= 0 && coro->scope == NULL
        && kolk__stack_is_kept(coro->loop->stacks, coro->stack_size));
}

static void
task_bury(kolk__coro *coro)
{
    kolk_task *task = coro->task;

    kolk__stack_give(coro->loop->stacks, coro->stack_end, coro->stack_size);
    kolk_future_unref(task);
}

/* Buries what task_main() left to the loop's own stack. */
static void
task_bury_ended(kolk_loop *loop)
{
    loop->attention &= ~(uint32_t)KOLK__ATTENTION_ENDED;
    while (loop->ended != NULL) {
        kolk__coro *coro = loop->ended;

        loop->ended = coro->eager_parent;
        kolk__scopes_abandoned(coro);
        task_bury(coro);
    }
}

/* The first frame of every task. */
static void
task_main(void *arg)
{
    kolk__coro *coro = arg;
    kolk_loop *loop = coro->loop;

    kolk__announce_arrival(&coro->fiber);
    int result = coro->fn(coro->arg);

    task_settle(coro, result);
    kolk__coro *next = KOLK_LIKELY(loop->attention == 0)
                           ? NULL
                           : kolk__coro_leave_slow(coro, true);
    if (task_end_is_plain(coro, result)) {
        task_bury(coro);
        if (KOLK_LIKELY(next == NULL && loop->attention == 0)) {
            next = kolk__coro_next(loop);
        }
    } else {
        coro->eager_parent = loop->ended; /* the list's link from here on */
        loop->ended = coro;
        loop->attention |= KOLK__ATTENTION_ENDED;
    }
    kolk__switch_to(loop, &coro->sp, &coro->fiber, next, true);
    __builtin_unreachable();
}

/* ---- a step ---- */

void
kolk__task_step(kolk_call *call)
{
    kolk__coro *coro = kolk__coro_of(call);
    kolk_loop *loop = coro->loop;

    kolk__switch_to(loop, &loop->main_sp, &loop->task_state->fiber, coro,
                    false);
    if (KOLK_UNLIKELY(loop->ended != NULL)) {
        task_bury_ended(loop);
    }
}

/* The loop is gone, or the future that it waited for. */
static void
task_dropped(kolk_call *call)
{
    kolk__wake(kolk__coro_of(call), -ECANCELED);
}

kolk__coro *
kolk__coro_leave_slow(kolk__coro *coro, bool ends)
{
    kolk_loop *loop = coro->loop;
    kolk__coro *parent = coro->eager_parent;
    kolk_tracer *tracer = loop->tracer;

    if (!ends && tracer != NULL && tracer->suspend != NULL) {
        tracer->suspend(tracer, coro->task, coro->reason);
    }
    if (parent != NULL) {
        coro->eager_parent = NULL;
        if (--loop->task_state->eager == 0) {
            loop->attention &= ~(uint32_t)KOLK__ATTENTION_EAGER;
        }
    }
    return parent;
}

/* ---- spawning ---- */

struct task_plan {
    const char *site;
    const kolk_spawn_options *options;
    kolk_task_fn *fn;
    void *arg;
};

/* Puts a coroutine, and a copy of its argument, at the end of a new stack. */
static kolk__coro *
task_place(kolk_loop *loop, const struct task_plan *plan)
{
    size_t stack_size = plan->options->stack_size;
    size_t arg_size = (plan->options->arg_size + 15) & ~(size_t)15;
    char *bottom;
    char *end = kolk__stack_take(loop->stacks, stack_size, &bottom);

    if (end == NULL) {
        return NULL;
    }
    char *top = end - ((sizeof(kolk__coro) + 63) & ~(size_t)63);
    kolk__coro *coro = (kolk__coro *)(void *)top;
    coro->arg = plan->arg;
    if (arg_size > 0) {
        top -= arg_size;
        memcpy(top, plan->arg, plan->options->arg_size);
        coro->arg = top;
    }
    coro->sp = kolk__switch_prepare(top, task_main, coro);
    coro->stack_end = end;
    coro->stack_size = stack_size;
    kolk__fiber_init(&coro->fiber, bottom, end);
    return coro;
}

static struct kolk__context *
task_context(kolk_loop *loop)
{
    kolk__coro *parent = kolk__current_coro();

    if (parent != NULL && parent->loop == loop) {
        return kolk__context_ref(parent->context);
    }
    return kolk__context_ref(loop->task_state->context);
}

static void
task_init(kolk__coro *coro, kolk_loop *loop, kolk_task *task,
          const struct task_plan *plan)
{
    kolk__task_state *state = loop->task_state;

    coro->call.fn = kolk__task_step;
    coro->call.dropped = task_dropped;
    coro->call.state = KOLK__CALL_IDLE;
    coro->loop = loop; /* in the call's reserve, as is sp */
    coro->is_cancelled = false;
    coro->reason = "";
    coro->interrupt = NULL;
    coro->scope = NULL;
    coro->cancels = 0;
    coro->steps_ahead = 0;
    coro->task = task;
    coro->fn = plan->fn;
    coro->eager_parent = NULL;
    coro->context = task_context(loop);
    coro->group = NULL;
    coro->id = ++state->next_id;
    coro->site = plan->site;
    coro->name[0] = '\0';
    kolk__ring_push(&state->all, &coro->all);
    state->count++;
    task->coro = coro;
    if (plan->options->name != NULL) {
        kolk_task_set_name(task, plan->options->name);
    }
}

/* Runs `coro` to its first wait, inside the step of `parent`. */
static void
task_run_eager(kolk__coro *coro, kolk__coro *parent)
{
    kolk_loop *loop = coro->loop;

    coro->eager_parent = parent;
    loop->task_state->eager++;
    loop->attention |= KOLK__ATTENTION_EAGER;
    kolk__switch_to(loop, &parent->sp, &parent->fiber, coro, false);
}

static int
task_spawn_check(kolk_loop *loop, const kolk_spawn_options *options)
{
    kolk__coro *parent = kolk__current_coro();
    int err = kolk__loop_check(loop, "kolk_spawn() from another thread");

    if (err < 0) {
        return err;
    }
    if (options->stack_size != 0 && options->stack_size < 16384) {
        return -EINVAL;
    }
    if (options->arg_size > 4096) {
        return -EINVAL;
    }
    if (options->eager && (parent == NULL || parent->loop != loop)) {
        return kolk__misuse(loop, "eager spawn outside of a task");
    }
    return loop->closing ? -ESHUTDOWN : kolk__task_state_open(loop);
}

int
kolk_spawn_at(const char *site, kolk_loop *loop,
              const kolk_spawn_options *options, kolk_task_fn *fn, void *arg,
              kolk_task **out)
{
    static const kolk_spawn_options nothing_special;

    if (loop == NULL) {
        loop = kolk__this_thread.loop;
    }
    if (loop == NULL) {
        return kolk__misuse(NULL, "kolk_spawn() without a loop");
    }
    struct task_plan plan = {site, options != NULL ? options : &nothing_special,
                             fn, arg};
    int err = task_spawn_check(loop, plan.options);
    if (err < 0) {
        return err;
    }
    kolk_task *task = kolk__record_new(loop);
    if (task == NULL) {
        return -ENOMEM;
    }
    kolk__coro *coro = task_place(loop, &plan);
    if (coro == NULL) {
        kolk__record_free(task);
        return -ENOMEM;
    }
    task_init(coro, loop, task, &plan);
    if (out != NULL) {
        kolk_future_ref(task);
        *out = task;
    }
    if (KOLK_UNLIKELY(plan.options->eager)) {
        task_run_eager(coro, kolk__current_coro());
    } else {
        kolk__wake(coro, 0);
    }
    return 0;
}

/* ---- asking ---- */

kolk_task *
kolk_current_task(void)
{
    kolk__coro *coro = kolk__current_coro();

    return coro != NULL ? coro->task : NULL;
}

size_t
kolk_all_tasks(kolk_loop *loop, kolk_task **tasks, size_t size)
{
    kolk__task_state *state = loop->task_state;
    size_t count = 0;

    if (state == NULL) {
        return 0;
    }
    for (kolk_link *link = state->all.next; link != &state->all && count < size;
         link = link->next) {
        tasks[count++] = KOLK_CONTAINER_OF(link, kolk__coro, all)->task;
    }
    return state->count;
}

const char *
kolk__coro_name(kolk__coro *coro)
{
    if (coro->name[0] == '\0') {
        (void)snprintf(coro->name, sizeof coro->name, "task-%llu",
                       (unsigned long long)coro->id);
    }
    return coro->name;
}

const char *
kolk_task_name(const kolk_task *task)
{
    if (!kolk__future_is_task(task)) {
        return "";
    }
    if (!kolk__future_is_done(task)) {
        return kolk__coro_name(task->coro);
    }
    return task->obituary != NULL ? task->obituary->name : "";
}

void
kolk_task_set_name(kolk_task *task, const char *name)
{
    if (kolk__future_is_live_task(task)) {
        (void)snprintf(task->coro->name, sizeof task->coro->name, "%s", name);
    }
}

const char *
kolk_task_site(const kolk_task *task)
{
    if (!kolk__future_is_task(task)) {
        return "";
    }
    if (!kolk__future_is_done(task)) {
        return task->coro->site;
    }
    return task->obituary != NULL ? task->obituary->site : "";
}

const char *
kolk_task_waits_for(const kolk_task *task)
{
    bool waits = kolk__future_is_live_task(task) && task->coro->is_parked;

    return waits ? task->coro->reason : "";
}

void
kolk_task_detach(kolk_task *task)
{
    kolk_future_unref(task);
}
