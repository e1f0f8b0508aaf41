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
    kolk_link link; /* in kolk_process.waiters */
    void (*wake)(kolk__process_waiter *waiter);
};

struct kolk_process {
    kolk_loop *loop; /* a reference; NULL if that was closed before it ended */
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

    /* for tasks: src/await/process.c and communicate.c */
    kolk_stream *streams[3];                     /* over pipes, or NULL */
    size_t limit;                                /* of theirs */
    void (*free_streams)(kolk_process *process); /* NULL: there are none */
    size_t input_sent; /* how much of its input has been written */
    bool is_talking;   /* a task communicates with it */
};

/* Begins and ends to wait for a child that runs. Between the two, the loop
 * counts on its end. */
void kolk__process_wait_begin(kolk_process *process,
                              kolk__process_waiter *waiter);
void kolk__process_wait_end(kolk_process *process,
                            kolk__process_waiter *waiter);

/* Closes this side's end of a pipe if there is one. */
void kolk__process_close_pipe(kolk_process *process, int number);
