/* process.h - a child's struct, and what tasks need of it.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <kolk/process.h>

#include "loop/handle.h"

/* Somebody who waits until the child has ended. `wake` is called once, with the
 * status already there; it calls nothing of the user's. */
typedef struct kolk__process_waiter kolk__process_waiter;
struct kolk__process_waiter {
    kolk_link link; /* in kolk_process.waiters; taken out before `wake` */
    void (*wake)(kolk__process_waiter *waiter);
};

struct kolk_process {
    kolk_loop *loop;     /* NULL once that is closed */
    kolk__handle handle; /* while it runs, as far as is known */
    kolk_watch watch;    /* on its pidfd */
    const kolk_process_ops *ops;
    void *owner;
    size_t refs; /* the users', and the loop's while the handle is open */
    bool is_open;
    unsigned generation;
    pid_t pid;
    int pidfd;    /* -1 once it has ended */
    int status;   /* see kolk_process_status() */
    int pipes[3]; /* this side's ends, or -1 */
    kolk_link waiters;
};
