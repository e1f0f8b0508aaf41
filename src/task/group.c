/* group.c - task groups. See kolk/group.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A group is a ring of its running children, and the scope of its block. The
 * group's own request to cancel is for the block; children get requests of
 * their own. A child tells its group when it has ended, as part of its end, so
 * nothing has to be allocated for it.
 */
#include <kolk/group.h>

#include "task/park.h"

static kolk__coro *
group_parent(const kolk_group *group)
{
    return group->scope.task->coro;
}

static void
group_cancel_children(kolk_group *group)
{
    kolk_link *link = group->children.next;

    if (group->is_cancelled) {
        return;
    }
    group->is_cancelled = true;
    while (link != &group->children) {
        kolk__coro *child = KOLK_CONTAINER_OF(link, kolk__coro, sibling);

        link = link->next;
        (void)kolk_task_cancel(child->task); /* runs, so it can be asked */
    }
}

int
kolk_group_begin_at(const char *site, kolk_group *group)
{
    kolk__ring_init(&group->children);
    group->running = 0;
    group->error = 0;
    group->is_waiting = false;
    group->is_cancelled = false;
    return kolk__scope_begin(&group->scope, KOLK__SCOPE_GROUP, site,
                             "kolk_group_begin() outside a task");
}

void
kolk__group_open(const char *site, kolk_group *group)
{
    /* Outside of a task the group stays closed, and its end says so. */
    (void)!kolk_group_begin_at(site, group);
}

int
kolk_group_spawn_at(const char *site, kolk_group *group,
                    const kolk_spawn_options *options, kolk_task_fn *fn,
                    void *arg, kolk_task **out)
{
    kolk_task *task;

    if (group->scope.task == NULL) {
        return kolk__misuse(kolk__this_thread.loop,
                            "kolk_group_spawn() on a closed group");
    }
    if (group->scope.requested) {
        return -ECANCELED;
    }
    int err =
        kolk_spawn_at(site, group->scope.task->loop, options, fn, arg, &task);
    if (err < 0) {
        return err;
    }
    if (!kolk__future_is_done(
            task)) { /* else it was eager, and has come to its end */
        task->coro->group = group;
        kolk__ring_push(&group->children, &task->coro->sibling);
        group->running++;
    } else {
        kolk__group_count_result(group, task);
    }
    if (out != NULL) {
        *out = task;
    } else {
        kolk_future_unref(task);
    }
    return 0;
}

void
kolk_group_cancel(kolk_group *group)
{
    if (group->scope.task != NULL && !group->scope.requested) {
        kolk__scope_request(&group->scope);
        group_cancel_children(group);
    }
}

void
kolk__group_count_result(kolk_group *group, kolk_task *task)
{
    if (task->result >= 0 || task->result == -ECANCELED || group->error < 0) {
        return;
    }
    group->error = kolk_future_result(task); /* the group's to report now */
    kolk_group_cancel(group);
}

void
kolk__group_child_ended(kolk__coro *coro)
{
    kolk_group *group = coro->group;

    kolk__ring_unlink(&coro->sibling);
    group->running--;
    kolk__group_count_result(group, coro->task);
    if (group->running == 0 && group->is_waiting) {
        group->is_waiting = false;
        kolk__coro *parent = group_parent(group);
        bool is_outer = kolk__cancel_is_outer(&group->scope, parent);
        kolk__wake(parent, is_outer ? -ECANCELED : 0);
    }
}

void
kolk__group_abandoned(kolk_group *group)
{
    group_cancel_children(group);
    while (!kolk__ring_is_empty(&group->children)) {
        kolk__coro *child =
            KOLK_CONTAINER_OF(group->children.next, kolk__coro, sibling);

        kolk__ring_unlink(&child->sibling);
        child->group = NULL;
    }
    group->scope.task = NULL;
}

/* The wait for the children goes on; it is they who end it. */
static void
group_interrupt(kolk__coro *coro)
{
    group_cancel_children(coro->object);
}

/* Waits for the children. Returns -ECANCELED if a request from outside came
 * while there were any, else 0. */
static int
group_wait(kolk_group *group, kolk__coro *coro)
{
    int err = 0;

    if (group->running > 0 && coro->is_cancelled
        && kolk__cancel_is_outer(&group->scope, coro)) {
        err = kolk__wait_refused(coro);
        group_cancel_children(group);
    }
    while (group->running > 0) {
        group->is_waiting = true;
        int woken =
            kolk__park(coro, "task group",
                       coro->is_cancelled ? NULL : group_interrupt, group);
        err = err < 0 ? err : woken;
    }
    return err;
}

int
kolk_group_end(kolk_group *group, int result)
{
    kolk__coro *coro = kolk__coro_or_misuse("kolk_group_end() outside a task");

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (group->scope.task != coro->task || coro->scope != &group->scope) {
        return kolk__misuse(coro->loop,
                            "kolk_group_end() of a scope that is not "
                            "innermost");
    }
    if (result < 0) {
        group_cancel_children(group);
    }
    int err = group_wait(group, coro);
    bool was_asked =
        group->scope.requested && !kolk__cancel_is_outer(&group->scope, coro);
    (void)kolk__scope_end(&group->scope, "kolk_group_end()"); /* checked */
    if (group->error < 0) {
        return group->error;
    }
    if (result >= 0) {
        return err < 0 ? err : result;
    }
    return result == -ECANCELED && was_asked ? 0 : result;
}

void
kolk_group_leave(kolk_group *group)
{
    kolk_task *task = group->scope.task;

    if (task == NULL) {
        return;
    }
    int result = kolk_group_end(group, 0);
    if (result < 0 && result != -ECANCELED) {
        kolk__report(task->loop, result, task,
                     "nobody read the failure of the task group begun at %s",
                     group->scope.site);
    }
}
