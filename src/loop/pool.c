/* pool.c - blocking work in threads. See kolk/pool.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A job is an operation: in the pool's queue by its call's link, which is free
 * until the call goes to the loop's inbox, and in a ring of its loop by its
 * own. Once a thread has pushed the call to the inbox, the operation is the
 * loop's again and may be gone; so that is the last thing it does with it.
 *
 * The lock guards the queue and the counts. Whoever waits for something waits
 * for `changed`, which is signalled only if `waiters` says that there is
 * somebody. The pool itself is counted: the owner, every thread and every job
 * hold a reference, so that a pool whose closing has timed out goes with the
 * last of them. A job's reference to its inbox belongs to whoever takes the job
 * out of the queue.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "loop/op.h"

enum {
    POOL_THREADS_MAX = 32, /* by default */
    POOL_THREADS_EXTRA = 4,
    POOL_NAME_MAX = 12,
};

struct kolk_pool {
    atomic_uint refs;
    unsigned generation;
    char name[POOL_NAME_MAX + 1];
    unsigned limit;

    pthread_mutex_t lock;
    pthread_cond_t work;    /* a job has come, or the pool closes */
    pthread_cond_t changed; /* a job or a thread has ended */

    /* guarded by lock */
    kolk_link queue; /* jobs that have not begun, by their call's link */
    unsigned queued;
    unsigned idle; /* threads that wait for work */
    unsigned waiters;
    unsigned started; /* of `threads` */
    unsigned alive;
    bool closing;
    pthread_t threads[];
};

/* The pool whose thread this is. */
static __thread kolk_pool *pool_here;

/* ---- threads ---- */

static void
pool_unref(kolk_pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* In a child of the process that made it, threads that do not exist may
     * hold the lock. */
    if (pool->generation == kolk__generation) {
        (void)pthread_cond_destroy(&pool->changed);
        (void)pthread_cond_destroy(&pool->work);
        (void)pthread_mutex_destroy(&pool->lock);
    }
    kolk__sys.free(pool);
}

static void
pool_notify(kolk_pool *pool)
{
    if (pool->waiters > 0) {
        (void)pthread_cond_broadcast(&pool->changed);
    }
}

/* Takes the first job out of the queue. */
static kolk_op *
pool_next(kolk_pool *pool)
{
    kolk_op *op = KOLK_CONTAINER_OF(pool->queue.next, kolk_op, call.link);

    kolk__ring_remove(&op->call.link);
    op->is_queued = false;
    pool->queued--;
    return op;
}

/* Hands a job back to its loop. That one waits for it before it closes the
 * inbox, so the push cannot fail; but it may close right after. */
static void
pool_give_back(kolk_op *op, int result)
{
    kolk_inbox *inbox = op->inbox;

    op->result = result;
    (void)!kolk_inbox_push(inbox, &op->call);
    kolk_inbox_unref(inbox);
}

static void *
pool_thread(void *arg)
{
    kolk_pool *pool = arg;

    pool_here = pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (kolk__ring_is_empty(&pool->queue) && !pool->closing) {
            pool->idle++;
            (void)pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
        }
        if (kolk__ring_is_empty(&pool->queue)) {
            break;
        }
        kolk_op *op = pool_next(pool);
        pthread_mutex_unlock(&pool->lock);
        pool_give_back(op, kolk__op_perform(op));
        pthread_mutex_lock(&pool->lock);
        pool_notify(pool);
    }
    pool->alive--;
    pool_notify(pool);
    pthread_mutex_unlock(&pool->lock);
    pool_unref(pool);
    return NULL;
}

/* Names it from outside, where the pool's name is at hand. */
static void
pool_name_thread(const kolk_pool *pool, pthread_t thread)
{
    char name[16];

    (void)snprintf(name, sizeof name, "%s-%u", pool->name, pool->started % 100);
    (void)pthread_setname_np(thread, name); /* for debuggers only */
}

/* Starts one more thread, which blocks every signal: those are for threads
 * that the program knows of. Returns 0 or -errno. */
