/* handle_run.c - running handles. See handle.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * No exception leaves a callback of the loop's: it goes to the exception
 * handler, or, if it has to end the run, it is parked on the loop.
 */
#include "handle.h"

#include "errors.h"
#include "loop.h"
#include "task.h" /* which task runs */

/* Other objects with a run() may be given as a context. */
static PyObject *
context_call_foreign(PyObject *context, PyObject *callback,
                     PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *run = PyObject_GetAttrString(context, "run");
    PyObject *all = run != NULL ? PyTuple_New(nargs + 1) : NULL;
    PyObject *result = NULL;

    if (all != NULL) {
        PyTuple_SET_ITEM(all, 0, Py_NewRef(callback));
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(all, i + 1, Py_NewRef(args[i]));
        }
        result = PyObject_CallObject(run, all);
        Py_DECREF(all);
    }
    Py_XDECREF(run);
    return result;
}

PyObject *
context_call(PyObject *context, PyObject *callback, PyObject *const *args,
             size_t nargsf)
{
    if (KOLK_UNLIKELY(!PyContext_CheckExact(context))) {
        return context_call_foreign(context, callback, args,
                                    PyVectorcall_NARGS(nargsf));
    }
    if (PyContext_Enter(context) < 0) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(callback, args, nargsf, NULL);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* Hands the exception that is set to whoever has to know. */
static void
handle_failed(HandleObject *self)
{
    PyObject *exception = error_take();
    LoopObject *loop = self->loop;

    if (error_ends_run(exception)) {
        loop_park(loop, exception);
        return;
    }
    PyObject *args[] = {(PyObject *)loop, (PyObject *)self, exception};
    PyObject *result = PyObject_VectorcallMethod(
        loop->state->str._handle_failed, args, 3, NULL);
    Py_DECREF(exception);
    loop_report_result(loop, result);
}

static inline PyObject *
handle_invoke(HandleObject *self)
{
    /* The callback may cancel its own handle. */
    PyObject *callback = Py_NewRef(self->callback);
    PyObject *context = Py_NewRef(self->context);
    PyObject *args = Py_XNewRef(self->args);
    PyObject *result;

    if (self->has_one_arg) {
        PyObject *stack[2] = {NULL, args};

        result = context_call(context, callback, stack + 1,
                              1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    } else if (args == NULL) {
        PyObject *stack[1] = {NULL};

        result = context_call(context, callback, stack + 1,
                              0 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    } else {
        result = context_call(context, callback, &PyTuple_GET_ITEM(args, 0),
                              (size_t)PyTuple_GET_SIZE(args));
    }
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_XDECREF(args);
    return result;
}

static inline void
handle_run_plain(HandleObject *self)
{
    PyObject *result = handle_invoke(self);

    if (KOLK_UNLIKELY(result == NULL)) {
        handle_failed(self);
    } else {
        Py_DECREF(result);
    }
}

/* The same when debug mode looks on, or other threads may. */
static void
handle_run_observed(HandleObject *self)
{
    LoopObject *loop = self->loop;
    LoopStep step;

    if (self->kind == HANDLE_GUARDED) {
        self->thread = PyThread_get_thread_ident();
    }
    loop_step_begin(loop, &step, (PyObject *)self);
    handle_run_plain(self);
    loop_step_end(loop, &step, (PyObject *)self);
    if (self->kind == HANDLE_GUARDED) {
        self->thread = 0;
        handle_wake_waiters(self);
    }
}

void
handle_run(HandleObject *self)
{
    if (self->is_cancelled || self->callback == NULL) {
        return;
    }
    registry_settle(self->loop);
    if (KOLK_LIKELY(!self->loop->debug && self->kind != HANDLE_GUARDED)) {
        handle_run_plain(self);
    } else {
        handle_run_observed(self);
    }
}

/* ---- the loop's nodes ---- */

/* Gives up the reference that the loop had. Whoever else has one, an exception
 * handler say, may make cycles of it. */
static inline void
handle_release(HandleObject *self)
{
    if (Py_REFCNT(self) > 1) {
        handle_track(self);
    }
    Py_DECREF(self);
}

/* A hook of the program's orders the turn's handles: it gets this one. */
static inline bool
handle_is_hooked(HandleObject *self)
{
    return KOLK_UNLIKELY(self->loop->hooked != NULL)
           && loop_hook_add(self->loop, (PyObject *)self);
}

static inline void
handle_ready(HandleObject *self)
{
    self->is_lent = false;
    if (!handle_is_hooked(self)) {
        handle_run(self);
    }
    handle_release(self);
}

void
handle_call_ready(kolk_call *call)
{
    handle_ready(KOLK_CONTAINER_OF(call, HandleObject, node.call));
}

void
handle_timer_ready(kolk_timer *timer)
{
    handle_ready(KOLK_CONTAINER_OF(timer, HandleObject, node.timer));
}

static void
handle_dropped(HandleObject *self)
{
    self->is_lent = false;
    handle_release(self);
}

void
handle_call_dropped(kolk_call *call)
{
    handle_dropped(KOLK_CONTAINER_OF(call, HandleObject, node.call));
}

void
handle_timer_dropped(kolk_timer *timer)
{
    handle_dropped(KOLK_CONTAINER_OF(timer, HandleObject, node.timer));
}
