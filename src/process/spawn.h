/* spawn.h - starting a program: between the parent's side and the child's.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <kolk/process.h>

#include "loop/loop.h"

/* What becomes a standard stream of the child: a descriptor, or one of these.
 */
enum {
    KOLK__SPAWN_INHERIT = -1,
    KOLK__SPAWN_AS_OUTPUT = -2, /* of the error stream */
};

/* Everything that the child needs, made by the parent: the child allocates
 * nothing. */
struct kolk__spawn_plan {
    char *names; /* to be tried in order, each ended by a zero; after the first,
                  * an empty one is the end */
    const char *const *argv;
    const char **shell_argv; /* the same if it was made for the plan, or NULL */
    const char *const *environment;
    const char *folder; /* NULL: stays where it is */
    int stdio[3];
    int *fds; /* further ones it keeps, in ascending order; room for one more */
    size_t fd_count;
    sigset_t mask; /* of signals that it begins with */
    pid_t parent;
    bool new_session;
    bool new_group;
    bool kill_with_us;
    int channel;        /* to its parent, if they share no memory, or -1 */
    int our_channel;    /* its parent's end */
    volatile int error; /* if they do, what has gone wrong; 0: nothing */
};

/* ---- spawn_plan.c ---- */

/* Works out what a child of `options` needs. Returns 0 or -ENOMEM. */
int kolk__spawn_plan_init(struct kolk__spawn_plan *plan,
                          const kolk_process_options *options,
                          const int stdio[3]);
void kolk__spawn_plan_fini(struct kolk__spawn_plan *plan);

/* One more descriptor that the child keeps. */
void kolk__spawn_plan_keep(struct kolk__spawn_plan *plan, int fd);

/* ---- spawn.c ---- */

/* Starts the program of `options`, which are checked, with `stdio`. Returns its
 * pid, and its pidfd in `*pidfd`; or -errno, and then nothing is left. */
pid_t kolk__spawn(kolk_loop *loop, const kolk_process_options *options,
                  const int stdio[3], int *pidfd);

/* The status of the child of `pidfd`, as kolk_process_status() has it; `reaps`:
 * and takes it, so that the kernel forgets the child. Does not wait. */
int kolk__spawn_status(int pidfd, bool reaps);

/* Ends and reaps a child that is not wanted; `pidfd` may be negative. */
void kolk__spawn_undo(kolk_loop *loop, pid_t pid, int pidfd);

/* ---- spawn_child.c: in the child ---- */

/* Becomes the program of `plan`, a kolk__spawn_plan. Does not return. */
int kolk__spawn_child(void *plan);