static int
pool_start_thread(kolk_pool *pool)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = kolk__sys.pthread_create(&pool->threads[pool->started], NULL,
                                       pool_thread, pool);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0) {
        atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
        pool_name_thread(pool, pool->threads[pool->started]);
        pool->started++;
        pool->alive++;
    }
    return -err;
}

/* ---- opening and closing ---- */

static unsigned
pool_limit(unsigned wanted)
{
    if (wanted > 0) {
        return wanted;
    }
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    long limit = (processors > 0 ? processors : 1) + POOL_THREADS_EXTRA;

    return limit < POOL_THREADS_MAX ? (unsigned)limit : POOL_THREADS_MAX;
}

int
kolk_pool_open(const kolk_pool_options *options, kolk_pool **out)
{
    static const kolk_pool_options defaults;
    pthread_condattr_t attributes;

    options = options != NULL ? options : &defaults;
    unsigned limit = pool_limit(options->threads);
    int err = kolk__fork_watch();
    if (err < 0) {
        return err;
    }
    kolk_pool *pool = kolk__sys.calloc(
        1, sizeof *pool + (size_t)limit * sizeof pool->threads[0]);
    if (pool == NULL) {
        return -ENOMEM;
    }
    atomic_init(&pool->refs, 1);
    pool->generation = kolk__generation;
    pool->limit = limit;
    kolk__ring_init(&pool->queue);
    (void)snprintf(pool->name, sizeof pool->name, "%s",
                   options->name != NULL ? options->name : "kolk");
    /* On Linux, none of these can fail. */
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pool->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    *out = pool;
    return 0;
}

/* Waits until no thread is left. Returns 0 or -ETIMEDOUT. */
static int
pool_wait_threads(kolk_pool *pool, kolk_time delay)
{
    kolk_time deadline = kolk_time_add(kolk_monotonic(), delay);
    struct timespec when = {.tv_sec = deadline / KOLK_S(1),
                            .tv_nsec = deadline % KOLK_S(1)};
    int err = 0;

    pool->waiters++;
    while (pool->alive > 0 && err == 0) {
        if (deadline == KOLK_NEVER) {
            (void)pthread_cond_wait(&pool->changed, &pool->lock);
        } else {
            err = pthread_cond_timedwait(&pool->changed, &pool->lock, &when);
        }
    }
    pool->waiters--;
    return pool->alive > 0 ? -ETIMEDOUT : 0;
}

/* Ends the jobs that have not begun. */
static void
pool_refuse_queue(kolk_pool *pool)
{
    while (!kolk__ring_is_empty(&pool->queue)) {
        pool_give_back(pool_next(pool), -ECANCELED);
    }
    pool_notify(pool);
}

/* Ends the threads, or detaches them. Returns 0 or -ETIMEDOUT. */
static int
pool_end_threads(kolk_pool *pool, kolk_time delay)
{
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    (void)pthread_cond_broadcast(&pool->work);
    int err = pool_wait_threads(pool, delay);
    if (err < 0) {
        pool_refuse_queue(pool);
    }
    unsigned started = pool->started;
    pthread_mutex_unlock(&pool->lock);

    for (unsigned i = 0; i < started; i++) {
        if (err == 0) {
            (void)kolk__sys.pthread_join(pool->threads[i], NULL);
        } else {
            (void)pthread_detach(pool->threads[i]);
        }
    }
    return err;
}

int
kolk_pool_close(kolk_pool *pool, kolk_time delay)
{
    int err = 0;

    if (pool_here == pool) {
        return kolk__misuse(NULL, "closing a pool from one of its own jobs");
    }
    if (pool->generation == kolk__generation) {
        err = pool_end_threads(pool, delay);
    } /* else the threads are the parent's */
    pool_unref(pool);
    return err;
}

/* ---- jobs ---- */

/* Sees to it that a thread comes for the job just queued. */
static int
pool_wake_thread(kolk_pool *pool)
{
    int err = 0;

    if (pool->queued <= pool->idle) {
        (void)pthread_cond_signal(&pool->work);
    } else if (pool->started < pool->limit) {
        err = pool_start_thread(pool);
        if (pool->started > 0) {
            err = 0; /* those that are there get to it */
        }
    }
    return err;
}

