/* task_wait.c - what a task's coroutine yields, and so waits for.
 *
 * SPDX-License-Identifier: MIT
 *
 * None is a turn. A future of ours that nobody else waits for gets the task
 * itself as its first callback; any other future gets a callback as anybody's.
 * Everything else is an error, which the task is told in its next step.
 */
#include "task_step.h"

#include "errors.h"

/* The next step comes in the next turn and throws `exception`, if any. */
static int
task_step_soon(TaskObject *self, PyObject *exception /* steals */)
{
    Py_XSETREF(self->thrown, exception);
    if (loop_push(task_loop(self), &self->call) < 0) {
        return -1;
    }
    Py_INCREF(self);
    return 0;
}

/* ---- errors ---- */

static int
task_refuse_with(TaskObject *self, PyObject *message /* steals */)
{
    PyObject *error = message != NULL
                          ? PyObject_CallOneArg(PyExc_RuntimeError, message)
                          : NULL;

    Py_XDECREF(message);
    return error != NULL ? task_step_soon(self, error) : -1;
}

/* `format` is of the task, and of what it yielded. */
static int
task_refuse(TaskObject *self, const char *format, PyObject *yielded)
{
    return task_refuse_with(self, PyUnicode_FromFormat(format, self, yielded));
}

/* No future at all. */
static int
task_refuse_other(TaskObject *self, PyObject *yielded)
{
    if (PyGen_Check(yielded)) {
        return task_refuse(self,
                           "yield was used instead of yield from for "
                           "generator in task %R with %R",
                           yielded);
    }
    return task_refuse_with(
        self, PyUnicode_FromFormat("Task got bad yield: %R", yielded));
}

/* ---- call graphs ---- */

#if PY_VERSION_HEX >= 0x030E0000

