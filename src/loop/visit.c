/* visit.c - every node that is lent to a loop. See kolk_loop_visit().
 *
 * SPDX-License-Identifier: MIT
 *
 * Timers, watches and operations stand in the ready queue by a call inside of
 * them; the visitor is shown the node itself, once. A task's own call is the
 * library's, and not shown.
 */
#include "loop/handle.h"
#include "loop/loop.h"
#include "loop/poller.h"
#include "loop/signal.h"

static int
visit_call(kolk_loop *loop, kolk_visitor *visitor, kolk_call *call)
{
    kolk_timer *timer = kolk__timer_of(call);

    if (timer != NULL) {
        return visitor->fn(visitor, KOLK_NODE_TIMER, timer);
    }
    /* These are shown from the ring that they stand in besides. */
    if (kolk__watch_of(call) != NULL || kolk__signal_of(call) != NULL) {
        return 0;
    }
    kolk_op *op = kolk__op_of(call);
    if (op != NULL && op->ended == NULL) {
        return visitor->fn(visitor, KOLK_NODE_OP, op);
    }
    if (op != NULL) {
        return 0; /* a task's */
    }
    if (loop->task_ops != NULL && loop->task_ops->is_task(call)) {
        return 0;
    }
    return visitor->fn(visitor, KOLK_NODE_CALL, call);
}

static int
visit_ring(kolk_loop *loop, kolk_visitor *visitor, const kolk_link *ring)
{
    for (kolk_link *link = ring->next; link != ring; link = link->next) {
        int result =
            visit_call(loop, visitor, KOLK_CONTAINER_OF(link, kolk_call, link));
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int
visit_timer(kolk_timer *timer, void *visitor)
{
    kolk_visitor *self = visitor;

    return self->fn(self, KOLK_NODE_TIMER, timer);
}

int
kolk_loop_visit(kolk_loop *loop, kolk_visitor *visitor)
{
    const kolk_link *rings[] = {&loop->ready, &loop->step_end, &loop->turn_end};
    int result = 0;

    for (size_t i = 0; i < sizeof rings / sizeof *rings && result == 0; i++) {
        result = visit_ring(loop, visitor, rings[i]);
    }
    if (result == 0) {
        result = kolk__timers_each(loop, visit_timer, visitor);
    }
    if (result == 0) {
        result = kolk__poller_visit(loop, visitor);
    }
    if (result == 0) {
        result = kolk__handles_visit(loop, visitor);
    }
    if (result == 0) {
        result = kolk__signals_visit(loop, visitor);
    }
    return result != 0 ? result : kolk__inbox_visit(loop->inbox, visitor);
}
