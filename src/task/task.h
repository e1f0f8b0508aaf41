/* task.h - futures, tasks and coroutines: the structs that this folder shares.
 *
 * SPDX-License-Identifier: MIT
 *
 * A task is two things. The record, a kolk_future, is what handles point to:
 * small, and alive as long as somebody can ask for the result. The coroutine
 * is what runs: it stands on the top page of its own stack and goes with it,
 * as soon as the task's function has returned.
 *
 * Invariant: a coroutine's call is in one ring at most: the ready queue, or
 * the waiters of the one thing that it waits for. So waking and cancelling are
 * both "take it out of wherever it is, and queue it with a result"; whichever
 * comes first settles what the wait returns, and the other finds nothing to do.
 */
#pragma once

#include <kolk/context.h>
#include <kolk/group.h>
#include <kolk/scope.h>

#include "coro/announce.h"
#include "loop/loop.h"

typedef struct kolk__coro kolk__coro;

/* kolk_future.bits. Whole words by hand, because a compiler's bit-fields mix
 * accesses of different widths, which stalls the processor. */
enum {
    KOLK__FUTURE_DONE = 1,
    KOLK__FUTURE_READ = 2, /* an error needs no report any more */
    KOLK__FUTURE_TASK = 4, /* else plain */
    KOLK__FUTURE_REF = 8,  /* one reference; the rest of the word counts */
};

struct kolk_future {
    kolk_link waiters; /* calls to queue when it is done */
    kolk_loop *loop;   /* holds a reference */
    union {
        void *value;                     /* plain, done */
        kolk__coro *coro;                /* a task that has not ended */
        struct kolk__obituary *obituary; /* one that has; may be NULL */
    };
    int result;
    uint32_t bits; /* KOLK__FUTURE_..., and the references above them */
};
_Static_assert(sizeof(kolk_future) == 40 || sizeof(void *) != 8,
               "a million tasks pay for each byte of it");

static inline bool
kolk__future_is_done(const kolk_future *future)
{
    return (future->bits & KOLK__FUTURE_DONE) != 0;
}

static inline bool
kolk__future_is_task(const kolk_future *future)
{
    return (future->bits & KOLK__FUTURE_TASK) != 0;
}

/* A task that has not ended: its coroutine is there. */
static inline bool
kolk__future_is_live_task(const kolk_future *future)
{
    return (future->bits & (KOLK__FUTURE_TASK | KOLK__FUTURE_DONE))
           == KOLK__FUTURE_TASK;
}

/* What is kept of a task that failed: who it was. */
struct kolk__obituary {
    const char *site;
    char name[KOLK_TASK_NAME_MAX + 1];
};

/* Ends the wait of a parked coroutine because a request to cancel has come.
 * Called once for a wait; from then on it is uninterruptible. */
typedef void kolk__interrupt_fn(kolk__coro *coro);

/* What a step touches stands in the first 64 bytes, one cache line: with ten
 * thousand tasks, lines are what a step costs. For that, fields take the place
 * of the call's reserved words, and of `dropped`, which nobody calls: a task
 * that waits for what is freed is woken instead.
 */
struct kolk__coro {
    union {
        kolk_call call; /* its step, ready or in the ring that it waits in */
        struct {
            char call_head[offsetof(kolk_call, dropped)];
            kolk__coro *ahead; /* to be queued later: ahead.h */
            uint32_t call_turn, call_state;
            void *sp; /* the kolk__place where it stands while not running */
            kolk_loop *loop;
        };
    };
    int wake_result;
    bool is_parked;    /* waits for a wake-up: neither ready nor running */
    bool is_cancelled; /* a request is to be seen here and now */

    /* the wait: park.c */
    const char *reason;            /* static */
    kolk__interrupt_fn *interrupt; /* NULL: uninterruptible */
    void *object;                  /* the interrupt's */

    /* requests to cancel: scope.c */
    kolk_scope *scope;    /* innermost */
    int cancels;          /* kolk_task_cancel() less kolk_task_uncancel() */
    unsigned steps_ahead; /* awaited calls since the last that did wait */

    /* the task: task.c */
    kolk_task *task;
    kolk_task_fn *fn;
    void *arg;
    kolk__coro *eager_parent; /* goes on when this one first waits */
    struct kolk__context *context;
    kolk_link all;     /* in kolk__task_state.all */
    kolk_group *group; /* whose child it is, or NULL */
    kolk_link sibling; /* in group->children */
    uint64_t id;
    size_t stack_size; /* as it was taken with; 0: the pool's */
    char *stack_end;
    const char *site;
    char name[KOLK_TASK_NAME_MAX + 1]; /* "" until it is asked for */
    kolk__fiber fiber;
};

