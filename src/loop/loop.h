/* loop.h - the loop's struct, and what the files of this folder share.
 *
 * SPDX-License-Identifier: MIT
 *
 * One loop belongs to the one thread that runs it. Fields are grouped by the
 * phase of a turn that owns them; kolk__loop_turn() shows the phases in order.
 *
 * Turns are numbered. A call is stamped with the turn that will run it, which
 * is the one after the turn in which it was queued; a turn ends at the first
 * call with a later stamp. So taking a call out needs no count to be mended,
 * and a nested run, which starts a new turn, sees all that was queued before.
 */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include <kolk/inbox.h>
#include <kolk/loop.h>
#include <kolk/pool.h>
#include <kolk/trace.h>

#include "base/fork.h"
#include "base/ring.h"

#define KOLK_LIKELY(x) __builtin_expect(!!(x), 1)
#define KOLK_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* What callers see to, said to the compiler and to those who check the code. */
#define KOLK_ASSUME(x) ((x) ? (void)0 : __builtin_unreachable())

/* kolk_call.state: who holds it. */
enum {
    KOLK__CALL_IDLE,
    KOLK__CALL_LINKED, /* a ring of the loop's thread */
    KOLK__CALL_INBOX,  /* the inbox, guarded by its lock */
};

/* kolk_loop.attention: why a step may not simply be followed by the next. */
enum {
    KOLK__ATTENTION_STEP_END = 1, /* `step_end` is not empty */
    KOLK__ATTENTION_BREAK = 2,    /* kolk_loop_break() */
    KOLK__ATTENTION_STOP = 4,     /* kolk_loop_stop() */
    KOLK__ATTENTION_TRACE = 8,    /* a tracer is set */
    KOLK__ATTENTION_DEBUG = 16,   /* steps are timed */
    KOLK__ATTENTION_ENDED = 64,   /* `ended` is not empty */
    KOLK__ATTENTION_EAGER = 32,   /* a first step runs inside its parent */
    KOLK__ATTENTION_JOINED = 128, /* written bytes are joined by others */
};

/* Timers: timer.c. Level n has slots of 2^(10 + 6n) ns; one more ring is for
 * KOLK_NEVER. */
enum { KOLK__WHEEL_LEVELS = 9, KOLK__WHEEL_SLOTS = 64 };
/* kolk_call.state of a timer that is not due; `turn` says where it waits. */
enum { KOLK__CALL_TIMER = KOLK__CALL_INBOX + 1 };
typedef struct kolk__timers {
    kolk_timer *due; /* heap of what the wheel has passed */
    uint64_t base;   /* the slot of level 0 that the wheel has reached */
    uint64_t seq;    /* counts starts */
    size_t count;    /* pending, KOLK_NEVER included */
    uint64_t used[KOLK__WHEEL_LEVELS + 1]; /* a bit per slot: not empty */
    kolk_link slots[KOLK__WHEEL_LEVELS * KOLK__WHEEL_SLOTS + 1];
} kolk__timers;

typedef struct kolk__poller kolk__poller; /* poller.h */
typedef struct kolk__stacks kolk__stacks; /* coro/stack.h */

/* What the task layer does for the loop, which knows nothing of tasks. */
typedef struct kolk__task_ops {
    /* Cancels every task and asks whether any is left. */
    bool (*cancel_all)(kolk_loop *loop);
    /* Lets go of the tasks that did not end, with a report each. */
    void (*drop_all)(kolk_loop *loop);
    /* Reports every task that waits; the loop will never wake them. */
    void (*report_deadlock)(kolk_loop *loop);
    /* The task that `call` steps, with a reference, or NULL; and giving that
     * reference up. */
    kolk_task *(*task_of)(kolk_call *call);
    void (*unref)(kolk_task *task);
    /* Is `call` a task's own? */
    bool (*is_task)(const kolk_call *call);
    /* The task's step took so long. */
    void (*report_slow)(kolk_loop *loop, kolk_task *task, kolk_time took);
    /* The loop has nothing to do: gives back memory that was of use. */
    void (*trim)(kolk_loop *loop);
    /* In debug mode, when a run begins in this thread. */
    void (*watch_overflow)(kolk_loop *loop);
    /* Frees what tasks share: stacks, records, contexts. */
    void (*free)(kolk_loop *loop);
} kolk__task_ops;

/* What the net layer does for the loop, which knows nothing of it. */
typedef struct kolk__net_ops {
    /* A step has ended while bytes are joined, and `joined_steps` have passed:
     * have they waited long enough? Reads the clock, and says how many steps
     * may pass until the next look. */
    bool (*is_due)(kolk_loop *loop);
    /* Sends all that is joined, and takes KOLK__ATTENTION_JOINED away. */
    void (*flush)(kolk_loop *loop);
    /* Frees what connections share. */
    void (*free)(kolk_loop *loop);
} kolk__net_ops;