/* Notes in the future that the task waits for it. */
static int
task_awaited_by_add(TaskObject *self, PyObject *future, bool is_ours)
{
    const ModuleState *state = task_loop(self)->state;
    FutureObject *fut = (FutureObject *)future;

    if (KOLK_LIKELY(is_ours && fut->awaited_by == NULL)) {
        fut->awaited_by = Py_NewRef((PyObject *)self);
        fut->awaited_by_is_set = 0;
        return 0;
    }
    PyObject *result = PyObject_CallFunctionObjArgs(
        state->awaited_by_add, future, (PyObject *)self, NULL);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int
task_awaited_by_discard(TaskObject *self, PyObject *future)
{
    const ModuleState *state = task_loop(self)->state;
    FutureObject *fut = (FutureObject *)future;

    if (KOLK_LIKELY(future_check_exact(state, future)
                    && fut->awaited_by == (PyObject *)self
                    && !fut->awaited_by_is_set)) {
        fut->awaited_by = NULL;
        Py_DECREF(self); /* whoever steps it has one, too */
        return 0;
    }
    PyObject *result = PyObject_CallFunctionObjArgs(
        state->awaited_by_discard, future, (PyObject *)self, NULL);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

#else

static inline int
task_awaited_by_add(TaskObject *Py_UNUSED(self), PyObject *Py_UNUSED(future),
                    bool Py_UNUSED(is_ours))
{
    return 0;
}

int
task_awaited_by_discard(TaskObject *Py_UNUSED(self),
                        PyObject *Py_UNUSED(future))
{
    return 0;
}

#endif

/* ---- futures ---- */

/* Passes on a request to cancel that came while the task ran. */
static int
task_cancel_waiter(TaskObject *self)
{
    const ModuleState *state = task_loop(self)->state;
    PyObject *message = self->cancel_msg != NULL ? self->cancel_msg : Py_None;
    PyObject *args[] = {self->waiter, message};
    PyObject *result = PyObject_VectorcallMethod(state->str.cancel, args, 1,
                                                 state->msg_keyword);
    int is_true = result != NULL ? PyObject_IsTrue(result) : -1;

    Py_XDECREF(result);
    if (is_true > 0) {
        self->must_cancel = 0;
    }
    return is_true < 0 ? -1 : 0;
}

/* Lets `future` wake the task by a callback, as anybody's does. */
static int
task_add_wakeup(TaskObject *self, PyObject *future)
{
    const ModuleState *state = task_loop(self)->state;
    PyObject *wakeup = task_wakeup_new(self);

    if (wakeup == NULL) {
        return -1;
    }
    PyObject *args[] = {future, wakeup, self->context};
    PyObject *result = PyObject_VectorcallMethod(
        state->str.add_done_callback, args, 2, state->context_keyword);
    Py_DECREF(wakeup);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* `future` will wake the task. */
static int
task_set_waiter(TaskObject *self, PyObject *future /* steals */, bool is_ours)
{
    Py_XSETREF(self->waiter, future);
    if (task_awaited_by_add(self, future, is_ours) < 0) {
        return -1;
    }
    return KOLK_UNLIKELY(self->must_cancel) ? task_cancel_waiter(self) : 0;
}

/* May the task itself be the future's first callback? One of a subclass could
 * be callable, and is not taken for one that waits. */
static inline bool
task_can_be_first(const TaskObject *self, const FutureObject *future)
{
    return future->callback0 == NULL && future->callbacks == NULL
           && future->state == LAYOUT_PENDING
           && (PyObject *)Py_TYPE(self) == task_loop(self)->state->task_type;
}

static int
task_wait_for_ours(TaskObject *self, PyObject *future /* steals */)
{
    FutureObject *fut = (FutureObject *)future;

    fut->blocking = 0;
    if (KOLK_LIKELY(task_can_be_first(self, fut))) {
        fut->callback0 = Py_NewRef((PyObject *)self);
        fut->context0 = Py_NewRef(self->context);
    } else if (task_add_wakeup(self, future) < 0) {
        Py_DECREF(future);
        return -1;
    }
    return task_set_waiter(self, future, true);
}

/* Is `yielded` of this loop? 1 or 0; -1 with an exception set. */
static int
task_shares_loop(TaskObject *self, PyObject *yielded)
{
    const StateNames *str = &task_loop(self)->state->str;
    PyObject *loop = PyObject_CallMethodNoArgs(yielded, str->get_loop);

    if (loop == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        loop = PyObject_GetAttr(yielded, str->_loop);
    }
    if (loop == NULL) {
        return -1;
    }
    Py_DECREF(loop); /* it is compared only */
    return loop == self->fut_loop;
}

/* The task waits for anything that has asyncio's attribute. */
static int
task_wait_for_other(TaskObject *self, PyObject *yielded, PyObject *blocking)
{
    PyObject *name = task_loop(self)->state->str._asyncio_future_blocking;
    int is_blocking = PyObject_IsTrue(blocking);
    int is_same = is_blocking < 0 ? -1 : task_shares_loop(self, yielded);

    if (is_same < 0) {
        return -1;
    }
    if (!is_same) {
        return task_refuse(self,
                           "Task %R got Future %R attached to a different loop",
                           yielded);
    }
    if (!is_blocking) {
        return task_refuse(
            self, "yield was used instead of yield from in task %R with %R",
            yielded);
    }
    if (PyObject_SetAttr(yielded, name, Py_False) < 0
        || task_add_wakeup(self, yielded) < 0) {
        return -1;
    }
    return task_set_waiter(self, Py_NewRef(yielded), false);
}

static int
task_wait_slow(TaskObject *self, PyObject *yielded)
{
    PyObject *name = task_loop(self)->state->str._asyncio_future_blocking;

    if (yielded == (PyObject *)self) {
        return task_refuse(self, "Task cannot await on itself: %R", NULL);
    }
    PyObject *blocking = PyObject_GetAttr(yielded, name);
    if (blocking == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    }
    int err = blocking != NULL && blocking != Py_None
                  ? task_wait_for_other(self, yielded, blocking)
                  : task_refuse_other(self, yielded);
    Py_XDECREF(blocking);
    return err;
}

int
task_wait_for(TaskObject *self, PyObject *yielded)
{
    const ModuleState *state = task_loop(self)->state;

    if (yielded == Py_None) {
        Py_DECREF(yielded);
        return task_step_soon(self, NULL);
    }
    if (KOLK_LIKELY(future_check_exact(state, yielded)
                    && yielded != (PyObject *)self)) {
        FutureObject *fut = (FutureObject *)yielded;

        if (KOLK_LIKELY(fut->fut_loop == self->fut_loop && fut->blocking)) {
            return task_wait_for_ours(self, yielded);
        }
    }
    int err = task_wait_slow(self, yielded);
    Py_DECREF(yielded);
    return err;
}
