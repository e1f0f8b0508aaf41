/* task.h - this loop's asyncio.Future and asyncio.Task.
 *
 * SPDX-License-Identifier: MIT
 *
 * A task is driven by us if its loop is one of ours and plain. Then its place
 * in the ready queue is a node of its own, and a future of ours that it waits
 * for has the task itself in callback0. Any other task is driven by asyncio's
 * code, of which it is a subclass.
 */
#pragma once

#include "layout.h"
#include "loop.h"

struct TaskObject {
    LAYOUT_TASK
    kolk_call call;   /* in the ready queue; which has a reference then */
    PyObject *thrown; /* strong: what the next step throws, or NULL */
    TaskObject *next, *previous; /* borrowed: task_registry.c */
    bool is_driven;
    bool is_listed;
};

/* The base of the type whose traverse function is `ours`, which is that of
 * `op` or one of its bases; borrowed. */
static inline PyTypeObject *
future_base_of(PyObject *op, traverseproc ours)
{
    PyTypeObject *type = Py_TYPE(op);

    while (type->tp_traverse != ours) {
        type = type->tp_base;
    }
    return type->tp_base;
}

static inline bool
future_check_exact(const ModuleState *state, PyObject *op)
{
    PyObject *type = (PyObject *)Py_TYPE(op);

    return type == state->future_type || type == state->task_type;
}

/* ---- future.c ---- */

/* A future of `loop`, new. */
PyObject *future_new(LoopObject *loop);

/* Schedules the callbacks of `self`, which is done. Returns 0, or -1 with an
 * exception set. */
int future_schedule_callbacks(FutureObject *self);

/* The error that says that `self`, of a loop of ours, was cancelled; new, or
 * NULL. */
PyObject *future_cancelled_error(FutureObject *self);

/* What `self`, which is done, makes throw whoever waits for it, new; NULL for
 * nothing, or with an exception set. */
PyObject *future_outcome(FutureObject *self);

/* Slots and methods of both types: await by the interpreter, and by calls. A
 * type's __next__ is hidden when it is made. */
PyObject *future_await(PyObject *op);
PySendResult future_send(PyObject *op, PyObject *value, PyObject **result);
PyObject *future_iternext(PyObject *op);
PyObject *future_dunder_await(PyObject *op, PyObject *ignored);
int future_hide_next(PyObject *type);

/* Frees what every field of asyncio's holds, the loop's apart. */
void future_clear_fields(FutureObject *self);

/* _callbacks, with a wake-up method in place of a task. */
PyObject *future_get_callbacks(PyObject *op, void *closure);

int future_type_add(PyObject *module, ModuleState *state);

/* ---- task.c ---- */

/* A task of `loop`, new; `args` are the coroutine and the values of
 * `kwnames`. `is_eager`: it starts at once, whatever the keywords say. */
PyObject *task_new(LoopObject *loop, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames, bool is_eager);

/* The task that `call` steps, borrowed, or NULL. */
PyObject *task_of_call(kolk_call *call);

int task_type_add(PyObject *module, ModuleState *state);

/* ---- task_step.c ---- */

/* The node's functions. */
void task_ready(kolk_call *call);
void task_dropped(kolk_call *call);

/* The first step of a task that starts at once, inside of whatever runs.
 * Returns 0, or -1 with an exception set. */
int task_step_eager(TaskObject *self);

/* Wakes `self`, which waits for `future`, through its node, and takes over a
 * reference to it; false if it has to be done by a callback. */
bool task_wake(TaskObject *self /* steals if true */, PyObject *future);

/* A callable that wakes `self` as a done callback, new. */
PyObject *task_wakeup_new(TaskObject *self);

/* ---- task_registry.c ---- */

/* `self` is one of asyncio.all_tasks() from here on, or no longer. Adding
 * returns 0, or -1 with an exception set; removing cannot fail, and does not
 * need the state while the module is taken apart. */
int registry_add(ModuleState *state, TaskObject *self);
void registry_remove(ModuleState *state, TaskObject *self);

/* `self` is asyncio.current_task(), or none is. Return 0 or -1. */
int registry_enter(ModuleState *state, TaskObject *self);
int registry_leave(ModuleState *state, TaskObject *self);

/* Something else than a step of ours comes next. */
#if PY_VERSION_HEX >= 0x030E0000
static inline void
registry_settle(LoopObject *Py_UNUSED(loop))
{
}
#else
void registry_forget_current(LoopObject *loop);
static inline void
registry_settle(LoopObject *loop)
{
    if (loop->has_current) {
        registry_forget_current(loop);
    }
}
#endif

extern PyMethodDef registry_functions[];