struct kolk_loop {
    /* ready: what this turn and the next run */
    kolk_link ready;
    uint32_t turn; /* the newest turn begun; calls are stamped turn + 1 */
    uint32_t end;  /* the last turn that the innermost run may run now */
    uint32_t attention;
    bool looks_ahead; /* the task layer's: task/ahead.h */
    bool guest_idle;  /* a guest between two turns: each push is announced */

    /* tasks: the task layer's */
    struct kolk__coro *current; /* runs now, or NULL */
    void *main_sp;              /* the loop's own stack, while a task runs */
    struct kolk__coro *ended;   /* to be buried from the loop's own stack */
    kolk__stacks *stacks;
    const kolk__task_ops *task_ops;
    struct kolk__task_state *task_state;

    /* looking around: when to poll although work is ready */
    int32_t budget;      /* steps until a turn's end reads the clock again */
    int32_t budget_full; /* what it is set to then; follows their length */
    bool look_is_due;    /* the clock was read, on a task's stack */
    kolk_time poll_interval;
    kolk_time looked; /* when the clock was last read for the budget */
    kolk_time polled; /* when the loop last polled */
    kolk_time turn_time;

    kolk__timers timers;
    kolk_link step_end;
    kolk_link turn_end; /* stamped with the ends of turns so far */
    uint32_t turn_ends;

    /* poll: what the kernel is watching */
    kolk__poller *poller;
    kolk_backend asked; /* the backend that was asked for */
    const char *why;    /* why this one runs */

    kolk_link handles;           /* what is open: handle.h */
    kolk_link signals;           /* nodes that wait for signals: signal.c */
    kolk_call *interrupt;        /* for SIGINT, or NULL: interrupt.c */
    struct kolk__pieces *pieces; /* memory for streams: await/read_buffer.c */

    /* connections: the net layer's */
    struct kolk__net *net; /* NULL until there is one */
    unsigned joined_steps; /* that need not look at the clock */
    const kolk__net_ops *net_ops;
    kolk_time write_delay; /* see kolk_loop_set_write_delay() */

    kolk_inbox *inbox; /* the only part that other threads may touch */
    kolk_pool *pool;   /* NULL until it is used */
    unsigned pool_threads;
    struct kolk__guest *guest; /* NULL unless kolk_loop_fileno() was asked */

    /* what the user set */
    kolk_hooks *hooks;
    kolk_clock *clock;
    kolk_tracer *tracer;
    kolk_error_handler *error_handler;
    kolk_time slow_step;
    size_t stack_size;
    bool debug;

    /* state */
    unsigned runs; /* nested runs and turns */
    bool stopping;
    bool broken;
    bool closing; /* no new tasks */
    bool closed;  /* no new anything; freed with the last reference */
    unsigned generation;
    size_t refs;        /* the owner's, and one per future alive */
    const void *thread; /* who runs it, atomically; NULL: nobody */
};

/* This thread: its address is the thread's identity. */
typedef struct kolk__thread {
    kolk_loop *loop; /* that runs here */
} kolk__thread;
extern __thread kolk__thread kolk__this_thread
    __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* ---- call.c: the ready queue ---- */

/* Makes the descriptor of kolk_loop_fileno() tell the truth. guest.c */
void kolk__guest_update(kolk_loop *loop);

/* Puts `call`, which is in no list, at the end of `ring`. */
static inline void
kolk__call_link(kolk_link *ring, kolk_call *call)
{
    __atomic_store_n(&call->state, KOLK__CALL_LINKED, __ATOMIC_RELAXED);
    kolk__ring_push(ring, &call->link);
}

/* As kolk__ready_push(), from inside a turn: no guest waits to hear of it; or
 * it is told by the caller. */
static inline void
kolk__ready_push_inside(kolk_loop *loop, kolk_call *call)
{
    call->turn = loop->turn + 1;
    kolk__call_link(&loop->ready, call);
}

/* Queues `call`, which is in no list. */
static inline void
kolk__ready_push(kolk_loop *loop, kolk_call *call)
{
    kolk__ready_push_inside(loop, call);
    if (KOLK_UNLIKELY(loop->guest_idle)) {
        kolk__guest_update(loop);
    }
}

/* Takes `call` out of the ring of this thread that holds it. */
static inline void
kolk__call_unlink(kolk_call *call)
{
    kolk__ring_unlink(&call->link);
    __atomic_store_n(&call->state, KOLK__CALL_IDLE, __ATOMIC_RELAXED);
}

static inline bool
kolk__call_is_linked(const kolk_call *call)
{
    return __atomic_load_n(&call->state, __ATOMIC_RELAXED) == KOLK__CALL_LINKED;
}

