/* task_step.h - what the two halves of a step share.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "task.h"

/* The loop of a task that is driven by us, borrowed. */
static inline LoopObject *
task_loop(const TaskObject *self)
{
    return (LoopObject *)self->fut_loop;
}

/* The coroutine has yielded: sees to it that the task is woken, or told what
 * is wrong. Returns 0, or -1 with an exception set. */
int task_wait_for(TaskObject *self, PyObject *yielded /* steals */);

/* Notes that the task does not wait for `future` any more, for call graphs. */
int task_awaited_by_discard(TaskObject *self, PyObject *future);