/* How many places before its turn a task's memory is asked for. */
enum { KOLK__AHEAD = 16 };

/* What the tasks of one loop share. */
typedef struct kolk__task_state {
    kolk_link all; /* coroutines, oldest first */
    size_t count;
    uint64_t next_id;
    struct kolk__context *context; /* the loop's own values */
    kolk_future *free_records;
    struct kolk__record_chunk *chunks;
    kolk__coro *recent[KOLK__AHEAD]; /* the last that were queued: ahead.h */
    unsigned recent_next;
    uint32_t ahead_turn; /* when it was last decided whether to look ahead */
    unsigned eager;      /* first steps inside their parents' */
    bool is_watched;     /* kolk__announce_is_watched() */
    kolk__fiber fiber;   /* of the loop's own stack */
} kolk__task_state;

/* The coroutine that runs in this thread, or NULL. */
static inline kolk__coro *
kolk__current_coro(void)
{
    kolk_loop *loop = kolk__this_thread.loop;

    return KOLK_LIKELY(loop != NULL) ? loop->current : NULL;
}

static inline kolk__coro *
kolk__coro_of(kolk_call *call)
{
    return KOLK_CONTAINER_OF(call, kolk__coro, call);
}

/* ---- task.c ---- */

/* The fn of every coroutine's call. Runs on the loop's own stack. */
void kolk__task_step(kolk_call *call);

/* The loop's task state, made if needed. Returns 0 or -ENOMEM. */
int kolk__task_state_open(kolk_loop *loop);

/* The name, made up if none was given. */
const char *kolk__coro_name(kolk__coro *coro);

/* ---- record.c ---- */

/* Makes more free records. Returns 0 or -ENOMEM. */
int kolk__records_add(kolk_loop *loop);

/* A free record's next one stands in its waiters' place; its `loop` stays. */
static inline void
kolk__record_push(kolk__task_state *state, kolk_future *record)
{
    record->waiters.next = (kolk_link *)(void *)state->free_records;
    state->free_records = record;
}

/* A record from the loop's slab, with so many references, or NULL. */
static inline kolk_future *
kolk__record_new(kolk_loop *loop, unsigned refs)
{
    kolk__task_state *state = loop->task_state;

    if (KOLK_UNLIKELY(state->free_records == NULL)
        && kolk__records_add(loop) < 0) {
        return NULL;
    }
    kolk_future *task = state->free_records;
    state->free_records = (kolk_future *)(void *)task->waiters.next;
    kolk__ring_init(&task->waiters);
    task->result = 0;
    task->bits = KOLK__FUTURE_TASK | refs * KOLK__FUTURE_REF;
    kolk__loop_ref(loop);
    return task;
}

static inline void
kolk__record_free(kolk_future *task)
{
    kolk_loop *loop = task->loop;

    kolk__record_push(loop->task_state, task);
    kolk__loop_unref(loop);
}

/* ---- scope.c ---- */

/* Works out anew whether `coro` is to see a request, and if one has come,
 * interrupts its wait. */
void kolk__cancel_update(kolk__coro *coro);

/* Notes in the scope whose request it is that -ECANCELED is being returned. */
void kolk__cancel_seen(kolk__coro *coro);

/* Is a request pending from outside of `scope`? */
bool kolk__cancel_is_outer(const kolk_scope *scope, const kolk__coro *coro);

int kolk__scope_begin(kolk_scope *scope, uint8_t kind, const char *site,
                      const char *what);
/* Closes `scope`; misuse unless it is the current task's innermost. */
int kolk__scope_end(kolk_scope *scope, const char *what);

/* Sets the scope's own request. */
void kolk__scope_request(kolk_scope *scope);

/* Reports the scopes that a task has left open. */
void kolk__scopes_abandoned(kolk__coro *coro);

enum {
    KOLK__SCOPE_TIMEOUT,
    KOLK__SCOPE_SHIELD,
    KOLK__SCOPE_GROUP,
};

/* ---- group.c ---- */

/* A child has ended; its record has the result. */
void kolk__group_child_ended(kolk__coro *coro);

/* Takes a child's result as the group's failure if it is the first. */
void kolk__group_count_result(kolk_group *group, kolk_task *task);

/* The parent has ended without closing the group: its children are cancelled,
 * and on their own. */
void kolk__group_abandoned(kolk_group *group);

/* ---- context.c ---- */

/* A snapshot to share, or NULL for an empty one. */
struct kolk__context *kolk__context_ref(struct kolk__context *context);
void kolk__context_unref(struct kolk__context *context);