int
kolk__pool_push(kolk_pool *pool, kolk_loop *loop, kolk_op *op)
{
    pool = pool != NULL ? pool : kolk_loop_pool(loop);
    if (pool == NULL) {
        return -ENOMEM;
    }
    if (pool->generation != kolk__generation) {
        return -KOLK_EFORK;
    }
    op->state = KOLK__OP_JOB;
    op->loop = loop;
    op->pool = pool;
    op->inbox = loop->inbox;
    pthread_mutex_lock(&pool->lock);
    int err = -ESHUTDOWN;
    if (!pool->closing) {
        op->is_queued = true;
        kolk__ring_push(&pool->queue, &op->call.link);
        pool->queued++;
        err = pool_wake_thread(pool);
        if (err < 0) {
            (void)pool_next(pool); /* the only one: no thread, no other job */
        }
    }
    if (err == 0) {
        atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
        (void)kolk_inbox_ref(loop->inbox);
        loop->poller->jobs++;
    }
    pthread_mutex_unlock(&pool->lock);
    return err;
}

bool
kolk__pool_take(kolk_op *op)
{
    kolk_pool *pool = op->pool;

    pthread_mutex_lock(&pool->lock);
    bool is_queued = op->is_queued;
    if (is_queued) {
        op->is_queued = false;
        kolk__ring_remove(&op->call.link);
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->lock);
    if (is_queued) {
        kolk_inbox_unref(op->inbox);
    }
    return is_queued;
}

bool
kolk__pool_has_begun(kolk_op *op)
{
    pthread_mutex_lock(&op->pool->lock);
    bool has_begun = !op->is_queued;
    pthread_mutex_unlock(&op->pool->lock);
    return has_begun;
}

void
kolk__pool_settle(kolk_op *op)
{
    kolk_pool *pool = op->pool;

    if (kolk_call_is_pending(&op->call)) {
        return;
    }
    /* The job may need the host's lock. */
    kolk_hooks *hooks = kolk__block_begin(op->loop);
    pthread_mutex_lock(&pool->lock);
    pool->waiters++;
    while (!kolk_call_is_pending(&op->call)) {
        (void)pthread_cond_wait(&pool->changed, &pool->lock);
    }
    pool->waiters--;
    pthread_mutex_unlock(&pool->lock);
    kolk__block_end(hooks);
}

void
kolk__pool_release(kolk_op *op)
{
    op->loop->poller->jobs--;
    pool_unref(op->pool);
}

size_t
kolk__pool_pending(const kolk_loop *loop)
{
    return loop->poller->jobs;
}

/* ---- the loop's own pool ---- */

kolk_pool *
kolk_loop_pool(kolk_loop *loop)
{
    if (loop->pool == NULL && kolk__loop_check(loop, "kolk_loop_pool()") == 0) {
        const kolk_pool_options options = {.threads = loop->pool_threads};

        /* NULL is what the caller gets if it fails. */
        (void)!kolk_pool_open(&options, &loop->pool);
    }
    return loop->pool;
}

int
kolk_loop_set_pool_threads(kolk_loop *loop, unsigned threads)
{
    if (loop->pool != NULL) {
        return kolk__misuse(loop, "setting the size of a pool in use");
    }
    loop->pool_threads = threads;
    return 0;
}

int
kolk_loop_close_pool(kolk_loop *loop, kolk_time delay)
{
    kolk_pool *pool = loop->pool;
    int err = 0;

    if (pool == NULL) {
        return 0;
    }
    if (pool_here == pool) {
        return kolk__misuse(loop, "closing a pool from one of its own jobs");
    }
    loop->pool = NULL;
    if (pool->generation == kolk__generation) {
        /* Jobs may need the host's lock. */
        kolk_hooks *hooks = kolk__block_begin(loop);

        err = pool_end_threads(pool, delay);
        kolk__block_end(hooks);
    }
    pool_unref(pool);
    return err;
}
