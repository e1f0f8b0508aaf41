/* signal.c - signals, awaited. See kolk/signal.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * One node for each signal, in memory of its own, since tasks may ask for any
 * number of them. A signal that arrives wakes the task that waits longest, or
 * is kept until one asks; those that are kept stand in the order in which they
 * arrived.
 */
#include <errno.h>

#include <kolk/signal.h>

#include "base/sys.h"
#include "task/park.h"

struct signals_node {
    kolk_signal signal;
    kolk_link link; /* in `arrived` */
    struct kolk__signals *state;
};

struct kolk__signals {
    kolk_link arrived; /* and not asked for yet */
    kolk_link waiters; /* tasks */
    size_t started;
    struct signals_node nodes[];
};

static void
signals_arrive(kolk_signal *signal)
{
    struct signals_node *node =
        KOLK_CONTAINER_OF(signal, struct signals_node, signal);
    struct kolk__signals *state = node->state;

    if (kolk__waiters_wake_first(&state->waiters, signal->signum) == NULL
        && !kolk__link_is_linked(&node->link)) {
        kolk__ring_push(&state->arrived, &node->link);
    }
}

/* The loop is closed, and the task that would have ended this is gone. */
static void
signals_dropped(kolk_signal *signal)
{
    struct signals_node *node =
        KOLK_CONTAINER_OF(signal, struct signals_node, signal);

    if (--node->state->started == 0) {
        kolk__sys.free(node->state);
    }
}

static bool
signals_has(const struct kolk__signals *state, int signum)
{
    for (size_t i = 0; i < state->started; i++) {
        if (state->nodes[i].signal.signum == signum) {
            return true;
        }
    }
    return false;
}

static void
signals_free(struct kolk__signals *state)
{
    for (size_t i = 0; i < state->started; i++) {
        kolk_signal_stop(&state->nodes[i].signal);
    }
    kolk__sys.free(state);
}

/* Starts a node for each signal, or none and returns why. */
static int
signals_start(struct kolk__signals *state, kolk_loop *loop, const int *signums,
              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct signals_node *node = &state->nodes[state->started];

        if (signals_has(state, signums[i])) {
            continue;
        }
        node->state = state;
        kolk_signal_init(&node->signal, signals_arrive, signals_dropped);
        int err = kolk_signal_start(loop, &node->signal, signums[i]);
        if (err < 0) {
            return err;
        }
        state->started++;
    }
    return 0;
}

int
kolk_signals_begin(kolk_signals *signals, const int *signums, size_t count)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_signals outside a task");

    signals->state = NULL; /* its end may come all the same */
    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (count == 0) {
        return -EINVAL;
    }
    struct kolk__signals *state =
        kolk__sys.calloc(1, sizeof *state + count * sizeof state->nodes[0]);
    if (state == NULL) {
        return -ENOMEM;
    }
    kolk__ring_init(&state->arrived);
    kolk__ring_init(&state->waiters);
    int err = signals_start(state, coro->loop, signums, count);
    if (err < 0) {
        signals_free(state);
        return err;
    }
    signals->state = state;
    return 0;
}

int
kolk_signals_next(kolk_signals *signals)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_signals outside a task");
    struct kolk__signals *state = signals->state;

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (state == NULL) {
        return kolk__misuse(coro->loop, "kolk_signals_next() before begin");
    }
    if (!kolk__ring_is_empty(&state->arrived)) {
        struct signals_node *node =
            KOLK_CONTAINER_OF(state->arrived.next, struct signals_node, link);

        kolk__ring_remove(&node->link);
        return node->signal.signum;
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    kolk__waiters_push(&state->waiters, coro);
    return kolk__park(coro, "signal", kolk__interrupt_wait, NULL);
}

void
kolk_signals_end(kolk_signals *signals)
{
    struct kolk__signals *state = signals->state;

    if (state != NULL) {
        signals->state = NULL;
        while (kolk__waiters_wake_first(&state->waiters, -ECANCELED) != NULL) {
        }
        signals_free(state);
    }
}

int
kolk_signal_wait(const int *signums, size_t count)
{
    kolk_signals signals;
    int result = kolk_signals_begin(&signals, signums, count);

    if (result == 0) {
        result = kolk_signals_next(&signals);
        kolk_signals_end(&signals);
    }
    return result;
}
