/* signal.c - signals, on the loop. See kolk/signal.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Dispositions belong to the process, nodes to a loop. In between stand the
 * listeners: one inbox for each loop that waits for any signal, in a list that
 * handlers read and that is changed under a lock, which no handler takes. Each
 * inbox says which signals its loop wants. The handler notes there that one
 * has arrived, and wakes the loop, which looks for its nodes when it drains the
 * inbox.
 *
 * Handlers count themselves in and out. A listener that is taken out keeps its
 * reference until nobody is in; if somebody is, it is retired, and goes at the
 * next change of the list. So neither side ever waits for the other.
 *
 * Somebody else may replace the library's handler meanwhile. What he has set is
 * not put back, but left alone, when the last node stops.
 */
#include "loop/signal.h"

#include <errno.h>
#include <unistd.h>

#include "base/sys.h"

enum { SIGNAL_MAX = 64 };

static struct {
    _Atomic(kolk_inbox *) first; /* listener */
    atomic_uint inside;          /* handlers that may stand at a listener */
    atomic_int process;          /* whose listeners they are */

    pthread_mutex_t lock;
    /* guarded by lock */
    kolk_inbox *retired;
    unsigned users[SIGNAL_MAX + 1]; /* loops that want the signal */
    struct sigaction before[SIGNAL_MAX + 1];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t
signal_bit(int signum)
{
    return UINT64_C(1) << (signum - 1);
}

/* ---- in the handler ---- */

kolk_inbox *
kolk__listeners_begin(void)
{
    atomic_fetch_add(&registry.inside, 1);
    /* A child made behind the library's back must not wake the parent. */
    return atomic_load(&registry.process) == getpid()
               ? atomic_load(&registry.first)
               : NULL;
}

void
kolk__listeners_end(void)
{
    atomic_fetch_sub(&registry.inside, 1);
}

static void
signal_handle(int signum)
{
    uint64_t bit = signal_bit(signum);
    int keep = errno, cancelling;

    /* Waking is a write(2), where a thread may be made to end. */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    for (kolk_inbox *inbox = kolk__listeners_begin(); inbox != NULL;
         inbox = kolk__listeners_next(inbox)) {
        if ((atomic_load(&inbox->signals_wanted) & bit) != 0) {
            atomic_fetch_or(&inbox->signals_arrived, bit);
            kolk_inbox_wake(inbox);
        }
    }
    kolk__listeners_end();
    (void)pthread_setcancelstate(cancelling, &cancelling);
    errno = keep;
}

/* ---- the listeners: the lock is held ---- */

/* Lets go of those that no handler can stand at any more. */
static void
listeners_sweep(void)
{
    while (registry.retired != NULL && atomic_load(&registry.inside) == 0) {
        kolk_inbox *inbox = registry.retired;

        registry.retired = inbox->next_retired;
        inbox->is_retired = false;
        kolk_inbox_unref(inbox);
    }
}

static void
listeners_add(kolk_inbox *inbox)
{
    listeners_sweep();
    if (inbox->is_listener) {
        return;
    }
    inbox->is_listener = true;
    (void)kolk_inbox_ref(inbox);
    atomic_store(&registry.process, getpid());
    atomic_store(&inbox->next_listener, atomic_load(&registry.first));
    atomic_store(&registry.first, inbox);
}

/* Takes `inbox` out unless there is something left that it listens for. */
static void
listeners_remove(kolk_inbox *inbox)
{
    _Atomic(kolk_inbox *) *at = &registry.first;

    if (atomic_load(&inbox->signals_wanted) != 0
        || atomic_load(&inbox->wants_interrupt)) {
        return;
    }
    while (atomic_load(at) != inbox) {
        at = &atomic_load(at)->next_listener;
    }
    atomic_store(at, atomic_load(&inbox->next_listener));
    inbox->is_listener = false;
    if (inbox->is_retired) {
        kolk_inbox_unref(inbox); /* not the last: that one is still held */
    } else {
        inbox->is_retired = true;
        inbox->next_retired = registry.retired;
        registry.retired = inbox;
    }
    listeners_sweep();
}

void
kolk__listener_add(kolk_inbox *inbox)
{
    pthread_mutex_lock(&registry.lock);
    listeners_add(inbox);
    pthread_mutex_unlock(&registry.lock);
}

void
kolk__listener_remove(kolk_inbox *inbox)
{
    pthread_mutex_lock(&registry.lock);
    listeners_remove(inbox);
    pthread_mutex_unlock(&registry.lock);
}

/* ---- dispositions: the lock is held ---- */

/* Returns 0, or -EINVAL for a number that the system keeps to itself. */
static int
disposition_set(int signum)
{
    struct sigaction before, action = {.sa_handler = signal_handle,
                                       .sa_flags = SA_RESTART | SA_ONSTACK};

    /* Nothing interrupts the handler: whoever is inside soon leaves. */
    (void)sigfillset(&action.sa_mask);
    if (kolk__sys.sigaction(signum, &action, &before) < 0) {
        return -errno;
    }
    if (before.sa_handler != signal_handle) {
        registry.before[signum] = before;
    }
    return 0;
}

static void
disposition_put_back(int signum)
{
    struct sigaction now;

    if (kolk__sys.sigaction(signum, NULL, &now) == 0
        && now.sa_handler == signal_handle) {
        /* What could be read can be written. */
        (void)kolk__sys.sigaction(signum, &registry.before[signum], NULL);
    }
}

void
kolk__signal_replace(int signum, void (*handler)(int signum),
                     const struct sigaction *before)
{
    pthread_mutex_lock(&registry.lock);
    if (registry.before[signum].sa_handler == handler) {
        registry.before[signum] = *before;
    }
    pthread_mutex_unlock(&registry.lock);
}

/* ---- what a loop wants ---- */

static void
signal_unwant_locked(kolk_inbox *inbox, int signum)
{
    if (--registry.users[signum] == 0) {
        disposition_put_back(signum);
    }
    atomic_fetch_and(&inbox->signals_wanted, ~signal_bit(signum));
    listeners_remove(inbox);
}

/* A signal that arrives meanwhile has its former effect or is told, never
 * neither: so wanting it comes before the handler, and ends after it. The
 * handler is set each time, in case that somebody else has replaced it. */
static int
signal_want(kolk_inbox *inbox, int signum)
{
    uint64_t bit = signal_bit(signum);

    pthread_mutex_lock(&registry.lock);
    bool is_new = (atomic_load(&inbox->signals_wanted) & bit) == 0;
    if (is_new) {
        registry.users[signum]++;
        atomic_fetch_and(&inbox->signals_arrived, ~bit);
        atomic_fetch_or(&inbox->signals_wanted, bit);
        listeners_add(inbox);
    }
    int err = disposition_set(signum);
    if (err < 0 && is_new) {
        signal_unwant_locked(inbox, signum);
    }
    pthread_mutex_unlock(&registry.lock);
    return err;
}

static void
signal_unwant(kolk_inbox *inbox, int signum)
{
    pthread_mutex_lock(&registry.lock);
    signal_unwant_locked(inbox, signum);
    pthread_mutex_unlock(&registry.lock);
}

/* Does a node of `loop` wait for `signum`? */
static bool
signal_is_wanted(const kolk_loop *loop, int signum)
{
    const kolk_link *ring = &loop->signals;

    for (const kolk_link *link = ring->next; link != ring; link = link->next) {
        if (KOLK_CONTAINER_OF(link, kolk_signal, link)->signum == signum) {
            return true;
        }
    }
    return false;
}

/* ---- nodes ---- */

static void
signal_run(kolk_call *call)
{
    kolk_signal *signal = KOLK_CONTAINER_OF(call, kolk_signal, call);

    signal->fn(signal);
}

kolk_signal *
kolk__signal_of(kolk_call *call)
{
    return call->fn == signal_run ? KOLK_CONTAINER_OF(call, kolk_signal, call)
                                  : NULL;
}

void
kolk_signal_init(kolk_signal *signal, kolk_signal_fn *fn,
                 kolk_signal_fn *dropped)
{
    *signal = (kolk_signal){.fn = fn, .dropped = dropped};
    kolk_call_init(&signal->call, signal_run, NULL);
}

bool
kolk_signal_is_started(const kolk_signal *signal)
{
    return signal->loop != NULL;
}

/* Those that tell of the program's own defects cannot be put off until the
 * loop gets to them: the instruction would be tried again. */
static bool
signal_is_allowed(int signum)
{
    return signum > 0 && signum <= SIGNAL_MAX && signum != SIGKILL
           && signum != SIGSTOP && signum != SIGSEGV && signum != SIGBUS
           && signum != SIGFPE && signum != SIGILL;
}

int
kolk_signal_start(kolk_loop *loop, kolk_signal *signal, int signum)
{
    int err = kolk__loop_check(loop, "kolk_signal_start()");

    if (err < 0) {
        return err;
    }
    if (signal->loop != NULL) {
        return -EALREADY;
    }
    if (!signal_is_allowed(signum)) {
        return -EINVAL;
    }
    err = signal_want(loop->inbox, signum);
    if (err < 0) {
        return err;
    }
    signal->loop = loop;
    signal->signum = signum;
    kolk__ring_push(&loop->signals, &signal->link);
    return 0;
}

void
kolk_signal_stop(kolk_signal *signal)
{
    kolk_loop *loop = signal->loop;

    if (loop == NULL) {
        return;
    }
    signal->loop = NULL;
    kolk__ring_remove(&signal->link);
    if (kolk__call_is_linked(&signal->call)) {
        kolk__call_unlink(&signal->call);
    }
    if (loop->generation == kolk__generation
        && !signal_is_wanted(loop, signal->signum)) {
        signal_unwant(loop->inbox, signal->signum);
    }
}

void
kolk__signals_collect(kolk_loop *loop)
{
    kolk_link *ring = &loop->signals;
    uint64_t arrived = atomic_exchange(&loop->inbox->signals_arrived, 0);

    for (kolk_link *link = ring->next; link != ring; link = link->next) {
        kolk_signal *signal = KOLK_CONTAINER_OF(link, kolk_signal, link);

        if ((arrived & signal_bit(signal->signum)) != 0
            && !kolk__call_is_linked(&signal->call)) {
            kolk__ready_push(loop, &signal->call);
        }
    }
}

void
kolk__signals_drop(kolk_loop *loop)
{
    while (!kolk__ring_is_empty(&loop->signals)) {
        kolk_signal *signal =
            KOLK_CONTAINER_OF(loop->signals.next, kolk_signal, link);

        kolk_signal_stop(signal);
        if (signal->dropped != NULL) {
            signal->dropped(signal);
        }
    }
}

int
kolk__signals_visit(kolk_loop *loop, kolk_visitor *visitor)
{
    const kolk_link *ring = &loop->signals;
    int result = 0;

    for (kolk_link *link = ring->next; link != ring && result == 0;
         link = link->next) {
        result = visitor->fn(visitor, KOLK_NODE_SIGNAL,
                             KOLK_CONTAINER_OF(link, kolk_signal, link));
    }
    return result;
}

/* ---- after a fork ---- */

/* Only this thread is left, and whoever had the lock, or was inside, is not. */
void
kolk__signals_forked(void)
{
    kolk_inbox *inbox = atomic_exchange(&registry.first, NULL);

    (void)pthread_mutex_init(&registry.lock, NULL); /* Linux: cannot fail */
    atomic_store(&registry.inside, 0);
    for (int signum = 1; signum <= SIGNAL_MAX; signum++) {
        if (registry.users[signum] > 0) {
            registry.users[signum] = 0;
            disposition_put_back(signum);
        }
    }
    while (inbox != NULL) {
        kolk_inbox *next = atomic_load(&inbox->next_listener);

        inbox->is_listener = false;
        kolk_inbox_unref(inbox); /* not the last: the loop has one */
        inbox = next;
    }
    listeners_sweep();
    kolk__interrupt_forked();
}
