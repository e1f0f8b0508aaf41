/* fork.c - counting generations of processes. See fork.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/fork.h"

#include <pthread.h>

unsigned kolk__generation;

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;
static void (*fork_hook)(void);

static void
fork_in_child(void)
{
    kolk__generation++;
    if (fork_hook != NULL) {
        fork_hook();
    }
}

static void
fork_install(void)
{
    fork_error = pthread_atfork(NULL, NULL, fork_in_child);
}

int
kolk__fork_watch(void)
{
    pthread_once(&fork_once, fork_install);
    return -fork_error;
}

void
kolk__fork_set_hook(void (*fn)(void))
{
    __atomic_store_n(&fork_hook, fn, __ATOMIC_RELAXED);
}
