/* pool_give.c - blocking work whose memory has been handed over.
 *
 * SPDX-License-Identifier: MIT
 *
 * The job is in memory of its own, so the task that asked for it may go while
 * it runs. Whoever is the last to know of it frees it: the task, or, if that
 * has been cancelled, the job's end. The memory handed over is freed by the
 * thread that has run the job, or here if it will not run.
 */
#include <kolk/pool.h>

#include "base/sys.h"
#include "loop/op.h"
#include "task/park.h"

struct gift {
    kolk_op op;
    kolk__coro *coro; /* waits for it; NULL: nobody does */
    kolk_work_fn *fn;
    void *arg;
    void (*free_fn)(void *arg);
};

/* In the thread. */
static int
gift_work(void *arg)
{
    struct gift *gift = arg;
    int result = gift->fn(gift->arg);

    gift->free_fn(gift->arg);
    return result;
}

static void
gift_ended(kolk_op *op)
{
    struct gift *gift = KOLK_CONTAINER_OF(op, struct gift, op);
    kolk__coro *coro = gift->coro;
    int result = op->result;

    if (op->state == KOLK__OP_ENDED) {
        gift->free_fn(gift->arg); /* it was taken back, and has not run */
    }
    kolk__sys.free(gift);
    if (coro != NULL) {
        kolk__wake(coro, result);
    }
}

/* The loop is closed, and its tasks are gone. */
static void
gift_dropped(kolk_op *op)
{
    kolk__sys.free(KOLK_CONTAINER_OF(op, struct gift, op));
}

static void
gift_interrupt(kolk__coro *coro)
{
    struct gift *gift = coro->object;

    if (kolk_call_is_pending(&gift->op.call)) {
        return; /* it has ended: the result is on its way */
    }
    if (kolk__pool_has_begun(&gift->op)) {
        gift->coro = NULL;
        kolk__wake(coro, -ECANCELED);
    } else {
        kolk__op_cancel(coro->loop, &gift->op);
    }
}

int
kolk_run_in_pool_give(kolk_pool *pool, kolk_work_fn *fn, void *arg,
                      void (*free_fn)(void *arg))
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_run_in_pool_give() outside a task");
    int err = -KOLK_EMISUSE;

    if (coro == NULL) {
        goto free_arg;
    }
    if (coro->is_cancelled) {
        err = kolk__wait_refused(coro);
        goto free_arg;
    }
    struct gift *gift = kolk__sys.malloc(sizeof *gift);
    if (gift == NULL) {
        err = -ENOMEM;
        goto free_arg;
    }
    *gift =
        (struct gift){.coro = coro, .fn = fn, .arg = arg, .free_fn = free_fn};
    kolk__op_init_awaited(&gift->op, gift_ended);
    gift->op.dropped = gift_dropped;
    err = kolk_op_work(coro->loop, &gift->op, pool, gift_work, gift);
    if (err < 0) {
        goto free_gift;
    }
    return kolk__park(coro, "thread pool", gift_interrupt, gift);

free_gift:
    kolk__sys.free(gift);
free_arg:
    free_fn(arg);
    return err;
}
