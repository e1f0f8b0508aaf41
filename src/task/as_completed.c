/* as_completed.c - futures in the order in which they get done.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each future that is not done has a done callback here. It hands its index to
 * the task that waits longest, or notes it for whoever asks next; so there are
 * notes only while nobody waits. See kolk/gather.h.
 */
#include <errno.h>

#include <kolk/gather.h>

#include "base/sys.h"
#include "task/park.h"

struct as_completed_child {
    kolk_call call;
    kolk_as_completed *iteration;
    size_t noted; /* the index that was noted as this many-th */
};

struct kolk_as_completed {
    kolk_link waiters; /* object: where the index goes */
    size_t n;
    size_t left;        /* not handed out */
    size_t first, last; /* notes not handed out: [first, last) */
    struct as_completed_child children[];
};

static void
as_completed_end(kolk_as_completed *iteration)
{
    while (kolk__waiters_wake_first(&iteration->waiters, 0) != NULL) {
    }
}

static void
as_completed_done(kolk_call *call)
{
    struct as_completed_child *child =
        KOLK_CONTAINER_OF(call, struct as_completed_child, call);
    kolk_as_completed *iteration = child->iteration;
    size_t index = (size_t)(child - iteration->children);
    kolk__coro *coro = kolk__waiters_first(&iteration->waiters);

    if (coro == NULL) {
        iteration->children[iteration->last++].noted = index;
        return;
    }
    *(size_t *)coro->object = index;
    (void)kolk__waiters_wake_first(&iteration->waiters, 1);
    if (--iteration->left == 0) {
        as_completed_end(iteration);
    }
}

int
kolk_as_completed_new(kolk_future *const futures[], size_t n,
                      kolk_as_completed **out)
{
    kolk_as_completed *iteration =
        kolk__sys.malloc(sizeof *iteration + n * sizeof iteration->children[0]);

    if (iteration == NULL) {
        return -ENOMEM;
    }
    *iteration = (kolk_as_completed){.n = n, .left = n};
    kolk__ring_init(&iteration->waiters);
    for (size_t i = 0; i < n; i++) {
        struct as_completed_child *child = &iteration->children[i];

        /* A future that is freed while it is pending ends its turn, too. */
        kolk_call_init(&child->call, as_completed_done, as_completed_done);
        child->iteration = iteration;
        if (kolk__future_is_done(futures[i])) {
            iteration->children[iteration->last++].noted = i;
        } else {
            kolk__call_link(&futures[i]->waiters, &child->call);
        }
    }
    *out = iteration;
    return 0;
}

int
kolk_as_completed_next(kolk_as_completed *iteration, size_t *index)
{
    kolk__coro *coro = kolk__coro_or_misuse("as_completed outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (iteration->first < iteration->last) {
        *index = iteration->children[iteration->first++].noted;
        iteration->left--;
        return 1;
    }
    if (iteration->left == 0) {
        return 0;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&iteration->waiters, coro);
    return kolk__park(coro, "as_completed", kolk__interrupt_wait, index);
}

void
kolk_as_completed_free(kolk_as_completed *iteration)
{
    if (iteration == NULL) {
        return;
    }
    as_completed_end(iteration);
    for (size_t i = 0; i < iteration->n; i++) {
        kolk_call *call = &iteration->children[i].call;

        if (kolk__call_is_linked(call)) {
            kolk__call_unlink(call);
        }
    }
    kolk__sys.free(iteration);
}