/* The first call that the turn may run, or NULL. */
static inline kolk_call *
kolk__ready_first(const kolk_loop *loop)
{
    kolk_call *call = (kolk_call *)loop->ready.next;

    if (&call->link == &loop->ready || (int32_t)(call->turn - loop->end) > 0) {
        return NULL;
    }
    return call;
}

/* Takes `call` out, which kolk__ready_first() has returned. As
 * kolk__call_unlink(), but who comes before it need not be read first: one link
 * less in the chain of loads that a switch between tasks waits for. */
static inline void
kolk__ready_shift(kolk_loop *loop, kolk_call *call)
{
    kolk_link *next = call->link.next;

    loop->ready.next = next;
    next->prev = &loop->ready;
    __atomic_store_n(&call->state, KOLK__CALL_IDLE, __ATOMIC_RELAXED);
}

/* As kolk__ready_move(), from inside a turn. */
static inline void
kolk__ready_move_inside(kolk_loop *loop, kolk_call *call)
{
    kolk__ring_unlink(&call->link);
    call->turn = loop->turn + 1;
    kolk__ring_push(&loop->ready, &call->link);
}

/* Queues `call`, which is linked in another ring. */
static inline void
kolk__ready_move(kolk_loop *loop, kolk_call *call)
{
    kolk__ready_move_inside(loop, call);
    if (KOLK_UNLIKELY(loop->guest_idle)) {
        kolk__guest_update(loop);
    }
}

/* Takes `call` out of its ring and gives it back through its `dropped`. */
void kolk__call_drop(kolk_call *call);

/* The same for every call of `ring`. */
void kolk__calls_drop(kolk_link *ring);

/* 0 if this thread may use `loop` now; -KOLK_EFORK, -ESHUTDOWN, or misuse,
 * said of `what`. `loop` is not NULL. */
int kolk__loop_check_slow(kolk_loop *loop, const char *what);

static inline int
kolk__loop_check(kolk_loop *loop, const char *what)
{
    KOLK_ASSUME(loop != NULL);
    if (KOLK_LIKELY(kolk__this_thread.loop == loop)) {
        return 0; /* it runs, here, so it is not closed, nor of a parent's */
    }
    return kolk__loop_check_slow(loop, what);
}

/* Around each wait that may be long, and nothing else of the loop's: lets a
 * host's lock go, and takes it again. No lock of ours may be held. */
static inline kolk_hooks *
kolk__block_begin(const kolk_loop *loop)
{
    kolk_hooks *hooks = loop->hooks;

    if (KOLK_UNLIKELY(hooks != NULL)) {
        hooks->before_block(hooks);
    }
    return hooks;
}

/* `hooks` is what the beginning returned. Leaves errno alone. */
static inline void
kolk__block_end(kolk_hooks *hooks)
{
    if (KOLK_UNLIKELY(hooks != NULL)) {
        int keep = errno;

        hooks->after_block(hooks);
        errno = keep;
    }
}

/* ---- turn.c ---- */

/* One turn. `may_block`: sleep if nothing is ready. */
void kolk__loop_turn(kolk_loop *loop, bool may_block);

/* A step has ended while bytes are joined: shall they leave now? */
static inline bool
kolk__turn_joined_is_due(kolk_loop *loop)
{
    if (loop->joined_steps > 0) {
        loop->joined_steps--;
        return false;
    }
    return loop->net_ops->is_due(loop);
}

/* Takes up the budget anew unless it is time to look around. */
bool kolk__turn_renew(kolk_loop *loop);

/* At the end of a turn with work ready: may the next one follow without a look
 * at the kernel and the timers? If so it has begun. Called from tasks'
 * stacks. */
static inline bool
kolk__turn_follow(kolk_loop *loop)
{
    if (!kolk__ring_is_empty(&loop->turn_end)) {
        return false;
    }
    if (KOLK_UNLIKELY(loop->budget <= 0) && !kolk__turn_renew(loop)) {
        return false;
    }
    loop->turn++;
    loop->end = loop->turn;
    return true;
}

/* Runs turns, blocking, until `done(loop)` or nothing can ever be ready;
 * kolk_loop_close() does, for tasks that have to come to their end. Returns
 * whether it is done. */
bool kolk__loop_settle(kolk_loop *loop, bool (*done)(kolk_loop *loop));

/* ---- open.c ---- */

/* Reads the loop's clock. */
kolk_time kolk__loop_time(kolk_loop *loop);

/* How many real nanoseconds to sleep for `deadline`, which is not KOLK_NEVER,
 * to come; 0 if it has come. */
kolk_time kolk__loop_delay(kolk_loop *loop, kolk_time deadline);

