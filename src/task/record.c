/* record.c - the records of tasks, and what the tasks of a loop share.
 *
 * SPDX-License-Identifier: MIT
 *
 * Records come from slabs that the loop keeps: a million tasks cost 40 bytes
 * each beside their stacks, and a record that was just freed, still in the
 * cache, is the next to be used. A record holds a reference to the loop's
 * memory, so that a handle may be given up after the loop was closed.
 */
#include <errno.h>

#include <kolk/debug.h> /* where a task was spawned */

#include "base/sys.h"
#include "coro/stack.h"
#include "task/park.h"

enum { RECORD_CHUNK = 64 };

struct kolk__record_chunk {
    struct kolk__record_chunk *next;
    kolk_future records[RECORD_CHUNK];
};

int
kolk__records_add(kolk_loop *loop)
{
    kolk__task_state *state = loop->task_state;
    struct kolk__record_chunk *chunk = kolk__sys.malloc(sizeof *chunk);

    if (chunk == NULL) {
        return -ENOMEM;
    }
    chunk->next = state->chunks;
    state->chunks = chunk;
    for (size_t i = 0; i < RECORD_CHUNK; i++) {
        chunk->records[i].loop = loop;
        kolk__record_push(state, &chunk->records[i]);
    }
    return 0;
}

/* ---- what the loop asks of the tasks ---- */

static bool
state_cancel_all(kolk_loop *loop)
{
    kolk__task_state *state = loop->task_state;

    for (kolk_link *link = state->all.next; link != &state->all;
         link = link->next) {
        kolk__coro *coro = KOLK_CONTAINER_OF(link, kolk__coro, all);

        if (coro->cancels == 0) {
            (void)kolk_task_cancel(coro->task);
        }
    }
    return state->count > 0;
}

/* Their stacks go with the loop; what stood on them is not unwound. */
static void
state_drop_all(kolk_loop *loop)
{
    kolk__task_state *state = loop->task_state;

    loop->looks_ahead = false; /* what was noted is being freed */
    while (!kolk__ring_is_empty(&state->all)) {
        kolk__coro *coro = KOLK_CONTAINER_OF(state->all.next, kolk__coro, all);
        kolk_task *task = coro->task;

        kolk__ring_unlink(&coro->all);
        state->count--;
        if (kolk__call_is_linked(&coro->call)) {
            kolk__call_unlink(&coro->call);
        }
        if (loop->generation == kolk__generation) {
            kolk__report(loop, -ECANCELED, task,
                         "dropped a task that did not end, waiting for: %s "
                         "(spawned at %s)",
                         coro->reason, coro->site);
        }
        kolk__scopes_abandoned(coro);
        kolk__context_unref(coro->context);
        kolk__fiber_fini(&coro->fiber);
        task->obituary = NULL;
        kolk__future_finish(task, -ECANCELED);
        kolk_future_unref(task);
    }
}

static void
state_report_deadlock(kolk_loop *loop)
{
    kolk__task_state *state = loop->task_state;

    if (state->count == 0) {
        return;
    }
    kolk__report(loop, -EDEADLK, NULL,
                 "every task waits, and nothing is left that could wake one");
    for (kolk_link *link = state->all.next; link != &state->all;
         link = link->next) {
        kolk__coro *coro = KOLK_CONTAINER_OF(link, kolk__coro, all);

        kolk__report(loop, -EDEADLK, coro->task,
                     "blocked for ever, waiting for: %s (spawned at %s)",
                     coro->reason, coro->site);
    }
}

static kolk_task *
state_task_of(kolk_call *call)
{
    if (call->fn != kolk__task_step) {
        return NULL;
    }
    return kolk_future_ref(kolk__coro_of(call)->task);
}

static bool
state_is_task(const kolk_call *call)
{
    return call->fn == kolk__task_step;
}

static void
state_report_slow(kolk_loop *loop, kolk_task *task, kolk_time took)
{
    kolk__report(loop, 0, task, "a step took %.3f ms (task spawned at %s)",
                 (double)took / 1e6, kolk_task_site(task));
}

static void
state_trim(kolk_loop *loop)
{
    kolk__stacks_trim(loop->stacks);
}

static void
state_watch_overflow(kolk_loop *loop)
{
    int err = kolk_report_overflow();

    if (err < 0) {
        kolk__report(loop, err, NULL, "stack overflows will not be reported");
    }
}

static void
state_free(kolk_loop *loop)
{
    kolk__task_state *state = loop->task_state;

    if (state == NULL) {
        return;
    }
    while (state->chunks != NULL) {
        struct kolk__record_chunk *chunk = state->chunks;

        state->chunks = chunk->next;
        kolk__sys.free(chunk);
    }
    kolk__context_unref(state->context);
    kolk__stacks_close(loop->stacks);
    kolk__sys.free(state);
}

static const kolk__task_ops state_ops = {
    .cancel_all = state_cancel_all,
    .drop_all = state_drop_all,
    .report_deadlock = state_report_deadlock,
    .task_of = state_task_of,
    .unref = kolk_future_unref,
    .is_task = state_is_task,
    .report_slow = state_report_slow,
    .trim = state_trim,
    .watch_overflow = state_watch_overflow,
    .free = state_free,
};

static int
state_open_slow(kolk_loop *loop)
{
    kolk__task_state *state = kolk__sys.calloc(1, sizeof *state);

    if (state == NULL) {
        return -ENOMEM;
    }
    int err = kolk__stacks_open(loop->stack_size, &loop->stacks);
    if (err < 0) {
        kolk__sys.free(state);
        return err;
    }
    kolk__ring_init(&state->all);
    state->is_watched = kolk__announce_is_watched();
    loop->task_state = state;
    loop->task_ops = &state_ops;
    return 0;
}

int
kolk__task_state_open(kolk_loop *loop)
{
    return KOLK_LIKELY(loop->task_state != NULL) ? 0 : state_open_slow(loop);
}
