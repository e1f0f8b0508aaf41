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

    kolk__ahead_forget(coro->loop, coro);
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
        coro->eager_parent = NULL;
        kolk__scopes_abandoned(coro); /* none is left */
        task_bury(coro);
    }
}

/* The first frame of every task. */
static void
task_main(void *unused)
{
    kolk_loop *loop = kolk__this_thread.loop;
    /* Not by the argument, which would have to wait for the stack pointer. */
    kolk__coro *coro = loop->current;

    (void)unused;

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

    kolk__ahead_decide(loop);
    kolk__switch_to(loop, &loop->main_sp, &loop->task_state->fiber, coro,
                    false);
    if (KOLK_UNLIKELY(loop->ended != NULL)) {
        task_bury_ended(loop);
    }
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

static const kolk_spawn_options task_nothing_special;

struct task_plan {
    const char *site;
    const kolk_spawn_options *options;
    kolk_task_fn *fn;
    void *arg;
};

/* Where a coroutine's struct stands on the stack that ends at `end`: at the
 * start of a cache line. */
static kolk__coro *
task_coro_at(char *end)
{
    char *place = end - sizeof(kolk__coro);

    return (kolk__coro *)(void *)(place - (uintptr_t)place % 64);
}

/* What the first switch to `coro` finds. Stays as it is: what runs on the stack
 * is below. */
static kolk__start *
task_start_of(kolk__coro *coro)
{
    return (kolk__start *)coro - 1;
}

/* Writes what stays as it is when the stack goes from task to task. */
static __attribute__((noinline)) void
task_coro_init(kolk__coro *coro, kolk_loop *loop, char *end)
{
    (void)kolk__switch_prepare(coro, task_main, NULL);
    kolk_call_init(&coro->call, kolk__task_step, NULL);
    coro->loop = loop; /* in the call's reserve, as is sp */
    coro->interrupt = NULL;
    coro->scope = NULL;
    coro->eager_parent = NULL;
    coro->stack_end = end;
}

/* Takes a stack with a coroutine at its end. Memory fresh from the kernel is
 * all zeroes, and a stack that was used holds what its last coroutine has left,
 * so `loop` says whether this is the first; unless somebody watches for reads
 * of what was left behind. */
static kolk__coro *
task_coro_take(kolk_loop *loop, size_t stack_size)
{
    char *bottom = NULL; /* which only a fiber asks for */
    char *end = kolk__stack_take(loop->stacks, stack_size,
                                 sizeof(kolk__fiber) > 0 ? &bottom : NULL);

    if (KOLK_UNLIKELY(end == NULL)) {
        return NULL;
    }
    kolk__coro *coro = task_coro_at(end);
    if (KOLK_UNLIKELY(loop->task_state->is_watched || coro->loop != loop)) {
        task_coro_init(coro, loop, end);
    }
    coro->stack_size = stack_size;
    kolk__fiber_init(&coro->fiber, bottom, end);
    return coro;
}

/* Copies `size` bytes to the stack, the argument of `coro` from then on, which
 * starts below. */
static __attribute__((noinline)) void
task_copy_arg(kolk__coro *coro, const void *arg, size_t size)
{
    char *top = (char *)task_start_of(coro) - ((size + 15) & ~(size_t)15);

    coro->arg = memcpy(top, arg, size);
    coro->sp = kolk__switch_prepare(top, task_main, NULL);
}

/* The context of whoever spawns on `loop`. */
static struct kolk__context *
task_context(kolk_loop *loop)
{
    kolk__coro *parent = loop->current;

    return parent != NULL ? parent->context : loop->task_state->context;
}

/* A coroutine for `task`, to be queued; NULL without memory. */
static inline kolk__coro *
task_coro_new(kolk_loop *loop, kolk_task *task, const struct task_plan *plan)
{
    kolk__task_state *state = loop->task_state;
    kolk__coro *coro = task_coro_take(loop, plan->options->stack_size);

    if (KOLK_UNLIKELY(coro == NULL)) {
        return NULL;
    }
    coro->sp = &task_start_of(coro)->place;
    coro->arg = plan->arg;
    if (KOLK_UNLIKELY(plan->options->arg_size > 0)) {
        task_copy_arg(coro, plan->arg, plan->options->arg_size);
    }
    coro->is_cancelled = false;
    coro->reason = "";
    coro->cancels = 0;
    coro->steps_ahead = 0;
    coro->task = task;
    coro->fn = plan->fn;
    coro->context = kolk__context_ref(task_context(loop));
    coro->group = NULL;
    coro->id = ++state->next_id;
    coro->site = plan->site;
    coro->name[0] = '\0';
    kolk__ring_push(&state->all, &coro->all);
    state->count++;
    task->coro = coro;
    if (KOLK_UNLIKELY(plan->options->name != NULL)) {
        kolk_task_set_name(task, plan->options->name);
    }
    return coro;
}

/* Runs `coro` to its first wait, inside the step of `parent`. Not inlined: a
 * switch makes its function keep every register. */
static __attribute__((noinline)) void
task_run_eager(kolk__coro *coro, kolk__coro *parent)
{
    kolk_loop *loop = coro->loop;

    coro->eager_parent = parent;
    loop->task_state->eager++;
    loop->attention |= KOLK__ATTENTION_EAGER;
    kolk__switch_to(loop, &parent->sp, &parent->fiber, coro, false);
}

static int
task_options_check(kolk_loop *loop, const kolk_spawn_options *options)
{
    kolk__coro *parent = kolk__current_coro();

    if (options->stack_size != 0 && options->stack_size < 16384) {
        return -EINVAL;
    }
    if (options->arg_size > 4096) {
        return -EINVAL;
    }
    if (options->eager && (parent == NULL || parent->loop != loop)) {
        return kolk__misuse(loop, "eager spawn outside of a task");
    }
    return 0;
}

/* The same for any loop and options; the state is there afterwards. */
static __attribute__((noinline)) int
task_spawn_check(kolk_loop *loop, const kolk_spawn_options *options)
{
    if (loop == NULL) {
        return kolk__misuse(NULL, "kolk_spawn() without a loop");
    }
    int err = kolk__loop_check(loop, "kolk_spawn() from another thread");

    if (err == 0) {
        err = task_options_check(loop, options);
    }
    if (err < 0) {
        return err;
    }
    return loop->closing ? -ESHUTDOWN : kolk__task_state_open(loop);
}

/* Inside of a task, with nothing special, there is little to check. */
static inline bool
task_spawn_is_plain(const kolk_loop *loop, const kolk_spawn_options *options)
{
    return KOLK_LIKELY(options == &task_nothing_special && loop != NULL
                       && loop == kolk__this_thread.loop
                       && loop->current != NULL && !loop->closing
                       && loop->generation == kolk__generation);
}

int
kolk_spawn_at(const char *site, kolk_loop *loop,
              const kolk_spawn_options *options, kolk_task_fn *fn, void *arg,
              kolk_task **out)
{
    if (loop == NULL) {
        loop = kolk__this_thread.loop;
    }
    struct task_plan plan = {
        site, options != NULL ? options : &task_nothing_special, fn, arg};
    if (!task_spawn_is_plain(loop, plan.options)) {
        int err = task_spawn_check(loop, plan.options);

        if (err < 0) {
            return err;
        }
    }
    /* One reference is the running coroutine's. */
    kolk_task *task = kolk__record_new(loop, out != NULL ? 2 : 1);
    if (KOLK_UNLIKELY(task == NULL)) {
        return -ENOMEM;
    }
    kolk__coro *coro = task_coro_new(loop, task, &plan);
    if (KOLK_UNLIKELY(coro == NULL)) {
        kolk__record_free(task);
        return -ENOMEM;
    }
    if (out != NULL) {
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