/* Keeps the loop's memory; the last one to go frees it. */
static inline void
kolk__loop_ref(kolk_loop *loop)
{
    loop->refs++;
}
void kolk__loop_free(kolk_loop *loop);
static inline void
kolk__loop_unref(kolk_loop *loop)
{
    if (KOLK_UNLIKELY(--loop->refs == 0)) {
        kolk__loop_free(loop);
    }
}

/* ---- report.c ---- */

/* Says in debug mode what was misused, and aborts; returns -KOLK_EMISUSE.
 * `loop` may be NULL: the environment says whether debug mode is on. */
int kolk__misuse(kolk_loop *loop, const char *what);

/* kolk_loop_report() with a formatted message. */
__attribute__((format(printf, 4, 5))) void
kolk__report(kolk_loop *loop, int error, kolk_task *task, const char *format,
             ...);

/* ---- timer.c ---- */

void kolk__timers_init(kolk__timers *timers, kolk_time now);

/* The clock has been replaced and shows `now`. */
void kolk__timers_rebase(kolk__timers *timers, kolk_time now);

/* Moves the timers that are due at `now` to the ready queue, in order. */
void kolk__timers_collect(kolk_loop *loop, kolk_time now);

/* A time at which to look again: the first deadline, or somewhat before it
 * where finding it out would cost too much. KOLK_NEVER if there is none. */
kolk_time kolk__timers_next(kolk_loop *loop);

/* For every pending timer, also those that fire never; not those that are due
 * and in the ready queue. Stops at a result other than 0 and returns it. `fn`
 * may not start or stop timers. */
int kolk__timers_each(kolk_loop *loop, int (*fn)(kolk_timer *timer, void *arg),
                      void *arg);

/* Takes every pending timer out and calls its `dropped`. */
void kolk__timers_drop(kolk_loop *loop);

/* The timer behind `call` if it is one, else NULL. */
kolk_timer *kolk__timer_of(kolk_call *call);

/* ---- inbox.c ---- */

int kolk__inbox_open(kolk_inbox **out);

/* Moves what other threads pushed to the ready queue, if anything. */
void kolk__inbox_drain_slow(kolk_loop *loop);

/* Before the loop blocks: false if something has arrived, which is then not
 * slept over. Afterwards other threads wake the loop by the descriptor. */
bool kolk__inbox_sleep(kolk_inbox *inbox);

/* The loop is awake, and looks by itself. */
static inline void kolk__inbox_awake(kolk_inbox *inbox);

/* Nothing can be pushed any more; what is in goes to `ring`. */
void kolk__inbox_close(kolk_inbox *inbox, kolk_link *ring);

/* Could any other thread push something? */
bool kolk__inbox_is_shared(const kolk_inbox *inbox);

int kolk__inbox_visit(kolk_inbox *inbox, kolk_visitor *visitor);

/* Takes `call` out if it is in. */
void kolk__inbox_cancel(kolk_inbox *inbox, kolk_call *call);

struct kolk_inbox {
    atomic_bool full;    /* `calls` is not empty, or the descriptor written */
    atomic_bool asleep;  /* the loop may block: a push writes the descriptor */
    atomic_bool written; /* the descriptor has to be read empty */
    atomic_uint refs;
    unsigned generation;
    int fd; /* eventfd; closed with the last reference */
    pthread_mutex_t lock;
    bool open;       /* guarded by lock */
    kolk_link calls; /* guarded by lock */

    /* signals: signal.c. Handlers read and write what is atomic; the rest is
     * guarded by the lock there. A bit for each signal. */
    _Atomic uint64_t signals_wanted;
    _Atomic uint64_t signals_arrived;
    atomic_bool wants_interrupt; /* interrupt.c */
    atomic_bool is_interrupted;
    _Atomic(kolk_inbox *) next_listener;
    kolk_inbox *next_retired;
    bool is_listener;
    bool is_retired;
};

static inline void
kolk__inbox_awake(kolk_inbox *inbox)
{
    atomic_store_explicit(&inbox->asleep, false, memory_order_relaxed);
}

/* The descriptor was found readable: it has to be read, also if what was
 * pushed along with it has been taken before it was written. */
static inline void
kolk__inbox_heard(kolk_inbox *inbox)
{
    atomic_store_explicit(&inbox->written, true, memory_order_relaxed);
    atomic_store_explicit(&inbox->full, true, memory_order_relaxed);
}

static inline void
kolk__inbox_drain(kolk_loop *loop)
{
    if (KOLK_UNLIKELY(
            atomic_load_explicit(&loop->inbox->full, memory_order_relaxed))) {
        kolk__inbox_drain_slow(loop);
    }
}

/* ---- guest.c ---- */

void kolk__guest_close(kolk_loop *loop);

/* ---- pool.c ---- */

/* Jobs of `loop` that are queued or running in the default pool, or in others
 * on its behalf. */
size_t kolk__pool_pending(const kolk_loop *loop);
