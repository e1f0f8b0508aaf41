/* overflow.c - a last word before a stack overflow ends the process.
 *
 * SPDX-License-Identifier: MIT
 *
 * A handler cannot run on the stack that has overflowed, so each thread needs
 * one of its own. One that it already has (a sanitizer's, a host's) serves as
 * well. The main thread's is static, since main threads do not end; that of
 * another is unmapped when it ends.
 *
 * The handler never recovers. For an overflow it writes its line, puts back
 * what was there before it, and returns: the same instruction faults again,
 * and core file, exit status or the other handler's report are what they would
 * have been.
 */
#include "coro/overflow.h"

#include "base/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Holds the widest register state of today several times over. */
enum { OVERFLOW_STACK = 64 * 1024, OVERFLOW_LINE = 512 };

static struct {
    pthread_mutex_t lock; /* guards what is below, but not in the handler */
    bool has_key;
    pthread_key_t key; /* a thread's stack, unmapped when it ends */
    bool is_installed;

    /* the handler: written before it is installed */
    struct sigaction previous;
    kolk__overflow_fn *describe;
} overflow = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Alignas(16) char overflow_main_stack[OVERFLOW_STACK];

/* ---- in the handler ---- */

static void
overflow_write(const char *text)
{
    size_t size = strlen(text);

    while (size > 0) {
        ssize_t count = kolk__sys.write(STDERR_FILENO, text, size);
        if (count < 0) {
            return; /* there is nobody to tell */
        }
        text += count;
        size -= (size_t)count;
    }
}

/* Puts back what was there before. A handler that stayed would be called for
 * ever. */
static void
overflow_restore(int number)
{
    if (kolk__sys.sigaction(number, &overflow.previous, NULL) < 0) {
        _exit(128 + number);
    }
}

/* Leaves the signal to who handled it before. */
static void
overflow_pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &overflow.previous;

    if ((previous->sa_flags & SA_SIGINFO) != 0) {
        previous->sa_sigaction(number, info, context);
    } else if (previous->sa_handler == SIG_DFL
               || (previous->sa_handler == SIG_IGN && info->si_code > 0)) {
        overflow_restore(number);
        if (info->si_code <= 0) {
            (void)raise(number); /* was sent, so it does not come again */
        }
    } else if (previous->sa_handler != SIG_IGN) {
        previous->sa_handler(number);
    }
}

static void
overflow_handle(int number, siginfo_t *info, void *context)
{
    int err = errno;
    char buffer[OVERFLOW_LINE];
    const char *owner = NULL;

    if (info->si_code > 0) {
        owner = overflow.describe(info->si_addr, buffer, sizeof buffer);
    }
    if (owner == NULL) {
        overflow_pass_on(number, info, context);
    } else {
        overflow_write("kolk: stack overflow in ");
        overflow_write(owner);
        overflow_write("\n");
        overflow_restore(number);
    }
    errno = err;
}

/* ---- taking the handler ---- */

/* Called with the lock held. */
static int
overflow_install(kolk__overflow_fn *describe)
{
    struct sigaction action = {.sa_sigaction = overflow_handle};

    if (overflow.is_installed) {
        return 0;
    }
    if (kolk__sys.sigaction(SIGSEGV, NULL, &overflow.previous) < 0) {
        return -errno;
    }
    action.sa_mask = overflow.previous.sa_mask;
    action.sa_flags =
        SA_SIGINFO | SA_ONSTACK | (overflow.previous.sa_flags & SA_NODEFER);
    overflow.describe = describe;
    if (kolk__sys.sigaction(SIGSEGV, &action, NULL) < 0) {
        return -errno;
    }
    overflow.is_installed = true;
    return 0;
}

/* ---- a thread's stack ---- */

static void
overflow_unmap(void *stack)
{
    stack_t current, none = {.ss_flags = SS_DISABLE};

    if (kolk__sys.sigaltstack(NULL, &current) == 0 && current.ss_sp == stack) {
        /* Refused only to a handler that runs on it. */
        (void)kolk__sys.sigaltstack(&none, NULL);
    }
    (void)kolk__sys.munmap(stack, OVERFLOW_STACK);
}

/* Called with the lock held. */
static int
overflow_map(char **out)
{
    if (!overflow.has_key) {
        int err = pthread_key_create(&overflow.key, overflow_unmap);
        if (err != 0) {
            return -err;
        }
        overflow.has_key = true;
    }
    char *stack = kolk__sys.mmap(NULL, OVERFLOW_STACK, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) {
        return -errno;
    }
    int err = pthread_setspecific(overflow.key, stack);
    if (err != 0) {
        (void)kolk__sys.munmap(stack, OVERFLOW_STACK);
        return -err;
    }
    *out = stack;
    return 0;
}

static void
overflow_drop(char *stack)
{
    if (stack != overflow_main_stack) {
        (void)pthread_setspecific(overflow.key, NULL);
        (void)kolk__sys.munmap(stack, OVERFLOW_STACK);
    }
}

static bool
overflow_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

/* Called with the lock held. */
static int
overflow_set_stack(void)
{
    stack_t stack;
    char *memory = overflow_main_stack;

    if (kolk__sys.sigaltstack(NULL, &stack) < 0) {
        return -errno;
    }
    if ((stack.ss_flags & SS_DISABLE) == 0) {
        return 0;
    }
    int err = overflow_is_main_thread() ? 0 : overflow_map(&memory);
    if (err < 0) {
        return err;
    }
    stack = (stack_t){.ss_sp = memory, .ss_size = OVERFLOW_STACK};
    if (kolk__sys.sigaltstack(&stack, NULL) < 0) {
        err = -errno;
        overflow_drop(memory);
        return err;
    }
    return 0;
}

int
kolk__overflow_watch(kolk__overflow_fn *describe)
{
    pthread_mutex_lock(&overflow.lock);
    int err = overflow_set_stack();
    if (err == 0) {
        err = overflow_install(describe);
    }
    pthread_mutex_unlock(&overflow.lock);
    return err;
}
