/* task_step.c - a step of a task that is driven by us.
 *
 * SPDX-License-Identifier: MIT
 *
 * The order is asyncio's: what was scheduled first steps first, a wake-up
 * takes a turn, and between the end of a future and the step `waiter` still
 * names it, so that cancel() in between does what it does there. What the
 * coroutine yields is in task_wait.c.
 */
#include "task_step.h"

#include "errors.h"

/* ---- the end ---- */

/* Future.METHOD(self[, arg]) of asyncio. */
static int
task_call_base(PyObject *method, TaskObject *self, PyObject *arg,
               PyObject *kwnames)
{
    PyObject *args[] = {(PyObject *)self, arg};
    size_t nargs = kwnames == NULL && arg != NULL ? 2 : 1;
    PyObject *result = PyObject_Vectorcall(method, args, nargs, kwnames);

    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int
task_returned(TaskObject *self, PyObject *result /* steals */)
{
    ModuleState *state = task_loop(self)->state;

    registry_remove(state, self);
    if (KOLK_UNLIKELY(self->must_cancel)) {
        self->must_cancel = 0;
        Py_DECREF(result);
        PyObject *message =
            self->cancel_msg != NULL ? self->cancel_msg : Py_None;
        return task_call_base(state->base_cancel, self, message,
                              state->msg_keyword);
    }
    self->result = result;
    self->state = LAYOUT_FINISHED;
    return future_schedule_callbacks((FutureObject *)self);
}

/* The coroutine has raised what is set. */
static int
task_raised(TaskObject *self)
{
    ModuleState *state = task_loop(self)->state;
    PyObject *error = error_take();

    registry_remove(state, self);
    if (PyErr_GivenExceptionMatches(error, state->cancelled_error)) {
        Py_XSETREF(self->cancelled_exc, error);
        return task_call_base(state->base_cancel, self, NULL, NULL);
    }
    int err = task_call_base(state->base_set_exception, self, error, NULL);
    if (err == 0 && error_ends_run(error)) {
        error_raise(error);
        return -1;
    }
    Py_DECREF(error);
    return err;
}

/* ---- a step ---- */

/* coro.throw(exception), as PyIter_Send() tells of it. */
static PySendResult
task_throw(TaskObject *self, PyObject *coro, PyObject *exception /* steals */,
           PyObject **result)
{
    const StateNames *str = &task_loop(self)->state->str;

    *result = PyObject_CallMethodOneArg(coro, str->throw, exception);
    Py_DECREF(exception);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = error_take();
    *result = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

/* Runs the coroutine to its next yield, and sees to what comes of it. */
static int
task_send(TaskObject *self, PyObject *exception /* steals */)
{
    PyObject *result = NULL;
    PyObject *coro = Py_NewRef(self->coro); /* it may call our __init__() */
    PySendResult status = KOLK_LIKELY(exception == NULL)
                              ? PyIter_Send(coro, Py_None, &result)
                              : task_throw(self, coro, exception, &result);

    Py_DECREF(coro);
    if (status == PYGEN_NEXT) {
        return task_wait_for(self, result);
    }
    return status == PYGEN_RETURN ? task_returned(self, result)
                                  : task_raised(self);
}

/* What a step throws if a request to cancel is pending. */
static PyObject *
task_cancel_exception(TaskObject *self, PyObject *exception /* steals */)
{
    const ModuleState *state = task_loop(self)->state;

    self->must_cancel = 0;
    if (exception != NULL) {
        if (PyErr_GivenExceptionMatches(exception, state->cancelled_error)) {
            return exception;
        }
        Py_DECREF(exception);
    }
    return future_cancelled_error((FutureObject *)self);
}

/* Leaves the task's step, whatever has come of it. */
static int
task_leave(TaskObject *self, int err)
{
    ModuleState *state = task_loop(self)->state;
    PyObject *error = err < 0 ? error_take() : NULL;

    if (registry_leave(state, self) < 0) {
        if (error == NULL) {
            return -1;
        }
        PyErr_Clear(); /* the first error is the one that is told */
    }
    if (error != NULL) {
        error_raise(error);
    }
    return err;
}

/* The task waits no longer. */
static int
task_forget_waiter(TaskObject *self)
{
    PyObject *waiter = self->waiter;
    int err = task_awaited_by_discard(self, waiter);

    self->waiter = NULL;
    Py_DECREF(waiter);
    return err;
}

/* One step; the context is entered. Returns 0, or -1 with an exception set
 * that is not the coroutine's, or that ends the run. */
static int
task_step(TaskObject *self, PyObject *exception /* steals */)
{
    ModuleState *state = task_loop(self)->state;

    if (KOLK_UNLIKELY(self->state != LAYOUT_PENDING)) {
        PyErr_Format(state->invalid_state_error,
                     "__step(): already done: %R %R", self,
                     exception != NULL ? exception : Py_None);
        Py_XDECREF(exception);
        return -1;
    }
    if (KOLK_UNLIKELY(self->must_cancel)) {
        exception = task_cancel_exception(self, exception);
        if (exception == NULL) {
            return -1;
        }
    }
    if ((self->waiter != NULL && task_forget_waiter(self) < 0)
        || registry_enter(state, self) < 0) {
        Py_XDECREF(exception);
        return -1;
    }
    return task_leave(self, task_send(self, exception));
}

#if PY_VERSION_HEX >= 0x030C0000

/* `task`, or None, is the current task of the loop; the one before it, new. */
static PyObject *
task_swap_current(TaskObject *self, PyObject *task)
{
    PyObject *args[] = {self->fut_loop, task};

    return PyObject_Vectorcall(task_loop(self)->state->swap_current_task, args,
                               2, NULL);
}

/* The step itself, in the task's context. */
static int
task_step_inside(TaskObject *self)
{
    if (PyContext_Enter(self->context) < 0) {
        return -1;
    }
    int err = task_send(self, NULL);
    PyObject *error = err < 0 ? error_take() : NULL;
    if (PyContext_Exit(self->context) < 0) {
        Py_XDECREF(error);
        return -1;
    }
    if (error != NULL) {
        error_raise(error);
    }
    return err;
}

int
task_step_eager(TaskObject *self)
{
    PyObject *outer = task_swap_current(self, (PyObject *)self);

    if (outer == NULL) {
        return -1;
    }
    int err = task_step_inside(self);
    PyObject *error = err < 0 ? error_take() : NULL;
    PyObject *inner = task_swap_current(self, outer);
    Py_DECREF(outer);
    Py_XDECREF(inner);
    if (self->state != LAYOUT_PENDING) {
        Py_CLEAR(self->coro); /* as asyncio does */
    }
    if (error != NULL) {
        PyErr_Clear();
        error_raise(error);
        return -1;
    }
    return inner != NULL ? err : -1;
}

#else

int
task_step_eager(TaskObject *Py_UNUSED(self))
{
    return 0; /* nothing asks for it */
}

#endif

/* ---- waking ---- */

bool
task_wake(TaskObject *self, PyObject *future)
{
    if (KOLK_UNLIKELY(!self->is_driven || self->waiter != future
                      || self->fut_loop == NULL || task_loop(self)->loop == NULL
                      || kolk_call_is_pending(&self->call))) {
        return false;
    }
    if (loop_push(task_loop(self), &self->call) < 0) {
        PyErr_Clear(); /* by a callback it fails again, and is told */
        return false;
    }
    return true;
}

/* The done callback of futures that are not ours. */
static PyObject *
task_wakeup(PyObject *op, PyObject *future)
{
    TaskObject *self = (TaskObject *)op;
    PyObject *exception = NULL;

    if (self->fut_loop == NULL || !self->is_driven) {
        PyErr_SetString(PyExc_RuntimeError, "Task object is not initialized.");
        return NULL; /* the collector has taken it apart */
    }
    const StateNames *str = &task_loop(self)->state->str;
    PyObject *result = PyObject_CallMethodNoArgs(future, str->result);
    if (result != NULL) {
        Py_DECREF(result);
    } else {
        exception = error_take();
    }
    if (task_step(self, exception) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef task_wakeup_def = {"task_wakeup", task_wakeup, METH_O, NULL};

PyObject *
task_wakeup_new(TaskObject *self)
{
    return PyCFunction_New(&task_wakeup_def, (PyObject *)self);
}

/* ---- the node ---- */

/* What the step that was queued throws. Returns 0, or -1 with an exception
 * set. */
static int
task_take_exception(TaskObject *self, PyObject **out)
{
    *out = self->thrown;
    self->thrown = NULL;
    if (*out == NULL && self->waiter != NULL) {
        *out = future_outcome((FutureObject *)self->waiter);
        return *out == NULL && PyErr_Occurred() ? -1 : 0;
    }
    return 0;
}

static int
task_run(TaskObject *self)
{
    PyObject *exception;

    if (task_take_exception(self, &exception) < 0) {
        return -1;
    }
    if (PyContext_Enter(self->context) < 0) {
        Py_XDECREF(exception);
        return -1;
    }
    int err = task_step(self, exception);
    PyObject *error = err < 0 ? error_take() : NULL;
    if (PyContext_Exit(self->context) < 0) {
        Py_XDECREF(error);
        return -1;
    }
    if (error != NULL) {
        error_raise(error);
    }
    return err;
}

/* What goes wrong outside of the coroutine; or its KeyboardInterrupt. */
static inline void
task_run_reported(TaskObject *self, LoopObject *loop)
{
    if (KOLK_UNLIKELY(task_run(self) < 0)) {
        loop_report_error(loop, "Exception in callback Task.task_step()");
    }
}

void
task_ready(kolk_call *call)
{
    TaskObject *self = KOLK_CONTAINER_OF(call, TaskObject, call);
    LoopObject *loop = task_loop(self);
    LoopStep step;

    if (KOLK_UNLIKELY(loop->debug)) {
        loop_step_begin(loop, &step, NULL);
        task_run_reported(self, loop);
        loop_step_end(loop, &step, (PyObject *)self);
    } else {
        task_run_reported(self, loop);
    }
    Py_DECREF(self);
}

void
task_dropped(kolk_call *call)
{
    Py_DECREF(KOLK_CONTAINER_OF(call, TaskObject, call));
}
