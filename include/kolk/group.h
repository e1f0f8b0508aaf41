/* kolk/group.h - task groups: children that do not outlive their block.
 *
 * SPDX-License-Identifier: MIT
 *
 *     KOLK_GROUP(group);
 *     err = kolk_group_spawn(&group, fetch, &a, NULL);
 *     ...
 *     return kolk_group_end(&group, err);
 *
 * The first child that fails cancels its siblings and the block; the end of
 * the group waits for all of them and returns that failure. A child that ends
 * with -ECANCELED has not failed.
 */
#pragma once

#include <kolk/scope.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_group {
    kolk_scope scope; /* private */

    /* private to group.c */
    kolk_link children;
    size_t running;
    int error;         /* the first failure, 0 before */
    bool is_waiting;   /* the parent waits for the children */
    bool is_cancelled; /* the children have been asked to end, once */
    void *reserved[2];
} kolk_group;

/* Opens a group in the current task. Returns 0; -KOLK_EMISUSE outside of a
 * task. Never waits. */
KOLK_API KOLK_MUST_CHECK int kolk_group_begin_at(const char *site,
                                                 kolk_group *group);
#define kolk_group_begin(group) kolk_group_begin_at(KOLK_HERE, (group))

/* kolk_spawn_at() of a child; any task of the loop may add one while the group
 * is open. `*out`, if asked for, is a handle of yours beside the group's.
 * Returns as kolk_spawn_at(); -ECANCELED if the group is being cancelled;
 * -KOLK_EMISUSE if it is closed. Never waits. */
KOLK_API KOLK_MUST_CHECK int
kolk_group_spawn_at(const char *site, kolk_group *group,
                    const kolk_spawn_options *options, kolk_task_fn *fn,
                    void *arg, kolk_task **out);
#define kolk_group_spawn(group, fn, arg, out)                                  \
    kolk_group_spawn_at(KOLK_HERE, (group), NULL, (fn), (arg), (out))
#define kolk_group_spawn_with(group, options, fn, arg, out)                    \
    kolk_group_spawn_at(KOLK_HERE, (group), (options), (fn), (arg), (out))

/* Cancels the children, and the rest of the block; no failure by itself. */
KOLK_API void kolk_group_cancel(kolk_group *group);

/* Waits for every child, then closes the group. `result` is what the block
 * came to: an error in it cancels the children first.
 *
 * Returns the first child's failure; else `result`, where an -ECANCELED that
 * the group itself had asked for is 0. Cancellation: the children are
 * cancelled, and the wait goes on, uninterruptibly. -KOLK_EMISUSE if it is not
 * the task's innermost open scope. */
KOLK_API KOLK_MUST_CHECK int kolk_group_end(kolk_group *group, int result);

/* kolk_group_end(group, 0) if it is open; what KOLK_GROUP() does on leaving.
 * A failure goes to the loop's error handler. */
KOLK_API void kolk_group_leave(kolk_group *group);

/* Declares `name`, a group over the rest of the block. */
#define KOLK_GROUP(name)                                                       \
    kolk_group name __attribute__((cleanup(kolk_group_leave)));                \
    kolk__group_open(KOLK_HERE, &name)

/* private: begin, or leave the group closed so that its end says so */
KOLK_API void kolk__group_open(const char *site, kolk_group *group);

#ifdef __cplusplus
}
#endif
