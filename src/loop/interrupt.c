/* interrupt.c - what Ctrl-C does to a whole program.
 *
 * SPDX-License-Identifier: MIT
 *
 * The first SIGINT is told to the loop. The second one ends the process, and
 * for that nothing is needed: the kernel puts the default disposition back
 * before it runs the handler (SA_RESETHAND). So it works where the loop cannot,
 * in a callback that never returns.
 *
 * The handler is one that others replace: a node for SIGINT (kolk/signal.h)
 * takes its place, and puts it back when it is stopped. As long as there is
 * one, Ctrl-C is the node's affair.
 */
#include <errno.h>
#include <unistd.h>

#include "base/sys.h"
#include "loop/signal.h"

/* The main thread's; written before the handler is installed. */
static struct sigaction interrupt_before;

static void
interrupt_handle(int signum)
{
    int keep = errno, cancelling;
    bool is_told = false;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    for (kolk_inbox *inbox = kolk__listeners_begin(); inbox != NULL;
         inbox = kolk__listeners_next(inbox)) {
        if (atomic_load(&inbox->wants_interrupt)) {
            atomic_store(&inbox->is_interrupted, true);
            kolk_inbox_wake(inbox);
            is_told = true;
        }
    }
    kolk__listeners_end();
    if (!is_told) {
        (void)raise(signum); /* nobody's any more; the default comes next */
    }
    (void)pthread_setcancelstate(cancelling, &cancelling);
    errno = keep;
}

static bool
interrupt_is_default(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) == 0
           && action->sa_handler == SIG_DFL;
}

bool
kolk__interrupt_begin(kolk_loop *loop, kolk_call *call)
{
    struct sigaction action = {.sa_handler = interrupt_handle,
                               .sa_flags =
                                   SA_RESTART | SA_ONSTACK | SA_RESETHAND};

    if (gettid() != getpid()
        || kolk__sys.sigaction(SIGINT, NULL, &interrupt_before) < 0
        || !interrupt_is_default(&interrupt_before)) {
        return false;
    }
    loop->interrupt = call;
    atomic_store(&loop->inbox->wants_interrupt, true);
    kolk__listener_add(loop->inbox);
    (void)sigfillset(&action.sa_mask);
    (void)kolk__sys.sigaction(SIGINT, &action, NULL); /* could be read */
    return true;
}

static void
interrupt_put_back(void)
{
    struct sigaction now;

    if (kolk__sys.sigaction(SIGINT, NULL, &now) == 0
        && now.sa_handler == interrupt_handle) {
        (void)kolk__sys.sigaction(SIGINT, &interrupt_before, NULL);
    }
}

void
kolk__interrupt_end(kolk_loop *loop)
{
    kolk_inbox *inbox = loop->inbox;

    interrupt_put_back();
    /* Or it may stand below a node's handler. */
    kolk__signal_replace(SIGINT, interrupt_handle, &interrupt_before);
    atomic_store(&inbox->wants_interrupt, false);
    kolk__listener_remove(inbox);
    loop->interrupt = NULL;
    if (atomic_exchange(&inbox->is_interrupted, false)) {
        (void)raise(SIGINT);
    }
}

void
kolk__interrupt_collect(kolk_loop *loop)
{
    if (loop->interrupt != NULL
        && atomic_exchange(&loop->inbox->is_interrupted, false)
        && !kolk__call_is_linked(loop->interrupt)) {
        kolk__ready_push(loop, loop->interrupt);
    }
}

void
kolk__interrupt_forked(void)
{
    interrupt_put_back();
}
